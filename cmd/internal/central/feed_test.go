package central

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
	"evcharging/application/network"
	"evcharging/domain/session"
)

// trouble is a log that is away, or has a commit that can't be read.
type trouble struct {
	eventlog.Log
	away    error
	damaged eventlog.Position
	reason  error // a bit, where it is nil
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
				yield(eventlog.Positioned{}, &eventlog.DamagedError{Where: "here", Position: c.Position, Reason: cmp.Or(l.reason, errors.New("a bit"))})
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
	f.damaged = func(err error) { said = append(said, err) }
	if closed, err = f.closedLately(t.Context()); err != nil {
		return nil, said, err
	}
	f.damaged = func(error) {}
	return closed, said, f.restore(t.Context())
}

func TestADamagedCommitKeepsNoCentralFromStarting(t *testing.T) {
	closed, said, err := restored(t, trouble{damaged: 2})
	if err != nil || len(said) != 1 || len(closed) != 2 {
		t.Errorf("closed are %v, said is %v, %v", closed, said, err)
	}
}

func TestNothingIsWrongWhereSamplesAreInAnArchive(t *testing.T) {
	closed, said, err := restored(t, trouble{damaged: 2, reason: &eventlog.ArchivedError{Stream: "session-2", From: 2, To: 9}})
	if err != nil || len(said) != 0 || len(closed) != 2 {
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

// leaping is a log whose positions leap.
type leaping struct{ eventlog.Log }

const leap = 1 << 20

func (l leaping) End(ctx context.Context) (eventlog.Position, error) {
	end, err := l.Log.End(ctx)
	return end * leap, err
}

func (l leaping) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for c, err := range l.Log.All(ctx, (from+leap-1)/leap) {
			c.Position *= leap
			if !yield(c, err) {
				return
			}
		}
	}
}

func TestSessionsThatClosedLatelyAreFoundWherePositionsLeap(t *testing.T) {
	log := memory.NewLog()
	t.Cleanup(func() { _ = log.Close() })
	b := eventlogtest.NewBuilder("ev.supply.done")
	for _, stream := range []eventlog.Stream{"session-1", "session-2", "session-3"} {
		if err := log.Append(t.Context(), b.Commit(b.Cause(), eventlogtest.Closing(stream, `"refused"`))); err != nil {
			t.Fatal(err)
		}
	}
	core := &central.Central{Log: leaping{log}, Codec: eventjson.Codec{}}
	f := newFeed(core, memory.NewDeadlines(&memory.Signs{}))
	f.damaged = func(err error) { t.Error(err) }
	closed, err := f.closedLately(t.Context())
	if want := []eventlog.Stream{"session-1", "session-2", "session-3"}; err != nil || !slices.Equal(closed, want) {
		t.Errorf("closed are %v, %v, want %v", closed, err, want)
	}
}

// What closes while nobody tells the feed is not shown as open after it is filled again.
func TestAFeedThatIsFilledAgainForgetsWhatHasClosed(t *testing.T) {
	log := memory.NewLog()
	t.Cleanup(func() { _ = log.Close() })
	b := eventlogtest.NewBuilder("ev.supply.done")
	appended := func(stream eventlog.Stream, draft func(eventlog.Stream, ...string) eventlogtest.Draft, event any) {
		t.Helper()
		body, err := eventjson.Codec{}.Encode(central.Envelope{Events: []any{event}})
		if err == nil {
			d := draft(stream)
			d.Body, d.Events = string(body), 1
			err = log.Append(t.Context(), b.Commit(b.Cause(), d))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f := newFeed(&central.Central{Log: log, Codec: eventjson.Codec{}}, memory.NewDeadlines(&memory.Signs{}))
	f.damaged = func(err error) { t.Error(err) }
	fill := func() {
		t.Helper()
		if err := f.restore(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// given a session that is shown as open
	appended("session-1", eventlogtest.Lifecycle, session.SupplyAuthorized{Point: "CP-001", Driver: "D-1"})
	fill()
	if open, _ := f.Sessions(); len(open) != 1 {
		t.Fatalf("open are %v", open)
	}
	// when it closes, and so many others that it is not among the last
	appended("session-1", eventlogtest.Closing, session.TicketIssued{Ticket: "T-1"})
	for i := range network.ClosedLimit {
		appended(eventlog.Stream(fmt.Sprint("session-later-", i)), eventlogtest.Closing, session.SupplyRefused{Point: "CP-001", Driver: "D-1"})
	}
	fill()
	// then
	if open, _ := f.Sessions(); len(open) != 0 {
		t.Errorf("open are %v still", open)
	}
}
