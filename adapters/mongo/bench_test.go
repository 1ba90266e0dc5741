package mongo

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

func sampleDraft(stream eventlog.Stream, i int) eventlogtest.Draft {
	return eventlogtest.Sample(stream, fmt.Sprintf(`{"type":"MeterValueRecorded","seq":%d,"energy":%d,"power":7200,"amount":%d,"text":"%s"}`, i, i, i, strings.Repeat("x", 80)))
}

// BenchmarkAppend appends samples, each caller to a session of its own.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 12, 300} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			log := connect(b, database(b)).Log()
			var all sync.WaitGroup
			b.ResetTimer()
			for c := range callers {
				all.Go(func() {
					builder := eventlogtest.NewBuilder("ev.supply.telemetry")
					session := eventlog.Stream(fmt.Sprintf("session-6f1f3c1e-52a9-5d0c-8e1b-3f3a4f%06d", c))
					for i := c; i < b.N; i += callers {
						if err := log.Append(b.Context(), builder.Commit(eventlog.Cause{}, sampleDraft(session, i))); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkInsertMany is what the server does with the same documents and nobody who
// waits for any of them: what Append may reach.
func BenchmarkInsertMany(b *testing.B) {
	for _, size := range []int{1, 12, 300} {
		b.Run(fmt.Sprintf("documents=%d", size), func(b *testing.B) {
			s := connect(b, database(b))
			builder := eventlogtest.NewBuilder("ev.supply.telemetry")
			b.ResetTimer()
			for i := 0; i < b.N; i += size {
				documents := make([]*document, min(size, b.N-i))
				for j := range documents {
					documents[j] = encode(builder.Commit(eventlog.Cause{}, sampleDraft(eventlog.Stream(fmt.Sprint("session-", j)), i)), []int64{0})
					documents[j].Position = int64(i + j + 1)
				}
				if _, err := s.events.InsertMany(b.Context(), documents, options.InsertMany().SetOrdered(false)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkRead reads a session of eight hours (29,000 samples) in the ways that Central does.
func BenchmarkRead(b *testing.B) {
	const samples = 29_000
	s := connect(b, database(b))
	log := s.Log()
	session := eventlog.Stream("session-6f1f3c1e-52a9-5d0c-8e1b-3f3a4f0c9a11")
	builder := eventlogtest.NewBuilder("ev.supply.telemetry")
	if err := log.Append(b.Context(), builder.Commit(builder.Cause(), eventlogtest.Lifecycle(session, `"authorized"`), eventlogtest.Lifecycle("point-CP-001", `"occupied"`))); err != nil {
		b.Fatal(err)
	}
	for from := 0; from < samples; from += 1000 { // not one after another: that takes a minute
		documents := make([]*document, 1000)
		for i := range documents {
			documents[i] = encode(builder.Commit(eventlog.Cause{}, sampleDraft(session, from+i)), []int64{1})
			documents[i].Position = int64(from + i + 2)
		}
		if _, err := s.events.InsertMany(b.Context(), documents, options.InsertMany().SetOrdered(false)); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := log.positions(b.Context(), samples-samples%1000, 0); err != nil {
		b.Fatal(err)
	}
	end := builder.Head(session).Version
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"tail", func() error {
			for _, err := range log.Read(b.Context(), session, end+1) {
				return err
			}
			return nil
		}},
		{"head", func() error { _, err := log.Head(b.Context(), session); return err }},
		{"head, not known before", func() error {
			log.heads.forget()
			_, err := log.Head(b.Context(), session)
			return err
		}},
		{"rehydrate", func() error { _, err := log.Rehydrate(b.Context(), session); return err }},
		{"open", func() error { _, err := log.Open(b.Context()); return err }},
		{"whole", func() error {
			for _, err := range log.Read(b.Context(), session, 0) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"all", func() error {
			for _, err := range log.All(b.Context(), 0) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := c.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
