package bbolt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

func TestWhoReadsIsNotDisturbedByRollingIndexingAndHealing(t *testing.T) {
	// given a log that rolls all the time, and whose writes fail now and then
	o := Options{segmentSize: 3000, healPause: time.Nanosecond}
	var steps, failures atomic.Int64
	o.fault = func(step string) error {
		if strings.HasPrefix(step, "written") && steps.Add(1)%40 == 0 {
			failures.Add(1)
			return errors.New("the sync fails")
		}
		return nil
	}
	log := open(t, t.TempDir(), o)
	const writers, each = 6, 150
	var working, reading sync.WaitGroup
	done := make(chan struct{})
	name := func(w, i int) eventlog.Stream { return eventlog.Stream(fmt.Sprintf("session-%d-%d", w, i)) }

	// when some write, trying again what failed
	for w := range writers {
		working.Go(func() {
			b := eventlogtest.NewBuilder(fmt.Sprint("topic-", w))
			point := eventlog.Stream(fmt.Sprint("point-", w))
			for i := range each {
				drafts := []eventlogtest.Draft{eventlogtest.Sample(name(w, i/5), `1`)}
				if i%5 == 4 {
					drafts = []eventlogtest.Draft{eventlogtest.Closing(name(w, i/5), `1`), eventlogtest.Lifecycle(point, `1`)}
				}
				commit := b.Commit(b.Cause(), drafts...)
				var stored *eventlog.CauseStoredError
				err := log.Append(t.Context(), commit)
				for ; err != nil && !errors.As(err, &stored); err = log.Append(t.Context(), commit) {
					if !strings.Contains(err.Error(), "the sync fails") {
						t.Error(err)
						return
					}
				}
				if head, err := log.Head(t.Context(), point); err != nil || head != b.Head(point) {
					t.Errorf("head %+v, %v, want %+v", head, err, b.Head(point))
				}
			}
		})
	}
	// and others read
	for range 3 {
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				stream := name(rand.IntN(writers), rand.IntN(each/5))
				last := eventlog.Head{}
				for c, err := range log.Read(t.Context(), stream, 0) {
					if err != nil {
						t.Errorf("read: %v", err)
						return
					}
					last.Version = c.Parts[0].Last()
				}
				alive, err := log.Rehydrate(t.Context(), stream)
				if err != nil {
					t.Errorf("rehydrate: %v", err)
					return
				}
				// One sample, or the fourth and the close: never a close with an older sample.
				if last.Version > 0 && (len(alive) == 0 || alive[len(alive)-1].Parts[0].Version < last.Version ||
					len(alive) > 1 && alive[0].Parts[0].Version != 4) {
					t.Errorf("read to version %d, rehydrated %d parts from version %d", last.Version, len(alive), alive[0].Parts[0].Version)
				}
				var before eventlog.Position
				for c, err := range log.All(t.Context(), eventlog.Position(rand.IntN(200))) {
					if err != nil || before != 0 && c.Position != before+1 {
						t.Errorf("position %d after %d: %v", c.Position, before, err)
						return
					}
					before = c.Position
					if _, ok, err := log.ByCause(t.Context(), c.Cause); !ok || err != nil {
						t.Errorf("by cause: %v, %v", ok, err)
						return
					}
				}
			}
		})
	}
	working.Wait()
	close(done)
	reading.Wait()

	// then all is there once, though much was rolled and healed
	n := 0
	for _, err := range log.All(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != writers*each {
		t.Errorf("%d commits, want %d", n, writers*each)
	}
	if failures.Load() == 0 || len(log.contents.Load().segments) < 10 {
		t.Errorf("%d failures, %d segments", failures.Load(), len(log.contents.Load().segments))
	}
}
