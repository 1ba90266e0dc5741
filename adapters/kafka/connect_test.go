package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"evcharging/application/message"
)

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) (addr string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String(), l.Addr().(*net.TCPAddr).Port
}

func TestConnectWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	addr, port := freeAddr(t)
	log := new(lines)
	connected := make(chan *Transport, 1)
	go func() {
		tr, err := Connect(t.Context(), Config{Brokers: []string{addr}, Logger: log.logger()})
		if err != nil {
			t.Error(err)
		}
		connected <- tr
	}()
	await(t, "the log says so", func() bool { return strings.Contains(log.String(), "can't be reached") })
	startKafka(t, kfake.Ports(port))
	tr := receive(t, "the connection", connected)
	defer tr.Close()
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "Kafka is reached") {
		t.Errorf("the log is\n%s", log)
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	addr, _ := freeAddr(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := Connect(ctx, Config{Brokers: []string{addr}})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), addr) {
		t.Errorf("the error is %v", err)
	}
}

func TestAnAddressThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, brokers := range [][]string{nil, {"localhost"}} {
		if _, err := Connect(t.Context(), Config{Brokers: brokers}); err == nil || !strings.Contains(err.Error(), "127.0.0.1:9092") {
			t.Errorf("%q: the error is %v", brokers, err)
		}
	}
}

