package kafka

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"evcharging/application/message"
	"evcharging/domain"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// sarama's producer times an outage with a goroutine that sleeps ten seconds, and then ends.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// startKafka starts a broker that the test ends.
func startKafka(tb testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	tb.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(cluster.Close)
	return cluster
}

// durable keeps everything in a folder, so that a broker can be stopped and started again on its port.
func durable(dir string, port int) []kfake.Opt {
	return []kfake.Opt{kfake.DataDir(dir), kfake.SyncWrites(), kfake.Ports(port)}
}

func portOf(tb testing.TB, cluster *kfake.Cluster) int {
	tb.Helper()
	_, text, err := net.SplitHostPort(cluster.ListenAddrs()[0])
	if err != nil {
		tb.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

// connect connects to a broker; the contract's topics are there afterwards.
func connect(tb testing.TB, addr string) *Transport {
	tb.Helper()
	t := connectBare(tb, addr, nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := t.EnsureTopics(ctx); err != nil {
		tb.Fatal(err)
	}
	return t
}

func connectBare(tb testing.TB, addr string, log *slog.Logger) *Transport {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t, err := Connect(ctx, Config{Brokers: []string{addr}, Logger: log})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := t.Close(); err != nil {
			tb.Error(err)
		}
	})
	return t
}

// inGroup runs Group until the test, or stop, ends it.
func inGroup(tb testing.TB, t *Transport, group string, topics []string, handle func(context.Context, message.Received) error) (stop func()) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- t.Group(ctx, group, topics, handle) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				tb.Error(err)
			}
		case <-time.After(patience):
			tb.Error("Group does not end")
		}
	})
	tb.Cleanup(stop)
	return stop
}

// await fails the test unless what happens in time.
func await(tb testing.TB, what string, happened func() bool) {
	tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !happened(); <-tick.C {
		if time.Now().After(deadline) {
			tb.Fatal("it does not happen that " + what)
		}
	}
}

func receive[T any](tb testing.TB, what string, from <-chan T) T {
	tb.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		tb.Fatal("it does not come: " + what)
		panic("unreachable")
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func sample(point domain.PointID, seq int64) message.MeterValue {
	m := aMeterValue
	m.Point, m.Seq = point, seq
	return m
}
