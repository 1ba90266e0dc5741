package eventlogtest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"

	"evcharging/application/eventlog"
)

// Archive moves samples out of a log, while nobody has opened it, and gives how many commits
// went.
type Archive func(t *testing.T, moved map[eventlog.Stream]eventlog.Moved) (removed int)

// RunArchive holds a log whose samples can be moved to an archive to what it says then. place
// makes a new, empty place, opens the log there and moves what is in it.
func RunArchive(t *testing.T, place func(t *testing.T) (Open, Archive)) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Open, Archive)
	}{
		{"it tells all but the samples", testArchived},
		{"from wherever it is read, what is left is there", testArchivedFrom},
		{"it is archived little by little, and once", testArchivedAgain},
		{"it goes on", testArchivedContinues},
	} {
		t.Run(c.name, func(t *testing.T) {
			open, archive := place(t)
			c.test(t, open, archive)
		})
	}
}

// Sessions are three that ran side by side: of session-0 and session-1, which are closed,
// all samples but the last can be moved, 13 events each; and a sample of session-1 has a cause.
type Sessions struct {
	*Builder
	Commits []eventlog.Commit
	Moved   map[eventlog.Stream]eventlog.Moved
}

// NewSessions makes them.
func NewSessions() *Sessions {
	s := &Sessions{Builder: NewBuilder("ev.supply.done"), Moved: map[eventlog.Stream]eventlog.Moved{}}
	session := func(i int) eventlog.Stream { return eventlog.Stream(fmt.Sprint("session-", i)) }
	point := func(i int) eventlog.Stream { return eventlog.Stream(fmt.Sprint("point-", i)) }
	add := func(cause eventlog.Cause, drafts ...Draft) { s.Commits = append(s.Commits, s.Commit(cause, drafts...)) }
	samples := func(n int) {
		for range n {
			for i := range 3 {
				add(eventlog.Cause{}, Sample(session(i), `"sampled"`))
			}
		}
	}
	for i := range 3 {
		add(s.Cause(), Lifecycle(point(i), `"occupied"`), Lifecycle(session(i), `"authorized"`))
	}
	samples(9)
	add(s.Cause(), Lifecycle(session(1), `"ending"`))
	add(s.Cause(), Sample(session(1), `"sampled, with a cause"`))
	samples(5)
	for i := range 2 {
		s.Moved[session(i)] = eventlog.Moved{Before: s.Head(session(i)).Version, Archive: "2026-08.jsonl.gz"}
		add(s.Cause(), Lifecycle(point(i), `"released"`), Closing(session(i), `"ticket"`))
	}
	return s
}

// Removable tells whether a commit is moved.
func (s *Sessions) Removable(c eventlog.Commit) bool {
	p := c.Parts[0]
	return len(c.Parts) == 1 && p.Kind == eventlog.Sample && c.Cause.IsZero() && p.Last() < s.Moved[p.Stream].Before
}

// Store appends them to a log, and closes it.
func (s *Sessions) Store(t *testing.T, open Open) {
	t.Helper()
	log := open(t)
	mustAppend(t, log, s.Commits...)
	shut(t, log)
}

func shut(t *testing.T, log eventlog.Log) {
	t.Helper()
	if err := log.(io.Closer).Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// Told is what a log tells of them but for the samples that can be moved.
func (s *Sessions) Told(t *testing.T, log eventlog.Log) (told []any) {
	t.Helper()
	for _, c := range s.Commits {
		for _, p := range c.Parts {
			told = append(told, mustHead(t, log, p.Stream), mustRehydrate(t, log, p.Stream))
		}
		if !c.Cause.IsZero() {
			made, _ := mustByCause(t, log, c.Cause)
			told = append(told, made)
		}
	}
	open := mustOpen(t, log)
	slices.Sort(open)
	return append(told, open, mustEnd(t, log))
}

// Left are the commits of a log from a position on, and what it says is in an archive, by
// stream and version. Any other damage ends the test.
func Left(t *testing.T, log eventlog.Log, from eventlog.Position) (left []eventlog.Positioned, archived []eventlog.ArchivedError) {
	t.Helper()
	for next := from; next != 0; {
		at := next
		next = 0
		for c, err := range log.All(t.Context(), at) {
			var damage *eventlog.DamagedError
			var a *eventlog.ArchivedError
			switch {
			case errors.As(err, &damage) && errors.As(err, &a) && damage.Stream == a.Stream && damage.Position >= at:
				archived = append(archived, *a)
				next = damage.Position + 1
			case err != nil:
				t.Fatal(err)
			default:
				left = append(left, c)
			}
		}
	}
	slices.SortFunc(archived, func(a, b eventlog.ArchivedError) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.From, b.From))
	})
	return left, archived
}

