package eventlogtest

import (
	"fmt"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"evcharging/application/eventlog"
)

// Open opens a log at its place: a new one the first time, and what was stored there
// every time after it was closed. It closes the log when the test ends, if nobody did.
type Open func(t *testing.T) eventlog.Log

// RunDurable holds a log that outlives its process to the contract of eventlog.Log:
// everything that Run asks, and what has to hold over closing and opening. place makes a
// new, empty place.
func RunDurable(t *testing.T, place func(t *testing.T) Open) {
	run(t, func(t *testing.T) eventlog.Log { return place(t)(t) })

	for _, c := range []struct {
		name string
		test func(*testing.T, Open)
	}{
		{"what was acknowledged is there after opening again", testReopened},
		{"what was refused stays refused after opening again", testReopenedRefuses},
		{"commits of before and after are one history", testReopenedContinues},
		{"a random history with reopening agrees with the model", func(t *testing.T, open Open) {
			h := &history{log: open(t)}
			h.reopen = func(rt *rapid.T) eventlog.Log { return reopen(t, open, h.log) }
			testModel(t, h)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, place(t)) })
	}
}

func reopen(t *testing.T, open Open, log eventlog.Log) eventlog.Log {
	t.Helper()
	if err := log.(io.Closer).Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return open(t)
}

// supplies appends sessions at a point, n of them concluded and one that runs.
func supplies(t *testing.T, log eventlog.Log, b *Builder, n int) (stored []eventlog.Commit) {
	t.Helper()
	for i := range n + 1 {
		s := eventlog.Stream(fmt.Sprintf("session-%d-%d", b.Head(point).Version, i))
		stored = append(stored, b.Commit(b.Cause(), Lifecycle(point, `"occupied"`), Lifecycle(s, `"authorized"`)))
		for range 3 {
			stored = append(stored, b.Commit(eventlog.Cause{}, Sample(s, `"sampled"`)))
		}
		if i < n {
			stored = append(stored, b.Commit(b.Cause(), Lifecycle(point, `"released"`), Closing(s, `"ended"`, `"ticket"`)))
		}
	}
	mustAppend(t, log, stored...)
	return stored
}

// Holds compares all that a log gives with what was stored in it, by b alone: commits,
// streams, heads, causes, what is rehydrated and what is open.
func Holds(t *testing.T, log eventlog.Log, b *Builder, stored []eventlog.Commit) {
	t.Helper()
	equalCommits(t, "all", commits(mustAll(t, log, 0)), stored)
	m := model{builder: b, stored: stored}
	var open []eventlog.Stream
	for stream, head := range b.heads {
		if got := mustHead(t, log, stream); got != head {
			t.Errorf("head of %s: %+v, want %+v", stream, got, head)
		}
		if head.Kind != eventlog.Closing {
			open = append(open, stream)
		}
		parts := m.parts(stream)
		equalCommits(t, "read", mustRead(t, log, stream, 0), parts)
		equalCommits(t, "rehydrated", mustRehydrate(t, log, stream), alive(parts))
	}
	for _, c := range stored {
		if got, ok := mustByCause(t, log, c.Cause); ok != !c.Cause.IsZero() || ok && !equal(got, c) {
			t.Errorf("by cause %s: %v, %+v", c.Cause, ok, got)
		}
	}
	got := mustOpen(t, log)
	slices.Sort(got)
	slices.Sort(open)
	if !slices.Equal(got, open) {
		t.Errorf("open %v, want %v", got, open)
	}
}

func testReopened(t *testing.T, open Open) {
	b := NewBuilder("ev.supply.done")
	log := open(t)
	stored := supplies(t, log, b, 20)
	Holds(t, log, b, stored)
	for range 3 {
		log = reopen(t, open, log)
		Holds(t, log, b, stored)
	}
}

func testReopenedRefuses(t *testing.T, open Open) {
	b := NewBuilder("ev.supply.done")
	log := open(t)
	stale := b.Fork()
	stored := supplies(t, log, b, 3)
	version := b.Head(point).Version
	log = reopen(t, open, log)

	wantStored(t, log.Append(t.Context(), b.Fork().Commit(stored[0].Cause, Lifecycle(point, `{}`))), stored[0])
	wantConflict(t, "stale", log.Append(t.Context(), stale.Commit(eventlog.Cause{}, Lifecycle(point, `{}`))),
		eventlog.ConflictError{Stream: point, Expected: 0, Actual: version})
	mustAppend(t, log, stored[1])
	Holds(t, log, b, stored)
}

func testReopenedContinues(t *testing.T, open Open) {
	b := NewBuilder("ev.supply.done")
	log := open(t)
	var stored []eventlog.Commit
	for range 4 {
		stored = append(stored, supplies(t, log, b, 5)...)
		log = reopen(t, open, log)
	}
	Holds(t, log, b, stored)
}
