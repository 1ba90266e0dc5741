package session_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"evcharging/domain"
	"evcharging/domain/domaintest"
	"evcharging/domain/session"
)

// An Engine that reports running totals is billed what it reported last, once: however its
// samples are lost, repeated and reordered on their way, whoever ends the supply, and
// whether its final report comes in time, late or never.
func TestSamplesOnTheirWayDoNotChangeTheBill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbered := rapid.Bool().Draw(t, "with energy and number") // else as the reference's Engine
		unit := domain.MicroEurosPerKWh(rapid.Int64Range(1, int64(domain.MaxPrice)).Draw(t, "price"))
		offer := authorized
		offer.Price = unit
		var sent []session.MeterValue
		total := domain.MilliwattHours(0)
		for n := range rapid.Int64Range(0, 12).Draw(t, "samples") {
			total += domain.MilliwattHours(rapid.Int64Range(0, int64(kWh)).Draw(t, "more"))
			if numbered {
				sent = append(sent, value(n+1, total))
				sent[n].Amount = domain.MicroEuros(rapid.Int64Range(0, int64(domain.MaxMoney)).Draw(t, "reported amount"))
			} else {
				sent = append(sent, bare(n+1, domain.Cost(total, unit)))
			}
		}
		var arrived []session.MeterValue
		if len(sent) > 0 {
			arrived = rapid.SliceOfN(rapid.SampledFrom(sent), 0, 30).Draw(t, "arrived")
		}
		s := sessions.Given(t, at(noon, offer))
		now := noon + minute
		var greatest domain.MilliwattHours
		for _, v := range arrived {
			energy, err := domain.EnergyFor(v.Amount, unit)
			if v.Energy != nil {
				energy, err = *v.Energy, nil
			}
			if err != nil {
				t.Fatal(err)
			}
			greatest = max(greatest, energy)
			now++
			take(s, now, record(now, v))
		}
		if rapid.Bool().Draw(t, "Central ends it") {
			now++
			take(s, now, end(now, session.CauseStopped))
		}
		// The Engine's total, or zeros where it has lost them.
		reported := rapid.SampledFrom([]domain.MilliwattHours{total, 0}).Draw(t, "done")
		measured := greatest
		if !numbered {
			measured = 0 // an amount is no measure
		}
		want := max(measured, reported)
		if s.Live.Deadline().Kind == session.FinalReport && rapid.Bool().Draw(t, "the done is late") {
			now += minute
			take(s, now, pass(now, session.FinalReport, s.Live.Deadline().Due, noon))
			want = max(greatest, reported)
		}
		for range rapid.IntRange(1, 3).Draw(t, "dones") {
			now++
			take(s, now, report(now, final(100, reported)))
		}
		bill, ok := s.Live.Ticket()
		if !ok || bill.Energy != want || bill.Amount != domain.Cost(want, unit) {
			t.Fatalf("billed %s kWh for %s EUR (%t), want %s kWh for %s EUR", bill.Energy, bill.Amount, ok, want, domain.Cost(want, unit))
		}
	})
}

// Whatever is reported and decided, in whatever order and by whatever clocks: a grant ends
// in one ticket, which holds all that was measured and is revised upwards alone; and a
// session that is folded from its lifecycle and its last sample is the same.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sessions.Given(t, granted)
		now := noon
		energies := rapid.Map(rapid.Int64Range(0, 6), func(n int64) domain.MilliwattHours { return domain.MilliwattHours(n) * kWh })
		instants := rapid.Map(rapid.Int64Range(-5, 200), func(n int64) domain.UnixMillis { return noon + domain.UnixMillis(n)*second })
		points := rapid.SampledFrom([]domain.PointID{"CP-1", "CP-1", "CP-1", "CP-2"})
		causes := rapid.SampledFrom([]session.Cause{session.CauseFault, session.CauseDisconnected, session.CauseStopped})
		kinds := rapid.SampledFrom([]session.DeadlineKind{session.TakeUp, session.Silence, session.FinalReport})
		commands := map[string]func(*session.Session) error{
			"sample": func(s *session.Session) error {
				v := value(rapid.Int64Range(0, 12).Draw(t, "seq"), energies.Draw(t, "energy"))
				v.At, v.Source.Timestamp, v.Point = instants.Draw(t, "at"), instants.Draw(t, "recorded"), points.Draw(t, "point")
				return s.RecordMeterValue(now, v, session.DefaultPatience)
			},
			"bare sample": func(s *session.Session) error {
				v := bare(0, domain.Cost(energies.Draw(t, "energy"), price))
				v.Source.Timestamp, v.Source.Offset = instants.Draw(t, "recorded"), rapid.Int64Range(0, 5).Draw(t, "offset")
				return s.RecordMeterValue(now, v, session.DefaultPatience)
			},
			"end": func(s *session.Session) error { return s.End(now, causes.Draw(t, "cause"), session.DefaultPatience) },
			"done": func(s *session.Session) error {
				d := final(1, energies.Draw(t, "energy"))
				d.At, d.Source.Timestamp, d.Point = instants.Draw(t, "at"), instants.Draw(t, "recorded"), points.Draw(t, "point")
				return s.ReportDone(now, d)
			},
			"deadline": func(s *session.Session) error {
				return s.PassDeadline(now, kinds.Draw(t, "kind"), s.Deadline().Due, noon, session.DefaultPatience)
			},
			"request again": authorize,
		}
		names := rapid.SampledFrom([]string{"sample", "sample", "sample", "bare sample", "bare sample", "end", "done", "deadline", "request again"})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now += domain.UnixMillis(rapid.Int64Range(0, 90_000).Draw(t, "later"))
			take(s, now, commands[names.Draw(t, "command")])
		}
		history := s.History()
		sessions.Same(t, s.Live, sessions.Fold(t, lifecycleAndLastSample(history)...))
		check(t, s.Live, history)
	})
}

