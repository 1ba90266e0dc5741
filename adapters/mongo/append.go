package mongo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/eventlog"
)

const (
	// groupsInFlight is how many groups are written side by side: one takes its positions
	// while another is inserted. More make them smaller, which costs what it gains.
	groupsInFlight = 2
	// groupCommits and groupBytes bound a group: it has to fit into one message.
	groupCommits = 1000
	groupBytes   = 8 << 20
	// groupPatience is how long a writer waits for the callers that it has just answered.
	groupPatience = 200 * time.Microsecond
	// duplicate is the code of an error of a unique index.
	duplicate = 11000
)

// request is a caller that waits.
type request struct {
	commit eventlog.Commit
	// before are the heads that the parts were decided after.
	before []head
	// position is the one taken last. It changes in the hands of the group alone.
	position eventlog.Position
	size     int
	// taken tells that a group has it, or that its caller has left.
	taken atomic.Bool
	// outcome is what its group found out. answer has room for it.
	outcome error
	answer  chan error
}

// errDuplicate tells that a unique index refused a commit.
var errDuplicate = errors.New("something of the commit is stored already")

// queue holds the callers that wait, and what the groups that are being written touch.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	streams map[eventlog.Stream]struct{}
	causes  map[eventlog.Cause]struct{}
	writers int
	closed  bool
	// length is that of waiting.
	length atomic.Int64
	// writing are the writers.
	writing sync.WaitGroup
}

// Append implements eventlog.Log. A caller whose context ends, or who waited for 10 s, gets
// an error that is neither a conflict nor a stored cause, and the commit may be stored.
func (l *Log) Append(ctx context.Context, commit eventlog.Commit) error {
	if err := commit.Check(); err != nil {
		return err
	}
	return l.do(ctx, func(ctx context.Context) error { return l.append(ctx, commit) })
}

func (l *Log) append(ctx context.Context, commit eventlog.Commit) error {
	for pause := time.Millisecond; ; pause *= 2 {
		before, err := l.prove(ctx, commit)
		if err != nil {
			return err
		}
		if before != nil {
			r := newRequest(commit, before)
			if err = l.submit(ctx, r); !errors.Is(err, errDuplicate) {
				return err
			}
			if err, decided := l.judge(ctx, commit, r.position); decided {
				return err
			}
		} else if err, decided := l.judge(ctx, commit, 0); decided {
			return err
		}
		// Somebody else's commit is in the way that can't be read yet, or what was in the way
		// is gone.
		l.heads.forget()
		if !wait(ctx, pause) {
			return ctx.Err()
		}
	}
}

// prove gives the heads that the commit's parts were decided after, where these are the
// heads of their streams as far as anybody knows, else nil.
func (l *Log) prove(ctx context.Context, commit eventlog.Commit) ([]head, error) {
	before := make([]head, len(commit.Parts))
	for i, p := range commit.Parts {
		if (head{}).precedes(p) {
			continue // the unique index says whether the stream is empty
		}
		h, known := l.heads.get(p.Stream)
		if !known || !h.precedes(p) {
			var err error
			if h, err = l.head(ctx, p.Stream); err != nil {
				return nil, err
			}
		}
		if !h.precedes(p) {
			return nil, nil
		}
		before[i] = h
	}
	return before, nil
}

// judge says why a commit can't be written; decided is false where nothing is in its way.
// position is where the caller tried to store it, 0 if it did not.
func (l *Log) judge(ctx context.Context, commit eventlog.Commit, position eventlog.Position) (err error, decided bool) {
	found, ok, err := l.byCause(ctx, commit.Cause)
	switch {
	case err != nil:
		return err, true
	case ok && found.same(commit) && found.Position == position:
		return nil, true // the driver wrote it twice, for the first answer was lost
	case ok:
		return &eventlog.CauseStoredError{Stored: found.Commit}, true
	}
	found, ok, err = l.byID(ctx, commit)
	if err != nil {
		return err, true
	}
	if ok && found.same(commit) {
		return nil, true
	}
	for _, p := range commit.Parts {
		h, err := l.head(ctx, p.Stream)
		if err != nil {
			return err, true
		}
		if !h.precedes(p) {
			return &eventlog.ConflictError{Stream: p.Stream, Expected: p.Version - 1, Actual: h.version}, true
		}
	}
	if ok {
		return fmt.Errorf("%w: another commit has the id %s", eventlog.ErrMalformed, commit.ID), true
	}
	return nil, false
}

