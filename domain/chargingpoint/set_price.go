package chargingpoint

import "evcharging/domain"

// SetPrice makes a price stand over the point's own for sessions granted from now
// on. ErrUnknownPoint before the point has registered, ErrUnchanged where it stands already.
func (p *Point) SetPrice(now domain.UnixMillis, price domain.MicroEurosPerKWh, by string) error {
	switch {
	case !p.Known():
		return ErrUnknownPoint
	case p.operator != nil && *p.operator == price:
		return ErrUnchanged
	}
	p.record(now, PriceSet{Price: price, By: by})
	return nil
}

// HandBackPrice lets the point's own price count again. ErrUnknownPoint before
// the point has registered, ErrUnchanged where it does already.
func (p *Point) HandBackPrice(now domain.UnixMillis, by string) error {
	switch {
	case !p.Known():
		return ErrUnknownPoint
	case p.operator == nil:
		return ErrUnchanged
	}
	p.record(now, PriceHandedBack{By: by})
	return nil
}
