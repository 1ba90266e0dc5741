package mongo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
)

// Difference is a document that is not as the log has it.
type Difference struct {
	Collection, ID string
	Kind           DifferenceKind
	// Fields are what is different, in the order of the document; of a DocumentDiffers alone.
	Fields []FieldDifference
}

// DifferenceKind says what is wrong with a document.
type DifferenceKind string

// The kinds of a difference.
const (
	// DocumentMissing is one that the log has and MongoDB has not.
	DocumentMissing DifferenceKind = "missing"
	// DocumentDiffers says something else than the log.
	DocumentDiffers DifferenceKind = "differs"
	// DocumentOrphaned is one of which the log knows nothing.
	DocumentOrphaned DifferenceKind = "orphaned"
)

// FieldDifference is a field of a document and what it is, in words; "nothing" where there is
// none.
type FieldDifference struct{ Name, Log, MongoDB string }

func (d FieldDifference) String() string {
	return fmt.Sprintf("%s: the log has %s, MongoDB has %s", d.Name, d.Log, d.MongoDB)
}

// Compared is how far a comparison is.
type Compared struct {
	// Commits and Events were read.
	Commits, Events uint64
	// Same is how many documents say what the log says. A session that was revised long after
	// its close may count twice.
	Same uint64
	// Missing, Different and Orphaned are those that don't, by kind.
	Missing, Different, Orphaned uint64
	// Unreadable is how many streams the log can't be read of: of their documents nothing is said.
	Unreadable int
}

const (
	// doubtsKept is how many documents that seem wrong are looked at once more at the end: a
	// Central may just be writing them.
	doubtsKept = 1_000
	// doubtsAgain is how often they are, doubtsPause after one another.
	doubtsAgain = 3
	doubtsPause = time.Second
)

// Compare holds the documents of all streams of a log, and those of their drivers, against
// the log, in one pass, and tells each that is not as it should be. It writes nothing. Beside
// a Central it tells of a document only where that stays wrong for some seconds. decode is
// Central's, progress as of Rebuild. Its error is that of log or store.
func (p *Projections) Compare(ctx context.Context, source Source, decode func(eventlog.Part) (central.Part, error), found func(Difference), progress func(Compared)) (Compared, error) {
	c := &comparison{
		rebuild: &rebuild{
			projections: &Projections{
				config: p.config, shelves: p.shelves, logger: slog.New(slog.DiscardHandler), stale: map[eventlog.Stream]string{},
			},
			source: source, decode: decode, folds: map[eventlog.Stream]*rebuilding{},
			stale: map[eventlog.Stream]string{}, drivers: map[domain.DriverID]bool{},
		},
		found: found, known: map[string]map[uint64]struct{}{pointsCollection: {}, sessionsCollection: {}, driversCollection: {}},
	}
	c.settle, c.settleDrivers = c.look, c.lookAtDrivers
	if progress != nil {
		c.progress = func(Rebuilt) { progress(c.compared()) }
	}
	err := c.all(ctx)
	if err == nil {
		err = c.lookAgain(ctx)
	}
	if err == nil {
		err = c.lookForOrphans(ctx)
	}
	c.tell()
	return c.compared(), err
}

// comparison is a Compare under way: a rebuild that looks where that writes.
type comparison struct {
	*rebuild
	found  func(Difference)
	counts Compared
	// known are the documents that the log has, by collection, as 8 bytes of their ids' SHA-256.
	known map[string]map[uint64]struct{}
	// doubts are folds whose documents seem wrong, doubted the drivers whose documents do.
	doubts  []*fold
	doubted []domain.DriverID
}

func (c *comparison) compared() Compared {
	out := c.counts
	out.Commits, out.Events, out.Unreadable = c.rebuild.counts.Commits, c.rebuild.counts.Events, len(c.stale)
	return out
}

func (c *comparison) knows(collection, id string) {
	c.known[collection][shortID(id)] = struct{}{}
}

func (c *comparison) isKnown(collection, id string) bool {
	_, known := c.known[collection][shortID(id)]
	return known
}

