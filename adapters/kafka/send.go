package kafka

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
	wmkafka "github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/google/uuid"

	"evcharging/application/message"
)

// Send sends messages as one batch. It returns nil only when the broker has durably
// acknowledged each of their records; records of one topic and key keep their order, also
// over several calls of one caller. After any error it is not known which were sent, and
// the same may be sent again: ErrUnsendable is a fault of a message and stays, others are
// gone when the broker, or the topic, is there.
func (t *Transport) Send(ctx context.Context, ms ...message.Message) error {
	var (
		out []encoded
		err error
	)
	for _, m := range ms {
		if out, err = encode(out, m); err != nil {
			return err
		}
	}
	if len(out) == 0 {
		return nil
	}
	batch := make([]*sarama.ProducerMessage, len(out))
	for i, e := range out {
		contentType := "application/json"
		if e.record == checkpoint {
			contentType = "text/plain"
		}
		batch[i] = &sarama.ProducerMessage{
			Topic: t.names[e.record],
			Key:   sarama.ByteEncoder(e.key),
			Value: sarama.ByteEncoder(e.value),
			// The id is the one that Watermill's own clients look for.
			Headers: []sarama.RecordHeader{
				{Key: []byte(wmkafka.UUIDHeaderKey), Value: []byte(uuid.NewString())},
				{Key: []byte("content-type"), Value: []byte(contentType)},
			},
		}
	}
	before := time.Now()
	if err := t.produce(ctx, batch); err != nil {
		return err
	}
	t.compareClock(before, time.Now(), batch[len(batch)-1])
	for _, m := range batch {
		t.stats[m.Topic].sent.Add(1)
	}
	return nil
}

// produce sends records. The producer knows no context, so what is left of a batch when
// ctx ends is sent, or given up, by itself.
func (t *Transport) produce(ctx context.Context, batch []*sarama.ProducerMessage) error {
	if err := ctx.Err(); err != nil {
		return t.explain("", err)
	}
	answer := make(chan error, 1)
	go func() { answer <- t.trySend(ctx, batch) }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return t.explain("", ctx.Err())
	}
}

// trySend sends a batch, a second time over a new link where the producer has given up.
func (t *Transport) trySend(ctx context.Context, batch []*sarama.ProducerMessage) error {
	for renewed := false; ; renewed = true {
		l, err := t.acquire()
		if err != nil {
			return err
		}
		err = l.producer.SendMessages(batch)
		t.release(l)
		var failed sarama.ProducerErrors
		if !errors.As(err, &failed) || len(failed) == 0 {
			return err
		}
		if renewed || !slices.ContainsFunc(failed, func(e *sarama.ProducerError) bool { return gaveUp(e.Err) }) {
			topic, err := failed[0].Msg.Topic, failed[0].Err
			if errors.Is(err, sarama.ErrTopicAuthorizationFailed) {
				return t.deniedTo("write " + topic)
			}
			return t.explain(topic, err)
		}
		if err := t.renew(ctx, l); err != nil {
			return err
		}
		for i, m := range batch { // the old producer looks at the old ones a little longer
			batch[i] = &sarama.ProducerMessage{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: m.Headers}
		}
	}
}

// The headers of a dead letter.
const (
	headerPrefix    = "dlq_"
	headerTopic     = headerPrefix + "topic"
	headerPartition = headerPrefix + "partition"
	headerOffset    = headerPrefix + "offset"
	headerError     = headerPrefix + "error"
	headerTruncated = headerPrefix + "truncated"
)

const (
	// truncatedTo is what is kept of a dead letter that the broker refuses as too large.
	truncatedTo = 16 << 10
	// longestReason is what is kept of a reason.
	longestReason = 1 << 10
)

// deadLetter sends a record as it came to its topic's dead-letter topic, with the reason.
// Nil is: it is there, or nobody will take it and a log line says so.
func (t *Transport) deadLetter(ctx context.Context, m *sarama.ConsumerMessage, reason error) error {
	why := reason.Error()
	if len(why) > longestReason {
		why = why[:longestReason]
	}
	letter := &sarama.ProducerMessage{
		Topic: m.Topic + deadLetters,
		Key:   sarama.ByteEncoder(m.Key), // null stays null
		Value: sarama.ByteEncoder(m.Value),
		Headers: []sarama.RecordHeader{
			{Key: []byte(headerTopic), Value: []byte(m.Topic)},
			{Key: []byte(headerPartition), Value: []byte(strconv.Itoa(int(m.Partition)))},
			{Key: []byte(headerOffset), Value: []byte(strconv.FormatInt(m.Offset, 10))},
			{Key: []byte(headerError), Value: []byte(strings.ToValidUTF8(why, "\uFFFD"))},
		},
	}
	own := letter.Headers
	for _, h := range m.Headers {
		if h != nil && !strings.HasPrefix(string(h.Key), headerPrefix) {
			letter.Headers = append(letter.Headers, *h)
		}
	}
	err := t.produce(ctx, []*sarama.ProducerMessage{letter})
	if isTooLarge(err) {
		letter = &sarama.ProducerMessage{
			Topic:   letter.Topic,
			Key:     sarama.ByteEncoder(m.Key[:min(len(m.Key), truncatedTo)]),
			Value:   sarama.ByteEncoder(m.Value[:min(len(m.Value), truncatedTo)]),
			Headers: append(own[:len(own):len(own)], sarama.RecordHeader{Key: []byte(headerTruncated), Value: []byte("true")}),
		}
		err = t.produce(ctx, []*sarama.ProducerMessage{letter})
	}
	switch {
	case isTooLarge(err):
		t.log.Error("a record can't be understood, and its dead-letter topic takes not even the beginning of it: it is lost",
			"topic", m.Topic, "partition", m.Partition, "offset", m.Offset, "reason", why, "error", err)
		return nil
	case errors.Is(err, errNoTopic):
		return errors.Join(err, t.ask(ctx, func(client sarama.Client, admin sarama.ClusterAdmin) error {
			return t.ensure(client, admin, map[string]wantedTopic{letter.Topic: deadLetterTopic})
		}))
	}
	return err
}

// isTooLarge tells whether a record was refused for its size: by the broker, or before it
// left because no broker takes that much.
func isTooLarge(err error) bool {
	var config sarama.ConfigurationError
	return errors.Is(err, sarama.ErrMessageSizeTooLarge) ||
		errors.As(err, &config) && strings.Contains(string(config), "MaxMessageBytes")
}
