package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
)

const (
	point   eventlog.Stream = "point-CP-001"
	session eventlog.Stream = "session-6f1f3c1e-52a9-5d0c-8e1b-3f3a4f0c9a11"
	other   eventlog.Stream = "session-b3b2c8aa-7b1e-5c57-9a53-0d4b7a0f2e22"
)

// Run holds a log to the contract of eventlog.Log. open gives a new, empty log, and
// closes it when the test ends. The log has to be an io.Closer.
func Run(t *testing.T, open func(t *testing.T) eventlog.Log) {
	run(t, open)
	t.Run("a random history agrees with the model", func(t *testing.T) {
		testModel(t, &history{log: open(t)})
	})
}

func run(t *testing.T, open func(t *testing.T) eventlog.Log) {
	for _, c := range []struct {
		name string
		test func(*testing.T, eventlog.Log)
	}{
		{"an empty log has nothing and says so without an error", testEmpty},
		{"what was appended is read as it was", testRoundTrip},
		{"a conflict names the stream and both versions", testConflict},
		{"a wrong hash before the part is a conflict", testForeignPrev},
		{"a cause that is stored is refused, and its commit handed back", testCauseStored},
		{"a cause counts before the versions", testCauseBeforeVersions},
		{"the same offset of a topic made again is another cause", testCauseDigest},
		{"twenty racers for a stream have one winner", testRacers},
		{"twenty racers with one cause have one winner", testCauseRacers},
		{"a commit of several parts is stored whole or not at all", testAtomic},
		{"racers that share one of two streams never store half", testAtomicRacers},
		{"who appends at once gets an answer of its own", testBatch},
		{"the same commit handed in by many at once is stored once", testSameAtOnce},
		{"each stream is in order of version", testOrder},
		{"a malformed commit is refused and stores nothing", testMalformed},
		{"a cancelled caller gets its context's error, and the log goes on", testCancelled},
		{"what goes in or out is a copy", testCopies},
		{"reading starts at the part that holds the version", testReadFrom},
		{"whoever reads may stop, append and read meanwhile", testReentrant},
		{"rehydration takes the lifecycle and the last sample", testRehydrate},
		{"rehydration does not grow with samples", testRehydrateCost},
		{"everything is read from a position on", testAllFrom},
		{"open streams are those without a closing part", testOpen},
		{"the same commit without a cause is stored once", testRetry},
		{"the same id with other content is a conflict", testRetryOther},
		{"a closed log says so", testClosed},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func testEmpty(t *testing.T, log eventlog.Log) {
	if head := mustHead(t, log, point); head != (eventlog.Head{}) {
		t.Errorf("head of an empty stream: %+v", head)
	}
	if got := mustRead(t, log, point, 0); len(got) != 0 {
		t.Errorf("read %d parts of an empty stream", len(got))
	}
	if got := mustRehydrate(t, log, point); len(got) != 0 {
		t.Errorf("rehydrated %d parts of an empty stream", len(got))
	}
	if got := mustAll(t, log, 0); len(got) != 0 {
		t.Errorf("read %d commits of an empty log", len(got))
	}
	if end := mustEnd(t, log); end != 0 {
		t.Errorf("an empty log ends at position %d", end)
	}
	if got := mustOpen(t, log); len(got) != 0 {
		t.Errorf("open streams of an empty log: %v", got)
	}
	for _, cause := range []eventlog.Cause{{}, NewBuilder("ev.health").Cause()} {
		if _, ok := mustByCause(t, log, cause); ok {
			t.Errorf("an empty log has a commit of cause %s", cause)
		}
	}
}

func testRoundTrip(t *testing.T, log eventlog.Log) {
	// given a commit of three parts with a cause, and one without
	b := NewBuilder("ev.supply.request")
	first := b.Commit(b.Cause(),
		Lifecycle(point, `{"type":"PointOccupied"}`, `{"type":"ä ☃ \u0000"}`),
		Lifecycle(session, `{"type":"SupplyAuthorized"}`),
		Closing(other, `{"type":"SupplyRefused"}`))
	second := b.Commit(eventlog.Cause{}, Sample(session, `{"type":"MeterValueRecorded"}`))

	// when they are appended
	mustAppend(t, log, first, second)

	// then every way of reading gives the same
	equalCommits(t, "read", mustRead(t, log, session, 0), []eventlog.Commit{only(first, session), only(second, session)})
	equalCommits(t, "rehydrated", mustRehydrate(t, log, point), []eventlog.Commit{only(first, point)})
	stored, ok := mustByCause(t, log, first.Cause)
	if !ok {
		t.Fatal("the cause is not found")
	}
	equalCommits(t, "by cause", []eventlog.Commit{stored}, []eventlog.Commit{first})
	equalCommits(t, "all", commits(mustAll(t, log, 0)), []eventlog.Commit{first, second})
	for _, stream := range []eventlog.Stream{point, session, other} {
		if got, want := mustHead(t, log, stream), b.Head(stream); got != want {
			t.Errorf("head of %s: %+v, want %+v", stream, got, want)
		}
	}
}

func testConflict(t *testing.T, log eventlog.Log) {
	// given a stream at version 3
	b := NewBuilder("ev.health")
	stale := b.Fork()
	mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(point, `1`, `2`, `3`)))
	ahead := b.Fork()
	ahead.Commit(eventlog.Cause{}, Lifecycle(point, `4`))

	// when somebody appends behind or ahead of its head, then the conflict has both versions
	for name, c := range map[string]struct {
		commit   eventlog.Commit
		expected eventlog.Version
	}{
		"behind":    {stale.Commit(b.Cause(), Lifecycle(point, `a`)), 0},
		"within":    {stale.Commit(b.Cause(), Lifecycle(point, `b`)), 1},
		"ahead":     {ahead.Commit(b.Cause(), Lifecycle(point, `c`)), 4},
		"no cause":  {ahead.Commit(eventlog.Cause{}, Lifecycle(point, `d`)), 5},
		"second of": {ahead.Commit(b.Cause(), Lifecycle(session, `e`), Lifecycle(point, `e`)), 6},
	} {
		wantConflict(t, name, log.Append(t.Context(), c.commit), eventlog.ConflictError{Stream: point, Expected: c.expected, Actual: 3})
	}
	if got := mustAll(t, log, 0); len(got) != 1 {
		t.Errorf("the log has %d commits, want 1", len(got))
	}

	// and who reloads may append
	mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(point, `4`)))
}