func newRequest(commit eventlog.Commit, before []head) *request {
	r := &request{commit: commit, before: before, answer: make(chan error, 1), size: 200}
	// The caller may leave, and write to what is its own.
	r.commit.Parts = slices.Clone(commit.Parts)
	for i, p := range commit.Parts {
		r.commit.Parts[i].Body = slices.Clone(p.Body)
		r.size += len(p.Body) + 3*len(p.Stream) + 200
	}
	return r
}

// submit has a commit written, and waits for what became of it.
func (l *Log) submit(ctx context.Context, r *request) error {
	if err := l.put(r); err != nil {
		return err
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		r.taken.Store(true) // whoever was not taken is not written
		return ctx.Err()
	}
}

func (l *Log) put(r *request) error {
	q := &l.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return eventlog.ErrClosed
	}
	q.waiting = append(q.waiting, r)
	q.length.Store(int64(len(q.waiting)))
	if q.writers < groupsInFlight {
		q.writers++
		q.writing.Go(l.write)
	}
	return nil
}

// write writes groups until nobody waits for one.
func (l *Log) write() {
	for {
		group := l.queue.take()
		if len(group) == 0 {
			return
		}
		l.writeGroup(group)
		l.queue.release(group)
		for _, r := range group {
			r.answer <- r.outcome
		}
		l.tidy()
		// Those who were just answered are likely to come back at once, and a group without
		// them would be half as large.
		for start := time.Now(); l.queue.length.Load() < int64(len(group)) && time.Since(start) < groupPatience; {
			runtime.Gosched()
		}
	}
}

// take takes as many callers as go into one group, in order, and leaves the others. No two
// groups that are under way touch the same stream or have the same cause, nor do two
// callers of one: the second is decided when the first is durable. Where there is nobody to
// take, the writer has ended.
func (q *queue) take() (group []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	var others []*request
	for i, r := range q.waiting {
		if len(group) == groupCommits || size > groupBytes {
			others = append(others, q.waiting[i:]...)
			break
		}
		if q.busy(r) {
			others = append(others, r)
			continue
		}
		if !r.taken.CompareAndSwap(false, true) {
			continue // its caller has left
		}
		for _, p := range r.commit.Parts {
			q.streams[p.Stream] = struct{}{}
		}
		if !r.commit.Cause.IsZero() {
			q.causes[r.commit.Cause] = struct{}{}
		}
		group = append(group, r)
		size += r.size
	}
	q.waiting = others
	q.length.Store(int64(len(others)))
	if len(group) == 0 {
		q.writers--
	}
	return group
}

func (q *queue) busy(r *request) bool {
	if _, ok := q.causes[r.commit.Cause]; ok {
		return true
	}
	return slices.ContainsFunc(r.commit.Parts, func(p eventlog.Part) bool {
		_, ok := q.streams[p.Stream]
		return ok
	})
}

// release lets others touch what a group has touched.
func (q *queue) release(group []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range group {
		delete(q.causes, r.commit.Cause)
		for _, p := range r.commit.Parts {
			delete(q.streams, p.Stream)
		}
	}
}

// close refuses those who wait, and waits for what is being written.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	for _, r := range q.waiting {
		r.answer <- eventlog.ErrClosed
	}
	q.waiting = nil
	q.mu.Unlock()
	q.writing.Wait()
}

// writeGroup writes a group, and leaves with each member what became of it.
func (l *Log) writeGroup(group []*request) {
	ctx, cancel := l.store.bound(context.Background())
	defer cancel()
	for again := group; len(again) > 0; {
		err := l.prepare(ctx, again)
		if err != nil {
			l.fail(again, err)
			return
		}
		if again = l.settle(ctx, again, l.insert(ctx, again)); len(again) == 0 {
			return
		}
		// A position was taken: the counter is behind.
		if err := l.recount(ctx, 0); err != nil {
			l.fail(again, err)
			return
		}
	}
}

