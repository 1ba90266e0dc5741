package memory_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// due gives what is due, in a fixed order.
func due(t *testing.T, d *memory.Deadlines, now, since domain.UnixMillis) []central.Deadline {
	t.Helper()
	all, err := d.Due(t.Context(), now, since)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b central.Deadline) int {
		return cmp.Or(cmp.Compare(a.Point, b.Point), cmp.Compare(a.Session, b.Session))
	})
	return all
}

// of is a stored part.
func of(stream eventlog.Stream, at domain.UnixMillis, events ...any) central.Part {
	return central.Part{Stream: stream, At: at, Events: events}
}

func TestWhatASessionWaitsFor(t *testing.T) {
	authorized := of("session-s", 1_000, session.SupplyAuthorized{Point: "CP-1", Due: 61_000})
	first := of("session-s", 5_000, session.SupplyStarted{}, session.MeterValueRecorded{Due: 65_000})
	second := of("session-s", 6_000, session.MeterValueRecorded{Due: 66_000})
	ending := of("session-s", 7_000, session.EndDecided{Due: 67_000})
	late := of("session-s", 8_000, session.MeterValueRecorded{})
	ticket := of("session-s", 9_000, session.SupplyEnded{}, session.TicketIssued{})
	revised := of("session-s", 9_500, session.TicketRevised{})
	expired := of("session-s", 61_000, session.EndDecided{Due: 61_000}, session.TicketIssued{})
	refused := of("session-s", 1_000, session.SupplyRefused{})
	deadline := func(kind session.DeadlineKind, since, due domain.UnixMillis) []central.Deadline {
		return []central.Deadline{{Point: "CP-1", Session: "s", Kind: string(kind), Since: since, Due: due}}
	}
	for _, c := range []struct {
		name  string
		parts []central.Part
		want  []central.Deadline
	}{
		{"granted", []central.Part{authorized}, deadline(session.TakeUp, 1_000, 61_000)},
		{"supplying", []central.Part{authorized, first}, deadline(session.Silence, 5_000, 65_000)},
		{"supplying on", []central.Part{authorized, first, second}, deadline(session.Silence, 6_000, 66_000)},
		{"ending", []central.Part{authorized, first, ending}, deadline(session.FinalReport, 7_000, 67_000)},
		{"ending, a sample came late", []central.Part{authorized, first, ending, late}, deadline(session.FinalReport, 7_000, 67_000)},
		{"closed", []central.Part{authorized, first, ticket}, nil},
		{"revised", []central.Part{authorized, first, ticket, revised}, nil},
		{"expired", []central.Part{authorized, expired}, nil},
		{"refused", []central.Part{refused}, nil},
		{"its older samples are left out", []central.Part{authorized, second}, deadline(session.Silence, 6_000, 66_000)},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := memory.NewDeadlines(&memory.Signs{})
			d.Apply(c.parts)
			if got := due(t, d, 1_000_000, 0); !slices.Equal(got, c.want) {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			for _, w := range c.want {
				if got := due(t, d, w.Due-1, 0); len(got) > 0 {
					t.Errorf("due a millisecond before: %+v", got)
				}
				if got := due(t, d, w.Due, 0); len(got) != 1 {
					t.Error("not due in time")
				}
				// Its whole length must lie after an outage.
				if got := due(t, d, w.Due+99, w.Since+100); len(got) > 0 {
					t.Errorf("due before it could be heard: %+v", got)
				}
				if got := due(t, d, w.Due+100, w.Since+100); len(got) != 1 {
					t.Error("not due when it could be heard")
				}
			}
		})
	}
}

