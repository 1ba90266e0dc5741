package kafka

import (
	"context"
	"errors"
	"strings"

	"github.com/IBM/sarama"

	"evcharging/application/message"
)

// Read reads a topic without a group, from its oldest record to the end that it had when
// Read was called, and returns. Handle is called for one record at a time. Nothing is read of a
// topic that does not exist.
func (t *Transport) Read(ctx context.Context, topic string, handle func(message.Received)) error {
	left, err := t.unread(ctx, topic)
	if err != nil || len(left) == 0 {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// The end may be a record that is unreadable, so count places, not records.
	err = t.follow(ctx, []string{topic}, 0, func() {}, func(_ *follower, r followed) {
		if m, err := t.received(r); err == nil {
			handle(m)
		}
		if r.Offset >= left[r.Partition].Last {
			delete(left, r.Partition)
		}
		if len(left) == 0 {
			stop()
		}
	})
	if err == nil && len(left) > 0 {
		return ctx.Err()
	}
	return err
}

// unread gives, by partition, all records of the topic; partitions without records are
// left out.
func (t *Transport) unread(ctx context.Context, topic string) (map[int32]Unread, error) {
	left := map[int32]Unread{}
	err := t.ask(ctx, func(client sarama.Client, admin sarama.ClusterAdmin) error {
		if err := client.RefreshMetadata(); err != nil {
			return t.explain("", err)
		}
		there, err := client.Topics()
		if err != nil {
			return t.explain("", err)
		}
		for _, name := range there {
			if name != topic {
				continue
			}
			partitions, err := client.Partitions(topic)
			if err != nil {
				return t.explain(topic, err)
			}
			oldest, err := offsets(admin, topic, partitions, sarama.OffsetOldest)
			if err != nil {
				return t.explain(topic, err)
			}
			newest, err := offsets(admin, topic, partitions, sarama.OffsetNewest)
			if err != nil {
				return t.explain(topic, err)
			}
			for p, end := range newest {
				if end > oldest[p] {
					left[p] = Unread{oldest[p], end - 1}
				}
			}
		}
		return nil
	})
	return left, err
}

// offsets are the offsets of partitions at their beginning or end, in one request a broker.
func offsets(admin sarama.ClusterAdmin, topic string, partitions []int32, at int64) (map[int32]int64, error) {
	asked := make(map[int32]int64, len(partitions))
	for _, p := range partitions {
		asked[p] = at
	}
	answers, err := admin.ListOffsets(map[string]map[int32]int64{topic: asked}, nil)
	if err != nil {
		return nil, err
	}
	for p, answer := range answers[topic] {
		if answer.Err != nil && !errors.Is(answer.Err, sarama.ErrNoError) {
			return nil, answer.Err
		}
		asked[p] = answer.Offset
	}
	return asked, nil
}

// DeadLetters is the dead-letter topic of a topic. Follow reads it too: its messages are
// message.DeadLetter.
func DeadLetters(topic string) string { return topic + deadLetters }

// received decodes a record that was followed; a dead letter with its reason, and the
// record itself where that can be decoded.
func (t *Transport) received(r followed) (message.Received, error) {
	of, dead := t.recordsOf(r.Topic)
	m, err := decode(of, r.Value)
	if dead {
		letter := message.DeadLetter{Topic: t.names[of], Message: m}
		for _, h := range r.Headers {
			if h != nil && string(h.Key) == headerError {
				letter.Reason = string(h.Value)
			}
		}
		m, err = letter, nil
	}
	return message.Received{Source: t.sourceOf(r.ConsumerMessage), Message: m}, err
}

// recordsOf is what a topic carries, and whether it is a dead-letter topic; the count
// of all kinds where it is none of the contract's.
func (t *Transport) recordsOf(topic string) (of record, dead bool) {
	if of, ok := t.records[topic]; ok {
		return of, false
	}
	if name, ok := strings.CutSuffix(topic, deadLetters); ok {
		if of, ok := t.records[name]; ok {
			return of, true
		}
	}
	return records, false
}
