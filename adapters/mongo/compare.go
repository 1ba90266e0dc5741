package mongo

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
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
	// Behind tells of a DocumentDiffers that it says to be of an earlier version, and has no bill
	// but the log's.
	Behind bool
	// Fields are what is different, in the order of the document; of a DocumentDiffers and a
	// DocumentUnproved alone.
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
	// DocumentNewer says more than the log, which may be the older one of the two.
	DocumentNewer DifferenceKind = "newer"
	// DocumentUnproved has a bill that the log has not, as far as it can be read.
	DocumentUnproved DifferenceKind = "unproved"
)

// FieldDifference is a field of a document and what it is, in words; "nothing" where there is
// none.
type FieldDifference struct{ Name, Log, MongoDB string }

func (d FieldDifference) String() string {
	return fmt.Sprintf("%s: the log has %s, MongoDB has %s", d.Name, d.Log, d.MongoDB)
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
// Central's, progress as of RebuildOptions. Its error is ErrForeign, before any is looked at, or that of log or
// store.
func (p *Projections) Compare(ctx context.Context, source Source, decode func(eventlog.Part) (central.Part, error), found func(Difference), progress func(Rebuilt)) (Rebuilt, error) {
	silent := &Projections{config: p.config, shelves: p.shelves, logger: slog.New(slog.DiscardHandler), stale: map[eventlog.Stream]string{}}
	if err := silent.mayBuild(ctx, source, false); err != nil {
		return Rebuilt{}, err
	}
	return newRebuild(silent, source, decode, RebuildOptions{DryRun: true, Found: found, Progress: progress}).run(ctx)
}

// doubt has a document looked at once more, where not too many are already.
func (r *rebuild) doubt(w wanted) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.doubts) >= doubtsKept {
		return false
	}
	r.doubts = append(r.doubts, w)
	return true
}

// lookAgain looks at what seemed wrong until it is right, or stays wrong.
func (r *rebuild) lookAgain(ctx context.Context) error {
	for again := 1; again <= doubtsAgain && len(r.doubts) > 0; again++ {
		if !wait(ctx, doubtsPause) {
			return ctx.Err()
		}
		byCollection := map[string][]wanted{}
		for _, w := range r.doubts {
			byCollection[w.collection] = append(byCollection[w.collection], w)
		}
		r.doubts = nil
		for _, collection := range collections {
			if err := r.look(ctx, byCollection[collection], again == doubtsAgain); err != nil {
				return err
			}
		}
	}
	return nil
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
