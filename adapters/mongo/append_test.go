package mongo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// No two groups that are under way share a stream or a cause, nor do two of a group; nobody
// is left behind.
func TestGroupsShareNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		q := &queue{streams: map[eventlog.Stream]struct{}{}, causes: map[eventlog.Cause]struct{}{}, writers: 1000}
		names := []eventlog.Stream{"a", "b", "c", "d"}
		taken, put := 0, 0
		var underWay [][]*request
		check := func() {
			streams, causes := map[eventlog.Stream]bool{}, map[eventlog.Cause]bool{}
			for _, group := range underWay {
				for _, r := range group {
					for _, p := range r.commit.Parts {
						if streams[p.Stream] {
							rt.Fatalf("%s is written to twice", p.Stream)
						}
						streams[p.Stream] = true
					}
					if !r.commit.Cause.IsZero() && causes[r.commit.Cause] {
						rt.Fatalf("%s is written twice", r.commit.Cause)
					}
					causes[r.commit.Cause] = true
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"put": func(rt *rapid.T) {
				r := newRequest(eventlog.Commit{}, nil)
				for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 3, rapid.ID[eventlog.Stream]).Draw(rt, "streams") {
					r.commit.Parts = append(r.commit.Parts, eventlog.Part{Stream: name})
				}
				r.commit.Cause.Offset = rapid.Int64Range(0, 3).Draw(rt, "cause")
				q.waiting = append(q.waiting, r)
				put++
			},
			"take": func(*rapid.T) {
				if group := q.take(); len(group) > 0 {
					taken += len(group)
					underWay = append(underWay, group)
				}
			},
			"release": func(rt *rapid.T) {
				if len(underWay) == 0 {
					rt.Skip("nothing is under way")
				}
				i := rapid.IntRange(0, len(underWay)-1).Draw(rt, "group")
				q.release(underWay[i])
				underWay = append(underWay[:i:i], underWay[i+1:]...)
			},
		})
		for len(q.waiting) > 0 || len(underWay) > 0 {
			for _, group := range underWay {
				q.release(group)
			}
			underWay = nil
			group := q.take()
			taken += len(group)
			if len(group) > 0 {
				underWay = [][]*request{group}
			} else if len(q.waiting) > 0 {
				rt.Fatalf("%d wait, and nothing is in their way", len(q.waiting))
			}
			check()
		}
		if taken != put {
			rt.Fatalf("%d were put and %d taken", put, taken)
		}
	})
}

func TestADocumentThatTheServerRefusesFailsItsOwnCaller(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	log := s.Log()
	b := eventlogtest.NewBuilder("ev.health")
	const refused = 666
	if err := s.db.RunCommand(t.Context(), bson.D{
		{Key: "collMod", Value: eventsCollection}, {Key: "validator", Value: bson.D{{Key: "at", Value: bson.D{{Key: "$ne", Value: refused}}}}},
	}).Err(); err != nil {
		t.Fatal(err)
	}
	var stored []eventlog.Commit
	errs := make(chan error, 20)
	bad := b.Fork().Commit(b.Cause(), eventlogtest.Lifecycle("session-refused", `1`))
	bad.At = refused
	answer := make(chan error, 1)
	go func() { answer <- log.Append(t.Context(), bad) }()
	for i := range cap(errs) {
		commit := b.Commit(b.Cause(), eventlogtest.Lifecycle(eventlog.Stream(fmt.Sprint("session-", i)), `1`))
		stored = append(stored, commit)
		go func() { errs <- log.Append(t.Context(), commit) }()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Errorf("another commit: %v", err)
		}
	}
	err := <-answer
	var conflict *eventlog.ConflictError
	if err == nil || errors.As(err, &conflict) || errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "refuses") {
		t.Errorf("the refused commit: %v, want what the server says", err)
	}
	n := 0
	for _, err := range log.All(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != len(stored) {
		t.Errorf("the log has %d commits, want %d", n, len(stored))
	}
}