func testForeignPrev(t *testing.T, log eventlog.Log) {
	// given two histories of equal length, one of them stored
	b := NewBuilder("ev.health")
	foreign := b.Fork()
	mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(point, `"here"`)))
	foreign.Commit(eventlog.Cause{}, Lifecycle(point, `"elsewhere"`))

	// when the other is continued, then its hash gives it away
	err := log.Append(t.Context(), foreign.Commit(b.Cause(), Lifecycle(point, `"more"`)))
	wantConflict(t, "foreign", err, eventlog.ConflictError{Stream: point, Expected: 1, Actual: 1})
}

func testCauseStored(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.supply.done")
	first := b.Commit(b.Cause(), Lifecycle(point, `1`), Closing(session, `1`, `2`))
	mustAppend(t, log, first)

	// when the cause comes again with a commit that would fit, then it is refused with the whole first
	again := b.Commit(first.Cause, Lifecycle(point, `2`))
	wantStored(t, log.Append(t.Context(), again), first)

	// and the same commit gets the same answer
	wantStored(t, log.Append(t.Context(), first), first)
	if got := mustAll(t, log, 0); len(got) != 1 {
		t.Errorf("the log has %d commits, want 1", len(got))
	}
}

func testCauseBeforeVersions(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.supply.done")
	stale := b.Fork()
	first := b.Commit(b.Cause(), Lifecycle(point, `1`))
	mustAppend(t, log, first, b.Commit(b.Cause(), Lifecycle(point, `2`)))

	// when cause and version are both in the way, then the cause is the answer
	wantStored(t, log.Append(t.Context(), stale.Commit(first.Cause, Lifecycle(point, `other`))), first)
}

