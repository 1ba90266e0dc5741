package central

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"evcharging/adapters/broker"
	"evcharging/adapters/kafka"
	"evcharging/adapters/mongo"
)

// startWith starts a Central with an embedded log and documents in a MongoDB.
func startWith(t *testing.T, uri string) (*Node, error) {
	t.Helper()
	b, err := broker.Start(broker.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	logger := slog.New(slog.DiscardHandler)
	n, err := Start(ctx, Config{
		Kafka:  kafka.Config{Brokers: []string{b.Addr()}, Logger: logger},
		LogDir: t.TempDir(), Listen: "127.0.0.1:0", Mongo: mongo.Config{URI: uri}, Logger: logger,
	})
	if err == nil {
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return n, err
}

func TestAMongoDBThatIsAwayDelaysTheDocumentsAlone(t *testing.T) {
	t.Parallel()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	uri := "mongodb://" + nobody.Addr().String()
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := startWith(t, uri)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for err = n.vitals.ready(ctx); err != nil; err = n.vitals.ready(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("Central is not ready: %v", err)
		}
	}
}

func TestAMongoDBThatWillNeverDoIsSaidAtTheStart(t *testing.T) {
	t.Parallel()
	if _, err := startWith(t, "mongodb://127.0.0.1/?tls=perhaps"); !errors.Is(err, mongo.ErrURI) {
		t.Errorf("it says %v", err)
	}
}
