package mongo

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/eventlog"
)

// The collection open has a mark, the key of its part, for each part that opens its stream.
// It is written before the part, so no stream is open without one, and removed when the
// stream has closed: by then it is decided which part has that version, and nothing that is
// late can store another. What is in the collection is a guess; the log says what is so.

// complete is the mark of a collection that has all the others.
const complete = "complete"

// openWindow is how many marks are looked at in one step.
const openWindow = 500

// opens tells whether a part opens its stream: it is the first and does not close, or
// comes after a part that closed.
func (h head) opens(p eventlog.Part) bool {
	return p.Kind != eventlog.Closing && h.version == 0 || p.Kind == eventlog.Lifecycle && h.kind == eventlog.Closing
}

// markOpen writes marks, where they are not there.
func (l *Log) markOpen(ctx context.Context, marks []string) error {
	if len(marks) == 0 {
		return nil
	}
	documents := make([]bson.D, len(marks))
	for i, m := range marks {
		documents[i] = bson.D{{Key: "_id", Value: m}}
	}
	_, err := l.store.open.InsertMany(ctx, documents, options.InsertMany().SetOrdered(false))
	return exceptDuplicates(err)
}

// exceptDuplicates is the error of an unordered insert without what was there already.
func exceptDuplicates(err error) error {
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return err
	}
	for _, e := range bulk.WriteErrors {
		if e.Code != duplicate {
			return err
		}
	}
	return nil
}

// markClosed removes the marks of streams that have closed at a version.
func (l *Log) markClosed(ctx context.Context, closed map[eventlog.Stream]eventlog.Version) error {
	if len(closed) == 0 {
		return nil
	}
	var removals []mongo.WriteModel
	for stream, version := range closed {
		removals = append(removals, mongo.NewDeleteManyModel().SetFilter(bson.D{{Key: "_id", Value: bson.D{
			{Key: "$gte", Value: key(stream, 0)}, {Key: "$lte", Value: key(stream, version)},
		}}}))
	}
	_, err := l.store.open.BulkWrite(ctx, removals, options.BulkWrite().SetOrdered(false))
	return err
}

// closings are streams that have closed and have their marks still.
type closings struct {
	mu      sync.Mutex
	streams map[eventlog.Stream]eventlog.Version
	// tidying tells that somebody removes marks.
	tidying bool
}

func (c *closings) put(stream eventlog.Stream, version eventlog.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams == nil {
		c.streams = map[eventlog.Stream]eventlog.Version{}
	}
	c.streams[stream] = max(c.streams[stream], version)
}

// tidy has the marks of streams that have closed removed, while others go on. What it
// can't remove is found by openStreams.
func (l *Log) tidy() {
	c := &l.closings
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tidying || len(c.streams) == 0 {
		return
	}
	c.tidying = true
	l.queue.writing.Go(func() {
		for {
			c.mu.Lock()
			closed := c.streams
			c.streams = nil
			c.tidying = len(closed) > 0
			c.mu.Unlock()
			if len(closed) == 0 {
				return
			}
			ctx, cancel := l.store.bound(context.Background())
			_ = l.markClosed(ctx, closed)
			cancel()
		}
	})
}

// openStreams are the streams that have a mark whose part is stored, and no part behind it
// that closes.
func (l *Log) openStreams(ctx context.Context) ([]eventlog.Stream, error) {
	if l.store.reads { // whose marks they are may be lacking some, and has to complete them
		opened, err := l.openByPass(ctx)
		return slices.Sorted(maps.Keys(opened)), err
	}
	if err := l.completeMarks(ctx); err != nil {
		return nil, err
	}
	var open []eventlog.Stream
	for last := ""; ; {
		marks, err := l.marks(ctx, last)
		if err != nil {
			return nil, err
		}
		if len(marks) == 0 {
			slices.Sort(open)
			return slices.Compact(open), nil
		}
		last = marks[len(marks)-1]
		opened, closed, err := l.evidence(ctx, marks)
		if err != nil {
			return nil, err
		}
		stale := map[eventlog.Stream]eventlog.Version{}
		for _, m := range marks {
			stream, version, _ := parseKey(m)
			if at, ok := closed[stream]; ok && at >= version {
				stale[stream] = at
			} else if opened[m] {
				open = append(open, stream)
			}
		}
		if err := l.markClosed(ctx, stale); err != nil {
			return nil, err
		}
	}
}