func testCauseDigest(t *testing.T, log eventlog.Log) {
	// given a cause at an offset
	b := NewBuilder("ev.control")
	first := b.Commit(b.Cause(), Lifecycle(point, `1`))
	mustAppend(t, log, first)

	// when a record with another digest, partition or topic comes with that offset, then it is a new cause
	causes := []eventlog.Cause{first.Cause, first.Cause, first.Cause}
	causes[0].Digest[7]++
	causes[1].Partition += 3
	causes[2].Topic = "ev.contro"
	stored := []eventlog.Commit{first}
	for _, cause := range causes {
		if _, ok := mustByCause(t, log, cause); ok {
			t.Errorf("%s is taken for %s", cause, first.Cause)
		}
		commit := b.Commit(cause, Lifecycle(point, `2`))
		mustAppend(t, log, commit)
		stored = append(stored, commit)
	}

	// and each is found by its own
	for _, commit := range stored {
		got, ok := mustByCause(t, log, commit.Cause)
		if !ok {
			t.Fatalf("%s is not found", commit.Cause)
		}
		equalCommits(t, commit.Cause.String(), []eventlog.Commit{got}, []eventlog.Commit{commit})
	}
}

const racers = 20

// race appends all commits at the same instant and gives their errors.
func race(ctx context.Context, log eventlog.Log, contenders []eventlog.Commit) []error {
	errs := make([]error, len(contenders))
	start := make(chan struct{})
	var all sync.WaitGroup
	for i, commit := range contenders {
		all.Go(func() {
			<-start
			errs[i] = log.Append(ctx, commit)
		})
	}
	close(start)
	all.Wait()
	return errs
}

func testRacers(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.supply.request")
	for round := range 10 {
		// given twenty who saw the same head
		contenders := make([]eventlog.Commit, racers)
		builders := make([]*Builder, racers)
		before := b.Head(point).Version
		for i := range contenders {
			cause := b.Cause()
			builders[i] = b.Fork()
			contenders[i] = builders[i].Commit(cause, Lifecycle(point, fmt.Sprintf(`"round %d racer %d"`, round, i)))
		}

		// when they append at once
		errs := race(t.Context(), log, contenders)

		// then one has won, and the others' conflicts say where the stream is now
		winner := -1
		for i, err := range errs {
			if err != nil {
				wantConflict(t, fmt.Sprint("racer ", i), err, eventlog.ConflictError{Stream: point, Expected: before, Actual: before + 1})
				continue
			}
			if winner >= 0 {
				t.Fatalf("round %d has two winners, %d and %d", round, winner, i)
			}
			winner = i
		}
		if winner < 0 {
			t.Fatalf("round %d has no winner", round)
		}
		equalCommits(t, "stored", mustRead(t, log, point, before+1), contenders[winner:winner+1])
		b = builders[winner]
	}
}

func testCauseRacers(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.supply.request")
	for round := range 5 {
		// given a record that was delivered twenty times, decided for a stream each
		cause := b.Cause()
		contenders := make([]eventlog.Commit, racers)
		for i := range contenders {
			contenders[i] = b.Commit(cause, Closing(eventlog.Stream(fmt.Sprintf("session-%d-%d", round, i)), `{}`))
		}

		// when all append at once, then one is stored and handed back to all others
		errs := race(t.Context(), log, contenders)
		winner := slices.Index(errs, nil)
		if winner < 0 {
			t.Fatalf("round %d has no winner: %v", round, errs)
		}
		for i, err := range errs {
			if i != winner {
				wantStored(t, err, contenders[winner])
			}
		}
		if got := mustAll(t, log, 0); len(got) != round+1 {
			t.Fatalf("after round %d the log has %d commits", round, len(got))
		}
	}
}

func testAtomic(t *testing.T, log eventlog.Log) {
	// given a commit whose last part conflicts
	b := NewBuilder("ev.supply.request")
	stale := b.Fork()
	mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(point, `1`)))
	commit := stale.Commit(b.Cause(), Lifecycle(session, `1`), Closing(other, `1`), Lifecycle(point, `1`))

	// when it is appended
	wantConflict(t, "half", log.Append(t.Context(), commit), eventlog.ConflictError{Stream: point, Expected: 0, Actual: 1})

	// then nothing of it is there, its cause neither
	for _, stream := range []eventlog.Stream{session, other} {
		if head := mustHead(t, log, stream); head != (eventlog.Head{}) {
			t.Errorf("%s has head %+v", stream, head)
		}
		if got := mustRead(t, log, stream, 0); len(got) != 0 {
			t.Errorf("%s has %d parts", stream, len(got))
		}
	}
	if _, ok := mustByCause(t, log, commit.Cause); ok {
		t.Error("the cause of a commit that was refused is stored")
	}
}

