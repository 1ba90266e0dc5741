package session_test

import (
	"testing"

	"evcharging/domain"
	"evcharging/domain/session"
)

func record(now domain.UnixMillis, v session.MeterValue) func(*session.Session) error {
	return func(s *session.Session) error { return s.RecordMeterValue(now, v, session.DefaultPatience) }
}

// value is the sample of second n, as our Engine sends it.
func value(n int64, energy domain.MilliwattHours) session.MeterValue {
	return session.MeterValue{
		Point: "CP-1", Driver: "D-1", Seq: n, Energy: &energy, Power: 22_000, Amount: domain.Cost(energy, price),
		At: noon + domain.UnixMillis(n)*second, Source: sample(n),
	}
}

// bare is the same as the reference's Engine sends it: an amount, without energy, number and time.
func bare(n int64, amount domain.MicroEuros) session.MeterValue {
	return session.MeterValue{Point: "CP-1", Driver: "D-1", Power: 22_000, Amount: amount, Source: sample(n)}
}

// recorded is the event of a sample that is taken at now.
func recorded(now domain.UnixMillis, v session.MeterValue, energy, measured domain.MilliwattHours) session.MeterValueRecorded {
	e := session.MeterValueRecorded{
		Seq: v.Seq, Energy: energy, Measured: measured, Power: v.Power, AmountReported: v.Amount,
		At: v.At, Source: v.Source, Due: now + minute,
	}
	if v.At == 0 {
		e.At = v.Source.Timestamp
	}
	return e
}

func TestTheFirstSampleStartsTheSupply(t *testing.T) {
	v := value(1, 2*kWh)
	given(t, granted).
		When(noon+second, record(noon+second, v)).
		Then(started, first)
}

func TestRecordMeterValue(t *testing.T) {
	const now = noon + hour
	unmeasured := bare(0, 600_000)
	unmeasured.Source = sample(1)
	fromBare := at(noon+second, started, recorded(noon+second, unmeasured, 2*kWh, 0))
	fresh := func(v session.MeterValue, change func(*session.MeterValue)) session.MeterValue {
		change(&v)
		return v
	}
	for name, test := range map[string]struct {
		history  []past
		value    session.MeterValue
		energy   domain.MilliwattHours
		measured domain.MilliwattHours
		want     error
	}{
		"more":                       {[]past{granted, supplying}, value(2, 3*kWh), 3 * kWh, 3 * kWh, nil},
		"as much":                    {[]past{granted, supplying}, value(2, 2*kWh), 2 * kWh, 2 * kWh, nil},
		"samples between are lost":   {[]past{granted, supplying}, value(900, 3*kWh), 3 * kWh, 3 * kWh, nil},
		"repeated":                   {[]past{granted, supplying}, value(1, 2*kWh), 0, 0, session.ErrNotNewer},
		"repeated, with more":        {[]past{granted, supplying}, value(1, 3*kWh), 0, 0, session.ErrNotNewer},
		"less":                       {[]past{granted, supplying}, value(2, 2*kWh-1), 0, 0, session.ErrRunsBackwards},
		"nothing":                    {[]past{granted, supplying}, value(2, 0), 0, 0, session.ErrRunsBackwards},
		"sent later, numbered lower": {[]past{granted, at(noon+5*second, started, recorded(noon+5*second, value(5, kWh), kWh, kWh))}, fresh(value(4, 2*kWh), func(v *session.MeterValue) { v.Source = sample(6) }), 0, 0, session.ErrNotNewer},
		"sent earlier, numbered higher": {
			[]past{granted, supplying},
			fresh(value(2, 3*kWh), func(v *session.MeterValue) { v.At, v.Source = noon, sample(0) }), 3 * kWh, 3 * kWh, nil,
		},
		"unnumbered, later": {[]past{granted, fromBare}, bare(2, 900_000), 3 * kWh, 0, nil},
		"unnumbered, at the same time": {
			[]past{granted, fromBare},
			fresh(bare(1, 900_000), func(v *session.MeterValue) { v.Source.Offset++ }), 3 * kWh, 0, nil,
		},
		"unnumbered, redelivered": {[]past{granted, fromBare}, bare(1, 600_000), 0, 0, session.ErrNotNewer},
		"unnumbered, earlier":     {[]past{granted, fromBare}, bare(0, 900_000), 0, 0, session.ErrNotNewer},
		"unnumbered, with less":   {[]past{granted, fromBare}, bare(2, 599_999), 0, 0, session.ErrRunsBackwards},
		"numbered after one not":  {[]past{granted, fromBare}, value(2, 3*kWh), 3 * kWh, 3 * kWh, nil},
		"unnumbered after one so": {[]past{granted, supplying}, bare(2, 900_000), 3 * kWh, 2 * kWh, nil},
		"unnumbered, and earlier": {[]past{granted, supplying}, bare(0, 900_000), 0, 0, session.ErrNotNewer},
		"an amount, rounded":      {[]past{granted}, bare(2, 1), 3, 0, nil},
		"an absurd amount":        {[]past{granted, supplying}, bare(2, 9_000_000*euro), 0, 0, domain.ErrOutOfRange},
		"the first, absurd":       {[]past{granted}, bare(2, 9_000_000*euro), 0, 0, domain.ErrOutOfRange},
		"an unknown session":      {nil, value(2, 3*kWh), 0, 0, session.ErrUnknownSession},
		"a refused request":       {[]past{at(noon, refused)}, value(2, 3*kWh), 0, 0, session.ErrUnknownSession},
		"another point":           {[]past{granted, supplying}, fresh(value(2, 3*kWh), func(v *session.MeterValue) { v.Point = "CP-2" }), 0, 0, session.ErrForeignPoint},
		"another driver":          {[]past{granted, supplying}, fresh(value(2, 3*kWh), func(v *session.MeterValue) { v.Driver = "D-2" }), 0, 0, session.ErrForeignDriver},
		"a closed session":        {[]past{granted, supplying, closed}, value(2, 3*kWh), 0, 0, session.ErrClosed},
		"a foreign, closed one's": {[]past{granted, closed}, fresh(value(2, 3*kWh), func(v *session.MeterValue) { v.Point = "CP-2" }), 0, 0, session.ErrForeignPoint},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, test.history...)
			before := s.Live.Status()
			s.When(now, record(now, test.value))
			if test.want != nil {
				s.ThenError(test.want)
				return
			}
			want := recorded(now, test.value, test.energy, test.measured)
			if before == session.Authorized {
				s.Then(session.SupplyStarted{At: want.At}, want)
				return
			}
			s.Then(want)
			if d := s.Live.Deadline(); d != (session.Deadline{Kind: session.Silence, Since: now, Due: now + minute}) {
				t.Errorf("it waits for %+v", d)
			}
		})
	}
}

