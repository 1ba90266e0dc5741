package mongo

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/eventlog"
)

// Where samples were moved to an archive, the document of the first of several one after the
// other stays, with its id, its position and its key, and says so:
//
//	sample   "archive/" and the stream: what finds it
//	parts    one: stream, version, kind "archived", to (the version of the last event), prev
//	         and hash (the chain before and behind), archive (the file)
//
// The documents of the others are gone. It is put there before they go.
const (
	archivedKind   = "archived"
	archivedSample = "archive/"
	// archiveBatch is how many documents are removed at a time.
	archiveBatch = 1000
)

// Archive removes from the log what was moved to an archive: the commits that are one
// sample, and have no cause, of these streams. In their place remains what joins the chain
// (eventlog.ArchivedError). It gives how many commits it has removed. It may run beside
// Centrals, for nobody writes to what is before a closed stream's end, be stopped at any
// moment, and be called again.
func (l *Log) Archive(ctx context.Context, moved map[eventlog.Stream]eventlog.Moved) (removed int, err error) {
	err = l.each(ctx, func() error {
		for _, stream := range slices.Sorted(maps.Keys(moved)) {
			if err := l.ready(ctx); err != nil {
				return err
			}
			n, err := l.archive(ctx, stream, moved[stream])
			removed += n
			if err != nil {
				return err
			}
		}
		return nil
	})
	return removed, err
}

// archive removes the samples of a stream.
func (l *Log) archive(ctx context.Context, stream eventlog.Stream, m eventlog.Moved) (removed int, err error) {
	there, err := l.ranges(ctx, stream)
	if err != nil {
		return 0, err
	}
	var made []*archivedRun
	var gone []bson.Binary // of documents whose place is taken already
	err = l.find(ctx, bson.D{{Key: "sample", Value: string(stream)}},
		options.Find().SetSort(bson.D{{Key: "position", Value: 1}}).SetBatchSize(lastWindow), func(raw bson.Raw) error {
			s, damaged := decode(raw, stream)
			if damaged != nil || !s.Cause.IsZero() || s.Parts[0].Last() >= m.Before {
				return nil
			}
			p := s.Parts[0]
			covered := func(a eventlog.ArchivedError) bool { return a.From <= p.Version && p.Last() <= a.To }
			last := len(made) - 1
			switch {
			case slices.ContainsFunc(there, covered):
				gone = append(gone, idOf(s.ID))
			case last >= 0 && p.Version == made[last].To+1 && p.Prev == made[last].Hash:
				made[last].To, made[last].Hash = p.Last(), p.Hash
				made[last].others = append(made[last].others, idOf(s.ID))
			default:
				made = append(made, &archivedRun{
					ArchivedError: eventlog.ArchivedError{Stream: stream, From: p.Version, To: p.Last(), Prev: p.Prev, Hash: p.Hash, Archive: m.Archive},
					first:         s,
				})
			}
			return nil
		})
	if err != nil {
		return 0, err
	}
	if removed, err = l.drop(ctx, gone); err != nil {
		return removed, err
	}
	for _, r := range made {
		if err := l.replace(ctx, r); err != nil {
			return removed, err
		}
		n, err := l.drop(ctx, r.others)
		removed += 1 + n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// archivedRun is what comes in the place of samples one after the other.
type archivedRun struct {
	eventlog.ArchivedError
	first  stored
	others []bson.Binary
}

// ranges are those of a stream that are in an archive.
func (l *Log) ranges(ctx context.Context, stream eventlog.Stream) (there []eventlog.ArchivedError, err error) {
	err = l.find(ctx, bson.D{{Key: "sample", Value: archivedSample + string(stream)}}, options.Find(), func(raw bson.Raw) error {
		if _, damaged := decode(raw, stream); damaged != nil {
			if a, ok := errors.AsType[*eventlog.ArchivedError](damaged.Reason); ok {
				there = append(there, *a)
			}
		}
		return nil
	})
	return there, err
}

// replace puts a document in the place of the first of some samples.
func (l *Log) replace(ctx context.Context, r *archivedRun) error {
	ctx, cancel := l.store.bound(ctx)
	defer cancel()
	_, err := l.store.events.ReplaceOne(ctx, bson.D{{Key: "_id", Value: idOf(r.first.ID)}}, bson.D{
		{Key: "position", Value: int64(r.first.Position)},
		{Key: "at", Value: int64(r.first.At)},
		{Key: "keys", Value: bson.A{key(r.Stream, r.From)}},
		{Key: "sample", Value: archivedSample + string(r.Stream)},
		{Key: "parts", Value: bson.A{bson.D{
			{Key: "stream", Value: string(r.Stream)},
			{Key: "version", Value: int64(r.From)},
			{Key: "kind", Value: archivedKind},
			{Key: "to", Value: int64(r.To)},
			{Key: "prev", Value: bson.Binary{Data: r.Prev[:]}},
			{Key: "hash", Value: bson.Binary{Data: r.Hash[:]}},
			{Key: "archive", Value: r.Archive},
		}}},
	})
	return err
}

// drop removes documents.
func (l *Log) drop(ctx context.Context, ids []bson.Binary) (removed int, err error) {
	for some := range slices.Chunk(ids, archiveBatch) {
		bounded, cancel := l.store.bound(ctx)
		result, err := l.store.events.DeleteMany(bounded, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: some}}}})
		cancel()
		if err != nil {
			return removed, err
		}
		removed += int(result.DeletedCount)
	}
	return removed, nil
}

// archived reads a part that stands for what is in an archive; nil where it is none.
func (f *fields) archived(stream eventlog.Stream) error {
	if f.err != nil || f.optional("kind") != archivedKind {
		return nil
	}
	a := &eventlog.ArchivedError{
		Stream: stream, From: eventlog.Version(f.integer("version", 1, math.MaxInt64)), To: eventlog.Version(f.integer("to", 1, math.MaxInt64)),
		Prev:    eventlog.Hash(f.binary("prev", bson.TypeBinaryGeneric, len(eventlog.Hash{}))),
		Hash:    eventlog.Hash(f.binary("hash", bson.TypeBinaryGeneric, len(eventlog.Hash{}))),
		Archive: f.text("archive"),
	}
	if f.err == nil && a.To < a.From {
		f.err = errors.New("to is before version")
	}
	if f.err != nil {
		return f.err
	}
	return a
}
