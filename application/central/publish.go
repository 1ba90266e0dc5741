package central

import (
	"encoding/hex"

	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// messages are what stored parts tell the other programs, as far as it is still true:
//
//	an order       only while its number is the point's latest and it is valid
//	a start        moreover only while no report of its session is stored
//	a grant        where its request has an id; else only while its session is open
//	a refusal      always, unless nobody waits for it
//	a ticket       always
//	a state        as it is now
//
// Right after its commit all of it is true; after a crash and a redelivery perhaps not.
func (t *turn) messages(parts []Part) []message.Message {
	var out []message.Message
	for _, part := range parts {
		for _, event := range part.Events {
			switch e := event.(type) {
			case session.SupplyAuthorized:
				out = append(out, t.answerAgain()...)
			case session.SupplyRefused:
				if !e.Silent {
					out = append(out, answerOf(t.session.session))
				}
			case session.TicketIssued:
				out = append(out, t.ticket(part, message.Ticket{EndedAt: e.EndedAt, Energy: e.Energy, Amount: e.Amount}))
			case session.TicketRevised:
				out = append(out, t.ticket(part, message.Ticket{
					EndedAt: e.EndedAt, Energy: e.EnergyAfter, Amount: e.AmountAfter, Revision: e.Revision,
					Revised: message.Revised{
						EnergyBefore: e.EnergyBefore, AmountBefore: e.AmountBefore, Difference: e.AmountDifference, Reason: e.Reason,
					},
				}))
			case chargingpoint.Event:
				out = append(out, t.orders(e)...)
			}
		}
	}
	told := t.asked != ""
	for _, part := range parts {
		_, isSession := sessionOf(part.Stream)
		told = told || !isSession
	}
	if told && t.point.point.Known() { // what never registered has no public state
		out = append(out, t.state())
	}
	if t.again != nil {
		out = append(out, t.again()...)
	}
	return out
}

// orders are what an event of the turn's point orders.
func (t *turn) orders(event chargingpoint.Event) []message.Message {
	p := t.point.point
	base := message.Order{Point: p.ID()}
	switch e := event.(type) {
	case chargingpoint.PointOccupied:
		if !t.stands(e.Order, e.ValidUntil) || t.session == nil || t.session.session.Status() != session.Authorized {
			return nil
		}
		return []message.Message{startOf(t.session.session)}
	case chargingpoint.StopOrdered:
		if !t.stands(e.Order, e.ValidUntil) {
			return nil
		}
		base.Kind, base.Session, base.Reason = message.OrderStop, e.Session, e.Cause
		base.Number, base.ValidUntil = e.Order, e.ValidUntil
		return []message.Message{base}
	case chargingpoint.TakenOutOfService:
		if !t.stands(e.Order, e.ValidUntil) {
			return nil
		}
		base.Kind, base.Number, base.ValidUntil = message.OrderOutOfOrder, e.Order, e.ValidUntil
		out := []message.Message{base}
		if e.Session != "" {
			base.Kind, base.Session, base.Reason = message.OrderStop, e.Session, string(session.CauseStopped)
			out = append(out, base)
		}
		return out
	case chargingpoint.ReturnedToService:
		if !t.stands(e.Order, e.ValidUntil) {
			return nil
		}
		base.Kind, base.Number, base.ValidUntil = message.OrderResume, e.Order, e.ValidUntil
		return []message.Message{base}
	}
	return nil
}

// stands tells whether an order is the point's latest and still valid.
func (t *turn) stands(number domain.Order, validUntil domain.UnixMillis) bool {
	return t.point.point.LastOrder().Number == number && t.now <= validUntil
}

// ticket is the ticket that a part issued or revised, as it was then: what the part's event
// says of it, and what never changes.
func (t *turn) ticket(part Part, said message.Ticket) message.Ticket {
	s := t.session.session
	bill, _ := s.Ticket()
	r := s.Request()
	said.ID, said.Session, said.Driver, said.Point = bill.ID, s.ID(), r.Driver, r.Point
	said.StartedAt, said.Price, said.Reason = bill.StartedAt, bill.Price, bill.Reason
	said.Digest = hex.EncodeToString(part.Hash[:])
	return said
}

// state is the public state of the turn's point: never a driver's id.
func (t *turn) state() message.PointState {
	p := t.point.point
	r, _ := p.Registered()
	return message.PointState{
		Point: p.ID(), Location: r.Location, Price: p.Price(), State: string(p.State()),
		UpdatedAt: p.UpdatedAt(), Version: int64(t.point.head.Version),
		Control: t.asked, Refusal: t.refusal,
	}
}
