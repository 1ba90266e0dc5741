package mongo

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/eventlog"
)

const (
	// firstWindow is how many versions a look at what comes next asks for, lastWindow how
	// many when there is a lot of it.
	firstWindow, lastWindow = 16, 512
	// allWindow is how many positions a step of All asks for.
	allWindow = 512
)

// find gives each document that a filter finds to a function, in no particular order
// without a sort. One command has patience, and so has each that fetches more.
func (l *Log) find(ctx context.Context, filter bson.D, o *options.FindOptionsBuilder, each func(bson.Raw) error) error {
	asked, cancel := l.store.bound(ctx)
	defer cancel()
	cursor, err := l.store.events.Find(asked, filter, o)
	if err != nil {
		return err
	}
	defer func() { _ = cursor.Close(asked) }()
	for l.next(ctx, cursor) {
		if err := each(cursor.Current); err != nil {
			return err
		}
	}
	return cursor.Err()
}

func (l *Log) next(ctx context.Context, cursor *mongo.Cursor) bool {
	if cursor.RemainingBatchLength() == 0 {
		more, cancel := l.store.bound(ctx)
		defer cancel()
		ctx = more
	}
	return cursor.Next(ctx)
}

// keyed gives the parts of a stream whose first versions are from to from + n - 1, in
// order of version. It asks for each key by name: an index range would do, but servers
// differ in what they make of a range over an array. Of several that are damaged the error
// is the first one's; all others are given.
func (l *Log) keyed(ctx context.Context, stream eventlog.Stream, from eventlog.Version, n int) ([]stored, error) {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = key(stream, from+eventlog.Version(i))
	}
	var found []stored
	var first *eventlog.DamagedError
	err := l.find(ctx, bson.D{{Key: "keys", Value: bson.D{{Key: "$in", Value: keys}}}}, options.Find().SetBatchSize(lastWindow), func(raw bson.Raw) error {
		s, damaged := decode(raw, stream)
		if damaged == nil {
			found = append(found, s)
		} else if first == nil || damaged.Position < first.Position {
			first = damaged
		}
		return nil
	})
	slices.SortFunc(found, byVersion)
	if err == nil && first != nil {
		err = first
	}
	return found, err
}

func byVersion(a, b stored) int { return cmp.Compare(a.Parts[0].Version, b.Parts[0].Version) }

// after gives the parts that follow a head, in order of version, each with the head that
// it makes, until yield wants no more. A window without the part that would come next is
// the end, for parts have no gaps but where samples are in an archive: these are passed over
// up to a version, and an ArchivedError where they reach beyond it.
func (l *Log) after(ctx context.Context, stream eventlog.Stream, h head, window int, over eventlog.Version, yield func(stored, head) bool) error {
	for {
		from := h.version + 1
		parts, err := l.keyed(ctx, stream, from, window)
		archived, _ := errors.AsType[*eventlog.ArchivedError](err)
		for _, s := range parts {
			if archived != nil && s.Parts[0].Version > archived.From {
				break // it is asked for again
			}
			next, broken := h.follow(s)
			if broken != nil {
				return cmp.Or(err, broken)
			}
			h = next
			if !yield(s, h) {
				return nil
			}
		}
		if archived != nil && archived.To <= over && archived.From == h.version+1 && archived.Prev == h.hash {
			h.version, h.hash = archived.To, archived.Hash
			continue
		}
		if err != nil {
			return err
		}
		if h.version+1 < from+eventlog.Version(window) {
			return nil
		}
		window = min(4*window, lastWindow)
	}
}

// holding gives the part that has a version, or, where the stream ends before, the last
// part within reach of it; ok is false where there is none.
func (l *Log) holding(ctx context.Context, stream eventlog.Stream, version eventlog.Version) (part stored, ok bool, err error) {
	const reach = eventlog.MaxEvents
	for looked, window := eventlog.Version(0), firstWindow; looked < version && looked <= reach; window *= 16 {
		n := min(eventlog.Version(window), version-looked)
		found, err := l.keyed(ctx, stream, version-looked-n+1, int(n))
		if _, archived := errors.AsType[*eventlog.ArchivedError](err); err != nil && (!archived || len(found) == 0) {
			return part, false, err
		}
		if len(found) > 0 {
			return found[len(found)-1], true, nil
		}
		looked += n
	}
	return part, false, nil
}

// read gives the parts whose last version is at least from.
func (l *Log) read(ctx context.Context, stream eventlog.Stream, from eventlog.Version, yield func(stored) bool) error {
	from = max(from, 1)
	h, known := l.heads.get(stream)
	if !known || h.version >= from || h.version+lastWindow < from {
		h = head{}
		if from > 1 {
			part, ok, err := l.holding(ctx, stream, from)
			if err != nil || !ok {
				return err
			}
			h = part.head(0)
			if h.version >= from && !yield(part) {
				return nil
			}
		}
	}
	return l.after(ctx, stream, h, firstWindow, from-1, func(s stored, next head) bool {
		l.heads.put(stream, next)
		return next.version < from || yield(s)
	})
}

// alive gives the parts of a stream that are no samples, and its last sample, in order of
// version, and the head that they make.
func (l *Log) alive(ctx context.Context, stream eventlog.Stream) ([]stored, head, error) {
	const attempts = 4 // what is written between the two looks seems to be damage
	for attempt := 1; ; attempt++ {
		parts, err := l.lookAlive(ctx, stream)
		if err != nil {
			return nil, head{}, err
		}
		h, err := foldAlive(parts)
		if err == nil || attempt == attempts {
			return parts, h, err
		}
	}
}

