package kafka

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	wm "github.com/ThreeDotsLabs/watermill/message"

	"evcharging/application/message"
	"evcharging/domain"
)

const (
	// lanes is how many records of one partition are worked on side by side at most.
	lanes = 16
	// window is how far a partition may be ahead of its first record that is not done.
	window = 2048
	// drainTime is how long what is being worked on may take when its partition goes to
	// another, or the program stops; abandonTime how long after that it is waited for.
	drainTime   = 6 * time.Second
	abandonTime = time.Second
	// leaveTime is what the last commits and leaving the group may take after that.
	leaveTime = 500 * time.Millisecond
	// rebalanceTime is what a member has to give up its partitions, well above drainTime. A
	// broker waits as long for a member that died while it joined. joinTime is a little more:
	// who asks to join again before it was answered has others wait anew.
	rebalanceTime = 12 * time.Second
	joinTime      = rebalanceTime + 3*time.Second
	// fetchWait is how long the broker keeps an empty fetch. Meanwhile it answers nothing
	// else on the connection, a commit neither, so it is shorter where each is committed.
	fetchWait       = 250 * time.Millisecond
	promptFetchWait = 50 * time.Millisecond
	// refusedEvery is how often a log line says that records were refused.
	refusedEvery = 10 * time.Second
	// sessionTime is how soon a member that died loses its partitions: the least that
	// Kafka allows by default.
	sessionTime = 6 * time.Second
)

// Group reads topics in consumer groups, one group for each topic, named group, a dot and
// the topic, from the oldest record that the group has not committed. It blocks until ctx
// ends and what was begun is done, which takes at most 8 s, and returns nil; another error
// says that a topic is none of the contract's, or, before anything is read, is ErrDenied: the
// broker does not permit the group. Where it no longer does so later, that is said once and
// tried again.
//
// Handle is called for different points at the same time, and for one point once at a time
// within a topic, in the order of each partition. Its nil acknowledges the record, which is
// the last thing that happens to it: a record that was not acknowledged comes again after a
// crash. A *message.RejectedError, and ErrUnsendable, which no repetition mends, send the
// record to its dead-letter topic and then acknowledge it; so does an unreadable record,
// which handle never sees. Any other error is retried with growing pauses; meanwhile other
// points go on, until the partition's window is full.
//
// The context that handle gets outlives ctx, so that a turn is finished: it ends when the
// record has to be given up.
func (t *Transport) Group(ctx context.Context, group string, topics []string, handle func(context.Context, message.Received) error) error {
	subscriptions := make([]*subscription, len(topics))
	for i, topic := range topics {
		r, ok := t.records[topic]
		if !ok {
			return fmt.Errorf("%q is no topic of the network", topic)
		}
		subscriptions[i] = &subscription{
			transport: t, topic: topic, record: r, group: group + "." + topic, handle: handle,
			commitEach: r == request || r == control,
			stats:      t.stats[topic],
			waiting:    make(map[*sarama.ConsumerMessage]*delivery),
			begun:      make(map[*wm.Message]*delivery),
			points:     turnstile{held: make(map[domain.PointID]chan struct{})},
		}
	}
	t.waiting.Add(int64(len(subscriptions)))
	defer t.waiting.Add(-int64(len(subscriptions)))
	for _, s := range subscriptions {
		if err := t.askForGroup(ctx, s.group); errors.Is(err, ErrDenied) {
			return err
		}
	}
	var all sync.WaitGroup
	for _, s := range subscriptions {
		all.Go(func() { s.run(ctx) })
	}
	all.Wait()
	return nil
}

// Listens tells whether every topic of every Group is being read. Between an outage and the
// moment when a group has come together again, what others sent waits unread; so it does while
// the broker denies it.
func (t *Transport) Listens() bool { return t.waiting.Load() == 0 && len(t.refused()) == 0 }

