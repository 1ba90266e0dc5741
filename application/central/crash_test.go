package central_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Central is killed, or its store or its broker fail, at every point of a busy history.
// The records that were not acknowledged come again.

// faults lets steps fail: each call of the log, before it is made and after, and each
// message that is sent.
type faults struct {
	eventlog.Log
	// left is how many steps go well before the one that fails; negative: none fails.
	left  int
	steps int
	sent  []message.Message
	// between is called before each step.
	between func()
}

func (f *faults) step() error {
	if f.between != nil {
		f.between()
	}
	f.steps++
	f.left--
	if f.left == -1 {
		return errAway
	}
	return nil
}

func (f *faults) Append(ctx context.Context, c eventlog.Commit) error {
	if err := f.step(); err != nil {
		return err
	}
	if err := f.Log.Append(ctx, c); err != nil {
		return err
	}
	return f.step()
}

func (f *faults) Head(ctx context.Context, s eventlog.Stream) (eventlog.Head, error) {
	if err := f.step(); err != nil {
		return eventlog.Head{}, err
	}
	return f.Log.Head(ctx, s)
}

func (f *faults) Read(ctx context.Context, s eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	if err := f.step(); err != nil {
		return func(yield func(eventlog.Commit, error) bool) { yield(eventlog.Commit{}, err) }
	}
	return f.Log.Read(ctx, s, from)
}

func (f *faults) Rehydrate(ctx context.Context, s eventlog.Stream) ([]eventlog.Commit, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.Log.Rehydrate(ctx, s)
}

func (f *faults) ByCause(ctx context.Context, c eventlog.Cause) (eventlog.Commit, bool, error) {
	if err := f.step(); err != nil {
		return eventlog.Commit{}, false, err
	}
	return f.Log.ByCause(ctx, c)
}

// Publish is central.Publisher's: the messages are sent one by one.
func (f *faults) Publish(_ context.Context, p central.Publication) error {
	for _, m := range p.Messages {
		if err := f.step(); err != nil {
			return err
		}
		f.sent = append(f.sent, m)
	}
	return f.step()
}

// attentive has been listening for ever, whatever happens.
type attentive struct{}

func (attentive) Since() domain.UnixMillis                             { return 0 }
func (attentive) Deaf(domain.UnixMillis)                               {}
func (attentive) Hear(domain.UnixMillis, message.Source) time.Duration { return 0 }
func (attentive) Count(error)                                          {}

// play is a history that is played to a Central, record by record. A record that fails comes
// again, and so does whatever its topic has after it.
type play struct {
	faults *faults
	log    *memory.Log
	core   *central.Central
	lane   *central.Lane
	// killed tells that a failure is the end of the process, not of a call.
	killed bool
	// patience is how many records of other topics are taken before a failed one comes again.
	patience int
}

func newPlay(left int) *play {
	log := memory.NewLog()
	p := &play{log: log, faults: &faults{Log: log, left: left}}
	p.core = &central.Central{
		Log: p.faults, Codec: eventjson.Codec{}, Publisher: p.faults, Signs: &memory.Signs{}, Listening: attentive{},
		Ignored: attentive{}, Patience: session.DefaultPatience, DefaultPrice: cheap, NewID: ids(),
	}
	p.lane = p.core.Lane()
	return p
}

// moment is a record, and when it is taken.
type moment struct {
	now      domain.UnixMillis
	received message.Received
}

func (p *play) take(t *testing.T, m moment) bool {
	t.Helper()
	err := p.lane.Take(t.Context(), m.now, m.received)
	var rejected *message.RejectedError
	if err == nil || errors.As(err, &rejected) {
		return true
	}
	if !errors.Is(err, errAway) {
		t.Fatalf("%+v: %v", m.received.Message, err)
	}
	if p.killed {
		p.lane = p.core.Lane()
	}
	return false
}

func (p *play) all(t *testing.T, history []moment) {
	t.Helper()
	waiting := map[string][]moment{}
	left := 0 // records until those that wait come again
	again := func() {
		for topic, moments := range waiting {
			delete(waiting, topic)
			for _, m := range moments {
				for !p.take(t, m) {
				}
			}
		}
	}
	for _, m := range history {
		topic := m.received.Source.Topic
		switch {
		case len(waiting[topic]) > 0:
			waiting[topic] = append(waiting[topic], m)
		case p.take(t, m):
		case p.patience == 0:
			for !p.take(t, m) {
			}
		default:
			waiting[topic] = append(waiting[topic], m)
			left = p.patience
			continue
		}
		if left--; left == 0 {
			again()
		}
	}
	again()
}

