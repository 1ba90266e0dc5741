package chargingpoint

import (
	"errors"
	"fmt"
	"time"

	"evcharging/domain"
)

// Point is the aggregate. The zero Point with an id is one that nobody has heard
// of. It is not safe for use from several goroutines.
type Point struct {
	domain.Recorder[Event]

	id           domain.PointID
	registration *Registration
	operator     PriceChange // the operator's last that has taken effect
	scheduled    Schedule    // those that have not, though their time may have come
	connected    bool
	lease        time.Duration
	health       Health
	service      Service
	occupancy    *Occupancy
	heldUntil    domain.UnixMillis
	lastOrder    IssuedOrder
	stoppedAt    domain.UnixMillis // when an order that ends a session was decided last; 0: none was
	updatedAt    domain.UnixMillis
}

// Registration is what the point says of itself.
type Registration struct {
	Location string
	// Price is the point's own; an operator's stands over it.
	Price domain.MicroEurosPerKWh
	// RecordedAt is the Kafka timestamp of the record that said it.
	RecordedAt domain.UnixMillis
	// ProofAt is the time that the record's proof was made for; 0 without proof.
	ProofAt domain.UnixMillis
}

// Health is what the Monitor said last of its Engine.
type Health struct {
	Known   bool
	Healthy bool
	// ReportedAt is the Kafka timestamp of the report that changed it.
	ReportedAt domain.UnixMillis
}

// Service tells whether the point is meant to supply.
type Service struct {
	Out bool
	// At is the Kafka timestamp of the record that decided it; 0 where nobody has.
	At domain.UnixMillis
}

// Occupancy is the session that holds the point.
type Occupancy struct {
	Session domain.SessionID
	Driver  domain.DriverID
}

// OrderKind is what an order asks of the Engine.
type OrderKind string

// The kinds of an order.
const (
	OrderStart      OrderKind = "START"
	OrderStop       OrderKind = "STOP"
	OrderOutOfOrder OrderKind = "OUT_OF_ORDER"
	OrderResume     OrderKind = "RESUME"
)

// IssuedOrder is an order that the point was sent.
type IssuedOrder struct {
	Number domain.Order
	Kind   OrderKind
	// Session is what a start starts or a stop ends; empty where there was none.
	Session    domain.SessionID
	ValidUntil domain.UnixMillis
	// At is when it was decided.
	At domain.UnixMillis
}

// How long orders count, how long a point is held after a stop, and how often a
// stop is repeated (contract.md).
const (
	StartValidity = 30 * time.Second
	OrderValidity = 24 * time.Hour
	HoldAfterStop = 2 * time.Second
	StopAgain     = 10 * time.Second
)

// Facts that make a command do nothing. The caller ignores and counts them.
var (
	ErrNotLater      = errors.New("a later report is known")
	ErrUnchanged     = errors.New("it changes nothing")
	ErrDeadlineGone  = errors.New("the deadline does not stand any more")
	ErrNotOccupiedBy = errors.New("the point is not that session's")
	ErrStopRecent    = errors.New("a stop was ordered a moment ago")
)

// Facts that make an input impossible. The caller refuses it.
var (
	ErrProof        = errors.New("the registration has no valid proof: the point's secret is not the one that Central knows, or the proof is too old")
	ErrUnknownPoint = errors.New("no such point is registered")
	ErrScheduleFull = fmt.Errorf("%d price changes are scheduled for the point already; one that counts earlier replaces those after it", MaxScheduled)
	errUnknownEvent = errors.New("unknown event of a charging point")
)

// New is a point that nobody has heard of.
func New(id domain.PointID) *Point { return &Point{id: id} }

// ID is the point's id.
func (p *Point) ID() domain.PointID { return p.id }

// Known tells whether the point has registered.
func (p *Point) Known() bool { return p.registration != nil }

// Registered is what the point said of itself; ok is false before it has.
func (p *Point) Registered() (r Registration, ok bool) {
	if p.registration == nil {
		return Registration{}, false
	}
	return *p.registration, true
}

