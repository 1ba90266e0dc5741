package bbolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// A record is a commit as it is stored: a header, then the bodies, verbatim and one
// after another. Whoever indexes reads headers only. Numbers are big-endian; "var" is an
// unsigned varint.
//
//	format      1 byte    1
//	checksum    4 bytes   CRC-32C of the rest of the header
//	length      4 bytes   of the rest of the header
//	id          16 bytes
//	at          8 bytes   Unix milliseconds
//	caused      1 byte    0: no cause, and the next five are absent; 1
//	topic       1 byte its length, its bytes
//	partition   4 bytes
//	offset      8 bytes
//	digest      8 bytes
//	parts       var
//	each part   stream (1 byte its length, its bytes), version (var), events (var), kind
//	            (1 byte), prev (32 bytes), hash (32 bytes), length of its body (var)
//
// A record of format 2 stands where samples were that were moved to an archive: in the place
// of its position, and of those that follow it.
//
//	format, checksum, length   as above, format is 2
//	positions   var       how many it stands for
//	ranges      var       0 or 1
//	each range  stream (1 byte its length, its bytes), version of its first event (var) and
//	            of its last (var), prev (32 bytes), hash (32 bytes), the archive's file (1
//	            byte its length, its bytes)
//
// A range stands for one or more parts one after the other. It is in the record that has the
// first of them; the others may lie behind that, up to the end of the segment.
const (
	recordFormat = 1
	movedFormat  = 2
	recordPrefix = 1 + 4 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errRecord = errors.New("the record can't be decoded")

// record is a decoded header. Its byte slices point into what was decoded.
type record struct {
	id     uuid.UUID
	at     domain.UnixMillis
	caused bool
	topic  []byte
	// cause lacks the topic.
	cause eventlog.Cause
	parts []recordPart
	// moved is how many positions the record stands for whose commits were moved to an
	// archive; 0 where it is a commit. Its parts are ranges then.
	moved eventlog.Position
	// certain tells that the parts' streams are all of the commit's, also where something else
	// of it is not as it was written.
	certain bool
}

type recordPart struct {
	stream     []byte
	version    eventlog.Version
	events     int
	kind       eventlog.Kind
	prev, hash []byte
	body       []byte
	archive    []byte // of a range
}

// encode is the record of a commit that passed Check.
func encode(c eventlog.Commit) []byte {
	size := recordPrefix + 16 + 8 + 1 + 1 + len(c.Cause.Topic) + 4 + 8 + 8 + binary.MaxVarintLen64
	for _, p := range c.Parts {
		size += 1 + len(p.Stream) + 3*binary.MaxVarintLen64 + 1 + 2*len(p.Hash) + len(p.Body)
	}
	b := make([]byte, recordPrefix, size)
	b = append(b, c.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.At))
	if c.Cause.IsZero() {
		b = append(b, 0)
	} else {
		b = append(b, 1, byte(len(c.Cause.Topic)))
		b = append(b, c.Cause.Topic...)
		b = binary.BigEndian.AppendUint32(b, uint32(c.Cause.Partition))
		b = binary.BigEndian.AppendUint64(b, uint64(c.Cause.Offset))
		b = append(b, c.Cause.Digest[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Parts)))
	for _, p := range c.Parts {
		b = append(b, byte(len(p.Stream)))
		b = append(b, p.Stream...)
		b = binary.AppendUvarint(b, uint64(p.Version))
		b = binary.AppendUvarint(b, uint64(p.Events))
		b = append(b, byte(p.Kind))
		b = append(b, p.Prev[:]...)
		b = append(b, p.Hash[:]...)
		b = binary.AppendUvarint(b, uint64(len(p.Body)))
	}
	b[0] = recordFormat
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[recordPrefix:], castagnoli))
	binary.BigEndian.PutUint32(b[5:], uint32(len(b)-recordPrefix))
	for _, p := range c.Parts {
		b = append(b, p.Body...)
	}
	return b
}

