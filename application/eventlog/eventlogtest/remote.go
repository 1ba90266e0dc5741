package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"evcharging/application/eventlog"
)

// Line is what lies between a log and its store, where the suite may break it. A log does
// not append by itself again what the line has lost for good, but it may try.
type Line interface {
	// LoseRequests has the next n requests that store commits not arrive: the connection
	// breaks.
	LoseRequests(n int)
	// LoseAnswers has the next n requests that store commits arrive and be carried out, and
	// the answer be lost: the connection breaks.
	LoseAnswers(n int)
	// Mute has no request that stores commits arrive, or none be answered, until it is called
	// without either. Connections stay.
	Mute(requests, answers bool)
	// Hold keeps requests that store commits from arriving, until the function that it gives
	// is called: then they arrive, whoever sent them has left or not.
	Hold() (release func())
	// Held is how many requests are kept.
	Held() int
	// Down breaks all connections and lets none be made, Up ends that.
	Down()
	Up()
}

// RunRemote holds a log that reaches its store over a network to what has to hold when
// that breaks. place makes a new, empty place; open gives a log there whose line it gives
// too.
func RunRemote(t *testing.T, place func(t *testing.T) (open func(t *testing.T) (eventlog.Log, Line))) {
	for _, c := range []struct {
		name string
		test func(*testing.T, func(t *testing.T) (eventlog.Log, Line))
	}{
		{"a request that is lost once is stored once", func(t *testing.T, open func(t *testing.T) (eventlog.Log, Line)) {
			testLostOnce(t, open, Line.LoseRequests)
		}},
		{"an answer that is lost once is no failure", func(t *testing.T, open func(t *testing.T) (eventlog.Log, Line)) {
			testLostOnce(t, open, Line.LoseAnswers)
		}},
		{"whatever is lost, the same commit again is right", testLostForGood},
		{"a store that goes away in a batch loses and doubles nothing", testAwayInABatch},
		{"a request that arrives late, after another was decided, is refused", testLate},
		{"a request that arrives late, before another is decided, counts", testLateFirst},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, place(t)) })
	}
}

// refusals are errors that say that a commit can't be stored.
func isConflict(err error) bool {
	var conflict *eventlog.ConflictError
	return errors.As(err, &conflict)
}

func isStored(err error) bool {
	var stored *eventlog.CauseStoredError
	return errors.As(err, &stored)
}

// drafts are commits of all shapes, one for each of n streams.
func shapes(b *Builder, n int) (commits []eventlog.Commit) {
	for i := range n {
		stream := eventlog.Stream(fmt.Sprint("session-", i))
		switch i % 3 {
		case 0:
			commits = append(commits, b.Commit(b.Cause(), Lifecycle(stream, `1`)))
		case 1:
			commits = append(commits, b.Commit(eventlog.Cause{}, Sample(stream, `1`)))
		case 2:
			commits = append(commits, b.Commit(b.Cause(), Closing(stream, `1`, `2`), Lifecycle(eventlog.Stream(fmt.Sprint("point-", i)), `1`)))
		}
	}
	return commits
}

func testLostOnce(t *testing.T, open func(t *testing.T) (eventlog.Log, Line), lose func(Line, int)) {
	log, line := open(t)
	b := NewBuilder("ev.supply.done")
	var stored []eventlog.Commit
	for _, commit := range shapes(b, 6) {
		lose(line, 1)
		// Whoever appends is told that it is stored, for that is what came of it.
		if err := log.Append(t.Context(), commit); err != nil {
			t.Errorf("%v, want nil", err)
		}
		stored = append(stored, commit)
	}
	Holds(t, log, b, stored)
}

func testLostForGood(t *testing.T, open func(t *testing.T) (eventlog.Log, Line)) {
	log, line := open(t)
	b := NewBuilder("ev.supply.done")
	var stored []eventlog.Commit
	const answers = 2 // the first lose their answers, the last its request
	for i, commit := range shapes(b, answers+1) {
		line.Mute(i >= answers, i < answers)
		// when nothing comes back, then it isn't known what came of it, or it was found out
		if err := log.Append(t.Context(), commit); isConflict(err) || isStored(err) || err == nil && i >= answers {
			t.Errorf("commit %d: %v, want the store's error", i, err)
		}
		line.Mute(false, false)
		// and the same again is stored, and stored once
		err := again(t, log, commit)
		switch {
		case i < answers && !commit.Cause.IsZero():
			wantStored(t, err, commit)
		case err != nil:
			t.Errorf("commit %d again: %v", i, err)
		}
		stored = append(stored, commit)
	}
	Holds(t, log, b, stored)
}

