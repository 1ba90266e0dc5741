package session_test

import (
	"testing"

	"evcharging/domain"
	"evcharging/domain/session"
)

func pass(now domain.UnixMillis, kind session.DeadlineKind, due, listening domain.UnixMillis) func(*session.Session) error {
	return func(s *session.Session) error {
		return s.PassDeadline(now, kind, due, listening, session.DefaultPatience)
	}
}

// An authorization that no Engine takes up expires: a ticket with zeros, in one decision.
func TestPassTakeUp(t *testing.T) {
	const now = noon + minute
	s := given(t, granted).
		When(now, pass(now, session.TakeUp, noon+minute, noon)).
		Then(
			session.EndDecided{Cause: session.CauseExpired, Due: now},
			session.TicketIssued{Ticket: ticket.Ticket, StartedAt: noon, EndedAt: now, Price: price, Reason: "EXPIRED"},
		).
		When(now, pass(now, session.TakeUp, noon+minute, noon)).
		ThenError(session.ErrDeadlineGone)
	if s.Live.Open() || s.Live.Cause() != session.CauseExpired || !s.Live.GoesOn(now+3*second) {
		t.Errorf("open %t, cause %s, a sample now shows that it goes on: %t", s.Live.Open(), s.Live.Cause(), s.Live.GoesOn(now+3*second))
	}
	// it was taken up all the same, as it shows
	s.When(now+hour, report(now+hour, final(90, kWh))).
		Then(session.TicketRevised{
			Revision: 1, EnergyAfter: kWh, AmountAfter: 300_000, AmountDifference: 300_000,
			Reason: "FINISHED", EndedAt: noon + 90*second, Source: done(90),
		})
}

// A running session without a report ends as disconnected.
func TestPassSilence(t *testing.T) {
	const now = noon + second + minute
	given(t, granted, supplying).
		When(now, pass(now, session.Silence, now, noon)).
		Then(session.EndDecided{Cause: session.CauseDisconnected, Due: now + minute}).
		When(now, pass(now, session.Silence, now, noon)).
		ThenError(session.ErrDeadlineGone)
}

// A session whose final report does not come is billed on the last report.
func TestPassFinalReport(t *testing.T) {
	const now = noon + 2*minute
	later := recorded(noon+30*second, value(30, 4*kWh), 4*kWh, 4*kWh)
	derived := recorded(noon+second, bare(1, 2_100_000), 7*kWh, 0)
	whileEnding := recorded(noon+61*second, value(61, 6*kWh), 6*kWh, 6*kWh)
	whileEnding.Due = 0
	for name, test := range map[string]struct {
		history            []past
		startedAt, endedAt domain.UnixMillis
		energy             domain.MilliwattHours
	}{
		"nothing was reported":                  {[]past{granted, ending}, noon, noon + minute, 0},
		"one sample":                            {[]past{granted, supplying, ending}, noon + second, noon + second, 2 * kWh},
		"more":                                  {[]past{granted, supplying, at(noon+30*second, later), ending}, noon + second, noon + 30*second, 4 * kWh},
		"while the done was awaited":            {[]past{granted, supplying, ending, at(noon+61*second, whileEnding)}, noon + second, noon + 61*second, 6 * kWh},
		"amounts alone: no done has come":       {[]past{granted, at(noon+second, started, derived), ending}, noon + second, noon + second, 7 * kWh},
		"the first, while the done was awaited": {[]past{granted, ending, at(noon+61*second, session.SupplyStarted{At: noon + 61*second}, whileEnding)}, noon + 61*second, noon + 61*second, 6 * kWh},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, test.history...).
				When(now, pass(now, session.FinalReport, noon+2*minute, noon)).
				Then(session.TicketIssued{
					Ticket: ticket.Ticket, StartedAt: test.startedAt, EndedAt: test.endedAt,
					Energy: test.energy, Price: price, Amount: domain.Cost(test.energy, price), Reason: "KO",
				})
			s.When(now, pass(now, session.FinalReport, noon+2*minute, noon)).ThenError(session.ErrDeadlineGone)
		})
	}
}

// Exactly the deadline that stands counts, and only silence that could have been heard.
func TestPassDeadlineThatDoesNotStand(t *testing.T) {
	const takeUp, silence, finalReport = noon + minute, noon + second + minute, noon + 2*minute
	newer := at(noon+30*second, recorded(noon+30*second, value(30, 4*kWh), 4*kWh, 4*kWh))
	for name, test := range map[string]struct {
		history   []past
		kind      session.DeadlineKind
		due       domain.UnixMillis
		now       domain.UnixMillis
		listening domain.UnixMillis
	}{
		"a millisecond early":                      {[]past{granted}, session.TakeUp, takeUp, takeUp - 1, noon},
		"taken up meanwhile":                       {[]past{granted, supplying}, session.TakeUp, takeUp, takeUp, noon},
		"reported meanwhile":                       {[]past{granted, supplying, newer}, session.Silence, silence, silence, noon},
		"ended meanwhile":                          {[]past{granted, supplying, ending}, session.Silence, silence, silence, noon},
		"closed meanwhile":                         {[]past{granted, supplying, closed}, session.FinalReport, finalReport, finalReport, noon},
		"of another kind, due at the same time":    {[]past{granted}, session.Silence, takeUp, takeUp, noon},
		"of another time":                          {[]past{granted}, session.TakeUp, takeUp + 1, takeUp + hour, noon},
		"nobody has listened for all of it":        {[]past{granted}, session.TakeUp, takeUp, noon + hour, noon + hour - minute + 1},
		"silence, nobody has listened for it":      {[]past{granted, supplying}, session.Silence, silence, noon + hour, noon + hour - minute + 1},
		"final report, nobody has listened for it": {[]past{granted, supplying, ending}, session.FinalReport, finalReport, noon + hour, noon + hour - minute + 1},
		"of a session that nobody knows":           {nil, session.TakeUp, takeUp, takeUp, noon},
		"none, of a session that waits for none":   {nil, "", 0, takeUp, noon},
		"of a refused request":                     {[]past{at(noon, refused)}, session.TakeUp, takeUp, takeUp, noon},
	} {
		t.Run(name, func(t *testing.T) {
			given(t, test.history...).
				When(test.now, pass(test.now, test.kind, test.due, test.listening)).
				ThenError(session.ErrDeadlineGone)
		})
	}
}

// After an outage the whole length counts anew, and then it passes.
func TestPassDeadlineOnceItCouldHaveBeenHeard(t *testing.T) {
	const back, now = noon + hour - minute, noon + hour
	given(t, granted, supplying).
		When(now, pass(now, session.Silence, noon+second+minute, back)).
		Then(session.EndDecided{Cause: session.CauseDisconnected, Due: now + minute})
}

func TestDueWhenHeard(t *testing.T) {
	d := session.Deadline{Kind: session.TakeUp, Since: noon, Due: noon + minute}
	for listening, want := range map[domain.UnixMillis]domain.UnixMillis{
		0: noon + minute, noon: noon + minute, noon - 1: noon + minute, noon + 1: noon + minute + 1, noon + hour: noon + hour + minute,
	} {
		if got := d.DueWhenHeard(listening); got != want {
			t.Errorf("listening since %s: due %s, want %s", listening, got, want)
		}
	}
}