// take carries a command out that may be ignored or refused; the kit holds it to its rules.
func take(s *domaintest.Scenario[*session.Session, session.Event], now domain.UnixMillis, command func(*session.Session) error) {
	var err error
	before := len(s.History())
	s.When(now, func(live *session.Session) error { err = command(live); return err })
	switch {
	case err != nil:
		s.ThenError(err)
	default:
		s.Then(s.History()[before].Events...)
	}
}

// check holds a history to what must be true of any.
func check(t *rapid.T, s *session.Session, history []past) {
	var (
		ends, starts, tickets, revision int
		bill                            session.Ticket
		measured                        domain.MilliwattHours
		cause                           session.Cause
	)
	for _, p := range history {
		for _, event := range p.Events {
			switch e := event.(type) {
			case session.SupplyStarted:
				starts++
				if e.At < noon {
					t.Fatalf("started at %s, before the grant", e.At)
				}
			case session.MeterValueRecorded:
				if e.Measured < measured || tickets > 0 {
					t.Fatalf("%+v after %s kWh, %d tickets", e, measured, tickets)
				}
				measured = e.Measured
			case session.EndDecided:
				ends++
				cause = e.Cause
			case session.TicketIssued:
				tickets++
				bill = session.Ticket{
					ID: e.Ticket, StartedAt: e.StartedAt, EndedAt: e.EndedAt, Energy: e.Energy, Price: e.Price, Amount: e.Amount, Reason: e.Reason,
				}
				if e.Energy < measured || cause != "" && e.Reason != string(cause) || e.StartedAt < noon || e.EndedAt < e.StartedAt {
					t.Fatalf("%+v after %s kWh and cause %q", e, measured, cause)
				}
			case session.TicketRevised:
				revision++
				if e.Revision != revision || e.EnergyBefore != bill.Energy || e.EnergyAfter <= bill.Energy ||
					e.AmountBefore != bill.Amount || e.AmountDifference != e.AmountAfter-e.AmountBefore || e.EndedAt < bill.EndedAt {
					t.Fatalf("%+v of %+v", e, bill)
				}
				bill.Revision, bill.Energy, bill.Amount, bill.EndedAt = e.Revision, e.EnergyAfter, e.AmountAfter, e.EndedAt
			}
			if bill.Price != price && tickets > 0 || bill.Amount != domain.Cost(bill.Energy, price) {
				t.Fatalf("wrong bill: %+v", bill)
			}
		}
	}
	got, closed := s.Ticket()
	if ends > 1 || starts > 1 || tickets > 1 || (tickets == 1) != closed || got != bill || s.Open() == closed ||
		(s.Deadline() == session.Deadline{}) != closed {
		t.Fatalf("%d ends, %d starts, %d tickets, open %t, waits for %+v, ticket %+v, want %+v",
			ends, starts, tickets, s.Open(), s.Deadline(), got, bill)
	}
}

// lifecycleAndLastSample is what the log gives to rehydrate a session.
func lifecycleAndLastSample(history []past) []past {
	sampleAlone := func(p past) bool {
		return !slices.ContainsFunc(p.Events, func(e session.Event) bool { _, ok := e.(session.MeterValueRecorded); return !ok })
	}
	last := -1
	for i, p := range history {
		if sampleAlone(p) {
			last = i
		}
	}
	var kept []past
	for i, p := range history {
		if i == last || !sampleAlone(p) {
			kept = append(kept, p)
		}
	}
	return kept
}
