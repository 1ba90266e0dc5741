package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"evcharging/application/message"
	"evcharging/domain"
)

const (
	// missingEvery is how soon a topic that was missing is noticed, growthEvery how soon a
	// new partition of one that was there.
	missingEvery = time.Second
	growthEvery  = 10 * time.Second
	// skippedEvery is how often a log line says that records were skipped.
	skippedEvery = 10 * time.Second
)

// Follow reads all partitions of topics, without a group and without committing: records
// from the instant from on (0: from the oldest), and whatever is sent after ready was
// called, whatever its time. Ready is called once, before any record is handed on, when the
// positions in all partitions are fixed; a topic that is missing then, and a partition that
// is added later, is read from its oldest record once it is there. Handle is called for one
// record at a time, those of a partition in their order; unreadable records are skipped,
// counted and said. While no broker answers, Follow waits and goes on where it was; so it does
// while the broker denies what it reads, which is said once.
//
// It blocks until ctx ends and returns nil then; another error says that a topic is none of
// the contract's.
func (t *Transport) Follow(ctx context.Context, topics []string, from domain.UnixMillis, ready func(), handle func(context.Context, message.Received)) error {
	return t.follow(ctx, topics, from, ready, func(f *follower, r followed) {
		if m, err := t.received(r); err != nil {
			f.skip(r, err)
		} else {
			handle(ctx, m)
		}
	})
}

// follow is Follow with records as they came.
func (t *Transport) follow(ctx context.Context, topics []string, from domain.UnixMillis, ready func(), handle func(*follower, followed)) error {
	for _, topic := range topics {
		if of, _ := t.recordsOf(topic); of == records {
			return fmt.Errorf("%q is no topic of the network", topic)
		}
	}
	f := &follower{transport: t, topics: topics, records: make(chan followed), reading: make(map[place]struct{})}
	positions, ok := f.begin(ctx, from)
	if !ok {
		return nil
	}
	defer f.client.Close()
	ready()
	ctx, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer stop()
	tasks.Go(func() { f.seek(ctx, positions) })
	for {
		select {
		case r := <-f.records:
			f.note(r)
			handle(f, r)
		case <-ctx.Done():
			return nil
		}
	}
}

// follower is one Follow.
type follower struct {
	transport *Transport
	topics    []string
	client    sarama.Client
	consumer  sarama.Consumer
	records   chan followed

	// skipped counts for the next log line.
	skipped uint64
	said    time.Time

	mu      sync.Mutex
	reading map[place]struct{}
}

type place struct {
	topic     string
	partition int32
}

// position is where the reading of a partition begins, and where its end was at that time.
type position struct{ offset, end int64 }

// followed is a record, and since when it must have been stamped: zero where that is not known.
type followed struct {
	*sarama.ConsumerMessage
	after time.Time
}

// begin connects and fixes the positions; it tries until ctx ends, false then.
func (f *follower) begin(ctx context.Context, from domain.UnixMillis) (map[place]position, bool) {
	for p := (pauses{}); ; {
		positions, err := f.fix(ctx, from)
		if err == nil {
			return positions, true
		}
		f.transport.log.Debug("positions can't be fixed yet", "topics", f.topics, "error", err)
		f.transport.refuse(strings.Join(f.topics, ", "), "", err)
		if !p.wait(ctx.Done(), nil) {
			return nil, false
		}
	}
}

func (f *follower) fix(ctx context.Context, from domain.UnixMillis) (_ map[place]position, err error) {
	settings := f.transport.settings(ctx)
	settings.Consumer.Return.Errors = true
	if f.client, err = sarama.NewClient(f.transport.brokers, settings); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.client.Close()
		}
	}()
	if f.consumer, err = sarama.NewConsumerFromClient(f.client); err != nil {
		return nil, err
	}
	var (
		mu        sync.Mutex
		all       sync.WaitGroup
		positions = make(map[place]position)
		failed    error
	)
	places, complete := f.places()
	if !complete {
		if err := f.client.RefreshMetadata(f.topics...); errors.Is(err, sarama.ErrTopicAuthorizationFailed) {
			return nil, err // it is there, and not shown to everybody
		}
	}
	for _, at := range places {
		all.Go(func() {
			p, err := f.positionOf(at, from)
			mu.Lock()
			defer mu.Unlock()
			positions[at] = p
			failed = errors.Join(failed, err)
		})
	}
	all.Wait()
	return positions, failed
}

// positionOf asks for the end first: a record that comes in between is then not missed.
func (f *follower) positionOf(at place, from domain.UnixMillis) (p position, err error) {
	if p.end, err = f.client.GetOffset(at.topic, at.partition, sarama.OffsetNewest); err != nil {
		return p, err
	}
	if from == 0 {
		p.offset = sarama.OffsetOldest
		return p, nil
	}
	if p.offset, err = f.client.GetOffset(at.topic, at.partition, int64(from)); err != nil {
		return p, err
	}
	if p.offset < 0 || p.offset > p.end { // nothing is as young
		p.offset = p.end
	}
	return p, nil
}

