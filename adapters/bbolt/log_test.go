package bbolt

import (
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		os.Exit(appendUntilKilled(dir))
	}
	goleak.VerifyTestMain(m)
}

// open opens a log that is closed when the test ends.
func open(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	log, err := Open(dir, quiet(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

func quiet(o Options) Options {
	o.Logger = slog.New(slog.DiscardHandler)
	return o
}

// small makes a segment full after a handful of commits.
var small = Options{segmentSize: 1000}

func TestLog(t *testing.T) {
	for name, o := range map[string]Options{"one segment": {}, "many segments": small} {
		t.Run(name, func(t *testing.T) {
			eventlogtest.RunDurable(t, func(t *testing.T) eventlogtest.Open {
				dir := t.TempDir()
				return func(t *testing.T) eventlog.Log { return open(t, dir, o) }
			})
		})
	}
}
