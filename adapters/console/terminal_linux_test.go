package console

import (
	"strings"
	"testing"

	"evcharging/adapters/console/consoletest"
)

func TestInATerminalThereIsThePanel(t *testing.T) {
	const (
		alternateScreen = "\x1b[?1049h"
		formerScreen    = "\x1b[?1049l"
	)
	for _, c := range []struct {
		environ  []string
		coloured bool
	}{
		{[]string{"TERM=xterm-256color"}, true},
		{[]string{"TERM=xterm-256color", "NO_COLOR=please"}, false}, // any value counts
	} {
		t.Run(strings.Join(c.environ, " "), func(t *testing.T) {
			person, program := consoletest.Terminal(t, 80, 24)
			console := Console{Source: lock(aDay(t)), In: program, Out: program, Environ: c.environ}
			if !console.IsTerminal() {
				t.Fatal("it does not see the terminal")
			}
			result := make(chan error, 1)
			go func() { result <- console.Run(t.Context()) }()

			shown := consoletest.Expect(t, person, alternateScreen, "CP-001", "SUPPLYING", "not heard since start", "help · quit")
			if coloured := strings.Contains(shown, "38;5;"); coloured != c.coloured {
				t.Errorf("coloured is %v: %q", coloured, shown)
			}
			if _, err := person.WriteString("quit\r"); err != nil {
				t.Fatal(err)
			}
			consoletest.Expect(t, person, formerScreen)
			if err := <-result; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestADumbTerminalHasLines(t *testing.T) {
	_, program := consoletest.Terminal(t, 80, 24)
	for _, environ := range [][]string{nil, {"TERM=dumb"}, {"TERM=xterm", "TERM="}} {
		if (Console{In: program, Out: program, Environ: environ}).IsTerminal() {
			t.Errorf("%q is a terminal for a panel", environ)
		}
	}
	if !(Console{In: program, Out: program, Environ: []string{"TERM=xterm"}}).IsTerminal() {
		t.Error("a terminal is none")
	}
}
