package replay

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"evcharging/cmd/internal/program"
)

// terminal is a pseudo-terminal: what a person holds, and what a program gets.
func terminal(t *testing.T) (person, program *os.File) {
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
		err = unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100})
	}
	if err == nil {
		err = unix.SetNonblock(master, true) // so that a read has a deadline
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

// expect reads until a text has come.
func expect(t *testing.T, from *os.File, text string) {
	t.Helper()
	var seen bytes.Buffer
	buffer := make([]byte, 4096)
	if err := from.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(seen.String(), text) {
		n, err := from.Read(buffer)
		if err != nil {
			t.Fatalf("%q did not come (%v) in %q", text, err, seen.String())
		}
		seen.Write(buffer[:n])
	}
}

func TestALogIsWatchedInATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	person, tty := terminal(t)
	ended := make(chan error, 1)
	go func() {
		ended <- Watch(t.Context(), &program.Process{Stdin: tty, Stdout: tty, Stderr: io.Discard, Logger: quiet}, WatchConfig{
			PastConfig: PastConfig{Source: filepath.Join(oldLogs, "v2.jsonl"), At: firstAt}, Speed: slowest,
		})
	}()
	for _, c := range [][2]string{
		{"", "CP-1"}, {" ", "paused"}, {"n", "of session-"}, {"+", "2×"}, {"q", "\x1b[?1049l"}, // the former screen
	} {
		if _, err := person.WriteString(c[0]); err != nil {
			t.Fatal(err)
		}
		expect(t, person, c[1])
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
