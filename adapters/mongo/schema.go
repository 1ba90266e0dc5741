package mongo

import (
	"context"
	"errors"
	"fmt"

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
		o.SetPartialFilterExpression(bson.D{{Key: i.partial, Value: bson.D{{Key: "$gt", Value: ""}}}})
	}
	return mongo.IndexModel{Keys: i.keys, Options: o}
}

// migrate makes what is missing in the database: all of it may be done by several
// processes at once.
func (s *Store) migrate(ctx context.Context) error {
	version, err := settle(ctx, s, "schema", schema)
	if err != nil {
		return s.explain(err)
	}
	if version > schema {
		return fmt.Errorf("%w: %s has schema %d, this program knows %d", ErrNewerSchema, s.place, version, schema)
	}
	if err := s.index(ctx); err != nil {
		return err
	}
	made, err := uuid.NewRandom()
	if err != nil {
		return err
	}
	network, err := settle(ctx, s, "network", bson.Binary{Subtype: bson.TypeBinaryUUID, Data: made[:]})
	if err != nil {
		return s.explain(err)
	}
	if s.network, err = uuid.FromBytes(network.Data); err != nil {
		return fmt.Errorf("%w: %s: the network's id is none: %w", ErrSchema, s.place, err)
	}
	return nil
}

// index makes the indexes that are missing.
func (s *Store) index(ctx context.Context) error {
	for _, i := range indexes {
		if _, err := s.db.Collection(i.collection).Indexes().CreateOne(ctx, i.model()); err != nil {
			return s.explain(err)
		}
	}
	return nil
}

// settle gives the value of a document of meta, which is the one handed in where there
// was none: whoever comes first makes it.
func settle[T any](ctx context.Context, s *Store, id string, value T) (T, error) {
	var stored struct {
		Value T `bson:"value"`
	}
	meta := s.db.Collection(metaCollection)
	for {
		err := meta.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&stored)
		if !errors.Is(err, mongo.ErrNoDocuments) {
			return stored.Value, err
		}
		_, err = meta.InsertOne(ctx, bson.D{{Key: "_id", Value: id}, {Key: "value", Value: value}})
		if err != nil && !mongo.IsDuplicateKeyError(err) {
			return stored.Value, err
		}
	}
}
