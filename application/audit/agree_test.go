package audit_test

import (
	"context"
	"errors"
	"iter"
	"testing"

	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// rest is a log without its first commits.
type rest struct {
	*memory.Log
	from eventlog.Position
}

func (r rest) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return r.Log.All(ctx, max(from, r.from))
}

func TestTwoLogsAgreeOrTheStreamAndTheVersionAreNamed(t *testing.T) {
	b := eventlogtest.NewBuilder("ev.control")
	logOf := func(commits ...eventlog.Commit) *memory.Log {
		log := memory.NewLog()
		for _, c := range commits {
			if err := log.Append(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		return log
	}
	one := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", "1", "2"), eventlogtest.Lifecycle("session-1", "1"))
	fork := b.Fork()
	two := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", "3"))
	three := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", "4"), eventlogtest.Closing("session-1", "2"))
	other := fork.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", "another"))
	wider := fork.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", "5", "6", "7"))
	for name, c := range map[string]struct {
		log, with []eventlog.Commit
		there     uint64
		want      error
	}{
		"the same":                     {[]eventlog.Commit{one, two, three}, []eventlog.Commit{one, two, three}, 3, nil},
		"nothing":                      {nil, []eventlog.Commit{one}, 0, nil},
		"with nothing":                 {[]eventlog.Commit{one, two}, nil, 0, nil},
		"more":                         {[]eventlog.Commit{one, two, three}, []eventlog.Commit{one}, 1, nil},
		"less":                         {[]eventlog.Commit{one}, []eventlog.Commit{one, two, three}, 1, nil},
		"another end":                  {[]eventlog.Commit{one, other}, []eventlog.Commit{one, two}, 0, &audit.ContradictionError{Stream: "point-1", Version: 3}},
		"another end, and more":        {[]eventlog.Commit{one, other, wider}, []eventlog.Commit{one, two}, 0, &audit.ContradictionError{Stream: "point-1", Version: 3}},
		"another end, and less":        {[]eventlog.Commit{one, other}, []eventlog.Commit{one, two, three}, 0, &audit.ContradictionError{Stream: "point-1", Version: 3}},
		"parts that reach over others": {[]eventlog.Commit{one, other, wider}, []eventlog.Commit{one, two, three}, 0, &audit.ContradictionError{Stream: "point-1", Version: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			looked := 0
			there, err := audit.Agree(t.Context(), logOf(c.log...), logOf(c.with...), func() { looked++ })
			var got, want *audit.ContradictionError
			if errors.As(err, &got) != errors.As(c.want, &want) || got != nil && *got != *want || c.want == nil && err != nil {
				t.Errorf("it says %v, want %v", err, c.want)
			}
			if c.want == nil && (there != c.there || looked != len(c.log)) {
				t.Errorf("%d are there, %d were looked at, want %d of %d", there, looked, c.there, len(c.log))
			}
		})
	}
	whole := logOf(one, two, three)
	var gap *audit.GapError
	if _, err := audit.Agree(t.Context(), rest{whole, 3}, logOf(one), func() {}); !errors.As(err, &gap) || *gap != (audit.GapError{Stream: "point-1", Ends: 2, Begins: 4}) {
		t.Errorf("of what is missing it says %v", err)
	}
	if _, err := audit.Agree(t.Context(), rest{whole, 2}, logOf(one), func() {}); err != nil {
		t.Errorf("of what goes on it says %v", err)
	}
	var contradiction *audit.ContradictionError
	if _, err := audit.Agree(t.Context(), rest{whole, 3}, logOf(one, other), func() {}); !errors.As(err, &contradiction) || contradiction.Version != 3 {
		t.Errorf("of what is made to follow another it says %v", err)
	}
}

// archivedPart is a log that has some of a stream in an archive.
type archivedPart struct {
	*memory.Log
	eventlog.ArchivedError
}

func (l archivedPart) Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		for c, err := range l.Log.Read(ctx, stream, from) {
			if err == nil && stream == l.Stream && l.From <= c.Parts[0].Last() && c.Parts[0].Version <= l.To {
				c, err = eventlog.Commit{}, &eventlog.DamagedError{Stream: stream, Reason: &l.ArchivedError}
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// Of samples in an archive the hashes before and behind them decide.
func TestALogAgreesWithOneThatIsArchived(t *testing.T) {
	const stream = eventlog.Stream("session-1")
	b := eventlogtest.NewBuilder("ev.supply.done")
	history := func(b *eventlogtest.Builder, texts ...string) (all []eventlog.Commit) {
		for _, text := range texts {
			all = append(all, b.Commit(eventlog.Cause{}, eventlogtest.Sample(stream, text)))
		}
		return all
	}
	begin := history(b, "1", "2")
	fork := b.Fork()
	archived := history(b, "3", "4", "5")
	all := append(append(begin[:2:2], archived...), history(b, "6", "7")...)
	another := append(begin[:2:2], history(fork, "3", "another", "5", "6")...)
	logOf := func(commits []eventlog.Commit) *memory.Log {
		log := memory.NewLog()
		for _, c := range commits {
			if err := log.Append(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		return log
	}
	with := archivedPart{logOf(all), eventlog.ArchivedError{
		Stream: stream, From: 3, To: 5, Prev: archived[0].Parts[0].Prev, Hash: archived[2].Parts[0].Hash, Archive: "2027-01.jsonl.gz",
	}}
	for name, c := range map[string]struct {
		log   []eventlog.Commit
		there uint64
		want  string
	}{
		"all":                     {all, 7, ""},
		"up to before them":       {all[:2], 2, ""},
		"amid them":               {all[:4], 0, "session-1 ends at version 4, and versions 3 to 5 are in an archive, in 2027-01.jsonl.gz: whether they are the same can't be told; import a log that has all of these"},
		"up to their end":         {all[:5], 5, ""},
		"up to behind them":       {all[:6], 6, ""},
		"another, to their end":   {another[:5], 0, "session-1 at version 3 contradicts what is there already"},
		"another, to behind them": {another[:6], 0, "session-1 at version 3 contradicts what is there already"},
	} {
		t.Run(name, func(t *testing.T) {
			there, err := audit.Agree(t.Context(), logOf(c.log), with, func() {})
			said := ""
			if err != nil {
				said = err.Error()
			}
			if said != c.want || err == nil && there != c.there {
				t.Errorf("%d are there, and it says %q, want %d and %q", there, said, c.there, c.want)
			}
		})
	}
}
