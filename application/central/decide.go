package central

import (
	"context"
	"errors"
	"fmt"

	"evcharging/application/message"
)

var (
	// ErrUnknownAction tells of a control record that asks for nothing we know.
	ErrUnknownAction = errors.New("unknown action of a control record")
	// ErrIncomplete tells of a control record that lacks what its action needs.
	ErrIncomplete = errors.New("the control record lacks what its action needs")
)

// decide lets the domain decide about the turn's message.
func (t *turn) decide(ctx context.Context) (verdict, error) {
	switch m := t.received.Message.(type) {
	case message.Registration:
		return t.register(ctx, m)
	case message.Health:
		return t.reportHealth(ctx, m)
	case message.Request:
		return t.answerRequest(ctx, m)
	case message.MeterValue:
		return t.recordMeterValue(ctx, m)
	case message.Done:
		return t.reportDone(ctx, m)
	case message.Control:
		return t.control(ctx, m)
	}
	return verdict{rule: fmt.Errorf("%w: Central does not read %T", ErrUnknownAction, t.received.Message), refused: true}, nil
}