func TestLeases(t *testing.T) {
	const lease = 15 * time.Second
	connected := chargingpoint.PointConnected{Lease: lease}
	for _, c := range []struct {
		name   string
		events []any
		lease  time.Duration
	}{
		{"connected", []any{connected, chargingpoint.FaultCleared{}}, lease},
		{"another lease", []any{connected, chargingpoint.LeaseChanged{Lease: time.Minute}}, time.Minute},
		{"no lease any more", []any{connected, chargingpoint.LeaseChanged{}}, 0},
		{"connected without a lease", []any{chargingpoint.PointConnected{}}, 0},
		{"disconnected", []any{connected, chargingpoint.PointDisconnected{Lease: lease}}, 0},
		{"connected again", []any{connected, chargingpoint.PointDisconnected{Lease: lease}, connected}, lease},
		{"registered only", []any{chargingpoint.PointRegistered{}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			signs := &memory.Signs{}
			d := memory.NewDeadlines(signs)
			d.Apply([]central.Part{of("point-CP-1", 500, c.events...)})
			if err := signs.Heard(t.Context(), "CP-1", central.Sign{HeardAt: 1_000, ReportedAt: 900}); err != nil {
				t.Fatal(err)
			}
			until := domain.UnixMillis(1_000).Add(c.lease)
			if got := due(t, d, until-1, 0); len(got) > 0 {
				t.Errorf("due a millisecond before: %+v", got)
			}
			got := due(t, d, until, 0)
			if c.lease == 0 {
				if got = due(t, d, 1<<50, 0); len(got) > 0 {
					t.Errorf("%+v", got)
				}
				return
			}
			want := central.Deadline{Point: "CP-1", Kind: central.DeadlineLease, Since: 1_000, Due: until}
			if len(got) != 1 || got[0] != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			if got := due(t, d, domain.UnixMillis(5_000).Add(c.lease)-1, 5_000); len(got) > 0 {
				t.Errorf("due before it could be heard: %+v", got)
			}
		})
	}
}

func TestScheduledPrices(t *testing.T) {
	set := func(from domain.UnixMillis) any { return chargingpoint.PriceSet{Price: 1, From: from} }
	back := func(from domain.UnixMillis) any { return chargingpoint.PriceHandedBack{From: from} }
	for _, c := range []struct {
		name   string
		events []any
		want   []domain.UnixMillis
	}{
		{"none", []any{chargingpoint.PointRegistered{Price: 1}}, nil},
		{"at once", []any{set(0), back(0)}, nil},
		{"one", []any{set(2_000)}, []domain.UnixMillis{2_000}},
		{"two", []any{set(2_000), back(3_000)}, []domain.UnixMillis{2_000, 3_000}},
		{"replaced", []any{set(2_000), set(3_000), back(2_000)}, []domain.UnixMillis{2_000}},
		{"dropped", []any{set(2_000), set(3_000), back(0)}, nil},
		{"one has taken effect", []any{set(2_000), set(3_000), chargingpoint.PriceTookEffect{From: 2_000}}, []domain.UnixMillis{3_000}},
		{"both have", []any{set(2_000), set(3_000), chargingpoint.PriceTookEffect{From: 3_000}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := memory.NewDeadlines(&memory.Signs{})
			d.Apply([]central.Part{of("point-CP-1", 500, c.events...)})
			for now := domain.UnixMillis(500); now < 5_000; now += 100 {
				var want []central.Deadline
				for _, from := range c.want {
					if from <= now {
						want = append(want, central.Deadline{Point: "CP-1", Kind: central.DeadlinePrice, Since: 500, Due: from})
					}
				}
				if got := due(t, d, now, 4_900); !slices.Equal(got, want) { // whoever listens
					t.Errorf("at %d: %+v, want %+v", now, got, want)
				}
			}
		})
	}
}

type deaf struct{ memory.Signs }

var errDeaf = errors.New("the signs of life can't be read")

func (*deaf) Last(context.Context, domain.PointID) (central.Sign, error) {
	return central.Sign{}, errDeaf
}

func TestSignsThatCannotBeRead(t *testing.T) {
	d := memory.NewDeadlines(&deaf{})
	d.Apply([]central.Part{of("point-CP-1", 500, chargingpoint.PointConnected{Lease: time.Minute})})
	if got, err := d.Due(t.Context(), 1_000, 0); !errors.Is(err, errDeaf) {
		t.Errorf("%+v (%v)", got, err)
	}
}
