package central

import (
	"context"
	"sync/atomic"
	"time"

	"evcharging/adapters/mongo"
	"evcharging/application/central"
)

// firstAnswer is how long a start waits for what a MongoDB that has documents alone says:
// wrong credentials are a clear word at once, and one that is away delays nothing.
const firstAnswer = 3 * time.Second

// document begins to keep documents in a MongoDB beside the embedded log. One that is away,
// now or later, delays the documents alone. Its error is that of a MongoDB which will never do.
func (n *Node) document(start, rest context.Context, core *central.Central) error {
	answered := make(chan error, 1)
	n.rest.Go(func() {
		store, err := mongo.Connect(rest, n.config.Mongo)
		answered <- err
		if err != nil {
			if rest.Err() == nil {
				n.warn("documents", "no documents are kept")
				n.logger.Error("no documents are kept in MongoDB", "error", err)
			}
			return
		}
		defer func() { _ = store.Close() }() // what is not stored is the next start's
		documents := store.Projections(mongo.ProjectionsConfig{
			Read: core.Parts, Open: core.Log.Open, Log: core.Log, Optional: true, Logger: n.logger,
		})
		n.documents.Store(documents)
		n.fail(documents.Run(rest))
	})
	patience := time.NewTimer(firstAnswer)
	defer patience.Stop()
	select {
	case err := <-answered:
		return err
	case <-patience.C:
		return nil
	case <-start.Done():
		return start.Err()
	}
}

// project hands a publication to whatever keeps documents.
func (n *Node) project(ctx context.Context, p central.Publication) error {
	if documents := n.documents.Load(); documents != nil {
		return documents.Handle(ctx, p)
	}
	return nil
}

// documents is what keeps the documents; nil where nothing does, or not yet.
type documents = atomic.Pointer[mongo.Projections]
