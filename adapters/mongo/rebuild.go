package mongo

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"sync"

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
	// another process goes on with. It may be called from several goroutines.
	Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error]
}

// RebuildOptions say what a rebuild is about. The zero value is: all documents, as the log
// has them, and the log has all that there is.
type RebuildOptions struct {
	// Only is the id of a point or a session, or, where the log has neither of this id, of a
	// driver: their documents alone are looked at. Empty: all are.
	Only string
	// Until leaves out the commits after an instant: the documents become what they were then,
	// also those that are newer. 0: none is left out.
	Until domain.UnixMillis
	// Behind is from when on MongoDB may know more than the log: what it has of this time or
	// later stays, where the log has less of it, or nothing. 0: it can't.
	Behind domain.UnixMillis
	// Ahead is from when on a document that says to be of this time or later is not believed: it
	// has not come yet. 0: any is.
	Ahead domain.UnixMillis
	// Copy tells that the log, a copy of another, may lack what came lately: drivers of which it
	// knows nothing stay, for their documents don't say when they were made. Where Behind
	// is 0 it does not count.
	Copy bool
	// DryRun asks for what would be changed, and that nothing is.
	DryRun bool
	// Found, where it is not nil, is told of each document that is, or would be, changed, or stays
	// as one that is newer or unproved. It is called by one goroutine at a time.
	Found func(Difference)
	// Progress, where it is not nil, is told how far the rebuild is, now and then and at the end.
	Progress func(Rebuilt)
}

// Rebuilt is how far a rebuild is.
type Rebuilt struct {
	// Commits and Events were read.
	Commits, Events uint64
	// Same documents said what the log says. A session that was revised long after its close
	// may count twice, here and below.
	Same uint64
	// Missing documents were made, Different ones made right, Orphaned ones, of which the log
	// knows nothing, removed; in a dry run they would be.
	Missing, Different, Orphaned uint64
	// Newer documents say more than the log may have: they stay.
	Newer uint64
	// Unsure documents stay, too: the log knows nothing of them, but part of it can't be read,
	// or what came lately may be about them.
	Unsure uint64
	// Unproved documents have a bill that the log has not: they stay.
	Unproved uint64
	// Lost is how many commits can't be read, Stale how many documents could not be made, by
	// reason, as in ProjectionStats.
	Lost  int
	Stale map[string]int
	// Documents is how many the log gives, and Digest stands for them: it is the same for the
	// same events, wherever they are read from.
	Documents uint64
	Digest    Digest
}

var (
	// ErrForeign tells of documents that were made of another log than the one given.
	ErrForeign = errors.New("the documents in this database are of another event log")
	// ErrLive tells of a database that a network uses: its documents don't go back in time.
	ErrLive = errors.New("a network uses this database")
	// ErrUnknownID tells of an id of which neither the log nor MongoDB has anything.
	ErrUnknownID = errors.New("neither the event log nor MongoDB has anything of this id")
)

const (
	// progressEvery is how many commits are read between two words on the progress.
	progressEvery = 1_000
	// rebuildLanes is how many streams are folded, and bulks read and written, side by side.
	rebuildLanes = 4
)

// Rebuild makes the documents of all streams of a log what the log says, in one pass, leaves
// alone those that say it already, and removes those of which the log knows nothing. It may
// be stopped and run again. It may run beside a Central: nothing that is right goes back in
// time. Its memory is that of the open streams, of some that have closed, and of the drivers'
// ids. decode is Central's; it is called from several goroutines. A stream that can't be read,
// and a document that is refused for good, is counted and said, and the others go on; any
// other error of log or store ends it. A bill that a document has and the log has not is never
// taken away, but where Until is given. ErrForeign, ErrLive and ErrUnknownID come before
// anything is changed.
func (p *Projections) Rebuild(ctx context.Context, source Source, decode func(eventlog.Part) (central.Part, error), o RebuildOptions) (Rebuilt, error) {
	if err := p.mayBuild(ctx, source, o.Until != 0); err != nil {
		return Rebuilt{}, err
	}
	return newRebuild(p, source, decode, o).run(ctx)
}

// rebuild is one under way.
type rebuild struct {
	RebuildOptions
	projections *Projections
	source      Source
	decode      func(eventlog.Part) (central.Part, error)
	lanes       [rebuildLanes]*lane

	// What follows is of the one goroutine that reads the log. last is the position of the last
	// commit that was read, lost how many could not be.
	commits, events uint64
	last            eventlog.Position
	lost            int

	mu sync.Mutex
	// What follows is all lanes'.
	counts Rebuilt
	stale  map[eventlog.Stream]string
	// tallies are of the documents that MongoDB should have in the end, by collection.
	tallies map[string]*tally
	// drivers are all who have asked; asked are those whose documents are to be looked at.
	drivers map[domain.DriverID]struct{}
	asked   []domain.DriverID
	// doubts are what a dry run looks at once more.
	doubts []wanted
}

