package bbolt

import (
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

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

// shut closes a log before the test ends.
func shut(t testing.TB, log *Log) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
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

// clock is a time that stands still until it is told to go on.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