func testAtomicRacers(t *testing.T, log eventlog.Log) {
	// given twenty who each want a stream of their own and one that all want
	b := NewBuilder("ev.supply.request")
	contenders := make([]eventlog.Commit, racers)
	for i := range contenders {
		cause := b.Cause()
		contenders[i] = b.Fork().Commit(cause, Lifecycle(eventlog.Stream(fmt.Sprint("session-", i)), `{}`), Lifecycle(point, `{}`))
	}

	// when they append at once, then only the winner's own stream exists
	errs := race(t.Context(), log, contenders)
	winners := 0
	for i, err := range errs {
		head := mustHead(t, log, contenders[i].Parts[0].Stream)
		if err == nil {
			winners++
		}
		if (err == nil) != (head.Version == 1) {
			t.Errorf("racer %d got %v and its own stream is at version %d", i, err, head.Version)
		}
	}
	if winners != 1 {
		t.Errorf("%d winners", winners)
	}
}

func testBatch(t *testing.T, log eventlog.Log) {
	for round := range 3 {
		// given streams at version 2, and what was decided when they were at version 1
		b := NewBuilder(fmt.Sprint("topic-", round))
		const each = 12
		stream := func(kind string, i int) eventlog.Stream {
			return eventlog.Stream(fmt.Sprintf("session-%d-%s-%d", round, kind, i))
		}
		var before []eventlog.Commit
		for i := range each {
			before = append(before, b.Commit(b.Cause(), Lifecycle(stream("stale", i), `1`)))
		}
		stale := b.Fork()
		for i := range each {
			before = append(before, b.Commit(b.Cause(), Lifecycle(stream("stale", i), `2`), Lifecycle(stream("before", i), `1`)))
		}
		mustAppend(t, log, before...)

		// when many append at once what fits, what is stale, what has a cause that is stored, and
		// what is stored already
		type wish struct {
			commit eventlog.Commit
			check  func(i int, err error)
		}
		var wishes []wish
		fits := func(i int, err error) {
			if err != nil {
				t.Errorf("commit %d: %v", i, err)
			}
		}
		var new, racing []eventlog.Commit
		won := 0
		for i := range each {
			cause := b.Cause()
			fork := b.Fork()
			new = append(new,
				b.Commit(cause, Lifecycle(stream("new", i), `1`)),
				b.Commit(eventlog.Cause{}, Sample(stream("before", i), `2`)))
			wishes = append(wishes, wish{new[2*i], fits}, wish{new[2*i+1], fits},
				wish{stale.Commit(eventlog.Cause{}, Lifecycle(stream("stale", i), `"stale"`), Lifecycle(stream("with stale", i), `1`)), func(i int, err error) {
					wantConflict(t, fmt.Sprint("commit ", i), err, eventlog.ConflictError{Stream: stream("stale", i/5), Expected: 1, Actual: 2})
				}},
				wish{fork.Commit(before[i].Cause, Lifecycle(stream("with cause", i), `1`)), func(i int, err error) {
					wantStored(t, err, before[i/5])
				}},
				wish{fork.Commit(eventlog.Cause{}, Lifecycle(stream("raced", i/4), fmt.Sprint(i))), func(i int, err error) {
					if err == nil {
						won++
						racing = append(racing, wishes[i].commit)
						return
					}
					wantConflict(t, fmt.Sprint("commit ", i), err, eventlog.ConflictError{Stream: stream("raced", i/5/4), Expected: 0, Actual: 1})
				}})
		}
		all := make([]eventlog.Commit, len(wishes))
		for i, w := range wishes {
			all[i] = w.commit
		}
		errs := race(t.Context(), log, all)

		// then each learns what became of its own
		for i, w := range wishes {
			w.check(i, errs[i])
		}
		if won != each/4 {
			t.Errorf("%d have won %d races", won, each/4)
		}
		for _, stored := range [][]eventlog.Commit{new, racing} {
			for _, c := range stored {
				for _, p := range c.Parts {
					if head := mustHead(t, log, p.Stream); head.Version != p.Last() || head.Hash != p.Hash {
						t.Errorf("%s is at %+v, want version %d", p.Stream, head, p.Last())
					}
				}
			}
		}
		for i := range each {
			for _, kind := range []string{"with stale", "with cause"} {
				if head := mustHead(t, log, stream(kind, i)); head.Version != 0 {
					t.Errorf("half of a commit that was refused is stored: %s", stream(kind, i))
				}
			}
		}
		if got := mustAll(t, log, 0); len(got) != (round+1)*(2*each+2*each+each/4) {
			t.Errorf("the log has %d commits", len(got))
		}
	}
}

