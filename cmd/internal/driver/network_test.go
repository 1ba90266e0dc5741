package driver_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"evcharging/adapters/kafka"
	"evcharging/application/message"
	"evcharging/domain"
)

// network is a broker in memory, with whoever answers requests behind it.
type network struct {
	// central is called with each request that is new.
	central func(n *network, r message.Request)

	mu      sync.Mutex
	records []message.Received
	more    chan struct{}
	known   map[domain.RequestID]bool
	down    error
	watched []chan error
}

func newNetwork(central func(*network, message.Request)) *network {
	return &network{central: central, more: make(chan struct{}), known: map[domain.RequestID]bool{}}
}

func (n *network) Topics() kafka.Topics { return kafka.DefaultTopics() }

// put stores a message now.
func (n *network) put(m message.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records = append(n.records, message.Received{
		Source:  message.Source{Topic: topicOf(m, kafka.DefaultTopics()), Timestamp: domain.At(time.Now()), Trusted: true},
		Message: m,
	})
	close(n.more)
	n.more = make(chan struct{})
}

func topicOf(m message.Message, topics kafka.Topics) string {
	switch m.(type) {
	case message.Request:
		return topics.Request
	case message.Answer:
		return topics.Auth
	case message.MeterValue:
		return topics.Telemetry
	case message.Done:
		return topics.Done
	case message.Ticket:
		return topics.Ticket
	}
	return ""
}

// after stores a message after some time.
func (n *network) after(d time.Duration, m message.Message) {
	time.AfterFunc(d, func() { n.put(m) })
}

// turn makes the broker go away, or come back with nil.
func (n *network) turn(down error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
	for _, w := range n.watched {
		w <- down
	}
}

var errAway = errors.New("the broker is away")

func (n *network) Send(_ context.Context, ms ...message.Message) error {
	n.mu.Lock()
	down := n.down
	n.mu.Unlock()
	if down != nil {
		return down
	}
	for _, m := range ms {
		n.put(m)
		if r, ok := m.(message.Request); ok && n.isNew(r.ID) {
			n.central(n, r)
		}
	}
	return nil
}

func (n *network) isNew(id domain.RequestID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := n.known[id]
	n.known[id] = true
	return !known
}

func (n *network) Follow(ctx context.Context, topics []string, from domain.UnixMillis, ready func(), handle func(context.Context, message.Received)) error {
	n.mu.Lock()
	next, end := 0, len(n.records)
	n.mu.Unlock()
	ready()
	for {
		n.mu.Lock()
		records, more := n.records, n.more
		n.mu.Unlock()
		for ; next < len(records); next++ {
			if next >= end || records[next].Source.Timestamp >= from {
				handle(ctx, records[next])
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *network) Watch(ctx context.Context, change func(up bool, err error)) {
	news := make(chan error, 100)
	n.mu.Lock()
	n.watched = append(n.watched, news)
	n.mu.Unlock()
	for {
		select {
		case err := <-news:
			change(err == nil, err)
		case <-ctx.Done():
			return
		}
	}
}

func (n *network) Ready(context.Context, ...string) error { return nil }

// requests are the ids of the requests that the broker has, in their order.
func (n *network) requests() (ids []domain.RequestID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.records {
		if m, ok := r.Message.(message.Request); ok {
			ids = append(ids, m.ID)
		}
	}
	return ids
}
