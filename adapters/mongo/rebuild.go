package mongo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
)

// Source is a log to rebuild from. Every eventlog.Log is one.
type Source interface {
	// All is eventlog.Log's.
	All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error]
	// Read is eventlog.Log's. It is asked for the few streams that a pass over all commits
	// does not do for: of sessions that were revised long after their close, or that
	// another process goes on with.
	Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error]
}

// Rebuilt is how far a rebuild is.
type Rebuilt struct {
	// Commits and Events were read.
	Commits, Events uint64
	// Written documents were missing or said something else, Unchanged ones said it already. A
	// session that was revised long after its close may count twice.
	Written, Unchanged uint64
	// Stale is how many documents could not be made, by reason, as in ProjectionStats.
	Stale map[string]int
}

const (
	// progressEvery is how many commits are read between two words on the progress.
	progressEvery = 1_000
	// closedKept is how many closed sessions are kept before they are stored: a revision
	// mostly comes soon.
	closedKept = 2 * bulkSize
)

// Rebuild makes the documents of all streams of a log what the log says, in one pass, and
// leaves alone those that say it already, so it may be stopped and run again. It may run
// beside a Central: nothing that is right goes back in time. Documents of streams that the
// log does not have stay. decode is Central's. progress, where it is not nil, is told how
// far it is, now and then and at the end. A stream that can't be read, and a document that
// is refused for good, is counted and said, and the others go on; any other error of log
// or store ends it.
func (p *Projections) Rebuild(ctx context.Context, source Source, decode func(eventlog.Part) (central.Part, error), progress func(Rebuilt)) (Rebuilt, error) {
	r := &rebuild{
		projections: p, source: source, decode: decode, progress: progress,
		folds: map[eventlog.Stream]*rebuilding{}, stale: map[eventlog.Stream]string{}, drivers: map[domain.DriverID]bool{},
	}
	err := r.all(ctx)
	r.tell()
	return r.rebuilt(), err
}

type rebuild struct {
	projections *Projections
	source      Source
	decode      func(eventlog.Part) (central.Part, error)
	progress    func(Rebuilt)

	folds map[eventlog.Stream]*rebuilding
	// closed are those of the folds that are closed, the one that closed first before the others.
	closed []*rebuilding
	// asked are drivers to be stored; drivers are those and some that are.
	asked   []domain.DriverID
	drivers map[domain.DriverID]bool
	stale   map[eventlog.Stream]string
	counts  Rebuilt
	// last is the position of the last commit that was read, lost how many could not be.
	last eventlog.Position
	lost int
	// settle does what there is to do about the documents of some streams, and forgets their
	// folds; settleDrivers about those of the drivers that are asked. They are store and
	// storeDrivers where they are nil.
	settle        func(ctx context.Context, folds []*rebuilding) error
	settleDrivers func(ctx context.Context) error
}

type rebuilding struct {
	*fold
	listed bool // in closed
}

func (r *rebuild) rebuilt() Rebuilt {
	out := r.counts
	out.Stale = map[string]int{}
	for _, why := range r.stale {
		out.Stale[why]++
	}
	return out
}

func (r *rebuild) tell() {
	if r.progress != nil {
		r.progress(r.rebuilt())
	}
}

func (r *rebuild) all(ctx context.Context) (err error) {
	if r.settle == nil {
		r.settle, r.settleDrivers = r.store, r.storeDrivers
	}
	for from := r.last + 1; from != 0; {
		if from, err = r.pass(ctx, from); err != nil {
			return err
		}
	}
	if err := r.settle(ctx, slices.Collect(maps.Values(r.folds))); err != nil {
		return err
	}
	return r.settleDrivers(ctx)
}

// pass folds all commits from a position on, until the end (next is 0) or to one that can't
// be read.
func (r *rebuild) pass(ctx context.Context, from eventlog.Position) (next eventlog.Position, err error) {
	for commit, err := range r.source.All(ctx, from) {
		var damage *eventlog.DamagedError
		switch {
		case errors.As(err, &damage) && damage.Position >= from:
			r.projections.logger.Error("a commit of the event log can't be read; the rebuild goes on behind it", "error", err)
			r.lost++
			if damage.Stream != "" {
				r.damaged(damage.Stream, err)
			}
			return damage.Position + 1, nil
		case err != nil:
			return 0, fmt.Errorf("read the event log: %w", err)
		}
		for _, part := range commit.Parts {
			if err := r.part(ctx, part); err != nil {
				return 0, err
			}
		}
		r.last = commit.Position
		if len(r.closed) >= closedKept {
			if err := r.settle(ctx, slices.Clone(r.closed[:bulkSize])); err != nil {
				return 0, err
			}
		}
		if len(r.asked) >= bulkSize {
			if err := r.settleDrivers(ctx); err != nil {
				return 0, err
			}
		}
		if r.counts.Commits++; r.counts.Commits%progressEvery == 0 {
			r.tell()
		}
	}
	return 0, ctx.Err()
}

