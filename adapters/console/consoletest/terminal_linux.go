// Package consoletest is a terminal for tests of what is shown in one.
package consoletest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo-terminal: what a person holds, and what a program gets. Both are
// closed when the test ends.
func Terminal(t *testing.T, width, height uint16) (person, program *os.File) {
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
		err = unix.SetNonblock(master, true) // so that a read has a deadline, and ends when it is closed
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

// Expect reads what a person sees until all of the texts have come, in any order, and gives it.
func Expect(t *testing.T, person *os.File, texts ...string) string {
	t.Helper()
	var seen bytes.Buffer
	buffer := make([]byte, 4096)
	if err := person.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
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
		n, err := person.Read(buffer)
		if err != nil {
			t.Fatalf("%q did not come (%v) in %q", missing, err, seen.String())
		}
		seen.Write(buffer[:n])
	}
}
