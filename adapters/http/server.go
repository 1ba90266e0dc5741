package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/domain"
)

// Source is what the pages show. Safe for use from several goroutines.
type Source interface {
	// Points are all points, by id.
	Points() []network.Point
	// Prices are the changes of a point's price, oldest first; none where there is no such point.
	Prices(ctx context.Context, id domain.PointID) ([]network.PriceChange, error)
	// Sessions are the open sessions, and the closed ones that are still at hand, newest first.
	Sessions() (open, closed []network.Session)
	// Session is one session, also an old one; ok is false where the log has none.
	Session(ctx context.Context, id domain.SessionID) (s network.Session, ok bool, err error)
	// Log writes the event log as lines, from a position on, with header and trailer. Its error
	// says why they are not all; it is in a line, too, where the header was written.
	Log(ctx context.Context, from eventlog.Position, to io.Writer) error
}

// Config says what a Server serves. Its functions are called from many goroutines.
type Config struct {
	// Address is host:port to listen on, such as 127.0.0.1:7080.
	Address string
	// Live is nil as long as the program's main loop turns.
	Live func() error
	// Ready is nil as long as the program does its work; else each line of the error is a
	// reason why it does not. It returns soon after its ctx ends.
	Ready func(ctx context.Context) error
	// Metrics serves /metrics.
	Metrics http.Handler
	// Source gives what the pages show, nil where there is nothing to show yet. It is itself nil
	// in a program without pages.
	Source func() Source
}

// Server serves a program's health and metrics, and its pages where it has some.
type Server struct {
	listener net.Listener
	server   *http.Server
	ended    chan error
}

// Serve listens and serves until Close.
func Serve(c Config) (*Server, error) {
	listener, err := net.Listen("tcp", c.Address)
	if err != nil {
		return nil, fmt.Errorf("serve HTTP on %s (choose another address with --http): %w", c.Address, err)
	}
	mux := http.NewServeMux()
	health(mux, c)
	mux.Handle("GET /metrics", c.Metrics)
	if c.Source != nil {
		pages(mux, c.Source)
	}
	s := &Server{
		listener: listener,
		server:   &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second},
		ended:    make(chan error, 1),
	}
	go func() { s.ended <- s.server.Serve(listener) }()
	return s, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close ends the server; requests that are being answered have until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.server.Close())
	}
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// pages serves what a source shows; without one they are unavailable.
func pages(mux *http.ServeMux, source func() Source) {
	page := func(path string, show func(Source, http.ResponseWriter, *http.Request)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if s := source(); s != nil {
				show(s, w, r)
				return
			}
			http.Error(w, "there is nothing to show yet: /readyz says what is waited for", http.StatusServiceUnavailable)
		})
	}
	page("/points", func(source Source, w http.ResponseWriter, _ *http.Request) {
		answer(w, pointsOf(source.Points()))
	})
	page("/points/{id}", func(source Source, w http.ResponseWriter, r *http.Request) {
		for _, p := range source.Points() {
			if string(p.ID) == r.PathValue("id") {
				answer(w, pointOf(p))
				return
			}
		}
		http.Error(w, "no such point", http.StatusNotFound)
	})
	page("/points/{id}/prices", func(source Source, w http.ResponseWriter, r *http.Request) {
		changes, err := source.Prices(r.Context(), domain.PointID(r.PathValue("id")))
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case len(changes) == 0:
			http.Error(w, "no such point", http.StatusNotFound)
		default:
			answer(w, priceChangesOf(changes))
		}
	})
	page("/sessions", func(source Source, w http.ResponseWriter, _ *http.Request) {
		open, closed := source.Sessions()
		answer(w, suppliesOf(slices.Concat(open, closed)))
	})
	page("/sessions/{id}", func(source Source, w http.ResponseWriter, r *http.Request) {
		s, ok, err := source.Session(r.Context(), domain.SessionID(r.PathValue("id")))
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case !ok:
			http.Error(w, "no such session", http.StatusNotFound)
		default:
			answer(w, supplyOf(s))
		}
	})
	page("/log", func(source Source, w http.ResponseWriter, r *http.Request) {
		from := uint64(1)
		if text := r.URL.Query().Get("from"); text != "" {
			var err error
			if from, err = strconv.ParseUint(text, 10, 64); err != nil {
				http.Error(w, "from is the position of a commit: a whole number from 1", http.StatusBadRequest)
				return
			}
		}
		w.Header().Set("Content-Type", "application/jsonl")
		body := &begun{Writer: w}
		switch err := source.Log(r.Context(), eventlog.Position(from), body); {
		case err == nil:
		case !body.begun:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			// Too late for a status: break the connection, too, so that nobody takes a part for the
			// whole who does not look for a trailer.
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
}

// begun knows whether anything was written.
type begun struct {
	io.Writer
	begun bool
}

func (b *begun) Write(text []byte) (int, error) {
	b.begun = true
	return b.Writer.Write(text)
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.MarshalWrite(w, value, figures, jsontext.WithIndent("  "))
}
