package driver

import (
	"testing"

	"evcharging/application/driver"
	"evcharging/application/message"
)

func TestPointsAreATable(t *testing.T) {
	states := []message.PointState{
		{Point: "CP-002", Location: "Alcalá, Büro", Price: 1_000_000, State: "BROKEN"},
		{Point: "CP-001", Location: "Home", Price: 300_000, State: "ACTIVATED"},
	}
	tests := map[string]struct {
		states []message.PointState
		all    bool
		want   string
	}{
		"the free ones": {states, false, "POINT   LOCATION  EUR/KWH  STATE\nCP-001  Home          0.3  ACTIVATED\n"},
		"all": {states, true, "POINT   LOCATION      EUR/KWH  STATE\n" +
			"CP-001  Home              0.3  ACTIVATED\nCP-002  Alcalá, Büro        1  BROKEN\n"},
		"one that can't be read": {
			append(states[1:], message.PointState{Point: "CP-003", Location: "Away", State: "UNREADABLE"}), true,
			"POINT   LOCATION  EUR/KWH  STATE\nCP-001  Home          0.3  ACTIVATED\nCP-003  Away               UNREADABLE\n",
		},
		"none is free":  {states[:1], false, "None of 1 points is free; --all lists them.\n"},
		"none is known": {nil, true, "Central has published no point yet.\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var directory driver.Directory
			for _, s := range test.states {
				directory.Add(s)
			}
			if got := describe(&directory, test.all); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}