// lookAlive looks for what is alive: two indices, asked side by side.
func (l *Log) lookAlive(ctx context.Context, stream eventlog.Stream) ([]stored, error) {
	var lone, parts []stored
	var loneErr, err error
	var both sync.WaitGroup
	both.Go(func() {
		loneErr = l.find(ctx, bson.D{{Key: "sample", Value: string(stream)}},
			options.Find().SetSort(bson.D{{Key: "position", Value: -1}}).SetLimit(1), func(raw bson.Raw) error {
				s, damaged := decode(raw, stream)
				if damaged != nil {
					return damaged
				}
				lone = append(lone, s)
				return nil
			})
	})
	var sample stored
	err = l.find(ctx, bson.D{{Key: "lifecycle", Value: string(stream)}}, options.Find().SetBatchSize(lastWindow), func(raw bson.Raw) error {
		s, damaged := decode(raw, stream)
		switch {
		case damaged != nil:
			return damaged
		case s.Parts[0].Kind != eventlog.Sample:
			parts = append(parts, s)
		case len(sample.Parts) == 0 || byVersion(sample, s) < 0:
			sample = s // one that was written with parts of other streams
		}
		return nil
	})
	both.Wait()
	if err := cmp.Or(err, loneErr); err != nil {
		return nil, err
	}
	if len(lone) > 0 && (len(sample.Parts) == 0 || byVersion(sample, lone[0]) < 0) {
		sample = lone[0]
	}
	if len(sample.Parts) > 0 {
		parts = append(parts, sample)
	}
	slices.SortFunc(parts, byVersion)
	return parts, nil
}

// foldAlive is the head that the alive parts of a stream make. It is damage where one that
// should be alive is missing: each part knows how many before it are no samples, and only
// samples before the last may be passed over.
func foldAlive(parts []stored) (head, error) {
	last := -1
	for i, s := range parts {
		if s.Parts[0].Kind == eventlog.Sample {
			last = i
		}
	}
	var h head
	for i, s := range parts {
		p := s.Parts[0]
		if p.Version > h.version+1 && i <= last {
			h.version, h.hash = p.Version-1, p.Prev
		}
		next, err := h.follow(s)
		if err != nil {
			return head{}, err
		}
		h = next
	}
	return h, nil
}

// head is the end of a stream, read from the collection.
func (l *Log) head(ctx context.Context, stream eventlog.Stream) (head, error) {
	h, known := l.heads.get(stream)
	if !known {
		var err error
		if _, h, err = l.alive(ctx, stream); err != nil {
			return head{}, err
		}
		l.heads.put(stream, h)
		return h, nil
	}
	err := l.after(ctx, stream, h, firstWindow/4, eventlog.MaxVersion, func(_ stored, next head) bool {
		h = next
		return true
	})
	if err != nil {
		return head{}, err
	}
	l.heads.put(stream, h)
	return h, nil
}

// one gives the commit that a filter finds, whole; ok is false where there is none.
func (l *Log) one(ctx context.Context, filter bson.D) (found stored, ok bool, err error) {
	err = l.find(ctx, filter, options.Find().SetLimit(1), func(raw bson.Raw) error {
		s, damaged := decode(raw, "")
		if damaged != nil {
			return damaged
		}
		found, ok = s, true
		return nil
	})
	return found, ok, err
}

// between finds the commits whose positions are from to before.
func between(from, before eventlog.Position) bson.D {
	return bson.D{{Key: "position", Value: bson.D{{Key: "$gte", Value: int64(from)}, {Key: "$lt", Value: int64(before)}}}}
}

// sequence gives the first commits whose positions are from to before, in order.
func (l *Log) sequence(ctx context.Context, from, before eventlog.Position) (raws []bson.Raw, err error) {
	err = l.find(ctx, between(from, before),
		// A negative limit asks for one reply, of 16 MiB at most, and no cursor.
		options.Find().SetSort(bson.D{{Key: "position", Value: 1}}).SetLimit(-allWindow), func(raw bson.Raw) error {
			raws = append(raws, slices.Clone(raw))
			return nil
		})
	return raws, err
}

// all gives all commits from a position to an end, in order. Positions that nobody used
// are passed over in steps that grow.
func (l *Log) all(ctx context.Context, from, end eventlog.Position, yield func(eventlog.Positioned) bool) error {
	step := eventlog.Position(allWindow)
	for from = max(from, 1); from <= end; {
		before := min(from+step, end+1)
		raws, err := l.sequence(ctx, from, before)
		if err != nil {
			return err
		}
		if len(raws) == 0 {
			from, step = before, 2*step
			continue
		}
		step = allWindow
		for _, raw := range raws {
			s, damaged := decode(raw, "")
			if damaged != nil {
				return damaged
			}
			if !yield(s.Positioned) {
				return nil
			}
			from = s.Position + 1
		}
	}
	return nil
}

// same tells whether a stored commit is this one.
func (s stored) same(c eventlog.Commit) bool {
	return s.ID == c.ID && slices.EqualFunc(s.Parts, c.Parts, func(p, q eventlog.Part) bool {
		return p.Stream == q.Stream && p.Version == q.Version && p.Hash == q.Hash
	})
}

func (l *Log) byID(ctx context.Context, c eventlog.Commit) (stored, bool, error) {
	return l.one(ctx, bson.D{{Key: "_id", Value: idOf(c.ID)}})
}

func (l *Log) byCause(ctx context.Context, cause eventlog.Cause) (stored, bool, error) {
	if cause.IsZero() {
		return stored{}, false, nil
	}
	return l.one(ctx, bson.D{{Key: "cause", Value: cause.String()}})
}
