package kafka

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"evcharging/domain"
)

// clockTolerance is how far this machine's clock may be from the broker's.
const clockTolerance = 5 * time.Second

// clock compares this machine's clock with the broker's.
//
// Kafka tells its time nowhere; only the records that it stamps have it. The first record
// that a program sends is stamped between two of its own instants, which bounds the
// difference to a round trip: a Monitor sends one at its start, a Driver and Central soon
// after, an Engine with its first sample. And each record that Follow reads was stamped
// before it came, and after the reading began where it lies beyond the end of that moment:
// what an Engine needs, which listens long before it speaks.
type clock struct {
	sent, warned atomic.Bool
}

// compareClock takes the time of the first record that was sent to a topic with the broker's time.
func (t *Transport) compareClock(before, after time.Time, m *sarama.ProducerMessage) {
	if !t.trusts(m.Topic) || t.clock.sent.Swap(true) {
		return
	}
	if !m.Timestamp.IsZero() { // the answer had it
		t.stampedBetween(m.Timestamp, before, after)
		return
	}
	topic, partition, offset := m.Topic, m.Partition, m.Offset
	go func() {
		l, err := t.acquire() // Close waits for this
		if err != nil {
			return
		}
		defer t.release(l)
		if at, ok := t.timeOf(topic, partition, offset); ok {
			t.stampedBetween(at, before, after)
		}
	}()
}

// timeOf reads a record's time. It has a client of its own, for a fetch holds up what else
// goes over its connection.
func (t *Transport) timeOf(topic string, partition int32, offset int64) (at time.Time, ok bool) {
	consumer, err := sarama.NewConsumer(t.brokers, t.settings(t.life))
	if err != nil {
		return at, false
	}
	defer consumer.Close()
	one, err := consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return at, false
	}
	defer one.Close()
	timer := time.NewTimer(ioTimeout)
	defer timer.Stop()
	select {
	case m := <-one.Messages():
		return m.Timestamp, m.Offset == offset
	case <-timer.C:
	case <-t.life.Done():
	}
	return at, false
}

// stampedBetween takes that the broker's clock said at somewhere between two instants of
// this machine's, and warns, once, where that is too far from it. A zero before is unknown.
func (t *Transport) stampedBetween(at, before, after time.Time) {
	var off string
	switch {
	case !before.IsZero() && before.Sub(at) > clockTolerance:
		off = fmt.Sprintf("%s ahead of", before.Sub(at).Round(time.Second))
	case at.Sub(after) > clockTolerance:
		off = fmt.Sprintf("%s behind", at.Sub(after).Round(time.Second))
	default:
		return
	}
	if !t.clock.warned.Swap(true) {
		t.log.Warn("this machine's clock is " + off + " the broker's: set it, or orders and requests are taken for too old or too new")
	}
}

// instantOf is a record's Kafka timestamp, 0 where it has none.
func instantOf(m *sarama.ConsumerMessage) domain.UnixMillis {
	if m.Timestamp.IsZero() {
		return 0
	}
	return domain.At(m.Timestamp)
}
