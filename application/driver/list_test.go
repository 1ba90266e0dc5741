package driver_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/domain"
)

func TestReadList(t *testing.T) {
	tests := map[string]struct {
		text string
		want []domain.PointID
		err  error
		line int
	}{
		"ids one a line":         {text: "CP-001\nCP-002\nCP-001\n", want: []domain.PointID{"CP-001", "CP-002", "CP-001"}},
		"blank lines, comments":  {text: "# mine\n\n  CP-001  \n\t\n#CP-9\nCP-002 # at home\n", want: []domain.PointID{"CP-001", "CP-002"}},
		"as Windows writes":      {text: "\ufeffCP-001\r\n\r\nCP-002\r\n", want: []domain.PointID{"CP-001", "CP-002"}},
		"no newline at the end":  {text: "CP-001", want: []domain.PointID{"CP-001"}},
		"nothing":                {text: "", err: driver.ErrEmptyList},
		"comments alone":         {text: "# none\n\n", err: driver.ErrEmptyList},
		"two ids on a line":      {text: "CP-001\n\nCP-002 CP-003\n", err: domain.ErrID, line: 3},
		"no id":                  {text: "# x\nCP/001\n", err: domain.ErrID, line: 2},
		"a line without end":     {text: "CP-001\n" + strings.Repeat("x", 1<<20), err: domain.ErrID, line: 2},
		"more than a list holds": {text: strings.Repeat("CP-1\n", driver.MaxLines+1), err: driver.ErrLongList},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := driver.ReadList(strings.NewReader(test.text))
			if !slices.Equal(got, test.want) || !errors.Is(err, test.err) {
				t.Errorf("got %v, %v", got, err)
			}
			if line, ok := errors.AsType[*driver.LineError](err); ok != (test.line != 0) || ok && line.Line != test.line {
				t.Errorf("got %v, want line %d", err, test.line)
			}
		})
	}
}

func TestContinueWithAListThatChanged(t *testing.T) {
	at := driver.Checkpoint{
		Points:   []domain.PointID{"A", "B", "C"},
		Supplies: []driver.Supply{{Point: "A"}},
		Open:     &driver.Open{Request: "R"},
	}
	tests := map[string]struct {
		points []domain.PointID
		err    string
	}{
		"the same":              {points: []domain.PointID{"A", "B", "C"}},
		"the rest is different": {points: []domain.PointID{"A", "B", "D", "E"}},
		"the rest is gone":      {points: []domain.PointID{"A", "B"}},
		"an asked one changed":  {points: []domain.PointID{"A", "X", "C"}, err: "point 2 of the list is X now, but B has been asked for"},
		"an asked one is gone":  {points: []domain.PointID{"A"}, err: "the list ends before point 2, which was B and has been asked for"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := at.Continue(test.points)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || !slices.Equal(got.Points, test.points) || got.Open != at.Open {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestDirectory(t *testing.T) {
	var d driver.Directory
	for _, s := range []message.PointState{
		{Point: "CP-3", State: "ACTIVATED", Version: 2},
		{Point: "CP-1", State: "ACTIVATED", Version: 5},
		{Point: "CP-2", State: "BROKEN", Version: 1},
		{Point: "CP-3", State: "SUPPLYING", Version: 3},
		{Point: "CP-3", State: "OUT_OF_ORDER", Version: 1},
		{Point: "CP-2", State: "ACTIVATED", Version: 1},
		{Point: "CP-4", State: "ACTIVATED", Version: 7},
		{Point: "CP-4", State: "UNREADABLE"},
		{Point: "CP-5", State: "UNREADABLE"},
		{Point: "CP-5", State: "ACTIVATED", Version: 7},
	} {
		d.Add(s)
	}
	ids := func(states []message.PointState) (text string) {
		for _, s := range states {
			text += string(s.Point) + " " + s.State + ", "
		}
		return text
	}
	if got, want := ids(d.All()), "CP-1 ACTIVATED, CP-2 ACTIVATED, CP-3 SUPPLYING, CP-4 UNREADABLE, CP-5 ACTIVATED, "; got != want {
		t.Errorf("all are %s want %s", got, want)
	}
	if got, want := ids(d.Free()), "CP-1 ACTIVATED, CP-2 ACTIVATED, CP-5 ACTIVATED, "; got != want {
		t.Errorf("free are %s want %s", got, want)
	}
}
