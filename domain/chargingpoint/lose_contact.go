package chargingpoint

import "evcharging/domain"

// LoseContact records PointDisconnected where the lease has run out: its whole
// length has passed since the point was last heard and since somebody has been
// listening. ErrDeadlineGone otherwise, and for a point that gives no lease.
func (p *Point) LoseContact(now, lastHeard, listeningSince domain.UnixMillis) error {
	if !p.connected || p.lease == 0 || now.Sub(max(lastHeard, listeningSince)) < p.lease {
		return ErrDeadlineGone
	}
	p.record(now, PointDisconnected{LastHeard: lastHeard, Lease: p.lease})
	return nil
}
