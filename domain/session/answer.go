package session

import (
	"evcharging/domain"
)

// Grant is what the point's grant fixed.
type Grant struct {
	Order      domain.Order
	ValidUntil domain.UnixMillis
	Price      domain.MicroEurosPerKWh
}

// Authorize answers the request with a grant. ErrAlreadyAnswered where the session exists: the first answer stands.
func (s *Session) Authorize(now domain.UnixMillis, r Request, g Grant, patience Patience) error {
	if s.status != None {
		return ErrAlreadyAnswered
	}
	s.record(now, SupplyAuthorized{
		Point: r.Point, Driver: r.Driver, Request: r.ID, Origin: r.Origin,
		Price: g.Price, Order: g.Order, ValidUntil: g.ValidUntil, Due: now.Add(patience.TakeUp),
	})
	return nil
}

// Refuse answers the request with a refusal; silent tells that nobody waits for it.
// ErrAlreadyAnswered where the session exists.
func (s *Session) Refuse(now domain.UnixMillis, r Request, reason string, silent bool) error {
	if s.status != None {
		return ErrAlreadyAnswered
	}
	s.record(now, SupplyRefused{Point: r.Point, Driver: r.Driver, Request: r.ID, Origin: r.Origin, Reason: reason, Silent: silent})
	return nil
}
