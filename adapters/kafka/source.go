package kafka

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/IBM/sarama"

	"evcharging/application/message"
	"evcharging/domain"
)

// sourceOf says where a record came from.
func (t *Transport) sourceOf(m *sarama.ConsumerMessage) message.Source {
	at := instantOf(m)
	return message.Source{
		Topic: m.Topic, Partition: m.Partition, Offset: m.Offset,
		Timestamp: at, Trusted: t.trusts(m.Topic), Digest: digest(at, m.Key, m.Value),
	}
}

// digest is message.Source's Digest.
func digest(at domain.UnixMillis, key, value []byte) (short [8]byte) {
	h := sha256.New()
	var room [16]byte
	head := binary.BigEndian.AppendUint64(room[:0], uint64(at))
	_, _ = h.Write(binary.BigEndian.AppendUint64(head, length(key)))
	_, _ = h.Write(key)
	_, _ = h.Write(binary.BigEndian.AppendUint64(room[:0], length(value)))
	_, _ = h.Write(value)
	copy(short[:], h.Sum(nil))
	return short
}

// length is that of a key or value; a null's is all ones.
func length(b []byte) uint64 {
	if b == nil {
		return 1<<64 - 1
	}
	return uint64(len(b))
}
