package central

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"evcharging/adapters/broker"
	adapter "evcharging/adapters/kafka"
)

// What lies unread and is refused must not keep a Central waiting as if it were still to come.
func TestGivenAnUnreadableReportLiesThereWhenCentralStartsThenItIsReadySoon(t *testing.T) {
	t.Parallel()
	b, err := broker.Start(broker.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	logger := slog.New(slog.DiscardHandler)
	config := adapter.Config{Brokers: []string{b.Addr()}, Logger: logger}
	transport, err := adapter.Connect(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = transport.Close() })
	if err := transport.EnsureTopics(ctx); err != nil {
		t.Fatal(err)
	}
	w := kafka.Writer{Addr: kafka.TCP(b.Addr()), Topic: transport.Topics().Health, BatchTimeout: time.Millisecond}
	defer w.Close()
	if err := w.WriteMessages(ctx, kafka.Message{Value: []byte("not json")}); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	n, err := Start(ctx, Config{Kafka: config, LogDir: t.TempDir(), Listen: "127.0.0.1:0", Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if took > backlogWithin/2 {
		t.Errorf("it was ready after %v", took)
	}
}
