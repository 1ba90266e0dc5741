package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
)

// sampled is how many documents of a collection are looked for in a log, at most, to see
// whether they were made of it.
const sampled = 100

// mayBuild is nil where documents may be made what a log says, or said at some time in the
// past; else ErrForeign or ErrLive.
func (p *Projections) mayBuild(ctx context.Context, source Source, inThePast bool) error {
	own, err := p.shelves.first(ctx)
	if err != nil {
		return err
	}
	has := len(own.Parts) > 0
	if inThePast {
		reached, err := p.shelves.lastReached(ctx)
		switch {
		case err != nil:
			return err
		case has:
			return fmt.Errorf("%w: its event log is there; build the past in another", ErrLive)
		case reached.Commit != "":
			return fmt.Errorf("%w: a Central keeps its documents there; build the past in another", ErrLive)
		}
	}
	if has {
		part := own.Parts[0]
		is, err := isIn(ctx, source, part.Stream, part.Version, func(c eventlog.Commit) bool { return c.ID == own.ID })
		if err == nil && !is {
			err = fmt.Errorf("%w: the database has one of its own, and the log does not have its commit %s; name the right log, or another database", ErrForeign, own.ID)
		}
		return err
	}
	// Points may have the same ids in every network: sessions tell better.
	for _, prefix := range []string{"session-", "point-"} {
		looked, known, err := p.sample(ctx, source, prefix)
		switch {
		case err != nil:
			return err
		case known:
			return nil
		case looked > 0:
			return fmt.Errorf("%w: the log has none of %d that were looked for; name the right log, or another database, or drop these documents first", ErrForeign, looked)
		}
	}
	return nil
}

var errEnough = errors.New("enough documents")

// sample looks for some documents in a log; known tells that it has one of them.
func (p *Projections) sample(ctx context.Context, source Source, prefix string) (looked int, known bool, err error) {
	collection, _, _ := placeOf(eventlog.Stream(prefix))
	var streams []eventlog.Stream
	err = p.shelves.ids(ctx, collection, func(id bson.RawValue) error {
		if text, ok := id.StringValueOK(); ok {
			streams = append(streams, eventlog.Stream(prefix+text))
		}
		if len(streams) >= sampled {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return 0, false, err
	}
	for _, stream := range streams {
		known, err := isIn(ctx, source, stream, 1, func(eventlog.Commit) bool { return true })
		if err != nil || known {
			return len(streams), known, err
		}
	}
	return len(streams), false, nil
}

// isIn tells whether a log has a commit in a stream, at a version. One that can't be read is there.
func isIn(ctx context.Context, source Source, stream eventlog.Stream, version eventlog.Version, is func(eventlog.Commit) bool) (bool, error) {
	for commit, err := range source.Read(ctx, stream, version) {
		if errors.Is(err, eventlog.ErrDamaged) {
			return true, nil
		}
		return err == nil && is(commit), err
	}
	return false, nil
}
