package kafka

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/IBM/sarama"
	wm "github.com/ThreeDotsLabs/watermill/message"

	"evcharging/application/message"
	"evcharging/domain"
)

// owner is one reader's time with a partition, as sarama runs it: a session that is
// cancelled, a claim whose channel is closed then. Watermill's loop is stood in for by
// one that does the same: one record at a time, the next after the acknowledgement.
type owner struct {
	subscription *subscription
	log          []*sarama.ConsumerMessage
	ctx          context.Context
	revoke       context.CancelFunc

	mu        sync.Mutex
	marked    int64
	committed int64 // as of the last Commit
	commits   int
	late      bool // something was marked or committed after ConsumeClaim had returned
	ended     bool
}

func newOwner(s *subscription, log []*sarama.ConsumerMessage, from int64) *owner {
	o := &owner{subscription: s, log: log, marked: from}
	o.ctx, o.revoke = context.WithCancel(context.Background())
	return o
}

// run reads the partition until it is revoked, and returns what was marked.
func (o *owner) run() int64 {
	messages := make(chan *sarama.ConsumerMessage)
	from := o.marked
	go func() {
		defer close(messages)
		for _, m := range o.log[from:] {
			again := *m // sarama makes them anew for each reader
			select {
			case messages <- &again:
			case <-o.ctx.Done():
				return
			}
		}
		<-o.ctx.Done()
	}()
	handed := make(chan *wm.Message)
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for m := range handed {
			handlers.Go(func() { o.subscription.process(m) })
		}
	})
	var reading sync.WaitGroup
	inner := loop{subscription: o.subscription, handed: handed, reading: &reading}
	_ = laned{ConsumerGroupHandler: inner, subscription: o.subscription}.ConsumeClaim(fakeSession{owner: o}, fakeClaim{messages: messages, from: from})
	o.mu.Lock()
	o.ended = true
	marked := o.marked
	o.mu.Unlock()
	go func() { // a handler that never returns leaves its lane behind
		reading.Wait()
		close(handed)
		handlers.Wait()
	}()
	return marked
}

type loop struct {
	sarama.ConsumerGroupHandler
	*subscription
	handed  chan<- *wm.Message
	reading *sync.WaitGroup
}

func (l loop) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	l.reading.Add(1)
	defer l.reading.Done()
	for raw := range claim.Messages() {
		m, _ := l.Unmarshal(raw)
		l.handed <- m
		<-m.Acked()
		if session.Context().Err() != nil {
			return nil
		}
		session.MarkMessage(raw, "")
	}
	return nil
}

type fakeSession struct {
	sarama.ConsumerGroupSession
	*owner
}

func (s fakeSession) Context() context.Context { return s.ctx }
func (s fakeSession) MarkOffset(_ string, _ int32, offset int64, _ string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = s.late || s.ended
	s.marked = max(s.marked, offset)
}

func (s fakeSession) MarkMessage(*sarama.ConsumerMessage, string) { panic("Watermill marks nothing") }

func (s fakeSession) Commit() {
	<-time.After(time.Millisecond) // a round trip
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = s.late || s.ended
	s.committed, s.commits = s.marked, s.commits+1
}

type fakeClaim struct {
	sarama.ConsumerGroupClaim
	messages <-chan *sarama.ConsumerMessage
	from     int64
}

func (fakeClaim) Topic() string                              { return "ev.supply.telemetry" }
func (fakeClaim) Partition() int32                           { return 0 }
func (c fakeClaim) InitialOffset() int64                     { return c.from }
func (c fakeClaim) Messages() <-chan *sarama.ConsumerMessage { return c.messages }

func testSubscription(handle func(context.Context, message.Received) error) *subscription {
	t := &Transport{log: slog.New(slog.DiscardHandler)}
	return &subscription{
		transport: t, topic: "ev.supply.telemetry", record: telemetry, handle: handle, stats: new(counters),
		waiting: make(map[*sarama.ConsumerMessage]*delivery), begun: make(map[*wm.Message]*delivery),
		points: turnstile{held: make(map[domain.PointID]chan struct{})},
	}
}

func partitionLog(tb testing.TB, points, samples int) []*sarama.ConsumerMessage {
	tb.Helper()
	var log []*sarama.ConsumerMessage
	for seq := range samples {
		for i := range points {
			log = append(log, &sarama.ConsumerMessage{
				Topic: "ev.supply.telemetry", Offset: int64(len(log)), Value: encodeOne(tb, sample(point(i), int64(seq+1))).value,
			})
		}
	}
	return log
}

