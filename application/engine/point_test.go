package engine_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"evcharging/application/engine"
	"evcharging/application/message"
	"evcharging/domain"
)

const (
	cp1     = domain.PointID("CP-001")
	session = domain.SessionID("s-1")
	other   = domain.SessionID("s-2")
	driver  = domain.DriverID("D-7")
	price   = domain.MicroEurosPerKWh(300_000)
	began   = domain.UnixMillis(1_800_000_000_000)
)

var errAway = errors.New("the broker is away")

// tester is what testing.T and rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// point is an Engine with its clock, its journal and a broker that takes everything
// at once, or nothing.
type point struct {
	t        tester
	settings engine.Settings
	engine   *engine.Engine
	now      domain.UnixMillis
	// journal is what a kill leaves.
	journal []engine.Record
	// away makes the broker refuse; slow makes it never answer.
	away, slow bool
	sent       []message.Message
	batches    int
	said       []string
}

func newPoint(t tester) *point {
	p := &point{t: t, now: began, settings: engine.Settings{
		Point: cp1, Speed: 1,
		Curve: engine.Curve{Battery: 40_000_000, MaxPower: 36_000},
	}}
	p.start()
	return p
}

func newManualPoint(t tester) *point {
	p := newPoint(t)
	p.settings.ManualPlug = true
	p.start()
	return p
}

// start brings up an Engine on what the journal holds.
func (p *point) start() {
	p.t.Helper()
	var out engine.Outcome
	p.engine, out = engine.New(p.settings, memory(p.journal), p.now)
	p.perform(out)
	p.step(engine.Link{Up: true})
}

func (p *point) killAndRestart() {
	p.t.Helper()
	p.start()
}

func (p *point) step(in engine.Input) {
	p.t.Helper()
	p.perform(p.engine.Step(in, p.now))
}

func (p *point) perform(out engine.Outcome) {
	p.t.Helper()
	if !out.Record.IsEmpty() {
		p.journal = append(p.journal, out.Record)
	}
	for _, n := range out.Notices {
		p.said = append(p.said, n.Text)
	}
	if out.Send == nil {
		return
	}
	if len(out.Send.Messages) == 0 {
		p.t.Fatalf("an empty batch")
	}
	p.batches++
	switch {
	case p.slow:
	case p.away:
		p.step(engine.Sent{Batch: out.Send.Number, Err: errAway})
	default:
		p.sent = append(p.sent, out.Send.Messages...)
		p.step(engine.Sent{Batch: out.Send.Number})
	}
}

// seconds lets the clock run, with a tick at the end of each second.
func (p *point) seconds(n int) {
	p.t.Helper()
	for range n {
		p.now += 1000
		p.step(engine.Tick{})
	}
}

func (p *point) receive(o message.Order) {
	p.t.Helper()
	p.step(engine.OrderReceived{Order: o, Timestamp: p.now, Trusted: true})
}

// take empties what was sent so far and gives it.
func (p *point) take() []message.Message {
	sent := p.sent
	p.sent = nil
	return sent
}

func (p *point) dones() []message.Done { return only[message.Done](p.sent) }

func (p *point) samples() []message.MeterValue { return only[message.MeterValue](p.sent) }

func only[M message.Message](all []message.Message) []M {
	var ms []M
	for _, m := range all {
		if m, ok := m.(M); ok {
			ms = append(ms, m)
		}
	}
	return ms
}

func (p *point) expectDones(want ...message.Done) {
	p.t.Helper()
	got := p.dones()
	if !slices.EqualFunc(got, want, sameDone) {
		p.t.Fatalf("dones:\n got %+v\nwant %+v", got, want)
	}
}

// sameDone compares what a driver is billed for, and why; At and Seq only where wanted.
func sameDone(got, want message.Done) bool {
	if want.At == 0 {
		got.At = 0
	}
	if want.Seq == 0 {
		got.Seq = 0
	}
	return got == want
}

func (p *point) expectSaid(words string) {
	p.t.Helper()
	if !slices.ContainsFunc(p.said, func(s string) bool { return strings.Contains(s, words) }) {
		p.t.Fatalf("nothing said of %q in %q", words, p.said)
	}
}

func memory(journal []engine.Record) engine.Memory {
	var m engine.Memory
	for _, r := range journal {
		m.Apply(r)
	}
	return m
}

func start(s domain.SessionID, number domain.Order) message.Order {
	charge := price
	return message.Order{Kind: message.OrderStart, Point: cp1, Session: s, Driver: driver, Price: &charge, Number: number}
}

func stop(s domain.SessionID, number domain.Order) message.Order {
	return message.Order{Kind: message.OrderStop, Point: cp1, Session: s, Driver: driver, Number: number}
}

func order(kind message.OrderKind, number domain.Order) message.Order {
	return message.Order{Kind: kind, Point: cp1, Number: number}
}

func done(s domain.SessionID, energy domain.MilliwattHours, amount domain.MicroEuros, reason message.DoneReason) message.Done {
	return message.Done{Session: s, Point: cp1, Driver: driver, Energy: energy, Amount: amount, Reason: reason}
}

// 36 kW are 10 Wh, 10,000 mWh, a second; at 0.30 EUR/kWh 3,000 µEUR.
const (
	aSecond = domain.MilliwattHours(10_000)
	itsCost = domain.MicroEuros(3_000)
)

func TestGivenAnOrderWhenItIsRecordedThenOneRecordHoldsItsSession(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 5))
	i := slices.IndexFunc(p.journal, func(r engine.Record) bool { return r.Order != nil })
	if i < 0 || p.journal[i].Opened == nil || p.journal[i].Opened.ID != session || !p.journal[i].Durable() {
		t.Fatalf("journal: %+v", p.journal)
	}
	if got := memory(p.journal); got.Fence != (engine.TakenOrder{Number: 5, Kind: message.OrderStart}) {
		t.Fatalf("fence: %+v", got.Fence)
	}
}

func TestGivenARunningSupplyThenItReportsOnceASecondCumulatively(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.seconds(3)
	var want []message.MeterValue
	for i := range 4 {
		energy := domain.MilliwattHours(i) * aSecond
		want = append(want, message.MeterValue{
			Session: session, Point: cp1, Driver: driver, Power: 36_000,
			Energy: &energy, Amount: domain.MicroEuros(i) * itsCost, Seq: int64(i + 1), At: began.Add(time.Duration(i) * time.Second),
		})
	}
	if got := p.samples(); !reflect.DeepEqual(got, want) {
		t.Fatalf("samples:\n got %+v\nwant %+v", got, want)
	}
}

func TestGivenAStopBetweenTwoTicksThenItIsBilledToTheMillisecond(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.seconds(1)
	p.now += 500
	p.receive(stop(session, 2))
	p.expectDones(message.Done{
		Session: session, Point: cp1, Driver: driver, Energy: aSecond + aSecond/2, Amount: itsCost + itsCost/2,
		Reason: message.DoneStopped, Seq: 3, At: p.now,
	})
	p.seconds(3)
	if n := len(p.samples()); n != 2 {
		t.Fatalf("%d samples, some after the end", n)
	}
}
