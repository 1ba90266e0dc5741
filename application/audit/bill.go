package audit

import (
	"errors"
	"fmt"
	"strings"

	"evcharging/domain"
	"evcharging/domain/session"
)

// errUnasked tells of a ticket that nothing in the log asks for.
var errUnasked = errors.New("neither a final report nor a deadline asks for it")

// rebill decides anew what an event of a session that leads to a ticket, or to a revision,
// was decided from, and gives what the domain decides: that event first. It is empty for
// any other event. The session, as it was before the event, is the caller's no more.
func rebill(s session.Session, at domain.UnixMillis, event session.Event) ([]session.Event, error) {
	before := len(s.Pending())
	var err error
	switch e := event.(type) {
	case session.SupplyEnded:
		err = s.ReportDone(at, reported(&s, e.EnergyReported, e.AmountReported, e.Reason, e.At, e.Source))
	case session.EndDecided:
		if e.Cause != session.CauseExpired {
			return nil, nil
		}
		err = s.PassDeadline(at, session.TakeUp, s.Deadline().Due, 0, session.Patience{})
	case session.TicketIssued:
		err = s.PassDeadline(at, session.FinalReport, s.Deadline().Due, 0, session.Patience{})
	case session.TicketRevised:
		if _, ok := s.Ticket(); !ok {
			return nil, errors.New("it revises none")
		}
		err = s.ReportDone(at, reported(&s, e.EnergyAfter, 0, e.Reason, e.EndedAt, e.Source))
	default:
		return nil, nil
	}
	switch {
	case errors.Is(err, session.ErrDeadlineGone):
		return nil, errUnasked
	case errors.Is(err, session.ErrClosed):
		return nil, errors.New("a report of no more than was billed changes nothing")
	case err != nil:
		return nil, err
	}
	return s.Pending()[before:], nil
}

// reported is the final report that an event recorded.
func reported(s *session.Session, energy domain.MilliwattHours, amount domain.MicroEuros, reason string, at domain.UnixMillis, source session.Source) session.Done {
	r := s.Request()
	return session.Done{Point: r.Point, Driver: r.Driver, Energy: energy, Amount: amount, Reason: reason, At: at, Source: source}
}

// figure is one of a bill's.
type figure struct{ name, text string }

// figures are those of an event that bills: all but what was ignored, which nothing else in
// the log says.
func figures(event session.Event) (what string, all []figure) {
	switch e := event.(type) {
	case session.TicketIssued:
		return "a ticket", []figure{
			{"ticket", string(e.Ticket)},
			{"started at", e.StartedAt.String()},
			{"ended at", e.EndedAt.String()},
			{"energy", e.Energy.String() + " kWh"},
			{"price", e.Price.String() + " EUR/kWh"},
			{"amount", e.Amount.String() + " EUR"},
			{"reason", e.Reason},
		}
	case session.TicketRevised:
		return "a revision", []figure{
			{"revision", fmt.Sprint(e.Revision)},
			{"energy before", e.EnergyBefore.String() + " kWh"},
			{"energy after", e.EnergyAfter.String() + " kWh"},
			{"amount before", e.AmountBefore.String() + " EUR"},
			{"amount after", e.AmountAfter.String() + " EUR"},
			{"difference", e.AmountDifference.String() + " EUR"},
			{"reason", e.Reason},
			{"ended at", e.EndedAt.String()},
		}
	case session.SupplyEnded:
		return "a final report", []figure{{"energy", e.EnergyReported.String() + " kWh"}, {"reason", e.Reason}, {"ended at", e.At.String()}}
	case session.EndDecided:
		return "an end", []figure{{"cause", string(e.Cause)}, {"awaited until", e.Due.String()}}
	}
	return fmt.Sprintf("%T", event), nil
}

// billed is an event that bills, in words.
func billed(event session.Event) string {
	what, all := figures(event)
	texts := make([]string, len(all))
	for i, f := range all {
		texts[i] = f.name + " " + f.text
	}
	return what + " of " + strings.Join(texts, ", ") + " follows"
}

// sameBill is nil where a stored event says what the domain decides; else each figure that is
// another.
func sameBill(stored, decided session.Event) error {
	got, is := figures(stored)
	want, should := figures(decided)
	if got != want {
		return fmt.Errorf("%s stands where %s", got, billed(decided))
	}
	var others []string
	for i := range is {
		if is[i] != should[i] {
			others = append(others, fmt.Sprintf("%s is %s, and %s follows", is[i].name, is[i].text, should[i].text))
		}
	}
	if len(others) > 0 {
		return errors.New(strings.Join(others, "; "))
	}
	return nil
}
