// Package central wires Central: the event log, the turns, the bus, Kafka, the
// authentication port, the pages, and what an operator types.
package central

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"evcharging/adapters/bus"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/http"
	"evcharging/adapters/kafka"
	"evcharging/adapters/memory"
	"evcharging/adapters/mongo"
	"evcharging/adapters/prometheus"
	"evcharging/adapters/tcp"
	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/application/network"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
	"evcharging/domain/session"
)

// group is the prefix of the consumer groups: all Centrals of a network share them.
const group = "ev-central"

// Config is what a Central needs.
type Config struct {
	Kafka kafka.Config
	// LogDir is the folder of the embedded event log; where it is empty, the log is in Mongo.
	LogDir string
	// Mongo is where the documents are kept; its URI is empty where they are not.
	Mongo mongo.Config
	// Listen is the host:port of the authentication.
	Listen string
	// HTTP is the host:port of the pages; empty: none.
	HTTP string
	// SecretsFile is empty in an open network.
	SecretsFile string
	// Patience says how long sessions wait.
	Patience session.Patience
	// Lease is central.Central's.
	Lease time.Duration
	// DefaultPrice is that of a registration without one.
	DefaultPrice domain.MicroEurosPerKWh
	// Checkpoints is the folder where checkpoints of the event log are kept; empty: none are made.
	// SigningKey is the file of the key that signs them, in that folder where it is empty.
	Checkpoints, SigningKey string
	Logger                  *slog.Logger
}

// Node is a Central that runs.
type Node struct {
	config    Config
	logger    *slog.Logger
	store     *store
	transport *kafka.Transport
	bus       *bus.Bus
	feed      *feed
	auth      *tcp.AuthenticationServer
	pages     *http.Server
	listening *memory.Listening
	ignored   *memory.Ignored
	operator  *Operator
	vitals    vitals
	metrics   *prometheus.Central
	documents documents
	signed    signed
	sampled   sampled

	stopReading context.CancelFunc
	stopRest    context.CancelFunc
	reading     sync.WaitGroup
	rest        sync.WaitGroup
	failed      chan error

	mu       sync.Mutex
	warnings map[string]string
}