// prepare takes the group's positions and writes the marks of streams that it opens, side
// by side.
func (l *Log) prepare(ctx context.Context, group []*request) error {
	var marks []string
	var after eventlog.Position
	for _, r := range group {
		for i, p := range r.commit.Parts {
			after = max(after, r.before[i].position)
			if r.before[i].opens(p) {
				marks = append(marks, key(p.Stream, p.Version))
			}
		}
	}
	var markErr error
	var both sync.WaitGroup
	if len(marks) > 0 {
		both.Go(func() { markErr = l.markOpen(ctx, marks) })
	}
	first, err := l.positions(ctx, len(group), after)
	both.Wait()
	for i, r := range group {
		r.position = first + eventlog.Position(i)
	}
	if err == nil {
		err = markErr
	}
	return err
}

// insert writes a group's documents.
func (l *Log) insert(ctx context.Context, group []*request) error {
	documents := make([]*document, len(group))
	for i, r := range group {
		nth := make([]int64, len(r.commit.Parts))
		for j, p := range r.commit.Parts {
			nth[j] = r.before[j].then(p, r.position).nth
		}
		documents[i] = encode(r.commit, nth)
		documents[i].Position = int64(r.position)
	}
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(ctx, deadline.Add(-l.store.patience/2)) // the rest is for looking back
	defer cancel()
	_, err := l.store.events.InsertMany(ctx, documents, options.InsertMany().SetOrdered(false))
	return err
}

// settle finds out what became of a group for which the server gave err, but for those
// whose position was taken: these it gives back.
func (l *Log) settle(ctx context.Context, group []*request, err error) (again []*request) {
	var bulk mongo.BulkWriteException
	known := err == nil || errors.As(err, &bulk)
	refused := map[int]mongo.BulkWriteError{}
	for _, e := range bulk.WriteErrors {
		refused[e.Index] = e
	}
	var unknown []*request
	for i, r := range group {
		e, no := refused[i]
		switch {
		case no && e.Code == duplicate && ofPosition(e):
			again = append(again, r)
		case no && e.Code == duplicate:
			r.outcome = errDuplicate
		case no:
			r.outcome = e
		case !known || bulk.WriteConcernError != nil:
			unknown = append(unknown, r)
		default:
			l.stored(r, r.position)
		}
	}
	if len(unknown) > 0 {
		l.lookBack(ctx, unknown, err)
	}
	return again
}

// ofPosition tells whether it is the position that is taken, and nothing else.
func ofPosition(e mongo.BulkWriteError) bool {
	_, err := e.Raw.LookupErr("keyPattern", "position")
	return err == nil
}

// stored takes note of a commit that is stored.
func (l *Log) stored(r *request, position eventlog.Position) {
	for i, p := range r.commit.Parts {
		l.heads.put(p.Stream, r.before[i].then(p, position))
		if p.Kind == eventlog.Closing {
			l.closings.put(p.Stream, p.Version)
		}
	}
	r.outcome = nil
}

// lookBack looks what became of commits whose outcome is not known. Those that
// are not there may still come: their callers try them again, or decide anew, and whichever
// comes first is stored.
func (l *Log) lookBack(ctx context.Context, group []*request, cause error) {
	byID := map[string]*request{}
	ids := make([]bson.Binary, len(group))
	for i, r := range group {
		ids[i] = idOf(r.commit.ID)
		byID[string(r.commit.ID[:])] = r
	}
	err := l.find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, options.Find(), func(raw bson.Raw) error {
		s, damaged := decode(raw, "")
		if r := byID[string(s.ID[:])]; damaged == nil && r != nil && s.same(r.commit) {
			delete(byID, string(s.ID[:]))
			l.stored(r, s.Position)
		}
		return nil
	})
	if err != nil {
		cause = errors.Join(cause, err)
	}
	l.fail(slices.Collect(maps.Values(byID)), cause)
}

// fail takes note of commits of which nothing is known.
func (l *Log) fail(group []*request, err error) {
	l.heads.forget()
	for _, r := range group {
		r.outcome = err
	}
}
