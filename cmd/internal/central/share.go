package central

import (
	"context"
	"errors"
	"time"

	"evcharging/adapters/mongo"
	"evcharging/application/central"
	"evcharging/application/eventlog"
)

// share begins to share the network with other Centrals through MongoDB: what any of them
// stores is followed for the panel and the deadlines, what any of them hears for the leases.
// It returns once everything that is stored has been taken in. start bounds that wait, rest
// all the rest.
func (n *Node) share(start, rest context.Context, core *central.Central, heard *signs) error {
	heard.shared = n.store.shared.Signs()
	documents := n.store.shared.Projections(mongo.ProjectionsConfig{Read: core.Parts, Open: core.Log.Open, Logger: n.logger})
	n.documents.Store(documents)
	n.rest.Go(func() { n.fail(heard.shared.Run(rest, heard.note)) })
	n.rest.Go(func() { n.fail(documents.Run(rest)) })
	n.rest.Go(func() { n.watchUnread(rest) })
	taken := make(chan struct{})
	n.rest.Go(func() { n.follow(rest, taken) })
	select {
	case <-taken:
		return nil
	case <-start.Done():
		return start.Err()
	}
}

// follow takes in what the log has and then what is appended to it, by anybody, until ctx
// ends; taken is closed once it has the first.
func (n *Node) follow(ctx context.Context, taken chan<- struct{}) {
	const first, longest = 250 * time.Millisecond, 5 * time.Second
	for pause := first; ; pause = min(2*pause, longest) {
		following, stop := context.WithCancelCause(ctx)
		err := n.store.shared.Log().Follow(following, func() {
			if err := n.feed.restore(following); err != nil {
				stop(err)
				return
			}
			n.warn("log", "")
			pause = first
			if taken != nil {
				close(taken)
				taken = nil
			}
		}, func(c eventlog.Commit) {
			if err := n.feed.follow(following, c); err != nil {
				stop(err)
			}
		})
		if cause := context.Cause(following); cause != nil && ctx.Err() == nil {
			err = cause
		}
		stop(nil)
		if ctx.Err() != nil {
			return
		}
		n.warn("log", "the panel is behind the event log")
		n.logger.Warn("what others store is not seen; trying again", "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// follow takes in a commit that somebody appended. Its error is the log's.
func (f *feed) follow(ctx context.Context, c eventlog.Commit) error {
	for _, stored := range c.Parts {
		part, err := f.central.Decode(stored)
		if err == nil {
			err = f.take(ctx, part)
		}
		if errors.Is(err, eventlog.ErrDamaged) {
			f.Note(ctx, stored.Stream, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}
