package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Correction is a revision of a ticket: what a final report changed that came after the
// session was closed.
type Correction struct {
	// At is when it was decided.
	At      domain.UnixMillis
	Session domain.SessionID
	Point   domain.PointID
	Driver  domain.DriverID
	// Revision counts the revisions of the ticket from 1.
	Revision                  int
	EnergyBefore, EnergyAfter domain.MilliwattHours
	AmountBefore, AmountAfter domain.MicroEuros
	// Difference is what is owed beyond AmountBefore.
	Difference domain.MicroEuros
	// Reason is that of the late report, Source where it came from.
	Reason string
	Source session.Source
}

// Corrections are the revisions that were decided from an instant on and before another, 0
// for without end, in the order in which the log has them. An error that is
// eventlog.ErrDamaged tells of what can't be read, and what lies behind it follows; any
// other is the last.
func Corrections(ctx context.Context, log Log, codec central.Codec, from, to domain.UnixMillis) iter.Seq2[Correction, error] {
	c := corrections{Central: &central.Central{Codec: codec}, log: log}
	return func(yield func(Correction, error) bool) {
		for commit, err := range all(ctx, log, 1) {
			switch {
			case errors.Is(err, eventlog.ErrDamaged):
				if !yield(Correction{}, err) {
					return
				}
				continue
			case err != nil:
				yield(Correction{}, fmt.Errorf("read the event log: %w", err))
				return
			case commit.At < from || to != 0 && commit.At >= to:
				continue
			}
			for _, part := range commit.Parts {
				if part.Kind == eventlog.Closing && !c.of(ctx, part, yield) {
					return
				}
			}
		}
	}
}

type corrections struct {
	*central.Central
	log Log
}

// of yields the corrections that a part has; false where no more is wanted.
func (c corrections) of(ctx context.Context, p eventlog.Part, yield func(Correction, error) bool) bool {
	part, err := c.Decode(p)
	if err != nil {
		return yield(Correction{}, err)
	}
	for _, event := range part.Events {
		e, ok := event.(session.TicketRevised)
		if !ok {
			continue
		}
		granted, id, err := c.granted(ctx, p.Stream)
		if err != nil {
			return yield(Correction{}, err) && errors.Is(err, eventlog.ErrDamaged)
		}
		if !yield(Correction{
			At: part.At, Session: id, Point: granted.Point, Driver: granted.Driver, Revision: e.Revision,
			EnergyBefore: e.EnergyBefore, EnergyAfter: e.EnergyAfter,
			AmountBefore: e.AmountBefore, AmountAfter: e.AmountAfter, Difference: e.AmountDifference,
			Reason: e.Reason, Source: e.Source,
		}, nil) {
			return false
		}
	}
	return true
}

// granted is how a session's stream begins: it says whose the session is.
func (c corrections) granted(ctx context.Context, stream eventlog.Stream) (session.SupplyAuthorized, domain.SessionID, error) {
	id := domain.SessionID(strings.TrimPrefix(string(stream), "session-"))
	for commit, err := range c.log.Read(ctx, stream, 1) {
		if err != nil {
			return session.SupplyAuthorized{}, id, fmt.Errorf("read %s from the event log: %w", stream, err)
		}
		part, err := c.Decode(commit.Parts[0])
		if err != nil {
			return session.SupplyAuthorized{}, id, err
		}
		if e, ok := part.Events[0].(session.SupplyAuthorized); ok {
			return e, id, nil
		}
		break
	}
	return session.SupplyAuthorized{}, id, fmt.Errorf("%w: %s does not begin with its grant", eventlog.ErrDamaged, stream)
}
