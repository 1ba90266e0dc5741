package mongo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

const (
	// sweepEvery is how often the documents of all open streams are compared with the log.
	sweepEvery = 30 * time.Second
	// sweepAgain is how long after one that failed the next follows.
	sweepAgain = 5 * time.Second
	// mendEvery is how often streams are read of which parts are missing.
	mendEvery = 500 * time.Millisecond
	// atOnce is how many streams are read before their documents are stored: closed ones are
	// forgotten then.
	atOnce = 100
	// staleAtOnce is how many stale documents of closed streams a sweep tries again.
	staleAtOnce = 250
	// lastFlush is how long what waits may take once the projections are to end.
	lastFlush = 5 * time.Second
)

// Run stores what waits, within a second; reads what is missing from the log; and compares
// the documents of all open streams with it: at the start, every 30 s and after an outage.
// It returns nil once ctx has ended and what waited is stored, or could not be within 5 s.
// It runs once.
func (p *Projections) Run(ctx context.Context) error {
	var both sync.WaitGroup
	both.Go(func() { p.keepFlushing(ctx) })
	both.Go(func() { p.keepMending(ctx) })
	both.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer cancel()
	if err := errors.Join(p.readMissing(last), p.flush(last)); err != nil {
		p.logger.Warn("not all projections are stored; the next start does it", "error", err)
	}
	return nil
}

func (p *Projections) keepFlushing(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = p.flush(ctx) // said by answers; what waits stays
		}
	}
}

