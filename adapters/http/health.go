package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// readyWithin is how long a program may take to find out whether it is ready.
	readyWithin = 3 * time.Second
	// healthWithin is how long it may take to answer.
	healthWithin = readyWithin + 2*time.Second
)

// health serves /livez and /readyz: 200 and a word, or 503 and a line for each reason.
func health(mux *http.ServeMux, c Config) {
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		verdict(w, "alive", c.Live())
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := context.WithTimeout(r.Context(), readyWithin)
		defer stop()
		verdict(w, "ready", c.Ready(ctx))
	})
}

func verdict(w http.ResponseWriter, well string, reasons error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if reasons != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		well = reasons.Error()
	}
	_, _ = io.WriteString(w, well+"\n")
}

var (
	// ErrNotReady tells that a program says that it is not ready, with its reasons.
	ErrNotReady = errors.New("not ready")
	// ErrNotAlive tells that a program's main loop does not turn, with the reason.
	ErrNotAlive = errors.New("not alive")
)

// Ready asks the program at the address whether it is ready: nil, ErrNotReady, or another
// error where nobody answers within 5 s.
func (c Client) Ready(ctx context.Context) error { return c.health(ctx, "/readyz", ErrNotReady) }

// Live asks the program at the address whether it is alive: nil, ErrNotAlive, or another
// error where nobody answers within 5 s.
func (c Client) Live(ctx context.Context) error { return c.health(ctx, "/livez", ErrNotAlive) }

func (c Client) health(ctx context.Context, page string, unwell error) error {
	ctx, stop := context.WithTimeout(ctx, healthWithin)
	defer stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Address+page, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", c.Address, err)
	}
	// No proxy stands between a program and its own check.
	direct := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := direct.Do(request)
	if err != nil {
		return fmt.Errorf("nobody answers at %s (does the program run, with --http %s?): %w", c.Address, c.Address, err)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusServiceUnavailable:
	default:
		return fmt.Errorf("what answers at %s has no %s: it says %s", c.Address, page, response.Status)
	}
	var reasons []string
	lines := bufio.NewScanner(io.LimitReader(response.Body, 10_000))
	for lines.Scan() {
		reasons = append(reasons, lines.Text())
	}
	return fmt.Errorf("%w: %s", unwell, strings.Join(reasons, "; "))
}
