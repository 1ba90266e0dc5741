package bbolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"evcharging/application/eventlog"
)

const (
	// groupPatience is how long the writer waits for the callers that it has just answered.
	groupPatience = 100 * time.Microsecond
	// groupCommits and groupBytes bound what is written in one transaction.
	groupCommits = 4096
	groupBytes   = 16 << 20
)

// request is a caller that waits.
type request struct {
	addition
	// taken tells that the writer has it, or that its caller has left.
	taken atomic.Bool
	// answer has room for the one answer.
	answer chan answer
}

// answer is what the writer has to say. With cause, a commit of the cause is stored there.
type answer struct {
	cause eventlog.Position
	err   error
}

// queue holds the callers that wait.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  bool
	length  atomic.Int64
	// arrived has an element when waiting may have some.
	arrived chan struct{}
}

func (q *queue) put(r *request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return eventlog.ErrClosed
	}
	q.waiting = append(q.waiting, r)
	q.length.Add(1)
	q.wake()
	return nil
}

func (q *queue) wake() {
	select {
	case q.arrived <- struct{}{}:
	default:
	}
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake()
}

// take gives all that wait, and whether the queue is closed.
func (q *queue) take() ([]*request, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := q.waiting
	q.waiting = nil
	q.length.Store(0)
	return waiting, q.closed
}