// subscription is one topic's part of a Group. It is Watermill's Unmarshaler and Tracer, the
// two places where Watermill lets its subscriber be shaped.
type subscription struct {
	transport    *Transport
	topic, group string
	record       record
	handle       func(context.Context, message.Received) error
	// commitEach commits at each acknowledgement instead of once a second.
	commitEach bool
	stats      *counters
	points     turnstile

	mu sync.Mutex
	// Deliveries by what Watermill knows them by: before and after Unmarshal.
	waiting map[*sarama.ConsumerMessage]*delivery
	begun   map[*wm.Message]*delivery
	// stuck is how many records are being retried.
	stuck int
	// refused counts for the next log line.
	refused     int
	saidRefused time.Time
}

// delivery is a record on its way from its partition to its acknowledgement.
type delivery struct {
	claim  *claim
	slot   *slot
	raw    *sarama.ConsumerMessage
	source message.Source
	// One of the two: what it says, or why it can't be read.
	message    message.Message
	unreadable error
}

func (s *subscription) run(ctx context.Context) {
	connected, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	settings := s.transport.settings(connected)
	settings.Consumer.Return.Errors = true
	settings.Consumer.Offsets.AutoCommit.Enable = !s.commitEach
	settings.Consumer.Offsets.AutoCommit.Interval = time.Second
	settings.Consumer.MaxWaitTime = fetchWait
	if s.commitEach {
		settings.Consumer.MaxWaitTime = promptFetchWait
	}
	settings.Consumer.Group.Session.Timeout = sessionTime
	settings.Consumer.Group.Heartbeat.Interval = sessionTime / 4
	settings.Consumer.Group.Rebalance.Timeout = rebalanceTime
	settings.Net.ReadTimeout = joinTime
	subscriber, err := wmkafka.NewSubscriber(wmkafka.SubscriberConfig{
		Brokers: s.transport.brokers, OverwriteSaramaConfig: settings, ConsumerGroup: s.group,
		Unmarshaler: s, Tracer: s, ReconnectRetrySleep: time.Second,
	}, quiet{s})
	if err != nil { // the settings are wrong: a fault of this file
		panic(err)
	}
	// The subscriber is not given ctx: it would forget what is being worked on. Closing it
	// ends the claims, and they wait.
	var messages <-chan *wm.Message
	giveUp := context.AfterFunc(ctx, cut) // nothing is in work yet
	for p := (pauses{}); ; {
		if messages, err = subscriber.Subscribe(context.WithoutCancel(ctx), s.topic); err == nil {
			break
		}
		s.transport.refuse(s.topic, s.group, err)
		if !p.wait(ctx.Done(), nil) {
			return
		}
	}
	giveUp()
	stop := context.AfterFunc(ctx, func() {
		// A broker that hangs takes no commit, and its group is left by a timeout.
		late := time.AfterFunc(drainTime+abandonTime+leaveTime, cut)
		defer late.Stop()
		_ = subscriber.Close()
	})
	defer stop()
	var working sync.WaitGroup
	for m := range messages {
		working.Go(func() { s.process(m) })
	}
	working.Wait()
	_ = subscriber.Close() // waits for what AfterFunc began
}

// Unmarshal makes Watermill's message of a record. It never fails: a record that can't be
// read would stop its partition.
func (s *subscription) Unmarshal(raw *sarama.ConsumerMessage) (*wm.Message, error) {
	m := wm.NewMessage("", raw.Value)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun[m] = s.waiting[raw]
	delete(s.waiting, raw)
	return m, nil
}

// process does one record's work, in a goroutine of its own.
func (s *subscription) process(m *wm.Message) {
	s.mu.Lock()
	d := s.begun[m]
	delete(s.begun, m)
	s.mu.Unlock()
	// Where the work is not done, acknowledging only lets the lane go: the claim marks
	// what is done, not Watermill.
	defer m.Ack()
	if !d.claim.begin() {
		return
	}
	d.claim.finish(d, s.work(d))
}

