package http

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Client reads a Central's pages.
type Client struct {
	// Address is host:port, as of --http.
	Address string
}

// Points are all points.
func (c Client) Points(ctx context.Context) (points []Point, err error) {
	return points, c.get(ctx, "/points", &points)
}

// Sessions are the open sessions and those that closed last.
func (c Client) Sessions(ctx context.Context) (sessions []Session, err error) {
	return sessions, c.get(ctx, "/sessions", &sessions)
}

// Session is one session.
func (c Client) Session(ctx context.Context, id string) (s Session, err error) {
	return s, c.get(ctx, "/sessions/"+id, &s)
}

func (c Client) get(ctx context.Context, page string, to any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Address+page, nil)
	if err != nil {
		return fmt.Errorf("ask Central at %s: %w", c.Address, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("Central does not answer at %s (is it running, and with --http %s?): %w", c.Address, c.Address, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1_000))
		return fmt.Errorf("Central at %s says: %s", c.Address, strings.TrimSpace(string(text)))
	}
	if err := json.UnmarshalRead(response.Body, to); err != nil {
		return fmt.Errorf("understand what Central at %s answers: %w", c.Address, err)
	}
	return nil
}
