package chargingpoint_test

import (
	"fmt"
	"testing"

	"evcharging/domain/chargingpoint"
)

// The state is a view of independent facts. This is every combination of them.
func TestState(t *testing.T) {
	type facts struct {
		registered, monitorUp bool
		engine                string // up, down or unknown
		inService, occupied   bool
	}
	// The truth table of behaviour.md, row by row; the first that matches counts.
	truth := func(f facts) chargingpoint.State {
		switch {
		case !f.registered, !f.monitorUp, f.engine == "unknown":
			return chargingpoint.Disconnected // grey
		case f.engine == "down":
			return chargingpoint.Broken // red
		case !f.inService:
			return chargingpoint.OutOfOrder // orange
		case f.occupied:
			return chargingpoint.Supplying // green, supplying
		default:
			return chargingpoint.Activated // green
		}
	}
	seen := map[chargingpoint.State]int{}
	both := []bool{false, true}
	for _, r := range both {
		for _, m := range both {
			for _, engine := range []string{"up", "down", "unknown"} {
				for _, s := range both {
					for _, o := range both {
						f := facts{r, m, engine, s, o}
						t.Run(fmt.Sprintf("%+v", f), func(t *testing.T) {
							var events []chargingpoint.Event
							if f.registered {
								events = append(events, registered)
							}
							events = append(events, connected)
							switch f.engine {
							case "up":
								events = append(events, faulted, healthy)
							case "down":
								events = append(events, healthy, faulted)
							}
							if f.occupied {
								events = append(events, occupied)
							}
							if f.inService {
								events = append(events, out, back)
							} else {
								events = append(events, out)
							}
							if !f.monitorUp {
								events = append(events, disconnected)
							}
							got, want := given(t, at(noon, events...)).Live.State(), truth(f)
							if got != want {
								t.Errorf("got %s, want %s", got, want)
							}
							seen[got]++
						})
					}
				}
			}
		}
	}
	want := map[chargingpoint.State]int{
		chargingpoint.Disconnected: 40, chargingpoint.Broken: 4, chargingpoint.OutOfOrder: 2,
		chargingpoint.Supplying: 1, chargingpoint.Activated: 1,
	}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("of 48 combinations %v, want %v", seen, want)
	}
}

// A point that was never reported healthy is grey, and turns into what it is step by step.
func TestStateStepByStep(t *testing.T) {
	p := given(t).Live
	for _, step := range []struct {
		event chargingpoint.Event
		want  chargingpoint.State
	}{
		{registered, chargingpoint.Disconnected},
		{connected, chargingpoint.Disconnected},
		{healthy, chargingpoint.Activated},
		{occupied, chargingpoint.Supplying},
		{faulted, chargingpoint.Broken},
		{disconnected, chargingpoint.Disconnected},
		{connected, chargingpoint.Broken}, // the Engine is as it was said to be last
		{healthy, chargingpoint.Supplying},
		{out, chargingpoint.OutOfOrder},
		{released, chargingpoint.OutOfOrder},
		{back, chargingpoint.Activated},
	} {
		if err := p.Apply(noon, step.event); err != nil {
			t.Fatal(err)
		}
		if got := p.State(); got != step.want {
			t.Errorf("after %T: got %s, want %s", step.event, got, step.want)
		}
	}
}
