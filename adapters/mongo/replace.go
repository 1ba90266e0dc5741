package mongo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/eventlog"
)

const (
	// bulkSize is how many documents are written, or read, at once.
	bulkSize = 500
	// maxDocument is what a document may have: MongoDB's 16 MiB, less what a statement has
	// around it.
	maxDocument = 16<<20 - 16<<10
)

// Why a document is stale. They are labels of a metric.
const (
	staleInvalid  = "invalid"   // a validator refuses it
	staleTooLarge = "too_large" // MongoDB takes none of its size
	staleRefused  = "refused"   // MongoDB refuses it otherwise
	staleDamaged  = "damaged"   // its stream can't be read
	staleUnproved = "unproved"  // it has a bill that the log has not
)

// refusedError tells that MongoDB refuses a document for good: others are not concerned.
type refusedError struct {
	// why is one of the reasons above.
	why string
	err error
}

func (e *refusedError) Error() string { return "MongoDB refuses the document: " + e.err.Error() }

func (e *refusedError) Unwrap() error { return e.err }

// errNewer tells of a document that was not stored since one of the same or a later version
// is there, another process's, or a repeat; or one with a bill that is none of the log's.
var errNewer = errors.New("a document that is not older is there")

// replacement is a document that is to be stored.
type replacement struct {
	projection
	// found is nil where the document is to replace an older one, or none; one that has a bill
	// which is none of the log's, it leaves there. Else it replaces the one whose version is
	// exactly this, whatever that is: none, where the field is missing.
	found *bson.RawValue
}

// shelves is where documents are kept: MongoDB, or what stands in for it in tests. It may
// be used from several goroutines.
type shelves interface {
	// replace stores documents of a collection, in any order, and gives each one's outcome:
	// nil where it is stored, errNewer, *refusedError, or the store's error, after which it may
	// be stored or not.
	replace(ctx context.Context, collection string, documents []replacement) []error
	// read gives those of the documents that there are.
	read(ctx context.Context, collection string, ids []string) (map[string]bson.Raw, error)
	// remove removes documents of a collection, and tells of each whether it stayed: somebody
	// has changed it, or made it anew, meanwhile.
	remove(ctx context.Context, collection string, documents []removal) (stayed []bool, err error)
	// ids gives the ids of all documents of a collection, in no particular order, until each
	// gives an error, which is then its own.
	ids(ctx context.Context, collection string, each func(id bson.RawValue) error) error
	// ready is nil where the store answers, and all indexes are there.
	ready(ctx context.Context) error
	// first is the first commit that can be read of the event log in the same database; zero where
	// there is none.
	first(ctx context.Context) (eventlog.Commit, error)
	// lastReached is how far a log that is elsewhere was projected, as setReached noted; zero
	// where nothing is noted.
	lastReached(ctx context.Context) (reached, error)
	setReached(ctx context.Context, m reached) error
}

// removal is a document that is to be removed.
type removal struct {
	// id is a string, or a bson.RawValue that is none.
	id any
	// guarded tells that it is removed only where it has exactly this version and time of change;
	// a zero value stands for a field that is missing.
	guarded            bool
	version, updatedAt bson.RawValue
}

// filter finds the document.
func (r removal) filter() bson.D {
	filter := bson.D{{Key: "_id", Value: r.id}}
	if r.guarded {
		filter = append(filter, bson.E{Key: "version", Value: exactly(r.version)}, bson.E{Key: "updated_at", Value: exactly(r.updatedAt)})
	}
	return filter
}

// exactly is the condition that a field has a value; is missing, where it is zero.
func exactly(value bson.RawValue) bson.D {
	if value.IsZero() {
		return bson.D{{Key: "$exists", Value: false}}
	}
	return bson.D{{Key: "$eq", Value: value}}
}

// model is the statement of a replacement. A document of a driver has no version: it is
// written once.
func (r replacement) model() mongo.WriteModel {
	byID := bson.E{Key: "_id", Value: r.id}
	switch {
	case r.version == 0 && r.found != nil:
		return mongo.NewReplaceOneModel().SetFilter(bson.D{byID}).SetReplacement(r.body)
	case r.version == 0:
		return mongo.NewUpdateOneModel().SetFilter(bson.D{byID}).SetUpdate(bson.D{{Key: "$setOnInsert", Value: r.body}}).SetUpsert(true)
	case r.found == nil:
		older := bson.E{Key: "version", Value: bson.D{{Key: "$lt", Value: r.version}}}
		filter := bson.D{byID, older}
		if r.collection == sessionsCollection {
			filter = append(filter, r.followed())
		}
		return mongo.NewReplaceOneModel().SetFilter(filter).SetReplacement(r.body).SetUpsert(true)
	}
	return mongo.NewReplaceOneModel().SetFilter(bson.D{byID, {Key: "version", Value: exactly(*r.found)}}).SetReplacement(r.body)
}

