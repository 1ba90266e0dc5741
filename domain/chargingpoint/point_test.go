package chargingpoint_test

import (
	"testing"
	"time"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/domaintest"
)

const (
	noon   = domain.UnixMillis(1_772_366_400_000)
	second = domain.UnixMillis(1_000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

type (
	point = chargingpoint.Point
	past  = domaintest.Past[chargingpoint.Event]
)

var points = domaintest.Kit[*point, chargingpoint.Event]{New: func() *point { return chargingpoint.New("CP-1") }}

func given(t *testing.T, history ...past) *domaintest.Scenario[*point, chargingpoint.Event] {
	t.Helper()
	return points.Given(t, history...)
}

func at(instant domain.UnixMillis, events ...chargingpoint.Event) past {
	return past{At: instant, Events: events}
}

// What most points have behind them.
var (
	registered   = chargingpoint.PointRegistered{Location: "Plaza Mayor 1", Price: 300_000, RecordedAt: noon}
	connected    = chargingpoint.PointConnected{Lease: 15 * time.Second, ReportedAt: noon}
	disconnected = chargingpoint.PointDisconnected{LastHeard: noon, Lease: 15 * time.Second}
	healthy      = chargingpoint.FaultCleared{ReportedAt: noon}
	faulted      = chargingpoint.FaultReported{ReportedAt: noon}
	occupied     = chargingpoint.PointOccupied{
		Session: "S-1", Driver: "D-1", Order: 1, ValidUntil: noon + 30*second,
	}
	released = chargingpoint.PointReleased{Session: "S-1"}
	out      = chargingpoint.TakenOutOfService{RecordedAt: noon, By: "op", Order: 2, ValidUntil: noon + day}
	back     = chargingpoint.ReturnedToService{RecordedAt: noon, By: "op", Order: 3, ValidUntil: noon + day}

	ready = at(noon, registered, connected, healthy)
	busy  = at(noon, registered, connected, healthy, occupied)
)

func TestNewPoint(t *testing.T) {
	p := given(t).Live
	if p.ID() != "CP-1" || p.Known() || p.State() != chargingpoint.Disconnected || p.Price() != 0 ||
		p.Health() != (chargingpoint.Health{}) || p.Service() != (chargingpoint.Service{}) ||
		p.LastOrder() != (chargingpoint.IssuedOrder{}) || p.HeldUntil() != 0 || p.UpdatedAt() != 0 {
		t.Errorf("a new point knows more than its id: %+v", p)
	}
	if r, ok := p.Registered(); ok {
		t.Errorf("a new point is registered: %+v", r)
	}
	if is, lease := p.Connected(); is || lease != 0 {
		t.Errorf("a new point is connected for %s", lease)
	}
	if o, ok := p.Occupied(); ok {
		t.Errorf("a new point is occupied: %+v", o)
	}
}

func TestFacts(t *testing.T) {
	p := given(t, at(noon, registered, connected, faulted), at(noon+1, occupied), at(noon+2, out)).Live
	if r, ok := p.Registered(); !ok || r != (chargingpoint.Registration{Location: "Plaza Mayor 1", Price: 300_000, RecordedAt: noon}) {
		t.Errorf("registered: %+v, %t", r, ok)
	}
	if is, lease := p.Connected(); !is || lease != 15*time.Second {
		t.Errorf("connected: %t for %s", is, lease)
	}
	if got, want := p.Health(), (chargingpoint.Health{Known: true, ReportedAt: noon}); got != want {
		t.Errorf("health %+v, want %+v", got, want)
	}
	if got, want := p.Service(), (chargingpoint.Service{Out: true, At: noon}); got != want {
		t.Errorf("service %+v, want %+v", got, want)
	}
	if o, ok := p.Occupied(); !ok || o != (chargingpoint.Occupancy{Session: "S-1", Driver: "D-1"}) {
		t.Errorf("occupied: %+v, %t", o, ok)
	}
	if p.UpdatedAt() != noon+2 {
		t.Errorf("updated at %s, want %s", p.UpdatedAt(), noon+2)
	}
}

// The newest order is the whole truth about what a point was told.
func TestLastOrder(t *testing.T) {
	stopped := chargingpoint.StopOrdered{
		Session: "S-1", Cause: "KO", Order: 4, ValidUntil: noon + day, HoldUntil: noon + 2*second,
	}
	outInSession := out
	outInSession.Session, outInSession.HoldUntil = "S-1", noon+2*second
	for name, test := range map[string]struct {
		event chargingpoint.Event
		want  chargingpoint.IssuedOrder
		held  domain.UnixMillis
	}{
		"start": {occupied, chargingpoint.IssuedOrder{Number: 1, Kind: chargingpoint.OrderStart, Session: "S-1", ValidUntil: noon + 30*second, At: noon + 5}, 0},
		"out":   {out, chargingpoint.IssuedOrder{Number: 2, Kind: chargingpoint.OrderOutOfOrder, ValidUntil: noon + day, At: noon + 5}, 0},
		"out in a session": {
			outInSession,
			chargingpoint.IssuedOrder{Number: 2, Kind: chargingpoint.OrderOutOfOrder, Session: "S-1", ValidUntil: noon + day, At: noon + 5},
			noon + 2*second,
		},
		"resume": {back, chargingpoint.IssuedOrder{Number: 3, Kind: chargingpoint.OrderResume, ValidUntil: noon + day, At: noon + 5}, 0},
		"stop":   {stopped, chargingpoint.IssuedOrder{Number: 4, Kind: chargingpoint.OrderStop, Session: "S-1", ValidUntil: noon + day, At: noon + 5}, noon + 2*second},
	} {
		t.Run(name, func(t *testing.T) {
			p := given(t, ready, at(noon+5, test.event)).Live
			if p.LastOrder() != test.want {
				t.Errorf("got %+v, want %+v", p.LastOrder(), test.want)
			}
			if p.HeldUntil() != test.held {
				t.Errorf("held until %s, want %s", p.HeldUntil(), test.held)
			}
		})
	}
}

func TestApplyFailsOnAnUnknownEvent(t *testing.T) {
	p := given(t, ready).Live
	var unknown chargingpoint.Event // nil is one that no case knows
	if err := p.Apply(noon+1, unknown); err == nil || p.UpdatedAt() != noon {
		t.Errorf("got %v, updated at %s", err, p.UpdatedAt())
	}
}
