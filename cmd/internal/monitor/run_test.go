package monitor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evcharging/adapters/broker"
	"evcharging/adapters/kafka"
	"evcharging/adapters/tcp"
	"evcharging/application/message"
	application "evcharging/application/monitor"
	"evcharging/cmd/internal/monitor"
	"evcharging/domain"
)

const (
	cp1 = domain.PointID("CP-001")
	// within bounds everything that a test waits for.
	within = 30 * time.Second
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// sarama's producer remembers for ten seconds that a broker did not answer.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
}

// network takes what a Monitor sends.
type network struct {
	heard chan message.Message
	away  atomic.Bool
}

func newNetwork() *network { return &network{heard: make(chan message.Message, 1000)} }

func (n *network) Send(_ context.Context, ms ...message.Message) error {
	if n.away.Load() {
		return errors.New("the broker is away")
	}
	for _, m := range ms {
		n.heard <- m
	}
	return nil
}

func (n *network) Watch(ctx context.Context, _ func(bool, error)) { <-ctx.Done() }

func (n *network) Ready(context.Context, ...string) error { return nil }

func (n *network) Topics() kafka.Topics { return kafka.DefaultTopics() }

// until waits for a message.
func until[M message.Message](t *testing.T, n *network, what string, is func(M) bool) M {
	t.Helper()
	late := time.After(within)
	for {
		select {
		case m := <-n.heard:
			if m, ok := m.(M); ok && is(m) {
				return m
			}
		case <-late:
			t.Fatalf("never heard %s", what)
		}
	}
}

func (n *network) health(t *testing.T, want message.HealthStatus) message.Health {
	t.Helper()
	return until(t, n, string(want), func(h message.Health) bool { return h.Status == want })
}

type secrets map[domain.PointID]string

func (s secrets) Secret(p domain.PointID) (string, bool) {
	secret, ok := s[p]
	return secret, ok
}

func serveEngine(t *testing.T, address string, healthy *atomic.Bool) *tcp.HeartbeatServer {
	t.Helper()
	s, err := tcp.ServeHeartbeat(address, healthy.Load)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func serveCentral(t *testing.T, known tcp.Secrets) *tcp.AuthenticationServer {
	t.Helper()
	s, err := tcp.ServeAuthentication("127.0.0.1:0", known)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// run runs a Monitor; stop ends it and gives its error.
func run(t *testing.T, c monitor.Config) (stop func() error) {
	t.Helper()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- monitor.Run(ctx, c) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

func settings() application.Settings {
	return application.Settings{Point: cp1, Location: "La Vila", Price: 300_000, Lease: application.MinLease}
}

func TestAMonitorTellsWhatIsTrue(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	healthy.Store(true)
	e := serveEngine(t, "127.0.0.1:0", &healthy)
	n := newNetwork()
	stop := run(t, monitor.Config{Settings: settings(), Engine: e.Addr(), Central: serveCentral(t, nil).Addr(), Network: n})
	r := until(t, n, "a registration", func(message.Registration) bool { return true })
	if r.Point != cp1 || *r.Location != "La Vila" || *r.Price != 300_000 || r.Proof != "" {
		t.Fatalf("registration: %+v", r)
	}
	if h := n.health(t, message.HealthOK); h.Point != cp1 || h.LeaseSeconds != 3 {
		t.Fatalf("health: %+v", h)
	}
	healthy.Store(false)
	n.health(t, message.HealthKO)
	healthy.Store(true)
	n.health(t, message.HealthRecovered)
	n.health(t, message.HealthOK)
	_ = e.Close()
	n.health(t, message.HealthKO)
	serveEngine(t, e.Addr(), &healthy)
	n.health(t, message.HealthRecovered)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestGivenABrokerThatIsAwayForAWhileThenWhatIsTrueNowIsTold(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	healthy.Store(true)
	n := newNetwork()
	run(t, monitor.Config{
		Settings: settings(), Engine: serveEngine(t, "127.0.0.1:0", &healthy).Addr(), Central: serveCentral(t, nil).Addr(), Network: n,
	})
	n.health(t, message.HealthOK)
	n.away.Store(true)
	healthy.Store(false)
	quiet := time.NewTimer(2 * time.Second)
	<-quiet.C
	for len(n.heard) > 0 {
		<-n.heard
	}
	n.away.Store(false)
	n.health(t, message.HealthKO)
}

func TestGivenASecretThenTheRegistrationProvesIt(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	n := newNetwork()
	c := monitor.Config{
		Settings: settings(), Engine: serveEngine(t, "127.0.0.1:0", &healthy).Addr(),
		Central: serveCentral(t, secrets{cp1: "s3cret"}).Addr(), Network: n,
	}
	c.Secret = "s3cret"
	run(t, c)
	r := until(t, n, "a registration", func(message.Registration) bool { return true })
	if !message.VerifyRegistration("s3cret", r) {
		t.Fatalf("registration: %+v", r)
	}
}

func TestGivenACentralThatDeniesThePointThenTheMonitorEndsAndHasSaidNothing(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	for name, secret := range map[string]string{"a wrong secret": "secret", "no secret": ""} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork()
			c := monitor.Config{
				Settings: settings(), Engine: serveEngine(t, "127.0.0.1:0", &healthy).Addr(),
				Central: serveCentral(t, secrets{cp1: "s3cret"}).Addr(), Network: n, Logger: slog.New(slog.DiscardHandler),
			}
			c.Secret = secret
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			err := monitor.Run(ctx, c)
			var denial *tcp.DeniedError
			if !errors.As(err, &denial) && !errors.Is(err, tcp.ErrNoSecret) || len(n.heard) != 0 {
				t.Fatalf("%v, %d messages", err, len(n.heard))
			}
		})
	}
}

func TestGivenNobodyAtAllThenItIsSaidOnceAndTheMonitorStops(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	_ = listener.Close()
	var log lines
	stop := run(t, monitor.Config{
		Settings: settings(), Engine: nobody, Central: nobody, Kafka: kafka.Config{Brokers: []string{nobody}},
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	quiet := time.NewTimer(4 * time.Second)
	<-quiet.C
	began := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Fatalf("took %v", took)
	}
	text := log.String()
	for _, words := range []string{"registering all the same", "the Engine at " + nobody + " does not answer"} {
		if strings.Count(text, words) != 1 {
			t.Fatalf("%q is not said once:\n%s", words, text)
		}
	}
}

func TestAMonitorOverKafka(t *testing.T) {
	t.Parallel()
	b, err := broker.Start(broker.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	transport, err := kafka.Connect(t.Context(), kafka.Config{Brokers: []string{b.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	if err := transport.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	var healthy atomic.Bool
	healthy.Store(true)
	run(t, monitor.Config{
		Settings: settings(), Engine: serveEngine(t, "127.0.0.1:0", &healthy).Addr(), Central: serveCentral(t, nil).Addr(),
		Kafka: kafka.Config{Brokers: []string{b.Addr()}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	heard := map[string]bool{}
	topics := transport.Topics()
	err = transport.Follow(ctx, []string{topics.Register, topics.Health}, 0, func() {}, func(_ context.Context, r message.Received) {
		heard[fmt.Sprintf("%T", r.Message)] = true
		if len(heard) == 2 {
			cancel()
		}
	})
	if err != nil || len(heard) != 2 {
		t.Fatalf("heard %v, %v", heard, err)
	}
}

// lines is what a program has written.
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