// marks are the next marks after one.
func (l *Log) marks(ctx context.Context, last string) ([]string, error) {
	ctx, cancel := l.store.bound(ctx)
	defer cancel()
	cursor, err := l.store.open.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: last}, {Key: "$ne", Value: complete}}}},
		options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(openWindow))
	if err != nil {
		return nil, err
	}
	var found []struct {
		ID string `bson:"_id"`
	}
	err = cursor.All(ctx, &found)
	marks := make([]string, len(found))
	for i, m := range found {
		marks[i] = m.ID
	}
	return marks, err
}

// evidence is what the log says of marks: those whose parts are stored, and where their
// streams closed last.
func (l *Log) evidence(ctx context.Context, marks []string) (opened map[string]bool, closed map[eventlog.Stream]eventlog.Version, err error) {
	streams := make([]eventlog.Stream, len(marks))
	for i, m := range marks {
		streams[i], _, _ = parseKey(m)
	}
	opened, closed = map[string]bool{}, map[eventlog.Stream]eventlog.Version{}
	err = l.outlines(ctx, bson.D{{Key: "keys", Value: bson.D{{Key: "$in", Value: marks}}}}, func(k string, _ eventlog.Kind) { opened[k] = true })
	if err != nil {
		return nil, nil, err
	}
	err = l.outlines(ctx, bson.D{{Key: "closing", Value: bson.D{{Key: "$in", Value: streams}}}}, func(k string, kind eventlog.Kind) {
		if stream, version, _ := parseKey(k); kind == eventlog.Closing {
			closed[stream] = max(closed[stream], version)
		}
	})
	return opened, closed, err
}

// outlines gives key and kind of each part of the commits that a filter finds, in the
// order of positions. Commits are not decoded: what is damaged in them is seen by whoever
// reads their streams.
func (l *Log) outlines(ctx context.Context, filter bson.D, each func(key string, kind eventlog.Kind)) error {
	return l.find(ctx, filter,
		options.Find().SetSort(bson.D{{Key: "position", Value: 1}}).SetProjection(bson.D{{Key: "keys", Value: 1}, {Key: "parts.kind", Value: 1}}),
		func(raw bson.Raw) error {
			f := fields{raw: raw}
			keys, parts := f.array("keys"), f.array("parts")
			for i := range min(len(keys), len(parts)) {
				k, _ := keys[i].StringValueOK()
				part, _ := parts[i].DocumentOK()
				kind, _ := part.Lookup("kind").StringValueOK()
				each(k, kindOf(kind))
			}
			return nil
		})
}

// completeMarks makes the marks anew where the collection does not say that it has them
// all: once for a database, and again where somebody removed the collection. It goes
// through the whole log.
func (l *Log) completeMarks(ctx context.Context) error {
	asked, cancel := l.store.bound(ctx)
	defer cancel()
	err := l.store.open.FindOne(asked, bson.D{{Key: "_id", Value: complete}}).Err()
	if !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	open, err := l.openByPass(ctx)
	if err != nil {
		return err
	}
	var marks []string
	for stream, version := range open {
		marks = append(marks, key(stream, version))
	}
	for chunk := range slices.Chunk(append(marks, complete), openWindow) { // that it is complete is said last
		asked, cancel := l.store.bound(ctx)
		err := l.markOpen(asked, chunk)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// openByPass are the open streams, with the version that opened each, as the whole log says.
func (l *Log) openByPass(ctx context.Context) (map[eventlog.Stream]eventlog.Version, error) {
	end, err := l.end(ctx)
	if err != nil {
		return nil, err
	}
	open := map[eventlog.Stream]eventlog.Version{}
	for from, step := eventlog.Position(1), eventlog.Position(allWindow); from <= end; {
		found := false
		err := l.outlines(ctx, between(from, from+step), func(k string, kind eventlog.Kind) {
			found = true
			stream, version, ok := parseKey(k)
			if _, isOpen := open[stream]; kind == eventlog.Closing {
				delete(open, stream)
			} else if ok && !isOpen && (kind == eventlog.Lifecycle || version == 1) {
				open[stream] = version
			}
		})
		if err != nil {
			return nil, err
		}
		from += step
		if step = allWindow; !found {
			step *= 2
		}
	}
	return open, nil
}