// busy is a history with all that happens to two points.
func busy(t testing.TB) []moment {
	w := newWorld(t)
	var all []moment
	say := func(second int, m message.Message) {
		all = append(all, moment{seconds(second), w.record(seconds(second), m)})
	}
	at2 := func(m message.Message) message.Message {
		switch m := m.(type) {
		case message.Registration:
			m.Point = cp2
			return m
		case message.Health:
			m.Point = cp2
			return m
		case message.Control:
			m.Point = cp2
			return m
		}
		panic("no message of a point")
	}
	of := func(id domain.SessionID, point domain.PointID, driver domain.DriverID, m message.Message) message.Message {
		switch m := m.(type) {
		case message.MeterValue:
			m.Session, m.Point, m.Driver = id, point, driver
			return m
		case message.Done:
			m.Session, m.Point, m.Driver = id, point, driver
			return m
		}
		panic("no report")
	}
	start := func(id string, point domain.PointID, driver domain.DriverID) message.Control {
		return message.Control{ID: id, Point: point, Action: message.ActionStart, Driver: driver, By: "ops"}
	}
	price := domain.MicroEurosPerKWh(450_000)

	say(0, registration(cheap))
	say(0, at2(registration(cheap)))
	say(1, health(message.HealthOK))
	say(1, at2(health(message.HealthOK)))
	// A supply that is stopped and resumed, while others ask.
	say(2, request(dan, danRequest))
	say(2, request(eva, "r-2"))
	say(3, sample(dans, 1, 1, seconds(3)))
	say(4, sample(dans, 2, 2, seconds(4)))
	say(4, registration(cheap+1))
	say(5, control("c-1", message.ActionStop))
	say(6, sample(dans, 3, 3, seconds(5)))
	say(6, control("c-2", message.ActionResume))
	say(7, done(dans, 4, message.DoneStopped, seconds(6)))
	say(7, health(message.HealthOK))
	say(8, request(eva, "r-3"))
	say(8, request(dan, danRequest)) // repeated
	// Its Engine goes on after all, and a late done has more.
	say(20, sample(dans, 9, 9, seconds(20)))
	say(21, done(dans, 6, message.DoneRecovered, seconds(7)))
	// Meanwhile nobody takes up eva's; at the other point an operator starts one.
	say(9, start("c-3", cp2, dan))
	third := session.IDFor(cp2, dan, "c-3")
	say(10, of(third, cp2, dan, sample(dans, 1, 5, seconds(10))))
	say(12, at2(health(message.HealthKO)))
	say(13, of(third, cp2, dan, sample(dans, 2, 6, seconds(13))))
	say(14, at2(health(message.HealthOK)))
	say(14, at2(health(message.HealthRecovered)))
	say(25, health(message.HealthOK))
	say(26, at2(health(message.HealthOK)))
	say(68, deadline(session.IDFor(cp1, eva, "r-3"), session.TakeUp, seconds(68)))
	say(69, func() message.Message {
		c := deadline(third, session.FinalReport, seconds(72))
		c.Point = cp2
		return c
	}()) // too early
	say(73, func() message.Message {
		c := deadline(third, session.FinalReport, seconds(72))
		c.Point = cp2
		return c
	}())
	// A price of the operator's; a supply that falls silent; a Monitor that dies.
	say(74, func() message.Message { c := control("c-4", message.ActionPrice); c.Price = &price; return c }())
	say(75, health(message.HealthOK))
	say(76, request(eva, ""))
	fifth := session.IDForCause(cp1, eva, eventlog.Cause{
		Topic: all[len(all)-1].received.Source.Topic, Offset: all[len(all)-1].received.Source.Offset,
		Digest: all[len(all)-1].received.Source.Digest,
	}.String())
	say(77, of(fifth, cp1, eva, sample(dans, 0, 3, 0)))
	say(78, of(fifth, cp1, eva, sample(dans, 0, 4, 0)))
	say(100, leaseDeadline())
	say(101, of(fifth, cp1, eva, done(dans, 5, message.DoneStopped, seconds(100))))
	say(102, of(fifth, cp1, eva, done(dans, 5, message.DoneStopped, seconds(100)))) // repeated
	say(103, health(message.HealthOK))
	say(104, control("c-5", message.ActionPrice))
	say(105, sample(dans, 10, 11, seconds(105))) // of a session that closed long ago
	say(106, message.Done{Session: "none", Point: cp1, Driver: dan})
	say(107, control("c-6", message.ActionStop))
	say(108, at2(control("c-7", message.ActionStop)))
	// Prices ahead of time: one that counts before anybody notices, one that is replaced.
	say(109, control("c-8", message.ActionResume))
	say(110, health(message.HealthOK))
	say(110, priceFrom("c-9", price, seconds(113)))
	say(111, priceFrom("c-10", price+1, seconds(120)))
	back := control("c-11", message.ActionPrice)
	back.From = seconds(118)
	say(112, back)
	say(113, request(dan, "r-7"))
	sixth := session.IDFor(cp1, dan, "r-7")
	say(114, priceDeadline(seconds(113)))
	say(114, sample(sixth, 1, 1000, seconds(114)))
	say(118, priceDeadline(seconds(118)))
	say(119, done(sixth, 2000, message.DoneFinished, seconds(119)))
	say(120, priceDeadline(seconds(120))) // it was replaced
	say(121, done(sixth, 2500, message.DoneRecovered, seconds(119)))
	return all
}

