package bbolt

import (
	"fmt"
	"path/filepath"
	"testing"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// eightHours is how many samples a session has in that time.
const eightHours = 28_800

// unsynced makes the newest segment forgo syncs, for tests that count something else.
func unsynced(log *Log) {
	c := log.contents.Load()
	c.segments[len(c.segments)-1].db.NoSync = true
}

// written is how many bytes the newest segment's file was given so far, but for a page of
// metadata with each transaction.
func written(log *Log) int64 {
	c := log.contents.Load()
	stats := c.segments[len(c.segments)-1].db.Stats()
	return stats.TxStats.GetPageAlloc()
}

// sample is one of the size that the network writes.
func sample(session eventlog.Stream, n int) eventlogtest.Draft {
	return eventlogtest.Sample(session, fmt.Sprintf(`{"type":"MeterValueRecorded","version":1,"seq":%d,"energy":%d,"power":22000,`+
		`"amount_reported":1234567,"at":1750000000000,"source":{"partition":7,"offset":123456,"timestamp":1750000000000},"due":1750000060000}`, n, n*6111))
}

func TestASampleCostsTheSameAllThroughALongSession(t *testing.T) {
	const session eventlog.Stream = "session-6f1f3c1e-52a9-5d0c-8e1b-3f3a4f0c9a11"
	log := open(t, t.TempDir(), Options{})
	unsynced(log)
	b := eventlogtest.NewBuilder("ev.supply.telemetry")
	appendAll(t, log, []eventlog.Commit{b.Commit(b.Cause(), eventlogtest.Lifecycle(session, `"authorized"`))})

	const window = 1000
	var bytes, allocations []float64
	for n := 0; n < eightHours; n += window {
		before := written(log)
		for i := range window {
			if err := log.Append(t.Context(), b.Commit(eventlog.Cause{}, sample(session, n+i))); err != nil {
				t.Fatal(err)
			}
		}
		bytes = append(bytes, float64(written(log)-before)/window)
		allocations = append(allocations, testing.AllocsPerRun(10, func() {
			if parts, err := log.Rehydrate(t.Context(), session); len(parts) != 2 || err != nil {
				t.Fatalf("rehydrated %d parts, %v", len(parts), err)
			}
		}))
	}
	t.Logf("bytes written for each sample: %.0f", bytes)
	t.Logf("allocations to rehydrate: %.0f", allocations)
	// A tree has a level more after some thousand samples; that is a page.
	const page = 4096
	first, last := bytes[0], bytes[len(bytes)-1]
	if last > first+1.5*page || bytes[len(bytes)/2]+page/4 < last {
		t.Errorf("a sample writes %.0f bytes at first and %.0f in the end", first, last)
	}
	// A few more or less are the runtime's; a history that is read would be thousands.
	if allocations[len(allocations)-1] > 2*allocations[0] {
		t.Errorf("rehydrating takes %.0f allocations at first and %.0f in the end", allocations[0], allocations[len(allocations)-1])
	}
}

func TestMemoryHoldsOpenStreamsAndNoHistory(t *testing.T) {
	// given a log of many segments, in which hundreds of sessions have been closed
	b := eventlogtest.NewBuilder("ev.supply.done")
	dir := t.TempDir()
	log := open(t, dir, Options{segmentSize: 10_000})
	unsynced(log)
	commits := supplies(b, 300)
	if n := appendAll(t, log, commits); n != len(commits) {
		t.Fatalf("append %d fails", n)
	}
	check := func() {
		c := log.contents.Load()
		open, err := log.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		tails, entries := 0, 0
		for _, s := range c.segments {
			if s.tail != nil {
				tails++
				entries += len(s.tail.entries)
			}
		}
		if tails != 1 || len(c.segments) < 15 {
			t.Errorf("%d of %d segments have no index", tails, len(c.segments))
		}
		if n := len(c.streams); n > len(open)+entries || len(open) != 101 {
			t.Errorf("%d streams in memory, %d of them open", n, len(open))
		}
		if n := len(c.handles.open); n > openFiles {
			t.Errorf("%d files are open", n)
		}
	}
	check()
	eventlogtest.Holds(t, log, b, commits)
	check()
	shut(t, log)
	log = open(t, dir, Options{segmentSize: 10_000})
	check()
}

// A pass over the whole log keeps one segment in memory.
func TestAPassClosesTheSegmentsThatItHasPassed(t *testing.T) {
	b := eventlogtest.NewBuilder("ev.supply.done")
	log := open(t, t.TempDir(), Options{segmentSize: 10_000})
	unsynced(log)
	commits := supplies(b, 300)
	if n := appendAll(t, log, commits); n != len(commits) {
		t.Fatalf("append %d fails", n)
	}
	c, passed := log.contents.Load(), 0
	for _, err := range log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		segments := 0
		for _, db := range c.handles.open {
			if filepath.Ext(db.Path()) == segmentSuffix {
				segments++
			}
		}
		if passed++; segments > 1 {
			t.Fatalf("%d segments are open at commit %d", segments, passed)
		}
	}
	if passed != len(commits) || len(c.segments) < 15 {
		t.Errorf("%d commits in %d segments", passed, len(c.segments))
	}
}

func TestMoreSegmentsAreReadThanFilesAreOpen(t *testing.T) {
	b := eventlogtest.NewBuilder("ev.supply.done")
	log := open(t, t.TempDir(), Options{segmentSize: 1})
	var commits []eventlog.Commit
	for i := range 2 * openFiles {
		commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle("point-CP-001", `1`), eventlogtest.Closing(eventlog.Stream(fmt.Sprint("session-", i)), `1`)))
	}
	if n := appendAll(t, log, commits); n != len(commits) {
		t.Fatalf("append %d fails", n)
	}
	eventlogtest.Holds(t, log, b, commits)
	if n := len(log.contents.Load().handles.open); n != openFiles {
		t.Errorf("%d files are open, want %d", n, openFiles)
	}
}
