package mongo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// schema is the version of the database's shape that this program writes. It grows where
// an older program would misread a newer one's documents.
const schema int32 = 1

// The collections.
const (
	openCollection     = "open"
	eventsCollection   = "events"
	pointsCollection   = "charging_points"
	driversCollection  = "drivers"
	sessionsCollection = "sessions"
	signsCollection    = "signs"
	metaCollection     = "meta"
)

// index is one that a collection has.
type index struct {
	collection string
	keys       bson.D
	unique     bool
	// partial is the one field without which a document is not in the index; empty: all are.
	partial string
}

// indexes are all of them.
var indexes = []index{
	{collection: eventsCollection, keys: bson.D{{Key: "position", Value: 1}}, unique: true},
	{collection: eventsCollection, keys: bson.D{{Key: "keys", Value: 1}}, unique: true},
	{collection: eventsCollection, keys: bson.D{{Key: "cause", Value: 1}}, unique: true, partial: "cause"},
	{collection: eventsCollection, keys: bson.D{{Key: "lifecycle", Value: 1}}, partial: "lifecycle"},
	{collection: eventsCollection, keys: bson.D{{Key: "closing", Value: 1}}, partial: "closing"},
	{collection: eventsCollection, keys: bson.D{{Key: "sample", Value: 1}, {Key: "position", Value: 1}}, partial: "sample"},
	{collection: signsCollection, keys: bson.D{{Key: "written_at", Value: 1}}},
}

func (i index) model() mongo.IndexModel {
	o := options.Index()
	if i.unique {
		o.SetUnique(true)
	}
	if i.partial != "" {
		o.SetPartialFilterExpression(i.filter())
	}
	return mongo.IndexModel{Keys: i.keys, Options: o}
}

// filter finds the documents that a partial index has: those where the field is a text.
func (i index) filter() bson.D {
	return bson.D{{Key: i.partial, Value: bson.D{{Key: "$gt", Value: ""}}}}
}

func (i index) String() string {
	fields := make([]string, len(i.keys))
	for n, k := range i.keys {
		fields[n] = k.Key
	}
	text := "the index on " + strings.Join(fields, ", ") + " of collection " + i.collection
	if i.unique {
		text = strings.Replace(text, "index", "unique index", 1)
	}
	return text
}

// specification is what a server says of an index.
type specification struct {
	Name    string   `bson:"name"`
	Keys    bson.Raw `bson:"key"`
	Unique  bool     `bson:"unique"`
	Sparse  bool     `bson:"sparse"`
	Partial bson.Raw `bson:"partialFilterExpression"`
}

// on tells whether it is an index on the same fields.
func (s specification) on(i index) bool {
	fields, err := s.Keys.Elements()
	if err != nil || len(fields) != len(i.keys) {
		return false
	}
	for n, k := range i.keys {
		direction, ok := fields[n].Value().AsInt64OK()
		if fields[n].Key() != k.Key || !ok || direction != int64(k.Value.(int)) {
			return false
		}
	}
	return true
}

// is tells whether it does the same.
func (s specification) is(i index) bool {
	var filter bson.Raw
	if i.partial != "" {
		filter, _ = bson.Marshal(i.filter()) // of two texts
	}
	return s.Unique == i.unique && !s.Sparse && bytes.Equal(s.Partial, filter)
}

// migrate makes what is missing in the database: all of it may be done by several
// processes at once.
func (s *Store) migrate(ctx context.Context) error {
	version, err := settle(ctx, s, "schema", schema)
	if err == nil {
		err = s.knows(version)
	}
	if err != nil {
		return s.explain(err)
	}
	if err := s.index(ctx); err != nil {
		return err
	}
	if err := s.lostNetwork(ctx); err != nil {
		return err
	}
	made := s.imported
	if made == uuid.Nil {
		if made, err = uuid.NewRandom(); err != nil {
			return err
		}
	}
	network, err := settle(ctx, s, "network", bson.Binary{Subtype: bson.TypeBinaryUUID, Data: made[:]})
	if err != nil {
		return s.explain(err)
	}
	return s.identify(network)
}