func newRebuild(p *Projections, source Source, decode func(eventlog.Part) (central.Part, error), o RebuildOptions) *rebuild {
	if o.Until != 0 {
		source = past{source, o.Until}
	}
	r := &rebuild{
		RebuildOptions: o, projections: p, source: source, decode: decode,
		stale: map[eventlog.Stream]string{}, drivers: map[domain.DriverID]struct{}{},
		tallies: map[string]*tally{pointsCollection: {}, sessionsCollection: {}},
	}
	for i := range r.lanes {
		r.lanes[i] = newLane(r)
	}
	return r
}

func (r *rebuild) run(ctx context.Context) (Rebuilt, error) {
	var err error
	if r.Only != "" {
		err = r.only(ctx, r.Only)
	} else {
		if err = r.all(ctx); err == nil {
			err = r.lookAgain(ctx)
		}
		if err == nil && r.commits > 0 {
			err = r.orphans(ctx)
		}
	}
	r.tell()
	return r.rebuilt(), err
}

func (r *rebuild) rebuilt() Rebuilt {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.counts
	out.Commits, out.Events, out.Lost, out.Stale = r.commits, r.events, r.lost, map[string]int{}
	for _, why := range r.stale {
		out.Stale[why]++
	}
	return out
}

func (r *rebuild) tell() {
	if r.Progress != nil {
		r.Progress(r.rebuilt())
	}
}

// found tells of a document that is not as the log has it, and counts it.
func (r *rebuild) found(d Difference) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch d.Kind {
	case DocumentMissing:
		r.counts.Missing++
	case DocumentDiffers:
		r.counts.Different++
	case DocumentOrphaned:
		r.counts.Orphaned++
	case DocumentNewer:
		r.counts.Newer++
	case DocumentUnproved:
		r.counts.Unproved++
	}
	if r.Found != nil {
		r.Found(d)
	}
}

// count counts what nothing is told of.
func (r *rebuild) count(what *uint64, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*what += uint64(n)
}

