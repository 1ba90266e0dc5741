package network

import (
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// PriceLimit is how many changes of a point's price a Prices keeps: those decided last.
const PriceLimit = 1_000

// PriceKind tells whose word a change of a price is.
type PriceKind string

// The kinds of a change.
const (
	// PriceOwn is the point's, by its registration.
	PriceOwn PriceKind = "own"
	// PriceSet is an operator's.
	PriceSet PriceKind = "set"
	// PriceAuto is an operator's too: the point's own price counts again.
	PriceAuto PriceKind = "auto"
)

// PriceChange is a change of a point's price: who decided it, when, and from when it counts.
type PriceChange struct {
	Kind PriceKind
	// By is the operator; empty where Kind is PriceOwn.
	By        string
	DecidedAt domain.UnixMillis
	From      domain.UnixMillis
	// Price is 0 where Kind is PriceAuto.
	Price domain.MicroEurosPerKWh
	// ReplacedAt is when an operator changed the price otherwise before this change counted; 0
	// where nobody did.
	ReplacedAt domain.UnixMillis
	// Covered tells of the point's own price that an operator's stood over it.
	Covered bool
}

// Prices is the history of a point's price, a fold of the point's events. The zero Prices
// is that before the first. It is not safe for use from several goroutines.
type Prices struct {
	point   *chargingpoint.Point
	changes []PriceChange
}

// Apply folds an event that was decided at an instant. It fails on an event that is no
// point's.
func (p *Prices) Apply(at domain.UnixMillis, event any) error {
	e, ok := event.(chargingpoint.Event)
	if !ok {
		return ErrUnknownEvent
	}
	if p.point == nil {
		p.point = chargingpoint.New("")
	}
	own, before := p.own(), p.point.Scheduled()
	if err := p.point.Apply(at, e); err != nil {
		return err
	}
	change := PriceChange{DecidedAt: at, From: at}
	switch e := e.(type) {
	case chargingpoint.PointRegistered:
		change.Kind, change.Price, change.Covered = PriceOwn, e.Price, p.point.PriceChange().Set
		if own != nil && *own == e.Price {
			return nil
		}
	case chargingpoint.PriceSet:
		change.Kind, change.By, change.From, change.Price = PriceSet, e.By, max(at, e.From), e.Price
	case chargingpoint.PriceHandedBack:
		change.Kind, change.By, change.From = PriceAuto, e.By, max(at, e.From)
	default:
		return nil
	}
	if change.Kind != PriceOwn {
		p.replace(at, before)
	}
	if p.changes = append(p.changes, change); len(p.changes) > PriceLimit {
		p.changes = p.changes[1:]
	}
	return nil
}

// replace notes which of the changes that were scheduled are not any more, and will not count.
func (p *Prices) replace(at domain.UnixMillis, before chargingpoint.Schedule) {
	stands := map[domain.UnixMillis]chargingpoint.PriceChange{}
	for _, c := range p.point.Scheduled() {
		stands[c.From] = c
	}
	for _, c := range before {
		if c.From <= at || stands[c.From] == c {
			continue
		}
		for i := range p.changes {
			if old := &p.changes[i]; old.Kind != PriceOwn && old.From == c.From && old.ReplacedAt == 0 {
				old.ReplacedAt = at
			}
		}
	}
}

// own is the point's own price; nil before it has registered.
func (p *Prices) own() *domain.MicroEurosPerKWh {
	if r, ok := p.point.Registered(); ok {
		return &r.Price
	}
	return nil
}

// Changes are the changes in the order in which they were decided. Nobody changes them.
func (p *Prices) Changes() []PriceChange { return p.changes }
