package http_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	nethttp "net/http"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/http"
)

var (
	errBroker = errors.New("waiting for the broker")
	errStore  = errors.New("the store does not answer")
)

func TestHealthSaysEachReason(t *testing.T) {
	both := errors.Join(errBroker, errStore)
	for name, test := range map[string]struct {
		live, ready   error
		livez, readyz string // empty: 200
	}{
		"all is well":              {},
		"it starts":                {ready: errBroker, readyz: "waiting for the broker\n"},
		"two reasons, a line each": {ready: both, readyz: "waiting for the broker\nthe store does not answer\n"},
		"it hangs":                 {live: errStore, livez: "the store does not answer\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c := of(busy())
			c.Live = func() error { return test.live }
			c.Ready = func(context.Context) error { return test.ready }
			address := serveConfig(t, c)
			for page, want := range map[string]string{"/livez": test.livez, "/readyz": test.readyz} {
				status, kind, body, err := get(t, "GET", address, page)
				well := map[string]string{"/livez": "alive\n", "/readyz": "ready\n"}[page]
				wantStatus, wantBody := 200, well
				if want != "" {
					wantStatus, wantBody = 503, want
				}
				if err != nil || status != wantStatus || body != wantBody || kind != "text/plain; charset=utf-8" {
					t.Errorf("%s: %d %s %q (%v), want %d %q", page, status, kind, body, err, wantStatus, wantBody)
				}
			}
			client := http.Client{Address: address}
			if err := client.Live(t.Context()); errors.Is(err, http.ErrNotAlive) != (test.live != nil) || (err != nil) != (test.live != nil) {
				t.Errorf("the client says of its life: %v", err)
			}
			err := client.Ready(t.Context())
			if errors.Is(err, http.ErrNotReady) != (test.ready != nil) || (err != nil) != (test.ready != nil) {
				t.Errorf("the client says: %v", err)
			}
			if test.readyz != "" && !strings.Contains(err.Error(), strings.ReplaceAll(strings.TrimSpace(test.readyz), "\n", "; ")) {
				t.Errorf("the client says %q of %q", err, test.readyz)
			}
		})
	}
}

// What a program asks others for must end before whoever checks it loses patience.
func TestReadyIsAskedWithinABound(t *testing.T) {
	c := of(busy())
	c.Ready = func(ctx context.Context) error {
		if deadline, bounded := ctx.Deadline(); !bounded || time.Until(deadline) > 4*time.Second {
			return errors.New("without a bound")
		}
		return nil
	}
	if err := (http.Client{Address: serveConfig(t, c)}).Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPagesBeforeThereIsAnythingToShow(t *testing.T) {
	c := of(busy())
	c.Source = func() http.Source { return nil }
	address := serveConfig(t, c)
	for _, page := range []string{"/points", "/points/CP-001", "/sessions", "/sessions/s-0", "/log"} {
		if status, _, body, err := get(t, "GET", address, page); err != nil || status != 503 || !strings.Contains(body, "/readyz") {
			t.Errorf("%s: %d %q (%v)", page, status, body, err)
		}
	}
	if status, _, _, err := get(t, "GET", address, "/readyz"); err != nil || status != 200 {
		t.Errorf("/readyz: %d (%v)", status, err)
	}
}

func TestAProgramWithoutPages(t *testing.T) {
	c := of(busy())
	c.Source = nil
	c.Metrics = nethttp.HandlerFunc(func(w nethttp.ResponseWriter, _ *nethttp.Request) { fmt.Fprint(w, "evcharging_ready 1\n") })
	address := serveConfig(t, c)
	if status, _, _, _ := get(t, "GET", address, "/points"); status != 404 {
		t.Errorf("/points: %d", status)
	}
	if status, _, body, _ := get(t, "GET", address, "/metrics"); status != 200 || body != "evcharging_ready 1\n" {
		t.Errorf("/metrics: %d %q", status, body)
	}
}

func TestACheckOfNobody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	err = http.Client{Address: address}.Ready(t.Context())
	if err == nil || errors.Is(err, http.ErrNotReady) || !strings.Contains(err.Error(), "nobody answers at "+address) {
		t.Errorf("of nobody: %v", err)
	}

	stranger := &nethttp.Server{Handler: nethttp.NotFoundHandler()}
	if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = stranger.Serve(listener)
	}()
	err = http.Client{Address: listener.Addr().String()}.Ready(t.Context())
	if err == nil || errors.Is(err, http.ErrNotReady) || !strings.Contains(err.Error(), "/readyz") {
		t.Errorf("of a stranger: %v", err)
	}
	_ = stranger.Close()
	<-ended
}