// Append implements eventlog.Log. A caller whose context ends while its commit is being
// written gets the context's error, and the commit may be stored.
func (l *Log) Append(ctx context.Context, commit eventlog.Commit) error {
	if err := commit.Check(); err != nil {
		return err
	}
	if l.options.reading {
		return errReading
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{addition: addition{commit: commit, value: encode(commit)}, answer: make(chan answer, 1)}
	// The caller may leave, and write to what is its own; and what is kept in memory must not
	// keep a caller's buffers.
	r.commit.Cause.Topic = strings.Clone(commit.Cause.Topic)
	r.commit.Parts = slices.Clone(commit.Parts)
	for i := range r.commit.Parts {
		r.commit.Parts[i].Stream = eventlog.Stream(strings.Clone(string(commit.Parts[i].Stream)))
		r.commit.Parts[i].Body = nil
	}
	if err := l.queue.put(r); err != nil {
		return err
	}
	var a answer
	select {
	case a = <-r.answer:
	case <-ctx.Done():
		r.taken.Store(true) // whoever was not taken is not written
		return ctx.Err()
	}
	var conflict *eventlog.ConflictError
	switch {
	case a.cause != 0:
		return l.causeStored(ctx, a.cause)
	case errors.As(a.err, &conflict):
		if same, err := l.holds(ctx, r.commit); err != nil || same {
			return err
		}
	}
	return a.err
}

// causeStored is a CauseStoredError with the commit at a position.
func (l *Log) causeStored(ctx context.Context, at eventlog.Position) error {
	var commit eventlog.Commit
	err := l.use(ctx, func(c *contents) (err error) {
		commit, err = c.whole(at)
		return err
	})
	if err != nil {
		return err
	}
	return &eventlog.CauseStoredError{Stored: commit}
}

// holds tells whether the log has exactly this commit.
func (l *Log) holds(ctx context.Context, commit eventlog.Commit) (same bool, err error) {
	err = l.use(ctx, func(c *contents) error {
		first := commit.Parts[0]
		s, err := c.state(first.Stream)
		if err != nil || first.Version > s.head.Version {
			return err
		}
		places, err := c.parts(s, first.Stream, first.Version)
		if err != nil || len(places) == 0 {
			return err
		}
		stored, err := c.whole(places[0].position)
		same = err == nil && stored.ID == commit.ID && slices.EqualFunc(stored.Parts, commit.Parts, func(p, q eventlog.Part) bool {
			return p.Stream == q.Stream && p.Hash == q.Hash
		})
		return err
	})
	return same, err
}

// write is the writer: it takes all callers that wait, writes what they want in one
// transaction, and answers.
func (l *Log) write() {
	defer close(l.ended)
	var waiting []*request
	answered := 0
	for {
		if len(waiting) == 0 {
			<-l.queue.arrived
		}
		// Those who were just answered are likely to come back at once, and a group without
		// them would be half as large.
		for start := time.Now(); len(waiting)+int(l.queue.length.Load()) < answered && time.Since(start) < groupPatience; {
			runtime.Gosched()
		}
		arrived, closed := l.queue.take()
		waiting = append(waiting, arrived...)
		if closed {
			for _, r := range waiting {
				r.answer <- answer{err: eventlog.ErrClosed}
			}
			return
		}
		before := len(waiting)
		waiting = l.group(waiting)
		answered = before - len(waiting)
	}
}

// group writes and answers as many callers as go into one transaction, in order, and
// gives the others back. No two of them touch the same stream or have the same cause: the
// second is decided when the first is durable.
func (l *Log) group(waiting []*request) (others []*request) {
	c, err := l.healthy()
	if err != nil {
		for _, r := range waiting {
			r.answer <- answer{err: err}
		}
		return nil
	}
	var (
		members []*request
		size    int
		streams = map[eventlog.Stream]struct{}{}
		causes  = map[eventlog.Cause]struct{}{}
	)
	for i, r := range waiting {
		if len(members) == groupCommits || size > groupBytes {
			others = append(others, waiting[i:]...)
			break
		}
		if r.touches(streams, causes) {
			others = append(others, r)
			continue
		}
		if !r.taken.CompareAndSwap(false, true) {
			continue // its caller has left
		}
		cause, err := c.check(r)
		if cause != 0 || err != nil {
			r.answer <- answer{cause, err}
			continue
		}
		for _, p := range r.commit.Parts {
			streams[p.Stream] = struct{}{}
		}
		if !r.commit.Cause.IsZero() {
			causes[r.commit.Cause] = struct{}{}
		}
		members = append(members, r)
		size += len(r.value)
	}
	if len(members) == 0 {
		return others
	}
	additions := make([]addition, len(members))
	for i, r := range members {
		additions[i] = r.addition
	}
	if err = c.write(additions); err != nil {
		err = l.fail(err)
	} else if c.full() && l.indexers.Load() == 0 {
		l.roll(c)
	}
	for _, r := range members {
		r.answer <- answer{err: err}
	}
	return others
}

func (r *request) touches(streams map[eventlog.Stream]struct{}, causes map[eventlog.Cause]struct{}) bool {
	if _, ok := causes[r.commit.Cause]; ok {
		return true
	}
	return slices.ContainsFunc(r.commit.Parts, func(p eventlog.Part) bool {
		_, ok := streams[p.Stream]
		return ok
	})
}

// check decides whether a commit may be written. cause is where a commit of the same
// cause is stored.
func (c *contents) check(r *request) (cause eventlog.Position, err error) {
	if cause, err = c.byCause(r.commit.Cause); cause != 0 || err != nil {
		return cause, err
	}
	r.before = make([]state, len(r.commit.Parts))
	for i, p := range r.commit.Parts {
		s, err := c.intact(p.Stream)
		if err != nil {
			return 0, err
		}
		if p.Version != s.head.Version+1 || p.Prev != s.head.Hash {
			return 0, &eventlog.ConflictError{Stream: p.Stream, Expected: p.Version - 1, Actual: s.head.Version}
		}
		r.before[i] = s
	}
	return 0, nil
}

// roll begins a new segment, and has the full one indexed beside all other work. While
// one is being indexed, the next grows beyond its size.
func (l *Log) roll(c *contents) {
	full, err := c.roll()
	if err != nil {
		_ = l.fail(err)
		return
	}
	l.indexers.Add(1)
	l.indexing.Go(func() {
		defer l.indexers.Add(-1)
		if err := c.index(full); err != nil {
			_ = l.fail(err)
		}
	})
}

// failure is a write that failed.
type failure struct {
	err error
	// last is when the log last tried to heal, or failed.
	last time.Time
}

// fail takes note that nothing more may be written to the files as they are: it is not
// known what is on the disk. It gives what the callers are told.
func (l *Log) fail(err error) error {
	err = fmt.Errorf("the event log in %s can't be written to: %w", l.dir, err)
	if l.failure.CompareAndSwap(nil, &failure{err, l.options.now()}) {
		l.options.Logger.Error("The event log can't be written to; it tries again.", "dir", l.dir, "reason", err)
		if l.options.at("failed") == nil {
			if err := suspect(l.dir); err != nil {
				l.options.Logger.Warn("The event log could not leave a mark of that for its next start.", "dir", l.dir, "reason", err)
			}
		}
	}
	return err
}

// healthy gives the contents where they may be written to. After a failure, and a pause, it
// copies the files in doubt, reads from the copies what is stored, and goes on from there;
// who reads goes on with the former files until that has succeeded.
func (l *Log) healthy() (*contents, error) {
	c := l.contents.Load()
	f := l.failure.Load()
	if f == nil {
		return c, nil
	}
	if now := l.options.now(); now.Sub(f.last) < l.options.healPause {
		return nil, f.err
	}
	l.indexing.Wait()
	err := secure(l.dir, c.unindexed(), l.options.at)
	var healed *contents
	if err == nil {
		healed, err = load(l.dir, l.options)
	}
	if err != nil {
		l.failure.Store(&failure{f.err, l.options.now()})
		return nil, f.err
	}
	l.contents.Store(healed)
	l.failure.Store(nil)
	if err := c.close(); err != nil {
		l.options.Logger.Warn("The event log could not close its former files.", "dir", l.dir, "reason", err)
	}
	l.options.Logger.Info("The event log can be written to again.", "dir", l.dir)
	return healed, nil
}
