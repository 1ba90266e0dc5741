package console

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal: what a person holds, and what a program gets.
func terminal(t *testing.T, width, height uint16) (person, program *os.File) {
	t.Helper()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	}
	if err == nil {
		err = unix.SetNonblock(master, true) // so that closing it ends a read
	}
	if err != nil {
		t.Fatal(err)
	}
	person = os.NewFile(uintptr(master), "ptmx")
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = program.Close(), person.Close() })
	return person, program
}

// expect reads until all of the texts have come, in any order.
func expect(t *testing.T, from *os.File, texts ...string) string {
	t.Helper()
	var seen bytes.Buffer
	buffer := make([]byte, 4096)
	if err := from.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		missing := ""
		for _, text := range texts {
			if !strings.Contains(seen.String(), text) {
				missing = text
			}
		}
		if missing == "" {
			return seen.String()
		}
		n, err := from.Read(buffer)
		if err != nil {
			t.Fatalf("%q did not come (%v) in %q", missing, err, seen.String())
		}
		seen.Write(buffer[:n])
	}
}

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
			person, program := terminal(t, 80, 24)
			console := Console{Source: lock(aDay(t)), In: program, Out: program, Environ: c.environ}
			if !console.IsTerminal() {
				t.Fatal("it does not see the terminal")
			}
			result := make(chan error, 1)
			go func() { result <- console.Run(t.Context()) }()

			shown := expect(t, person, alternateScreen, "CP-001", "SUPPLYING", "not heard since start", "help · quit")
			if coloured := strings.Contains(shown, "38;5;"); coloured != c.coloured {
				t.Errorf("coloured is %v: %q", coloured, shown)
			}
			if _, err := person.WriteString("quit\r"); err != nil {
				t.Fatal(err)
			}
			expect(t, person, formerScreen)
			if err := <-result; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestADumbTerminalHasLines(t *testing.T) {
	_, program := terminal(t, 80, 24)
	for _, environ := range [][]string{nil, {"TERM=dumb"}, {"TERM=xterm", "TERM="}} {
		if (Console{In: program, Out: program, Environ: environ}).IsTerminal() {
			t.Errorf("%q is a terminal for a panel", environ)
		}
	}
	if !(Console{In: program, Out: program, Environ: []string{"TERM=xterm"}}).IsTerminal() {
		t.Error("a terminal is none")
	}
}
