package mongo

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/eventlog"
)

const (
	// counter is the document of meta that has the last position which was given away.
	counter = "position"
	// leap is by how much a counter that was lost goes on behind the greatest position that
	// is stored: more than what may be under way.
	leap = 1 << 20
)

// positions takes n positions, of which it gives the first. All are behind those that
// anybody took before, and behind after.
func (l *Log) positions(ctx context.Context, n int, after eventlog.Position) (eventlog.Position, error) {
	for {
		var taken struct {
			Value int64 `bson:"value"`
		}
		err := l.store.meta.FindOneAndUpdate(ctx,
			bson.D{{Key: "_id", Value: counter}},
			bson.D{{Key: "$inc", Value: bson.D{{Key: "value", Value: int64(n)}}}},
			options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&taken)
		if err == nil {
			if first := eventlog.Position(taken.Value) - eventlog.Position(n) + 1; first > after {
				return first, nil
			}
		} else if !errors.Is(err, mongo.ErrNoDocuments) {
			return 0, err
		}
		if err := l.recount(ctx, after); err != nil {
			return 0, err
		}
	}
}

// recount puts the counter behind all positions that are stored or known. It does so for a
// log that is new, for a counter that was lost, and for one that is behind.
func (l *Log) recount(ctx context.Context, known eventlog.Position) error {
	greatest, err := l.greatest(ctx, 0)
	if err != nil {
		return err
	}
	if greatest = max(greatest, known); greatest > 0 {
		greatest += leap
	}
	_, err = l.store.meta.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: counter}},
		bson.D{{Key: "$max", Value: bson.D{{Key: "value", Value: int64(greatest)}}}},
		options.UpdateOne().SetUpsert(true))
	if mongo.IsDuplicateKeyError(err) { // two made it at once
		return nil
	}
	return err
}

// greatest is the greatest position stored above a bound; 0 where there is none.
func (l *Log) greatest(ctx context.Context, above eventlog.Position) (eventlog.Position, error) {
	var last struct {
		Position int64 `bson:"position"`
	}
	err := l.store.events.FindOne(ctx,
		bson.D{{Key: "position", Value: bson.D{{Key: "$gt", Value: int64(above)}}}},
		options.FindOne().SetSort(bson.D{{Key: "position", Value: -1}}).SetProjection(bson.D{{Key: "position", Value: 1}})).Decode(&last)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return 0, nil
	}
	return eventlog.Position(last.Position), err
}

// end is the position of the last commit. The counter says where to look: not every
// server finds the end of an index without reading all of it.
func (l *Log) end(ctx context.Context) (eventlog.Position, error) {
	ctx, cancel := l.store.bound(ctx)
	defer cancel()
	var given struct {
		Value int64 `bson:"value"`
	}
	err := l.store.meta.FindOne(ctx, bson.D{{Key: "_id", Value: counter}}).Decode(&given)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return 0, err
	}
	for look := int64(1 << 6); ; look <<= 5 {
		above := eventlog.Position(max(given.Value-look, 0))
		last, err := l.greatest(ctx, above)
		if err != nil || last != 0 || above == 0 {
			return last, err
		}
	}
}
