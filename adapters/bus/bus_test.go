package bus

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"evcharging/application/central"
	"evcharging/application/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	told   = central.Publication{Messages: []message.Message{message.Health{Point: "CP-1"}}}
	stored = central.Publication{Parts: []central.Part{{Stream: "point-CP-1"}}}
	sample = central.Publication{Parts: []central.Part{{Stream: "session-1"}}, SampleAlone: true}
)

func start(t *testing.T, handlers ...Handler) *Bus {
	t.Helper()
	b, err := Start(handlers...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

type recorder struct {
	mu   sync.Mutex
	seen []central.Publication
	fail error
}

func (r *recorder) handle(_ context.Context, p central.Publication) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, p)
	return r.fail
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

func TestAPublicationReachesEveryHandlerOfItsTopics(t *testing.T) {
	var sender, projection, panel recorder
	b := start(t,
		Handler{"sender", []Topic{Messages}, sender.handle},
		Handler{"projection", []Topic{Lifecycle}, projection.handle},
		Handler{"panel", []Topic{Lifecycle, Samples}, panel.handle})
	for _, p := range []central.Publication{told, stored, sample} {
		if err := b.Publish(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if sender.count() != 1 || projection.count() != 1 || panel.count() != 2 {
		t.Fatalf("sender saw %d, projection %d, panel %d; want 1, 1, 2", sender.count(), projection.count(), panel.count())
	}
}

func TestAHandlersErrorFailsThePublication(t *testing.T) {
	broken := errors.New("the broker is away")
	sender := recorder{fail: broken}
	var other recorder
	b := start(t, Handler{"sender", []Topic{Messages}, sender.handle}, Handler{"other", []Topic{Messages}, other.handle})
	if err := b.Publish(t.Context(), told); !errors.Is(err, broken) {
		t.Fatalf("got %v, want the handler's error", err)
	}
	if other.count() != 1 {
		t.Fatal("the other handler was not told")
	}
}

func TestAHandlerThatPanicsFailsThePublication(t *testing.T) {
	b := start(t, Handler{"sender", []Topic{Messages}, func(context.Context, central.Publication) error { panic("a fault") }})
	if err := b.Publish(t.Context(), told); !errors.Is(err, ErrNack) {
		t.Fatalf("got %v, want ErrNack", err)
	}
}

func TestPublishingSideBySide(t *testing.T) {
	const turns = 100
	var arrived sync.WaitGroup
	arrived.Add(turns)
	b := start(t, Handler{"sender", []Topic{Messages}, func(context.Context, central.Publication) error {
		arrived.Done()
		arrived.Wait() // no handler goes on before all are here
		return nil
	}})
	var all sync.WaitGroup
	for range turns {
		all.Go(func() {
			if err := b.Publish(t.Context(), told); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestAClosedBusRefuses(t *testing.T) {
	var sender recorder
	b, err := Start(Handler{"sender", []Topic{Messages}, sender.handle})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish(t.Context(), told); err == nil {
		t.Fatal("a closed bus took a publication")
	}
	if sender.count() != 0 {
		t.Fatal("the handler was told after the close")
	}
}

func TestCloseDuringPublishNeverReportsWhatWasNotHandled(t *testing.T) {
	for range 50 {
		var sender recorder
		b, err := Start(Handler{"sender", []Topic{Messages}, sender.handle})
		if err != nil {
			t.Fatal(err)
		}
		acked := 0
		var publisher sync.WaitGroup
		begun := make(chan struct{})
		publisher.Go(func() {
			close(begun)
			for b.Publish(context.Background(), told) == nil {
				acked++
			}
		})
		<-begun
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		publisher.Wait()
		if handled := sender.count(); handled < acked {
			t.Fatalf("%d acknowledged, %d handled", acked, handled)
		}
	}
}

func TestACancelledTurnDoesNotHang(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := start(t, Handler{"sender", []Topic{Messages}, func(ctx context.Context, _ central.Publication) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}})
	if err := b.Publish(ctx, told); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Fatalf("got %v, want the cancellation", err)
	}
}
