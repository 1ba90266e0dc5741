package chargingpoint

import (
	"slices"

	"evcharging/domain"
)

// MaxScheduled bounds the price changes that are scheduled for a point.
const MaxScheduled = 100

// PriceChange is an operator's word about what a supply costs from an instant on. The zero
// PriceChange is that of a point whose price no operator has ever set.
type PriceChange struct {
	// From is from when it counts.
	From domain.UnixMillis
	// Set tells that Price counts; otherwise the point's own price does, and Price is 0.
	Set   bool
	Price domain.MicroEurosPerKWh
	// DecidedAt is when it was decided, By names who did.
	DecidedAt domain.UnixMillis
	By        string
}

// Schedule are the price changes that were decided for later and that no event says to
// have taken effect, in ascending order of From, which no two share. It is never changed
// in place.
type Schedule []PriceChange

// After is the schedule after an event that was decided at an instant. A change replaces
// all that were to count from its own instant on or later. One that has taken effect
// leaves, and those before it with it.
func (s Schedule) After(at domain.UnixMillis, event Event) Schedule {
	if took, ok := event.(PriceTookEffect); ok {
		return s.keep(func(c PriceChange) bool { return c.From > took.From })
	}
	added, ok := priceChange(at, event)
	switch {
	case !ok:
		return s
	case added.From <= at:
		return nil
	}
	return append(s.keep(func(c PriceChange) bool { return c.From < added.From }), added)
}

// priceChange is what an event that was decided at an instant changes; ok is false where
// it is no operator's word about the price.
func priceChange(at domain.UnixMillis, event Event) (c PriceChange, ok bool) {
	switch e := event.(type) {
	case PriceSet:
		return PriceChange{From: max(e.From, at), Set: true, Price: e.Price, DecidedAt: at, By: e.By}, true
	case PriceHandedBack:
		return PriceChange{From: max(e.From, at), DecidedAt: at, By: e.By}, true
	}
	return PriceChange{}, false
}

// keep is a schedule of the changes that fit; nil where none does.
func (s Schedule) keep(fits func(PriceChange) bool) (kept Schedule) {
	for _, c := range s {
		if fits(c) {
			kept = append(kept, c)
		}
	}
	return kept
}

// at is the change that counts at an instant; ok is false where none of the schedule does.
func (s Schedule) at(instant domain.UnixMillis) (c PriceChange, ok bool) {
	for _, c := range slices.Backward(s) {
		if c.From <= instant {
			return c, true
		}
	}
	return PriceChange{}, false
}

// PriceAt is what a supply granted at an instant costs: the operator's price, one that was
// scheduled and that nobody has noticed yet included, else the point's own. The instant is
// UpdatedAt or later.
func (p *Point) PriceAt(instant domain.UnixMillis) domain.MicroEurosPerKWh {
	change := p.priceChangeAt(instant)
	switch {
	case change.Set:
		return change.Price
	case p.registration != nil:
		return p.registration.Price
	}
	return 0
}

// Price is PriceAt the point's last event: the same events give the same price, whenever
// one looks.
func (p *Point) Price() domain.MicroEurosPerKWh { return p.PriceAt(p.updatedAt) }

// PriceChange is the operator's change that counts, as of the point's last event.
func (p *Point) PriceChange() PriceChange { return p.priceChangeAt(p.updatedAt) }

// Scheduled are the changes that are to count later, as of the point's last event.
func (p *Point) Scheduled() Schedule {
	return p.scheduled.keep(func(c PriceChange) bool { return c.From > p.updatedAt })
}

func (p *Point) priceChangeAt(instant domain.UnixMillis) PriceChange {
	if change, ok := p.scheduled.at(instant); ok {
		return change
	}
	return p.operator
}