// part folds a part.
func (r *rebuild) part(ctx context.Context, stored eventlog.Part) error {
	r.counts.Events += uint64(stored.Events)
	if r.stale[stored.Stream] == staleDamaged {
		return nil
	}
	f := r.folds[stored.Stream]
	if f == nil {
		begun, err := newFold(stored.Stream)
		if err != nil {
			r.damaged(stored.Stream, err)
			return nil
		}
		f = &rebuilding{fold: begun}
		r.folds[stored.Stream] = f
	}
	if stored.Last() <= f.version {
		return nil
	}
	part, err := r.decode(stored)
	if err == nil {
		err = f.apply(part)
	}
	if errors.Is(err, errGap) {
		if err = r.readOn(ctx, f); err == nil && f.version < stored.Last() {
			err = fmt.Errorf("%w: %s has nothing between versions %d and %d", eventlog.ErrDamaged, f.stream, f.version, stored.Version)
		}
	}
	if errors.Is(err, eventlog.ErrDamaged) {
		r.damaged(stored.Stream, err)
		return nil
	}
	if err != nil {
		return err
	}
	if id := asker(part); id != "" {
		r.asks(id)
	}
	if f.closed() && !f.listed {
		f.listed = true
		r.closed = append(r.closed, f)
	}
	return nil
}

func (r *rebuild) asks(id domain.DriverID) {
	if r.drivers[id] {
		return
	}
	if len(r.drivers) >= driversKnown {
		clear(r.drivers)
	}
	r.drivers[id] = true
	r.asked = append(r.asked, id)
}

// readOn folds what the log has of a stream beyond its fold.
func (r *rebuild) readOn(ctx context.Context, f *rebuilding) error {
	for commit, err := range r.source.Read(ctx, f.stream, f.version+1) {
		if err != nil {
			return fmt.Errorf("read %s from the event log: %w", f.stream, err)
		}
		part, err := r.decode(commit.Parts[0])
		if err != nil {
			return err
		}
		if err := f.apply(part); errors.Is(err, errGap) {
			return fmt.Errorf("%w: %s has nothing between versions %d and %d", eventlog.ErrDamaged, f.stream, f.version, part.Version)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (r *rebuild) damaged(stream eventlog.Stream, err error) {
	r.stale[stream] = staleDamaged
	delete(r.folds, stream)
	r.projections.isStale(stream, staleDamaged, err)
}

// store makes the documents of some streams what their folds say, and forgets the folds.
func (r *rebuild) store(ctx context.Context, folds []*rebuilding) error {
	return r.each(ctx, folds, r.storeIn)
}

// each has something done with the folds of some streams and their documents, as they are
// found in a collection, and forgets the folds.
func (r *rebuild) each(ctx context.Context, folds []*rebuilding, do func(ctx context.Context, collection string, folds []*rebuilding, found map[string]bson.Raw) error) error {
	for some := range slices.Chunk(folds, bulkSize) {
		byCollection := map[string][]*rebuilding{}
		ids := map[string][]string{}
		for _, f := range some {
			collection, id, _ := placeOf(f.stream)
			byCollection[collection] = append(byCollection[collection], f)
			ids[collection] = append(ids[collection], id)
		}
		for collection, all := range byCollection {
			found, err := r.projections.shelves.read(ctx, collection, ids[collection])
			if err != nil {
				return err
			}
			if err := do(ctx, collection, all, found); err != nil {
				return err
			}
		}
		for _, f := range some {
			delete(r.folds, f.stream)
		}
		r.closed = slices.DeleteFunc(r.closed, func(f *rebuilding) bool { return r.folds[f.stream] != f })
	}
	return nil
}

func (r *rebuild) storeIn(ctx context.Context, collection string, folds []*rebuilding, found map[string]bson.Raw) error {
	var wrong []replacement
	var streams []eventlog.Stream
	for _, f := range folds {
		if r.folds[f.stream] != f {
			continue // damaged meanwhile
		}
		_, id, _ := placeOf(f.stream)
		change, v, err := mend(f.fold, found[id], func() error { return r.readOn(ctx, f) })
		switch {
		case errors.Is(err, eventlog.ErrDamaged):
			r.damaged(f.stream, err)
		case err != nil:
			return err
		case v != same:
			wrong, streams = append(wrong, change), append(streams, f.stream)
		case found[id] != nil:
			r.counts.Unchanged++
		}
	}
	return r.write(ctx, collection, wrong, streams)
}

// write stores the documents of streams.
func (r *rebuild) write(ctx context.Context, collection string, documents []replacement, streams []eventlog.Stream) error {
	if len(documents) == 0 {
		return nil
	}
	for i, err := range r.projections.shelves.replace(ctx, collection, documents) {
		var refused *refusedError
		switch {
		case errors.As(err, &refused):
			r.stale[streams[i]] = refused.why
			r.projections.isStale(streams[i], refused.why, err)
		case errors.Is(err, errNewer): // a Central was there meanwhile
			r.counts.Unchanged++
		case err != nil:
			return err
		default:
			r.counts.Written++
		}
	}
	return nil
}

func (r *rebuild) storeDrivers(ctx context.Context) error {
	ids := r.asked
	r.asked = nil
	for some := range slices.Chunk(ids, bulkSize) {
		names := make([]string, len(some))
		for i, id := range some {
			names[i] = string(id)
		}
		found, err := r.projections.shelves.read(ctx, driversCollection, names)
		if err != nil {
			return err
		}
		var wrong []replacement
		var streams []eventlog.Stream
		for _, id := range some {
			change, v, err := mendDriver(id, found[string(id)])
			switch {
			case err != nil:
				return err
			case v != same:
				wrong, streams = append(wrong, change), append(streams, driverStream(id))
			default:
				r.counts.Unchanged++
			}
		}
		if err := r.write(ctx, driversCollection, wrong, streams); err != nil {
			return err
		}
	}
	return nil
}
