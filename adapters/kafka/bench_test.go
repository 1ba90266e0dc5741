package kafka

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"evcharging/application/message"
	"evcharging/domain"
)

func BenchmarkDecodeMeterValue(b *testing.B) {
	value := encodeOne(b, aMeterValue).value
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(telemetry, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeMeterValue(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode(nil, aMeterValue); err != nil {
			b.Fatal(err)
		}
	}
}

// A durable broker on this machine: a batch of one record at a time, then from a hundred callers.
func BenchmarkSend(b *testing.B) {
	for _, callers := range []int{1, 100} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			cluster := startKafka(b, kfake.DataDir(b.TempDir()), kfake.SyncWrites())
			t := connect(b, cluster.ListenAddrs()[0])
			b.SetParallelism(callers)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := t.Send(b.Context(), aMeterValue); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// 12 partitions, 16 lanes each, with handlers that take no time and a millisecond.
func BenchmarkGroup(b *testing.B) {
	for _, taking := range []time.Duration{0, time.Millisecond} {
		b.Run(taking.String(), func(b *testing.B) {
			cluster := startKafka(b)
			t := connect(b, cluster.ListenAddrs()[0])
			const batch = 1000
			var ms []message.Message
			for i := range b.N {
				ms = append(ms, sample(domain.PointID(fmt.Sprintf("CP-%d", i%1000)), int64(i/1000+1)))
				if len(ms) == batch || i == b.N-1 {
					if err := t.Send(b.Context(), ms...); err != nil {
						b.Fatal(err)
					}
					ms = ms[:0]
				}
			}
			var handled atomic.Int64
			all := make(chan struct{})
			b.ResetTimer()
			inGroup(b, t, "bench", []string{t.Topics().Telemetry}, func(ctx context.Context, _ message.Received) error {
				if taking > 0 {
					<-time.After(taking)
				}
				if handled.Add(1) == int64(b.N) {
					close(all)
				}
				return nil
			})
			<-all
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