// A server may store what it can't tell to be safe: then it is looked for.
func TestAWriteThatTheMajorityMayNotHaveIsLookedFor(t *testing.T) {
	server(t)
	uri := database(t)
	l := newLine(t, hostOf(t, uri))
	log := connectWith(t, Config{URI: l.uri(uri), Logger: slog.New(slog.DiscardHandler)}).Log()
	b := eventlogtest.NewBuilder("ev.health")
	var stored []eventlog.Commit
	for _, alter := range []func(bson.D) bson.D{
		func(d bson.D) bson.D { // the answer of a server whose others are away
			return append(d, bson.E{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: int32(64)}, {Key: "codeName", Value: "WriteConcernTimeout"}, {Key: "errmsg", Value: "waiting for replication timed out"}}})
		},
		func(bson.D) bson.D { // of one that gave up
			return denial(50, "MaxTimeMSExpired", "operation exceeded time limit")
		},
	} {
		l.set(func() {
			l.alter = func(d bson.D) bson.D {
				l.set(func() { l.alter = nil })
				return alter(d)
			}
		})
		commit := b.Commit(b.Cause(), eventlogtest.Lifecycle("session-1", `1`), eventlogtest.Lifecycle("point-1", `1`))
		if err := log.Append(t.Context(), commit); err != nil {
			t.Errorf("%v, want nil: it is stored", err)
		}
		stored = append(stored, commit)
	}
	eventlogtest.Holds(t, log, b, stored)
}

func TestAWriteThatTheMajorityLostIsNotAcknowledged(t *testing.T) {
	server(t)
	uri := database(t)
	l := newLine(t, hostOf(t, uri))
	s := connect(t, uri)
	log := connectWith(t, Config{URI: l.uri(uri), Logger: slog.New(slog.DiscardHandler)}).Log()
	l.set(func() {
		l.alter = func(d bson.D) bson.D {
			if _, err := s.events.DeleteMany(t.Context(), bson.D{}); err != nil { // as a fail-over does
				t.Error(err)
			}
			return append(d, bson.E{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: int32(64)}, {Key: "errmsg", Value: "waiting for replication timed out"}}})
		}
	})
	b := eventlogtest.NewBuilder("ev.health")
	commit := b.Commit(b.Cause(), eventlogtest.Lifecycle("session-1", `1`))
	var conflict *eventlog.ConflictError
	var stored *eventlog.CauseStoredError
	if err := log.Append(t.Context(), commit); err == nil || errors.As(err, &conflict) || errors.As(err, &stored) {
		t.Errorf("%v, want the store's error", err)
	}
	l.set(func() { l.alter = nil })
	if err := log.Append(t.Context(), commit); err != nil {
		t.Errorf("again: %v", err)
	}
	eventlogtest.Holds(t, log, b, []eventlog.Commit{commit})
}

func TestACommitWhoseAnswerNeverComesIsFoundByItsID(t *testing.T) {
	server(t)
	uri := database(t)
	l := newLine(t, hostOf(t, uri))
	log := connectWith(t, Config{URI: l.uri(uri), Logger: slog.New(slog.DiscardHandler)}).Log()
	b := eventlogtest.NewBuilder("ev.health")
	commit := b.Commit(b.Cause(), eventlogtest.Lifecycle("session-1", `1`))
	l.Mute(false, true)
	if err := log.Append(t.Context(), commit); err != nil {
		t.Errorf("%v, want nil: it can be looked up", err)
	}
	l.Mute(false, false)
	eventlogtest.Holds(t, log, b, []eventlog.Commit{commit})
}

// Whoever follows a head that was read elsewhere asks for nothing but to be written.
func TestAWriterWhoKnowsTheHeadReadsNothing(t *testing.T) {
	server(t)
	uri := database(t)
	writer, s := connect(t, uri), connect(t, uri)
	b := eventlogtest.NewBuilder("ev.health")
	for range 3 {
		if err := writer.Log().Append(t.Context(), b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`))); err != nil {
			t.Fatal(err)
		}
	}
	// given a process that has read a stream, and one that wrote it
	if _, err := s.Log().Rehydrate(t.Context(), "point-1"); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"who wrote": writer, "who read": s} {
		fork := b.Fork()
		commit := fork.Commit(eventlog.Cause{}, eventlogtest.Lifecycle("point-1", `2`), eventlogtest.Lifecycle("session-new", `1`))
		before, err := s.Log().prove(deaf(t), commit)
		if err != nil || before == nil {
			t.Errorf("%s: %v, %v, want heads that it knows", name, before, err)
		}
	}
	// a stranger has to look
	if _, err := connect(t, uri).Log().prove(deaf(t), b.Commit(eventlog.Cause{}, eventlogtest.Lifecycle("point-1", `2`))); err == nil {
		t.Error("a stranger knows the head")
	}
}

// deaf is a context in which no server answers.
func deaf(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