// WantLeft asks that a log has all that can't be moved, each commit once and in its place, and of the rest nothing
// where all of it was moved.
func (s *Sessions) WantLeft(t *testing.T, log eventlog.Log, all bool) {
	t.Helper()
	left, _ := Left(t, log, 1)
	i := 0
	for n, c := range s.Commits {
		switch there := i < len(left) && left[i].ID == c.ID; {
		case there && all && s.Removable(c):
			t.Errorf("commit %d is left", n)
			i++
		case there && left[i].Position != eventlog.Position(n+1):
			t.Errorf("commit %d is at position %d", n, left[i].Position)
			i++
		case there:
			i++
		case !s.Removable(c):
			t.Errorf("commit %d is lost", n)
		}
	}
	if i < len(left) {
		t.Errorf("it has %d commits that are not in its order", len(left)-i)
	}
}

// archived stores sessions, and moves what can be moved.
func archived(t *testing.T, open Open, archive Archive) *Sessions {
	t.Helper()
	s := NewSessions()
	s.Store(t, open)
	if removed := archive(t, s.Moved); removed != 2*13 {
		t.Fatalf("%d commits are removed", removed)
	}
	return s
}

func testArchived(t *testing.T, open Open, archive Archive) {
	s := NewSessions()
	s.Store(t, open)
	log := open(t)
	before := s.Told(t, log)
	shut(t, log)
	if removed := archive(t, s.Moved); removed != 2*13 {
		t.Fatalf("%d commits are removed", removed)
	}
	log = open(t)
	same := func(when string) {
		t.Helper()
		if after := s.Told(t, log); !reflect.DeepEqual(after, before) {
			t.Errorf("%s it tells\n%+v\nand told\n%+v", when, after, before)
		}
	}
	same("at first")
	s.WantLeft(t, log, true)

	// What is in the archive is said by stream and version: its events are those that are gone.
	_, gone := Left(t, log, 1)
	events := map[eventlog.Stream]int{}
	for _, a := range gone {
		events[a.Stream] += int(a.To - a.From + 1)
		if a.Archive != "2026-08.jsonl.gz" {
			t.Errorf("%+v", a)
		}
	}
	if want := map[eventlog.Stream]int{"session-0": 13, "session-1": 13}; !reflect.DeepEqual(events, want) {
		t.Errorf("archived are %v, and should be %v", events, want)
	}

	// Who reads into it is told, who does not is not.
	var a *eventlog.ArchivedError
	if got, err := read(t.Context(), log, "session-0", 1); len(got) > 1 || !errors.Is(err, eventlog.ErrDamaged) || !errors.As(err, &a) || a.Stream != "session-0" || a.From != 2 {
		t.Errorf("it reads %d parts of a session, and %v", len(got), err)
	}
	if end := mustRead(t, log, "session-0", s.Head("session-0").Version-1); len(end) != 2 {
		t.Errorf("it reads %d parts of a session's end", len(end))
	}
	if other := mustRead(t, log, "session-2", 1); len(other) != 15 {
		t.Errorf("it reads %d parts of a session that is not concerned", len(other))
	}
	same("then")
}

func testArchivedFrom(t *testing.T, open Open, archive Archive) {
	s := archived(t, open, archive)
	log := open(t)
	whole, _ := Left(t, log, 1)
	for from := range s.Commits {
		at := eventlog.Position(from + 1)
		want := slices.DeleteFunc(slices.Clone(whole), func(c eventlog.Positioned) bool { return c.Position < at })
		if part, _ := Left(t, log, at); !reflect.DeepEqual(part, want) && len(part)+len(want) > 0 {
			t.Fatalf("from %d on there are\n%+v\nof\n%+v", at, part, want)
		}
	}
}

func testArchivedAgain(t *testing.T, open Open, archive Archive) {
	s := NewSessions()
	s.Store(t, open)
	first := archive(t, map[eventlog.Stream]eventlog.Moved{"session-1": s.Moved["session-1"]})
	second, third := archive(t, s.Moved), archive(t, s.Moved)
	if first != 13 || second != 13 || third != 0 {
		t.Errorf("%d, %d and %d commits are removed", first, second, third)
	}
	s.WantLeft(t, open(t), true)
}

func testArchivedContinues(t *testing.T, open Open, archive Archive) {
	s := archived(t, open, archive)
	log := open(t)
	late := s.Commit(s.Cause(), Closing("session-0", `"revised"`))
	mustAppend(t, log, late)
	var stored *eventlog.CauseStoredError
	if err := log.Append(t.Context(), s.Commits[0]); !errors.As(err, &stored) {
		t.Errorf("what is there is answered with %v", err)
	}
	shut(t, log)
	log = open(t)
	s.Commits = append(s.Commits, late)
	s.WantLeft(t, log, true)
}