// At no price, an amount tells nothing of the energy.
func TestRecordMeterValueForNothing(t *testing.T) {
	free := authorized
	free.Price = 0
	now := noon + second
	given(t, at(noon, free)).
		When(now, record(now, bare(1, 5*euro))).
		Then(started, recorded(now, bare(1, 5*euro), 0, 0))
}

// What comes between the decision about the end and the final report is recorded; nobody
// waits for the next.
func TestRecordMeterValueWhileEnding(t *testing.T) {
	now := noon + minute + second
	want := recorded(now, value(61, 3*kWh), 3*kWh, 3*kWh)
	want.Due = 0
	for name, history := range map[string][]past{"supplying": {granted, supplying, ending}, "never taken up": {granted, ending}} {
		t.Run(name, func(t *testing.T) {
			s := given(t, history...)
			_, ran := s.Live.Last()
			s.When(now, record(now, value(61, 3*kWh)))
			if ran {
				s.Then(want)
			} else {
				s.Then(session.SupplyStarted{At: noon + 61*second}, want)
			}
			if s.Live.Status() != session.Ending || s.Live.Deadline().Kind != session.FinalReport {
				t.Errorf("it is %s and waits for %+v", s.Live.Status(), s.Live.Deadline())
			}
		})
	}
}

// A report's own time counts where it lies between the grant and the record's timestamp.
func TestReportTime(t *testing.T) {
	for name, test := range map[string]struct{ at, recordedAt, want domain.UnixMillis }{
		"between":                       {noon + 4*second, noon + 5*second, noon + 4*second},
		"at the grant":                  {noon, noon + 5*second, noon},
		"before the grant":              {noon - 1, noon + 5*second, noon + 5*second},
		"at the record's time":          {noon + 5*second, noon + 5*second, noon + 5*second},
		"after the record's time":       {noon + 5*second + 1, noon + 5*second, noon + 5*second},
		"none":                          {0, noon + 5*second, noon + 5*second},
		"of 1970":                       {1, noon + 5*second, noon + 5*second},
		"of before 1970":                {-hour, noon + 5*second, noon + 5*second},
		"the record's is of 1970":       {noon + 4*second, 1, noon},
		"the record has none":           {noon + 4*second, 0, noon},
		"neither has one":               {0, 0, noon},
		"both are of 1970":              {1, 2, noon},
		"the record's is early by skew": {noon + 4*second, noon - 2*second, noon},
	} {
		t.Run(name, func(t *testing.T) {
			v := value(5, kWh)
			v.At, v.Source.Timestamp = test.at, test.recordedAt
			want := recorded(noon+6*second, value(5, kWh), kWh, kWh)
			want.At, want.Source = test.want, v.Source
			s := given(t, granted).
				When(noon+6*second, record(noon+6*second, v)).
				Then(session.SupplyStarted{At: test.want}, want)
			// and so does the end's
			v = value(6, kWh)
			v.At, v.Source.Timestamp = test.at, test.recordedAt
			d := session.Done{Point: "CP-1", Driver: "D-1", Energy: kWh, Reason: "FINISHED", At: test.at, Source: v.Source}
			s.When(noon+6*second, report(noon+6*second, d)).Then(
				session.SupplyEnded{Reason: "FINISHED", EnergyReported: kWh, At: test.want, Source: d.Source},
				session.TicketIssued{
					Ticket: ticket.Ticket, StartedAt: test.want, EndedAt: test.want,
					Energy: kWh, Price: price, Amount: 300_000, Reason: "FINISHED",
				})
		})
	}
}