// places are the partitions that the client knows of; complete is false where a topic is missing.
func (f *follower) places() (places []place, complete bool) {
	there := make(map[string]bool)
	names, _ := f.client.Topics()
	for _, name := range names {
		there[name] = true
	}
	complete = true
	for _, topic := range f.topics {
		if !there[topic] {
			complete = false
			continue
		}
		partitions, err := f.client.Partitions(topic)
		if err != nil {
			complete = false
			continue
		}
		for _, partition := range partitions {
			places = append(places, place{topic, partition})
		}
	}
	return places, complete
}

// seek reads the partitions from their positions, and from their oldest record those that
// come later, until ctx ends.
func (f *follower) seek(ctx context.Context, positions map[place]position) {
	var readers sync.WaitGroup
	defer readers.Wait()
	begun := time.Now()
	for at, p := range positions {
		f.read(ctx, &readers, at, p, begun)
	}
	_, complete := f.places()
	for said := complete; ; {
		every := growthEvery
		if !complete {
			every = missingEvery
			if !said {
				said = true
				f.transport.log.Info("a topic does not exist yet; waiting for it: Central creates it", "topics", f.topics)
			}
		}
		timer := time.NewTimer(every)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if f.client.RefreshMetadata() != nil {
			continue
		}
		var places []place
		places, complete = f.places()
		for _, at := range places {
			f.read(ctx, &readers, at, position{offset: sarama.OffsetOldest}, time.Time{})
		}
	}
}

// read begins to read a partition, if nobody does.
func (f *follower) read(ctx context.Context, readers *sync.WaitGroup, at place, p position, since time.Time) {
	f.mu.Lock()
	_, taken := f.reading[at]
	f.reading[at] = struct{}{}
	f.mu.Unlock()
	if taken {
		return
	}
	readers.Go(func() {
		for wait := (pauses{}); ctx.Err() == nil; {
			next, err := f.readFrom(ctx, at, p, since)
			if err != nil {
				f.transport.refuse(at.topic, "", err)
			}
			if errors.Is(err, sarama.ErrOffsetOutOfRange) { // it was cut off at its beginning, or made anew
				next.offset, since = sarama.OffsetOldest, time.Time{}
			}
			p = next
			wait.wait(ctx.Done(), nil)
		}
	})
}

// readFrom reads a partition until ctx ends or its offset is out of range; sarama itself
// goes on when a broker comes back.
func (f *follower) readFrom(ctx context.Context, at place, p position, since time.Time) (position, error) {
	one, err := f.consumer.ConsumePartition(at.topic, at.partition, p.offset)
	if err != nil {
		return p, err
	}
	defer one.Close()
	for {
		select {
		case m, ok := <-one.Messages():
			if !ok {
				return p, sarama.ErrOffsetOutOfRange
			}
			r := followed{ConsumerMessage: m}
			if m.Offset >= p.end {
				r.after = since
			}
			select {
			case f.records <- r:
				p.offset = m.Offset + 1
			case <-ctx.Done():
				return p, nil
			}
		case err := <-one.Errors():
			if err != nil {
				f.transport.refuse(at.topic, "", err)
			}
		case <-ctx.Done():
			return p, nil
		}
	}
}

// note counts a record and what it tells of the broker's clock.
func (f *follower) note(r followed) {
	t := f.transport
	if stats := t.stats[r.Topic]; stats != nil {
		stats.received.Add(1)
	}
	if t.trusts(r.Topic) {
		t.stampedBetween(r.Timestamp, r.after, time.Now())
	}
}

// skip passes an unreadable record over, counted and said. Of what Central reads, Central
// says it; of what anybody else listens to there, most is none of theirs.
func (f *follower) skip(r followed, err error) {
	t := f.transport
	if stats := t.stats[r.Topic]; stats != nil {
		stats.skipped.Add(1)
	}
	if of, dead := t.recordsOf(r.Topic); dead || slices.Contains(centralReads, of) {
		t.log.Debug("a record is skipped", "topic", r.Topic, "record", fmt.Sprintf("%d@%d", r.Partition, r.Offset), "reason", err)
		return
	}
	f.skipped++
	if now := time.Now(); now.Sub(f.said) >= skippedEvery {
		t.log.Warn("records are skipped", "count", f.skipped, "topic", r.Topic, "last", fmt.Sprintf("%d@%d", r.Partition, r.Offset), "reason", err)
		f.said, f.skipped = now, 0
	}
}