// work handles a record until it is done, true, or has to be given up.
func (s *subscription) work(d *delivery) bool {
	if d.unreadable == nil {
		point := message.PointOf(d.message)
		if !s.points.enter(point, d.claim.ended) {
			return false
		}
		defer s.points.leave(point)
	}
	retried := false
	for p := (pauses{}); ; {
		err := s.try(d)
		if err == nil {
			if retried {
				s.unstick()
			}
			return true
		}
		if !retried {
			retried = true
			s.stick(d, err)
		}
		s.stats.retried.Add(1)
		if !p.wait(d.claim.ended, d.claim.ctx.Done()) {
			s.unstick()
			return false
		}
	}
}

func (s *subscription) try(d *delivery) error {
	if d.unreadable != nil {
		return s.reject(d, d.unreadable)
	}
	err := s.handle(d.claim.ctx, message.Received{Source: d.source, Message: d.message})
	var rejected *message.RejectedError
	switch {
	case errors.As(err, &rejected):
		return s.reject(d, rejected.Reason)
	case errors.Is(err, ErrUnsendable):
		s.transport.log.Error("a record is given up: what it causes can't be sent", "topic", s.topic, "record", where(d), "error", err)
		return s.reject(d, err)
	}
	return err
}

func (s *subscription) reject(d *delivery, reason error) error {
	if err := s.transport.deadLetter(d.claim.ctx, d.raw, reason); err != nil {
		return fmt.Errorf("it is refused (%w) and its dead-letter topic does not take it: %w", reason, err)
	}
	s.stats.deadLettered.Add(1)
	s.transport.told(s.topic, reason)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused++
	if now := time.Now(); now.Sub(s.saidRefused) >= refusedEvery {
		s.transport.log.Warn("records are refused and lie in the dead-letter topic",
			"count", s.refused, "topic", s.topic, "last", where(d), "reason", reason)
		s.saidRefused, s.refused = now, 0
	}
	return nil
}

func where(d *delivery) string { return fmt.Sprintf("%d@%d", d.raw.Partition, d.raw.Offset) }

// stick and unstick say in one line each that a topic has records that are tried again, and
// that it has none any more.
func (s *subscription) stick(d *delivery, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck++; s.stuck == 1 {
		s.transport.log.Warn("a record can't be taken in yet; trying again", "topic", s.topic, "record", where(d), "error", err)
	}
}

func (s *subscription) unstick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck--; s.stuck == 0 {
		s.transport.log.Info("no record has to be tried again any more", "topic", s.topic)
	}
}

// WrapConsumerGroupHandler puts lanes around Watermill's way of reading a partition.
func (s *subscription) WrapConsumerGroupHandler(h sarama.ConsumerGroupHandler) sarama.ConsumerGroupHandler {
	return laned{ConsumerGroupHandler: h, subscription: s}
}

// What a Tracer may wrap besides stays as it is.
func (s *subscription) WrapConsumer(c sarama.Consumer) sarama.Consumer { return c }

func (s *subscription) WrapPartitionConsumer(c sarama.PartitionConsumer) sarama.PartitionConsumer {
	return c
}

func (s *subscription) WrapSyncProducer(_ *sarama.Config, p sarama.SyncProducer) sarama.SyncProducer {
	return p
}

// laned runs Watermill's reader of a partition, which has one record in work at a time,
// once for each lane. Records of one point go through one lane.
type laned struct {
	sarama.ConsumerGroupHandler
	*subscription
}

// Setup and Cleanup enclose the time in which the topic is read.
func (l laned) Setup(session sarama.ConsumerGroupSession) error {
	l.transport.waiting.Add(-1)
	return l.ConsumerGroupHandler.Setup(session)
}

// Cleanup comes after every Setup.
func (l laned) Cleanup(session sarama.ConsumerGroupSession) error {
	l.transport.waiting.Add(1)
	return l.ConsumerGroupHandler.Cleanup(session)
}