// lostNetwork is ErrSchema where there are events and the id of their network is gone: with
// another one they would be another network's.
func (s *Store) lostNetwork(ctx context.Context) error {
	_, err := noted[bson.Binary](ctx, s, "network")
	if !errors.Is(err, mongo.ErrNoDocuments) {
		return s.explain(err)
	}
	if err = s.events.FindOne(ctx, bson.D{}).Err(); errors.Is(err, mongo.ErrNoDocuments) {
		return nil
	}
	if err == nil { // somebody else may have made it meanwhile, before the first event
		_, err = noted[bson.Binary](ctx, s, "network")
	}
	if errors.Is(err, mongo.ErrNoDocuments) {
		return fmt.Errorf("%w: %s: there are events, but the id of their network is gone: put it back with db.%s.insertOne({_id: \"network\", value: UUID(\"…\")}); the name of the key in network.pub begins with it, and each export names it",
			ErrSchema, s.place, metaCollection)
	}
	return s.explain(err)
}

// inspect looks whether there is anything to read.
func (s *Store) inspect(ctx context.Context) error {
	version, err := noted[int32](ctx, s, "schema")
	if err == nil {
		err = s.knows(version)
	}
	var network bson.Binary
	if err == nil {
		network, err = noted[bson.Binary](ctx, s, "network")
	}
	switch {
	case errors.Is(err, mongo.ErrNoDocuments) && s.mayBeEmpty:
		return nil
	case errors.Is(err, mongo.ErrNoDocuments):
		return fmt.Errorf("%w: %s", ErrEmpty, s.place)
	case err != nil:
		return s.explain(err)
	}
	return s.identify(network)
}

// knows is ErrNewerSchema where a version of the schema is none of ours.
func (s *Store) knows(version int32) error {
	if version > schema {
		return fmt.Errorf("%w: %s has schema %d, this program knows %d", ErrNewerSchema, s.place, version, schema)
	}
	return nil
}

// identify takes in the network's id.
func (s *Store) identify(network bson.Binary) (err error) {
	if s.network, err = uuid.FromBytes(network.Data); err != nil {
		return fmt.Errorf("%w: %s: the network's id is none: %w", ErrSchema, s.place, err)
	}
	return nil
}

// index makes the indexes that are missing. ErrSchema where there is one on the same
// fields that does something else: while other programs run, it can't be replaced.
func (s *Store) index(ctx context.Context) error {
	there := map[string][]specification{}
	for _, i := range indexes {
		specifications, ok := there[i.collection]
		if !ok {
			var err error
			if specifications, err = s.specifications(ctx, i.collection); err != nil {
				return s.explain(err)
			}
			there[i.collection] = specifications
		}
		n := slices.IndexFunc(specifications, func(s specification) bool { return s.on(i) })
		if n < 0 {
			if s.network != uuid.Nil { // it was there when this program began
				s.logger.Warn("an index of MongoDB is gone; it is made again", "index", i)
			}
			if err := s.build(ctx, i); err != nil {
				return err
			}
		} else if !specifications[n].is(i) {
			return fmt.Errorf("%w: %s: %s is wanted, but index %s there is another: stop the network, drop that index, and start again",
				ErrSchema, s.place, i, specifications[n].Name)
		}
	}
	return nil
}

func (s *Store) specifications(ctx context.Context, collection string) (specifications []specification, err error) {
	cursor, err := s.db.Collection(collection).Indexes().List(ctx)
	if err == nil {
		err = cursor.All(ctx, &specifications)
	}
	return specifications, err
}

// build makes an index. That takes a while where the collection is large.
func (s *Store) build(ctx context.Context, i index) error {
	const longest = time.Hour
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	_, err := s.db.Collection(i.collection).Indexes().CreateOne(ctx, i.model())
	if mongo.IsDuplicateKeyError(err) {
		return fmt.Errorf("%w: %s: %s can't be made, for documents there have the same: %w", ErrSchema, s.place, i, err)
	}
	return s.explain(err)
}

// settle gives the value of a document of meta, which is the one handed in where there
// was none: whoever comes first makes it.
func settle[T any](ctx context.Context, s *Store, id string, value T) (T, error) {
	for {
		stored, err := noted[T](ctx, s, id)
		if !errors.Is(err, mongo.ErrNoDocuments) {
			return stored, err
		}
		_, err = s.meta.InsertOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "value", Value: value}})
		if err != nil && !mongo.IsDuplicateKeyError(err) {
			return stored, err
		}
	}
}

// noted is the value of a document of meta; mongo.ErrNoDocuments where there is none.
func noted[T any](ctx context.Context, s *Store, id string) (T, error) {
	var stored struct {
		Value T `bson:"value"`
	}
	err := s.meta.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&stored)
	return stored.Value, err
}
