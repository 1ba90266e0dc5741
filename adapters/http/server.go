package http

import (
	"context"
	"errors"
	"fmt"
	"iter"
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
	// Sessions are the open sessions, and the closed ones that are still at hand, newest first.
	Sessions() (open, closed []network.Session)
	// Session is one session, also an old one; ok is false where the log has none.
	Session(ctx context.Context, id domain.SessionID) (s network.Session, ok bool, err error)
	// Log gives the event log as lines, from a position on.
	Log(ctx context.Context, from eventlog.Position) iter.Seq2[[]byte, error]
}

// Server serves a Source.
type Server struct {
	listener net.Listener
	server   *http.Server
	ended    chan error
}

// Serve listens on an address ("127.0.0.1:7080") and serves until Close.
func Serve(address string, source Source) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve HTTP on %s (choose another address with --http): %w", address, err)
	}
	s := &Server{
		listener: listener,
		server:   &http.Server{Handler: pages(source), ReadHeaderTimeout: 10 * time.Second},
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

func pages(source Source) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /points", func(w http.ResponseWriter, _ *http.Request) {
		points := source.Points()
		all := make([]point, len(points))
		for i, p := range points {
			all[i] = pointOf(p)
		}
		answer(w, all)
	})
	mux.HandleFunc("GET /points/{id}", func(w http.ResponseWriter, r *http.Request) {
		for _, p := range source.Points() {
			if string(p.ID) == r.PathValue("id") {
				answer(w, pointOf(p))
				return
			}
		}
		http.Error(w, "no such point", http.StatusNotFound)
	})
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, _ *http.Request) {
		open, closed := source.Sessions()
		all := make([]supply, 0, len(open)+len(closed))
		for _, s := range slices.Concat(open, closed) {
			all = append(all, supplyOf(s))
		}
		answer(w, all)
	})
	mux.HandleFunc("GET /sessions/{id}", func(w http.ResponseWriter, r *http.Request) {
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
	mux.HandleFunc("GET /log", func(w http.ResponseWriter, r *http.Request) {
		from := uint64(1)
		if text := r.URL.Query().Get("from"); text != "" {
			var err error
			if from, err = strconv.ParseUint(text, 10, 64); err != nil {
				http.Error(w, "from is the position of a commit: a whole number from 1", http.StatusBadRequest)
				return
			}
		}
		w.Header().Set("Content-Type", "application/jsonl")
		for line, err := range source.Log(r.Context(), eventlog.Position(from)) {
			if err == nil {
				_, err = w.Write(line)
			}
			if err != nil {
				// Too late for a status: break the connection, so that nobody takes a part for the whole.
				panic(http.ErrAbortHandler)
			}
		}
	})
	return mux
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.MarshalWrite(w, value, figures, jsontext.WithIndent("  "))
}