func shortID(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

// look compares the documents of some streams.
func (c *comparison) look(ctx context.Context, folds []*rebuilding) error {
	return c.each(ctx, folds, func(ctx context.Context, collection string, folds []*rebuilding, found map[string]bson.Raw) error {
		for _, f := range folds {
			if c.folds[f.stream] != f {
				continue // damaged meanwhile
			}
			doubtful, err := c.lookAt(ctx, collection, f.fold, found, len(c.doubts) >= doubtsKept)
			if err != nil {
				return err
			}
			if doubtful {
				c.doubts = append(c.doubts, f.fold)
			}
		}
		return nil
	})
}

// lookAt compares a stream's document. Where it is not as it should be, that is told where it
// is final, and it is doubtful else.
func (c *comparison) lookAt(ctx context.Context, collection string, f *fold, found map[string]bson.Raw, final bool) (doubtful bool, err error) {
	_, id, _ := placeOf(f.stream)
	change, v, err := mend(f, found[id], func() error { return c.readOn(ctx, &rebuilding{fold: f}) })
	if errors.Is(err, eventlog.ErrDamaged) {
		c.damaged(f.stream, err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, has, err := f.document(); err != nil || !has {
		return false, err // a document that is there all the same is an orphan
	}
	c.knows(collection, id)
	return c.judged(change.projection, v, collection, id, found[id], final), nil
}

// judged counts a document that was looked at, and tells of it where it is wrong for good.
func (c *comparison) judged(want projection, v verdict, collection, id string, found bson.Raw, final bool) (doubtful bool) {
	switch {
	case v == same:
		c.counts.Same++
	case !final:
		return true
	case v == missing:
		c.counts.Missing++
		c.found(Difference{Collection: collection, ID: id, Kind: DocumentMissing})
	default:
		c.counts.Different++
		c.found(Difference{Collection: collection, ID: id, Kind: DocumentDiffers, Fields: fieldDifferences("", want.body, found)})
	}
	return false
}

func (c *comparison) lookAtDrivers(ctx context.Context) error {
	asked := slices.DeleteFunc(c.asked, func(id domain.DriverID) bool {
		return c.isKnown(driversCollection, string(id))
	})
	c.asked = nil
	doubted, err := c.lookAtSomeDrivers(ctx, asked, func() bool { return len(c.doubted) >= doubtsKept })
	c.doubted = append(c.doubted, doubted...)
	return err
}

func (c *comparison) lookAtSomeDrivers(ctx context.Context, ids []domain.DriverID, final func() bool) (doubted []domain.DriverID, err error) {
	for some := range slices.Chunk(ids, bulkSize) {
		names := make([]string, len(some))
		for i, id := range some {
			names[i] = string(id)
		}
		found, err := c.projections.shelves.read(ctx, driversCollection, names)
		if err != nil {
			return nil, err
		}
		for _, id := range some {
			change, v, err := mendDriver(id, found[string(id)])
			if err != nil {
				return nil, err
			}
			c.knows(driversCollection, string(id))
			if c.judged(change.projection, v, driversCollection, string(id), found[string(id)], final()) {
				doubted = append(doubted, id)
			}
		}
	}
	return doubted, nil
}

// lookAgain looks at what seemed wrong until it is right, or stays wrong.
func (c *comparison) lookAgain(ctx context.Context) error {
	for again := 1; again <= doubtsAgain && len(c.doubts)+len(c.doubted) > 0; again++ {
		if !wait(ctx, doubtsPause) {
			return ctx.Err()
		}
		final := again == doubtsAgain
		doubts, doubted := c.doubts, c.doubted
		c.doubts, c.doubted = nil, nil
		for some := range slices.Chunk(doubts, bulkSize) {
			if err := c.lookAtFolds(ctx, some, final); err != nil {
				return err
			}
		}
		var err error
		if c.doubted, err = c.lookAtSomeDrivers(ctx, doubted, func() bool { return final }); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) lookAtFolds(ctx context.Context, folds []*fold, final bool) error {
	byCollection, ids := map[string][]*fold{}, map[string][]string{}
	for _, f := range folds {
		collection, id, _ := placeOf(f.stream)
		byCollection[collection], ids[collection] = append(byCollection[collection], f), append(ids[collection], id)
	}
	for _, collection := range []string{pointsCollection, sessionsCollection} {
		if len(ids[collection]) == 0 {
			continue
		}
		found, err := c.projections.shelves.read(ctx, collection, ids[collection])
		if err != nil {
			return err
		}
		for _, f := range byCollection[collection] {
			doubtful, err := c.lookAt(ctx, collection, f, found, final)
			if err != nil {
				return err
			}
			if doubtful {
				c.doubts = append(c.doubts, f)
			}
		}
	}
	return nil
}

// lookForOrphans tells of the documents of which the log knows nothing.
func (c *comparison) lookForOrphans(ctx context.Context) error {
	type document struct{ collection, id string }
	var strangers []document
	for _, collection := range []string{pointsCollection, driversCollection, sessionsCollection} {
		begun := len(strangers)
		err := c.projections.shelves.ids(ctx, collection, func(id bson.RawValue) error {
			text, ok := id.StringValueOK()
			if !ok {
				c.orphaned(collection, valueText(id))
			} else if !c.isKnown(collection, text) {
				strangers = append(strangers, document{collection, text})
			}
			return nil
		})
		if err != nil {
			return err
		}
		slices.SortFunc(strangers[begun:], func(a, b document) int { return strings.Compare(a.id, b.id) })
	}
	if len(strangers) == 0 {
		return nil
	}
	// Some may have come meanwhile: the log has them behind what was read.
	if err := c.all(ctx); err != nil {
		return err
	}
	if err := c.lookAgain(ctx); err != nil {
		return err
	}
	for _, d := range strangers {
		stream := eventlog.Stream("point-" + d.id)
		if d.collection == sessionsCollection {
			stream = eventlog.Stream("session-" + d.id)
		}
		_, damaged := c.stale[stream]
		if d.collection == driversCollection { // whose requests may be in any stream
			damaged = c.lost+len(c.stale) > 0
		}
		if !damaged && !c.isKnown(d.collection, d.id) {
			c.orphaned(d.collection, d.id)
		}
	}
	return nil
}

func (c *comparison) orphaned(collection, id string) {
	c.counts.Orphaned++
	c.found(Difference{Collection: collection, ID: id, Kind: DocumentOrphaned})
}

// fieldDifferences are the fields in which two documents differ, in the order of the first;
// what the second has besides comes behind.
func fieldDifferences(path string, log, mongodb bson.Raw) (all []FieldDifference) {
	ours, err1 := log.Elements()
	theirs, err2 := mongodb.Elements()
	if err1 != nil || err2 != nil {
		return []FieldDifference{{path + "(the document)", "a document", "what is none"}}
	}
	for _, e := range ours {
		found, err := mongodb.LookupErr(e.Key())
		if err != nil {
			all = append(all, FieldDifference{path + e.Key(), valueText(e.Value()), "nothing"})
			continue
		}
		all = append(all, valueDifferences(path+e.Key(), e.Value(), found)...)
	}
	for _, e := range theirs {
		if _, err := log.LookupErr(e.Key()); err != nil {
			all = append(all, FieldDifference{path + e.Key(), "nothing", valueText(e.Value())})
		}
	}
	if len(all) == 0 && !bytes.Equal(log, mongodb) {
		all = append(all, FieldDifference{path + "(the fields)", "them in its order", "them in another, or twice"})
	}
	return all
}

func valueDifferences(path string, log, mongodb bson.RawValue) []FieldDifference {
	if log.Equal(mongodb) {
		return nil
	}
	for _, inside := range []func(bson.RawValue) (bson.Raw, bool){
		func(v bson.RawValue) (bson.Raw, bool) { return v.DocumentOK() },
		func(v bson.RawValue) (bson.Raw, bool) {
			array, ok := v.ArrayOK()
			return bson.Raw(array), ok
		},
	} {
		a, isA := inside(log)
		b, isB := inside(mongodb)
		if isA && isB {
			return fieldDifferences(path+".", a, b)
		}
	}
	d := FieldDifference{path, valueText(log), valueText(mongodb)}
	if d.Log == d.MongoDB {
		d.Log, d.MongoDB = fmt.Sprintf("%s (%s)", d.Log, log.Type), fmt.Sprintf("%s (%s)", d.MongoDB, mongodb.Type)
	}
	return []FieldDifference{d}
}

// valueText is a value in words.
func valueText(v bson.RawValue) string {
	switch v.Type {
	case bson.TypeDateTime:
		return domain.UnixMillis(v.DateTime()).String()
	case bson.TypeDouble:
		return strconv.FormatFloat(v.Double(), 'f', -1, 64)
	case bson.TypeInt32:
		return strconv.FormatInt(int64(v.Int32()), 10)
	case bson.TypeInt64:
		return strconv.FormatInt(v.Int64(), 10)
	case bson.TypeNull:
		return "null"
	default:
		return v.String()
	}
}