func testSameAtOnce(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.supply.done")
	for round, cause := range []eventlog.Cause{{}, b.Cause()} {
		commit := b.Commit(cause, Lifecycle(session, `1`), Lifecycle(point, `1`))
		copies := make([]eventlog.Commit, racers)
		for i := range copies {
			copies[i] = clone(commit)
		}
		stored := 0
		for _, err := range race(t.Context(), log, copies) {
			switch {
			case err == nil:
				stored++
			case cause.IsZero():
				t.Errorf("%v, want nil: it is stored", err)
			default:
				wantStored(t, err, commit)
			}
		}
		if stored == 0 || !cause.IsZero() && stored != 1 {
			t.Errorf("%d were told that it is stored", stored)
		}
		if got := mustAll(t, log, 0); len(got) != round+1 {
			t.Errorf("the log has %d commits, want %d", len(got), round+1)
		}
	}
}

func testOrder(t *testing.T, log eventlog.Log) {
	// given some who append to streams of their own, side by side
	const writers, each = 8, 25
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			b := NewBuilder(fmt.Sprint("topic-", w))
			for i := range each {
				stream := eventlog.Stream(fmt.Sprintf("point-%d-%d", w, i%2))
				if err := log.Append(t.Context(), b.Commit(b.Cause(), Lifecycle(stream, `1`, `2`))); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				// a caller sees what it appended
				if head, err := log.Head(t.Context(), stream); err != nil || head != b.Head(stream) {
					t.Errorf("writer %d: head %+v, %v, want %+v", w, head, err, b.Head(stream))
				}
			}
		})
	}
	all.Wait()

	// when everything is read, then positions ascend and each stream's versions follow one another
	got := mustAll(t, log, 0)
	if err := chained(got); err != nil || len(got) != writers*each {
		t.Errorf("%d commits, want %d: %v", len(got), writers*each, err)
	}
}

