package driver

import (
	"context"
	"sync"
	"time"

	"evcharging/adapters/kafka"
	"evcharging/application/message"
	"evcharging/domain"
)

// Shared is a Network for many Drivers in one process: it reads the records once for all
// of them. A Driver that needs what was before Share reads for itself.
type Shared struct {
	Network
	since domain.UnixMillis
	stop  context.CancelFunc
	ready chan struct{}
	ended chan struct{}
	err   error // once ended

	mu      sync.Mutex
	readers map[*reader]struct{}
}

type reader struct {
	ctx    context.Context
	handle func(context.Context, message.Received)
}

// Share begins to read. Close ends it, before the network itself is closed.
func Share(n Network) *Shared {
	ctx, stop := context.WithCancel(context.Background())
	s := &Shared{
		Network: n, since: domain.At(time.Now()), stop: stop,
		ready: make(chan struct{}), ended: make(chan struct{}), readers: map[*reader]struct{}{},
	}
	go func() {
		defer close(s.ended)
		s.err = n.Follow(ctx, followed(n.Topics()), s.since, func() { close(s.ready) }, func(_ context.Context, r message.Received) { s.handOut(r) })
	}()
	return s
}

// Close ends the reading. The Drivers must have ended before.
func (s *Shared) Close() {
	s.stop()
	<-s.ended
}

// handOut gives a record to every reader, one after another: a Driver takes it at once.
func (s *Shared) handOut(r message.Received) {
	s.mu.Lock()
	readers := make([]*reader, 0, len(s.readers))
	for x := range s.readers {
		readers = append(readers, x)
	}
	s.mu.Unlock()
	for _, x := range readers {
		x.handle(x.ctx, r)
	}
}

// Follow is that of the Network, for the topics of a Driver.
func (s *Shared) Follow(ctx context.Context, topics []string, from domain.UnixMillis, ready func(), handle func(context.Context, message.Received)) error {
	if from < s.since {
		return s.Network.Follow(ctx, topics, from, ready, handle)
	}
	select {
	case <-s.ready:
	case <-s.ended:
		return s.err
	case <-ctx.Done():
		return nil
	}
	x := &reader{ctx, handle}
	s.mu.Lock()
	s.readers[x] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.readers, x)
	}()
	ready()
	select {
	case <-s.ended:
		return s.err
	case <-ctx.Done():
		return nil
	}
}

// followed are the topics that a Driver reads.
func followed(t kafka.Topics) []string {
	return []string{t.Request, t.Auth, t.Telemetry, t.Done, t.Ticket}
}
