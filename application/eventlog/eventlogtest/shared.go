package eventlogtest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"evcharging/application/eventlog"
)

// RunShared holds a log that several processes may have open at the same time to the
// contract of eventlog.Log: what holds within a process holds between them. place makes a
// new, empty place; what it gives may be called several times before a log is closed.
func RunShared(t *testing.T, place func(t *testing.T) Open) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, one, two eventlog.Log)
	}{
		{"two processes take turns", testTurns},
		{"whoever is behind another process learns where the stream is", testBehind},
		{"twenty racers of two processes have one winner", testSharedRacers},
		{"a record delivered to two processes is stored once", testSharedCause},
		{"what is read while two processes write is in order and has no gaps", testSharedOrder},
		{"open streams are those of all processes", testSharedOpen},
		{"a random history of two processes agrees with the model", func(t *testing.T, one, two eventlog.Log) {
			h := &history{log: one}
			h.reopen = func(*rapid.T) eventlog.Log {
				one, two = two, one
				return one
			}
			testModel(t, h)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := place(t)
			c.test(t, open(t), open(t))
		})
	}
}

func testTurns(t *testing.T, one, two eventlog.Log) {
	b := NewBuilder("ev.health")
	logs := []eventlog.Log{one, two}
	var stored []eventlog.Commit
	for i := range 20 {
		draft := Lifecycle(point, fmt.Sprint(i))
		if i%3 == 0 {
			draft = Sample(point, fmt.Sprint(i))
		}
		commit := b.Commit(b.Cause(), draft)
		mustAppend(t, logs[i%2], commit)
		stored = append(stored, commit)
		// whoever wrote last, both see it
		for _, log := range logs {
			if head := mustHead(t, log, point); head != b.Head(point) {
				t.Fatalf("after %d: head %+v, want %+v", i, head, b.Head(point))
			}
			equalCommits(t, "the tail", mustRead(t, log, point, b.Head(point).Version), stored[i:])
		}
	}
	Holds(t, one, b, stored)
	Holds(t, two, b, stored)
}

func testBehind(t *testing.T, one, two eventlog.Log) {
	// given a process that wrote a stream's beginning, and another that went on
	b := NewBuilder("ev.health")
	mustAppend(t, one, b.Commit(b.Cause(), Lifecycle(point, `1`)))
	stale := b.Fork()
	more := b.Commit(b.Cause(), Lifecycle(point, `2`), Lifecycle(session, `1`))
	mustAppend(t, two, more)

	// when the first goes on from where it was, then it learns what is so
	wantConflict(t, "the same version", one.Append(t.Context(), stale.Commit(eventlog.Cause{}, Lifecycle(point, `other`))),
		eventlog.ConflictError{Stream: point, Expected: 1, Actual: 2})
	wantConflict(t, "after it", one.Append(t.Context(), stale.Commit(eventlog.Cause{}, Lifecycle(point, `other`))),
		eventlog.ConflictError{Stream: point, Expected: 2, Actual: 2})
	wantStored(t, one.Append(t.Context(), stale.Commit(more.Cause, Lifecycle(point, `other`))), more)

	// and when it has read, it may go on; what the other tries again is stored already
	b.Follow(point, mustHead(t, one, point))
	mustAppend(t, one, b.Commit(eventlog.Cause{}, Lifecycle(point, `3`)))
	wantStored(t, two.Append(t.Context(), more), more)
	if got := mustAll(t, two, 0); len(got) != 3 {
		t.Errorf("the log has %d commits, want 3", len(got))
	}
}

// raceOf is a race where each contender has a log.
func raceOf(t *testing.T, one, two eventlog.Log, contenders []eventlog.Commit) (errs []error) {
	half := len(contenders) / 2
	var both sync.WaitGroup
	var first, second []error
	both.Go(func() { first = race(t.Context(), one, contenders[:half]) })
	both.Go(func() { second = race(t.Context(), two, contenders[half:]) })
	both.Wait()
	return append(first, second...)
}

func testSharedRacers(t *testing.T, one, two eventlog.Log) {
	b := NewBuilder("ev.supply.request")
	for round := range 5 {
		// given twenty who saw the same heads, and each write to a stream of their own too
		contenders := make([]eventlog.Commit, racers)
		builders := make([]*Builder, racers)
		before := b.Head(point).Version
		for i := range contenders {
			cause := b.Cause()
			builders[i] = b.Fork()
			contenders[i] = builders[i].Commit(cause, Lifecycle(eventlog.Stream(fmt.Sprintf("session-%d-%d", round, i)), `{}`), Lifecycle(point, `{}`))
		}

		// when they append at once in two processes
		errs := raceOf(t, one, two, contenders)

		// then one has won, whole, and nothing of the others is stored
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("round %d has no winner: %v", round, errs)
		}
		for i, err := range errs {
			want := eventlog.Version(1)
			if i != winner {
				want = 0
				wantConflict(t, fmt.Sprint("racer ", i), err, eventlog.ConflictError{Stream: point, Expected: before, Actual: before + 1})
			}
			if head := mustHead(t, one, contenders[i].Parts[0].Stream); head.Version != want {
				t.Errorf("racer %d got %v and its own stream is at version %d", i, err, head.Version)
			}
		}
		b = builders[winner]
	}
}

