package chargingpoint

import (
	"slices"

	"evcharging/domain"
)

// SetPrice makes a price stand over the point's own for sessions that are granted from an
// instant on; from now on where that is not later than now, as 0 is not. It replaces what
// was scheduled for that instant or later. ErrUnknownPoint before the point has registered,
// ErrUnchanged where it changes nothing, ErrScheduleFull where MaxScheduled changes are to
// come before it.
func (p *Point) SetPrice(now, from domain.UnixMillis, price domain.MicroEurosPerKWh, by string) error {
	return p.changePrice(now, PriceSet{Price: price, By: by, From: later(now, from)})
}

// HandBackPrice lets the point's own price count again, from an instant on as SetPrice
// does. Errors as of SetPrice.
func (p *Point) HandBackPrice(now, from domain.UnixMillis, by string) error {
	return p.changePrice(now, PriceHandedBack{By: by, From: later(now, from)})
}

// TakePriceEffect records that the price change that was scheduled for an instant counts:
// PriceTookEffect. ErrDeadlineGone where none is scheduled for exactly that instant any
// more, and before it.
func (p *Point) TakePriceEffect(now, from domain.UnixMillis) error {
	if now < from || !slices.ContainsFunc(p.scheduled, func(c PriceChange) bool { return c.From == from }) {
		return ErrDeadlineGone
	}
	p.record(now, PriceTookEffect{From: from})
	return nil
}

func (p *Point) changePrice(now domain.UnixMillis, event Event) error {
	change, _ := priceChange(now, event)
	stands := p.priceChangeAt(change.From)
	isLast := !slices.ContainsFunc(p.scheduled, func(c PriceChange) bool { return c.From > change.From })
	switch {
	case !p.Known():
		return ErrUnknownPoint
	case isLast && stands.Set == change.Set && stands.Price == change.Price:
		return ErrUnchanged
	case len(p.scheduled.After(now, event)) > MaxScheduled:
		return ErrScheduleFull
	}
	p.record(now, event)
	return nil
}

// later is an instant where it lies after now, else 0: at once.
func later(now, instant domain.UnixMillis) domain.UnixMillis {
	if instant > now {
		return instant
	}
	return 0
}