// replace is shelves'.
func (s *Store) replace(ctx context.Context, collection string, documents []replacement) []error {
	outcomes := make([]error, len(documents))
	models := make(map[int]mongo.WriteModel, len(documents))
	for i, d := range documents {
		if len(d.body) > maxDocument {
			outcomes[i] = &refusedError{staleTooLarge, fmt.Errorf("it has %d bytes", len(d.body))}
			continue
		}
		models[i] = d.model()
	}
	s.writeEach(ctx, collection, models, outcomes)
	return outcomes
}

// writeEach carries out guarded upserts, in any order, and notes each one's outcome.
func (s *Store) writeEach(ctx context.Context, collection string, models map[int]mongo.WriteModel, outcomes []error) {
	bulk := func(models []mongo.WriteModel) error {
		_, err := s.db.Collection(collection).BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
		return err
	}
	writeAll(bulk, models, outcomes)
	for n, err := range outcomes {
		var refused *refusedError
		if err != nil && !errors.As(err, &refused) && !errors.Is(err, errNewer) {
			outcomes[n] = s.explain(err)
		}
	}
}

// writeAll writes in bulk. A guarded upsert that finds no older document inserts one, and so
// fails on a newer one; or on one that came between the two and may be older: then the
// second time tells.
func writeAll(bulk func([]mongo.WriteModel) error, models map[int]mongo.WriteModel, outcomes []error) {
	again := writeOnce(bulk, models, outcomes)
	for n := range writeOnce(bulk, again, outcomes) {
		outcomes[n] = errNewer
	}
}

// writeOnce writes in bulk, and gives those that a document of the same id was in the way of.
func writeOnce(bulk func([]mongo.WriteModel) error, models map[int]mongo.WriteModel, outcomes []error) (inTheWay map[int]mongo.WriteModel) {
	if len(models) == 0 {
		return nil
	}
	numbers := slices.Sorted(maps.Keys(models))
	list := make([]mongo.WriteModel, len(numbers))
	for i, n := range numbers {
		list[i] = models[n]
	}
	err := bulk(list)
	var of mongo.BulkWriteException
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &of):
		refused := refusal(err)
		switch {
		case refused != nil && len(list) == 1:
			outcomes[numbers[0]] = refused
			return nil
		case refused != nil: // one of them spoils the others' statement
			inTheWay = map[int]mongo.WriteModel{}
			for _, n := range numbers {
				maps.Copy(inTheWay, writeOnce(bulk, map[int]mongo.WriteModel{n: models[n]}, outcomes))
			}
			return inTheWay
		}
		for _, n := range numbers {
			outcomes[n] = err
		}
		return nil
	}
	inTheWay = map[int]mongo.WriteModel{}
	if of.WriteConcernError != nil {
		for _, n := range numbers {
			outcomes[n] = of
		}
	}
	for _, e := range of.WriteErrors {
		n := numbers[e.Index]
		switch {
		case ofSameID(e.WriteError):
			if of.WriteConcernError == nil {
				inTheWay[n] = models[n]
			}
		case passing[e.Code]:
			outcomes[n] = e.WriteError
		default:
			outcomes[n] = refusal(e.WriteError)
		}
	}
	return inTheWay
}

// ofSameID tells of a document that could not be inserted since one of its id is there.
func ofSameID(e mongo.WriteError) bool {
	if e.Code != 11000 {
		return false
	}
	_, err := e.Raw.LookupErr("keyPattern", "_id")
	return err == nil
}

// passing are the codes of errors that a server may give for a single document though
// they are about the server. Any other tells of the document.
var passing = map[int]bool{
	6: true, 7: true, // a host
	13:    true,                           // unauthorized
	24:    true,                           // lock timeout
	46:    true,                           // lock busy
	50:    true,                           // time limit
	64:    true,                           // write concern
	89:    true,                           // network timeout
	91:    true,                           // shutdown
	112:   true,                           // write conflict
	133:   true,                           // read preference
	134:   true,                           // majority
	189:   true,                           // primary stepped down
	202:   true,                           // network interface
	262:   true,                           // time limit
	9001:  true,                           // socket
	10107: true,                           // no primary
	11600: true, 11601: true, 11602: true, // interrupted
	13435: true, 13436: true, // no primary
	14031: true, // disk full
}

