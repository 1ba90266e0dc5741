package mongo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/eventlog"
)

// ErrLost tells that commits were appended that can't be handed over any more: the caller
// reads the log anew, and follows it again.
var ErrLost = errors.New("the event log can't be followed from where it was left")

// newsPause is how long the server waits for news before it says that there are none.
const newsPause = time.Second

// Follow hands over every commit that any process appends after begun was called, each
// stream in order of version, one at a time. It calls begun once, when the server has begun
// to keep them. Over outages it goes on where it was; a commit that is damaged is said
// and left out. It returns nil when ctx ends, eventlog.ErrClosed when the log is closed,
// ErrLost where the server has forgotten what came meanwhile, or the collection was
// dropped, and an error at once where following is denied.
func (l *Log) Follow(ctx context.Context, begun func(), took func(eventlog.Commit)) error {
	const first, longest = 250 * time.Millisecond, 5 * time.Second
	f := follower{log: l, begun: begun, took: took}
	for pause := first; ; pause = min(2*pause, longest) {
		err := f.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case l.closed.Load():
			return eventlog.ErrClosed
		case errors.Is(err, ErrLost):
			return err
		}
		err = l.explain(ctx, err)
		if errors.Is(err, ErrDenied) || errors.Is(err, eventlog.ErrClosed) {
			return err
		}
		if f.had {
			pause, f.had = first, false
		}
		if !f.said {
			f.said = true
			l.store.logger.Warn("what others store is not seen yet; trying again", "error", err)
		}
		if !wait(ctx, pause) {
			return nil
		}
	}
}

type follower struct {
	log   *Log
	begun func()
	took  func(eventlog.Commit)
	// token is where to go on; nil before it has begun.
	token bson.Raw
	// had tells that the server has answered since the last outage, said that the outage was
	// said.
	had, said bool
}

// follow follows until something goes wrong.
func (f *follower) follow(ctx context.Context) error {
	o := options.ChangeStream().SetMaxAwaitTime(newsPause)
	if f.token != nil {
		o.SetResumeAfter(f.token)
	}
	opening, cancel := f.log.store.bound(ctx)
	defer cancel()
	news, err := f.log.store.events.Watch(opening, mongo.Pipeline{
		bson.D{{Key: "$match", Value: bson.D{{Key: "operationType", Value: "insert"}}}},
	}, o)
	if err != nil {
		return lost(err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = news.Close(closing)
	}()
	if f.begun != nil {
		f.begun()
		f.begun = nil
	}
	for {
		if token := news.ResumeToken(); token != nil {
			f.token = token
		}
		if f.log.closed.Load() {
			return eventlog.ErrClosed
		}
		asking, cancel := f.log.store.bound(ctx)
		ok := news.TryNext(asking)
		cancel()
		switch {
		case ok:
			f.take(news.Current)
		case news.Err() != nil && f.token == nil:
			return fmt.Errorf("%w: %w", ErrLost, news.Err())
		case news.Err() != nil:
			return lost(news.Err())
		case news.ID() == 0:
			return fmt.Errorf("%w: its collection was dropped or renamed", ErrLost)
		}
		if f.had = true; f.said {
			f.said = false
			f.log.store.logger.Info("the event log is followed again")
		}
	}
}

func (f *follower) take(change bson.Raw) {
	raw, ok := change.Lookup("fullDocument").DocumentOK()
	if !ok {
		return
	}
	s, damaged := decode(raw, "")
	if damaged != nil {
		f.log.store.logger.Error("a commit of another process can't be read; the others go on", "error", damaged)
		return
	}
	f.took(s.Commit)
}

// lost is ErrLost where an error says that the stream can't be resumed, ever.
func lost(err error) error {
	const (
		cappedPositionLost = 136
		invalidResumeToken = 260
		fatalError         = 280
		historyLost        = 286
	)
	var server mongo.ServerError
	if errors.As(err, &server) {
		for _, code := range []int{cappedPositionLost, invalidResumeToken, fatalError, historyLost} {
			if server.HasErrorCode(code) {
				return fmt.Errorf("%w: %w", ErrLost, err)
			}
		}
	}
	return err
}
