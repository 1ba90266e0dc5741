package session_test

import (
	"testing"

	"evcharging/domain"
	"evcharging/domain/session"
)

func report(now domain.UnixMillis, d session.Done) func(*session.Session) error {
	return func(s *session.Session) error { return s.ReportDone(now, d) }
}

// final is the done of second n.
func final(n int64, energy domain.MilliwattHours) session.Done {
	return session.Done{
		Point: "CP-1", Driver: "D-1", Energy: energy, Amount: domain.Cost(energy, price), Reason: "FINISHED",
		At: noon + domain.UnixMillis(n)*second, Source: done(n),
	}
}

func TestReportDone(t *testing.T) {
	const now = noon + hour
	derived := recorded(noon+second, bare(1, 2_100_000), 7*kWh, 0)
	mixed := recorded(noon+2*second, value(2, 8*kWh), 8*kWh, 8*kWh)
	bill := func(energy domain.MilliwattHours, reason string) session.TicketIssued {
		return session.TicketIssued{
			Ticket: ticket.Ticket, StartedAt: noon + second, EndedAt: noon + minute,
			Energy: energy, Price: price, Amount: domain.Cost(energy, price), Reason: reason,
		}
	}
	untaken := func(energy domain.MilliwattHours, reason string) session.TicketIssued {
		b := bill(energy, reason)
		b.StartedAt = noon
		return b
	}
	with := func(d session.Done, change func(*session.Done)) session.Done {
		change(&d)
		return d
	}
	for name, test := range map[string]struct {
		history []past
		done    session.Done
		want    session.TicketIssued
		err     error
	}{
		"with more than the samples":       {[]past{granted, supplying}, final(60, 5*kWh), bill(5*kWh, "FINISHED"), nil},
		"with as much":                     {[]past{granted, supplying}, final(60, 2*kWh), bill(2*kWh, "FINISHED"), nil},
		"with less":                        {[]past{granted, supplying}, final(60, kWh), bill(2*kWh, "FINISHED"), nil},
		"with zeros":                       {[]past{granted, supplying}, final(60, 0), bill(2*kWh, "FINISHED"), nil},
		"less than an amount stood for":    {[]past{granted, at(noon+second, started, derived)}, final(60, 5*kWh), bill(5*kWh, "FINISHED"), nil},
		"zeros, where amounts stood alone": {[]past{granted, at(noon+second, started, derived)}, final(60, 0), bill(0, "FINISHED"), nil},
		"less than was measured at last":   {[]past{granted, at(noon+second, started, derived), at(noon+2*second, mixed)}, final(60, 5*kWh), bill(8*kWh, "FINISHED"), nil},
		"never taken up, refused":          {[]past{granted}, with(final(60, 0), func(d *session.Done) { d.Reason = "REFUSED" }), untaken(0, "REFUSED"), nil},
		"no sample came, energy did":       {[]past{granted}, final(60, 5*kWh), untaken(5*kWh, "FINISHED"), nil},
		"after a decided end":              {[]past{granted, supplying, ending}, final(60, 5*kWh), bill(5*kWh, "KO"), nil},
		"after a decided end, untaken":     {[]past{granted, ending}, final(60, 0), untaken(0, "KO"), nil},
		"an absurd amount is not billed":   {[]past{granted, supplying}, with(final(60, 5*kWh), func(d *session.Done) { d.Amount = domain.MaxMoney }), bill(5*kWh, "FINISHED"), nil},
		"an unknown session":               {nil, final(60, 5*kWh), session.TicketIssued{}, session.ErrUnknownSession},
		"a refused request":                {[]past{at(noon, refused)}, final(60, 5*kWh), session.TicketIssued{}, session.ErrUnknownSession},
		"another point":                    {[]past{granted, supplying}, with(final(60, 5*kWh), func(d *session.Done) { d.Point = "CP-2" }), session.TicketIssued{}, session.ErrForeignPoint},
		"another driver":                   {[]past{granted, supplying}, with(final(60, 5*kWh), func(d *session.Done) { d.Driver = "D-2" }), session.TicketIssued{}, session.ErrForeignDriver},
		"another point, closed":            {[]past{granted, supplying, closed}, with(final(60, 50*kWh), func(d *session.Done) { d.Point = "CP-2" }), session.TicketIssued{}, session.ErrForeignPoint},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, test.history...).When(now, report(now, test.done))
			if test.err != nil {
				s.ThenError(test.err)
				return
			}
			s.Then(session.SupplyEnded{
				Reason: test.done.Reason, EnergyReported: test.done.Energy, AmountReported: test.done.Amount,
				At: noon + minute, Source: done(60),
			}, test.want)
			got, ok := s.Live.Ticket()
			want := session.Ticket{
				ID: ticket.Ticket, StartedAt: test.want.StartedAt, EndedAt: test.want.EndedAt,
				Energy: test.want.Energy, Price: price, Amount: test.want.Amount, Reason: test.want.Reason,
			}
			if !ok || got != want || s.Live.Open() {
				t.Errorf("the ticket is %+v, %t, open %t; want %+v", got, ok, s.Live.Open(), want)
			}
		})
	}
}