// badStatement are the codes by which a server refuses a whole statement for what a
// document has in it.
var badStatement = map[int]bool{2: true, 9: true, 14: true, 15: true, 22: true, 121: true, 10334: true, 17280: true, 17419: true, 17420: true}

// refusal is a *refusedError where an error tells that a document is refused for good, else
// nil.
func refusal(err error) error {
	var of mongo.WriteError
	var command mongo.CommandError
	code := 0
	switch {
	case errors.As(err, &of):
		code = of.Code
	case errors.As(err, &command) && badStatement[int(command.Code)]:
		code = int(command.Code)
	default:
		return nil
	}
	switch code {
	case 121:
		return &refusedError{staleInvalid, err}
	case 10334, 17280, 17419, 17420:
		return &refusedError{staleTooLarge, err}
	}
	return &refusedError{staleRefused, err}
}

// read is shelves'.
func (s *Store) read(ctx context.Context, collection string, ids []string) (map[string]bson.Raw, error) {
	cursor, err := s.db.Collection(collection).Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return nil, s.explain(err)
	}
	var all []bson.Raw
	if err := cursor.All(ctx, &all); err != nil {
		return nil, s.explain(err)
	}
	found := make(map[string]bson.Raw, len(all))
	for _, d := range all {
		id, _ := d.Lookup("_id").StringValueOK()
		found[id] = d
	}
	return found, nil
}

// ids is shelves'.
func (s *Store) ids(ctx context.Context, collection string, each func(id bson.RawValue) error) error {
	cursor, err := s.db.Collection(collection).Find(ctx, bson.D{}, options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return s.explain(err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()
	for cursor.Next(ctx) {
		if err := each(cursor.Current.Lookup("_id")); err != nil {
			return err
		}
	}
	return s.explain(cursor.Err())
}

// remove is shelves'.
func (s *Store) remove(ctx context.Context, collection string, documents []removal) (stayed []bool, err error) {
	models, ids := make([]mongo.WriteModel, len(documents)), make(bson.A, len(documents))
	for i, d := range documents {
		models[i], ids[i] = mongo.NewDeleteOneModel().SetFilter(d.filter()), d.id
	}
	stayed = make([]bool, len(documents))
	done, err := s.db.Collection(collection).BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	if err != nil || done.DeletedCount == int64(len(documents)) {
		return stayed, s.explain(err)
	}
	cursor, err := s.db.Collection(collection).Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}},
		options.Find().SetProjection(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return nil, s.explain(err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()
	for cursor.Next(ctx) {
		there := cursor.Current.Lookup("_id")
		text, isText := there.StringValueOK()
		for i, d := range documents {
			odd, isOdd := d.id.(bson.RawValue)
			stayed[i] = stayed[i] || isText && d.id == any(text) || isOdd && odd.Equal(there)
		}
	}
	return stayed, s.explain(cursor.Err())
}

// first is shelves'.
func (s *Store) first(ctx context.Context) (eventlog.Commit, error) {
	for from := eventlog.Position(1); from != 0; {
		at := from
		from = 0
		for c, err := range s.log.All(ctx, at) {
			var damage *eventlog.DamagedError
			if errors.As(err, &damage) && damage.Position >= at {
				from = damage.Position + 1
				break
			}
			return c.Commit, err
		}
	}
	return eventlog.Commit{}, nil
}

// ready is shelves'.
func (s *Store) ready(ctx context.Context) error { return s.index(ctx) }

// together carries out what concurrent callers ask for in bulk: what comes while a bulk is
// under way waits for it and is in the next one. Its methods may be called from any number
// of goroutines.
type together[T any] struct {
	do func(ctx context.Context, all []T) []error

	mu    sync.Mutex
	queue []asked[T]
	busy  bool
}

type asked[T any] struct {
	what    T
	outcome chan<- error
}

// ask hands something over; its outcome comes from the channel.
func (t *together[T]) ask(what T) <-chan error {
	outcome := make(chan error, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, asked[T]{what, outcome})
	if !t.busy {
		t.busy = true
		go t.drain()
	}
	return outcome
}

// drain works until nothing is asked for any more. Nobody's context ends it: what it does
// is several callers', and the client's own patience bounds it.
func (t *together[T]) drain() {
	for {
		t.mu.Lock()
		n := min(len(t.queue), bulkSize)
		bulk := slices.Clone(t.queue[:n])
		t.queue = slices.Delete(t.queue, 0, n)
		if t.busy = n > 0; !t.busy {
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		all := make([]T, n)
		for i, a := range bulk {
			all[i] = a.what
		}
		for i, err := range t.do(context.Background(), all) {
			bulk[i].outcome <- err
		}
	}
}
