package central

import (
	"context"
	"errors"
	"fmt"
	"time"

	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// hearsay is how long what another Central heard may take to be known here, and that it died
// before it could say more: its share of the points is silent until somebody notices.
const hearsay = 5 * time.Second

// The kinds of a point's own deadlines; a session's are session.DeadlineKind's.
const (
	// DeadlineLease is that of the one deadline that stands in the signs of life.
	DeadlineLease = "lease"
	// DeadlinePrice is that of a scheduled price's instant.
	DeadlinePrice = "price"
)

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
	p, recordedAt := t.point.point, t.received.Source.Timestamp
	var err error
	switch m.Action {
	case message.ActionStop:
		err = p.TakeOutOfService(t.now, recordedAt, m.By)
	case message.ActionResume:
		err = p.ReturnToService(t.now, recordedAt, m.By)
	case message.ActionPrice:
		if m.Price == nil {
			err = p.HandBackPrice(t.now, m.From, m.By)
		} else {
			err = p.SetPrice(t.now, m.From, *m.Price, m.By)
		}
	}
	v, err := judge(err)
	t.asked = m.ID
	if errors.Is(v.rule, chargingpoint.ErrNotLater) {
		t.refusal = v.rule.Error()
	}
	return v, err
}

// passDeadline does what a deadline asks for, where exactly it still stands.
func (t *turn) passDeadline(ctx context.Context, m message.Control) (verdict, error) {
	switch m.Kind {
	case DeadlineLease:
		return t.loseContact(ctx, m.Point)
	case DeadlinePrice:
		if err := t.loadPoint(ctx, m.Point); err != nil {
			return verdict{}, err
		}
		return judge(t.point.point.TakePriceEffect(t.now, m.DueAt))
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
	if t.session.session.Request().Point != m.Point {
		return judge(session.ErrForeignPoint)
	}
	if err := t.loadPoint(ctx, m.Point); err != nil {
		return verdict{}, err
	}
	listeningSince := t.inTurn(t.Listening.Since())
	return judge(t.session.session.PassDeadline(t.now, session.DeadlineKind(m.Kind), m.DueAt, listeningSince, t.Patience))
}

func (t *turn) loseContact(ctx context.Context, point domain.PointID) (verdict, error) {
	if err := t.loadPoint(ctx, point); err != nil {
		return verdict{}, err
	}
	last, err := t.Signs.Last(ctx, point)
	if err != nil {
		return verdict{}, fmt.Errorf("read the last sign of life of %s: %w", point, err)
	}
	since := t.Listening.Since()
	if _, lease := t.point.point.Connected(); t.Shared && t.clock.Sub(max(last.HeardAt, since)) < lease+hearsay {
		return judge(chargingpoint.ErrDeadlineGone)
	}
	return judge(t.point.point.LoseContact(t.now, t.inTurn(last.HeardAt), t.inTurn(since)))
}