func testSharedCause(t *testing.T, one, two eventlog.Log) {
	b := NewBuilder("ev.supply.request")
	for round := range 5 {
		cause := b.Cause()
		contenders := make([]eventlog.Commit, racers)
		for i := range contenders {
			contenders[i] = b.Commit(cause, Closing(eventlog.Stream(fmt.Sprintf("session-%d-%d", round, i)), `{}`))
		}
		errs := raceOf(t, one, two, contenders)
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("round %d has no winner: %v", round, errs)
		}
		for i, err := range errs {
			if i != winner {
				wantStored(t, err, contenders[winner])
			}
		}
		if got := mustAll(t, two, 0); len(got) != round+1 {
			t.Fatalf("after round %d the log has %d commits", round, len(got))
		}
	}
}

// chained is an error where commits are not in ascending position, or a stream's parts do
// not follow one another.
func chained(all []eventlog.Positioned) error {
	heads := map[eventlog.Stream]eventlog.Head{}
	var last eventlog.Position
	for _, c := range all {
		if c.Position <= last {
			return fmt.Errorf("position %d after %d", c.Position, last)
		}
		last = c.Position
		for _, p := range c.Parts {
			head := heads[p.Stream]
			if p.Version != head.Version+1 || p.Prev != head.Hash {
				return fmt.Errorf("%s: version %d follows %d at position %d, or the chain is broken", p.Stream, p.Version, head.Version, c.Position)
			}
			heads[p.Stream] = eventlog.Head{Version: p.Last(), Hash: p.Hash}
		}
	}
	return nil
}

func testSharedOrder(t *testing.T, one, two eventlog.Log) {
	// given two processes that write to the same streams, each from where it finds them
	const writers, each = 3, 10
	logs := []eventlog.Log{one, two}
	var writing, reading sync.WaitGroup
	for w := range 2 * writers {
		writing.Go(func() {
			log := logs[w%2]
			b := NewBuilder(fmt.Sprint("topic-", w))
			for stored := 0; stored < each; {
				stream := eventlog.Stream(fmt.Sprint("point-", (w+stored)%writers))
				head, err := log.Head(t.Context(), stream)
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				b.Follow(stream, head)
				own := eventlog.Stream(fmt.Sprint("session-", w))
				switch err := log.Append(t.Context(), b.Fork().Commit(b.Cause(), Lifecycle(stream, `1`, `2`), Sample(own, `1`))); {
				case err == nil:
					stored++
					if head, err := log.Head(t.Context(), own); err != nil {
						t.Errorf("writer %d: %v", w, err)
					} else {
						b.Follow(own, head)
					}
				case !isConflict(err):
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	// when everything is read meanwhile
	done := make(chan struct{})
	for _, log := range logs {
		reading.Go(func() {
			for {
				got, err := all(t.Context(), log, 0)
				if err == nil {
					err = chained(got)
				}
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()

	// then it is whole in the end
	got := mustAll(t, one, 0)
	if err := chained(got); err != nil || len(got) != 2*writers*each {
		t.Errorf("%d commits, want %d: %v", len(got), 2*writers*each, err)
	}
}

func testSharedOpen(t *testing.T, one, two eventlog.Log) {
	b := NewBuilder("ev.supply.done")
	mustAppend(t, one, b.Commit(b.Cause(), Lifecycle(point, `1`), Lifecycle(session, `1`)))
	mustAppend(t, two, b.Commit(b.Cause(), Lifecycle(other, `1`), Lifecycle(point, `2`)))
	mustAppend(t, two, b.Commit(b.Cause(), Closing(session, `2`)))
	mustAppend(t, one, b.Commit(b.Cause(), Closing(other, `2`)))
	mustAppend(t, two, b.Commit(b.Cause(), Lifecycle(other, `3`)))
	for _, log := range []eventlog.Log{one, two} {
		got := mustOpen(t, log)
		slices.Sort(got)
		if want := []eventlog.Stream{point, other}; !slices.Equal(got, want) {
			t.Errorf("open %v, want %v", got, want)
		}
	}
}
