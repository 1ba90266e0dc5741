package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/domain"
)

// Client reads a Central's pages.
type Client struct {
	// Address is host:port, as of --http.
	Address string
}

// Points are all points.
func (c Client) Points(ctx context.Context) ([]network.Point, error) {
	var shown []point
	err := c.get(ctx, "/points", &shown)
	points := make([]network.Point, len(shown))
	for i, p := range shown {
		points[i] = p.read()
	}
	return points, err
}

// Prices are the changes of a point's price, oldest first.
func (c Client) Prices(ctx context.Context, id domain.PointID) ([]network.PriceChange, error) {
	var shown []priceChange
	err := c.get(ctx, "/points/"+url.PathEscape(string(id))+"/prices", &shown)
	changes := make([]network.PriceChange, len(shown))
	for i, s := range shown {
		changes[i] = s.read()
	}
	return changes, err
}

// Sessions are the open sessions and those that closed last.
func (c Client) Sessions(ctx context.Context) ([]network.Session, error) {
	var shown []supply
	err := c.get(ctx, "/sessions", &shown)
	sessions := make([]network.Session, len(shown))
	for i, s := range shown {
		sessions[i] = s.read()
	}
	return sessions, err
}

// Session is one session.
func (c Client) Session(ctx context.Context, id domain.SessionID) (network.Session, error) {
	var shown supply
	err := c.get(ctx, "/sessions/"+url.PathEscape(string(id)), &shown)
	return shown.read(), err
}

// Log is the event log as lines, from a position on, to the end that it had, with header and
// trailer. Whoever asks closes it. A log that breaks off ends with an error.
func (c Client) Log(ctx context.Context, from eventlog.Position) (io.ReadCloser, error) {
	return c.open(ctx, fmt.Sprintf("/log?from=%d", from))
}

func (c Client) get(ctx context.Context, page string, to any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := c.open(ctx, page)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.UnmarshalRead(body, to, figures); err != nil {
		return fmt.Errorf("understand what Central at %s answers: %w", c.Address, err)
	}
	return nil
}

func (c Client) open(ctx context.Context, page string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Address+page, nil)
	if err != nil {
		return nil, fmt.Errorf("ask Central at %s: %w", c.Address, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		var asked *url.Error
		if errors.As(err, &asked) { // which says the address once more
			err = asked.Err
		}
		return nil, fmt.Errorf("Central does not answer at %s (is it running, and with --http %s?): %w", c.Address, c.Address, err)
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1_000))
		return nil, fmt.Errorf("Central at %s says: %s", c.Address, strings.TrimSpace(string(text)))
	}
	return response.Body, nil
}
