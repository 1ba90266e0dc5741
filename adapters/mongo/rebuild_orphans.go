package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
)

// strangersKept is how many documents are looked for in the log at once.
const strangersKept = 50_000

// strangers are documents of which the log may know nothing.
type strangers struct {
	all []*stranger
	// streams and drivers find them.
	streams map[eventlog.Stream]*stranger
	drivers map[domain.DriverID]*stranger
}

type stranger struct {
	collection, id string
	// there is what removes exactly this document.
	there removal
	at    domain.UnixMillis
	// bill is what it has of one; nil where it has none.
	bill []FieldDifference
	// known tells that the log has it, damaged that it can't be said.
	known, damaged bool
	// fold is what the log has of it.
	fold *fold
}

func newStrangers() *strangers {
	return &strangers{streams: map[eventlog.Stream]*stranger{}, drivers: map[domain.DriverID]*stranger{}}
}

// read takes in those of some documents that there are.
func (s *strangers) read(ctx context.Context, from shelves, collection string, ids []string) error {
	found, err := from.read(ctx, collection, ids)
	if err != nil {
		return err
	}
	slices.Sort(ids)
	for _, id := range ids {
		document := found[id]
		if document == nil {
			continue
		}
		one := &stranger{collection: collection, id: id, there: removal{
			id: id, guarded: true, version: document.Lookup("version"), updatedAt: document.Lookup("updated_at"),
		}}
		if at, ok := document.Lookup("updated_at").DateTimeOK(); ok {
			one.at = domain.UnixMillis(at)
		}
		if b, has := billOf(id, document); has && collection == sessionsCollection {
			one.bill = []FieldDifference{
				{"ticket.total_kwh", "nothing", valueText(b.energy)},
				{"ticket.total_eur", "nothing", valueText(b.total)},
				{"ticket.digest", "nothing", b.digest},
			}
		}
		s.all = append(s.all, one)
		switch collection {
		case driversCollection:
			s.drivers[domain.DriverID(id)] = one
		case pointsCollection:
			s.streams[eventlog.Stream("point-"+id)] = one
		default:
			s.streams[eventlog.Stream("session-"+id)] = one
		}
	}
	return nil
}

