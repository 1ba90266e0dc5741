package bbolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// supplies makes the commits of n supplies at a point, every third one not concluded.
func supplies(b *eventlogtest.Builder, n int) (commits []eventlog.Commit) {
	const point = "point-CP-001"
	for i := range n {
		session := eventlog.Stream(fmt.Sprintf("session-%d-%d", b.Head(point).Version, i))
		commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle(point, `"occupied"`), eventlogtest.Lifecycle(session, `"authorized"`)))
		commits = append(commits, b.Commit(eventlog.Cause{}, eventlogtest.Sample(session, `"sampled"`)))
		commits = append(commits, b.Commit(eventlog.Cause{}, eventlogtest.Sample(session, `"sampled again"`)))
		if i%3 != 2 {
			commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle(point, `"released"`), eventlogtest.Closing(session, `"ended"`, `"ticket"`)))
		}
	}
	return commits
}

var errCrash = errors.New("crash")

// crashAt lets n steps pass; from then on nothing is done any more.
type crashAt struct {
	n     int
	steps []string
}

func (c *crashAt) step(name string) error {
	c.steps = append(c.steps, name)
	if len(c.steps) > c.n {
		return errCrash
	}
	return nil
}

// appendAll appends until an error, each when the one before has been indexed, so that
// steps come in one order. It gives how many were acknowledged.
func appendAll(t *testing.T, log *Log, commits []eventlog.Commit) int {
	for i, c := range commits {
		if err := log.Append(t.Context(), c); err != nil {
			return i
		}
		log.indexing.Wait()
	}
	return len(commits)
}

func TestACrashBetweenAnyTwoStepsLosesNothing(t *testing.T) {
	for n := 0; ; n++ {
		// given a log that crashes after n steps
		b := eventlogtest.NewBuilder("ev.health")
		commits := supplies(b, 6)
		dir := filepath.Join(t.TempDir(), "log")
		crash := &crashAt{n: n}
		o := small
		o.fault = crash.step
		acknowledged := 0
		if log, err := Open(dir, quiet(o)); err == nil {
			acknowledged = appendAll(t, log, commits)
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		} else if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if len(crash.steps) <= n {
			return // all steps have passed
		}
		at := crash.steps[n]

		// and what it was making half made, and a start that crashes as well
		tear(t, dir, n)
		again := &crashAt{n: n % 5}
		o.fault = again.step
		if log, err := Open(dir, quiet(o)); err == nil {
			if err := log.Close(); err != nil {
				t.Fatal(err)
			}
		} else if !errors.Is(err, errCrash) {
			t.Fatalf("crash at %q, then: %v", at, err)
		}

		// when it is opened
		o.fault = nil
		log := open(t, dir, o)
		stored := 0
		for c, err := range log.All(t.Context(), 0) {
			if err != nil {
				t.Fatalf("crash at %q: %v", at, err)
			}
			if !same(c.Commit, commits[stored]) {
				t.Fatalf("crash at %q: commit %d is another", at, stored)
			}
			stored++
		}

		// then what was acknowledged is there, and what was being written perhaps
		if stored < acknowledged || stored > acknowledged+1 {
			t.Fatalf("crash at %q: %d acknowledged, %d stored", at, acknowledged, stored)
		}
		// and who tries again, and goes on, has it all
		if stored > acknowledged {
			var stored *eventlog.CauseStoredError
			if err := log.Append(t.Context(), commits[acknowledged]); err != nil && !errors.As(err, &stored) {
				t.Fatalf("crash at %q, again: %v", at, err)
			}
		}
		if more := appendAll(t, log, commits[stored:]); more != len(commits)-stored {
			t.Fatalf("crash at %q: append %d fails", at, stored+more)
		}
		eventlogtest.Holds(t, log, b, commits)
		if t.Failed() {
			t.Fatalf("crash at %q", at)
		}
	}
}

// tear cuts what was being made.
func tear(t *testing.T, dir string, n int) {
	halves, err := filepath.Glob(filepath.Join(dir, "*"+temporary))
	if err != nil {
		t.Fatal(err)
	}
	for _, half := range halves {
		info, err := os.Stat(half)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(half, info.Size()*int64(n%3)/2); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheStepsOfACrashAreAllThere(t *testing.T) {
	crash := &crashAt{n: 1 << 30}
	o := small
	o.fault = crash.step
	log := open(t, t.TempDir(), o)
	appendAll(t, log, supplies(eventlogtest.NewBuilder("ev.health"), 2))
	seen := map[string]bool{}
	for _, step := range crash.steps {
		seen[step] = true
	}
	for _, step := range []string{
		"made 00000000000000000001.seg", "named 00000000000000000001.seg", "made log", "named log",
		"made index.db", "named index.db", "written 00000000000000000001.seg",
		"made 00000000000000000006.seg", "named 00000000000000000006.seg",
		"made 00000000000000000001.idx", "named 00000000000000000001.idx", "added 00000000000000000001.idx",
	} {
		if !seen[step] {
			t.Errorf("no step %q in %v", step, crash.steps)
		}
	}
}
