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
// stop it, with a new number. ErrNotOccupiedBy where another session holds the
// point, ErrStopRecent where a session was ordered to stop there less than
// StopAgain ago, whatever was ordered since.
func (p *Point) OrderStopAgain(now domain.UnixMillis, session domain.SessionID, cause string) error {
	if p.occupancy != nil && p.occupancy.Session != session {
		return ErrNotOccupiedBy
	}
	if p.stoppedAt != 0 && now.Sub(p.stoppedAt) < StopAgain {
		return ErrStopRecent
	}
	p.OrderStop(now, session, cause)
	return nil
}
