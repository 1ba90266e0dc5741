package bbolt

import (
	"evcharging/application/eventlog"
	"evcharging/domain"
)

// state is what is kept of a stream: of an open one in memory, of a closed one in the
// index of the last segment that has parts of it. Segments are named by their first
// position; 0 is none.
type state struct {
	head eventlog.Head
	// segment is the newest that has parts of the stream, lifecycle the newest that has
	// parts of it that are no samples.
	segment, lifecycle eventlog.Position
	// sample is where the stream's last sample is, last where its last part is.
	sample, last eventlog.Position
	// damage is where a part of the stream may have been lost.
	damage eventlog.Position
}

// open tells whether the stream's last part that is no sample leaves it open.
func (s state) open() bool { return s.head.Version > 0 && s.head.Kind != eventlog.Closing }

// entry is what a segment has of a stream.
type entry struct {
	// state is that after the stream's last part in this segment.
	state
	// previous is the segment before this one that has parts of the stream,
	// previousLifecycle the one that has parts of it that are no samples.
	previous, previousLifecycle eventlog.Position
	// first is the version of the first event in this segment.
	first eventlog.Version
	// parts is where its parts are, lasting where those are that are no samples. They are
	// only ever appended to.
	parts   []place
	lasting []eventlog.Position
}

// place is where a part is, and the version of its last event.
type place struct {
	position eventlog.Position
	last     eventlog.Version
}

// partition is a Kafka partition.
type partition struct {
	topic  string
	number int32
}

// causeKey tells the causes of a partition apart.
type causeKey struct {
	offset int64
	digest [8]byte
}

// tail is the index of a segment whose index has not been written yet.
type tail struct {
	entries map[eventlog.Stream]*entry
	causes  map[partition]map[causeKey]eventlog.Position
	// last is the position of the last commit, or the one before the segment's first.
	last eventlog.Position
	// newest is the greatest time of a commit, size how many bytes they have.
	newest domain.UnixMillis
	size   int64
}

func newTail(first eventlog.Position) *tail {
	return &tail{
		entries: map[eventlog.Stream]*entry{},
		causes:  map[partition]map[causeKey]eventlog.Position{},
		last:    first - 1,
	}
}

// commit takes note of the next commit's size, time and cause.
func (t *tail) commit(size int, at domain.UnixMillis, cause eventlog.Cause) eventlog.Position {
	t.last++
	t.size += int64(size)
	t.newest = max(t.newest, at)
	if !cause.IsZero() {
		p := partition{cause.Topic, cause.Partition}
		if t.causes[p] == nil {
			t.causes[p] = map[causeKey]eventlog.Position{}
		}
		t.causes[p][causeKey{cause.Offset, cause.Digest}] = t.last
	}
	return t.last
}

// part takes note of a part of the commit at t.last, of a stream that was in the given
// state, and gives the state that it is in now. first is the segment's.
func (t *tail) part(first eventlog.Position, s state, p eventlog.Part) state {
	e := t.entry(s, p)
	s.segment, s.last = first, t.last
	s.head.Version, s.head.Hash = p.Last(), p.Hash
	if p.Kind == eventlog.Sample {
		s.sample = t.last
	} else {
		s.head.Kind, s.lifecycle = p.Kind, first
		e.lasting = append(e.lasting, t.last)
	}
	e.state = s
	e.parts = append(e.parts, place{t.last, p.Last()})
	return s
}

// lose takes note that a part of a stream was lost: the one before p, or, where p is not
// legible, p itself.
func (t *tail) lose(first eventlog.Position, s state, p eventlog.Part, legible bool) state {
	e := t.entry(s, p)
	if legible {
		s = t.part(first, s, p)
	}
	s.segment, s.damage = first, t.last
	e.state = s
	return s
}

func (t *tail) entry(s state, p eventlog.Part) *entry {
	e := t.entries[p.Stream]
	if e == nil {
		e = &entry{previous: s.segment, previousLifecycle: s.lifecycle, first: p.Version}
		t.entries[p.Stream] = e
	}
	return e
}