// decode reads the header of a record into r, whose memory it uses again. Where it
// fails, r.parts are those that looked right: a guess at the streams that are concerned.
func (r *record) decode(value []byte) error {
	r.parts, r.moved, r.certain = r.parts[:0], 0, false
	if len(value) < recordPrefix {
		return fmt.Errorf("%w: it has %d bytes", errRecord, len(value))
	}
	if value[0] != recordFormat && value[0] != movedFormat {
		return fmt.Errorf("%w: its format is %d", errRecord, value[0])
	}
	length := int64(binary.BigEndian.Uint32(value[5:]))
	if length > int64(len(value)-recordPrefix) {
		return fmt.Errorf("%w: its header is cut off", errRecord)
	}
	header := reader{rest: value[recordPrefix : recordPrefix+length]}
	bodies := reader{rest: value[recordPrefix+length:]}
	intact := crc32.Checksum(header.rest, castagnoli) == binary.BigEndian.Uint32(value[1:])
	if value[0] == movedFormat {
		return r.decodeMoved(header, intact && len(bodies.rest) == 0)
	}

	copy(r.id[:], header.bytes(16))
	r.at = domain.UnixMillis(header.uint64())
	r.caused, r.topic, r.cause = header.byte() != 0, nil, eventlog.Cause{}
	if r.caused {
		r.topic = header.bytes(uint64(header.byte()))
		r.cause.Partition = int32(header.uint32())
		r.cause.Offset = int64(header.uint64())
		copy(r.cause.Digest[:], header.bytes(8))
	}
	parts := header.uvarint()
	for range min(parts, eventlog.MaxParts) {
		var p recordPart
		p.stream = header.bytes(uint64(header.byte()))
		p.version = eventlog.Version(header.uvarint())
		events := header.uvarint()
		p.events = int(min(events, eventlog.MaxEvents))
		p.kind = eventlog.Kind(header.byte())
		p.prev = header.bytes(uint64(len(eventlog.Hash{})))
		p.hash = header.bytes(uint64(len(eventlog.Hash{})))
		p.body = bodies.bytes(header.uvarint())
		if header.short || bodies.short || len(p.stream) == 0 || p.version == 0 || events < 1 || events > eventlog.MaxEvents ||
			p.kind < eventlog.Lifecycle || p.kind > eventlog.Closing || len(p.body) == 0 {
			return fmt.Errorf("%w: part %d is not whole", errRecord, len(r.parts))
		}
		r.parts = append(r.parts, p)
	}
	entire := !header.short && len(header.rest) == 0 && parts > 0 && parts <= eventlog.MaxParts
	r.certain = entire && (intact || len(bodies.rest) == 0 && r.hashed())
	switch {
	case !intact:
		return fmt.Errorf("%w: its header's checksum is wrong", errRecord)
	case !entire || len(bodies.rest) > 0:
		return fmt.Errorf("%w: it is not whole", errRecord)
	}
	return nil
}

// hashed tells whether the hash of each part is that of its content: so is its stream's name.
func (r *record) hashed() bool {
	for _, p := range r.parts {
		part := eventlog.Part{Stream: eventlog.Stream(p.stream), Version: p.version, Prev: eventlog.Hash(p.prev), Body: p.body}
		if part.Sum() != eventlog.Hash(p.hash) {
			return false
		}
	}
	return true
}

// decodeMoved reads the rest of a header that stands for what was moved. Of one that is not
// intact nothing is guessed.
func (r *record) decodeMoved(header reader, intact bool) error {
	r.at, r.caused, r.topic, r.cause = 0, false, nil, eventlog.Cause{}
	if !intact {
		return fmt.Errorf("%w: its header's checksum is wrong", errRecord)
	}
	r.moved = eventlog.Position(header.uvarint())
	for range header.uvarint() {
		var p recordPart
		p.stream = header.bytes(uint64(header.byte()))
		p.version = eventlog.Version(header.uvarint())
		p.events = int(eventlog.Version(header.uvarint()) - p.version + 1)
		p.kind = eventlog.Sample
		p.prev = header.bytes(uint64(len(eventlog.Hash{})))
		p.hash = header.bytes(uint64(len(eventlog.Hash{})))
		p.archive = header.bytes(uint64(header.byte()))
		if header.short || len(p.stream) == 0 || p.version == 0 || p.events < 1 {
			return fmt.Errorf("%w: range %d is not whole", errRecord, len(r.parts))
		}
		r.parts = append(r.parts, p)
	}
	if header.short || len(header.rest) > 0 || r.moved == 0 {
		return fmt.Errorf("%w: it is not whole", errRecord)
	}
	return nil
}

