package engine

import (
	"fmt"

	"evcharging/application/message"
	"evcharging/domain"
)

// MaxSpeed is the most by which a simulation can be quickened.
const MaxSpeed = 10_000

// Settings say what a point is. They don't change.
type Settings struct {
	Point domain.PointID
	Curve Curve
	// Speed is how many times as fast as the clock the simulated battery is charged, 1 to
	// MaxSpeed. Reports stay one a second.
	Speed int
	// ManualPlug tells that a supply starts only once a driver has plugged in.
	ManualPlug bool
}

// Engine is the state of one charging point. It is not safe for use from several
// goroutines.
type Engine struct {
	settings  Settings
	startedAt domain.UnixMillis
	memory    Memory

	broken   bool
	plugged  bool
	stopping bool
	linkUp   bool
	// supplying tells that energy flows to memory.Open; false while it waits for the plug.
	supplying bool
	meter     meter
	outbox    outbox
	requests  []openRequest

	out Outcome
}

// New is an Engine that comes up with what its journal remembers, and what it has to do
// first: the final report of the supply in which it was killed. The Engine owns the
// memory from now on.
func New(s Settings, m Memory, now domain.UnixMillis) (*Engine, Outcome) {
	e := &Engine{settings: s, startedAt: now, memory: m}
	for _, session := range m.Unreported() {
		e.report(session)
	}
	if open := m.Open; open != nil {
		e.say("was killed during the supply %s to %s: reporting the %s kWh that were measured", open.ID, open.Driver, m.Last.Energy)
		e.meter.energy = m.Last.Energy
		e.end(message.DoneRecovered, max(m.Last.At, open.OpenedAt))
	}
	e.flush(now)
	return e, e.taken()
}

// Step takes an input at an instant and says what is to be done.
func (e *Engine) Step(in Input, now domain.UnixMillis) Outcome {
	e.measure(now)
	switch in := in.(type) {
	case OrderReceived:
		e.order(in, now)
	case Tick:
		e.tick(now)
	case Break:
		e.breakDown(now)
	case Mend:
		e.mend()
	case Plug:
		e.plug(now)
	case Unplug:
		e.unplug(now)
	case RequestSupply:
		e.request(in, now)
	case AnswerReceived:
		e.answered(in.Answer)
	case Sent:
		e.sent(in, now)
	case Link:
		e.link(in)
	case Shutdown:
		e.shutDown(now)
	}
	e.flush(now)
	return e.taken()
}

// Healthy is what a heartbeat is answered: a point out of service is healthy, a broken
// one is not.
func (e *Engine) Healthy() bool { return !e.broken && !e.stopping }

// Idle tells that nothing waits for the broker.
func (e *Engine) Idle() bool { return e.outbox.isEmpty() }

// Status is what whoever stands at the point can see.
type Status struct {
	Point        domain.PointID
	Broken       bool
	OutOfService bool
	Plugged      bool
	LinkUp       bool
	// Session is nil where the point is free. Supplying is false while it waits for the plug.
	Session   *Session
	Supplying bool
	Power     domain.Watts
	Energy    domain.MilliwattHours
	Amount    domain.MicroEuros
	// Unreported is how many final reports the broker does not have.
	Unreported int
}

// Status is how the point stands now.
func (e *Engine) Status() Status {
	s := Status{
		Point: e.settings.Point, Broken: e.broken, OutOfService: e.memory.OutOfService, Plugged: e.plugged,
		LinkUp: e.linkUp, Supplying: e.supplying, Unreported: len(e.memory.Unreported()),
	}
	if e.memory.Open != nil {
		open := *e.memory.Open
		s.Session = &open
		s.Energy = e.meter.energy
		s.Amount = domain.Cost(e.meter.energy, open.Price)
	}
	if e.supplying {
		s.Power = e.settings.Curve.Power(e.meter.energy)
	}
	return s
}

// apply changes the memory, and has the journal hold the change.
func (e *Engine) apply(r Record) {
	e.memory.Apply(r)
	all := &e.out.Record
	all.Ended = append(all.Ended, r.Ended...)
	if r.Order != nil {
		all.Order = r.Order
	}
	if r.Opened != nil {
		all.Opened = r.Opened
	}
	if r.Sample != nil {
		all.Sample = r.Sample
	}
	all.Reported = append(all.Reported, r.Reported...)
}

func (e *Engine) say(format string, args ...any) {
	e.out.Notices = append(e.out.Notices, Notice{Text: fmt.Sprintf(format, args...)})
}

func (e *Engine) warn(format string, args ...any) {
	e.out.Notices = append(e.out.Notices, Notice{Warning: true, Text: fmt.Sprintf(format, args...)})
}

func (e *Engine) taken() Outcome {
	out := e.out
	e.out = Outcome{}
	return out
}
