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
}

// Transport carries messages over one Kafka cluster. All its methods may be called at
// the same time; Group, Follow and Watch as often as wanted.
type Transport struct {
	brokers []string
	names   [records]string
	records map[string]record
	id      string
	log     *slog.Logger

	client   sarama.Client
	producer sarama.SyncProducer
	// sending is held for reading by whoever uses producer.
	sending sync.RWMutex
	closed  bool

	stats   map[string]*counters
	trusted atomic.Pointer[map[string]bool]
	clock   clock
	watch   watch

	life  context.Context
	end   context.CancelFunc
	tasks sync.WaitGroup
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
	// refreshEvery is how soon new partitions and moved leaders are noticed.
	refreshEvery = 30 * time.Second
)

func init() {
	// sarama measures everything with a library whose clock runs for ever; Stats is what
	// this package counts.
	metrics.UseNilMetrics = true
}

// Connect connects to Kafka. While no broker answers it tries again with growing pauses
// until ctx ends; then the error is ErrUnreachable, with the last reason.
func Connect(ctx context.Context, c Config) (*Transport, error) {
	t := &Transport{brokers: c.Brokers, id: c.ClientID, log: c.Logger}
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
	if err := t.dial(ctx); err != nil {
		t.end()
		return nil, err
	}
	t.readTrust()
	t.tasks.Go(t.keepWatch)
	return t, nil
}

// dial makes client and producer.
func (t *Transport) dial(ctx context.Context) error {
	type result struct {
		client   sarama.Client
		producer sarama.SyncProducer
		err      error
	}
	said := ""
	for p := (pauses{}); ; {
		attempt := make(chan result, 1)
		go func() {
			var r result
			r.client, r.producer, r.err = t.tryDial()
			attempt <- r
		}()
		select {
		case r := <-attempt:
			if r.err == nil {
				if said != "" {
					t.log.Info("Kafka is reached", "brokers", t.brokers)
				}
				t.client, t.producer = r.client, r.producer
				return nil
			}
			if text := r.err.Error(); text != said {
				said = text
				t.log.Warn(text + "; trying again")
			}
			if !p.wait(ctx.Done(), nil) {
				return r.err
			}
		case <-ctx.Done():
			go func() { // the attempt ends by itself, within its timeouts
				if r := <-attempt; r.err == nil {
					_ = r.producer.Close()
					_ = r.client.Close()
				}
			}()
			return t.explain("", ctx.Err())
		}
	}
}

func (t *Transport) tryDial() (sarama.Client, sarama.SyncProducer, error) {
	client, err := sarama.NewClient(t.brokers, t.settings())
	if err != nil {
		return nil, nil, t.explain("", err)
	}
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err == nil {
		return client, producer, nil
	}
	var named []string
	for _, b := range client.Brokers() {
		named = append(named, b.Addr())
	}
	_ = client.Close()
	if cause := networkCause(err); cause != "" && len(named) > 0 {
		return nil, nil, fmt.Errorf("%w: %s answers, but the broker that it names, %s, does not (%s): correct the broker's advertised.listeners, or make that name known here",
			ErrUnreachable, strings.Join(t.brokers, ", "), strings.Join(named, ", "), cause)
	}
	return nil, nil, t.explain("", err)
}

// settings are those that all clients share.
func (t *Transport) settings() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.ClientID = t.id
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
	c.Metadata.RefreshFrequency = refreshEvery
	c.Metadata.Retry.Max, c.Metadata.Retry.Backoff = 2, 250*time.Millisecond
	c.Metadata.Timeout = 2 * dialTimeout
	c.Metadata.AllowAutoTopicCreation = false // a topic that came by itself would have the wrong settings

	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Partitioner = sarama.NewHashPartitioner
	c.Producer.Return.Successes = true
	c.Producer.Retry.Max = 5
	c.Producer.Retry.BackoffFunc = func(retries, _ int) time.Duration {
		return min(100*time.Millisecond<<min(retries, 4), time.Second)
	}

	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Retry.BackoffFunc = func(retries int) time.Duration {
		return min(firstPause<<min(retries, 10), longestPause)
	}
	return c
}

// Close ends the connection, after what is being sent. Whoever reads must have ended
// before, see Group and Follow. Closing again does nothing.
func (t *Transport) Close() error {
	t.end()
	t.tasks.Wait()
	t.sending.Lock()
	defer t.sending.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	return errors.Join(t.producer.Close(), t.client.Close())
}

// explain makes one sentence of what sarama says, about a topic where it is known.
func (t *Transport) explain(topic string, err error) error {
	var config sarama.ConfigurationError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
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
		return op.Err.Error()
	}
	return ""
}

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
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
