package central_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// ledger is what a log says, read in full: every part, folded. It checks on its way what
// must hold of any log.
type ledger struct {
	fataler
	heads    map[eventlog.Stream]eventlog.Head
	times    map[eventlog.Stream]domain.UnixMillis
	points   map[domain.PointID]*chargingpoint.Point
	sessions map[domain.SessionID]*session.Session
	// schedules are the points' prices that no event says to have taken effect.
	schedules map[domain.PointID]chargingpoint.Schedule
	// events are each stream's, in order.
	events map[eventlog.Stream][]any
	// tickets are those that the log says were issued, with the digests of their parts.
	tickets map[string]message.Ticket
	orders  map[domain.PointID][]domain.Order
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// readLedger reads a log in full. At every commit a point is held by the one session of
// it that is open, and by no other.
func readLedger(t fataler, log eventlog.Log) *ledger {
	t.Helper()
	l := &ledger{
		fataler: t,
		heads:   map[eventlog.Stream]eventlog.Head{}, times: map[eventlog.Stream]domain.UnixMillis{},
		schedules: map[domain.PointID]chargingpoint.Schedule{},
		points:    map[domain.PointID]*chargingpoint.Point{}, sessions: map[domain.SessionID]*session.Session{},
		events: map[eventlog.Stream][]any{}, tickets: map[string]message.Ticket{}, orders: map[domain.PointID][]domain.Order{},
	}
	for c, err := range log.All(background, 0) {
		if err != nil {
			t.Fatalf("read the log: %v", err)
		}
		if err := c.Check(); err != nil {
			t.Fatalf("commit %d: %v", c.Position, err)
		}
		for _, p := range c.Parts {
			l.part(c.Commit, p)
		}
		l.checkHeld(c.Position)
	}
	return l
}

func (l *ledger) part(c eventlog.Commit, p eventlog.Part) {
	l.Helper()
	head := l.heads[p.Stream]
	if p.Version != head.Version+1 || p.Prev != head.Hash || p.Hash != p.Sum() {
		l.Fatalf("%s at version %d does not continue version %d", p.Stream, p.Version, head.Version)
	}
	if c.At < l.times[p.Stream] {
		l.Fatalf("%s at version %d: time runs backwards", p.Stream, p.Version)
	}
	envelope := decode(l, p)
	if envelope.At != c.At || envelope.Cause != c.Cause || envelope.Commit != c.ID || len(envelope.Events) != p.Events {
		l.Fatalf("%s at version %d says %+v of %+v", p.Stream, p.Version, envelope, c)
	}
	if p.Kind != eventlog.Sample && c.Cause.IsZero() {
		l.Fatalf("%s at version %d has no cause", p.Stream, p.Version)
	}
	l.heads[p.Stream], l.times[p.Stream] = eventlog.Head{Version: p.Last(), Hash: p.Hash, Kind: p.Kind}, c.At
	l.events[p.Stream] = append(l.events[p.Stream], envelope.Events...)
	for _, event := range envelope.Events {
		if id, ok := strings.CutPrefix(string(p.Stream), "point-"); ok {
			l.pointEvent(domain.PointID(id), c.At, event.(chargingpoint.Event))
		} else {
			l.sessionEvent(domain.SessionID(strings.TrimPrefix(string(p.Stream), "session-")), c.At, p, event.(session.Event))
		}
	}
}

func (l *ledger) pointEvent(id domain.PointID, at domain.UnixMillis, event chargingpoint.Event) {
	l.Helper()
	p := l.points[id]
	if p == nil {
		p = chargingpoint.New(id)
		l.points[id] = p
	}
	l.schedules[id] = l.schedules[id].After(at, event)
	before := p.LastOrder().Number
	if err := p.Apply(at, event); err != nil {
		l.Fatalf("point %s: %v", id, err)
	}
	switch after := p.LastOrder().Number; {
	case after > before:
		l.orders[id] = append(l.orders[id], after)
	case after < before:
		l.Fatalf("point %s: order %d after %d", id, after, before)
	}
}

func (l *ledger) sessionEvent(id domain.SessionID, at domain.UnixMillis, p eventlog.Part, event session.Event) {
	l.Helper()
	s := l.sessions[id]
	if s == nil {
		s = session.New(id)
		l.sessions[id] = s
	}
	before, had := s.Ticket()
	if err := s.Apply(at, event); err != nil {
		l.Fatalf("session %s: %v", id, err)
	}
	bill, has := s.Ticket()
	switch e := event.(type) {
	case session.SupplyAuthorized:
		if price := l.points[e.Point].PriceAt(at); e.Price != price {
			l.Fatalf("session %s was granted for %s, the point cost %s", id, e.Price, price)
		}
		return
	case session.TicketIssued:
		if had {
			l.Fatalf("session %s has two tickets", id)
		}
	case session.TicketRevised:
		if bill.Revision != before.Revision+1 || bill.Energy <= before.Energy {
			l.Fatalf("session %s: %+v revised to %+v", id, before, bill)
		}
	default:
		return
	}
	if !has {
		l.Fatalf("session %s has no ticket", id)
	}
	r := s.Request()
	digest := fmt.Sprintf("%x", p.Hash)
	var revised message.Revised
	if e, ok := event.(session.TicketRevised); ok {
		revised = message.Revised{EnergyBefore: before.Energy, AmountBefore: before.Amount, Difference: bill.Amount - before.Amount, Reason: e.Reason}
	}
	l.tickets[digest] = message.Ticket{
		ID: bill.ID, Session: id, Driver: r.Driver, Point: r.Point, StartedAt: bill.StartedAt, EndedAt: bill.EndedAt,
		Energy: bill.Energy, Price: bill.Price, Amount: domain.Cost(bill.Energy, s.Price()), Reason: bill.Reason,
		Revision: bill.Revision, Digest: digest, Revised: revised,
	}
}

func (l *ledger) checkHeld(position eventlog.Position) {
	l.Helper()
	open := map[domain.PointID]domain.SessionID{}
	for id, s := range l.sessions {
		if !s.Open() {
			continue
		}
		point := s.Request().Point
		if other, ok := open[point]; ok {
			l.Fatalf("at position %d sessions %s and %s are open at %s", position, id, other, point)
		}
		open[point] = id
	}
	for id, p := range l.points {
		held, _ := p.Occupied()
		if held.Session != open[id] {
			l.Fatalf("at position %d point %s is held by %q, open is %q", position, id, held.Session, open[id])
		}
	}
}

// sessionView is all that is seen of a session.
func sessionView(s *session.Session) map[string]any {
	last, _ := s.Last()
	bill, _ := s.Ticket()
	order, validUntil := s.Start()
	view := map[string]any{
		"id": s.ID(), "status": s.Status(), "request": s.Request(), "refusal": s.Refusal(), "price": s.Price(),
		"order": order, "valid until": validUntil, "granted": s.GrantedAt(), "started": s.StartedAt(), "cause": s.Cause(),
		"deadline": s.Deadline(), "ticket": bill, "ignored": s.Ignored(), "last": last, "pending": len(s.Pending()),
	}
	if s.Status() == session.Closed {
		delete(view, "last") // the ticket has what it said
	}
	return view
}

// checkReplay checks that what a Central reads of a log for its turns, and what its lanes
// keep, is what the whole log says.
func (l *ledger) checkReplay(c *central.Central, lanes ...*central.Lane) {
	l.Helper()
	for stream, head := range l.heads {
		parts, err := c.Restore(background, stream)
		if err != nil {
			l.Fatalf("restore %s: %v", stream, err)
		}
		kept := central.Kept{Stream: stream, Head: eventlog.Head{Version: head.Version, Hash: parts[len(parts)-1].Hash}}
		if id, ok := strings.CutPrefix(string(stream), "point-"); ok {
			kept.Point = chargingpoint.New(domain.PointID(id))
		} else {
			kept.Session = session.New(domain.SessionID(strings.TrimPrefix(string(stream), "session-")))
		}
		for _, p := range parts {
			for _, e := range p.Events {
				if kept.Point != nil {
					err = kept.Point.Apply(p.At, e.(chargingpoint.Event))
				} else {
					err = kept.Session.Apply(p.At, e.(session.Event))
				}
				if err != nil {
					l.Fatalf("restore %s: %v", stream, err)
				}
			}
		}
		l.checkKept("restored", kept)
	}
	for _, lane := range lanes {
		for _, kept := range lane.Kept() {
			if kept.Head.Version == l.heads[kept.Stream].Version {
				l.checkKept("kept", kept)
			}
		}
	}
}

func (l *ledger) checkKept(how string, kept central.Kept) {
	l.Helper()
	if want := l.heads[kept.Stream].Hash; kept.Head.Hash != want {
		l.Fatalf("%s is %s with hash %x, the log has %x", kept.Stream, how, kept.Head.Hash, want)
	}
	if kept.Point != nil {
		want := l.points[kept.Point.ID()]
		if want == nil {
			want = chargingpoint.New(kept.Point.ID())
		}
		if len(kept.Point.Pending()) > 0 {
			l.Fatalf("%s is %s with undecided events", kept.Stream, how)
		}
		kept.Point.Stored()
		if !reflect.DeepEqual(kept.Point, want) {
			l.Fatalf("%s is %s as\n%+v, the log says\n%+v", kept.Stream, how, kept.Point, want)
		}
		return
	}
	want := l.sessions[kept.Session.ID()]
	if got, want := sessionView(kept.Session), sessionView(want); !reflect.DeepEqual(got, want) {
		l.Fatalf("%s is %s as\n%+v, the log says\n%+v", kept.Stream, how, got, want)
	}
}

// checkSent checks what was sent against the log, once everything is delivered: each
// answer is the one that stands, each ticket was sent as it was issued, and nothing else
// was; an order was issued. ordered says that all was sent by one Central, one after the other.
func (l *ledger) checkSent(sent []message.Message, ordered bool) {
	l.Helper()
	answered, tickets := map[domain.SessionID]bool{}, map[string]bool{}
	newest, states := map[domain.PointID]domain.Order{}, map[domain.PointID]message.PointState{}
	started := map[domain.SessionID]bool{}
	for _, m := range sent {
		switch m := m.(type) {
		case message.Answer:
			id := m.Session
			switch {
			case !m.Authorized && m.Request == "":
				for other, s := range l.sessions {
					if r := s.Request(); r.Point == m.Point && r.Driver == m.Driver && r.ID == "" && s.Refusal() == m.Reason {
						id = other
						answered[id] = true
					}
				}
			case !m.Authorized:
				id = session.IDFor(m.Point, m.Driver, m.Request)
			}
			s := l.sessions[id]
			switch {
			case s == nil:
				l.Fatalf("%+v answers nothing", m)
			case m.Authorized != (s.Status() != session.Refused) || m.Reason != s.Refusal() || m.Request != s.Request().ID:
				l.Fatalf("%+v is not what the log says of %+v", m, s.Request())
			case m.Authorized && *m.Price != s.Price():
				l.Fatalf("%+v is not at %s", m, s.Price())
			}
			answered[id] = true
		case message.Ticket:
			if m != l.tickets[m.Digest] {
				l.Fatalf("ticket\n%+v, the log has\n%+v", m, l.tickets[m.Digest])
			}
			tickets[m.Digest] = true
		case message.Order:
			if ordered && m.Number < newest[m.Point] {
				l.Fatalf("order %d was sent to %s after order %d", m.Number, m.Point, newest[m.Point])
			}
			newest[m.Point] = max(newest[m.Point], m.Number)
			if m.Kind == message.OrderStart {
				if order, _ := l.sessions[m.Session].Start(); order != m.Number {
					l.Fatalf("session %s was started by order %d, not %d", m.Session, m.Number, order)
				}
				started[m.Session] = true
			}
		case message.PointState:
			if m.Version >= states[m.Point].Version {
				states[m.Point] = m
			}
		}
	}
	for id, s := range l.sessions {
		silent := s.Status() == session.Refused && s.Request().ID == "" && s.Refusal() == string(chargingpoint.RefusedExpired)
		// A grant is not sent any more once its session is closed.
		if !answered[id] && !silent && s.Status() != session.Closed {
			l.Errorf("%+v was not answered", s.Request())
		}
		if _, billed := s.Ticket(); billed != (s.Status() == session.Closed) {
			l.Errorf("session %s is %s, billed: %v", id, s.Status(), billed)
		}
	}
	if len(tickets) != len(l.tickets) {
		l.Errorf("%d different tickets were sent, %d were issued", len(tickets), len(l.tickets))
	}
	for id, p := range l.points {
		state := states[id]
		if state.Version != int64(l.heads[central.PointStream(id)].Version) || state.State != string(p.State()) || state.Price != p.Price() {
			l.Errorf("%s was last shown as %+v, it is %s at version %d", id, state, p.State(), l.heads[central.PointStream(id)].Version)
		}
		issued := map[domain.Order]bool{}
		for _, o := range l.orders[id] {
			issued[o] = true
		}
		if newest[id] != 0 && !issued[newest[id]] {
			l.Errorf("order %d to %s was never issued", newest[id], id)
		}
	}
}

var background = context.Background()
