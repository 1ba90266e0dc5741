package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
	"github.com/rcrowley/go-metrics"
)

// Config says which Kafka, under which name and with which topics.
type Config struct {
	// Brokers are host:port of one or more brokers of the cluster.
	Brokers []string
	// ClientID names the program to the broker; "evcharging" where it is empty.
	ClientID string
	// Topics are the names of the topics; what is empty has the contract's name.
	Topics Topics
	// Logger gets one line for each change; nil for none.
	Logger *slog.Logger
	// DeadLettered, where it is not nil, is told of each record of a Group that went to its
	// dead-letter topic, and why. It is called from many goroutines.
	DeadLettered func(topic string, reason error)
}

// Transport carries messages over one Kafka cluster. All its methods may be called at
// the same time; Group, Follow and Watch as often as wanted.
type Transport struct {
	brokers []string
	names   [records]string
	records map[string]record
	id      string
	log     *slog.Logger
	told    func(topic string, reason error) // of dead letters

	links   links
	stats   map[string]*counters
	trusted atomic.Pointer[map[string]bool]
	clock   clock
	watch   watch
	// waiting is how many topics of groups are not being read.
	waiting atomic.Int64

	life  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup
	// linked is how long the connections of the links live: longer than life.
	linked context.Context
	unlink context.CancelFunc
}

var (
	// ErrUnreachable tells that no broker answers. What was to be done may be tried again.
	ErrUnreachable = errors.New("Kafka can't be reached") //nolint:staticcheck // Kafka is a name
	// ErrClosed tells of the use of a Transport after Close.
	ErrClosed = errors.New("the connection to Kafka is closed")
)

const (
	dialTimeout = 3 * time.Second
	// ioTimeout is more than any request may take, a fetch that waits for records too.
	ioTimeout = 10 * time.Second
	// closeTime is what Close leaves of what is being sent to a broker that does not answer.
	closeTime = time.Second
	// refreshEvery is how soon new partitions and moved leaders are noticed.
	refreshEvery = 30 * time.Second
)

func init() {
	// sarama measures everything with a library whose clock runs for ever; Stats is what
	// this package counts.
	metrics.UseNilMetrics = true
}

// Connect connects to Kafka. While no broker answers it tries again with growing pauses
// until ctx ends; then the error is ErrUnreachable with the last reason, or that of ctx.
func Connect(ctx context.Context, c Config) (*Transport, error) {
	t := &Transport{brokers: c.Brokers, id: c.ClientID, log: c.Logger, told: c.DeadLettered}
	if len(t.brokers) == 0 {
		return nil, errors.New("no address of a Kafka broker is given: set --kafka, such as 127.0.0.1:9092")
	}
	for _, b := range t.brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, fmt.Errorf("the address %q of a Kafka broker is not host:port, such as 127.0.0.1:9092", b)
		}
	}
	if t.id == "" {
		t.id = "evcharging"
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.told == nil {
		t.told = func(string, error) {}
	}
	t.names = c.Topics.names()
	t.records = make(map[string]record, records)
	t.stats = make(map[string]*counters, records)
	for r, name := range t.names {
		if other, taken := t.records[name]; taken {
			return nil, fmt.Errorf("the topic %q is named twice, as %s and %s", name, defaultNames[other], defaultNames[r])
		}
		t.records[name] = record(r)
		t.stats[name] = new(counters)
	}
	t.life, t.end = context.WithCancel(context.Background())
	t.linked, t.unlink = context.WithCancel(context.Background())
	if err := t.dial(ctx); err != nil {
		t.end()
		t.unlink()
		return nil, err
	}
	t.readTrust()
	t.tasks.Go(t.keepWatch)
	return t, nil
}

// settings are those that all clients share. Their connections end with ctx.
func (t *Transport) settings(ctx context.Context) *sarama.Config {
	c := sarama.NewConfig()
	c.Net.Proxy.Enable = true // sarama's word for a dialer of one's own
	c.Net.Proxy.Dialer = dialer{net.Dialer{Timeout: dialTimeout}, ctx}
	c.Version = sarama.MaxVersion
	c.ClientID = t.id
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
	c.Metadata.RefreshFrequency = refreshEvery
	c.Metadata.Retry.Max = 2
	c.Metadata.Retry.BackoffFunc = func(int, int) time.Duration { return pauseOf(ctx, 250*time.Millisecond) }
	c.Metadata.Timeout = 2 * dialTimeout
	c.Metadata.AllowAutoTopicCreation = false // a topic that came by itself would have the wrong settings

	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Partitioner = sarama.NewHashPartitioner
	c.Producer.Return.Successes = true
	c.Producer.Retry.Max = 5
	c.Producer.Timeout = ioTimeout / 2
	c.Producer.Transaction.Retry.Max = 3 // of asking for a producer's id
	c.Producer.Retry.BackoffFunc = func(retries, _ int) time.Duration {
		return pauseOf(ctx, min(100*time.Millisecond<<min(retries, 4), time.Second))
	}

	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Retry.BackoffFunc = func(retries int) time.Duration {
		return pauseOf(ctx, min(firstPause<<min(retries, 10), longestReadPause))
	}
	return c
}

// pauseOf is how long sarama waits before it tries again: not at all once ctx has ended.
func pauseOf(ctx context.Context, d time.Duration) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	return d
}

// Close ends the connection, after what is being sent; of a broker that does not answer it
// waits a second for that. Whoever reads must have ended before, see Group and Follow.
// Closing again does nothing.
func (t *Transport) Close() error {
	defer t.unlink()
	t.end()
	late := time.AfterFunc(closeTime, t.unlink)
	defer late.Stop()
	t.tasks.Wait()
	return t.closeLinks()
}

// explain makes one sentence of what sarama says, about a topic where it is known.
func (t *Transport) explain(topic string, err error) error {
	var config sarama.ConfigurationError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("stopped before Kafka answered: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w in time: no answer from %s: %w", ErrUnreachable, strings.Join(t.brokers, ", "), err)
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
		return fmt.Errorf("the topic %s does not exist: start Central, which creates it: %w", topic, sarama.ErrUnknownTopicOrPartition)
	case errors.Is(err, sarama.ErrTopicAuthorizationFailed), errors.Is(err, sarama.ErrGroupAuthorizationFailed), errors.Is(err, sarama.ErrClusterAuthorizationFailed):
		return fmt.Errorf("Kafka does not allow this program to use %s: grant it there: %w", topic, err) //nolint:staticcheck // Kafka is a name
	case isTooLarge(err):
		return fmt.Errorf("the record is too large for the topic %s: raise its max.message.bytes: %w", topic, err)
	case errors.As(err, &config):
		return err
	}
	cause := networkCause(err)
	if cause == "" {
		cause = err.Error()
	}
	return fmt.Errorf("%w at %s (%s): start the broker, or correct --kafka", ErrUnreachable, strings.Join(t.brokers, ", "), cause)
}

// networkCause is what the network said, "" where it is not to blame.
func networkCause(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		if op.Timeout() {
			return "no answer"
		}
		return op.Err.Error()
	}
	return ""
}

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// longestReadPause is that of a reader whose broker is away: an Engine should hear an
	// order well before it is too old.
	longestReadPause = 2 * time.Second
)

// pauses grow from 100 ms to 5 s.
type pauses struct{ next time.Duration }

// wait pauses. It is false where one of the two channels ended it.
func (p *pauses) wait(done, stop <-chan struct{}) bool {
	p.next = min(max(firstPause, 2*p.next), longestPause)
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
	case <-stop:
	}
	return false
}
