package mongo

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"
)

// health is what the driver tells of its servers and connections.
type health struct {
	mu sync.Mutex
	// last is the last failure to ask a server how it is, nil where an answer came after it.
	last     error
	answered bool
	// failed is told of such failures.
	failed func(error)
	// away is since when no server can be written to; zero while one can.
	away time.Time
	// commands are those that wait for an answer, and since when.
	commands map[command]time.Time
	// queued is how many wait for a connection, served when the last one of them got one.
	queued int
	served time.Time
}

type command struct {
	connection string
	request    int64
}

func newHealth() *health {
	return &health{commands: map[command]time.Time{}, away: time.Now()}
}

func (h *health) servers() *event.ServerMonitor {
	return &event.ServerMonitor{
		ServerHeartbeatFailed: func(e *event.ServerHeartbeatFailedEvent) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.last, h.answered = e.Failure, false
			if h.failed != nil && fatal(e.Failure) != nil {
				h.failed(e.Failure)
			}
		},
		ServerHeartbeatSucceeded: func(*event.ServerHeartbeatSucceededEvent) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.last, h.answered = nil, true
		},
		TopologyDescriptionChanged: func(e *event.TopologyDescriptionChangedEvent) {
			writable := slices.ContainsFunc(e.NewDescription.Servers, func(s event.ServerDescription) bool {
				return slices.Contains([]string{"RSPrimary", "Mongos", "LoadBalancer", "Standalone"}, s.Kind)
			})
			h.mu.Lock()
			defer h.mu.Unlock()
			if writable {
				h.away = time.Time{}
			} else if h.away.IsZero() {
				h.away = time.Now()
			}
		},
	}
}

func (h *health) connections() *event.PoolMonitor {
	return &event.PoolMonitor{Event: func(e *event.PoolEvent) {
		h.mu.Lock()
		defer h.mu.Unlock()
		switch e.Type {
		case event.ConnectionCheckOutStarted:
			if h.queued == 0 {
				h.served = time.Now()
			}
			h.queued++
		case event.ConnectionCheckedOut:
			h.queued--
			h.served = time.Now()
		case event.ConnectionCheckOutFailed:
			h.queued--
		}
	}}
}

func (h *health) questions() *event.CommandMonitor {
	return &event.CommandMonitor{
		Started: func(_ context.Context, e *event.CommandStartedEvent) {
			// A change stream's getMore waits for news, as long as it says.
			if _, err := e.Command.LookupErr("maxTimeMS"); err == nil && e.CommandName == "getMore" {
				return
			}
			h.mu.Lock()
			defer h.mu.Unlock()
			h.commands[command{e.ConnectionID, e.RequestID}] = time.Now()
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) { h.answer(e.CommandFinishedEvent) },
		Failed:    func(_ context.Context, e *event.CommandFailedEvent) { h.answer(e.CommandFinishedEvent) },
	}
}

func (h *health) answer(e event.CommandFinishedEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.commands, command{e.ConnectionID, e.RequestID})
}

// Unanswered is for how long the server has owed an answer: to the oldest command that
// waits for one, to who waits for a connection, or, where no server is known that can be
// written to, since then; 0 where none of this is so. A server that hangs is noticed by it
// long before an operation fails, if somebody asks something now and then.
func (s *Store) Unanswered() time.Duration { return s.health.unanswered(time.Now()) }

func (h *health) unanswered(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := now
	for _, asked := range h.commands {
		if asked.Before(since) {
			since = asked
		}
	}
	if h.queued > 0 && h.served.Before(since) {
		since = h.served
	}
	if !h.away.IsZero() && h.away.Before(since) {
		since = h.away
	}
	return now.Sub(since)
}

// notify has a function told what waiting does not mend, until the function that it
// gives is called.
func (h *health) notify(failed func(error)) (stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = failed
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.failed = nil
	}
}

// reason says in a few words why no server answers.
func (h *health) reason(err error) string {
	h.mu.Lock()
	last, answered := h.last, h.answered
	h.mu.Unlock()
	for _, err := range []error{last, err} {
		var dns *net.DNSError
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return "connection refused"
		case errors.As(err, &dns):
			return dns.Name + " is not a known host"
		case wasClosed(err):
			return "the connection was closed"
		}
	}
	var selection topology.ServerSelectionError
	switch {
	case errors.As(err, &selection) && answered:
		return "it answers, but nobody is primary (is the replica set initiated, and named as in the URI?)"
	case mongo.IsTimeout(err):
		return errNoAnswer.Error()
	}
	return err.Error()
}

func wasClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// closed tells whether the server has closed the last connection on which it was asked
// how it is.
func (h *health) closed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return wasClosed(h.last)
}