// A broker that names an address which does not lead to it is a fault of its settings, and is said so.
func TestABrokerThatNamesAnotherAddress(t *testing.T) {
	t.Parallel()
	elsewhere, _ := freeAddr(t)
	_, port := freeAddr(t)
	startKafka(t, kfake.Ports(port), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return misnamed{l, elsewhere}, err
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	log := new(lines)
	_, err := Connect(ctx, Config{Brokers: []string{net.JoinHostPort("127.0.0.1", portText(port))}, Logger: log.logger()})
	if !errors.Is(err, ErrUnreachable) {
		t.Errorf("the error is %v", err)
	}
	if !strings.Contains(log.String(), "advertised.listeners") || !strings.Contains(log.String(), elsewhere) {
		t.Errorf("the log is\n%s", log)
	}
}

type misnamed struct {
	net.Listener
	name string
}

func (m misnamed) Addr() net.Addr { return name(m.name) }

type name string

func (name) Network() string  { return "tcp" }
func (n name) String() string { return string(n) }

func TestSendingSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr := connectBare(t, cluster.ListenAddrs()[0], nil)
	ok := message.Health{Point: "CP-001", Status: message.HealthOK}
	t.Run("a topic that does not exist", func(t *testing.T) {
		if err := tr.Send(t.Context(), ok); err == nil || !strings.Contains(err.Error(), "the topic ev.health does not exist: start Central") {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("and that is then there", func(t *testing.T) {
		// Whoever tried before it was there is not punished for it.
		for range 3 {
			_ = tr.Send(t.Context(), ok)
		}
		if err := tr.EnsureTopics(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := tr.Send(t.Context(), ok); err != nil {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("a message that nobody could read", func(t *testing.T) {
		if err := tr.Send(t.Context(), ok, message.Health{Point: "CP 1"}); !errors.Is(err, ErrUnsendable) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("a context that has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := tr.Send(ctx, ok); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if err := tr.Send(t.Context()); err != nil {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("a record that is too large for its topic", func(t *testing.T) {
		small := startKafka(t)
		if err := small.CreateTopic("ev.health", 1, map[string]string{"max.message.bytes": "100"}); err != nil {
			t.Fatal(err)
		}
		if err := connectBare(t, small.ListenAddrs()[0], nil).Send(t.Context(), ok); err == nil || !strings.Contains(err.Error(), "too large for the topic ev.health") {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("a broker that is away", func(t *testing.T) {
		gone := startKafka(t)
		addr := gone.ListenAddrs()[0]
		tr := connect(t, addr)
		gone.Close()
		if err := tr.Send(t.Context(), ok); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), addr) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("after Close", func(t *testing.T) {
		tr := connect(t, cluster.ListenAddrs()[0])
		for range 2 {
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := tr.Send(t.Context(), ok); !errors.Is(err, ErrClosed) {
			t.Errorf("the error is %v", err)
		}
		if err := tr.EnsureTopics(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("the error is %v", err)
		}
	})
}

// stampAll makes a broker stamp each batch with its own clock, which is off by so much.
func stampAll(cluster *kfake.Cluster, off time.Duration) {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		at := uint64(time.Now().Add(off).UnixMilli())
		for _, topic := range r.(*kmsg.ProduceRequest).Topics {
			for _, p := range topic.Partitions {
				binary.BigEndian.PutUint64(p.Records[27:], at)
				binary.BigEndian.PutUint64(p.Records[35:], at)
				binary.BigEndian.PutUint32(p.Records[17:], crc32.Checksum(p.Records[21:], castagnoli))
			}
		}
		return nil, nil, false
	})
}

func TestAClockThatIsOff(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		off  time.Duration // the broker's from this machine's
		want string
	}{
		"ahead of the broker's": {-10 * time.Second, "this machine's clock is 10s ahead of the broker's"},
		"behind the broker's":   {time.Minute, "this machine's clock is 1m0s behind the broker's"},
		"near enough":           {4 * time.Second, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := startKafka(t)
			addr := cluster.ListenAddrs()[0]
			stampAll(cluster, test.off)
			check := func(log *lines) {
				if test.want == "" {
					if strings.Contains(log.String(), "clock") {
						t.Errorf("the log is\n%s", log)
					}
					return
				}
				await(t, "the log says so", func() bool { return strings.Contains(log.String(), test.want) })
				if strings.Count(log.String(), "clock") != 1 {
					t.Errorf("it is said more than once:\n%s", log)
				}
			}
			log := new(lines)
			sender := connectBare(t, addr, log.logger())
			if err := sender.EnsureTopics(t.Context()); err != nil {
				t.Fatal(err)
			}
			listening := new(lines)
			listener := connectBare(t, addr, listening.logger())
			got := make(chan message.Received, 9)
			ready := following(t, listener, []string{listener.Topics().Health}, 1, func(_ context.Context, r message.Received) { got <- r })
			receive(t, "ready", ready)
			for range 2 {
				if err := sender.Send(t.Context(), message.Health{Point: "CP-001", Status: message.HealthOK}); err != nil {
					t.Fatal(err)
				}
				receive(t, "the report", got)
			}
			check(listening)
			if !sender.clock.sent.Load() {
				t.Error("nothing was compared")
			}
			check(log)
		})
	}
}

// What lay there when the reading began may be as old as it likes.
func TestOldRecordsSayNothingOfAClock(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	addr := cluster.ListenAddrs()[0]
	stampAll(cluster, -time.Hour)
	if err := connect(t, addr).Send(t.Context(), message.Health{Point: "CP-001", Status: message.HealthOK}); err != nil {
		t.Fatal(err)
	}
	log := new(lines)
	got := make(chan message.Received, 9)
	tr := connectBare(t, addr, log.logger())
	following(t, tr, []string{tr.Topics().Health}, 0, func(_ context.Context, r message.Received) { got <- r })
	if !receive(t, "the report", got).Source.Trusted {
		t.Error("its time is not trusted")
	}
	if strings.Contains(log.String(), "clock") {
		t.Errorf("the log is\n%s", log)
	}
}

// A topic whose senders set the time says nothing of the broker's clock.
func TestASendersTimeIsNotTheBrokers(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.health"))
	stampAll(cluster, time.Hour)
	log := new(lines)
	tr := connectBare(t, cluster.ListenAddrs()[0], log.logger())
	got := make(chan message.Received, 9)
	ready := following(t, tr, []string{tr.Topics().Health}, 1, func(_ context.Context, r message.Received) { got <- r })
	receive(t, "ready", ready)
	sender := connectBare(t, cluster.ListenAddrs()[0], log.logger())
	if err := sender.Send(t.Context(), message.Health{Point: "CP-001", Status: message.HealthOK}); err != nil {
		t.Fatal(err)
	}
	if receive(t, "the report", got).Source.Trusted {
		t.Error("its time is trusted")
	}
	if sender.clock.sent.Load() {
		t.Error("its time is compared")
	}
	if strings.Contains(log.String(), "clock") {
		t.Errorf("the log is\n%s", log)
	}
}
