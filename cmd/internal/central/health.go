package central

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"evcharging/adapters/http"
	"evcharging/adapters/kafka"
	"evcharging/cmd/internal/health"
)

// vitals is what health and metrics may ask while the parts of a node come up and go.
type vitals struct {
	began time.Time
	pulse health.Pulse
	// phase is what the node is doing before it works, and when it stops; nil while it works.
	phase     atomic.Pointer[string]
	store     atomic.Pointer[store]
	transport atomic.Pointer[kafka.Transport]
	feed      atomic.Pointer[feed]
}

// The phases of a start, and the end.
const (
	openingLog    = "waiting for the event log"
	reachingKafka = "waiting for the broker"
	readingLog    = "reading the event log"
	joining       = "joining the consumer groups"
	working       = ""
	stopping      = "stopping"
)

// enters says what the node is doing from now on.
func (v *vitals) enters(phase string) {
	if phase == working {
		v.phase.Store(nil)
		return
	}
	v.phase.Store(&phase)
}

// ready is nil as long as Central does its work; else each line of the error is a reason.
// Broker and store are asked side by side, so that one that hangs hides nothing of the other.
func (v *vitals) ready(ctx context.Context) error {
	var phase, broker, store error
	if p := v.phase.Load(); p != nil {
		phase = errors.New(*p)
	}
	var asked sync.WaitGroup
	if t := v.transport.Load(); t != nil {
		asked.Go(func() { broker = t.Ready(ctx, t.Topics().All()...) })
	}
	if s := v.store.Load(); s != nil {
		asked.Go(func() { store = s.answers(ctx) })
	}
	asked.Wait()
	return errors.Join(phase, broker, store)
}

// answers is nil where the store of the event log answers.
func (s *store) answers(ctx context.Context) error {
	if s.ping == nil {
		return nil
	}
	if err := s.ping(ctx); err != nil {
		return fmt.Errorf("the event log's store does not answer: %w", err)
	}
	return nil
}

// source is what the pages show; nil before there is anything.
func (v *vitals) source() http.Source {
	if f := v.feed.Load(); f != nil {
		return f
	}
	return nil
}

// beat shows that the node is alive until ctx ends. It takes what every turn takes: a lock
// that is never given back stops it.
func (n *Node) beat(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		n.feed.Changed()
		n.vitals.pulse.Beat()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
