package session_test

import (
	"testing"

	"github.com/google/uuid"

	"evcharging/domain"
	"evcharging/domain/domaintest"
	"evcharging/domain/session"
)

const (
	noon   = domain.UnixMillis(1_772_366_400_000)
	second = domain.UnixMillis(1_000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour

	kWh   domain.MilliwattHours   = 1_000_000
	euro  domain.MicroEuros       = 1_000_000
	price domain.MicroEurosPerKWh = 300_000
)

type past = domaintest.Past[session.Event]

var sessions = domaintest.Kit[*session.Session, session.Event]{
	New: func() *session.Session { return session.New("S-1") },
	// What was ignored is in no event before the next one of the lifecycle.
	Transient: []string{"uncounted"},
}

func given(t *testing.T, history ...past) *domaintest.Scenario[*session.Session, session.Event] {
	t.Helper()
	return sessions.Given(t, history...)
}

func at(instant domain.UnixMillis, events ...session.Event) past {
	return past{At: instant, Events: events}
}

// What most sessions have behind them: granted at noon, supplying a second later.
var (
	asked = session.Request{Point: "CP-1", Driver: "D-1", ID: "R-1", Origin: "driver"}

	authorized = session.SupplyAuthorized{
		Point: "CP-1", Driver: "D-1", Request: "R-1", Origin: "driver",
		Price: price, Order: 1, ValidUntil: noon + 30*second, Due: noon + minute,
	}
	refused = session.SupplyRefused{Point: "CP-1", Driver: "D-1", Request: "R-1", Origin: "driver", Reason: "OCCUPIED"}
	started = session.SupplyStarted{At: noon + second}
	first   = session.MeterValueRecorded{
		Seq: 1, Energy: 2 * kWh, Measured: 2 * kWh, Power: 22_000, AmountReported: 600_000,
		At: noon + second, Source: sample(1), Due: noon + second + minute,
	}
	ended  = session.EndDecided{Cause: session.CauseFault, Due: noon + 2*minute}
	ticket = session.TicketIssued{
		Ticket: "6f01a2d4-47a0-5229-b4f1-8cead77d5d22", StartedAt: noon + second, EndedAt: noon + minute,
		Energy: 5 * kWh, Price: price, Amount: 1_500_000, Reason: "FINISHED",
	}

	granted   = at(noon, authorized)
	supplying = at(noon+second, started, first)
	ending    = at(noon+minute, ended)
	closed    = at(noon+minute, ticket)
)

// sample is where the telemetry of a second comes from.
func sample(n int64) session.Source {
	return session.Source{Topic: "ev.supply.telemetry", Partition: 1, Offset: n, Timestamp: noon + domain.UnixMillis(n)*second}
}

// done is where the final report of a second comes from.
func done(n int64) session.Source {
	return session.Source{Topic: "ev.supply.done", Partition: 1, Offset: n, Timestamp: noon + domain.UnixMillis(n)*second}
}

func TestNewSession(t *testing.T) {
	s := given(t).Live
	if s.ID() != "S-1" || s.Status() != session.None || s.Open() || s.Deadline() != (session.Deadline{}) ||
		s.Request() != (session.Request{}) || s.Cause() != "" || s.Refusal() != "" || s.UpdatedAt() != 0 {
		t.Errorf("a new session knows more than its id: %+v", s)
	}
	if r, ok := s.Last(); ok {
		t.Errorf("a new session has a sample: %+v", r)
	}
	if b, ok := s.Ticket(); ok {
		t.Errorf("a new session has a ticket: %+v", b)
	}
}

// Where a session stands after each event, what it waits for, and whether it holds its point.
func TestStatus(t *testing.T) {
	second1 := first
	second1.Seq, second1.Due = 2, noon+3*minute
	for name, test := range map[string]struct {
		history  []past
		status   session.Status
		open     bool
		deadline session.Deadline
	}{
		"refused":    {[]past{at(noon, refused)}, session.Refused, false, session.Deadline{}},
		"authorized": {[]past{granted}, session.Authorized, true, session.Deadline{Kind: session.TakeUp, Since: noon, Due: noon + minute}},
		"supplying":  {[]past{granted, supplying}, session.Supplying, true, session.Deadline{Kind: session.Silence, Since: noon + second, Due: noon + second + minute}},
		"a sample more": {
			[]past{granted, supplying, at(noon+2*minute, second1)},
			session.Supplying, true,
			session.Deadline{Kind: session.Silence, Since: noon + 2*minute, Due: noon + 3*minute},
		},
		"ending": {[]past{granted, supplying, ending}, session.Ending, true, session.Deadline{Kind: session.FinalReport, Since: noon + minute, Due: noon + 2*minute}},
		"ending, and its first sample comes": {
			[]past{granted, ending, at(noon+minute+1, started, first)},
			session.Ending, true,
			session.Deadline{Kind: session.FinalReport, Since: noon + minute, Due: noon + 2*minute},
		},
		"closed":  {[]past{granted, supplying, closed}, session.Closed, false, session.Deadline{}},
		"revised": {[]past{granted, supplying, closed, at(noon+hour, session.TicketRevised{Revision: 1})}, session.Closed, false, session.Deadline{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, test.history...).Live
			if s.Status() != test.status || s.Open() != test.open || s.Deadline() != test.deadline {
				t.Errorf("it is %s, open %t, waits for %+v; want %s, %t, %+v",
					s.Status(), s.Open(), s.Deadline(), test.status, test.open, test.deadline)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	s := given(t, granted, supplying, ending).Live
	if s.Request() != asked || s.Price() != price || s.GrantedAt() != noon || s.StartedAt() != noon+second ||
		s.Cause() != session.CauseFault || s.UpdatedAt() != noon+minute {
		t.Errorf("%+v at %s, granted %s, started %s, cause %s, updated %s",
			s.Request(), s.Price(), s.GrantedAt(), s.StartedAt(), s.Cause(), s.UpdatedAt())
	}
	if order, until := s.Start(); order != 1 || until != noon+30*second {
		t.Errorf("start %d until %s", order, until)
	}
	want := session.Reading{Seq: 1, Energy: 2 * kWh, Power: 22_000, Amount: 600_000, At: noon + second, Source: sample(1)}
	if got, ok := s.Last(); !ok || got != want {
		t.Errorf("the last sample is %+v, %t; want %+v", got, ok, want)
	}
	if got := given(t, at(noon, refused)).Live.Refusal(); got != "OCCUPIED" {
		t.Errorf("refused for %q", got)
	}
}

func TestApplyFailsOnWhatCannotBe(t *testing.T) {
	s := given(t, granted).Live
	for _, event := range []session.Event{nil, session.TicketRevised{Revision: 1}} {
		if err := s.Apply(noon+1, event); err == nil || s.UpdatedAt() != noon {
			t.Errorf("%T: got %v, updated at %s", event, err, s.UpdatedAt())
		}
	}
}

// The ids are part of the log's format: the same request makes the same session, for ever.
func TestIDs(t *testing.T) {
	ids := map[domain.SessionID]string{}
	for name, id := range map[string]domain.SessionID{
		"a request":                         session.IDFor("CP-1", "D-1", "R-1"),
		"another request":                   session.IDFor("CP-1", "D-1", "R-2"),
		"another driver's":                  session.IDFor("CP-1", "D-2", "R-1"),
		"at another point":                  session.IDFor("CP-2", "D-1", "R-1"),
		"driver and point swapped":          session.IDFor("D-1", "CP-1", "R-1"),
		"one without an id":                 session.IDForCause("CP-1", "D-1", "ev.supply.request/0@7"),
		"one of another record":             session.IDForCause("CP-1", "D-1", "ev.supply.request/0@8"),
		"one whose record is named as R-1":  session.IDForCause("CP-1", "D-1", "R-1"),
		"texts that join to the same bytes": session.IDFor("CP-1D", "-1", "R-1"),
	} {
		if other, twice := ids[id]; twice {
			t.Errorf("%s has the id of %s", name, other)
		}
		ids[id] = name
		if u, err := uuid.Parse(string(id)); err != nil || u.Version() != 5 {
			t.Errorf("%s: %s is no UUIDv5", name, id)
		}
	}
	if got := session.IDFor("CP-1", "D-1", "R-1"); got != "8ff836c7-410b-5b32-83f5-e306969de8f0" {
		t.Errorf("the id of a request has changed: %s", got)
	}
	if got := session.IDForCause("CP-1", "D-1", "ev.supply.request/0@7"); got != "eeb7243e-56f9-5752-be3f-b0691033142b" {
		t.Errorf("the id of a request without an id has changed: %s", got)
	}
}
