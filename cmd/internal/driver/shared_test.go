package driver_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	application "evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/cmd/internal/driver"
	"evcharging/domain"
)

// follows counts the readings of a network.
type follows struct {
	*network
	count atomic.Int32
	err   error
}

func (f *follows) Follow(ctx context.Context, topics []string, from domain.UnixMillis, ready func(), handle func(context.Context, message.Received)) error {
	f.count.Add(1)
	if f.err != nil {
		return f.err
	}
	return f.network.Follow(ctx, topics, from, ready, handle)
}

func TestManyDriversShareOneReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &follows{network: newNetwork(func(n *network, r message.Request) {
			if r.Driver == "D-7" {
				supply(3)(n, r)
				return
			}
			refuse("OCCUPIED")(n, r)
		})}
		shared := driver.Share(n)
		var all sync.WaitGroup
		var mu sync.Mutex
		served := 0
		for i := range 50 {
			all.Go(func() {
				err := driver.Run(t.Context(), driver.Config{ID: domain.DriverID(fmt.Sprint("D-", i)), Points: []domain.PointID{"CP-1"}, Network: shared})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					served++
				} else if _, ok := errors.AsType[*driver.UnservedError](err); !ok {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if served != 1 || n.count.Load() != 1 {
			t.Errorf("%d were served by %d readings", served, n.count.Load())
		}
		// One that has a past reads it.
		file := filepath.Join(t.TempDir(), "x.checkpoint")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		config := driver.Config{ID: "D-7", Points: []domain.PointID{"CP-1"}, Network: shared, Checkpoint: file}
		if err := driver.Run(ctx, config); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		shared.Close()
		<-time.After(time.Hour)
		shared = driver.Share(n)
		defer shared.Close()
		config.Network = shared
		var first application.Event
		config.Show = func(_ domain.UnixMillis, e application.Event) {
			if first == nil {
				first = e
			}
		}
		if err := driver.Run(t.Context(), config); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if _, ok := first.(application.Continued); !ok || n.count.Load() != 3 {
			t.Errorf("it began with %T, after %d readings", first, n.count.Load())
		}
	})
}

func TestAReadingThatFails(t *testing.T) {
	n := &follows{network: newNetwork(refuse("OCCUPIED")), err: errAway}
	shared := driver.Share(n)
	defer shared.Close()
	for _, network := range []driver.Network{shared, n} {
		if err := driver.Run(t.Context(), driver.Config{ID: "D-1", Points: []domain.PointID{"CP-1"}, Network: network}); !errors.Is(err, errAway) {
			t.Errorf("got %v", err)
		}
	}
}

func TestAReaderThatHasEndedIsGivenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(nil)
		shared := driver.Share(n)
		defer shared.Close()
		given := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := shared.Follow(ctx, nil, domain.At(time.Now()), func() { n.put(message.Ticket{}) }, func(context.Context, message.Received) { given++ })
		n.put(message.Ticket{})
		synctest.Wait()
		if given != 1 || err != nil {
			t.Errorf("it was given %d, %v", given, err)
		}
	})
}