// encodeMoved is the record of so many positions, and of the range that begins there, if one does.
func encodeMoved(positions eventlog.Position, ranges ...*eventlog.ArchivedError) []byte {
	b := make([]byte, recordPrefix, recordPrefix+2*binary.MaxVarintLen64+200*len(ranges))
	b = binary.AppendUvarint(b, uint64(positions))
	b = binary.AppendUvarint(b, uint64(len(ranges)))
	for _, a := range ranges {
		b = append(b, byte(len(a.Stream)))
		b = append(b, a.Stream...)
		b = binary.AppendUvarint(b, uint64(a.From))
		b = binary.AppendUvarint(b, uint64(a.To))
		b = append(b, a.Prev[:]...)
		b = append(b, a.Hash[:]...)
		b = append(b, byte(len(a.Archive)))
		b = append(b, a.Archive...)
	}
	b[0] = movedFormat
	binary.BigEndian.PutUint32(b[1:], crc32.Checksum(b[recordPrefix:], castagnoli))
	binary.BigEndian.PutUint32(b[5:], uint32(len(b)-recordPrefix))
	return b
}

// archived is what a record that stands for what was moved says of a stream, or of any; nil
// where it says nothing of it.
func (r *record) archived(stream eventlog.Stream) error {
	for _, p := range r.parts {
		if stream == "" || string(p.stream) == string(stream) {
			return &eventlog.ArchivedError{
				Stream: eventlog.Stream(p.stream), From: p.version, To: p.version + eventlog.Version(p.events) - 1,
				Prev: eventlog.Hash(p.prev), Hash: eventlog.Hash(p.hash), Archive: string(p.archive),
			}
		}
	}
	return nil
}

// commit is the record as a commit, whole or, where stream is not empty, with that
// stream's part alone. Its bodies point into what was decoded. It is nil, errRecord or an
// error that says which part's hash is wrong.
func (r *record) commit(stream eventlog.Stream) (eventlog.Commit, error) {
	if r.moved > 0 {
		err := r.archived(stream)
		if err == nil && stream != "" {
			err = fmt.Errorf("%w: it has no part of the stream", errRecord)
		}
		return eventlog.Commit{}, err
	}
	c := eventlog.Commit{ID: r.id, At: r.at}
	if r.caused {
		c.Cause = r.cause
		c.Cause.Topic = string(r.topic)
	}
	c.Parts = make([]eventlog.Part, 0, len(r.parts))
	for _, p := range r.parts {
		if stream != "" && string(p.stream) != string(stream) {
			continue
		}
		part := eventlog.Part{
			Stream: stream, Version: p.version, Events: p.events, Kind: p.kind,
			Prev: eventlog.Hash(p.prev), Hash: eventlog.Hash(p.hash), Body: p.body[:len(p.body):len(p.body)],
		}
		if stream == "" {
			part.Stream = eventlog.Stream(p.stream)
		}
		if part.Sum() != part.Hash {
			return eventlog.Commit{}, &hashError{part.Stream, part.Version}
		}
		c.Parts = append(c.Parts, part)
	}
	if len(c.Parts) == 0 {
		return eventlog.Commit{}, fmt.Errorf("%w: it has no part of the stream", errRecord)
	}
	return c, nil
}

// hashError says that a part is not what was written.
type hashError struct {
	stream  eventlog.Stream
	version eventlog.Version
}

func (e *hashError) Error() string {
	return fmt.Sprintf("the hash of the part at version %d is not that of its content", e.version)
}

// reader takes a buffer apart. Once it was asked for more than there is, it is short and
// gives zeros.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.short, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.short, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// seal puts a checksum of key and value before the value, for bbolt has none of its own.
func seal(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(value)), sum), value...)
}

var errSeal = errors.New("the checksum of its index is wrong")

// unseal is the value that seal was given.
func unseal(key, sealed []byte) (reader, error) {
	if len(sealed) < 4 || crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, sealed[4:]) != binary.BigEndian.Uint32(sealed) {
		return reader{}, errSeal
	}
	return reader{rest: bytes.Clone(sealed[4:])}, nil
}

// positionKey is the key of a commit.
func positionKey(p eventlog.Position) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(p))
}
