package eventlogtest

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"evcharging/application/eventlog"
)

// history is a log that many random histories share, each in streams of its own.
type history struct {
	log eventlog.Log
	// reopen closes the log and opens it again; nil where it keeps nothing.
	reopen func(*rapid.T) eventlog.Log
	runs   int
	// end is after the commits of former histories.
	end eventlog.Position
}

// testModel compares random histories with a list of commits.
func testModel(t *testing.T, h *history) {
	rapid.Check(t, func(rt *rapid.T) {
		h.runs++
		m := &model{history: h, builder: NewBuilder(fmt.Sprint("topic-", h.runs))}
		for i := range 4 {
			m.streams = append(m.streams, eventlog.Stream(fmt.Sprintf("session-%d-%d", h.runs, i)))
		}
		for _, former := range mustAll(rt, h.log, h.end) {
			h.end = former.Position + 1
		}
		steps := map[string]func(*rapid.T){
			"":       m.check,
			"append": m.append,
			"stale":  m.stale,
			"again":  m.again,
			"read":   m.read,
		}
		if h.reopen != nil {
			steps["reopen"] = func(rt *rapid.T) { h.log = h.reopen(rt) }
		}
		rt.Repeat(steps)
	})
}

// model is what a log should hold of one random history.
type model struct {
	*history
	builder *Builder
	streams []eventlog.Stream
	stored  []eventlog.Commit
}

func (m *model) drafts(rt *rapid.T) []Draft {
	streams := rapid.SliceOfNDistinct(rapid.SampledFrom(m.streams), 1, 3, rapid.ID[eventlog.Stream]).Draw(rt, "streams")
	drafts := make([]Draft, len(streams))
	for i, stream := range streams {
		kind := rapid.SampledFrom([]eventlog.Kind{eventlog.Lifecycle, eventlog.Sample, eventlog.Sample, eventlog.Closing}).Draw(rt, "kind")
		events := rapid.SliceOfN(rapid.StringMatching(`"[ -!#-\[\]-~]{0,8}"`), 1, 3).Draw(rt, "events")
		drafts[i] = draft(stream, kind, events)
	}
	return drafts
}

func (m *model) cause(rt *rapid.T) (cause eventlog.Cause) {
	if rapid.Bool().Draw(rt, "has a cause") {
		cause = m.builder.Cause()
	}
	return cause
}

func (m *model) append(rt *rapid.T) {
	commit := m.builder.Commit(m.cause(rt), m.drafts(rt)...)
	mustAppend(rt, m.log, clone(commit))
	m.stored = append(m.stored, commit)
}

func (m *model) stale(rt *rapid.T) {
	fork := m.builder.Fork()
	drafts := m.drafts(rt)
	victim := drafts[rapid.IntRange(0, len(drafts)-1).Draw(rt, "victim")].Stream
	actual := m.builder.Head(victim).Version
	head := fork.heads[victim]
	head.Version += eventlog.Version(rapid.IntRange(1, 3).Draw(rt, "ahead"))
	fork.heads[victim] = head
	err := m.log.Append(rt.Context(), fork.Commit(m.cause(rt), drafts...))
	wantConflict(rt, "stale", err, eventlog.ConflictError{Stream: victim, Expected: head.Version, Actual: actual})
}

func (m *model) again(rt *rapid.T) {
	if len(m.stored) == 0 {
		m.append(rt)
	}
	commit := rapid.SampledFrom(m.stored).Draw(rt, "commit")
	err := m.log.Append(rt.Context(), clone(commit))
	if commit.Cause.IsZero() {
		if err != nil {
			rt.Fatalf("again: %v", err)
		}
		return
	}
	wantStored(rt, err, commit)
}

func (m *model) read(rt *rapid.T) {
	stream := rapid.SampledFrom(m.streams).Draw(rt, "stream")
	parts := m.parts(stream)
	from := eventlog.Version(rapid.IntRange(0, int(m.builder.Head(stream).Version)+1).Draw(rt, "from"))
	equalCommits(rt, "read", mustRead(rt, m.log, stream, from), slices.DeleteFunc(slices.Clone(parts), func(c eventlog.Commit) bool {
		return c.Parts[0].Last() < from
	}))

	equalCommits(rt, "rehydrated", mustRehydrate(rt, m.log, stream), alive(parts))

	for _, c := range m.stored {
		got, ok := mustByCause(rt, m.log, c.Cause)
		if ok != !c.Cause.IsZero() || ok && !equal(got, c) {
			rt.Fatalf("by cause %s: %v %+v", c.Cause, ok, got)
		}
	}
}

func (m *model) check(rt *rapid.T) {
	equalCommits(rt, "all", commits(mustAll(rt, m.log, m.end)), m.stored)
	open := mustOpen(rt, m.log)
	for _, stream := range m.streams {
		head := m.builder.Head(stream)
		if got := mustHead(rt, m.log, stream); got != head {
			rt.Fatalf("head of %s: %+v, want %+v", stream, got, head)
		}
		if got, want := slices.Contains(open, stream), head.Version > 0 && head.Kind != eventlog.Closing; got != want {
			rt.Fatalf("%s open: %v, want %v", stream, got, want)
		}
	}
}

func (m *model) parts(stream eventlog.Stream) (parts []eventlog.Commit) {
	for _, c := range m.stored {
		if c = only(c, stream); len(c.Parts) > 0 {
			parts = append(parts, c)
		}
	}
	return parts
}

// alive are the parts that are no samples, and the last that is one.
func alive(parts []eventlog.Commit) (alive []eventlog.Commit) {
	sample := -1
	for i, c := range parts {
		if c.Parts[0].Kind == eventlog.Sample {
			sample = i
		}
	}
	for i, c := range parts {
		if c.Parts[0].Kind != eventlog.Sample || i == sample {
			alive = append(alive, c)
		}
	}
	return alive
}