// orphans removes the documents of which the log knows nothing, but for those with a bill.
func (r *rebuild) orphans(ctx context.Context) error {
	for _, collection := range collections {
		differs, err := r.suspicion(ctx, collection)
		if err != nil {
			return err
		}
		if differs == nil {
			continue
		}
		s, ids := newStrangers(), []string(nil)
		look := func(least int) error {
			if len(ids) < least {
				return nil
			}
			for some := range slices.Chunk(ids, bulkSize) {
				if err := s.read(ctx, r.projections.shelves, collection, some); err != nil {
					return err
				}
			}
			err := r.secondLook(ctx, s)
			s, ids = newStrangers(), nil
			return err
		}
		err = r.projections.shelves.ids(ctx, collection, func(id bson.RawValue) error {
			if text, ok := id.StringValueOK(); ok && differs(text) {
				ids = append(ids, text)
			}
			return look(strangersKept)
		})
		if err == nil {
			err = look(1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// suspicion tells which documents of a collection may be orphans; nil where none is. Those
// whose ids are none of ours are at once.
func (r *rebuild) suspicion(ctx context.Context, collection string) (func(id string) bool, error) {
	there, suspect := &tally{}, false
	unknown := func(id string) bool {
		_, known := r.drivers[domain.DriverID(id)]
		return !known
	}
	var odd []removal
	err := r.projections.shelves.ids(ctx, collection, func(id bson.RawValue) error {
		text, ok := id.StringValueOK()
		switch {
		case !ok:
			odd = append(odd, removal{id: bson.RawValue{Type: id.Type, Value: slices.Clone(id.Value)}})
		case collection == driversCollection:
			suspect = suspect || unknown(text)
		default:
			there.add(text)
		}
		return nil
	})
	if err == nil {
		err = r.remove(ctx, collection, odd)
	}
	should := r.tallies[collection]
	switch {
	case err != nil:
		return nil, err
	case collection != driversCollection && *there != *should:
		return func(id string) bool { return there.differs(should, id) }, nil
	case suspect:
		return unknown, nil
	}
	return nil, nil
}

// secondLook goes through the log, as far as it has come by now, for what it has of some
// documents, and removes those of which it knows nothing and that have no bill.
func (r *rebuild) secondLook(ctx context.Context, s *strangers) error {
	if len(s.all) == 0 {
		return nil
	}
	end := eventlog.Position(0)
	for from := eventlog.Position(1); from != 0; {
		var err error
		if from, err = r.search(ctx, from, s, &end); err != nil {
			return err
		}
	}
	gone := map[string][]removal{}
	for _, one := range s.all {
		switch {
		case one.known:
		case one.bill != nil && one.fold == nil && r.Until == 0 && !r.mayLack(one.at):
			r.found(Difference{Collection: one.collection, ID: one.id, Kind: DocumentUnproved, Fields: one.bill})
		case one.damaged || !r.sure(one):
			r.count(&r.counts.Unsure, 1)
		case r.mayLack(one.at):
			r.found(Difference{Collection: one.collection, ID: one.id, Kind: DocumentNewer})
		default:
			gone[one.collection] = append(gone[one.collection], one.there)
		}
	}
	for collection, documents := range gone {
		if err := r.remove(ctx, collection, documents); err != nil {
			return err
		}
	}
	return r.returned(ctx, s, end)
}

// sure tells whether a document of which the log knows nothing may be judged by it.
func (r *rebuild) sure(one *stranger) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost > 0 {
		return false
	}
	if one.collection != driversCollection {
		return true
	}
	for _, why := range r.stale {
		if why == staleDamaged { // its request may be in any stream
			return false
		}
	}
	// Where it has lost sessions, who asked for them is lost as well.
	return r.counts.Unproved == 0 && (r.Behind == 0 || !r.Copy && r.counts.Newer == 0)
}

// search looks for strangers in the log from a position on, until the end (next is 0) or to a
// commit that can't be read; end is then the position of the last commit.
func (r *rebuild) search(ctx context.Context, from eventlog.Position, s *strangers, end *eventlog.Position) (next eventlog.Position, err error) {
	for commit, err := range r.source.All(ctx, from) {
		var damage *eventlog.DamagedError
		switch {
		case errors.As(err, &damage) && damage.Position >= from:
			r.lost = max(r.lost, 1)
			return damage.Position + 1, nil
		case err != nil:
			return 0, fmt.Errorf("read the event log: %w", err)
		}
		*end = commit.Position
		for _, part := range commit.Parts {
			if one := s.streams[part.Stream]; one != nil && !one.known && !one.damaged {
				one.take(part, r.decode)
			}
			if part.Version == 1 && len(s.drivers) > 0 && strings.HasPrefix(string(part.Stream), "session-") {
				decoded, err := r.decode(part)
				if err != nil {
					r.lost = max(r.lost, 1)
					continue
				}
				if one := s.drivers[asker(decoded)]; one != nil {
					one.known = true
				}
			}
		}
	}
	return 0, ctx.Err()
}

// take folds a part of what the log has of a document's stream.
func (s *stranger) take(stored eventlog.Part, decode func(eventlog.Part) (central.Part, error)) {
	err := error(nil)
	if s.fold == nil {
		s.fold, err = newFold(stored.Stream)
	}
	var part central.Part
	if err == nil {
		part, err = decode(stored)
	}
	if err == nil {
		err = s.fold.apply(part)
	}
	s.damaged = err != nil
	s.known = err == nil && s.fold.documented()
}

// remove removes documents, and tells of each.
func (r *rebuild) remove(ctx context.Context, collection string, documents []removal) error {
	for some := range slices.Chunk(documents, bulkSize) {
		stayed := make([]bool, len(some))
		if !r.DryRun {
			var err error
			if stayed, err = r.projections.shelves.remove(ctx, collection, some); err != nil {
				return err
			}
		}
		for i, d := range some {
			if stayed[i] {
				continue
			}
			id, ok := d.id.(string)
			if !ok {
				id = valueText(d.id.(bson.RawValue))
			}
			r.found(Difference{Collection: collection, ID: id, Kind: DocumentOrphaned})
		}
	}
	return nil
}

// returned makes the documents of drivers once more who have asked since the log was searched:
// a Central that found them there has written nothing.
func (r *rebuild) returned(ctx context.Context, s *strangers, end eventlog.Position) error {
	for _, one := range s.drivers {
		if one.known {
			delete(s.drivers, domain.DriverID(one.id))
		}
	}
	if r.DryRun || len(s.drivers) == 0 {
		return nil
	}
	for from := end + 1; from != 0; {
		var err error
		if from, err = r.search(ctx, from, s, &end); err != nil {
			return err
		}
	}
	var back []mismatch
	for id, one := range s.drivers {
		if one.known {
			d, err := driverDocument(id)
			if err != nil {
				return err
			}
			back = append(back, mismatch{replacement: replacement{projection: d}, stream: driverStream(id)})
		}
	}
	return r.put(ctx, back)
}

// hasAsked tells whether a driver has ever asked for a supply.
func (r *rebuild) hasAsked(ctx context.Context, id domain.DriverID) (bool, error) {
	s, one, end := newStrangers(), &stranger{}, eventlog.Position(0)
	s.drivers[id] = one
	for from := eventlog.Position(1); from != 0 && !one.known; {
		var err error
		if from, err = r.search(ctx, from, s, &end); err != nil {
			return false, err
		}
	}
	return one.known, nil
}
