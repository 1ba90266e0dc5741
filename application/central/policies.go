package central

import (
	"context"
	"errors"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// followPolicies lets further commands follow from what was decided, until none is left.
// All of it is one commit.
//
//	FaultReported, occupied         the session ends: KO
//	PointDisconnected, occupied     the session ends: DISCONNECTED
//	TakenOutOfService, occupied     the session ends: STOP_BY_CENTRAL
//	EndDecided                      the point is ordered to stop, unless this turn has done so
//	TicketIssued                    the point is released
func (t *turn) followPolicies(ctx context.Context) error {
	points, sessions, stopped := 0, 0, false
	for {
		switch {
		case t.point != nil && points < len(t.point.point.Pending()):
			event := t.point.point.Pending()[points]
			points++
			switch event.(type) {
			case chargingpoint.StopOrdered:
				stopped = true
			case chargingpoint.TakenOutOfService:
				stopped = true
				if err := t.endOccupant(ctx, session.CauseStopped); err != nil {
					return err
				}
			case chargingpoint.FaultReported:
				if err := t.endOccupant(ctx, session.CauseFault); err != nil {
					return err
				}
			case chargingpoint.PointDisconnected:
				if err := t.endOccupant(ctx, session.CauseDisconnected); err != nil {
					return err
				}
			}
		case t.session != nil && sessions < len(t.session.session.Pending()):
			event := t.session.session.Pending()[sessions]
			sessions++
			switch e := event.(type) {
			case session.EndDecided:
				if !stopped {
					t.point.point.OrderStop(t.now, t.session.session.ID(), string(e.Cause))
				}
			case session.TicketIssued:
				if err := t.release(t.session.session.ID()); err != nil {
					return err
				}
			}
		default:
			return nil
		}
	}
}

// endOccupant ends the session that holds the point.
func (t *turn) endOccupant(ctx context.Context, cause session.Cause) error {
	if _, occupied := t.point.point.Occupied(); !occupied {
		return nil
	}
	if err := t.loadOccupant(ctx); err != nil {
		return err
	}
	switch err := t.session.session.End(t.now, cause, t.Patience); {
	case errors.Is(err, session.ErrAlreadyEnding):
		return nil // the first cause stands
	case errors.Is(err, session.ErrClosed), errors.Is(err, session.ErrUnknownSession):
		return errStale // another Central has closed it since the point was read
	default:
		return err
	}
}

func (t *turn) release(id domain.SessionID) error {
	err := t.point.point.Release(t.now, id)
	if errors.Is(err, chargingpoint.ErrNotOccupiedBy) {
		return nil
	}
	return err
}
