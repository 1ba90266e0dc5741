package engine

import (
	"fmt"
	"time"

	"evcharging/application/message"
	"evcharging/domain"
)

const (
	// MaxOrderAge is the age at which an order without ValidUntil is too old.
	MaxOrderAge = 30 * time.Second
	// StartsBack is how far back from its start an Engine reads the topic of starts: as
	// long as a start is valid.
	StartsBack = MaxOrderAge
	// CommandsBack is the same for commands.
	CommandsBack = 24 * time.Hour
)

func (e *Engine) order(in OrderReceived, now domain.UnixMillis) {
	o := in.Order
	switch {
	case o.Point != e.settings.Point:
	case o.Kind == message.OrderStart:
		e.start(in, now)
	case !e.newer(o) || e.tooOld(in, now):
	default:
		e.take(o)
		switch o.Kind {
		case message.OrderStop:
			e.stop(in, now)
		case message.OrderOutOfOrder:
			e.say("out of order: Central has taken the point out of service%s", because(o.Reason))
			if open := e.memory.Open; open != nil && open.ID != o.Session {
				e.end(message.DoneStopped, now)
			}
			e.stop(in, now)
		case message.OrderResume:
			e.say("in service again%s", because(o.Reason))
		}
	}
}

// start obeys a start or says why not: it is never silent.
func (e *Engine) start(in OrderReceived, now domain.UnixMillis) {
	o, open := in.Order, e.memory.Open
	if o.Session == "" || o.Driver == "" {
		e.warn("ignored a start without a session or a driver: nobody could be told how it ends")
		return
	}
	if open != nil && open.ID == o.Session {
		if o.Number > e.memory.Fence.Number {
			e.take(o)
		}
		return
	}
	if _, known := e.memory.Done(o.Session); known {
		// What was read again from the topic's past is no repeat: it has been answered.
		if !e.aged(in, now) {
			e.report(o.Session)
		}
		return
	}
	switch {
	case !e.newer(o):
		e.refuse(o, fmt.Sprintf("order %d is not newer than order %d", o.Number, e.memory.Fence.Number), now)
	case e.tooOld(in, now):
		e.refuse(o, "the order is too old", now)
	case e.broken:
		e.refuse(o, "the point is broken", now)
	case e.stopping:
		e.refuse(o, "the Engine is being stopped", now)
	case o.Price == nil:
		e.refuse(o, "the order has no price", now)
	default:
		if open != nil {
			e.end(message.DoneStopped, now)
		}
		e.take(o)
		e.open(o, now)
	}
}

// stop ends the running session if it is the one that is meant, else answers for the
// one that is.
func (e *Engine) stop(in OrderReceived, now domain.UnixMillis) {
	o, open := in.Order, e.memory.Open
	switch {
	case open != nil && (o.Session == "" || o.Session == open.ID):
		e.end(message.DoneStopped, now)
	case o.Session == "", e.aged(in, now):
		// An Engine without its journal reads a day of stops: nobody waits for their answers.
	case e.remembers(o.Session):
		e.report(o.Session)
	case o.Driver == "":
		e.warn("told to stop the session %s, which never ran here, and whose driver the order does not name", o.Session)
	default:
		e.say("told to stop the session %s, which never ran here: reporting zeros", o.Session)
		e.closeUnopened(o, message.DoneStopped, now)
	}
}

func (e *Engine) refuse(o message.Order, why string, now domain.UnixMillis) {
	e.warn("refused to start the session %s for %s: %s", o.Session, o.Driver, why)
	if o.Number > e.memory.Fence.Number {
		e.take(o)
	}
	e.closeUnopened(o, message.DoneRefused, now)
}

// closeUnopened gives a session that never ran here its done, with zeros, for good.
func (e *Engine) closeUnopened(o message.Order, reason message.DoneReason, now domain.UnixMillis) {
	e.apply(Record{Ended: []message.Done{{
		Session: o.Session, Point: e.settings.Point, Driver: o.Driver, Reason: reason, At: now,
	}}})
	e.report(o.Session)
}

func (e *Engine) remembers(session domain.SessionID) bool {
	_, known := e.memory.Done(session)
	return known
}

// take remembers an order as obeyed or refused.
func (e *Engine) take(o message.Order) {
	e.apply(Record{Order: &TakenOrder{o.Number, o.Kind}})
}

// newer tells whether the fence lets an order pass. A stop of a point sends
// OUT_OF_ORDER and STOP_SUPPLY with one number: the first counts, too, where it comes
// second.
func (e *Engine) newer(o message.Order) bool {
	fence := e.memory.Fence
	return o.Number == 0 || o.Number > fence.Number ||
		o.Number == fence.Number && o.Kind == message.OrderOutOfOrder && fence.Kind == message.OrderStop
}

func (e *Engine) tooOld(in OrderReceived, now domain.UnixMillis) bool {
	if until := in.Order.ValidUntil; until != 0 {
		return now > until
	}
	return e.aged(in, now)
}

// aged tells whether an order's Kafka timestamp says that it is old.
func (e *Engine) aged(in OrderReceived, now domain.UnixMillis) bool {
	if in.Trusted {
		return now.Sub(in.Timestamp) > MaxOrderAge
	}
	// A sender's clock, perhaps from 1970. The topic is not read from further back than
	// CommandsBack, so what claims to be older than that tells nothing.
	return in.Timestamp < e.startedAt.Add(-MaxOrderAge) && in.Timestamp >= e.startedAt.Add(-CommandsBack)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
