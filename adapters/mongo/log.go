package mongo

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"evcharging/application/eventlog"
)

// Log is the event log of a network in MongoDB. It may be used from any number of
// goroutines, and by any number of processes at once. Each operation waits for the server
// for 10 s at most; its error is ErrUnreachable then.
type Log struct {
	store    *Store
	queue    queue
	heads    heads
	closings closings
	closed   atomic.Bool
}

var _ eventlog.Log = (*Log)(nil)

func newLog(s *Store) *Log {
	l := &Log{store: s}
	l.queue.streams, l.queue.causes = map[eventlog.Stream]struct{}{}, map[eventlog.Cause]struct{}{}
	return l
}

// Log is the event log of the store: always the same.
func (s *Store) Log() *Log { return s.log }

// Close ends the log: what is being written is finished, which takes 10 s at most; who
// waits, or comes after, gets eventlog.ErrClosed. The store stays open.
func (l *Log) Close() error {
	l.closed.Store(true)
	l.queue.close()
	return nil
}

// do runs an operation on the log, and says what went wrong.
func (l *Log) do(ctx context.Context, operation func(context.Context) error) error {
	if l.closed.Load() {
		return eventlog.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := l.store.bound(ctx)
	defer cancel()
	return l.explain(ctx, operation(bounded))
}

// explain says what went wrong: the port's errors as they are, all others as the store's.
func (l *Log) explain(ctx context.Context, err error) error {
	var conflict *eventlog.ConflictError
	var stored *eventlog.CauseStoredError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &conflict), errors.As(err, &stored), errors.Is(err, eventlog.ErrMalformed),
		errors.Is(err, eventlog.ErrDamaged), errors.Is(err, eventlog.ErrClosed):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case l.closed.Load(), errors.Is(err, mongo.ErrClientDisconnected):
		return eventlog.ErrClosed
	}
	return l.store.explain(err)
}

// Head implements eventlog.Log. It costs one look at what came after the head that this
// process knows; where it knows none, as much as Rehydrate.
func (l *Log) Head(ctx context.Context, stream eventlog.Stream) (end eventlog.Head, err error) {
	err = l.do(ctx, func(ctx context.Context) error {
		h, err := l.head(ctx, stream)
		end = eventlog.Head{Version: h.version, Hash: h.hash, Kind: h.kind}
		return err
	})
	if err != nil {
		return eventlog.Head{}, err
	}
	return end, nil
}

// Read implements eventlog.Log. Where from is the version after the last one that this
// process knows, and nothing came after it, it costs one look at an index.
func (l *Log) Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		err := l.each(ctx, func() error {
			var ended error
			stopped := false
			err := l.read(ctx, stream, from, func(s stored) bool {
				if ended = l.ready(ctx); ended != nil {
					return false
				}
				stopped = !yield(s.Commit, nil)
				return !stopped
			})
			if stopped {
				return errStopped
			}
			return errors.Join(ended, err)
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(eventlog.Commit{}, err)
		}
	}
}

// errStopped tells that whoever reads wants no more.
var errStopped = errors.New("stopped")

// ready is nil while the log can answer ctx.
func (l *Log) ready(ctx context.Context) error {
	if l.closed.Load() {
		return eventlog.ErrClosed
	}
	return ctx.Err()
}

// each runs what reads in steps, each of which has its own time.
func (l *Log) each(ctx context.Context, read func() error) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	err := read()
	if errors.Is(err, errStopped) {
		return err
	}
	return l.explain(ctx, err)
}

// Rehydrate implements eventlog.Log. It reads the stream's parts that are no samples, and
// one sample, whatever lies between them.
func (l *Log) Rehydrate(ctx context.Context, stream eventlog.Stream) (parts []eventlog.Commit, err error) {
	err = l.each(ctx, func() error {
		alive, h, err := l.alive(ctx, stream)
		if err != nil {
			return err
		}
		l.heads.put(stream, h)
		for _, s := range alive {
			parts = append(parts, s.Commit)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return parts, nil
}

// ByCause implements eventlog.Log.
func (l *Log) ByCause(ctx context.Context, cause eventlog.Cause) (commit eventlog.Commit, ok bool, err error) {
	err = l.do(ctx, func(ctx context.Context) error {
		var found stored
		found, ok, err = l.byCause(ctx, cause)
		commit = found.Commit
		return err
	})
	if err != nil {
		return eventlog.Commit{}, false, err
	}
	return commit, ok, nil
}

// All implements eventlog.Log. What was under way while it read may come later with a
// position below the last one that it gave: whoever wants to miss nothing uses Follow.
func (l *Log) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		err := l.each(ctx, func() error {
			end, err := l.end(ctx)
			if err != nil {
				return err
			}
			var ended error
			stopped := false
			err = l.all(ctx, from, end, func(c eventlog.Positioned) bool {
				if ended = l.ready(ctx); ended != nil {
					return false
				}
				stopped = !yield(c, nil)
				return !stopped
			})
			if stopped {
				return errStopped
			}
			return errors.Join(ended, err)
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(eventlog.Positioned{}, err)
		}
	}
}

// End implements eventlog.Log.
func (l *Log) End(ctx context.Context) (end eventlog.Position, err error) {
	err = l.do(ctx, func(ctx context.Context) error {
		end, err = l.end(ctx)
		return err
	})
	return end, err
}

// Open implements eventlog.Log. It costs two looks at indices for each 500 streams that
// are open; once in a database's life, and after somebody dropped the collection open, a
// look at every commit, without its texts.
func (l *Log) Open(ctx context.Context) (open []eventlog.Stream, err error) {
	err = l.each(ctx, func() error {
		open, err = l.openStreams(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return open, nil
}
