package mongo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
)

// ProjectionsConfig is what the projections follow.
type ProjectionsConfig struct {
	// Read gives a stream's parts whose last event's version is at least from, decoded,
	// samples included, in order. An error is yielded last: eventlog.ErrDamaged where the
	// stream can't be read, else the log's.
	Read func(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[central.Part, error]
	// Open gives the streams that are open, in no particular order.
	Open func(ctx context.Context) ([]eventlog.Stream, error)
	// Optional tells that the log is elsewhere: a MongoDB that is away delays the projections
	// and fails nothing.
	Optional bool
	// Log is that log: sessions that closed while MongoDB was away are looked up there after
	// a restart. It is not needed where Optional is false.
	Log interface {
		All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error]
		End(ctx context.Context) (eventlog.Position, error)
	}
	// Logger is told what is amiss; slog.Default() where it is nil.
	Logger *slog.Logger
}

// flushEvery is how often documents that wait are written.
const flushEvery = 500 * time.Millisecond

// Projections keeps the collections charging_points, drivers and sessions as the log has
// them: each document is a fold of one stream, stored whole and guarded by its version.
// All methods may be called from any number of goroutines.
type Projections struct {
	config  ProjectionsConfig
	shelves shelves
	logger  *slog.Logger
	groups  map[string]*together[replacement]

	mu    sync.Mutex
	folds map[eventlog.Stream]*kept
	// waits has since when what waits to be stored.
	waits map[*kept]time.Time
	// doubts are streams whose document was not stored since one that is not older is there:
	// whether it is right is to be looked at.
	doubts map[*kept]bool
	// drivers wait to be stored; known are some that are.
	drivers map[domain.DriverID]time.Time
	known   map[domain.DriverID]bool
	// stale are the streams, and drivers, whose documents can't be stored, and why.
	stale  map[eventlog.Stream]string
	mended uint64
	// away is since when the store is; zero while it answers.
	away time.Time
	// returned tells that it was away and answers again.
	returned bool
	// covered is how far a log that is elsewhere is projected.
	covered covered
}

// kept is a stream's fold, kept for as long as its stream is open or its document waits.
type kept struct {
	stream eventlog.Stream

	mu sync.Mutex
	// fold is nil where it is to be read from the log.
	fold *fold
	// behind tells that parts are missing which the log has.
	behind bool
	// checked is the fold's version when its document was looked at last.
	checked eventlog.Version
	// dropped tells that the stream is not kept any more.
	dropped bool
}

// Projections are those of the store's database.
func (s *Store) Projections(c ProjectionsConfig) *Projections { return newProjections(s, c) }

func newProjections(s shelves, c ProjectionsConfig) *Projections {
	p := &Projections{
		config: c, shelves: s, logger: cmp.Or(c.Logger, slog.Default()), groups: map[string]*together[replacement]{},
		folds: map[eventlog.Stream]*kept{}, waits: map[*kept]time.Time{}, doubts: map[*kept]bool{},
		drivers: map[domain.DriverID]time.Time{}, known: map[domain.DriverID]bool{}, stale: map[eventlog.Stream]string{},
	}
	for _, collection := range []string{pointsCollection, driversCollection, sessionsCollection} {
		p.groups[collection] = &together[replacement]{do: func(ctx context.Context, all []replacement) []error {
			return s.replace(ctx, collection, all)
		}}
	}
	return p
}

