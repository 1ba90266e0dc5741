package engine

import (
	"evcharging/application/message"
	"evcharging/domain"
)

// open gives a session the point.
func (e *Engine) open(o message.Order, now domain.UnixMillis) {
	e.apply(Record{Opened: &Session{ID: o.Session, Driver: o.Driver, Price: *o.Price, OpenedAt: now}})
	e.meter = meter{}
	if e.settings.ManualPlug && !e.plugged {
		e.say("authorized: session %s for %s at %s EUR/kWh, waiting for the plug", o.Session, o.Driver, o.Price)
		return
	}
	e.supply(now)
}

// supply lets the energy flow. The first sample goes out at once.
func (e *Engine) supply(now domain.UnixMillis) {
	open := e.memory.Open
	e.supplying, e.plugged = true, true
	e.meter = meter{at: now}
	e.say("supplying: session %s for %s at %s EUR/kWh", open.ID, open.Driver, open.Price)
	e.sample(now)
}

// measure brings the meter up to now, before anything else is decided: whatever
// ends the supply now bills what was supplied until now. A full battery ends it.
func (e *Engine) measure(now domain.UnixMillis) {
	if e.supplying && e.meter.run(e.settings.Curve, e.settings.Speed, now) {
		e.end(message.DoneFinished, now)
	}
}

func (e *Engine) tick(now domain.UnixMillis) {
	if e.supplying {
		e.sample(now)
	}
	e.waitForAnswers(now)
}

func (e *Engine) sample(now domain.UnixMillis) {
	open := *e.memory.Open
	s := Sample{
		Seq: e.memory.Last.Seq + 1, At: now,
		Power: e.settings.Curve.Power(e.meter.energy), Energy: e.meter.energy,
	}
	e.apply(Record{Sample: &s})
	e.outbox.sample = &message.MeterValue{
		Session: open.ID, Point: e.settings.Point, Driver: open.Driver,
		Power: s.Power, Energy: &s.Energy, Amount: domain.Cost(s.Energy, open.Price), Seq: s.Seq, At: s.At,
	}
}

// end closes the session that has the point.
func (e *Engine) end(reason message.DoneReason, at domain.UnixMillis) {
	open := *e.memory.Open
	done := message.Done{
		Session: open.ID, Point: e.settings.Point, Driver: open.Driver,
		Energy: e.meter.energy, Amount: domain.Cost(e.meter.energy, open.Price),
		Reason: reason, Seq: e.memory.Last.Seq + 1, At: at,
	}
	e.apply(Record{Ended: []message.Done{done}})
	e.supplying, e.meter = false, meter{}
	// The next driver plugs in a car of their own.
	e.plugged = false
	// The totals say all that the last sample would.
	e.outbox.sample = nil
	e.report(done.Session)
	e.say("ended: session %s for %s, %s kWh, %s EUR, %s", done.Session, done.Driver, done.Energy, done.Amount, done.Reason)
}

func (e *Engine) breakDown(now domain.UnixMillis) {
	if e.broken {
		e.say("the point is broken already: r mends it")
		return
	}
	e.broken = true
	e.warn("the point is broken: its Monitor's heartbeat is answered KO")
	if e.memory.Open != nil {
		e.end(message.DoneFault, now)
	}
}

func (e *Engine) mend() {
	if !e.broken {
		e.say("the point is not broken")
		return
	}
	e.broken = false
	e.say("the point works again")
}

func (e *Engine) plug(now domain.UnixMillis) {
	switch {
	case e.plugged:
		e.say("plugged in already")
	case e.memory.Open == nil:
		e.plugged = true
		e.say("plugged in: request DRIVER asks for a supply")
	default:
		e.supply(now)
	}
}

func (e *Engine) unplug(now domain.UnixMillis) {
	switch {
	case e.supplying:
		e.end(message.DoneUnplugged, now)
	case e.plugged:
		e.plugged = false
		e.say("unplugged")
	default:
		e.say("nothing is plugged in")
	}
}

func (e *Engine) shutDown(now domain.UnixMillis) {
	if e.stopping {
		return
	}
	e.stopping = true
	e.outbox.requests = nil
	if e.memory.Open != nil {
		e.end(message.DoneFault, now)
	}
}