func (p *Projections) keepMending(ctx context.Context) {
	tick := time.NewTicker(mendEvery)
	defer tick.Stop()
	var sweepAt time.Time
	var said string
	for {
		err := p.reachable(ctx)
		if err == nil {
			err = p.readMissing(ctx)
		}
		if err == nil {
			err = p.resolveDoubts(ctx)
		}
		if err == nil && (p.cameBack() || !time.Now().Before(sweepAt)) {
			sweepAt = time.Now().Add(sweepEvery)
			if err = p.sweep(ctx); err != nil {
				sweepAt = time.Now().Add(sweepAgain)
			} else if said != "" {
				said = ""
				p.logger.Info("the documents are compared with the event log again")
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && said != err.Error() && !p.isAway():
			said = err.Error()
			p.logger.Warn("the documents can't be compared with the event log; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Projections) isAway() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.away.IsZero()
}

// cameBack tells, once, that the store answers again after an outage.
func (p *Projections) cameBack() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	returned := p.returned
	p.returned = false
	return returned
}

// reachable is nil where the store answers, as far as is known: it is asked where it did
// not the last time.
func (p *Projections) reachable(ctx context.Context) error {
	if !p.isAway() {
		return nil
	}
	err := p.shelves.ready(ctx)
	if ctx.Err() == nil {
		p.answers(err)
	}
	return err
}

// readMissing reads the streams that wait and have parts missing, and stores their documents.
func (p *Projections) readMissing(ctx context.Context) error {
	p.mu.Lock()
	waiting := slices.Collect(maps.Keys(p.waits))
	p.mu.Unlock()
	var read []*kept
	for i, k := range waiting {
		did, err := p.readOne(ctx, k)
		if err != nil {
			return err
		}
		if did {
			read = append(read, k)
		}
		if len(read) == atOnce || i == len(waiting)-1 {
			if err := p.store(ctx, read); err != nil {
				return err
			}
			read = read[:0]
		}
	}
	return nil
}

// resolveDoubts compares the documents that were not stored with the log.
func (p *Projections) resolveDoubts(ctx context.Context) error {
	p.mu.Lock()
	var doubted []eventlog.Stream
	for k := range p.doubts {
		doubted = append(doubted, k.stream)
	}
	p.mu.Unlock()
	for some := range slices.Chunk(doubted, bulkSize) {
		mended, err := p.sweepSome(ctx, some, map[domain.DriverID]bool{})
		p.isMended(mended)
		if err != nil {
			return err
		}
	}
	return nil
}

// readOne reads a stream that has parts missing; did tells that it had.
func (p *Projections) readOne(ctx context.Context, k *kept) (did bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dropped || k.fold != nil && !k.behind {
		return false, nil
	}
	if err := p.catchUp(ctx, k); errors.Is(err, eventlog.ErrDamaged) {
		p.damaged(k, err)
		return false, nil
	} else if err != nil {
		return false, err
	}
	if k.fold.session != nil {
		p.wait(k, k.fold.session.Request().Driver)
	}
	return true, nil
}

// verdict is how a stored document stands to the one that the log gives.
type verdict int

const (
	same     verdict = iota
	missing          // there is none
	older            // it has an earlier version
	differs          // it has the same version, or none, and says something else
	ahead            // it claims a later version
	unproved         // it has a bill that the log, read to its end, has not
)

// judge compares a stored document, nil where there is none, with the one that the log gives.
func judge(want projection, found bson.Raw) verdict {
	if found == nil {
		return missing
	}
	if bytes.Equal(found, want.body) {
		return same
	}
	version, ok := storedVersion(found)
	switch {
	case ok && version < want.version:
		return older
	case ok && version > want.version:
		return ahead
	}
	return differs
}

// mend is the replacement that makes a stored document what the log gives, and how that stands
// to it. A document that is no older than the fold may be another process's, on
// parts that the fold does not have yet: more folds what the log has beyond it by now,
// which is more than any document that was read before can rightly have.
func mend(f *fold, found bson.Raw, more func() error) (r replacement, v verdict, err error) {
	want, ok, err := f.document()
	if err != nil || !ok {
		return replacement{}, same, err
	}
	return mendTo(want, f, found, more)
}

// mendTo is mend where the fold's document is known.
func mendTo(want projection, f *fold, found bson.Raw, more func() error) (r replacement, v verdict, err error) {
	if v = judge(want, found); v == differs || v == ahead {
		if err := more(); err != nil {
			return replacement{}, same, err
		}
		if want, _, err = f.document(); err != nil {
			return replacement{}, same, err
		}
		v = judge(want, found)
	}
	r.projection = want
	if v == differs || v == ahead || v == older && !want.follows(found) {
		claimed := found.Lookup("version")
		r.found = &claimed
	}
	if v != same && want.lacks(found) {
		v = unproved
	}
	return r, v, nil
}

// sweep compares the documents of all open streams, and of their drivers, with the log, and
// replaces those that say something else.
func (p *Projections) sweep(ctx context.Context) error {
	ready := p.shelves.ready(ctx) // an index that can't be made keeps no document from being mended
	end, err := p.logEnd(ctx)
	if err != nil {
		return err
	}
	open, err := p.config.Open(ctx)
	if err != nil {
		return fmt.Errorf("read the open streams of the event log: %w", err)
	}
	p.forgetOthers(open)
	mended, asking := 0, map[domain.DriverID]bool{}
	for some := range slices.Chunk(open, bulkSize) {
		n, err := p.sweepSome(ctx, some, asking)
		if mended += n; err != nil {
			p.isMended(mended)
			return err
		}
	}
	n, err := p.sweepDrivers(ctx, slices.Collect(maps.Keys(asking)))
	mended += n
	p.isMended(mended)
	if err != nil {
		return err
	}
	p.tryStale(open)
	if err := p.catchUpClosed(ctx); err != nil {
		return err
	}
	return errors.Join(ready, p.noteCovered(ctx, end))
}

// isMended notes that documents said something else than the log.
func (p *Projections) isMended(documents int) {
	if documents == 0 {
		return
	}
	p.logger.Warn("documents were missing or did not say what the event log says: they are replaced", "documents", documents)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mended += uint64(documents)
}

// forgetOthers drops the folds of streams that are not open and don't wait.
func (p *Projections) forgetOthers(open []eventlog.Stream) {
	is := make(map[eventlog.Stream]bool, len(open))
	for _, stream := range open {
		is[stream] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for stream, k := range p.folds {
		// One that is being folded has begun, or goes on: it is no loss to keep it.
		if _, waits := p.waits[k]; waits || is[stream] || p.doubts[k] || !k.mu.TryLock() {
			continue
		}
		k.dropped = true
		delete(p.folds, stream)
		k.mu.Unlock()
	}
}

// sweepSome compares the documents of some streams, notes who asked for those that are
// sessions, and tells how many documents were wrong.
func (p *Projections) sweepSome(ctx context.Context, streams []eventlog.Stream, asking map[domain.DriverID]bool) (mended int, err error) {
	byCollection := map[string][]*kept{}
	ids := map[string][]string{}
	for _, stream := range streams {
		collection, id, ok := placeOf(stream)
		if !ok {
			continue
		}
		k := p.keep(stream)
		k.mu.Unlock()
		byCollection[collection] = append(byCollection[collection], k)
		ids[collection] = append(ids[collection], id)
	}
	for collection, all := range byCollection {
		found, err := p.shelves.read(ctx, collection, ids[collection])
		if err != nil {
			return mended, err
		}
		var wrong []*underway
		begun := time.Now()
		for i, k := range all {
			r, v, late, err := p.look(ctx, k, found[ids[collection][i]], asking)
			if err != nil {
				return mended, err
			}
			if v != same {
				wrong = append(wrong, &underway{replacement: r, of: k})
			}
			// What has changed since the last sweep may just be on its way to the store.
			if v == differs || v == ahead || v != same && !late {
				mended++
			}
		}
		if err := p.replace(ctx, collection, wrong, begun); err != nil {
			return mended, err
		}
	}
	return mended, nil
}

// look compares a stream's document with the log; late tells that the stream has changed
// since it was looked at last.
func (p *Projections) look(ctx context.Context, k *kept, found bson.Raw, asking map[domain.DriverID]bool) (r replacement, v verdict, late bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dropped {
		return r, same, false, nil
	}
	more := func() error { return p.catchUp(ctx, k) }
	// What a process that has died had in its queue is in the log: a stream is read once to
	// its end, and a session, which samples may be missing of, again whenever it stands still.
	still := k.fold != nil && k.fold.session != nil && k.fold.version == k.checked
	if k.fold == nil || k.checked == 0 || k.behind || still {
		err = more()
	}
	if err == nil {
		r, v, err = mend(k.fold, found, more)
	}
	if errors.Is(err, eventlog.ErrDamaged) {
		p.damaged(k, err)
		return r, same, false, nil
	}
	if err != nil {
		return r, same, false, err
	}
	late, k.checked = k.fold.version != k.checked, k.fold.version
	if k.fold.session != nil && k.fold.session.Request().Driver != "" {
		asking[k.fold.session.Request().Driver] = true
	}
	switch {
	case v == unproved:
		b, _ := billOf(r.id, found)
		p.isStale(k.stream, staleUnproved, fmt.Errorf("%w: %s", errUnproved, b))
	case v == same:
		p.isStored(k.stream)
	case r.contradicts(found):
		before, _ := billOf(r.id, found)
		after, _ := billOf(r.id, r.body)
		p.logger.Error("a document has another bill than the event log: it is replaced", "stream", k.stream, "document", before.String(), "log", after.String())
	}
	if v == same || v == unproved {
		p.mu.Lock()
		delete(p.waits, k)
		delete(p.doubts, k)
		p.mu.Unlock()
		if k.fold.closed() {
			p.drop(k)
		}
	}
	if v == unproved {
		v = same // as far as it can be made so
	}
	return r, v, late, nil
}

// errUnproved tells of a document that stays as it is for its bill.
var errUnproved = errors.New("the document has a bill that the event log has not, and stays")

// sweepDrivers makes the documents of drivers what they should be, and tells how many were not.
func (p *Projections) sweepDrivers(ctx context.Context, ids []domain.DriverID) (mended int, err error) {
	for some := range slices.Chunk(ids, bulkSize) {
		names := make([]string, len(some))
		for i, id := range some {
			names[i] = string(id)
		}
		found, err := p.shelves.read(ctx, driversCollection, names)
		if err != nil {
			return mended, err
		}
		var wrong []*underway
		for _, id := range some {
			r, v, err := mendDriver(id, found[string(id)])
			if err != nil {
				return mended, err
			}
			if v != same {
				wrong = append(wrong, &underway{replacement: r})
			}
		}
		mended += len(wrong)
		if err := p.replace(ctx, driversCollection, wrong, time.Time{}); err != nil {
			return mended, err
		}
	}
	return mended, nil
}

// mendDriver is mend for a driver's document.
func mendDriver(id domain.DriverID, found bson.Raw) (r replacement, v verdict, err error) {
	if r.projection, err = driverDocument(id); err != nil {
		return r, same, err
	}
	if v = judge(r.projection, found); v == missing {
		return r, v, nil
	}
	r.found = &bson.RawValue{}
	return r, v, nil
}

// tryStale has the stale documents of streams that are not open tried again: those of open
// ones are in each sweep.
func (p *Projections) tryStale(open []eventlog.Stream) {
	is := make(map[eventlog.Stream]bool, len(open))
	for _, stream := range open {
		is[stream] = true
	}
	var again []eventlog.Stream
	p.mu.Lock()
	for stream := range p.stale {
		if !is[stream] && len(again) < staleAtOnce {
			again = append(again, stream)
		}
	}
	p.mu.Unlock()
	for _, stream := range again {
		if id, ok := strings.CutPrefix(string(stream), "driver-"); ok {
			p.mu.Lock()
			p.drivers[domain.DriverID(id)] = time.Now()
			p.mu.Unlock()
		} else {
			p.reread(stream)
		}
	}
}

// reread has a stream read from the log, and its document stored.
func (p *Projections) reread(stream eventlog.Stream) {
	k := p.keep(stream)
	k.behind = true
	k.mu.Unlock()
	p.wait(k, "")
}
