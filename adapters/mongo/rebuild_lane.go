package mongo

import (
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

const (
	// laneSteps is how many steps are handed to a lane at once, laneQueue how many such handfuls wait.
	laneSteps, laneQueue = 128, 4
	// laneBulk is how many documents a lane has looked at, at once; closedKept how many closed
	// sessions it keeps before: a revision mostly comes soon.
	laneBulk   = 250
	closedKept = 2 * laneBulk
)

// lane folds the streams that fall to it, and has their documents looked at. Whoever reads
// the log hands over steps; all else is of the goroutine that runs.
type lane struct {
	*rebuild
	steps   chan []step
	pending []step

	folds map[eventlog.Stream]*rebuilding
	// closed are those of the folds that are closed, the one that closed first before the others.
	closed []*rebuilding
	// broken are streams that can't be read.
	broken map[eventlog.Stream]bool
}

// step is a part to be folded; with damage, a stream of which a part can't be read.
type step struct {
	eventlog.Part
	damage error
}

type rebuilding struct {
	*fold
	listed bool // in closed
}

func newLane(r *rebuild) *lane {
	return &lane{
		rebuild: r, steps: make(chan []step, laneQueue),
		folds: map[eventlog.Stream]*rebuilding{}, broken: map[eventlog.Stream]bool{},
	}
}

// take takes a step over, at once or with others. It may only be called where the log is read.
func (l *lane) take(ctx context.Context, s step) {
	if l.pending = append(l.pending, s); len(l.pending) == laneSteps {
		l.flush(ctx)
	}
}

// flush hands over what is pending.
func (l *lane) flush(ctx context.Context) {
	if len(l.pending) == 0 {
		return
	}
	select {
	case l.steps <- l.pending:
	case <-ctx.Done():
	}
	l.pending = make([]step, 0, laneSteps)
}

// run folds until there are no more steps, or ctx ends.
func (l *lane) run(ctx context.Context) error {
	for steps := range l.steps {
		for _, s := range steps {
			if err := l.fold(ctx, s); err != nil {
				return err
			}
		}
		if len(l.closed) >= closedKept {
			if err := l.settle(ctx, slices.Clone(l.closed[:laneBulk])); err != nil {
				return err
			}
		}
		if err := l.settleDrivers(ctx, laneBulk); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	left := make([]*rebuilding, 0, len(l.folds))
	for _, f := range l.folds {
		left = append(left, f)
	}
	return l.settle(ctx, left)
}

// fold folds a part.
func (l *lane) fold(ctx context.Context, s step) error {
	if l.broken[s.Stream] {
		return nil
	}
	if s.damage != nil {
		l.breaks(s.Stream, s.damage)
		return nil
	}
	f := l.folds[s.Stream]
	if f == nil {
		begun, err := newFold(s.Stream)
		if err != nil {
			l.breaks(s.Stream, err)
			return nil
		}
		f = &rebuilding{fold: begun}
		l.folds[s.Stream] = f
	}
	if s.Last() <= f.version {
		return nil
	}
	part, err := l.decode(s.Part)
	if err == nil {
		if err = f.apply(part); errors.Is(err, errGap) {
			if err = l.resume(ctx, f, s.Version); err == nil {
				err = f.apply(part)
			}
		}
	}
	if errors.Is(err, eventlog.ErrDamaged) {
		l.breaks(s.Stream, err)
		return nil
	}
	if err != nil {
		return err
	}
	if id := asker(part); id != "" {
		l.asks(id)
	}
	if f.closed() && !f.listed {
		f.listed = true
		l.closed = append(l.closed, f)
	}
	return nil
}

// resume folds what lies before a version: the fold was forgotten, or the commits between
// could not be read where they are.
func (l *lane) resume(ctx context.Context, f *rebuilding, version eventlog.Version) error {
	forgotten := f.version == 0
	if err := l.readOn(ctx, f.fold, version-1); err != nil {
		return err
	}
	if f.version+1 != version {
		return gap(f.fold, version)
	}
	if !forgotten || !f.closed() {
		return nil
	}
	d, has, err := f.document()
	if has {
		l.gaveBefore(d)
	}
	return err
}

// breaks notes a stream that can't be read.
func (l *lane) breaks(stream eventlog.Stream, err error) {
	l.broken[stream] = true
	delete(l.folds, stream)
	l.isStale(stream, staleDamaged, err)
}

// settle has the documents of some streams looked at, and forgets their folds.
func (l *lane) settle(ctx context.Context, folds []*rebuilding) error {
	for some := range slices.Chunk(folds, laneBulk) {
		byCollection := map[string][]wanted{}
		for _, f := range some {
			if l.broken[f.stream] {
				continue
			}
			delete(l.folds, f.stream)
			d, has, err := f.document()
			if err != nil {
				return err
			}
			if has {
				l.gives(d)
				byCollection[d.collection] = append(byCollection[d.collection], wanted{d, f.stream, f.fold})
			}
		}
		for _, all := range byCollection {
			if err := l.look(ctx, all, false); err != nil {
				return err
			}
		}
	}
	l.closed = slices.DeleteFunc(l.closed, func(f *rebuilding) bool { return l.folds[f.stream] != f })
	return nil
}

// wanted is a document as the log gives it.
type wanted struct {
	projection
	stream eventlog.Stream
	// fold is what it was made of; nil where it is a driver's.
	fold *fold
}

// mend is what makes a stored document what it should be, and how it stands to that.
func (r *rebuild) mend(ctx context.Context, w wanted, found bson.Raw) (replacement, verdict, error) {
	if w.fold == nil {
		return mendDriver(domain.DriverID(w.id), found)
	}
	return mendTo(w.projection, w.fold, found, func() error { return r.readOn(ctx, w.fold, 0) })
}

// look compares documents of one collection with those that the log gives, and makes them
// so. In a dry run, where they seem wrong, they are looked at again unless this look is final.
func (r *rebuild) look(ctx context.Context, all []wanted, final bool) error {
	for some := range slices.Chunk(all, laneBulk) {
		ids := make([]string, len(some))
		for i, w := range some {
			ids[i] = w.id
		}
		found, err := r.projections.shelves.read(ctx, some[0].collection, ids)
		if err != nil {
			return err
		}
		var wrong []mismatch
		for _, w := range some {
			there := found[w.id]
			change, v, err := r.mend(ctx, w, there)
			switch {
			case errors.Is(err, eventlog.ErrDamaged):
				r.isStale(w.stream, staleDamaged, err)
			case err != nil:
				return err
			case v == same:
				r.count(&r.counts.Same, 1)
			case (v == ahead || v == unproved) && w.fold != nil && r.isNewer(there, w.fold):
				r.found(Difference{Collection: w.collection, ID: w.id, Kind: DocumentNewer})
			case v == unproved && r.Until == 0:
				r.found(Difference{
					Collection: w.collection, ID: w.id, Kind: DocumentUnproved, Fields: fieldDifferences("", change.body, there),
				})
			case r.DryRun && !final && r.doubt(w):
			default:
				wrong = append(wrong, mismatch{change, w.stream, there, v})
			}
		}
		if err := r.put(ctx, wrong); err != nil {
			return err
		}
	}
	return nil
}

// isNewer tells whether a document that claims more than the log has may be right.
func (r *rebuild) isNewer(there bson.Raw, f *fold) bool {
	at, ok := there.Lookup("updated_at").DateTimeOK()
	return ok && at >= int64(f.updatedAt()) && r.mayLack(domain.UnixMillis(at))
}

// mayLack tells whether the log may have nothing of an instant that MongoDB knows of.
func (r *rebuild) mayLack(at domain.UnixMillis) bool {
	return r.Behind != 0 && at >= r.Behind && (r.Ahead == 0 || at < r.Ahead)
}

// mismatch is a document that is not as the log has it.
type mismatch struct {
	replacement
	stream eventlog.Stream
	// there is what is stored; nil where nothing is.
	there bson.Raw
	is    verdict
}

// put stores documents of one collection instead of what is there, and tells of each.
func (r *rebuild) put(ctx context.Context, documents []mismatch) error {
	outcomes := make([]error, len(documents))
	if !r.DryRun && len(documents) > 0 {
		list := make([]replacement, len(documents))
		for i, d := range documents {
			list[i] = d.replacement
		}
		outcomes = r.projections.shelves.replace(ctx, documents[0].collection, list)
	}
	for i, err := range outcomes {
		d := documents[i]
		var refused *refusedError
		switch {
		case errors.As(err, &refused):
			r.isStale(d.stream, refused.why, err)
			r.staysAway(d)
		case errors.Is(err, errNewer): // a Central was there meanwhile
			r.count(&r.counts.Same, 1)
		case err != nil:
			return err
		case d.there == nil:
			if r.DryRun {
				r.staysAway(d)
			}
			r.found(Difference{Collection: d.collection, ID: d.id, Kind: DocumentMissing})
		default:
			r.found(Difference{
				Collection: d.collection, ID: d.id, Kind: DocumentDiffers,
				Behind: d.is == older && !d.contradicts(d.there), Fields: fieldDifferences("", d.body, d.there),
			})
		}
	}
	return nil
}

// staysAway takes in that a document will not be in MongoDB, if it was not there.
func (r *rebuild) staysAway(d mismatch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.tallies[d.collection]; t != nil && d.there == nil {
		t.remove(d.id)
	}
}
