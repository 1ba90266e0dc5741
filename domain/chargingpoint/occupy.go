package chargingpoint

import (
	"time"

	"evcharging/domain"
)

// RequestValidity is how old a request may be when Central comes to it: its driver
// has left afterwards.
const RequestValidity = 30 * time.Second

// Refusal is why a point is not granted. It is an error; errors.As finds it.
type Refusal string

// The refusals, in the order in which they are looked at.
const (
	RefusedExpired      Refusal = "EXPIRED"
	RefusedUnknown      Refusal = "UNKNOWN_POINT"
	RefusedDisconnected Refusal = "DISCONNECTED"
	RefusedBroken       Refusal = "BROKEN"
	RefusedOutOfOrder   Refusal = "OUT_OF_ORDER"
	RefusedOccupied     Refusal = "OCCUPIED"
	// RefusedUnreadable is no rule's: it is the refusal where what the point is can't be read.
	RefusedUnreadable Refusal = "UNREADABLE"
)

func (r Refusal) Error() string { return "the supply was refused: " + string(r) }

// Request is what a grant is decided on, beside the point itself.
type Request struct {
	Session domain.SessionID
	Driver  domain.DriverID
	// SentAt is the request's Kafka timestamp; 0 where no age can be judged by it.
	SentAt domain.UnixMillis
	// Heard tells that the point was heard since Central has been listening, or needn't be.
	Heard bool
}

// Grant is what a grant fixes: the order that starts the supply, and its price.
type Grant struct {
	Order      domain.Order
	ValidUntil domain.UnixMillis
	Price      domain.MicroEurosPerKWh
}

// grantRules are looked at in turn; the first that refuses decides.
var grantRules = []struct {
	refusal Refusal
	holds   func(p *Point, r Request, now domain.UnixMillis) bool
}{
	{RefusedExpired, func(_ *Point, r Request, now domain.UnixMillis) bool {
		return r.SentAt != 0 && now.Sub(r.SentAt) > RequestValidity
	}},
	{RefusedUnknown, func(p *Point, _ Request, _ domain.UnixMillis) bool { return !p.Known() }},
	{RefusedDisconnected, func(p *Point, r Request, _ domain.UnixMillis) bool {
		return !p.connected || !p.health.Known || !r.Heard
	}},
	{RefusedBroken, func(p *Point, _ Request, _ domain.UnixMillis) bool { return !p.health.Healthy }},
	{RefusedOutOfOrder, func(p *Point, _ Request, _ domain.UnixMillis) bool { return p.service.Out }},
	{RefusedOccupied, func(p *Point, _ Request, now domain.UnixMillis) bool {
		return p.occupancy != nil || now < p.heldUntil
	}},
}

// Occupy grants a request and holds the point for it in the same decision:
// PointOccupied. A Refusal where a rule stands against it.
func (p *Point) Occupy(now domain.UnixMillis, r Request) (Grant, error) {
	for _, rule := range grantRules {
		if rule.holds(p, r, now) {
			return Grant{}, rule.refusal
		}
	}
	grant := Grant{Order: p.nextOrder(now), ValidUntil: now.Add(StartValidity), Price: p.PriceAt(now)}
	p.record(now, PointOccupied{Session: r.Session, Driver: r.Driver, Order: grant.Order, ValidUntil: grant.ValidUntil})
	return grant, nil
}

// Release frees the point: its session is closed. ErrNotOccupiedBy where another, or none, holds it.
func (p *Point) Release(now domain.UnixMillis, session domain.SessionID) error {
	if p.occupancy == nil || p.occupancy.Session != session {
		return ErrNotOccupiedBy
	}
	p.record(now, PointReleased{Session: session})
	return nil
}
