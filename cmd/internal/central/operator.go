package central

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"sync"
	"time"

	"github.com/google/uuid"

	"evcharging/adapters/kafka"
	"evcharging/application/message"
	"evcharging/domain"
)

// answerWithin is how long an operator waits for Central's answer.
const answerWithin = 10 * time.Second

var (
	// ErrSilent tells that Central did not answer.
	ErrSilent = errors.New("Central did not answer within 10 s: is it running, on this broker?")
	// ErrRefused tells that Central refused.
	ErrRefused = errors.New("refused")
)

// Operator posts what an operator asks to ev.control and waits for the answer. Safe for
// use from several goroutines.
type Operator struct {
	transport *kafka.Transport
	ready     chan struct{}
	ended     sync.WaitGroup
	err       error

	mu      sync.Mutex
	waiting map[string]chan<- message.Message
}

// StartOperator starts to listen for answers until ctx ends.
func StartOperator(ctx context.Context, transport *kafka.Transport) *Operator {
	topics := transport.Topics()
	o := &Operator{transport: transport, ready: make(chan struct{}), waiting: map[string]chan<- message.Message{}}
	var once sync.Once
	o.ended.Go(func() {
		o.err = transport.Follow(ctx, []string{topics.State, topics.Auth, kafka.DeadLetters(topics.Control)}, now(),
			func() { once.Do(func() { close(o.ready) }) },
			func(_ context.Context, r message.Received) { o.hear(r.Message) })
		once.Do(func() { close(o.ready) })
	})
	return o
}

// Ready waits until answers are heard.
func (o *Operator) Ready(ctx context.Context) error {
	select {
	case <-o.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (o *Operator) wait() { o.ended.Wait() }

func (o *Operator) hear(m message.Message) {
	id := ""
	switch m := m.(type) {
	case message.PointState:
		id = m.Control
	case message.Answer:
		id = string(m.Request)
	case message.DeadLetter:
		if c, ok := m.Message.(message.Control); ok {
			id = c.ID
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if answer, ok := o.waiting[id]; ok && id != "" {
		delete(o.waiting, id)
		answer <- m // it has room for one
	}
}

// Ask posts one record and waits for its answer: a PointState, or, of a start, an Answer.
// ErrRefused with the reason where Central refused, ErrSilent where it did not answer.
func (o *Operator) Ask(ctx context.Context, c message.Control) (message.Message, error) {
	c.ID, c.By = uuid.NewString(), operatorName()
	answer := make(chan message.Message, 1)
	o.mu.Lock()
	o.waiting[c.ID] = answer
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		delete(o.waiting, c.ID)
		o.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, answerWithin, ErrSilent)
	defer cancel()
	if err := o.transport.Send(ctx, c); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, fmt.Errorf("the broker did not take the command within %s: %w", answerWithin, err)
		}
		return nil, err
	}
	select {
	case m := <-answer:
		switch m := m.(type) {
		case message.Answer:
			if !m.Authorized {
				return m, fmt.Errorf("%w: %s", ErrRefused, m.Reason)
			}
		case message.PointState:
			if m.Refusal != "" {
				return m, fmt.Errorf("%w: %s", ErrRefused, m.Refusal)
			}
		case message.DeadLetter:
			return m, fmt.Errorf("%w: %s", ErrRefused, m.Reason)
		}
		return m, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// AskEach asks the same of each point in turn and tells how far it is. It goes on after
// a point that failed, and returns all errors.
func (o *Operator) AskEach(ctx context.Context, points []domain.PointID, c message.Control, progress func(done, total int)) error {
	var errs []error
	for i, p := range points {
		c.Point = p
		if _, err := o.Ask(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p, err))
			if ctx.Err() != nil || errors.Is(err, ErrSilent) {
				break
			}
		}
		progress(i+1, len(points))
	}
	return errors.Join(errs...)
}

// operatorName is who types: the user at the machine, as far as the contract's ids allow.
func operatorName() string {
	host, _ := os.Hostname()
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return "operator@" + host
}
