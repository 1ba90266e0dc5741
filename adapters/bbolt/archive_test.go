package bbolt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// sampled is a log in a folder of three sessions that ran side by side: of session-0 and
// session-1, which are closed, all samples but the last can be moved.
func sampled(t *testing.T, o Options) (dir string, b *eventlogtest.Builder, commits []eventlog.Commit, moved map[eventlog.Stream]eventlog.Moved) {
	t.Helper()
	b = eventlogtest.NewBuilder("ev.supply.done")
	session := func(i int) eventlog.Stream { return eventlog.Stream(fmt.Sprint("session-", i)) }
	point := func(i int) eventlog.Stream { return eventlog.Stream(fmt.Sprint("point-", i)) }
	for i := range 3 {
		commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle(point(i), `"occupied"`), eventlogtest.Lifecycle(session(i), `"authorized"`)))
	}
	samples := func(n int) {
		for range n {
			for i := range 3 {
				commits = append(commits, b.Commit(eventlog.Cause{}, eventlogtest.Sample(session(i), `"sampled"`)))
			}
		}
	}
	samples(9)
	commits = append(commits,
		b.Commit(b.Cause(), eventlogtest.Lifecycle(session(1), `"ending"`)),
		b.Commit(b.Cause(), eventlogtest.Sample(session(1), `"sampled, with a cause"`)))
	samples(5)
	moved = map[eventlog.Stream]eventlog.Moved{}
	for i := range 2 {
		moved[session(i)] = eventlog.Moved{Before: b.Head(session(i)).Version, Archive: "2026-08.jsonl.gz"}
		commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle(point(i), `"released"`), eventlogtest.Closing(session(i), `"ticket"`)))
	}
	dir = filepath.Join(t.TempDir(), "log")
	log, err := Open(dir, quiet(o))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commits {
		if err := log.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, log)
	return dir, b, commits, moved
}

// told is what a log tells but for the samples of sessions that are in the archive.
type told struct {
	heads      map[eventlog.Stream]eventlog.Head
	rehydrated map[eventlog.Stream][]eventlog.Commit
	causes     map[eventlog.Cause]eventlog.Commit
	open       []eventlog.Stream
	end        eventlog.Position
}

func tell(t *testing.T, log *Log, commits []eventlog.Commit) told {
	t.Helper()
	ctx := t.Context()
	all := told{map[eventlog.Stream]eventlog.Head{}, map[eventlog.Stream][]eventlog.Commit{}, map[eventlog.Cause]eventlog.Commit{}, nil, 0}
	var errs []error
	check := func(err error) { errs = append(errs, err) }
	for _, c := range commits {
		for _, p := range c.Parts {
			head, err := log.Head(ctx, p.Stream)
			check(err)
			alive, err := log.Rehydrate(ctx, p.Stream)
			check(err)
			all.heads[p.Stream], all.rehydrated[p.Stream] = head, alive
		}
		if !c.Cause.IsZero() {
			made, _, err := log.ByCause(ctx, c.Cause)
			check(err)
			all.causes[c.Cause] = made
		}
	}
	var err error
	all.open, err = log.Open(ctx)
	check(err)
	slices.Sort(all.open)
	all.end, err = log.End(ctx)
	check(err)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return all
}

// passed are the commits of a log by their position, and what it says is in an archive.
func passed(t *testing.T, log *Log, from eventlog.Position) (found map[eventlog.Position]eventlog.Commit, archived []eventlog.ArchivedError) {
	t.Helper()
	found = map[eventlog.Position]eventlog.Commit{}
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
				found[c.Position] = c.Commit
			}
		}
	}
	return found, archived
}

// removable are the positions of what is moved.
func removable(commits []eventlog.Commit, moved map[eventlog.Stream]eventlog.Moved) (positions []eventlog.Position) {
	for i, c := range commits {
		if p := c.Parts[0]; len(c.Parts) == 1 && p.Kind == eventlog.Sample && c.Cause.IsZero() && p.Last() < moved[p.Stream].Before {
			positions = append(positions, eventlog.Position(i+1))
		}
	}
	return positions
}

