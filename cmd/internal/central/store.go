package central

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/mongo"
	"evcharging/application/eventlog"
)

// store is where a Central has its event log, and what is kept beside it.
type store struct {
	eventlog.Log
	network uuid.UUID
	// place names it for people.
	place string
	// shared is the MongoDB that has the log, which other Centrals may share; nil where the
	// log is embedded.
	shared *mongo.Store
	// ping is nil as long as the store answers, and returns soon after its ctx ends; it is itself
	// nil where the log is embedded.
	ping  func(ctx context.Context) error
	close func() error
}

// openStore opens the embedded log where a folder is named, else the one in MongoDB.
func openStore(ctx context.Context, config Config) (*store, error) {
	if config.LogDir != "" {
		log, err := bbolt.Open(config.LogDir, bbolt.Options{Logger: config.Logger})
		if err != nil {
			return nil, err
		}
		return &store{Log: log, network: log.NetworkID(), place: config.LogDir, close: log.Close}, nil
	}
	shared, err := mongo.Connect(ctx, config.Mongo)
	if err != nil {
		return nil, err
	}
	log := shared.Log()
	return &store{
		Log: log, network: shared.NetworkID(), place: "MongoDB", shared: shared, ping: shared.Ping,
		close: func() error { return errors.Join(log.Close(), shared.Close()) },
	}, nil
}
