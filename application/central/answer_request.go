package central

import (
	"context"
	"errors"
	"fmt"

	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// unreadable is why a request is refused that is for a point whose stream can't be read: whether
// it may supply is not known. What is looked at before the point goes before that.
func unreadable(now domain.UnixMillis, id domain.PointID, asked chargingpoint.Request) error {
	_, err := chargingpoint.New(id).Occupy(now, asked)
	if errors.Is(err, chargingpoint.RefusedUnknown) {
		return chargingpoint.RefusedUnreadable
	}
	return err
}

// answerRequest grants a request or refuses it, once: the same request gets the same answer.
func (t *turn) answerRequest(ctx context.Context, m message.Request) (verdict, error) {
	id := session.IDForCause(m.Point, m.Driver, causeOf(t.received.Source).String())
	if m.ID != "" {
		id = session.IDFor(m.Point, m.Driver, m.ID)
	}
	if err := t.loadSession(ctx, id); err != nil {
		return verdict{}, err
	}
	if t.session.session.Status() != session.None {
		t.again = t.answerAgain
		return judge(session.ErrAlreadyAnswered)
	}
	damage := t.loadPoint(ctx, m.Point)
	if damage != nil && !errors.Is(damage, eventlog.ErrDamaged) {
		return verdict{}, damage
	}
	request := session.Request{Point: m.Point, Driver: m.Driver, ID: m.ID, Origin: string(m.Origin)}
	asked := chargingpoint.Request{Session: id, Driver: m.Driver}
	if t.received.Source.Trusted {
		asked.SentAt = t.inTurn(t.received.Source.Timestamp)
	}
	var grant chargingpoint.Grant
	var err error
	if damage != nil {
		err = unreadable(t.now, m.Point, asked)
	} else {
		if asked.Heard, err = t.isHeard(ctx); err != nil {
			return verdict{}, err
		}
		grant, err = t.point.point.Occupy(t.now, asked)
	}
	var refusal chargingpoint.Refusal
	if errors.As(err, &refusal) {
		// A driver of the reference that has left would take a late refusal for the answer to
		// its next request.
		silent := refusal == chargingpoint.RefusedExpired && m.ID == ""
		return judge(t.session.session.Refuse(t.now, request, string(refusal), silent))
	}
	if err != nil {
		return verdict{}, err
	}
	return judge(t.session.session.Authorize(t.now, request, session.Grant(grant), t.Patience))
}

// isHeard tells whether the turn's point was heard while somebody could have heard it. A
// point that gives no lease needn't be.
func (t *turn) isHeard(ctx context.Context) (bool, error) {
	_, lease := t.point.point.Connected()
	if lease == 0 {
		return true, nil
	}
	last, err := t.Signs.Last(ctx, t.point.point.ID())
	if err != nil {
		return false, fmt.Errorf("read the last sign of life of %s: %w", t.point.point.ID(), err)
	}
	return last.HeardAt != 0 && t.clock.Sub(max(last.HeardAt, t.Listening.Since())) < lease, nil
}

// answerAgain is the first answer. A grant of a session that is closed is sent only where
// it names its request: its driver, whom a crash may have left waiting, is told so; another
// would take it for the answer to its next request.
func (t *turn) answerAgain() []message.Message {
	s := t.session.session
	if s.Status() == session.Refused || s.Open() || s.Request().ID != "" {
		return []message.Message{answerOf(s)}
	}
	return nil
}

func answerOf(s *session.Session) message.Answer {
	r := s.Request()
	answer := message.Answer{Driver: r.Driver, Point: r.Point, Request: r.ID}
	if s.Status() == session.Refused {
		answer.Reason = s.Refusal()
		return answer
	}
	price := s.Price()
	answer.Authorized, answer.Session, answer.Price = true, s.ID(), &price
	return answer
}

// startOf is the order that starts a session's supply.
func startOf(s *session.Session) message.Order {
	r, price := s.Request(), s.Price()
	order, validUntil := s.Start()
	return message.Order{
		Kind: message.OrderStart, Point: r.Point, Session: s.ID(), Driver: r.Driver, Price: &price,
		Number: order, ValidUntil: validUntil, Commanded: r.Origin == string(message.OriginOperator),
	}
}
