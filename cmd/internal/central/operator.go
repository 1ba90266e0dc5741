package central

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
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

// together is how many points are asked at once; the answers come in their order.
const together = 32

// errInterrupted tells that whoever asked was stopped before the answer: it is no success.
var errInterrupted = errors.New("interrupted before Central answered: it may carry the command out all the same")

// Ask posts one record and waits for its answer: a PointState, or, of a start, an Answer.
// ErrRefused with the reason where Central refused, ErrSilent where it did not answer.
func (o *Operator) Ask(ctx context.Context, c message.Control) (answer message.Message, err error) {
	err = o.AskEach(ctx, []domain.PointID{c.Point}, c, func(_, _ int, m message.Message) { answer = m })
	return answer, err
}

// AskEach asks the same of each point in turn and tells each answer as it comes. It goes on
// after a point that was refused, and returns all errors.
func (o *Operator) AskEach(ctx context.Context, points []domain.PointID, c message.Control, tell func(done, total int, answer message.Message)) error {
	var errs []error
	done := 0
	c.By = operatorName()
	for chunk := range slices.Chunk(points, together) {
		asked, err := o.post(ctx, c, chunk)
		for i, point := range chunk {
			var answer message.Message
			if err == nil {
				answer, err = o.await(ctx, asked[i])
			}
			if ctx.Err() != nil {
				err = errInterrupted
			}
			done++
			if err == nil {
				tell(done, len(points), answer)
				continue
			}
			errs = append(errs, fmt.Errorf("%s %s: %w", c.Action, point, err))
			if !errors.Is(err, ErrRefused) {
				o.forget(asked[i:]) // nobody answers: not the next ones either
				return errors.Join(errs...)
			}
			err = nil
		}
	}
	return errors.Join(errs...)
}

// question is a record that was posted and not answered.
type question struct {
	id     string
	answer chan message.Message // has room for one
}

// post posts a record for each point, in their order. Its questions are asked also where
// the error says that it is not known whether they are.
func (o *Operator) post(ctx context.Context, c message.Control, points []domain.PointID) ([]question, error) {
	asked := make([]question, len(points))
	records := make([]message.Message, len(points))
	o.mu.Lock()
	for i, point := range points {
		asked[i] = question{uuid.NewString(), make(chan message.Message, 1)}
		c.Point, c.ID = point, asked[i].id
		o.waiting[c.ID], records[i] = asked[i].answer, c
	}
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	err := o.transport.Send(ctx, records...)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("the broker did not take the command within %s: %w", answerWithin, err)
	}
	return asked, err
}

func (o *Operator) forget(asked []question) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, q := range asked {
		delete(o.waiting, q.id)
	}
}

// await waits for an answer.
func (o *Operator) await(ctx context.Context, asked question) (message.Message, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerWithin, ErrSilent)
	defer cancel()
	select {
	case m := <-asked.answer:
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

// operatorName is who types: the user at the machine, as far as the contract's ids allow.
func operatorName() string {
	host, _ := os.Hostname()
	if u, err := user.Current(); err == nil {
		return u.Username + "@" + host
	}
	return "operator@" + host
}