func testAwayInABatch(t *testing.T, open func(t *testing.T) (eventlog.Log, Line)) {
	log, line := open(t)
	b := NewBuilder("ev.supply.done")
	first := shapes(b, 30)
	for _, away := range []struct {
		name string
		lose func()
	}{
		{"before the store has it", func() { line.LoseRequests(2) }},
		{"after the store has it", func() { line.LoseAnswers(2) }},
	} {
		// given thirty who append at once, of whom three want what others have
		commits := shapes(b, 30)
		for i := range 3 {
			stale := b.Fork()
			stale.Follow(first[i].Parts[0].Stream, eventlog.Head{})
			commits = append(commits, stale.Commit(eventlog.Cause{}, Lifecycle(first[i].Parts[0].Stream, `"stale"`)))
		}
		if away.name == "before the store has it" {
			for _, commit := range first {
				if err := again(t, log, commit); err != nil {
					t.Fatal(err)
				}
			}
		}

		// when the store goes away meanwhile, and comes back
		away.lose()
		var cut sync.WaitGroup
		cut.Go(func() {
			line.Down()
			time.AfterFunc(300*time.Millisecond, line.Up)
		})
		errs := race(t.Context(), log, commits)
		cut.Wait()

		// then whoever was told that it is stored is right, and the others find out by trying
		// the same again
		for i, commit := range commits[:30] {
			if isConflict(errs[i]) {
				t.Errorf("%s: commit %d: %v", away.name, i, errs[i])
			}
			if err := again(t, log, commit); err != nil && !isStored(err) {
				t.Errorf("%s: commit %d again: %v", away.name, i, err)
			}
		}
		for i, commit := range commits[30:] {
			if err := again(t, log, commit); errs[30+i] == nil || !isConflict(err) {
				t.Errorf("%s: stale commit %d: %v, and again %v", away.name, i, errs[30+i], err)
			}
		}
	}
	if got := mustAll(t, log, 0); len(got) != 90 {
		t.Errorf("the log has %d commits, want 90", len(got))
	} else if err := chained(got); err != nil {
		t.Error(err)
	}
}

// again appends until the store answers.
func again(t *testing.T, log eventlog.Log, commit eventlog.Commit) error {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := log.Append(t.Context(), commit)
		if err == nil || isConflict(err) || isStored(err) || time.Now().After(deadline) {
			return err
		}
	}
}

// leave appends, and leaves once the request is on its way.
func leave(t *testing.T, log eventlog.Log, line Line, commit eventlog.Commit) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		poll(t, "the request is on its way", func() bool { return line.Held() > 0 })
		cancel()
	}()
	if err := log.Append(ctx, commit); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever left got %v", err)
	}
}

// poll waits until something is so.
func poll(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Errorf("waited for long: %s", what)
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
			return
		}
	}
}

func testLate(t *testing.T, open func(t *testing.T) (eventlog.Log, Line)) {
	log, line := open(t)
	elsewhere, _ := open(t)
	b := NewBuilder("ev.supply.done")
	begin := b.Commit(b.Cause(), Lifecycle(session, `1`))
	mustAppend(t, log, begin)
	cause := b.Cause()
	late := b.Fork().Commit(cause, Lifecycle(session, `"late"`))

	// given a commit that is on its way when its writer has left
	release := line.Hold()
	leave(t, log, line, late)

	// when others go on, and then it arrives
	one := b.Commit(b.Cause(), Lifecycle(session, `2`))
	two := b.Commit(b.Cause(), Closing(session, `3`))
	mustAppend(t, elsewhere, one, two)
	release()

	// then it is refused; its writer, too, learns that
	wantConflict(t, "late", again(t, log, late), eventlog.ConflictError{Stream: session, Expected: 1, Actual: 3})
	Holds(t, log, b, []eventlog.Commit{begin, one, two})
}

func testLateFirst(t *testing.T, open func(t *testing.T) (eventlog.Log, Line)) {
	log, line := open(t)
	elsewhere, _ := open(t)
	b := NewBuilder("ev.supply.done")
	begin := b.Commit(b.Cause(), Lifecycle(session, `1`))
	mustAppend(t, log, begin)
	fork := b.Fork()
	late := b.Commit(b.Cause(), Lifecycle(session, `"late"`))
	release := line.Hold()
	leave(t, log, line, late)

	// when others write elsewhere, which takes later positions, and then it arrives
	between := b.Commit(b.Cause(), Lifecycle(other, `1`))
	mustAppend(t, elsewhere, between)
	release()
	poll(t, "the late commit is stored", func() bool { return mustHead(t, elsewhere, session).Version == 2 })

	// then it counts for everybody, and what follows it comes after it
	wantConflict(t, "decided without it", elsewhere.Append(t.Context(), fork.Commit(eventlog.Cause{}, Lifecycle(session, `2`))),
		eventlog.ConflictError{Stream: session, Expected: 1, Actual: 2})
	wantStored(t, again(t, log, late), late)
	last := b.Commit(b.Cause(), Closing(session, `3`), Lifecycle(other, `2`))
	mustAppend(t, elsewhere, last)
	got := mustAll(t, log, 0)
	if err := chained(got); err != nil || len(got) != 4 {
		t.Errorf("%d commits: %v", len(got), err)
	}
	equalCommits(t, "read", mustRead(t, log, session, 0), []eventlog.Commit{begin, late, only(last, session)})
}
