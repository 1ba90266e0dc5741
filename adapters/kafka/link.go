package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/IBM/sarama"
	"github.com/eapache/go-resiliency/breaker"
)

// link is the connection for sending and administration. It is replaced when sarama's
// producer gives up: after three failures it refuses a topic for ten seconds, whatever the
// broker does, so an outage would last longer for us than for the broker.
type link struct {
	client   sarama.Client
	producer sarama.SyncProducer
	// users are those that use it; whoever replaced it waits for them before closing it.
	users sync.WaitGroup
}

func (l *link) close() error {
	l.users.Wait()
	return errors.Join(l.producer.Close(), l.client.Close())
}

// links holds the current link.
type links struct {
	mu      sync.Mutex
	current *link // nil before Connect has succeeded and after Close
	renewal *renewal
	retired sync.WaitGroup
}

// renewal is an attempt at a new link that all who need one wait for.
type renewal struct {
	done chan struct{}
	err  error
}

// acquire is the current link, which release gives back.
func (t *Transport) acquire() (*link, error) {
	t.links.mu.Lock()
	defer t.links.mu.Unlock()
	if t.links.current == nil {
		return nil, ErrClosed
	}
	t.links.current.users.Add(1)
	return t.links.current, nil
}

func (*Transport) release(l *link) { l.users.Done() }

// dial makes the first link; it tries until ctx ends, or the error is one that stays.
func (t *Transport) dial(ctx context.Context) error {
	type result struct {
		link *link
		err  error
	}
	said := map[string]bool{} // causes may alternate
	var last error
	for p := (pauses{}); ; {
		attempt := make(chan result, 1)
		go func() {
			l, err := t.tryDial()
			attempt <- result{l, err}
		}()
		select {
		case r := <-attempt:
			if r.err == nil {
				if len(said) > 0 {
					t.log.Info("Kafka is reached", "brokers", t.brokers)
				}
				t.links.current = r.link
				return nil
			}
			last = r.err
			if isLasting(last) {
				return last
			}
			if text := last.Error(); !said[text] {
				said[text] = true
				t.log.Warn(text + "; trying again")
			}
			if !p.wait(ctx.Done(), nil) {
				return last
			}
		case <-ctx.Done():
			go func() { // the attempt ends by itself, within its timeouts
				if r := <-attempt; r.err == nil {
					_ = r.link.close()
				}
			}()
			if last != nil {
				return last
			}
			return t.explain("", ctx.Err())
		}
	}
}

func (t *Transport) tryDial() (*link, error) {
	// A client takes a minute to say that a broker hangs; a ping knows soon.
	p := t.newPinger(t.linked)
	err := p.ping()
	p.close()
	if err != nil {
		return nil, t.explain("", err)
	}
	client, err := sarama.NewClient(t.brokers, t.settings(t.linked))
	if err != nil {
		if cutOff(err) {
			err = t.probeAll(t.linked, err)
		}
		return nil, t.explain("", err)
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err == nil {
		return &link{client: client, producer: producer}, nil
	}
	if errors.Is(err, sarama.ErrClusterAuthorizationFailed) { // it may write nothing: say what it should
		if missing := t.permission(client); missing != nil {
			err = missing
		}
	}
	var named []string
	for _, b := range client.Brokers() {
		named = append(named, b.Addr())
	}
	_ = client.Close()
	if cause := networkCause(err); cause != "" && len(named) > 0 {
		return nil, fmt.Errorf("%w: %s answers, but the broker that it names, %s, does not (%s): correct the broker's advertised.listeners, or make that name known here",
			ErrUnreachable, strings.Join(t.brokers, ", "), strings.Join(named, ", "), cause)
	}
	return nil, t.explain("", err)
}

// gaveUp tells whether sarama's producer refuses a topic because of what happened before.
func gaveUp(err error) bool { return errors.Is(err, breaker.ErrBreakerOpen) }

// renew replaces a link, unless somebody has.
func (t *Transport) renew(ctx context.Context, old *link) error {
	t.links.mu.Lock()
	if t.links.current != old {
		t.links.mu.Unlock()
		return nil
	}
	r := t.links.renewal
	if r == nil {
		r = &renewal{done: make(chan struct{})}
		t.links.renewal = r
		t.links.retired.Add(1)
		go t.replace(r, old)
	}
	t.links.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return t.explain("", ctx.Err())
	}
}

func (t *Transport) replace(r *renewal, old *link) {
	defer t.links.retired.Done()
	l, err := t.tryDial()
	t.links.mu.Lock()
	surplus := l
	if err == nil && t.links.current == old { // not closed meanwhile
		t.links.current, surplus = l, old
	}
	r.err = err
	t.links.renewal = nil
	t.links.mu.Unlock()
	close(r.done)
	if surplus != nil {
		_ = surplus.close()
	}
}

// closeLinks closes what there is, after what is being sent.
func (t *Transport) closeLinks() error {
	t.links.mu.Lock()
	l := t.links.current
	t.links.current = nil
	t.links.mu.Unlock()
	var err error
	if l != nil {
		err = l.close()
	}
	t.links.retired.Wait()
	return err
}
