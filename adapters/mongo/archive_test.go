package mongo

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// threeSessions stores three sessions that ran side by side: of session-0 and session-1, which are
// closed, all samples but the last can be moved.
func threeSessions(t *testing.T, log *Log) (b *eventlogtest.Builder, commits []eventlog.Commit, moved map[eventlog.Stream]eventlog.Moved) {
	t.Helper()
	b = eventlogtest.NewBuilder("ev.supply.done")
	session := func(i int) eventlog.Stream { return eventlog.Stream(fmt.Sprint("session-", i)) }
	for i := range 3 {
		commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle(eventlog.Stream(fmt.Sprint("point-", i)), `"occupied"`), eventlogtest.Lifecycle(session(i), `"authorized"`)))
	}
	samples := func(n int) {
		for range n {
			for i := range 3 {
				commits = append(commits, b.Commit(eventlog.Cause{}, eventlogtest.Sample(session(i), `"sampled"`)))
			}
		}
	}
	samples(20)
	commits = append(commits,
		b.Commit(b.Cause(), eventlogtest.Lifecycle(session(1), `"ending"`)),
		b.Commit(b.Cause(), eventlogtest.Sample(session(1), `"sampled, with a cause"`)))
	samples(5)
	moved = map[eventlog.Stream]eventlog.Moved{}
	for i := range 2 {
		moved[session(i)] = eventlog.Moved{Before: b.Head(session(i)).Version, Archive: "2026-08.jsonl.gz"}
		commits = append(commits, b.Commit(b.Cause(), eventlogtest.Closing(session(i), `"ticket"`)))
	}
	for _, c := range commits {
		if err := log.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	return b, commits, moved
}

// tell is what a log tells but for the samples of sessions.
func tell(t *testing.T, log *Log, commits []eventlog.Commit) (told []any) {
	t.Helper()
	ctx := t.Context()
	var errs []error
	for _, c := range commits {
		for _, p := range c.Parts {
			head, err1 := log.Head(ctx, p.Stream)
			alive, err2 := log.Rehydrate(ctx, p.Stream)
			errs = append(errs, err1, err2)
			told = append(told, head, alive)
		}
		made, ok, err := log.ByCause(ctx, c.Cause)
		errs = append(errs, err)
		told = append(told, made, ok)
	}
	open, err1 := log.Open(ctx)
	slices.Sort(open)
	end, err2 := log.End(ctx)
	if err := errors.Join(append(errs, err1, err2)...); err != nil {
		t.Fatal(err)
	}
	return append(told, open, end)
}

// passed are the commits of a log by their ids, and what it says is in an archive.
func passed(t *testing.T, log *Log) (found map[string]bool, archived []eventlog.ArchivedError) {
	t.Helper()
	found = map[string]bool{}
	for next := eventlog.Position(1); next != 0; {
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
				found[c.ID.String()] = true
			}
		}
	}
	return found, archived
}

func TestAnArchivedLogTellsAllButTheSamples(t *testing.T) {
	uri := database(t)
	writer := connect(t, uri)
	b, commits, moved := threeSessions(t, writer.Log())
	before := tell(t, writer.Log(), commits)
	removed, err := connect(t, uri).Log().Archive(t.Context(), moved)
	if err != nil || removed != 2*24 {
		t.Fatalf("%d commits are removed, %v", removed, err)
	}
	// The process that wrote it, and one that knows nothing of it.
	for name, log := range map[string]*Log{"the writer": writer.Log(), "another": connect(t, uri).Log()} {
		if after := tell(t, log, commits); !reflect.DeepEqual(after, before) {
			t.Errorf("%s tells\n%+v\nand told\n%+v", name, after, before)
		}
		found, archived := passed(t, log)
		if len(found)+removed != len(commits) || len(archived) != 3 {
			t.Errorf("%s gives %d commits of %d, and %+v", name, len(found), len(commits), archived)
		}
		slices.SortFunc(archived, func(a, b eventlog.ArchivedError) int {
			return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.From, b.From))
		})
		if a := archived[0]; a.Stream != "session-0" || a.From != 2 || a.To != 25 || a.Archive != "2026-08.jsonl.gz" {
			t.Errorf("%+v", a)
		}
		if a, b := archived[1], archived[2]; a.From != 2 || a.To != 21 || b.From != 24 || b.To != 27 {
			t.Errorf("%+v, %+v", a, b)
		}
		var a *eventlog.ArchivedError
		if n, err := readUntil(t, log, "session-0"); n > 1 || !errors.As(err, &a) || a.From != 2 {
			t.Errorf("%s reads %d parts of a session, and %v", name, n, err)
		}
		if n, err := readUntil(t, log, "session-2"); n != 26 || err != nil {
			t.Errorf("%s reads %d parts of a session that is not concerned, and %v", name, n, err)
		}
		parts := 0
		for _, err := range log.Read(t.Context(), "session-0", b.Head("session-0").Version-1) {
			if err != nil {
				t.Fatal(err)
			}
			parts++
		}
		if parts != 2 {
			t.Errorf("%s reads %d parts of a session's end", name, parts)
		}
		// To have read a part of a session does not keep anybody from its end.
		if after := tell(t, log, commits); !reflect.DeepEqual(after, before) {
			t.Errorf("then %s tells\n%+v\nand told\n%+v", name, after, before)
		}
	}
	if err := writer.Log().Append(t.Context(), b.Commit(b.Cause(), eventlogtest.Closing("session-0", `"revised"`))); err != nil {
		t.Errorf("a revision: %v", err)
	}
	if err := writer.db.Collection(openCollection).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if open, err := connect(t, uri).Log().Open(t.Context()); err != nil || len(open) != 4 {
		t.Errorf("open are %v, %v", open, err)
	}
}

// A run that broke off between any two of its steps is brought to its end by the next.
func TestArchivingGoesOn(t *testing.T) {
	uri := database(t)
	s := connect(t, uri)
	_, commits, moved := threeSessions(t, s.Log())
	// What is there once the first document was replaced, and some of the others removed.
	whole := map[int]bson.M{}
	for _, i := range []int{6, 9, 30} { // samples of session-0
		var document bson.M
		if err := s.events.FindOne(t.Context(), bson.D{{Key: "_id", Value: idOf(commits[i].ID)}}).Decode(&document); err != nil || document["sample"] != "session-0" {
			t.Fatal(err, document)
		}
		whole[i] = document
	}
	removed, err := s.Log().Archive(t.Context(), moved)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range whole {
		if _, err := s.events.InsertOne(t.Context(), document); err != nil {
			t.Fatal(err)
		}
	}
	again, err := connect(t, uri).Log().Archive(t.Context(), moved)
	if err != nil || again != len(whole) {
		t.Errorf("%d more are removed, %v", again, err)
	}
	found, archived := passed(t, s.Log())
	if len(found)+removed != len(commits) || len(archived) != 3 {
		t.Errorf("then %d commits are left of %d, and %+v", len(found), len(commits), archived)
	}
	if more, err := s.Log().Archive(t.Context(), moved); err != nil || more != 0 {
		t.Errorf("then %d, %v", more, err)
	}
}
