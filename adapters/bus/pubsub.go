package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

var (
	// ErrNobody tells that a topic has no subscriber.
	ErrNobody = errors.New("nobody subscribes to the topic")
	// ErrClosed tells that the bus was closed before every subscriber had acknowledged.
	ErrClosed = errors.New("the bus is closed")
	// ErrNack tells that a subscriber refused the message without a word.
	ErrNack = errors.New("a subscriber refused the message")
)

// pubSub is the synchronous publish/subscribe. It is a message.Publisher and a
// message.Subscriber, safe for use from several goroutines.
type pubSub struct {
	mu     sync.RWMutex
	topics map[string][]*subscription
	closed chan struct{}
	once   sync.Once
	open   sync.WaitGroup // the goroutines that wait for a subscription's end
}

type subscription struct {
	out  chan *message.Message
	done chan struct{}
	// sending is held while a message is handed over, so that out is not closed meanwhile.
	sending sync.RWMutex
}

func newPubSub() *pubSub {
	return &pubSub{topics: map[string][]*subscription{}, closed: make(chan struct{})}
}

// Publish hands each message to every subscriber of the topic at once, and returns nil when
// all of them have acknowledged.
func (p *pubSub) Publish(topic string, messages ...*message.Message) error {
	p.mu.RLock()
	subscriptions := p.topics[topic]
	p.mu.RUnlock()
	for _, m := range messages {
		if len(subscriptions) == 0 {
			return fmt.Errorf("publish to %s: %w", topic, ErrNobody)
		}
		copies := make([]*message.Message, len(subscriptions))
		var err error
		for i, s := range subscriptions {
			copies[i] = m.Copy()
			copies[i].SetContext(m.Context())
			if e := s.send(copies[i], p.closed); e != nil {
				copies[i], err = nil, e
			}
		}
		for _, c := range copies {
			if c == nil {
				continue
			}
			if e := p.settled(c); e != nil {
				err = e
			}
		}
		if err != nil {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
	}
	return nil
}

func (s *subscription) send(m *message.Message, closed <-chan struct{}) error {
	s.sending.RLock()
	defer s.sending.RUnlock()
	select {
	case <-s.done:
		return ErrClosed
	default:
	}
	select {
	case s.out <- m:
		return nil
	case <-s.done:
	case <-closed:
	case <-m.Context().Done():
		return m.Context().Err()
	}
	return ErrClosed
}

// settled waits for the subscriber's word. A message that was handed over is always
// settled: the router waits for its handlers when it closes.
func (p *pubSub) settled(m *message.Message) error {
	select {
	case <-m.Acked():
		return nil
	case <-m.Nacked():
		return ErrNack
	case <-p.closed:
		return ErrClosed
	}
}

// Subscribe gives the topic's messages until ctx ends or the bus is closed.
func (p *pubSub) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s := &subscription{out: make(chan *message.Message), done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		return nil, ErrClosed
	default:
	}
	// A new slice each time: publishers read the old one without a lock.
	p.topics[topic] = append(append([]*subscription(nil), p.topics[topic]...), s)
	p.open.Add(1)
	go func() {
		defer p.open.Done()
		select {
		case <-ctx.Done():
		case <-p.closed:
		}
		p.remove(topic, s)
	}()
	return s.out, nil
}

func (p *pubSub) remove(topic string, s *subscription) {
	p.mu.Lock()
	var rest []*subscription
	for _, other := range p.topics[topic] {
		if other != s {
			rest = append(rest, other)
		}
	}
	p.topics[topic] = rest
	p.mu.Unlock()
	close(s.done)
	s.sending.Lock()
	close(s.out)
	s.sending.Unlock()
}

// Close ends every subscription and waits for them. It may be called again.
func (p *pubSub) Close() error {
	p.once.Do(func() {
		p.mu.Lock()
		close(p.closed)
		p.mu.Unlock()
	})
	p.open.Wait()
	return nil
}
