package bbolt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"evcharging/application/eventlog"
)

// The index of a segment is a bbolt file beside it, written once. Three buckets:
//
//	streams  stream → its entry, and where its parts are that are no samples
//	parts    stream → where all its parts are
//	causes   topic, partition, offset and digest of the first of a block of causes → the
//	         block: offset, digest and position of each, in order
//
// Each value is sealed with its checksum. An index holds nothing that its segment doesn't:
// what is lost is made again.
var (
	streamsBucket = []byte("streams")
	partsBucket   = []byte("parts")
	causesBucket  = []byte("causes")
)

const (
	causeBlock  = 100
	causeLength = 8 + 8 + 8
)

// writeIndex fills a new, empty index.
func writeIndex(tx *bolt.Tx, t *tail) error {
	streams, err := sequential(tx, streamsBucket)
	if err != nil {
		return err
	}
	parts, err := sequential(tx, partsBucket)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		e := t.entries[name]
		if err := putSealed(streams, []byte(name), e.encode()); err != nil {
			return err
		}
		if err := putSealed(parts, []byte(name), e.encodeParts()); err != nil {
			return err
		}
	}
	causes, err := sequential(tx, causesBucket)
	if err != nil {
		return err
	}
	partitions := slices.SortedFunc(maps.Keys(t.causes), func(a, b partition) int {
		return cmp.Or(cmp.Compare(len(a.topic), len(b.topic)), strings.Compare(a.topic, b.topic), cmp.Compare(uint32(a.number), uint32(b.number)))
	})
	for _, p := range partitions {
		keys := slices.SortedFunc(maps.Keys(t.causes[p]), causeKey.compare)
		for block := range slices.Chunk(keys, causeBlock) {
			value := make([]byte, 0, len(block)*causeLength)
			for _, k := range block {
				value = binary.BigEndian.AppendUint64(k.append(value), uint64(t.causes[p][k]))
			}
			if err := putSealed(causes, block[0].append(p.prefix()), value); err != nil {
				return err
			}
		}
	}
	return nil
}

// sequential makes a bucket that is filled in order.
func sequential(tx *bolt.Tx, name []byte) (*bolt.Bucket, error) {
	b, err := tx.CreateBucket(name)
	if err != nil {
		return nil, err
	}
	b.FillPercent = 1
	return b, nil
}

func putSealed(b *bolt.Bucket, key, value []byte) error { return b.Put(key, seal(key, value)) }

// prefix begins the keys of a partition's causes.
func (p partition) prefix() []byte {
	b := append([]byte{byte(len(p.topic))}, p.topic...)
	return binary.BigEndian.AppendUint32(b, uint32(p.number))
}

func (k causeKey) append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(k.offset)), k.digest[:]...)
}

func (k causeKey) compare(other causeKey) int {
	return cmp.Or(cmp.Compare(uint64(k.offset), uint64(other.offset)), bytes.Compare(k.digest[:], other.digest[:]))
}

// findCause is the position of a cause's commit, 0 where the index has none.
func findCause(tx *bolt.Tx, p partition, k causeKey) (eventlog.Position, error) {
	prefix := p.prefix()
	wanted := k.append(prefix)
	c := tx.Bucket(causesBucket).Cursor()
	key, value := c.Seek(wanted)
	if !bytes.Equal(key, wanted) {
		// The block that may hold it is the one that begins before it.
		if key == nil {
			key, value = c.Last()
		} else {
			key, value = c.Prev()
		}
	}
	if !bytes.HasPrefix(key, prefix) {
		return 0, nil
	}
	block, err := unseal(key, value)
	if err != nil {
		return 0, err
	}
	for wanted = wanted[len(prefix):]; len(block.rest) > 0; {
		found := bytes.Equal(block.bytes(uint64(len(wanted))), wanted)
		if position := eventlog.Position(block.uint64()); found {
			return position, nil
		}
	}
	return 0, nil
}

// findEntry is a stream's entry without its parts; ok is false where the index has none.
func findEntry(tx *bolt.Tx, name eventlog.Stream) (e entry, ok bool, err error) {
	key := []byte(name)
	sealed := tx.Bucket(streamsBucket).Get(key)
	if sealed == nil {
		return entry{}, false, nil
	}
	r, err := unseal(key, sealed)
	if err != nil {
		return entry{}, false, err
	}
	e.state = readState(&r)
	e.previous = eventlog.Position(r.uint64())
	e.previousLifecycle = eventlog.Position(r.uint64())
	e.first = eventlog.Version(r.uvarint())
	position := e.segment
	for range r.uvarint() {
		position += eventlog.Position(r.uvarint())
		if r.short {
			return entry{}, false, errSeal
		}
		e.lasting = append(e.lasting, position)
	}
	return e, true, nil
}

// findParts is where a stream's parts are.
func findParts(tx *bolt.Tx, name eventlog.Stream) (parts []place, err error) {
	key := []byte(name)
	r, err := unseal(key, tx.Bucket(partsBucket).Get(key))
	if err != nil {
		return nil, err
	}
	at := place{position: eventlog.Position(r.uvarint()), last: eventlog.Version(r.uvarint())}
	for len(r.rest) > 0 {
		at.position += eventlog.Position(r.uvarint())
		at.last += eventlog.Version(r.uvarint())
		parts = append(parts, at)
	}
	if r.short {
		return nil, errSeal
	}
	return parts, nil
}

func (e *entry) encode() []byte {
	b := e.append(nil)
	b = binary.BigEndian.AppendUint64(b, uint64(e.previous))
	b = binary.BigEndian.AppendUint64(b, uint64(e.previousLifecycle))
	b = binary.AppendUvarint(b, uint64(e.first))
	b = binary.AppendUvarint(b, uint64(len(e.lasting)))
	position := e.segment
	for _, p := range e.lasting {
		b = binary.AppendUvarint(b, uint64(p-position))
		position = p
	}
	return b
}

func (e *entry) encodeParts() []byte {
	at := place{position: e.segment, last: e.first - 1}
	b := binary.AppendUvarint(nil, uint64(at.position))
	b = binary.AppendUvarint(b, uint64(at.last))
	for _, p := range e.parts {
		b = binary.AppendUvarint(b, uint64(p.position-at.position))
		b = binary.AppendUvarint(b, uint64(p.last-at.last))
		at = p
	}
	return b
}

func (s state) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(s.head.Version))
	b = append(b, s.head.Hash[:]...)
	b = append(b, byte(s.head.Kind))
	for _, p := range []eventlog.Position{s.segment, s.lifecycle, s.sample, s.last, s.damage} {
		b = binary.BigEndian.AppendUint64(b, uint64(p))
	}
	return b
}

func readState(r *reader) (s state) {
	s.head.Version = eventlog.Version(r.uint64())
	copy(s.head.Hash[:], r.bytes(uint64(len(s.head.Hash))))
	s.head.Kind = eventlog.Kind(r.byte())
	for _, p := range []*eventlog.Position{&s.segment, &s.lifecycle, &s.sample, &s.last, &s.damage} {
		*p = eventlog.Position(r.uint64())
	}
	return s
}
