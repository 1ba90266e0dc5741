package chargingpoint

import "evcharging/domain"

// TakeOutOfService stops the point on purpose, until it is returned: across restarts of
// anything. What it supplies is ended by the same order. recordedAt is the Kafka
// timestamp of the operator's record. ErrUnknownPoint before the point has
// registered, ErrNotLater where a later stop or resume is known, ErrUnchanged
// where it is out already.
func (p *Point) TakeOutOfService(now, recordedAt domain.UnixMillis, by string) error {
	if err := p.guardService(recordedAt, true); err != nil {
		return err
	}
	event := TakenOutOfService{
		RecordedAt: recordedAt, By: by,
		Order: p.nextOrder(now), ValidUntil: now.Add(OrderValidity),
	}
	if p.occupancy != nil {
		event.Session, event.HoldUntil = p.occupancy.Session, now.Add(HoldAfterStop)
	}
	p.record(now, event)
	return nil
}

// ReturnToService lets the point supply again. Errors as of TakeOutOfService.
func (p *Point) ReturnToService(now, recordedAt domain.UnixMillis, by string) error {
	if err := p.guardService(recordedAt, false); err != nil {
		return err
	}
	p.record(now, ReturnedToService{
		RecordedAt: recordedAt, By: by,
		Order: p.nextOrder(now), ValidUntil: now.Add(OrderValidity),
	})
	return nil
}

func (p *Point) guardService(recordedAt domain.UnixMillis, out bool) error {
	switch {
	case !p.Known():
		return ErrUnknownPoint
	case recordedAt < p.service.At:
		return ErrNotLater
	case p.service.Out == out:
		return ErrUnchanged
	}
	return nil
}