func TestAnArchivedLogTellsAllButTheSamples(t *testing.T) {
	for name, o := range map[string]Options{"one segment": {}, "many segments": small, "some segments": {segmentSize: 7000}} {
		t.Run(name, func(t *testing.T) {
			dir, b, commits, moved := sampled(t, o)
			log, err := Open(dir, quiet(o))
			if err != nil {
				t.Fatal(err)
			}
			before := tell(t, log, commits)
			if _, err := Archive(t.Context(), dir, quiet(o), moved); !errors.Is(err, ErrInUse) {
				t.Errorf("beside a program that has the log it says %v", err)
			}
			shut(t, log)

			gone := removable(commits, moved)
			if removed, err := Archive(t.Context(), dir, quiet(o), moved); err != nil || removed != len(gone) || removed != 26 {
				t.Fatalf("%d of %d commits are removed, %v", removed, len(gone), err)
			}
			log = open(t, dir, o)
			if after := tell(t, log, commits); !reflect.DeepEqual(after, before) {
				t.Errorf("it tells\n%+v\nand told\n%+v", after, before)
			}
			whole, archived := passed(t, log, 1)
			for i, c := range commits {
				at := eventlog.Position(i + 1)
				if got, there := whole[at]; there == slices.Contains(gone, at) || there && got.ID != c.ID {
					t.Errorf("position %d is there: %t", at, there)
				}
			}
			for from := range commits { // from wherever it is read
				part, _ := passed(t, log, eventlog.Position(from+1))
				for at := range whole {
					if _, there := part[at]; there != (int(at) > from) {
						t.Fatalf("from %d on, position %d is there: %t", from+1, at, there)
					}
				}
			}
			events := map[eventlog.Stream]int{}
			for _, a := range archived {
				events[a.Stream] += int(a.To - a.From + 1)
				if a.Archive != "2026-08.jsonl.gz" {
					t.Errorf("%+v", a)
				}
			}
			if events["session-0"] != 13 || events["session-1"] != 13 || len(events) != 2 {
				t.Errorf("archived are %v", events)
			}
			var a *eventlog.ArchivedError
			for _, err := range log.Read(t.Context(), "session-0", 1) {
				errors.As(err, &a)
			}
			if a == nil || a.Stream != "session-0" || a.From != 2 {
				t.Errorf("a session is read with %v", a)
			}
			parts := 0
			for _, err := range log.Read(t.Context(), "session-0", b.Head("session-0").Version) {
				if err != nil {
					t.Fatal(err)
				}
				parts++
			}
			for _, err := range log.Read(t.Context(), "session-2", 1) {
				if err != nil {
					t.Fatal(err)
				}
				parts++
			}
			if parts != 1+15 {
				t.Errorf("%d parts are read of what is not concerned", parts)
			}
			// It goes on.
			late := b.Commit(b.Cause(), eventlogtest.Closing("session-0", `"revised"`))
			if err := log.Append(t.Context(), late); err != nil {
				t.Error(err)
			}
			if err := log.Append(t.Context(), commits[0]); err == nil {
				t.Error("what is there is taken once more")
			}
		})
	}
}

func TestArchivingIsRepeatedAndGoesOn(t *testing.T) {
	dir, _, commits, moved := sampled(t, small)
	one := map[eventlog.Stream]eventlog.Moved{"session-1": moved["session-1"]}
	first, err := Archive(t.Context(), dir, quiet(small), one)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Archive(t.Context(), dir, quiet(small), moved)
	if err != nil || first+second != len(removable(commits, moved)) {
		t.Fatalf("%d and %d commits, %v", first, second, err)
	}
	if third, err := Archive(t.Context(), dir, quiet(small), moved); err != nil || third != 0 {
		t.Errorf("then %d, %v", third, err)
	}
	whole, _ := passed(t, open(t, dir, small), 1)
	if len(whole)+first+second != len(commits) {
		t.Errorf("%d commits are left of %d", len(whole), len(commits))
	}
	if manifest, err := os.ReadFile(filepath.Join(dir, manifestName)); err != nil || !strings.Contains(string(manifest), "format 2\n") {
		t.Errorf("an older program takes it for its own: %s, %v", manifest, err)
	}
}

func TestACrashWhileArchivingLosesNothing(t *testing.T) {
	for n := 0; ; n++ {
		dir, _, commits, moved := sampled(t, small)
		crash := &crashAt{n: n}
		o := small
		o.fault = crash.step
		_, err := Archive(t.Context(), dir, quiet(o), moved)
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if len(crash.steps) <= n {
			return // all steps have passed
		}
		at := crash.steps[n]
		gone := removable(commits, moved)
		log := open(t, dir, small)
		tell(t, log, commits)
		whole, _ := passed(t, log, 1)
		for i, c := range commits {
			p := eventlog.Position(i + 1)
			if got, there := whole[p]; !there && !slices.Contains(gone, p) || there && got.ID != c.ID {
				t.Fatalf("%s: position %d is lost", at, p)
			}
		}
		shut(t, log)
		if _, err := Archive(t.Context(), dir, quiet(small), moved); err != nil {
			t.Fatalf("%s: then it says %v", at, err)
		}
		log = open(t, dir, small)
		if whole, _ := passed(t, log, 1); len(whole)+len(gone) != len(commits) {
			t.Errorf("%s: then %d commits are left", at, len(whole))
		}
		tell(t, log, commits)
		shut(t, log)
	}
}

// What stands in the place of the samples is checked as everything else.
func TestDamageOfWhatRemainsIsFound(t *testing.T) {
	dir, _, _, moved := sampled(t, Options{})
	if _, err := Archive(t.Context(), dir, quiet(Options{}), moved); err != nil {
		t.Fatal(err)
	}
	rewriteFile(t, filepath.Join(dir, segmentName(1)), func(text []byte) []byte {
		changed := strings.Replace(string(text), "2026-08.jsonl.gz", "2026-09.jsonl.gz", 1)
		if changed == string(text) {
			t.Fatal("the archive is not named")
		}
		return []byte(changed)
	})
	log, err := Open(dir, quiet(Options{}))
	if err == nil {
		defer log.Close()
		for _, err = range log.All(t.Context(), 1) {
			if err != nil {
				break
			}
		}
	}
	var a *eventlog.ArchivedError
	if !errors.Is(err, eventlog.ErrDamaged) || errors.As(err, &a) {
		t.Errorf("it says %v", err)
	}
}
