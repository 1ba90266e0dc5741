package central

import (
	"context"
	"errors"
	"iter"
	"testing"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// trouble is a log that is away, or has a commit that can't be read.
type trouble struct {
	eventlog.Log
	away    error
	damaged eventlog.Position
}

func (l trouble) Rehydrate(ctx context.Context, s eventlog.Stream) ([]eventlog.Commit, error) {
	if l.away != nil {
		return nil, l.away
	}
	return l.Log.Rehydrate(ctx, s)
}

func (l trouble) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for c, err := range l.Log.All(ctx, from) {
			if c.Position == l.damaged {
				yield(eventlog.Positioned{}, &eventlog.DamagedError{Where: "here", Position: c.Position, Reason: errors.New("a bit")})
				return
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

func restored(t *testing.T, l trouble) (closed []eventlog.Stream, said []error, err error) {
	t.Helper()
	log := memory.NewLog()
	t.Cleanup(func() { _ = log.Close() })
	b := eventlogtest.NewBuilder("ev.supply.done")
	for _, c := range []eventlog.Commit{
		b.Commit(b.Cause(), eventlogtest.Closing("session-1", `"refused"`)),
		b.Commit(b.Cause(), eventlogtest.Lifecycle("session-2", `"authorized"`)),
		b.Commit(b.Cause(), eventlogtest.Closing("session-3", `"refused"`)),
	} {
		if err := log.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	l.Log = log
	core := &central.Central{Log: l, Codec: eventjson.Codec{}}
	f := newFeed(core, memory.NewDeadlines(&memory.Signs{}))
	damaged := func(err error) { said = append(said, err) }
	if closed, err = f.closedLately(t.Context(), damaged); err != nil {
		return nil, said, err
	}
	return closed, said, f.restore(t.Context(), func(error) {})
}

func TestADamagedCommitKeepsNoCentralFromStarting(t *testing.T) {
	closed, said, err := restored(t, trouble{damaged: 2})
	if err != nil || len(said) != 1 || len(closed) != 2 {
		t.Errorf("closed are %v, said is %v, %v", closed, said, err)
	}
}

// What is left out because the log was away for a moment would miss its deadlines.
func TestALogThatIsAwayForAMomentIsNotTakenForDamaged(t *testing.T) {
	away := errors.New("away")
	if _, _, err := restored(t, trouble{away: away}); !errors.Is(err, away) {
		t.Errorf("it goes on with %v", err)
	}
}
