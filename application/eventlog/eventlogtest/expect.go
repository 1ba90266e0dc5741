package eventlogtest

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"evcharging/application/eventlog"
)

// fataler is what *testing.T and *rapid.T share.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Context() context.Context
}

func mustAppend(t fataler, log eventlog.Log, commits ...eventlog.Commit) {
	t.Helper()
	for _, c := range commits {
		if err := log.Append(t.Context(), c); err != nil {
			t.Fatalf("append: %v", err)
		}
	}
}

func mustHead(t fataler, log eventlog.Log, stream eventlog.Stream) eventlog.Head {
	t.Helper()
	head, err := log.Head(t.Context(), stream)
	if err != nil {
		t.Fatalf("head of %s: %v", stream, err)
	}
	return head
}

func mustRead(t fataler, log eventlog.Log, stream eventlog.Stream, from eventlog.Version) []eventlog.Commit {
	t.Helper()
	got, err := read(t.Context(), log, stream, from)
	if err != nil {
		t.Fatalf("read %s: %v", stream, err)
	}
	return got
}

func read(ctx context.Context, log eventlog.Log, stream eventlog.Stream, from eventlog.Version) (got []eventlog.Commit, err error) {
	for c, err := range log.Read(ctx, stream, from) {
		if err != nil {
			return got, err
		}
		got = append(got, c)
	}
	return got, nil
}

func mustRehydrate(t fataler, log eventlog.Log, stream eventlog.Stream) []eventlog.Commit {
	t.Helper()
	got, err := log.Rehydrate(t.Context(), stream)
	if err != nil {
		t.Fatalf("rehydrate %s: %v", stream, err)
	}
	return got
}

func mustByCause(t fataler, log eventlog.Log, cause eventlog.Cause) (eventlog.Commit, bool) {
	t.Helper()
	got, ok, err := log.ByCause(t.Context(), cause)
	if err != nil {
		t.Fatalf("by cause %s: %v", cause, err)
	}
	return got, ok
}

func mustAll(t fataler, log eventlog.Log, from eventlog.Position) []eventlog.Positioned {
	t.Helper()
	got, err := all(t.Context(), log, from)
	if err != nil {
		t.Fatalf("all: %v", err)
	}
	return got
}

func all(ctx context.Context, log eventlog.Log, from eventlog.Position) (got []eventlog.Positioned, err error) {
	for c, err := range log.All(ctx, from) {
		if err != nil {
			return got, err
		}
		got = append(got, c)
	}
	return got, nil
}

func mustEnd(t fataler, log eventlog.Log) eventlog.Position {
	t.Helper()
	end, err := log.End(t.Context())
	if err != nil {
		t.Fatalf("end: %v", err)
	}
	return end
}

func mustOpen(t fataler, log eventlog.Log) []eventlog.Stream {
	t.Helper()
	got, err := log.Open(t.Context())
	if err != nil {
		t.Fatalf("open streams: %v", err)
	}
	return got
}

func wantConflict(t fataler, name string, err error, want eventlog.ConflictError) {
	t.Helper()
	var conflict *eventlog.ConflictError
	if !errors.As(err, &conflict) {
		t.Errorf("%s: %v, want a ConflictError", name, err)
	} else if *conflict != want {
		t.Errorf("%s: conflict %+v, want %+v", name, *conflict, want)
	}
}

func wantStored(t fataler, err error, want eventlog.Commit) {
	t.Helper()
	var stored *eventlog.CauseStoredError
	if !errors.As(err, &stored) {
		t.Errorf("%v, want a CauseStoredError", err)
		return
	}
	equalCommits(t, "handed back", []eventlog.Commit{stored.Stored}, []eventlog.Commit{want})
}

func equalCommits(t fataler, name string, got, want []eventlog.Commit) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d commits, want %d", name, len(got), len(want))
		return
	}
	for i := range want {
		if !equal(got[i], want[i]) {
			t.Errorf("%s: commit %d is\n%+v, want\n%+v", name, i, got[i], want[i])
		}
	}
}

func equal(a, b eventlog.Commit) bool {
	return a.ID == b.ID && a.At == b.At && a.Cause == b.Cause &&
		slices.EqualFunc(a.Parts, b.Parts, func(p, q eventlog.Part) bool {
			return p.Stream == q.Stream && p.Version == q.Version && p.Events == q.Events && p.Kind == q.Kind &&
				p.Prev == q.Prev && p.Hash == q.Hash && bytes.Equal(p.Body, q.Body)
		})
}

// only is the commit as a reader of one stream gets it.
func only(c eventlog.Commit, stream eventlog.Stream) eventlog.Commit {
	c.Parts = slices.DeleteFunc(slices.Clone(c.Parts), func(p eventlog.Part) bool { return p.Stream != stream })
	return c
}

func clone(c eventlog.Commit) eventlog.Commit {
	c.Parts = slices.Clone(c.Parts)
	for i := range c.Parts {
		c.Parts[i].Body = bytes.Clone(c.Parts[i].Body)
	}
	return c
}

func commits(positioned []eventlog.Positioned) []eventlog.Commit {
	plain := make([]eventlog.Commit, len(positioned))
	for i, p := range positioned {
		plain[i] = p.Commit
	}
	return plain
}
