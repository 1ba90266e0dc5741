package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
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
	// Security is how the connections are protected.
	Security Security
	// Role is what the program does: Connect asks whether the broker permits it.
	Role Role
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

	security Security
	role     Role
	refusals refusals
	told     func(topic string, reason error) // of dead letters

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
	// ErrUnready tells that a broker answers and can't do it yet, as while its cluster
	// starts. What was to be done may be tried again.
	ErrUnready = errors.New("Kafka is not ready") //nolint:staticcheck // Kafka is a name
	// ErrRefused tells that the broker will not do it, however often it is asked.
	ErrRefused = errors.New("Kafka refuses it") //nolint:staticcheck // Kafka is a name
	// ErrDenied tells that the broker does not accept the program's user or password, or
	// does not permit it what it wants.
	ErrDenied = errors.New("Kafka denies access") //nolint:staticcheck // Kafka is a name
	// ErrTLS tells that the two ends don't agree on TLS, or don't believe who the other is.
	ErrTLS = errors.New("no TLS connection to Kafka")
	// ErrClosed tells of the use of a Transport after Close.
	ErrClosed = errors.New("the connection to Kafka is closed")
)

// errNoTopic ends what is said of a topic.
var errNoTopic = errors.New("does not exist")

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

// Connect connects to Kafka. While no broker answers, or none is ready, it tries again with
// growing pauses until ctx ends; then the error is ErrUnreachable or ErrUnready with the last
// reason, or that of ctx. What no repetition mends is an error at once: ErrDenied, also where
// the broker does not permit what the program's role needs, ErrTLS, ErrRefused, and a
// configuration that can't be.
func Connect(ctx context.Context, c Config) (*Transport, error) {
	t := &Transport{brokers: c.Brokers, id: c.ClientID, log: c.Logger, security: c.Security, role: c.Role, told: c.DeadLettered}
	if len(t.brokers) == 0 {
		return nil, errors.New("no address of a Kafka broker is given: set --kafka, such as 127.0.0.1:9092")
	}
	for _, b := range t.brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			return nil, fmt.Errorf("the address %q of a Kafka broker is not host:port, such as 127.0.0.1:9092", b)
		}
	}
	if err := t.security.check(); err != nil {
		return nil, err
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
	if err := t.askPermission(ctx); errors.Is(err, ErrDenied) {
		return nil, errors.Join(err, t.Close())
	}
	t.readTrust()
	t.tasks.Go(t.keepWatch)
	return t, nil
}

// settings are those that all clients share. Their connections end with ctx.
func (t *Transport) settings(ctx context.Context) *sarama.Config {
	c := sarama.NewConfig()
	c.Net.Proxy.Enable = true // sarama's word for a dialer of one's own
	c.Net.Proxy.Dialer = t.dialer(ctx)
	t.security.apply(c)
	c.Version = sarama.MaxVersion
	c.ClientID = t.id
	c.Net.DialTimeout, c.Net.ReadTimeout, c.Net.WriteTimeout = dialTimeout, ioTimeout, ioTimeout
	c.Metadata.RefreshFrequency = refreshEvery
	c.Metadata.Retry.Max = 2
	c.Metadata.Retry.BackoffFunc = func(int, int) time.Duration { return pauseOf(ctx, 250*time.Millisecond) }
	c.Metadata.Timeout = 2 * dialTimeout
	c.Metadata.AllowAutoTopicCreation = false // a topic that came by itself would have the wrong settings

	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = t.role.writes() // it is asked for, and denied to who may write nothing
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

// dialer makes the connections of a client, which end with ctx.
func (t *Transport) dialer(ctx context.Context) dialer {
	return dialer{net.Dialer{Timeout: dialTimeout}, ctx, t.security.TLS}
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

// explain makes one sentence of what sarama says, about a topic or a group where it is known.
func (t *Transport) explain(about string, err error) error {
	brokers := strings.Join(t.brokers, ", ")
	var (
		config  sarama.ConfigurationError
		answer  sarama.KError
		without *tlsError
	)
	switch {
	case errors.As(err, &without):
		return without
	case err == nil, isNamed(err):
		return err
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("stopped before Kafka answered: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w in time: no answer from %s: %w", ErrUnreachable, brokers, err)
	case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
		return fmt.Errorf("the topic %s %w: start Central, which creates it", about, errNoTopic)
	case errors.Is(err, sarama.ErrTopicAuthorizationFailed), errors.Is(err, sarama.ErrGroupAuthorizationFailed):
		return t.deniedTo("use " + about)
	case errors.Is(err, sarama.ErrClusterAuthorizationFailed):
		return t.deniedTo("write to any topic")
	case errors.Is(err, sarama.ErrSASLAuthenticationFailed):
		return t.wrongPassword(brokers)
	case errors.Is(err, sarama.ErrUnsupportedSASLMechanism):
		return fmt.Errorf("%w: %s takes no password by %s: set --kafka-mechanism", ErrDenied, brokers, t.security.Mechanism)
	case errors.Is(err, sarama.ErrIllegalSASLState):
		return t.askedForNoUser(brokers)
	case isTooLarge(err):
		return fmt.Errorf("the record is too large for the topic %s: raise its max.message.bytes: %w", about, err)
	case errors.As(err, &config):
		return err
	}
	if cause := networkCause(err); cause != "" {
		return fmt.Errorf("%w at %s (%s): start the broker, or correct --kafka", ErrUnreachable, brokers, cause)
	}
	if errors.As(err, &answer) {
		if slices.Contains(final, answer) {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return fmt.Errorf("%w at %s: %w", ErrUnready, brokers, err)
	}
	return fmt.Errorf("%w at %s (%w): start the broker, or correct --kafka", ErrUnreachable, brokers, err)
}

// final are the answers that stay the same, however often is asked. Others pass: a broker
// says a lot while its cluster starts.
var final = []sarama.KError{
	sarama.ErrInvalidTopic, sarama.ErrInvalidPartitions, sarama.ErrInvalidReplicaAssignment, sarama.ErrInvalidConfig,
	sarama.ErrInvalidRequest, sarama.ErrPolicyViolation, sarama.ErrUnsupportedVersion, sarama.ErrInvalidSessionTimeout,
}

// isNamed tells whether an error says already what is wrong.
func isNamed(err error) bool {
	return isLasting(err) || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrUnready) || errors.Is(err, ErrClosed)
}

// isLasting tells whether an error stays until somebody changes something.
func isLasting(err error) bool {
	var config sarama.ConfigurationError
	return errors.Is(err, ErrDenied) || errors.Is(err, ErrTLS) || errors.Is(err, ErrRefused) || errors.As(err, &config)
}

// networkCause is what the network said, "" where it is not to blame.
func networkCause(err error) string {
	if cutOff(err) {
		return "the connection was closed"
	}
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
