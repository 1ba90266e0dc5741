package central

import (
	"context"
	"errors"
	"fmt"

	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// DeadlineLease is the kind of the one deadline that stands in the signs of life.
const DeadlineLease = "lease"

// control does what an operator or a deadline asks of a point.
func (t *turn) control(ctx context.Context, m message.Control) (verdict, error) {
	switch m.Action {
	case message.ActionStart:
		if m.Driver == "" || m.ID == "" {
			return judge(fmt.Errorf("%w: a start needs an id and a driver", ErrIncomplete))
		}
		return t.answerRequest(ctx, message.Request{
			Driver: m.Driver, Point: m.Point, ID: domain.RequestID(m.ID), Origin: message.OriginOperator,
		})
	case message.ActionDeadline:
		return t.passDeadline(ctx, m)
	case message.ActionStop, message.ActionResume, message.ActionPrice:
		return t.operate(ctx, m)
	}
	return judge(fmt.Errorf("%w: %q", ErrUnknownAction, m.Action))
}

// operate carries an operator's command out and tells the point's state, changed or not.
func (t *turn) operate(ctx context.Context, m message.Control) (verdict, error) {
	if err := t.loadPoint(ctx, m.Point); err != nil {
		return verdict{}, err
	}
	if err := t.loadOccupant(ctx); err != nil {
		return verdict{}, err
	}
	p, recordedAt := t.point.point, t.received.Source.Timestamp
	var err error
	switch m.Action {
	case message.ActionStop:
		err = p.TakeOutOfService(t.now, recordedAt, m.By)
	case message.ActionResume:
		err = p.ReturnToService(t.now, recordedAt, m.By)
	default:
		if m.Price == nil {
			err = p.HandBackPrice(t.now, m.By)
		} else {
			err = p.SetPrice(t.now, *m.Price, m.By)
		}
	}
	v, err := judge(err)
	if err == nil && !v.refused {
		t.reply = func() []message.Message {
			state := t.stateOf(t.point)
			state.Control = m.ID
			if errors.Is(v.rule, chargingpoint.ErrNotLater) {
				state.Refusal = v.rule.Error()
			}
			return []message.Message{state}
		}
	}
	return v, err
}

// passDeadline does what a deadline asks for, where exactly it still stands.
func (t *turn) passDeadline(ctx context.Context, m message.Control) (verdict, error) {
	if m.Kind == DeadlineLease {
		return t.loseContact(ctx, m.Point)
	}
	if m.Session == "" {
		return judge(fmt.Errorf("%w: a deadline needs its session", ErrIncomplete))
	}
	if err := t.loadSession(ctx, m.Session); err != nil {
		return verdict{}, err
	}
	if !t.session.session.Open() {
		return judge(session.ErrDeadlineGone)
	}
	if err := t.loadPoint(ctx, t.session.session.Request().Point); err != nil {
		return verdict{}, err
	}
	return judge(t.session.session.PassDeadline(t.now, session.DeadlineKind(m.Kind), m.DueAt, t.Listening.Since(), t.Patience))
}

func (t *turn) loseContact(ctx context.Context, point domain.PointID) (verdict, error) {
	if err := t.loadPoint(ctx, point); err != nil {
		return verdict{}, err
	}
	if err := t.loadOccupant(ctx); err != nil {
		return verdict{}, err
	}
	last, err := t.Signs.Last(ctx, point)
	if err != nil {
		return verdict{}, fmt.Errorf("read the last sign of life of %s: %w", point, err)
	}
	return judge(t.point.point.LoseContact(t.now, last.HeardAt, t.Listening.Since()))
}