// Handle takes what a turn stored. Where that is more than a sample, it returns nil only
// once the documents are stored, or are refused for good, which is counted and said; a
// sample, or where Optional anything, waits for Run. A stream that can't be read is counted
// and said, too. Any other error is the store's or the log's: the publication must come
// again. The publications of one stream come one after the other.
func (p *Projections) Handle(ctx context.Context, publication central.Publication) error {
	later := publication.SampleAlone || p.config.Optional
	var stored []*underway
	for _, part := range publication.Parts {
		s, err := p.take(ctx, part, later)
		if err != nil {
			return err
		}
		stored = append(stored, s...)
	}
	for _, s := range stored {
		s.outcome = p.groups[s.collection].ask(s.replacement)
	}
	for _, s := range stored {
		select {
		case err := <-s.outcome:
			if err = p.noted(s, err); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// underway is a document on its way to the store.
type underway struct {
	replacement
	// of is the document's stream; nil where it is a driver's.
	of      *kept
	outcome <-chan error
}

// driversKnown bounds the drivers that are known to be stored.
const driversKnown = 100_000

// knows tells whether a driver's document was stored: it is written once.
func (p *Projections) knows(id domain.DriverID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[id]
}

func (p *Projections) know(id domain.DriverID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.known) >= driversKnown {
		clear(p.known)
	}
	p.known[id] = true
}

// stream is whose document it is.
func (u *underway) stream() eventlog.Stream {
	if u.of == nil {
		return driverStream(domain.DriverID(u.id))
	}
	return u.of.stream
}

// take folds a part. Where that may not wait, it gives the documents to be stored.
func (p *Projections) take(ctx context.Context, part central.Part, later bool) (out []*underway, err error) {
	k := p.keep(part.Stream)
	defer k.mu.Unlock()
	switch {
	case k.fold == nil || k.behind:
		err = errGap
	default:
		err = k.fold.apply(part)
	}
	if errors.Is(err, errGap) && !later {
		if err = p.catchUp(ctx, k); err == nil {
			err = k.fold.apply(part)
		}
		if errors.Is(err, errGap) {
			return nil, fmt.Errorf("%s is stored at version %d, and the event log does not have what is before it: %w", part.Stream, part.Version, err)
		}
	}
	switch {
	case errors.Is(err, errGap):
		k.behind = true
	case errors.Is(err, eventlog.ErrDamaged):
		p.damaged(k, err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	asks := asker(part)
	if p.knows(asks) {
		asks = ""
	}
	if later {
		p.wait(k, asks)
		return nil, nil
	}
	d, ok, err := k.fold.document()
	if err != nil {
		return nil, err
	}
	if ok {
		out = append(out, &underway{replacement: replacement{projection: d}, of: k})
	} else {
		p.drop(k)
	}
	if asks != "" {
		d, err := driverDocument(asks)
		if err != nil {
			return nil, err
		}
		out = append(out, &underway{replacement: replacement{projection: d}})
	}
	return out, nil
}

// keep is what is kept of a stream, locked. The fold of one that was not kept begins with
// the stream's first part.
func (p *Projections) keep(stream eventlog.Stream) *kept {
	for {
		p.mu.Lock()
		k := p.folds[stream]
		if k == nil {
			k = &kept{stream: stream}
			k.fold, _ = newFold(stream) // where it is none, catchUp tells
			p.folds[stream] = k
		}
		p.mu.Unlock()
		k.mu.Lock()
		if !k.dropped {
			return k
		}
		k.mu.Unlock()
	}
}

// catchUp folds what the log has beyond the fold.
func (p *Projections) catchUp(ctx context.Context, k *kept) error {
	if k.fold == nil {
		f, err := newFold(k.stream)
		if err != nil {
			return err
		}
		k.fold = f
	}
	for part, err := range p.config.Read(ctx, k.stream, k.fold.version+1) {
		if err != nil {
			return err
		}
		if err := k.fold.apply(part); errors.Is(err, errGap) {
			return fmt.Errorf("%w: %s has nothing between versions %d and %d", eventlog.ErrDamaged, k.stream, k.fold.version, part.Version)
		} else if err != nil {
			return err
		}
	}
	k.behind = false
	return nil
}

// wait notes that a stream's document is to be stored, and that of the driver who asked for
// it, where one is named.
func (p *Projections) wait(k *kept, asked domain.DriverID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if _, waits := p.waits[k]; !waits {
		p.waits[k] = now
	}
	if _, waits := p.drivers[asked]; !waits && asked != "" {
		p.drivers[asked] = now
	}
}

// drop forgets a stream that nothing more is awaited of. Its lock is held.
func (p *Projections) drop(k *kept) {
	if k.fold == nil || k.fold.closed() {
		p.forget(k)
	}
}

// forget forgets a stream. Its lock is held.
func (p *Projections) forget(k *kept) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !k.dropped {
		k.dropped = true
		delete(p.folds, k.stream)
	}
	delete(p.waits, k)
	delete(p.doubts, k)
}

// noted takes in what became of a document. It gives an error where nothing is known of it.
func (p *Projections) noted(s *underway, err error) error {
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		p.answers(nil)
		p.isStale(s.stream(), refused.why, err)
	case err != nil && !errors.Is(err, errNewer):
		p.answers(err)
		return err
	default:
		p.answers(nil)
	}
	if err == nil {
		p.isStored(s.stream())
	}
	if s.of == nil {
		if refused == nil {
			p.know(domain.DriverID(s.id))
		}
		return nil
	}
	k := s.of
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fold == nil || k.behind || int64(k.fold.version) != s.version {
		return nil
	}
	p.mu.Lock()
	delete(p.waits, k)
	if errors.Is(err, errNewer) && !k.dropped {
		p.doubts[k] = true
	} else {
		delete(p.doubts, k)
	}
	p.mu.Unlock()
	if k.fold.closed() && !errors.Is(err, errNewer) {
		p.drop(k)
	}
	return nil
}

// answers takes in whether the store answers, and says it where that has changed.
func (p *Projections) answers(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil && p.away.IsZero():
		p.away = time.Now()
		p.logger.Warn("the projections wait for MongoDB", "error", err)
	case err == nil && !p.away.IsZero():
		p.logger.Info("the projections go on", "after", time.Since(p.away).Round(time.Millisecond))
		p.away, p.returned = time.Time{}, true
	}
}

// isStale notes that a document is not as the log has it and can't be made so.
func (p *Projections) isStale(stream eventlog.Stream, why string, err error) {
	p.mu.Lock()
	before := p.stale[stream]
	p.stale[stream] = why
	p.mu.Unlock()
	if before != why {
		p.logger.Error("a document is stale; everything else goes on", "stream", stream, "reason", why, "error", err)
	}
}

func (p *Projections) isStored(stream eventlog.Stream) {
	p.mu.Lock()
	_, was := p.stale[stream]
	delete(p.stale, stream)
	p.mu.Unlock()
	if was {
		p.logger.Info("a document is as the event log has it again", "stream", stream)
	}
}

// damaged notes a stream that can't be read. Its lock is held.
func (p *Projections) damaged(k *kept, err error) {
	p.isStale(k.stream, staleDamaged, err)
	p.forget(k)
}

// flush stores what waits and is known, and the drivers that wait.
func (p *Projections) flush(ctx context.Context) error {
	p.mu.Lock()
	ready := make([]*kept, 0, len(p.waits))
	for k := range p.waits {
		ready = append(ready, k)
	}
	asked := make([]domain.DriverID, 0, len(p.drivers))
	for id := range p.drivers {
		asked = append(asked, id)
	}
	p.mu.Unlock()
	return errors.Join(p.store(ctx, ready), p.storeDrivers(ctx, asked))
}

// store writes the documents of streams that wait, of those that are known.
func (p *Projections) store(ctx context.Context, streams []*kept) error {
	documents := map[string][]*underway{}
	begun := time.Now()
	for _, k := range streams {
		if !k.mu.TryLock() {
			continue // it is being read: the next time
		}
		s, err := p.storable(k)
		k.mu.Unlock()
		if err != nil {
			return err
		}
		if s != nil {
			documents[s.collection] = append(documents[s.collection], s)
		}
	}
	for collection, all := range documents {
		for some := range slices.Chunk(all, bulkSize) {
			if err := p.replace(ctx, collection, some, begun); err != nil {
				for _, k := range streams {
					k.release()
				}
				return err
			}
		}
	}
	return nil
}

// storable is the document of a stream that waits; nil where it has none, or parts are missing.
func (p *Projections) storable(k *kept) (*underway, error) {
	if k.dropped || k.fold == nil || k.behind {
		return nil, nil
	}
	d, ok, err := k.fold.document()
	if err != nil {
		return nil, err
	}
	if !ok {
		p.mu.Lock()
		delete(p.waits, k)
		p.mu.Unlock()
		p.drop(k)
		return nil, nil
	}
	return &underway{replacement: replacement{projection: d}, of: k}, nil
}

// replace writes documents of a collection and takes in what became of them.
func (p *Projections) replace(ctx context.Context, collection string, all []*underway, begun time.Time) error {
	list := make([]replacement, len(all))
	for i, s := range all {
		list[i] = s.replacement
	}
	var failed error
	outcomes := p.shelves.replace(ctx, collection, list)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i, err := range outcomes {
		s := all[i]
		if err = p.noted(s, err); err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		p.mu.Lock()
		if since, waits := p.waits[s.of]; waits && since.Before(begun) {
			p.waits[s.of] = begun // what came before is stored
		}
		p.mu.Unlock()
	}
	return failed
}

// release forgets the fold of a closed stream that waits for the store: the log has it.
func (k *kept) release() {
	if !k.mu.TryLock() {
		return // it is being read: the next time
	}
	defer k.mu.Unlock()
	if k.fold != nil && k.fold.closed() {
		k.fold, k.behind = nil, true
	}
}

func (p *Projections) storeDrivers(ctx context.Context, ids []domain.DriverID) error {
	for some := range slices.Chunk(ids, bulkSize) {
		list := make([]replacement, len(some))
		for i, id := range some {
			d, err := driverDocument(id)
			if err != nil {
				return err
			}
			list[i].projection = d
		}
		outcomes := p.shelves.replace(ctx, driversCollection, list)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for i, err := range outcomes {
			if err = p.noted(&underway{replacement: list[i]}, err); err != nil {
				return err
			}
			p.mu.Lock()
			delete(p.drivers, some[i])
			p.mu.Unlock()
		}
	}
	return nil
}

// ProjectionStats is how the projections stand.
type ProjectionStats struct {
	// Delay is the age of the oldest change that is not stored yet.
	Delay time.Duration
	// Waiting is how many documents wait to be stored.
	Waiting int
	// Stale is how many documents can't be made as the log has them, by reason: invalid,
	// too_large, refused, damaged, unproved.
	Stale map[string]int
	// Mended is how many documents were found to say something else than the log, and
	// replaced.
	Mended uint64
}

// Stats is how the projections stand.
func (p *Projections) Stats() ProjectionStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := ProjectionStats{
		Waiting: len(p.waits) + len(p.drivers), Mended: p.mended,
		Stale: map[string]int{staleInvalid: 0, staleTooLarge: 0, staleRefused: 0, staleDamaged: 0, staleUnproved: 0},
	}
	for _, why := range p.stale {
		s.Stale[why]++
	}
	if oldest := p.oldest(); !oldest.IsZero() {
		s.Delay = time.Since(oldest)
	}
	return s
}

// oldest is since when something waits; zero where nothing does. p.mu is held.
func (p *Projections) oldest() (oldest time.Time) {
	for _, since := range p.waits {
		if oldest.IsZero() || since.Before(oldest) {
			oldest = since
		}
	}
	for _, since := range p.drivers {
		if oldest.IsZero() || since.Before(oldest) {
			oldest = since
		}
	}
	return oldest
}

// storedVersion is what a stored document claims to be the version of; ok is false where
// it claims nothing that a version can be.
func storedVersion(stored bson.Raw) (version int64, ok bool) {
	claimed := stored.Lookup("version")
	if number, is := claimed.DoubleOK(); is && (number != math.Trunc(number) || math.Abs(number) > 1<<53) {
		return 0, false // NaN and infinity, too: MongoDB would not find them to be less than a version
	}
	return claimed.AsInt64OK()
}
