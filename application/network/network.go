package network

import (
	"errors"
	"fmt"
	"strings"

	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// ClosedLimit is how many closed sessions are kept: those that closed last.
const ClosedLimit = 1_000

// ErrUnknownEvent tells of an event that the network doesn't know, or of a stream that
// is neither a point's nor a session's.
var ErrUnknownEvent = errors.New("the network's read model knows no such event")

// Counts are the points by the state that is shown.
type Counts struct{ Activated, Supplying, OutOfOrder, Broken, Disconnected, Unreadable int }

// Total is how many points there are.
func (c Counts) Total() int {
	return c.Activated + c.Supplying + c.OutOfOrder + c.Broken + c.Disconnected + c.Unreadable
}

func (c *Counts) add(state chargingpoint.State, n int) {
	switch state {
	case chargingpoint.Activated:
		c.Activated += n
	case chargingpoint.Supplying:
		c.Supplying += n
	case chargingpoint.OutOfOrder:
		c.OutOfOrder += n
	case chargingpoint.Broken:
		c.Broken += n
	case chargingpoint.Disconnected:
		c.Disconnected += n
	case Unreadable:
		c.Unreadable += n
	}
}

// Network is the read model. It is not safe for use from several goroutines:
// whoever owns it locks.
type Network struct {
	points   map[domain.PointID]*point
	listed   []*point // those that have registered, or can't be read, by id
	sessions map[domain.SessionID]*record
	open     []*record // oldest grant first
	closed   tail
	refused  tail // known so that a refusal that is applied twice is told once
	counts   Counts
	power    domain.Watts
	messages messageLog
	changed  uint64
}

// New is the network before the first event.
func New() *Network {
	return &Network{
		points:   map[domain.PointID]*point{},
		sessions: map[domain.SessionID]*record{},
		closed:   tail{limit: ClosedLimit},
		refused:  tail{limit: ClosedLimit},
	}
}

// Changed grows with everything that changes what is shown.
func (n *Network) Changed() uint64 { return n.changed }

// Apply folds the events of one part: they are of one stream, decided at one
// instant, the first of them at version. Events that were applied before are
// ignored; versions may be left out (a log gives a session without its older
// samples), but not come out of order. Of a session that is no longer kept, or
// that began unseen, nothing is kept. The events are chargingpoint.Event or session.Event, as the
// stream says; ErrUnknownEvent otherwise, and then the events before it are applied.
func (n *Network) Apply(stream eventlog.Stream, version eventlog.Version, at domain.UnixMillis, events ...any) error {
	apply := n.applyToPoint
	id, ok := strings.CutPrefix(string(stream), "point-")
	if !ok {
		if id, ok = strings.CutPrefix(string(stream), "session-"); !ok {
			return fmt.Errorf("%w: stream %s", ErrUnknownEvent, stream)
		}
		apply = n.applyToSession
	}
	for i, event := range events {
		if err := apply(id, version+eventlog.Version(i), at, event); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) applyToPoint(id string, version eventlog.Version, at domain.UnixMillis, event any) error {
	e, ok := event.(chargingpoint.Event)
	if !ok {
		return fmt.Errorf("%w: %T in the stream of point %s", ErrUnknownEvent, event, id)
	}
	p := n.point(domain.PointID(id))
	if version <= p.version {
		return nil
	}
	n.say(at, pointMessage(p, at, e))
	if err := p.Apply(at, e); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownEvent, err)
	}
	p.version = version
	if e, ok := e.(chargingpoint.PointRegistered); ok {
		p.text = strings.ToLower(id + "\n" + e.Location)
		n.list(p, at)
	}
	n.recount(p, at)
	return nil
}

func (n *Network) applyToSession(id string, version eventlog.Version, at domain.UnixMillis, event any) error {
	e, ok := event.(session.Event)
	if !ok {
		return fmt.Errorf("%w: %T in the stream of session %s", ErrUnknownEvent, event, id)
	}
	r := n.sessions[domain.SessionID(id)]
	if r == nil {
		if version != 1 {
			return nil // it began unseen, or was closed long ago
		}
		r = &record{Session: session.New(domain.SessionID(id))}
		n.sessions[domain.SessionID(id)] = r
	}
	if version <= r.version {
		return nil
	}
	if _, revised := e.(session.TicketRevised); revised && r.Status() != session.Closed {
		return fmt.Errorf("%w: session %s has no ticket to revise", ErrUnknownEvent, id)
	}
	power := r.power()
	if err := r.Apply(at, e); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownEvent, err)
	}
	r.version = version
	n.power += r.power() - power
	n.say(at, sessionMessage(r, e))
	switch e.(type) {
	case session.SupplyAuthorized:
		n.addOpen(r)
	case session.SupplyRefused:
		delete(n.sessions, n.refused.add(r.ID()))
	case session.TicketIssued:
		n.removeOpen(r)
		delete(n.sessions, n.closed.add(r.ID()))
	}
	n.changed++
	return nil
}

// Heard says that a point was heard: its last word is no longer from before Central started.
func (n *Network) Heard(id domain.PointID, at domain.UnixMillis) {
	p := n.point(id)
	if p.heard {
		return
	}
	p.heard = true
	n.recount(p, at)
}

// Say adds a message that is no event: a broker that is away, a dead letter.
func (n *Network) Say(at domain.UnixMillis, level Level, text string) {
	n.say(at, Message{Level: level, Text: text})
}

// say adds a message where it has a text.
func (n *Network) say(at domain.UnixMillis, m Message) {
	if m.Text == "" {
		return
	}
	m.At = at
	n.messages.add(m)
	n.changed++
}

// point is what is kept of a point, which is made where it is new.
func (n *Network) point(id domain.PointID) *point {
	p := n.points[id]
	if p == nil {
		p = &point{Point: chargingpoint.New(id)}
		n.points[id] = p
	}
	return p
}

// recount takes in that a point may be shown in another state.
func (n *Network) recount(p *point, at domain.UnixMillis) {
	n.changed++
	if state := p.shown(); p.listed && state != p.state {
		n.counts.add(p.state, -1)
		n.counts.add(state, 1)
		p.state, p.since = state, at
	}
}
