package memory

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"sort"
	"sync"

	"evcharging/application/eventlog"
)

// Log is an event log that forgets everything when it is dropped. It forgets no cause
// before. It may be used from any number of goroutines.
type Log struct {
	mu      sync.RWMutex
	closed  bool
	commits []eventlog.Commit // the commit at index i has position i + 1
	streams map[eventlog.Stream]*stream
	causes  map[eventlog.Cause]int
}

// stream is where the parts of a stream are, in order of version.
type stream struct {
	head  eventlog.Head
	parts []place
	// lifecycle has the indices in parts of those that are no samples, sample that of the
	// last that is one, -1 where there is none.
	lifecycle []int
	sample    int
}

// place is a part: the index of its commit, and its own in it.
type place struct{ commit, part int }

var _ eventlog.Log = (*Log)(nil)

// NewLog is an empty log.
func NewLog() *Log {
	return &Log{streams: map[eventlog.Stream]*stream{}, causes: map[eventlog.Cause]int{}}
}

// Close ends the log: whatever is asked of it from now on is answered with
// eventlog.ErrClosed. It returns nil.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

// ready is nil while the log can answer ctx.
func (l *Log) ready(ctx context.Context) error {
	if l.closed {
		return eventlog.ErrClosed
	}
	return ctx.Err()
}

// Append implements eventlog.Log.
func (l *Log) Append(ctx context.Context, commit eventlog.Commit) error {
	if err := commit.Check(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(ctx); err != nil {
		return err
	}
	if !commit.Cause.IsZero() {
		if i, ok := l.causes[commit.Cause]; ok {
			return &eventlog.CauseStoredError{Stored: clone(l.commits[i])}
		}
	}
	for _, p := range commit.Parts {
		var head eventlog.Head
		if s := l.streams[p.Stream]; s != nil {
			head = s.head
		}
		if p.Version != head.Version+1 || p.Prev != head.Hash {
			if l.stored(commit) {
				return nil
			}
			return &eventlog.ConflictError{Stream: p.Stream, Expected: p.Version - 1, Actual: head.Version}
		}
	}

	commit = clone(commit)
	at := len(l.commits)
	l.commits = append(l.commits, commit)
	if !commit.Cause.IsZero() {
		l.causes[commit.Cause] = at
	}
	for i, p := range commit.Parts {
		s := l.streams[p.Stream]
		if s == nil {
			s = &stream{sample: -1}
			l.streams[p.Stream] = s
		}
		s.head.Version, s.head.Hash = p.Last(), p.Hash
		if p.Kind == eventlog.Sample {
			s.sample = len(s.parts)
		} else {
			s.head.Kind = p.Kind
			s.lifecycle = append(s.lifecycle, len(s.parts))
		}
		s.parts = append(s.parts, place{at, i})
	}
	return nil
}

// stored tells whether the log holds exactly this commit.
func (l *Log) stored(commit eventlog.Commit) bool {
	first := commit.Parts[0]
	s := l.streams[first.Stream]
	if s == nil {
		return false
	}
	i := l.from(s, first.Version)
	if i == len(s.parts) {
		return false
	}
	stored := l.commits[s.parts[i].commit]
	return stored.ID == commit.ID && slices.EqualFunc(stored.Parts, commit.Parts, func(p, q eventlog.Part) bool {
		return p.Hash == q.Hash
	})
}

func (l *Log) part(p place) eventlog.Part { return l.commits[p.commit].Parts[p.part] }

// only is the commit of a place with that one part, as a copy.
func (l *Log) only(p place) eventlog.Commit {
	commit := l.commits[p.commit]
	commit.Parts = commit.Parts[p.part : p.part+1]
	return clone(commit)
}

// from is the index in parts of the first part whose last version is at least from.
func (l *Log) from(s *stream, from eventlog.Version) int {
	return sort.Search(len(s.parts), func(i int) bool { return l.part(s.parts[i]).Last() >= from })
}

// Head implements eventlog.Log.
func (l *Log) Head(ctx context.Context, name eventlog.Stream) (eventlog.Head, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.ready(ctx); err != nil {
		return eventlog.Head{}, err
	}
	if s := l.streams[name]; s != nil {
		return s.head, nil
	}
	return eventlog.Head{}, nil
}

// Read implements eventlog.Log.
func (l *Log) Read(ctx context.Context, name eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		// The end is fixed here: whoever appends while it reads comes to an end.
		head, err := l.Head(ctx, name)
		for from = max(from, 1); err == nil && from <= head.Version; {
			var commit eventlog.Commit
			if commit, err = l.holding(ctx, name, from); err != nil {
				break
			}
			if !yield(commit, nil) {
				return
			}
			from = commit.Parts[0].Last() + 1
		}
		if err != nil {
			yield(eventlog.Commit{}, err)
		}
	}
}

// holding is the part of a stream that holds a version, which exists.
func (l *Log) holding(ctx context.Context, name eventlog.Stream, version eventlog.Version) (eventlog.Commit, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.ready(ctx); err != nil {
		return eventlog.Commit{}, err
	}
	s := l.streams[name]
	return l.only(s.parts[l.from(s, version)]), nil
}

// Rehydrate implements eventlog.Log.
func (l *Log) Rehydrate(ctx context.Context, name eventlog.Stream) ([]eventlog.Commit, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	s := l.streams[name]
	if s == nil {
		return nil, nil
	}
	wanted := s.lifecycle
	if s.sample >= 0 {
		at, _ := slices.BinarySearch(wanted, s.sample)
		wanted = slices.Insert(slices.Clone(wanted), at, s.sample)
	}
	alive := make([]eventlog.Commit, len(wanted))
	for i, part := range wanted {
		alive[i] = l.only(s.parts[part])
	}
	return alive, nil
}

// ByCause implements eventlog.Log.
func (l *Log) ByCause(ctx context.Context, cause eventlog.Cause) (eventlog.Commit, bool, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.ready(ctx); err != nil {
		return eventlog.Commit{}, false, err
	}
	if i, ok := l.causes[cause]; ok {
		return clone(l.commits[i]), true, nil
	}
	return eventlog.Commit{}, false, nil
}

// All implements eventlog.Log.
func (l *Log) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		// The end is fixed here: whoever appends while it reads comes to an end.
		end, err := l.End(ctx)
		for at := max(from, 1); err == nil && at <= end; at++ {
			var commit eventlog.Commit
			if commit, err = l.at(ctx, at); err != nil {
				break
			}
			if !yield(eventlog.Positioned{Position: at, Commit: commit}, nil) {
				return
			}
		}
		if err != nil {
			yield(eventlog.Positioned{}, err)
		}
	}
}

// End implements eventlog.Log.
func (l *Log) End(ctx context.Context) (eventlog.Position, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return eventlog.Position(len(l.commits)), l.ready(ctx)
}

// at is the commit of a position, which exists.
func (l *Log) at(ctx context.Context, at eventlog.Position) (eventlog.Commit, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.ready(ctx); err != nil {
		return eventlog.Commit{}, err
	}
	return clone(l.commits[at-1]), nil
}

// Open implements eventlog.Log.
func (l *Log) Open(ctx context.Context) ([]eventlog.Stream, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	var open []eventlog.Stream
	for name, s := range l.streams {
		if s.head.Kind != eventlog.Closing {
			open = append(open, name)
		}
	}
	return open, nil
}

func clone(c eventlog.Commit) eventlog.Commit {
	c.Parts = slices.Clone(c.Parts)
	for i := range c.Parts {
		c.Parts[i].Body = bytes.Clone(c.Parts[i].Body)
	}
	return c
}
