package kafka

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

const (
	pingEvery = time.Second
	// pingTimeout is how long the answer to a ping may take, and then that to another over a
	// new connection, before the broker is taken to be away.
	pingTimeout = 3 * time.Second
	// trustEvery is how soon a topic's changed settings are noticed.
	trustEvery = time.Minute
)

// watch knows whether the broker answers, and who wants to know.
type watch struct {
	mu    sync.Mutex
	down  error // nil: it answers
	heard map[chan news]struct{}
	// askedAt is when the ping was sent that is not answered yet; nil where there is none.
	askedAt atomic.Pointer[time.Time]
}

// news is nil where the broker answers.
type news struct{ err error }

// Watch tells of each change: whether a broker answers, pinged about once a second, with
// the reason where none does. A Transport begins with one that does; if none does when
// Watch is called, the first call says so. It calls change one at a time and blocks until
// ctx ends, or the Transport is closed.
func (t *Transport) Watch(ctx context.Context, change func(up bool, err error)) {
	latest := make(chan news, 1)
	t.watch.mu.Lock()
	if t.watch.heard == nil {
		t.watch.heard = make(map[chan news]struct{})
	}
	t.watch.heard[latest] = struct{}{}
	if t.watch.down != nil {
		latest <- news{t.watch.down}
	}
	t.watch.mu.Unlock()
	defer func() {
		t.watch.mu.Lock()
		delete(t.watch.heard, latest)
		t.watch.mu.Unlock()
	}()
	up := true
	for {
		select {
		case n := <-latest:
			if up != (n.err == nil) {
				up = n.err == nil
				change(up, n.err)
			}
		case <-ctx.Done():
			return
		case <-t.life.Done():
			return
		}
	}
}

// keepWatch pings until the Transport is closed, says each change in one line and reads the
// topics' settings now and then.
func (t *Transport) keepWatch() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	p := t.newPinger(t.life)
	defer p.close()
	read := time.Now()
	for {
		select {
		case <-tick.C:
		case <-t.life.Done():
			return
		}
		asked := time.Now()
		t.watch.askedAt.Store(&asked)
		err := p.ping()
		t.watch.askedAt.Store(nil)
		if t.life.Err() != nil {
			return
		}
		if t.heard(t.explain("", err)) || err == nil && time.Since(read) > trustEvery {
			read = time.Now()
			t.readTrust()
		}
		t.permit()
	}
}

// heard takes a ping's result and tells whether the broker has come back.
func (t *Transport) heard(err error) (back bool) {
	w := &t.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if (err == nil) == (w.down == nil) && isLasting(err) == isLasting(w.down) {
		return false
	}
	w.down = err
	if err != nil {
		if !isLasting(err) || !slices.Contains(t.refused(), toConnect) {
			t.log.Warn(err.Error() + "; trying again")
		}
	} else {
		t.log.Info("Kafka is reached again", "brokers", t.brokers)
	}
	for latest := range w.heard {
		select { // whoever is slow hears the latest
		case <-latest:
		default:
		}
		latest <- news{err}
	}
	return err == nil
}

// isDenied tells whether the broker does not let the program in, as far as the watch knows.
func (t *Transport) isDenied() bool {
	t.watch.mu.Lock()
	defer t.watch.mu.Unlock()
	return isLasting(t.watch.down)
}

// Unanswered is for how long the broker has owed an answer to a ping; 0 where it owes none.
// A broker that hangs is not known to be away for a while, and nobody is heard meanwhile.
func (t *Transport) Unanswered() time.Duration {
	if asked := t.watch.askedAt.Load(); asked != nil {
		return time.Since(*asked)
	}
	return 0
}

// pinger asks the brokers in turn for nothing, over a connection of its own: another's may
// be busy with a fetch.
type pinger struct {
	transport *Transport
	ctx       context.Context
	settings  *sarama.Config
	current   *sarama.Broker
	next      int
}

func (t *Transport) newPinger(ctx context.Context) *pinger {
	p := &pinger{transport: t, ctx: ctx, settings: t.settings(ctx)}
	p.settings.Net.ReadTimeout = pingTimeout
	p.settings.ApiVersionsRequest = false // a ping is one
	return p
}

// ping is nil where a broker answers. A connection that is broken is no sign of a broker
// that is down until none of them takes a new one.
func (p *pinger) ping() error {
	if p.current != nil {
		if _, err := p.current.ApiVersions(&sarama.ApiVersionsRequest{}); err == nil {
			return nil
		}
		p.close()
	}
	var failed error
	brokers := p.transport.brokers
	for range brokers {
		address := brokers[p.next]
		err := p.reach(address)
		if err != nil && cutOff(err) { // the broker may have gone just now
			err = p.reach(address)
		}
		if err == nil {
			return nil
		}
		err = p.transport.probeIfCut(p.ctx, address, err)
		if failed == nil || !isLasting(failed) { // what somebody has to change is worth more
			failed = err
		}
		p.next = (p.next + 1) % len(brokers)
	}
	return failed
}

// reach connects to a broker and asks.
func (p *pinger) reach(address string) error {
	b := sarama.NewBroker(address)
	err := b.Open(p.settings)
	if err != nil {
		return err
	}
	if _, err = b.Connected(); err == nil {
		if _, err = b.ApiVersions(&sarama.ApiVersionsRequest{}); err == nil {
			p.current = b
			return nil
		}
	}
	_ = b.Close()
	return err
}

func (p *pinger) close() {
	if p.current != nil {
		_ = p.current.Close()
		p.current = nil
	}
}