// storedBy is what a log holds in each stream, but for what a repeat may change: the ids of
// commits, and how many repeats were ignored.
func storedBy(t *testing.T, log eventlog.Log) map[eventlog.Stream][]any {
	t.Helper()
	all := map[eventlog.Stream][]any{}
	for c, err := range log.All(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Parts {
			for _, e := range decodeAll(t, p) {
				v := reflect.New(reflect.TypeOf(e)).Elem()
				v.Set(reflect.ValueOf(e))
				if ignored := v.FieldByName("Ignored"); ignored.IsValid() {
					ignored.SetZero()
				}
				all[p.Stream] = append(all[p.Stream], v.Interface(), c.At, c.Cause)
			}
		}
	}
	return all
}

// told is what was sent, without repeats and but for the digests of tickets.
func told(sent []message.Message) map[string]bool {
	all := map[string]bool{}
	for _, m := range sent {
		switch v := m.(type) {
		case message.PointState:
			continue // as it was when it was sent
		case message.Ticket:
			v.Digest = ""
			m = v
		}
		all[strings.TrimSpace(describe([]message.Message{m}))] = true
	}
	return all
}

func TestACrashAtAnyPointOfABusyHistory(t *testing.T) {
	history := busy(t)
	without := newPlay(-1)
	without.all(t, history)
	ledger := readLedger(t, without.log)
	ledger.checkSent(without.faults.sent, true)
	without.core.Log = without.log
	ledger.checkReplay(without.core, without.lane)
	wantStored, wantTold := storedBy(t, without.log), told(without.faults.sent)
	if len(ledger.sessions) != 6 || without.faults.steps < 150 {
		t.Fatalf("the history has %d sessions and %d steps", len(ledger.sessions), without.faults.steps)
	}

	for _, killed := range []bool{true, false} {
		t.Run(fmt.Sprintf("killed %v", killed), func(t *testing.T) {
			for left := range without.faults.steps {
				p := newPlay(left)
				p.killed = killed
				p.all(t, history)
				if got := storedBy(t, p.log); !reflect.DeepEqual(got, wantStored) {
					t.Fatalf("after a failure at step %d the log says\n%v\nwant\n%v", left, got, wantStored)
				}
				if got := told(p.faults.sent); !reflect.DeepEqual(got, wantTold) {
					t.Fatalf("after a failure at step %d told\n%v\nwant\n%v", left, got, wantTold)
				}
				ledger := readLedger(t, p.log)
				ledger.checkSent(p.faults.sent, true)
				p.core.Log = p.log
				ledger.checkReplay(p.core, p.lane)
			}
		})
	}
	t.Run("redelivered one to four records later", func(t *testing.T) {
		for left := range without.faults.steps {
			p := newPlay(left)
			p.killed, p.patience = left%8 < 4, 1+left%4
			p.all(t, history)
			ledger := readLedger(t, p.log)
			ledger.checkSent(p.faults.sent, true)
			p.core.Log = p.log
			ledger.checkReplay(p.core, p.lane)
		}
	})
}