// gives takes in that the log gives a document.
func (r *rebuild) gives(d projection) {
	sum := documentSum(d.collection, d.id, d.body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Documents++
	r.counts.Digest = r.counts.Digest.plus(sum)
	if t := r.tallies[d.collection]; t != nil {
		t.add(d.id)
	}
}

// gaveBefore takes back that the log gives a document: it gives a later one.
func (r *rebuild) gaveBefore(d projection) {
	sum := documentSum(d.collection, d.id, d.body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts.Documents--
	r.counts.Digest = r.counts.Digest.minus(sum)
	r.tallies[d.collection].remove(d.id)
}

// isStale notes that the document of a stream can't be made.
func (r *rebuild) isStale(stream eventlog.Stream, why string, err error) {
	r.mu.Lock()
	r.stale[stream] = why
	r.mu.Unlock()
	r.projections.isStale(stream, why, err)
}

// all folds all commits, and has each document looked at.
func (r *rebuild) all(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var folding sync.WaitGroup
	for _, l := range r.lanes {
		folding.Go(func() {
			if err := l.run(ctx); err != nil {
				fail(err)
			}
		})
	}
	if err := r.read(ctx); err != nil {
		fail(err)
	}
	for _, l := range r.lanes {
		l.flush(ctx)
		close(l.steps)
	}
	folding.Wait()
	if err := r.settleDrivers(ctx, 0); err != nil {
		fail(err)
	}
	return context.Cause(ctx)
}

// read hands all commits to the lanes, part by part.
func (r *rebuild) read(ctx context.Context) (err error) {
	for from := r.last + 1; from != 0; {
		if from, err = r.pass(ctx, from); err != nil {
			return err
		}
	}
	return nil
}

// pass is read from a position on, until the end (next is 0) or to a commit that can't be read.
func (r *rebuild) pass(ctx context.Context, from eventlog.Position) (next eventlog.Position, err error) {
	for commit, err := range r.source.All(ctx, from) {
		var damage *eventlog.DamagedError
		switch {
		case errors.As(err, &damage) && damage.Position >= from:
			r.projections.logger.Error("a commit of the event log can't be read; the rebuild goes on behind it", "error", err)
			r.lost++
			if damage.Stream != "" {
				r.laneOf(damage.Stream).take(ctx, step{Part: eventlog.Part{Stream: damage.Stream}, damage: err})
			}
			return damage.Position + 1, nil
		case err != nil:
			return 0, fmt.Errorf("read the event log: %w", err)
		}
		for _, part := range commit.Parts {
			r.laneOf(part.Stream).take(ctx, step{Part: part})
			r.events += uint64(part.Events)
		}
		r.last = commit.Position
		if r.commits++; r.commits%progressEvery == 0 {
			r.tell()
		}
	}
	return 0, ctx.Err()
}

// laneOf is the lane that a stream falls to: always the same, so its parts stay in order.
func (r *rebuild) laneOf(stream eventlog.Stream) *lane {
	h := fnv.New32a()
	h.Write([]byte(stream))
	return r.lanes[h.Sum32()%rebuildLanes]
}

// asks takes in that a driver has asked for a supply.
func (r *rebuild) asks(id domain.DriverID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.drivers[id]; !known {
		r.drivers[id] = struct{}{}
		r.asked = append(r.asked, id)
	}
}

// settleDrivers looks at the documents of the drivers that have asked, where they are more than so many.
func (r *rebuild) settleDrivers(ctx context.Context, more int) error {
	r.mu.Lock()
	var ids []domain.DriverID
	if len(r.asked) > more {
		ids, r.asked = r.asked, nil
	}
	r.mu.Unlock()
	all := make([]wanted, len(ids))
	for i, id := range ids {
		d, err := driverDocument(id)
		if err != nil {
			return err
		}
		r.gives(d)
		all[i] = wanted{projection: d, stream: driverStream(id)}
	}
	return r.look(ctx, all, false)
}

// readOn folds what the log has of a stream beyond its fold, up to a version; 0: all.
func (r *rebuild) readOn(ctx context.Context, f *fold, to eventlog.Version) error {
	for commit, err := range r.source.Read(ctx, f.stream, f.version+1) {
		if err != nil {
			return fmt.Errorf("read %s from the event log: %w", f.stream, err)
		}
		if to != 0 && commit.Parts[0].Version > to {
			return nil
		}
		part, err := r.decode(commit.Parts[0])
		if err != nil {
			return err
		}
		if err := f.apply(part); errors.Is(err, errGap) {
			return gap(f, part.Version)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// gap tells of parts that the log has not any more.
func gap(f *fold, next eventlog.Version) error {
	return fmt.Errorf("%w: %s has nothing between versions %d and %d", eventlog.ErrDamaged, f.stream, f.version, next)
}

// only is all for the documents of one id.
func (r *rebuild) only(ctx context.Context, id string) error {
	known, documented := false, map[string]bool{}
	for _, stream := range []eventlog.Stream{central.PointStream(domain.PointID(id)), central.SessionStream(domain.SessionID(id))} {
		f, err := newFold(stream)
		if err == nil {
			err = r.readOn(ctx, f, 0)
		}
		switch {
		case errors.Is(err, eventlog.ErrDamaged):
			known = true
			r.isStale(stream, staleDamaged, err)
			continue
		case err != nil:
			return err
		case f.version == 0:
			continue
		}
		known = true
		r.events += uint64(f.version)
		collection, _, _ := placeOf(stream)
		documented[collection] = f.documented()
		if err := r.laneOf(stream).settle(ctx, []*rebuilding{{fold: f}}); err != nil {
			return err
		}
	}
	documented[driversCollection] = known // is not looked at
	if !known {
		asked, err := r.hasAsked(ctx, domain.DriverID(id))
		if err == nil && asked {
			known, documented[driversCollection] = true, true
			r.asks(domain.DriverID(id))
			err = r.settleDrivers(ctx, 0)
		}
		if err != nil {
			return err
		}
	}
	if err := r.lookAgain(ctx); err != nil {
		return err
	}
	s := newStrangers()
	for _, collection := range collections {
		if documented[collection] {
			continue
		}
		if err := s.read(ctx, r.projections.shelves, collection, []string{id}); err != nil {
			return err
		}
	}
	if len(s.all) == 0 && !known {
		return fmt.Errorf("%w: %s", ErrUnknownID, id)
	}
	return r.secondLook(ctx, s)
}

// past is a log as it was at an instant: within a stream time never runs backwards.
type past struct {
	Source
	until domain.UnixMillis
}

// All is Source's.
func (p past) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for commit, err := range p.Source.All(ctx, from) {
			if err == nil && commit.At > p.until {
				continue
			}
			if !yield(commit, err) {
				return
			}
		}
	}
}

// Read is Source's.
func (p past) Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		for commit, err := range p.Source.Read(ctx, stream, from) {
			if err == nil && commit.At > p.until || !yield(commit, err) {
				return
			}
		}
	}
}