// ConsumeClaim reads a partition until it is taken away. It returns when the records in
// work are done, or have to be given up.
func (l laned) ConsumeClaim(session sarama.ConsumerGroupSession, partition sarama.ConsumerGroupClaim) error {
	c := newClaim(session, partition, l.subscription)
	// A lane begins with its first record, so that a quiet topic costs nothing.
	var (
		queues  [lanes]chan *sarama.ConsumerMessage
		running sync.WaitGroup
	)
	enqueue := func(lane int, raw *sarama.ConsumerMessage) {
		if queues[lane] == nil {
			queue := make(chan *sarama.ConsumerMessage, window)
			queues[lane] = queue
			running.Go(func() {
				_ = l.ConsumerGroupHandler.ConsumeClaim(laneSession{session, c.feeding}, laneClaim{partition, queue})
			})
		}
		queues[lane] <- raw // has room: all that is open fits into one
	}
feed:
	for {
		select {
		case raw, ok := <-partition.Messages():
			if !ok {
				break feed
			}
			if !c.room(session.Context().Done()) {
				break feed
			}
			l.stats.received.Add(1)
			d := l.take(c, raw)
			enqueue(laneOf(d), raw)
		case <-session.Context().Done():
			break feed
		}
	}
	c.stopFeeding()
	for _, queue := range queues {
		if queue != nil {
			close(queue)
		}
	}
	if c.drain() {
		running.Wait()
	}
	l.forget(c)
	return nil
}

// take reads a record and gives it its place.
func (s *subscription) take(c *claim, raw *sarama.ConsumerMessage) *delivery {
	d := &delivery{claim: c, raw: raw, source: s.transport.sourceOf(raw)}
	d.message, d.unreadable = decode(s.record, raw.Value)
	d.slot = c.add(raw.Offset)
	s.mu.Lock()
	s.waiting[raw] = d
	s.mu.Unlock()
	return d
}

// forget drops the records that no lane came to.
func (s *subscription) forget(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for raw, d := range s.waiting {
		if d.claim == c {
			delete(s.waiting, raw)
		}
	}
}

// laneOf is a point's lane; of records that can't be read each takes any.
func laneOf(d *delivery) int {
	if d.unreadable != nil {
		return int(d.raw.Offset % lanes)
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(message.PointOf(d.message)))
	return int(h.Sum32() % lanes)
}

// claim is a partition while it is ours.
type claim struct {
	session   sarama.ConsumerGroupSession
	topic     string
	partition int32
	stats     *counters
	// ctx is what handle gets. It ends when the records have to be given up.
	ctx    context.Context
	giveUp context.CancelFunc
	// feeding ends, and ended is closed, when no further record is begun.
	feeding context.Context
	stop    context.CancelFunc
	ended   <-chan struct{}

	mu      sync.Mutex
	tracker tracker
	// freed has an element where room became free since it was last asked.
	freed   chan struct{}
	closing bool
	working int
	// idle is closed when closing and nothing is being worked on.
	idle chan struct{}
	// abandoned is set when the partition is another's: nothing may be marked any more.
	abandoned bool
	// toCommit has an element where something was marked that is to be committed at once;
	// nil where that is done once a second. Commits that would overlap become one.
	toCommit  chan struct{}
	committed chan struct{} // closed when the last is made
}

func newClaim(session sarama.ConsumerGroupSession, partition sarama.ConsumerGroupClaim, s *subscription) *claim {
	c := &claim{
		session: session, topic: partition.Topic(), partition: partition.Partition(),
		stats: s.stats,
		freed: make(chan struct{}, 1), idle: make(chan struct{}), committed: make(chan struct{}),
	}
	c.ctx, c.giveUp = context.WithCancel(context.Background())
	c.feeding, c.stop = context.WithCancel(context.Background())
	c.ended = c.feeding.Done()
	if !s.commitEach {
		close(c.committed)
		return c
	}
	c.toCommit = make(chan struct{}, 1)
	go func() {
		defer close(c.committed)
		for range c.toCommit {
			session.Commit()
		}
	}()
	return c
}

// room waits until the window has room. It is false where done came first.
func (c *claim) room(done <-chan struct{}) bool {
	for {
		c.mu.Lock()
		full := c.tracker.size() >= window
		c.mu.Unlock()
		if !full {
			return true
		}
		select {
		case <-c.freed:
		case <-done:
			return false
		}
	}
}

