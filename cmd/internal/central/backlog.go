package central

import (
	"context"
	"slices"
	"sync"
	"time"

	"evcharging/adapters/kafka"
	"evcharging/application/message"
)

const (
	// backlogWithin is how long a start waits for what the Monitors said meanwhile.
	backlogWithin = 10 * time.Second
	// backlogEvery is how often it asks the broker what is left of it.
	backlogEvery = 500 * time.Millisecond
)

// read begins to read, what the Monitors said while nobody listened first: a request must
// not be refused for a point whose signs of life lie unread beside it. start bounds that wait,
// reading the reading.
func (n *Node) read(start, reading context.Context, lanes *lanes) error {
	topics := n.transport.Topics()
	b := &backlog{topic: topics.Health, taken: make(chan struct{})}
	if err := n.persist(start, func(ctx context.Context) (err error) {
		b.left, err = n.transport.Backlog(ctx, group, topics.Health)
		return err
	}); err != nil {
		return err
	}
	admitted := make(chan struct{}) // closed once no other Central is in the group
	readGroup := func(topics []string) {
		n.reading.Go(func() {
			n.fail(n.transport.Group(reading, group, topics, func(ctx context.Context, r message.Received) error {
				select {
				case <-admitted:
				case <-reading.Done():
					return reading.Err()
				}
				err := lanes.take(ctx, r)
				if err == nil {
					b.took(r.Source)
				}
				return err
			}))
		})
	}
	first := []string{topics.Register, topics.Health}
	readGroup(first)
	if err := n.joined(start, first); err != nil {
		return err
	}
	close(admitted)
	b.wait(start, func(ctx context.Context) bool {
		left, err := n.transport.Backlog(ctx, group, topics.Health)
		return err == nil && len(left) == 0
	})
	readGroup(slices.DeleteFunc(topics.CentralReads(), func(topic string) bool { return slices.Contains(first, topic) }))
	return start.Err()
}

// backlog is what of a topic has not been taken in yet.
type backlog struct {
	topic string
	taken chan struct{} // closed when nothing is left

	mu   sync.Mutex
	left map[int32]kafka.Unread
}

func (b *backlog) took(s message.Source) {
	if s.Topic != b.topic {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if unread, left := b.left[s.Partition]; left && s.Offset >= unread.Last {
		delete(b.left, s.Partition)
		if len(b.left) == 0 {
			close(b.taken)
		}
	}
}

// wait waits until nothing is left, at most backlogWithin: a record that can't be taken in
// must not keep Central from starting. Records that are refused are taken by nobody; that
// nothing is left is then what committed tells, a little later.
func (b *backlog) wait(ctx context.Context, committed func(context.Context) bool) {
	b.mu.Lock()
	none := len(b.left) == 0
	b.mu.Unlock()
	if none {
		return
	}
	ctx, stop := context.WithTimeout(ctx, backlogWithin)
	defer stop()
	ask := time.NewTicker(backlogEvery)
	defer ask.Stop()
	for {
		select {
		case <-b.taken:
			return
		case <-ctx.Done():
			return
		case <-ask.C:
			if committed(ctx) {
				return
			}
		}
	}
}
