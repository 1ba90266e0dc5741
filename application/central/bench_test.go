package central_test

import (
	"context"
	"testing"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain/session"
)

// silent is a publisher that has nobody to tell.
type silent struct{}

func (silent) Publish(context.Context, central.Publication) error { return nil }

// supplyingBench is a Central with a running supply, and what reports it.
func supplyingBench(b *testing.B) (*central.Lane, func(seq int64) message.Received) {
	c := &central.Central{
		Log: memory.NewLog(), Codec: eventjson.Codec{}, Publisher: silent{}, Signs: &memory.Signs{}, Listening: &memory.Listening{},
		Ignored: &memory.Ignored{}, Patience: session.DefaultPatience, DefaultPrice: cheap, NewID: ids(),
	}
	w := &world{TB: b, offsets: map[string]int64{}}
	lane := c.Lane()
	for i, m := range []message.Message{registration(cheap), health(message.HealthOK), request(dan, danRequest), sample(dans, 1, 1, seconds(3))} {
		if err := lane.Take(b.Context(), seconds(i), w.record(seconds(i), m)); err != nil {
			b.Fatal(err)
		}
	}
	return lane, func(seq int64) message.Received {
		now := seconds(3).Add(time.Duration(seq) * time.Second)
		return w.record(now, sample(dans, seq, min(seq, 9_000_000), now))
	}
}

// BenchmarkTelemetry is a turn that stores a sample.
func BenchmarkTelemetry(b *testing.B) {
	lane, report := supplyingBench(b)
	b.ReportAllocs()
	for seq := int64(2); b.Loop(); seq++ {
		r := report(seq)
		if err := lane.Take(b.Context(), r.Source.Timestamp, r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHealth is a turn that hears a point and stores nothing.
func BenchmarkHealth(b *testing.B) {
	lane, _ := supplyingBench(b)
	w := &world{TB: b, offsets: map[string]int64{}}
	m := health(message.HealthOK)
	b.ReportAllocs()
	for now := seconds(5); b.Loop(); now++ {
		if err := lane.Take(b.Context(), now, w.record(now, m)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRehydrate is what a Central reads of a session of eight hours.
func BenchmarkRehydrate(b *testing.B) {
	lane, report := supplyingBench(b)
	c := lane.Central()
	for seq := range int64(8 * 3600) {
		r := report(seq + 2)
		if err := lane.Take(b.Context(), r.Source.Timestamp, r); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		parts, err := c.Restore(b.Context(), central.SessionStream(dans))
		if err != nil || len(parts) != 3 {
			b.Fatal(len(parts), err)
		}
	}
}

// BenchmarkHistory is an event of a network that lives by itself, into memory.
func BenchmarkHistory(b *testing.B) {
	h := audittest.NewHistory(b, memory.NewLog(), eventjson.Codec{}, 1, "CP-1", "CP-2", "CP-3", "CP-4", "CP-5", "CP-6", "CP-7", "CP-8", "CP-9", "CP-10")
	b.ReportAllocs()
	b.ResetTimer()
	h.Run(b.N)
}