func testMalformed(t *testing.T, log eventlog.Log) {
	for name, spoil := range map[string]func(*eventlog.Commit){
		"no id":           func(c *eventlog.Commit) { c.ID = uuid.Nil },
		"no parts":        func(c *eventlog.Commit) { c.Parts = nil },
		"a stream twice":  func(c *eventlog.Commit) { c.Parts = append(c.Parts, c.Parts[0]) },
		"too many parts":  func(c *eventlog.Commit) { c.Parts = make([]eventlog.Part, eventlog.MaxParts+1) },
		"no stream":       func(c *eventlog.Commit) { c.Parts[0].Stream = "" },
		"no version":      func(c *eventlog.Commit) { c.Parts[0].Version = 0 },
		"no events":       func(c *eventlog.Commit) { c.Parts[0].Events = 0 },
		"too many events": func(c *eventlog.Commit) { c.Parts[0].Events = eventlog.MaxEvents + 1 },
		"no body":         func(c *eventlog.Commit) { c.Parts[0].Body = nil },
		"no kind":         func(c *eventlog.Commit) { c.Parts[0].Kind = 0 },
		"an unknown kind": func(c *eventlog.Commit) { c.Parts[0].Kind = eventlog.Closing + 1 },
		"another hash":    func(c *eventlog.Commit) { c.Parts[0].Hash[0]++ },
		"another body":    func(c *eventlog.Commit) { c.Parts[0].Body[0]++ },
		"a long stream":   func(c *eventlog.Commit) { c.Parts[0].Stream = eventlog.Stream(make([]byte, eventlog.MaxName+1)) },
		"a stream that is no text": func(c *eventlog.Commit) {
			c.Parts[0].Stream = "session-\xff"
			c.Parts[0].Hash = c.Parts[0].Sum()
		},
		"a topic that is no text": func(c *eventlog.Commit) { c.Cause.Topic = "ev.\xff" },
		"a version without end": func(c *eventlog.Commit) {
			c.Parts[0].Version = eventlog.MaxVersion + 1
			c.Parts[0].Hash = c.Parts[0].Sum()
		},
		"a long topic":     func(c *eventlog.Commit) { c.Cause.Topic = string(make([]byte, eventlog.MaxName+1)) },
		"an enormous body": func(c *eventlog.Commit) { c.Parts[0].Body = make([]byte, eventlog.MaxBodies+1) },
	} {
		b := NewBuilder("ev.health")
		commit := b.Commit(b.Cause(), Lifecycle(point, `{}`))
		spoil(&commit)
		if err := log.Append(t.Context(), commit); !errors.Is(err, eventlog.ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if got := mustAll(t, log, 0); len(got) != 0 {
		t.Errorf("the log has %d commits", len(got))
	}
	// what is as large as a log takes is taken
	b := NewBuilder("ev.health")
	large := b.Commit(b.Cause(), Draft{Stream: point, Kind: eventlog.Lifecycle, Events: eventlog.MaxEvents, Body: string(make([]byte, eventlog.MaxBodies))})
	mustAppend(t, log, large)
	equalCommits(t, "large", mustRead(t, log, point, 1), []eventlog.Commit{large})
}

func testCancelled(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.health")
	mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(point, `1`)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	// when a cancelled caller asks for anything, then it gets its own error
	commit := b.Commit(b.Cause(), Lifecycle(point, `2`))
	_, headErr := log.Head(ctx, point)
	_, rehydrateErr := log.Rehydrate(ctx, point)
	_, _, causeErr := log.ByCause(ctx, commit.Cause)
	_, openErr := log.Open(ctx)
	_, endErr := log.End(ctx)
	_, readErr := read(ctx, log, point, 0)
	_, allErr := all(ctx, log, 0)
	for name, err := range map[string]error{
		"Append": log.Append(ctx, commit), "Head": headErr, "Rehydrate": rehydrateErr,
		"ByCause": causeErr, "Open": openErr, "End": endErr, "Read": readErr, "All": allErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}

	// and a cancelled reader stops
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	mustAppend(t, log, commit)
	var errs []error
	for _, err := range log.Read(ctx, point, 0) {
		errs = append(errs, err)
		cancel()
	}
	if len(errs) == 0 || errs[0] != nil || (len(errs) > 1 && !errors.Is(errs[len(errs)-1], context.Canceled)) {
		t.Errorf("a cancelled reader got %v", errs)
	}
}

func testCopies(t *testing.T, log eventlog.Log) {
	// given a commit, and another like it to compare
	b := NewBuilder("ev.health")
	commit := b.Commit(b.Cause(), Lifecycle(point, `{"a":1}`), Sample(session, `{"b":2}`))
	want := clone(commit)
	mustAppend(t, log, commit)

	// when whoever handed it in, or whoever got it, writes to it
	spoil := func(c eventlog.Commit) {
		for i := range c.Parts {
			clear(c.Parts[i].Body)
			_ = append(c.Parts[i].Body, "behind"...)
			c.Parts[i] = eventlog.Part{}
		}
	}
	spoil(commit)
	spoil(mustRead(t, log, point, 0)[0])
	spoil(mustRehydrate(t, log, point)[0])
	spoil(mustAll(t, log, 0)[0].Commit)
	stored, _ := mustByCause(t, log, want.Cause)
	spoil(stored)
	var seen *eventlog.CauseStoredError
	if err := log.Append(t.Context(), want); !errors.As(err, &seen) {
		t.Fatalf("%v, want CauseStoredError", err)
	}
	spoil(seen.Stored)

	// then nobody else sees it
	equalCommits(t, "read", mustRead(t, log, point, 0), []eventlog.Commit{only(want, point)})
	equalCommits(t, "rehydrated", mustRehydrate(t, log, session), []eventlog.Commit{only(want, session)})
	equalCommits(t, "all", commits(mustAll(t, log, 0)), []eventlog.Commit{want})
	wantStored(t, log.Append(t.Context(), want), want)
}

func testReadFrom(t *testing.T, log eventlog.Log) {
	// given parts of versions 1-2, 3, 4-6
	b := NewBuilder("ev.health")
	stored := []eventlog.Commit{
		b.Commit(b.Cause(), Lifecycle(point, `1`, `2`), Lifecycle(session, `1`)),
		b.Commit(b.Cause(), Sample(point, `3`)),
		b.Commit(b.Cause(), Lifecycle(point, `4`, `5`, `6`)),
	}
	mustAppend(t, log, stored...)
	for i := range stored {
		stored[i] = only(stored[i], point)
	}

	for from, want := range [][]eventlog.Commit{stored, stored, stored, stored[1:], stored[2:], stored[2:], stored[2:], nil, nil} {
		equalCommits(t, fmt.Sprint("from ", from), mustRead(t, log, point, eventlog.Version(from)), want)
	}
}

func testReentrant(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.health")
	mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(point, `1`)), b.Commit(b.Cause(), Lifecycle(point, `2`)))

	// when a reader appends, reads and stops early
	for _, err := range log.All(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(point, `3`)))
		if got := mustRead(t, log, point, 0); len(got) != 3 {
			t.Errorf("read %d parts", len(got))
		}
		break
	}
	for _, err := range log.Read(t.Context(), point, 0) {
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(point, `4`)))
		break
	}
	// then nothing waits for anything
	if got := mustAll(t, log, 0); len(got) != 4 {
		t.Errorf("the log has %d commits, want 4", len(got))
	}
}

