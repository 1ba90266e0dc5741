package bbolt

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// BenchmarkAppend appends samples, each caller to a session of its own, durably.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 12, 300} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			log := open(b, b.TempDir(), Options{})
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for c := range callers {
				all.Go(func() {
					builder := eventlogtest.NewBuilder("ev.supply.telemetry")
					session := eventlog.Stream(fmt.Sprintf("session-6f1f3c1e-52a9-5d0c-8e1b-3f3a4f%06d", c))
					for i := c; i < b.N; i += callers {
						if err := log.Append(b.Context(), builder.Commit(eventlog.Cause{}, sample(session, i))); err != nil {
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

// grow appends sessions of thirty samples, a hundred at a time, until the log has n commits.
func grow(b *testing.B, log *Log, n int) {
	b.Helper()
	var all sync.WaitGroup
	const callers = 100
	for c := range callers {
		all.Go(func() {
			builder := eventlogtest.NewBuilder(fmt.Sprint("topic-", c))
			point := eventlog.Stream(fmt.Sprint("point-", c))
			for i := range n / callers {
				session := eventlog.Stream(fmt.Sprintf("session-6f1f3c1e-52a9-5d0c-%04d-%012d", c, i/32))
				var commit eventlog.Commit
				switch i % 32 {
				case 0:
					commit = builder.Commit(builder.Cause(), eventlogtest.Lifecycle(point, `"occupied"`), eventlogtest.Lifecycle(session, `"authorized"`))
				case 31:
					commit = builder.Commit(builder.Cause(), eventlogtest.Lifecycle(point, `"released"`), eventlogtest.Closing(session, `"ended"`, `"ticket"`))
				default:
					commit = builder.Commit(eventlog.Cause{}, sample(session, i))
				}
				if err := log.Append(b.Context(), commit); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkOpen opens a log of a million commits.
func BenchmarkOpen(b *testing.B) {
	const commits = 1_000_000
	dir := b.TempDir()
	log := open(b, dir, Options{})
	grow(b, log, commits)
	segments := len(log.contents.Load().segments)
	shut(b, log)
	b.Run(fmt.Sprintf("commits=%d,segments=%d", commits, segments), func(b *testing.B) {
		before := heap()
		log := open(b, dir, Options{})
		size := heap() - before
		shut(b, log)
		for b.Loop() {
			log, err := Open(dir, quiet(Options{}))
			if err != nil {
				b.Fatal(err)
			}
			shut(b, log)
		}
		b.ReportMetric(float64(size)/(1<<20), "MiB-held")
	})
	b.Run("all", func(b *testing.B) {
		log := open(b, dir, Options{})
		n := 0
		for b.Loop() {
			for _, err := range log.All(b.Context(), 0) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "commits/s")
	})
	b.Run("a new session", func(b *testing.B) {
		log := open(b, dir, Options{})
		for i := 0; b.Loop(); i++ {
			if _, err := log.Head(b.Context(), eventlog.Stream(fmt.Sprint("session-new-", i))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("a closed session", func(b *testing.B) {
		log := open(b, dir, Options{})
		for i := 0; b.Loop(); i++ {
			name := eventlog.Stream(fmt.Sprintf("session-6f1f3c1e-52a9-5d0c-%04d-%012d", i%100, i%200))
			if parts, err := log.Rehydrate(b.Context(), name); err != nil || len(parts) != 2 {
				b.Fatal(len(parts), err)
			}
		}
	})
	b.Run("indices made again", func(b *testing.B) {
		for b.Loop() {
			if err := removeIndices(dir); err != nil {
				b.Fatal(err)
			}
			log, err := Open(dir, quiet(Options{}))
			if err != nil {
				b.Fatal(err)
			}
			shut(b, log)
		}
	})
}

// BenchmarkRehydrate rehydrates a session that has run for a while.
func BenchmarkRehydrate(b *testing.B) {
	const session eventlog.Stream = "session-6f1f3c1e-52a9-5d0c-8e1b-3f3a4f0c9a11"
	log := open(b, b.TempDir(), Options{})
	unsynced(log)
	builder := eventlogtest.NewBuilder("ev.supply.telemetry")
	if err := log.Append(b.Context(), builder.Commit(builder.Cause(), eventlogtest.Lifecycle(session, `"authorized"`))); err != nil {
		b.Fatal(err)
	}
	done := 0
	for _, samples := range []int{60, 3_600, eightHours} {
		for ; done < samples; done++ {
			if err := log.Append(b.Context(), builder.Commit(eventlog.Cause{}, sample(session, done))); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("samples=%d", samples), func(b *testing.B) {
			for b.Loop() {
				if parts, err := log.Rehydrate(b.Context(), session); err != nil || len(parts) != 2 {
					b.Fatal(len(parts), err)
				}
			}
		})
	}
}
