package health

import (
	"context"
	"errors"
	"time"

	"evcharging/adapters/http"
	"evcharging/adapters/prometheus"
)

// closeTimeout is how long requests that are being answered may take at the end.
const closeTimeout = 2 * time.Second

// Server answers for a program. A nil one answers nobody.
type Server struct{ server *http.Server }

// Serve answers on an address for the program of a name, until Close; where the address is
// empty it is nil. ready is http.Config's Ready.
func Serve(address, name string, pulse *Pulse, ready func(context.Context) error) (*Server, error) {
	if address == "" {
		return nil, nil
	}
	server, err := http.Serve(http.Config{
		Address: address, Live: pulse.Live, Ready: ready, Metrics: prometheus.NewProgram(name, ready).Handler(),
	})
	if err != nil {
		return nil, err
	}
	return &Server{server}, nil
}

// Close ends it.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), closeTimeout)
	defer stop()
	return s.server.Close(ctx)
}

// ErrNoBroker tells that a program is not ready because it has not reached a broker yet.
var ErrNoBroker = errors.New("waiting for the broker")