func testRehydrate(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.supply.telemetry")
	var lifecycle []eventlog.Commit
	appended := func(drafts ...Draft) eventlog.Commit {
		commit := b.Commit(eventlog.Cause{}, drafts...)
		mustAppend(t, log, commit)
		return only(commit, session)
	}
	check := func(when string, want ...eventlog.Commit) {
		t.Helper()
		equalCommits(t, when, mustRehydrate(t, log, session), want)
	}

	// samples before any lifecycle: the last one
	appended(Sample(session, `0`))
	check("a sample alone", appended(Sample(session, `1`)))
	// lifecycle after samples: the last sample stays
	sample := appended(Sample(session, `1.5`))
	lifecycle = append(lifecycle, appended(Lifecycle(session, `2`), Lifecycle(point, `1`)))
	check("lifecycle after a sample", append([]eventlog.Commit{sample}, lifecycle...)...)
	// samples after it: the last one
	appended(Sample(session, `3`))
	appended(Sample(session, `4`), Sample(other, `1`))
	sample = appended(Sample(session, `5`, `6`))
	lifecycle = append(lifecycle, sample)
	check("a last sample", lifecycle...)
	// and again
	lifecycle = append(lifecycle, appended(Lifecycle(session, `7`)))
	check("more lifecycle", lifecycle...)
	lifecycle = slices.Delete(lifecycle, 1, 2)
	last := appended(Sample(session, `8`))
	lifecycle = append(lifecycle, last)
	check("more samples", lifecycle...)
	// closed, and after
	lifecycle = append(lifecycle, appended(Closing(session, `9`)))
	lifecycle = append(lifecycle, appended(Closing(session, `10`)))
	check("closed", lifecycle...)
}

func testRehydrateCost(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.supply.telemetry")
	mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(session, `"authorized"`)), b.Commit(b.Cause(), Lifecycle(session, `"started"`)))
	samples := func(n int) (allocations float64) {
		for range n {
			mustAppend(t, log, b.Commit(eventlog.Cause{}, Sample(session, `{"energy":1}`)))
		}
		if got := mustRehydrate(t, log, session); len(got) != 3 {
			t.Fatalf("rehydrated %d parts, want 3", len(got))
		}
		return testing.AllocsPerRun(20, func() { mustRehydrate(t, log, session) })
	}
	few := samples(10)
	many := samples(1000)
	if many > few*2+16 {
		t.Errorf("rehydration takes %v allocations after 10 samples and %v after 1010", few, many)
	}
}

func testAllFrom(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.health")
	for range 10 {
		mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(point, `{}`), Lifecycle(session, `{}`)))
	}
	everything := mustAll(t, log, 0)
	if len(everything) != 10 || everything[0].Position == 0 {
		t.Fatalf("%d commits, the first at position %d", len(everything), everything[0].Position)
	}
	for i, c := range everything {
		equalCommits(t, "from its position", commits(mustAll(t, log, c.Position)), commits(everything[i:]))
	}
	if end := mustEnd(t, log); end != everything[9].Position {
		t.Errorf("the log ends at position %d, its last commit is at %d", end, everything[9].Position)
	}
	if got := mustAll(t, log, everything[9].Position+1); len(got) != 0 {
		t.Errorf("%d commits after the last", len(got))
	}
}

