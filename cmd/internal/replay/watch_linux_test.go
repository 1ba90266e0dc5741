package replay

import (
	"io"
	"path/filepath"
	"testing"

	"evcharging/adapters/console/consoletest"
	"evcharging/cmd/internal/program"
)

func TestALogIsWatchedInATerminal(t *testing.T) {
	t.Setenv("TERM", "xterm-256color")
	person, tty := consoletest.Terminal(t, 100, 24)
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
		consoletest.Expect(t, person, c[1])
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
