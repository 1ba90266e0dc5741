package network_test

import (
	"reflect"
	"slices"
	"testing"

	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

func TestAPointThatCannotBeReadIsShownSo(t *testing.T) {
	for name, known := range map[string]bool{"that is known": true, "of which nothing is known": false} {
		t.Run(name, func(t *testing.T) {
			// given
			h := given(t).at(1_000).working("CP-1").working("CP-3")
			if known {
				h.working("CP-2")
			}
			before := h.counts()
			// when
			h.CannotRead("point-CP-2", 5_000)
			h.CannotRead("point-CP-2", 6_000) // it is told again
			// then
			p := h.shown("CP-2")
			if p.State != network.Unreadable || p.Since != 5_000 || p.Registered != known {
				t.Errorf("shown %+v", p)
			}
			if c := h.counts(); c.Unreadable != 1 || c.Total() != 3 || c.Activated != 2 {
				t.Errorf("counted %+v", c)
			}
			if seen := h.Snapshot(network.Window{Filter: "unreadable", Points: 9}); seen.Matched != 1 || seen.Points[0].ID != "CP-2" {
				t.Errorf("the filter finds %+v", seen.Points)
			}
			if points, sessions := h.Unreadable(); !slices.Equal(points, []domain.PointID{"CP-2"}) || len(sessions) != 0 {
				t.Errorf("unreadable are %v, %v", points, sessions)
			}
			// and when it can be read again, it is as before
			h.CanRead("point-CP-2", 7_000)
			if points, _ := h.Unreadable(); len(points) != 0 || h.counts() != before {
				t.Errorf("unreadable are %v still, counted %+v, want %+v", points, h.counts(), before)
			}
			if _, ok := h.Point("CP-2"); ok != known {
				t.Errorf("it is listed: %v", ok)
			}
			// and goes on
			h.working("CP-2")
			if c := h.counts(); c != (network.Counts{Activated: 3}) || len(h.Points()) != 3 {
				t.Errorf("counted %+v of %v", c, h.Points())
			}
		})
	}
}

func TestASessionThatCannotBeReadIsShownSo(t *testing.T) {
	// given a point that is held by a session of which nothing is known, and one that supplies
	h := given(t).at(1_000).working("CP-1").working("CP-2")
	h.apply("point-CP-1", chargingpoint.PointOccupied{Session: "s-1", Driver: "D-7"})
	h.apply("point-CP-2", chargingpoint.PointOccupied{Session: "s-2", Driver: "D-8"})
	h.apply("session-s-2", session.SupplyAuthorized{Point: "CP-2", Driver: "D-8", Price: price},
		session.SupplyStarted{At: 2_000}, session.MeterValueRecorded{Energy: kWh, Power: 7_000, At: 2_000})
	// when
	h.CannotRead("session-s-1", 5_000)
	h.CannotRead("session-s-2", 5_000)
	h.CannotRead("session-s-1", 6_000) // it is told again
	// then
	open := h.Open()
	if len(open) != 2 || open[0].ID != "s-1" || open[0].Status != network.Unreadable || open[0].Point != "CP-1" || open[0].Driver != "D-7" ||
		open[1].Status != network.Unreadable || open[1].Energy != kWh {
		t.Errorf("open are %+v", open)
	}
	if p := h.shown("CP-1"); p.State != chargingpoint.Supplying || p.Supply == nil || !reflect.DeepEqual(*p.Supply, open[0]) {
		t.Errorf("its point is shown with %+v", p.Supply)
	}
	if seen := h.Snapshot(network.Window{Sessions: 9}); seen.Open != 2 || seen.Power != 0 || len(seen.Sessions) != 2 {
		t.Errorf("seen are %+v", seen)
	}
	if _, sessions := h.Unreadable(); !slices.Equal(sessions, []domain.SessionID{"s-1", "s-2"}) {
		t.Errorf("unreadable are %v", sessions)
	}
	// and when they can be read again
	h.CanRead("session-s-1", 7_000)
	h.CanRead("session-s-2", 7_000)
	h.apply("session-s-1", session.SupplyAuthorized{Point: "CP-1", Driver: "D-7", Price: price})
	open = h.Open()
	if _, sessions := h.Unreadable(); len(sessions) != 0 || len(open) != 2 || open[0].Status != session.Authorized && open[1].Status != session.Authorized {
		t.Errorf("open are %+v, unreadable %v", open, sessions)
	}
	if seen := h.Snapshot(network.Window{}); seen.Power != 7_000 || seen.Open != 2 {
		t.Errorf("seen are %+v", seen)
	}
}

// What is closed waits for nothing, and is shown as it was.
func TestAClosedSessionThatCannotBeReadStaysAsItWas(t *testing.T) {
	h := given(t).at(1_000).working("CP-1")
	h.apply("session-s-1", session.SupplyAuthorized{Point: "CP-1", Driver: "D-7", Price: price}, session.TicketIssued{Ticket: "T-1"})
	h.CannotRead("session-s-1", 5_000)
	if s, ok := h.Session("s-1"); !ok || s.Status != session.Closed || len(h.Open()) != 0 {
		t.Errorf("shown %+v, open %v", s, h.Open())
	}
}