func testOpen(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.supply.done")
	for _, step := range []struct {
		drafts []Draft
		open   []eventlog.Stream
	}{
		{[]Draft{Lifecycle(point, `1`), Lifecycle(session, `1`)}, []eventlog.Stream{point, session}},
		{[]Draft{Closing(other, `1`)}, []eventlog.Stream{point, session}},
		{[]Draft{Sample(session, `2`)}, []eventlog.Stream{point, session}},
		{[]Draft{Closing(session, `3`), Lifecycle(point, `2`)}, []eventlog.Stream{point}},
		{[]Draft{Sample(session, `4`)}, []eventlog.Stream{point}},
		{[]Draft{Sample("session-sampled", `1`)}, []eventlog.Stream{point, "session-sampled"}},
		{[]Draft{Lifecycle(session, `5`)}, []eventlog.Stream{point, session, "session-sampled"}},
	} {
		mustAppend(t, log, b.Commit(b.Cause(), step.drafts...))
		got := mustOpen(t, log)
		slices.Sort(got)
		if !slices.Equal(got, step.open) {
			t.Errorf("after %v: open %v, want %v", step.drafts, got, step.open)
		}
	}
}

func testRetry(t *testing.T, log eventlog.Log) {
	// given a commit without a cause
	b := NewBuilder("ev.supply.telemetry")
	mustAppend(t, log, b.Commit(b.Cause(), Lifecycle(session, `1`)))
	commit := b.Commit(eventlog.Cause{}, Sample(session, `2`), Lifecycle(point, `1`))
	mustAppend(t, log, commit)

	// when its caller tries it again, at once and after others, then it is told that it is stored
	mustAppend(t, log, commit)
	mustAppend(t, log, b.Commit(b.Cause(), Closing(session, `3`, `4`)), b.Commit(eventlog.Cause{}, Lifecycle(point, `2`)))
	mustAppend(t, log, commit)

	// and it is stored once
	if got := mustAll(t, log, 0); len(got) != 4 {
		t.Errorf("the log has %d commits, want 4", len(got))
	}
	if got := mustHead(t, log, session).Version; got != 4 {
		t.Errorf("the stream is at version %d, want 4", got)
	}
}

func testRetryOther(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.supply.telemetry")
	fork := b.Fork()
	commit := b.Commit(eventlog.Cause{}, Sample(session, `1`))
	mustAppend(t, log, commit)
	differs := fork.Fork().Commit(eventlog.Cause{}, Sample(session, `2`))
	differs.ID = commit.ID
	more := fork.Commit(eventlog.Cause{}, Sample(session, `1`), Sample(other, `1`))
	more.ID = commit.ID
	for name, c := range map[string]eventlog.Commit{"another body": differs, "another part": more} {
		wantConflict(t, name, log.Append(t.Context(), c), eventlog.ConflictError{Stream: session, Expected: 0, Actual: 1})
	}
	if head := mustHead(t, log, other); head.Version != 0 {
		t.Errorf("half of a commit is stored")
	}
}

func testClosed(t *testing.T, log eventlog.Log) {
	b := NewBuilder("ev.health")
	commit := b.Commit(b.Cause(), Lifecycle(point, `1`))
	mustAppend(t, log, commit)
	closer, ok := log.(io.Closer)
	if !ok {
		t.Fatalf("%T can't be closed", log)
	}
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	_, headErr := log.Head(t.Context(), point)
	_, rehydrateErr := log.Rehydrate(t.Context(), point)
	_, _, causeErr := log.ByCause(t.Context(), commit.Cause)
	_, openErr := log.Open(t.Context())
	_, endErr := log.End(t.Context())
	_, readErr := read(t.Context(), log, point, 0)
	_, allErr := all(t.Context(), log, 0)
	for name, err := range map[string]error{
		"Append": log.Append(t.Context(), b.Commit(b.Cause(), Lifecycle(point, `2`))),
		"Head":   headErr, "Rehydrate": rehydrateErr, "ByCause": causeErr, "Open": openErr, "End": endErr, "Read": readErr, "All": allErr,
	} {
		if !errors.Is(err, eventlog.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
	if err := closer.Close(); err != nil {
		t.Errorf("closing a closed log: %v", err)
	}
}