// A partition goes from owner to owner, taken away at every moment, while handlers take
// their time and fail: nothing is lost, nothing is done out of order or twice at once, and
// nothing is marked that is not done or no longer ours.
func TestAPartitionTakenAwayAtEveryMoment(t *testing.T) {
	const points, samples, rounds = 5, 8, 300
	log := partitionLog(t, points, samples)
	for round := range rounds {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(round)))
			var mu sync.Mutex
			chance := func(n int) int {
				mu.Lock()
				defer mu.Unlock()
				return random.IntN(n)
			}
			l := newLedger(t)
			handled := make(map[int64]bool)
			s := testSubscription(func(ctx context.Context, r message.Received) error {
				m := r.Message.(message.MeterValue)
				l.enter(m)
				<-time.After(time.Duration(chance(20)) * time.Millisecond)
				if chance(6) == 0 {
					l.leave(m, false)
					return errors.New("now and then it fails")
				}
				l.leave(m, true)
				mu.Lock()
				defer mu.Unlock()
				handled[r.Source.Offset] = true
				return nil
			})
			marked := int64(0)
			for turn := 0; marked < int64(len(log)); turn++ {
				o := newOwner(s, log, marked)
				// Each owner has it for a while; the last for as long as it needs.
				if turn < 10 {
					time.AfterFunc(time.Duration(chance(60))*time.Millisecond, o.revoke)
				} else {
					time.AfterFunc(time.Hour, o.revoke)
				}
				marked = o.run()
				mu.Lock()
				for offset := range marked {
					if !handled[offset] {
						t.Errorf("%d is marked and %d was not done", marked, offset)
					}
				}
				mu.Unlock()
				if o.late {
					t.Error("something was marked after the partition had gone")
				}
			}
			if !l.complete(points, samples) {
				t.Error("samples are missing")
			}
			if len(s.waiting) != 0 || len(s.begun) != 0 || s.stats.inFlight.Load() != 0 {
				t.Errorf("left behind are %d and %d records, the window is %d", len(s.waiting), len(s.begun), s.stats.inFlight.Load())
			}
		})
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

// A record that its lane hands on when the partition is already being given up is not begun.
func TestNothingBeginsWhileAPartitionIsGivenUp(t *testing.T) {
	begun := false
	s := testSubscription(func(context.Context, message.Received) error { begun = true; return nil })
	o := newOwner(s, nil, 0)
	c := newClaim(fakeSession{owner: o}, fakeClaim{}, s)
	raw := partitionLog(t, 1, 1)[0]
	s.take(c, raw)
	c.stopFeeding()
	m, err := s.Unmarshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	s.process(m)
	select {
	case <-m.Acked():
	default:
		t.Error("its lane is not let go")
	}
	if !c.drain() || begun || o.marked != 0 {
		t.Errorf("begun: %v, marked: %d", begun, o.marked)
	}
}

// How long a revoked partition waits for a handler: that it ends is bounded, and what ends
// too late is not marked.
func TestDraining(t *testing.T) {
	tests := map[string]struct {
		handle func(ctx context.Context, never <-chan struct{}) error
		took   time.Duration
		marked int64
	}{
		"a handler that ends in time":     {func(context.Context, <-chan struct{}) error { <-time.After(5 * time.Second); return nil }, 4 * time.Second, 1},
		"one that ends with its context":  {func(ctx context.Context, _ <-chan struct{}) error { <-ctx.Done(); return ctx.Err() }, drainTime, 0},
		"one that never ends":             {func(_ context.Context, never <-chan struct{}) error { <-never; return nil }, drainTime + abandonTime, 0},
		"one that would be tried again":   {func(context.Context, <-chan struct{}) error { return errors.New("no") }, 0, 0},
		"one that was done at that point": {func(context.Context, <-chan struct{}) error { return nil }, 0, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			log := partitionLog(t, 1, 1)
			synctest.Test(t, func(t *testing.T) {
				never := make(chan struct{})
				s := testSubscription(func(ctx context.Context, _ message.Received) error { return test.handle(ctx, never) })
				o := newOwner(s, log, 0)
				begun := time.Now()
				time.AfterFunc(time.Second, o.revoke)
				marked := o.run()
				if took := time.Since(begun) - time.Second; took != test.took {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if marked != test.marked {
					t.Errorf("marked is %d, want %d", marked, test.marked)
				}
				close(never)
				synctest.Wait()
				if o.late || s.stats.inFlight.Load() != 0 {
					t.Errorf("marked afterwards: %v; the window is %d", o.late, s.stats.inFlight.Load())
				}
			})
		})
	}
}

// Where each acknowledgement is committed, it is so at once, without holding up the next
// record; what is acknowledged while a commit is under way shares the next.
func TestCommittingEach(t *testing.T) {
	log := partitionLog(t, 1, 10)
	synctest.Test(t, func(t *testing.T) {
		s := testSubscription(nil)
		s.commitEach = true
		o := newOwner(s, log, 0)
		s.handle = func(_ context.Context, r message.Received) error {
			offset := r.Source.Offset
			if offset < 5 { // a quick row
				return nil
			}
			<-time.After(10 * time.Millisecond)
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.committed != offset {
				t.Errorf("while %d is handled, %d is committed", offset, o.committed)
			}
			return nil
		}
		time.AfterFunc(time.Second, o.revoke)
		if marked := o.run(); marked != 10 || o.committed != 10 {
			t.Errorf("marked is %d, committed %d, want 10", marked, o.committed)
		}
		if o.commits > 8 {
			t.Errorf("there are %d commits: those of the quick row are to be one or two", o.commits)
		}
		if o.late {
			t.Error("there was a commit after the partition had gone")
		}
	})
	t.Run("the last one too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := testSubscription(func(context.Context, message.Received) error {
				<-time.After(2 * time.Second)
				return nil
			})
			s.commitEach = true
			o := newOwner(s, log[:1], 0)
			time.AfterFunc(time.Second, o.revoke)
			if o.run(); o.committed != 1 || o.late {
				t.Errorf("committed is %d, late: %v", o.committed, o.late)
			}
		})
	})
}