// Connected tells whether the Monitor's lease stands, and how long it is; a lease of 0 never runs out.
func (p *Point) Connected() (bool, time.Duration) { return p.connected, p.lease }

// Health is what the Monitor said last of its Engine.
func (p *Point) Health() Health { return p.health }

// Service tells whether the point is meant to supply.
func (p *Point) Service() Service { return p.service }

// Occupied is the session that holds the point; ok is false where it is free.
func (p *Point) Occupied() (o Occupancy, ok bool) {
	if p.occupancy == nil {
		return Occupancy{}, false
	}
	return *p.occupancy, true
}

// LastOrder is the newest order: the whole truth about what the point was told.
func (p *Point) LastOrder() IssuedOrder { return p.lastOrder }

// HeldUntil is until when nothing new is granted after a stop.
func (p *Point) HeldUntil() domain.UnixMillis { return p.heldUntil }

// UpdatedAt is when the point changed last.
func (p *Point) UpdatedAt() domain.UnixMillis { return p.updatedAt }

// State is what is shown of the point: the first fact that holds.
func (p *Point) State() State {
	switch {
	case !p.connected || !p.Known() || !p.health.Known:
		return Disconnected
	case !p.health.Healthy:
		return Broken
	case p.service.Out:
		return OutOfOrder
	case p.occupancy != nil:
		return Supplying
	}
	return Activated
}

// Apply folds an event that was decided at an instant. It only assigns, and fails on
// an event that it does not know.
func (p *Point) Apply(at domain.UnixMillis, event Event) error {
	switch e := event.(type) {
	case PointRegistered:
		p.registration = &Registration{Location: e.Location, Price: e.Price, RecordedAt: e.RecordedAt, ProofAt: e.ProofAt}
	case PriceSet, PriceHandedBack:
		if change, _ := priceChange(at, event); change.From <= at {
			p.operator = change
		}
		p.scheduled = p.scheduled.After(at, event)
	case PriceTookEffect:
		p.operator = p.priceChangeAt(e.From)
		p.scheduled = p.scheduled.After(at, event)
	case PointConnected:
		p.connected, p.lease = true, e.Lease
	case LeaseChanged:
		p.lease = e.Lease
	case PointDisconnected:
		p.connected = false
	case FaultReported:
		p.health = Health{Known: true, Healthy: false, ReportedAt: e.ReportedAt}
	case FaultCleared:
		p.health = Health{Known: true, Healthy: true, ReportedAt: e.ReportedAt}
	case TakenOutOfService:
		p.service = Service{Out: true, At: e.RecordedAt}
		p.lastOrder = IssuedOrder{e.Order, OrderOutOfOrder, e.Session, e.ValidUntil, at}
		p.heldUntil = max(p.heldUntil, e.HoldUntil)
		if e.Session != "" {
			p.stoppedAt = at
		}
	case ReturnedToService:
		p.service = Service{Out: false, At: e.RecordedAt}
		p.lastOrder = IssuedOrder{e.Order, OrderResume, "", e.ValidUntil, at}
	case PointOccupied:
		p.occupancy = &Occupancy{Session: e.Session, Driver: e.Driver}
		p.lastOrder = IssuedOrder{e.Order, OrderStart, e.Session, e.ValidUntil, at}
	case StopOrdered:
		p.lastOrder = IssuedOrder{e.Order, OrderStop, e.Session, e.ValidUntil, at}
		p.heldUntil, p.stoppedAt = max(p.heldUntil, e.HoldUntil), at
	case PointReleased:
		p.occupancy = nil
	default:
		return fmt.Errorf("%w: %T", errUnknownEvent, event)
	}
	p.updatedAt = at
	return nil
}

func (p *Point) record(now domain.UnixMillis, event Event) { p.Record(now, event, p.Apply) }

// nextOrder numbers an order: greater than every earlier one, also where the log was
// emptied and only the clock knows that there were some.
func (p *Point) nextOrder(now domain.UnixMillis) domain.Order {
	return max(p.lastOrder.Number+1, domain.Order(now))
}