func (c *claim) add(offset int64) *slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.inFlight.Add(1)
	return c.tracker.add(offset)
}

// begin tells whether a record may be begun.
func (c *claim) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.working++
	return true
}

// finish ends what begin began. What is done is marked up to the first record that is not.
func (c *claim) finish(d *delivery, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if done && !c.abandoned {
		c.stats.acked.Add(1)
		before := c.tracker.size()
		if next, moved := c.tracker.done(d.slot); moved {
			c.session.MarkOffset(c.topic, c.partition, next, "")
			c.stats.inFlight.Add(int64(c.tracker.size() - before))
			signal(c.freed)
			signal(c.toCommit)
		}
	}
	if c.working--; c.closing && c.working == 0 {
		close(c.idle)
	}
}

// signal leaves an element in a channel that has room for one; a nil channel wants none.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// stopFeeding lets no further record begin, and those that are tried again end.
func (c *claim) stopFeeding() {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	if c.working == 0 {
		close(c.idle)
	}
}

// drain waits for the records in work, gives up what takes too long, and makes the last
// commit. It is false where a handler would not end.
func (c *claim) drain() (all bool) {
	defer c.giveUp()
	all = c.idleWithin(drainTime)
	if !all {
		c.giveUp()
		all = c.idleWithin(abandonTime)
	}
	c.mu.Lock()
	c.abandoned = true
	c.stats.inFlight.Add(-int64(c.tracker.size()))
	if c.toCommit != nil {
		close(c.toCommit)
	}
	c.mu.Unlock()
	<-c.committed
	return all
}

func (c *claim) idleWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.idle:
		return true
	case <-timer.C:
		return false
	}
}

// laneSession is the session that Watermill's reader sees: it ends for the reader as soon
// as no further record is begun, and nothing that the reader marks counts.
type laneSession struct {
	sarama.ConsumerGroupSession
	feeding context.Context
}

func (s laneSession) Context() context.Context                  { return s.feeding }
func (laneSession) MarkMessage(*sarama.ConsumerMessage, string) {}
func (laneSession) MarkOffset(string, int32, int64, string)     {}
func (laneSession) Commit()                                     {}
func (laneSession) ResetOffset(string, int32, int64, string)    {}

// laneClaim is a lane's part of a partition.
type laneClaim struct {
	sarama.ConsumerGroupClaim
	queue <-chan *sarama.ConsumerMessage
}

func (c laneClaim) Messages() <-chan *sarama.ConsumerMessage { return c.queue }

// turnstile lets one at a time through for each point: records of one point may come on
// several partitions, where whoever sent them gave no key.
type turnstile struct {
	mu   sync.Mutex
	held map[domain.PointID]chan struct{}
}

// enter waits its turn. It is false where done came first.
func (t *turnstile) enter(p domain.PointID, done <-chan struct{}) bool {
	for {
		t.mu.Lock()
		inside, held := t.held[p]
		if !held {
			t.held[p] = make(chan struct{})
			t.mu.Unlock()
			return true
		}
		t.mu.Unlock()
		select {
		case <-inside:
		case <-done:
			return false
		}
	}
}

func (t *turnstile) leave(p domain.PointID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.held[p])
	delete(t.held, p)
}

// quiet hands Watermill's lines on as details: whether Kafka is reached, what it denies, and
// which records are stuck, is said in one line for each change elsewhere.
type quiet struct{ of *subscription }

func (q quiet) Error(msg string, err error, fields watermill.LogFields) {
	t := q.of.transport
	t.log.Debug(msg, "error", err, "fields", fields)
	t.refuse(q.of.topic, q.of.group, err)
}

func (q quiet) Info(msg string, fields watermill.LogFields) {
	q.of.transport.log.Debug(msg, "fields", fields)
}
func (quiet) Debug(string, watermill.LogFields)                  {}
func (quiet) Trace(string, watermill.LogFields)                  {}
func (q quiet) With(watermill.LogFields) watermill.LoggerAdapter { return q }