// A done that was sent before the first sample, by its clock, ends no supply before its start.
func TestATicketDoesNotEndBeforeItStarts(t *testing.T) {
	late := at(noon+50*second, session.SupplyStarted{At: noon + 50*second}, recorded(noon+50*second, value(50, kWh), kWh, kWh))
	d := final(60, kWh)
	d.At = noon + 40*second
	given(t, granted, late).
		When(noon+minute, report(noon+minute, d)).
		Then(
			session.SupplyEnded{Reason: "FINISHED", EnergyReported: kWh, AmountReported: 300_000, At: noon + 40*second, Source: done(60)},
			session.TicketIssued{
				Ticket: ticket.Ticket, StartedAt: noon + 50*second, EndedAt: noon + 50*second,
				Energy: kWh, Price: price, Amount: 300_000, Reason: "FINISHED",
			})
}

// Only a done revises a ticket, and only upwards; its reason and its number stay.
func TestReportDoneOfAClosedSession(t *testing.T) {
	const now = noon + hour
	more := final(90, 8*kWh)
	more.Reason = "RECOVERED"
	again := final(95, 8*kWh+1)
	early := final(30, 9*kWh)
	s := given(t, granted, supplying, closed).
		When(now, report(now, final(60, 5*kWh))).ThenError(session.ErrClosed).
		When(now, report(now, final(60, 4*kWh))).ThenError(session.ErrClosed).
		When(now, report(now, more)).
		Then(session.TicketRevised{
			Revision: 1, EnergyBefore: 5 * kWh, EnergyAfter: 8 * kWh,
			AmountBefore: 1_500_000, AmountAfter: 2_400_000, AmountDifference: 900_000,
			Reason: "RECOVERED", EndedAt: noon + 90*second, Source: done(90),
		}).
		When(now, report(now, more)).ThenError(session.ErrClosed).
		When(now, report(now, again)).
		Then(session.TicketRevised{
			Revision: 2, EnergyBefore: 8 * kWh, EnergyAfter: 8*kWh + 1,
			AmountBefore: 2_400_000, AmountAfter: 2_400_000, AmountDifference: 0,
			Reason: "FINISHED", EndedAt: noon + 95*second, Source: done(95),
		}).
		When(now, report(now, early)).
		Then(session.TicketRevised{
			Revision: 3, EnergyBefore: 8*kWh + 1, EnergyAfter: 9 * kWh,
			AmountBefore: 2_400_000, AmountAfter: 2_700_000, AmountDifference: 300_000,
			Reason: "FINISHED", EndedAt: noon + 95*second, Source: done(30),
		})
	want := session.Ticket{
		ID: ticket.Ticket, Revision: 3, StartedAt: noon + second, EndedAt: noon + 95*second,
		Energy: 9 * kWh, Price: price, Amount: 2_700_000, Reason: "FINISHED",
	}
	if got, _ := s.Live.Ticket(); got != want {
		t.Errorf("the ticket is %+v, want %+v", got, want)
	}
	// Each revision says what was billed before it and after it, and why; the first ticket stays readable.
	type line struct {
		revision int
		energy   domain.MilliwattHours
		amount   domain.MicroEuros
		endedAt  domain.UnixMillis
	}
	lines := []line{{0, 5 * kWh, 1_500_000, noon + minute}, {1, 8 * kWh, 2_400_000, noon + 90*second}, {2, 8*kWh + 1, 2_400_000, noon + 95*second}, {3, 9 * kWh, 2_700_000, noon + 95*second}}
	reasons, differences := []string{"RECOVERED", "FINISHED", "FINISHED"}, []domain.MicroEuros{900_000, 0, 300_000}
	revisions := s.Live.Revisions()
	if len(revisions) != 3 {
		t.Fatalf("there are %d revisions", len(revisions))
	}
	for i, r := range revisions {
		for n, ticket := range []session.Ticket{r.Before, r.After} {
			want.Revision, want.Energy, want.Amount, want.EndedAt = lines[i+n].revision, lines[i+n].energy, lines[i+n].amount, lines[i+n].endedAt
			if ticket != want {
				t.Errorf("revision %d: ticket %d is %+v, want %+v", i+1, n, ticket, want)
			}
		}
		if r.Reason != reasons[i] || r.Difference() != differences[i] || r.At != now {
			t.Errorf("revision %d: %s, %s EUR, %s", i+1, r.Reason, r.Difference(), r.At)
		}
	}
}

// An Engine that comes back after the session was closed without it still bills what it supplied.
func TestReportDoneAfterTheFinalReportDeadline(t *testing.T) {
	const now = noon + 2*minute
	s := given(t, granted, supplying, ending).
		When(now, pass(now, session.FinalReport, now, noon)).
		Then(session.TicketIssued{
			Ticket: ticket.Ticket, StartedAt: noon + second, EndedAt: noon + second,
			Energy: 2 * kWh, Price: price, Amount: 600_000, Reason: "KO",
		}).
		When(now+hour, report(now+hour, final(55, 4*kWh))).
		Then(session.TicketRevised{
			Revision: 1, EnergyBefore: 2 * kWh, EnergyAfter: 4 * kWh,
			AmountBefore: 600_000, AmountAfter: 1_200_000, AmountDifference: 600_000,
			Reason: "FINISHED", EndedAt: noon + 55*second, Source: done(55),
		})
	if b, _ := s.Live.Ticket(); b.Reason != "KO" {
		t.Errorf("the ticket's reason is %s", b.Reason)
	}
}
