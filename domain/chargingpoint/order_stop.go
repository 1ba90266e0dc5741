package chargingpoint

import "evcharging/domain"

// OrderStop tells the Engine to end a session whose end Central has decided, and holds
// the point for HoldAfterStop. A start that is still on its way is stopped by the
// new number.
func (p *Point) OrderStop(now domain.UnixMillis, session domain.SessionID, cause string) {
	p.record(now, StopOrdered{
		Session: session, Cause: cause,
		Order: p.nextOrder(now), ValidUntil: now.Add(OrderValidity), HoldUntil: now.Add(HoldAfterStop),
	})
}

// OrderStopAgain tells an Engine that goes on reporting a session after its end to
// stop it, with a new number. ErrStopRecent where another session runs there, or
// where an order to stop went out less than StopAgain ago.
func (p *Point) OrderStopAgain(now domain.UnixMillis, session domain.SessionID, cause string) error {
	if p.occupancy != nil && p.occupancy.Session != session {
		return ErrStopRecent
	}
	stopping := p.lastOrder.Kind == OrderStop || p.lastOrder.Kind == OrderOutOfOrder
	if stopping && now.Sub(p.lastOrder.At) < StopAgain {
		return ErrStopRecent
	}
	p.OrderStop(now, session, cause)
	return nil
}