// A second supply is not started by a record without a time.
func TestTheSupplyStartsOnce(t *testing.T) {
	timeless := value(1, kWh)
	timeless.At, timeless.Source = 0, session.Source{}
	event := recorded(noon+second, value(1, kWh), kWh, kWh)
	event.At, event.Source = noon, session.Source{}
	given(t, granted).
		When(noon+second, record(noon+second, timeless)).
		Then(session.SupplyStarted{At: noon}, event).
		When(noon+2*second, record(noon+2*second, value(2, 2*kWh))).
		Then(recorded(noon+2*second, value(2, 2*kWh), 2*kWh, 2*kWh))
}

// What was ignored is counted by rule in the next event of the lifecycle, once.
func TestIgnoredIsCounted(t *testing.T) {
	now := noon + minute
	s := given(t, granted, supplying).
		When(now, record(now, value(1, 2*kWh))).ThenError(session.ErrNotNewer).
		When(now, record(now, value(2, kWh))).ThenError(session.ErrRunsBackwards).
		When(now, record(now, value(2, 3*kWh))).Then(recorded(now, value(2, 3*kWh), 3*kWh, 3*kWh)).
		When(now, record(now, value(2, 3*kWh))).ThenError(session.ErrNotNewer)
	if s.Live.Ignored() != (session.Ignored{}) {
		t.Errorf("the log knows of %+v before it is told", s.Live.Ignored())
	}
	s.When(now, end(now, session.CauseStopped)).
		Then(session.EndDecided{Cause: session.CauseStopped, Due: now + minute, Ignored: session.Ignored{NotNewer: 2, RunsBackwards: 1}}).
		When(now, record(now, value(2, 3*kWh))).ThenError(session.ErrNotNewer).
		When(now, report(now, final(60, 3*kWh))).
		Then(
			session.SupplyEnded{
				Reason: "FINISHED", EnergyReported: 3 * kWh, AmountReported: 900_000, At: noon + minute,
				Source: done(60), Ignored: session.Ignored{NotNewer: 1},
			},
			session.TicketIssued{
				Ticket: ticket.Ticket, StartedAt: noon + second, EndedAt: noon + minute,
				Energy: 3 * kWh, Price: price, Amount: 900_000, Reason: "STOP_BY_CENTRAL",
			})
	if want := (session.Ignored{NotNewer: 3, RunsBackwards: 1}); s.Live.Ignored() != want {
		t.Errorf("the log knows of %+v, want %+v", s.Live.Ignored(), want)
	}
}

// Where no final report comes, the ticket has the count.
func TestIgnoredIsCountedOnTheTicket(t *testing.T) {
	const now = noon + 2*minute
	s := given(t, granted, supplying, ending).
		When(now, record(now, value(1, 2*kWh))).ThenError(session.ErrNotNewer).
		When(now, pass(now, session.FinalReport, now, noon)).
		Then(session.TicketIssued{
			Ticket: ticket.Ticket, StartedAt: noon + second, EndedAt: noon + second,
			Energy: 2 * kWh, Price: price, Amount: 600_000, Reason: "KO", Ignored: session.Ignored{NotNewer: 1},
		})
	if want := (session.Ignored{NotNewer: 1}); s.Live.Ignored() != want {
		t.Errorf("the log knows of %+v, want %+v", s.Live.Ignored(), want)
	}
}

// An Engine goes on supplying where its samples are more than 2 s younger than the end.
func TestGoesOn(t *testing.T) {
	doneFirst := at(noon+minute, session.SupplyEnded{Reason: "FINISHED", At: noon + 50*second}, ticket)
	endThenDone := at(noon+hour, session.SupplyEnded{Reason: "KO", At: noon + hour}, ticket)
	for name, test := range map[string]struct {
		history    []past
		recordedAt domain.UnixMillis
		want       bool
	}{
		"granted":                     {[]past{granted}, noon + hour, false},
		"supplying":                   {[]past{granted, supplying}, noon + hour, false},
		"unknown":                     {nil, noon + hour, false},
		"refused":                     {[]past{at(noon, refused)}, noon + hour, false},
		"ending, within 2 s":          {[]past{granted, supplying, ending}, noon + minute + 2*second, false},
		"ending, later":               {[]past{granted, supplying, ending}, noon + minute + 2*second + 1, true},
		"done, within 2 s":            {[]past{granted, supplying, doneFirst}, noon + minute + 2*second, false},
		"done, later":                 {[]past{granted, supplying, doneFirst}, noon + minute + 2*second + 1, true},
		"the decision counts, if any": {[]past{granted, supplying, ending, endThenDone}, noon + minute + 2*second + 1, true},
		"by a clock from 1970":        {[]past{granted, supplying, ending}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := given(t, test.history...).Live.GoesOn(test.recordedAt); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}