// Start starts a Central; it is ready when it returns. ctx bounds the start alone: while
// the broker is away it waits, and says so.
func Start(ctx context.Context, config Config) (_ *Node, err error) {
	config.Mongo.Logger = config.Logger
	n := &Node{
		config: config, logger: config.Logger,
		listening: &memory.Listening{}, ignored: &memory.Ignored{}, vitals: vitals{began: time.Now()},
		failed: make(chan error, 1), warnings: map[string]string{},
		stopReading: func() {}, stopRest: func() {},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	var known central.Secrets
	if config.SecretsFile != "" {
		file, err := readSecrets(config.SecretsFile)
		if err != nil {
			return nil, program.UsageError(fmt.Errorf("--secrets: %w", err))
		}
		known = file
	}
	n.metrics = n.newMetrics()
	config.Kafka.DeadLettered = n.metrics.DeadLetter
	n.vitals.enters(openingLog)
	if config.HTTP != "" {
		if n.pages, err = http.Serve(http.Config{
			Address: config.HTTP, Live: n.vitals.pulse.Live, Ready: n.vitals.ready, Metrics: n.metrics.Handler(), Source: n.vitals.source,
		}); err != nil {
			return nil, err
		}
	}
	if n.store, err = openStore(ctx, config); err != nil {
		return nil, err
	}
	n.vitals.store.Store(n.store)
	n.vitals.enters(reachingKafka)
	// Listen before anything is said to be ready: a taken port is a clear word at once.
	if n.auth, err = tcp.ServeAuthentication(config.Listen, known); err != nil {
		return nil, err
	}
	config.Kafka.ClientID = clientID(n.store.network)
	if n.transport, err = kafka.Connect(ctx, config.Kafka); err != nil {
		return nil, err
	}
	n.vitals.transport.Store(n.transport)
	if err = n.persist(ctx, n.transport.EnsureTopics); err != nil {
		return nil, err
	}
	if err = n.alone(ctx); err != nil {
		return nil, err
	}

	n.vitals.enters(readingLog)
	heard := &signs{}
	core := &central.Central{
		Log: measuredLog{n.store, n.metrics}, Shared: n.store.shared != nil, Codec: eventjson.Codec{}, Signs: heard, Listening: n.listening, Ignored: n.ignored,
		Secrets: known, Patience: config.Patience, Lease: config.Lease, DefaultPrice: config.DefaultPrice, NewID: newID,
	}
	deadlines := memory.NewDeadlines(&heard.Signs)
	n.feed = newFeed(core, deadlines)
	n.feed.id, n.feed.damaged = n.store.network, n.damaged
	core.Readings = n.feed
	heard.feed = n.feed
	reading, stopReading := context.WithCancel(context.Background())
	rest, stopRest := context.WithCancel(context.Background())
	n.stopReading, n.stopRest = stopReading, stopRest
	handlers := []bus.Handler{
		{Name: "documents", Topics: []bus.Topic{bus.Lifecycle, bus.Samples}, Handle: n.project},
		{Name: "kafka", Topics: []bus.Topic{bus.Messages}, Handle: func(ctx context.Context, p central.Publication) error {
			return n.transport.Send(ctx, p.Messages...)
		}},
	}
	if n.store.shared != nil {
		err = n.share(ctx, rest, core, heard)
	} else {
		handlers = append(handlers, bus.Handler{Name: "panel", Topics: []bus.Topic{bus.Lifecycle, bus.Samples}, Handle: n.feed.handle})
		if err = n.feed.restore(ctx); err == nil && config.Mongo.URI != "" {
			err = n.document(ctx, rest, core)
		}
	}
	if err != nil {
		return nil, err
	}
	if n.bus, err = bus.Start(handlers...); err != nil {
		return nil, err
	}
	core.Publisher = n.bus
	n.vitals.feed.Store(n.feed)

	n.vitals.enters(joining)
	n.listening.Deaf(now())
	n.operator = StartOperator(rest, n.transport)
	lanes := newLanes(core, n.metrics)
	if err = n.read(ctx, reading, lanes); err != nil {
		return nil, err
	}
	n.rest.Go(func() { n.transport.Watch(rest, n.brokerChanged) })
	n.rest.Go(func() { n.watchSilence(rest) })
	n.rest.Go(func() { n.beat(rest) })
	n.rest.Go(func() { n.watchDeadlines(rest, n.feed) })
	n.rest.Go(func() { n.tellUnreadable(rest) })
	n.rest.Go(func() { n.verifySamples(rest) })
	if config.Checkpoints != "" {
		n.rest.Go(func() { n.keepCheckpoints(rest) })
	}
	if err = n.operator.Ready(ctx); err != nil {
		return nil, err
	}
	n.vitals.enters(working)
	return n, nil
}

// damaged says that a stream can't be read.
func (n *Node) damaged(err error) {
	n.logger.Error("a stream of the event log can't be read; the others go on", "error", err)
	n.feed.say(network.Alert, err.Error())
}

func now() domain.UnixMillis { return domain.At(time.Now()) }

// newID is a UUIDv7 of an instant: its random part is a new UUID's.
func newID(at domain.UnixMillis) uuid.UUID {
	id := uuid.Must(uuid.NewV7())
	for i := range 6 {
		id[i] = byte(at >> (40 - 8*i))
	}
	return id
}

// persist does what needs the broker, again with growing pauses where that was away: the
// transport says so.
func (n *Node) persist(ctx context.Context, do func(context.Context) error) error {
	const first, longest, worthSaying = 250 * time.Millisecond, 5 * time.Second, 10 * time.Second
	said := false
	for began, pause := time.Now(), first; ; pause = min(2*pause, longest) {
		err := do(ctx)
		if !errors.Is(err, kafka.ErrUnreachable) && !errors.Is(err, kafka.ErrUnready) || ctx.Err() != nil {
			return err
		}
		if !said && time.Since(began) > worthSaying {
			said = true
			n.logger.Warn("Central can't begin yet; trying again", "error", err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// clientID is the consumer groups' client id of a Central with a network's event log.
func clientID(network uuid.UUID) string { return group + "-" + network.String() }

// alone is nil where no Central with another event log is live in the group: two would
// split the truth. Centrals that share a log are no others; with an embedded one each is.
// A Central that was killed leaves the group after its session's timeout.
func (n *Node) alone(ctx context.Context) error {
	reads, own := n.transport.Topics().CentralReads(), ""
	if n.store.shared != nil {
		own = clientID(n.store.network)
	}
	var others []string
	look := func(ctx context.Context) (err error) {
		others, err = n.transport.Members(ctx, group, reads...)
		others = slices.DeleteFunc(others, func(id string) bool { return id == own })
		return err
	}
	if err := n.persist(ctx, look); err != nil || len(others) == 0 {
		return err
	}
	n.logger.Warn("another Central is a member of the group still; waiting for it to leave, which takes a while where it was killed", "group", group)
	if err := n.persist(ctx, func(ctx context.Context) (err error) {
		others, err = n.transport.WaitForMembersToLeave(ctx, group, own, reads...)
		return err
	}); err != nil || len(others) == 0 {
		return err
	}
	return splits(others)
}

// joined waits until this Central is a member of the groups of topics, and then is alone once
// more: another may have come at the same time. Of several that see each other one stays.
func (n *Node) joined(ctx context.Context, topics []string) error {
	const often = 100 * time.Millisecond
	own := clientID(n.store.network)
	var others []string
	for _, topic := range topics {
		for {
			var members []string
			if err := n.persist(ctx, func(ctx context.Context) (err error) {
				members, err = n.transport.Members(ctx, group, topic)
				return err
			}); err != nil {
				return err
			}
			if slices.Contains(members, own) {
				others = append(others, slices.DeleteFunc(members, func(id string) bool { return id == own })...)
				break
			}
			select {
			case err := <-n.failed:
				n.fail(err)
				return err
			case <-time.After(often):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if len(others) == 0 {
		return nil
	}
	if slices.Min(others) < own {
		return splits(others)
	}
	err := n.persist(ctx, func(ctx context.Context) (err error) {
		others, err = n.transport.WaitForMembersToLeave(ctx, group, own, topics...)
		return err
	})
	if err != nil || len(others) == 0 {
		return err
	}
	return splits(others)
}

func splits(others []string) error {
	slices.Sort(others)
	return fmt.Errorf("another Central of this network is running with an event log of its own (%s in consumer group %s): two event logs would split the truth; stop it first",
		strings.Join(slices.Compact(others), ", "), group)
}

func (n *Node) watchDeadlines(ctx context.Context, index central.DeadlineIndex) {
	watch := &central.Watch{Index: index, Listening: n.listening, Poster: poster{n.transport}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		watch.Awake(now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := watch.Tick(ctx, now()); err != nil && ctx.Err() == nil {
				n.logger.Debug("deadlines wait", "error", err)
			}
		}
	}
}

type poster struct{ transport *kafka.Transport }

func (p poster) Post(ctx context.Context, controls []message.Control) error {
	messages := make([]message.Message, len(controls))
	for i, c := range controls {
		messages[i] = c
	}
	return p.transport.Send(ctx, messages...)
}

// brokerChanged takes in that the broker was lost or found; the transport's log says it.
func (n *Node) brokerChanged(up bool, err error) {
	n.listening.Deaf(now())
	switch {
	case up:
		n.warn("broker", "")
	case errors.Is(err, kafka.ErrDenied), errors.Is(err, kafka.ErrTLS):
		n.warn("broker", "the broker denies access")
	default:
		n.warn("broker", "the broker is away")
	}
}

// warn sets or, with an empty text, takes back a warning.
func (n *Node) warn(about, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text == "" {
		delete(n.warnings, about)
	} else {
		n.warnings[about] = text
	}
}

// fail notes why the node can't go on.
func (n *Node) fail(err error) {
	if err == nil {
		return
	}
	select {
	case n.failed <- err:
	default:
	}
}

// Failed gives the error after which the node can't go on.
func (n *Node) Failed() <-chan error { return n.failed }

// AuthAddr is the address of the authentication, HTTPAddr that of the pages (empty: none).
func (n *Node) AuthAddr() string { return n.auth.Addr() }

// HTTPAddr is the address of the pages; empty where there are none.
func (n *Node) HTTPAddr() string {
	if n.pages == nil {
		return ""
	}
	return n.pages.Addr()
}

// Close stops gracefully: no new turns, the running ones are finished, then everything
// that they need is closed. It may be called on a node whose start failed.
func (n *Node) Close() error {
	var errs []error
	n.vitals.enters(stopping)
	n.stopReading()
	n.reading.Wait()
	n.stopRest()
	n.rest.Wait()
	if n.pages != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		errs = append(errs, n.pages.Close(ctx))
		cancel()
	}
	if n.auth != nil {
		errs = append(errs, n.auth.Close())
	}
	if n.operator != nil {
		n.operator.wait()
	}
	if n.bus != nil {
		errs = append(errs, n.bus.Close())
	}
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.close())
	}
	return errors.Join(errs...)
}
