package mongo

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// document is a commit as it is stored. doc.go says what each field is for.
type document struct {
	ID        bson.Binary    `bson:"_id"`
	Position  int64          `bson:"position"`
	At        int64          `bson:"at"`
	Time      *bson.DateTime `bson:"time,omitempty"`
	Cause     string         `bson:"cause,omitempty"`
	Keys      []string       `bson:"keys"`
	Lifecycle []string       `bson:"lifecycle,omitempty"`
	Closing   []string       `bson:"closing,omitempty"`
	Sample    string         `bson:"sample,omitempty"`
	Parts     []documentPart `bson:"parts"`
}

type documentPart struct {
	Stream  string      `bson:"stream"`
	Version int64       `bson:"version"`
	Events  int32       `bson:"events"`
	Kind    string      `bson:"kind"`
	Nth     int64       `bson:"nth"`
	Prev    bson.Binary `bson:"prev"`
	Hash    bson.Binary `bson:"hash"`
	Body    any         `bson:"body"`
}

var kinds = map[eventlog.Kind]string{
	eventlog.Lifecycle: "lifecycle", eventlog.Sample: "sample", eventlog.Closing: "closing",
}

// key names a part by its stream and the version of its first event, in the order of
// versions.
func key(stream eventlog.Stream, version eventlog.Version) string {
	return fmt.Sprintf("%s@%020d", stream, uint64(version))
}

// parseKey takes a key apart.
func parseKey(k string) (eventlog.Stream, eventlog.Version, bool) {
	i := strings.LastIndexByte(k, '@')
	if i < 0 {
		return "", 0, false
	}
	version, err := strconv.ParseUint(k[i+1:], 10, 64)
	return eventlog.Stream(k[:i]), eventlog.Version(version), err == nil
}

func kindOf(name string) eventlog.Kind {
	for kind, text := range kinds {
		if text == name {
			return kind
		}
	}
	return 0
}

func idOf(id uuid.UUID) bson.Binary {
	return bson.Binary{Subtype: bson.TypeBinaryUUID, Data: id[:]}
}

// encode is the document of a commit. nth are, for each part, how many of its stream's
// parts are no samples, itself included.
func encode(c eventlog.Commit, nth []int64) *document {
	d := &document{ID: idOf(c.ID), At: int64(c.At), Keys: make([]string, len(c.Parts)), Parts: make([]documentPart, len(c.Parts))}
	if year := time.UnixMilli(d.At).UTC().Year(); year >= 1 && year <= 9999 { // beyond, some tools can't read it
		d.Time = new(bson.DateTime(c.At))
	}
	if !c.Cause.IsZero() {
		d.Cause = c.Cause.String()
	}
	for i, p := range c.Parts {
		d.Keys[i] = key(p.Stream, p.Version)
		stored := documentPart{
			Stream: string(p.Stream), Version: int64(p.Version), Events: int32(p.Events), Kind: kinds[p.Kind], Nth: nth[i],
			Prev: bson.Binary{Data: bytes.Clone(p.Prev[:])}, Hash: bson.Binary{Data: bytes.Clone(p.Hash[:])},
		}
		// A text that is none would not come back as it was.
		if utf8.Valid(p.Body) {
			stored.Body = string(p.Body)
		} else {
			stored.Body = bson.Binary{Data: bytes.Clone(p.Body)}
		}
		d.Parts[i] = stored
	}
	d.Lifecycle, d.Closing, d.Sample = marks(c.Parts)
	return d
}

// marks are what finds a stream's parts without its samples: lifecycle has the streams of
// all parts, closing those of the parts that close; where a commit is a sample alone, and
// nothing else, its stream is sample.
func marks(parts []eventlog.Part) (lifecycle, closing []string, sample string) {
	if len(parts) == 1 && parts[0].Kind == eventlog.Sample {
		return nil, nil, string(parts[0].Stream)
	}
	for _, p := range parts {
		lifecycle = append(lifecycle, string(p.Stream))
		if p.Kind == eventlog.Closing {
			closing = append(closing, string(p.Stream))
		}
	}
	return lifecycle, closing, ""
}

// parseCause reads what Cause.String writes. The topic may have any character.
func parseCause(text string) (c eventlog.Cause, err error) {
	hash, at := strings.LastIndexByte(text, '#'), strings.LastIndexByte(text, '@')
	if hash < 0 || at < 0 || hash < at {
		return c, errors.New("it is no cause")
	}
	slash := strings.LastIndexByte(text[:at], '/')
	if slash < 0 {
		return c, errors.New("it is no cause")
	}
	partition, err1 := strconv.ParseInt(text[slash+1:at], 10, 32)
	offset, err2 := strconv.ParseInt(text[at+1:hash], 10, 64)
	digest, err3 := hex.DecodeString(text[hash+1:])
	c = eventlog.Cause{Topic: text[:slash], Partition: int32(partition), Offset: offset}
	copy(c.Digest[:], digest)
	if err := errors.Join(err1, err2, err3); err != nil || c.String() != text {
		return c, errors.New("it is no cause")
	}
	return c, nil
}

// stored is a commit as it was read.
type stored struct {
	eventlog.Positioned
	// nth is, for each part, how many of its stream's parts up to it are no samples.
	nth []int64
}

// head is the end of the stream with the stored part i, as far as the part itself tells.
func (s stored) head(i int) head {
	p := s.Parts[i]
	return head{version: p.Last(), hash: p.Hash, position: s.Position, nth: s.nth[i]}
}

// decode reads a document: all of its parts, or, where stream is not empty, the part of
// that stream alone.
func decode(raw bson.Raw, stream eventlog.Stream) (stored, *eventlog.DamagedError) {
	f := fields{raw: raw}
	s := stored{}
	id := f.binary("_id", bson.TypeBinaryUUID, len(uuid.UUID{}))
	where := "a document of events"
	if f.err == nil {
		s.ID = uuid.UUID(id)
		where = fmt.Sprintf("document %s of events", s.ID)
	}
	s.Position = eventlog.Position(f.integer("position", 1, math.MaxInt64))
	position := s.Position
	if f.err != nil {
		position = 0
	}
	damaged := func(stream eventlog.Stream, reason error) (stored, *eventlog.DamagedError) {
		return stored{}, &eventlog.DamagedError{Where: where, Position: position, Stream: stream, Reason: reason}
	}
	s.At = domain.UnixMillis(f.integer("at", math.MinInt64, math.MaxInt64))
	if f.has("cause") {
		cause, err := parseCause(f.text("cause"))
		if f.err == nil && err != nil {
			f.err = fmt.Errorf("cause: %w", err)
		}
		s.Cause = cause
	}
	parts := f.array("parts")
	keys := f.array("keys")
	if f.err == nil && len(parts) == 0 {
		f.err = errors.New("it has no parts")
	}
	if f.err == nil && len(keys) != len(parts) {
		f.err = errors.New("it has not as many keys as parts")
	}
	if f.err != nil {
		return damaged(stream, f.err)
	}
	complete := true
	for i, value := range parts {
		part, ok := value.DocumentOK()
		if !ok {
			return damaged(stream, fmt.Errorf("part %d is no document", i))
		}
		f := fields{raw: part}
		name := eventlog.Stream(f.text("stream"))
		if f.err == nil && stream != "" && name != stream {
			complete = false
			continue
		}
		if archived := f.archived(name); archived != nil {
			return damaged(name, archived)
		}
		p, nth := f.part(name)
		if f.err == nil {
			if k, ok := keys[i].StringValueOK(); !ok || k != key(p.Stream, p.Version) {
				f.err = errors.New("its key is not that of the part")
			}
		}
		if f.err == nil && p.Hash != p.Sum() {
			f.err = errHash
		}
		if f.err != nil {
			return damaged(cmp.Or(stream, name), fmt.Errorf("part %d: %w", i, f.err))
		}
		s.Parts, s.nth = append(s.Parts, p), append(s.nth, nth)
	}
	if len(s.Parts) == 0 {
		return damaged(stream, errors.New("it has no part of the stream"))
	}
	if complete {
		lifecycle, closing, sample := marks(s.Parts)
		if !f.strings("lifecycle", lifecycle) || !f.strings("closing", closing) || f.optional("sample") != sample {
			return damaged(cmp.Or(stream, s.Parts[0].Stream), errors.New("lifecycle, closing and sample are not those of its parts"))
		}
	}
	return s, nil
}

// errHash tells of a part that was changed.
var errHash = errors.New("the hash is not that of the content")

// fields reads a document field by field. The first error stays.
type fields struct {
	raw bson.Raw
	err error
}

func (f *fields) has(name string) bool {
	_, err := f.raw.LookupErr(name)
	return err == nil
}

func (f *fields) value(name string) bson.RawValue {
	v, err := f.raw.LookupErr(name)
	if err != nil {
		f.wrong(name, "is missing")
	}
	return v
}

func (f *fields) wrong(name, what string) {
	if f.err == nil {
		f.err = fmt.Errorf("%s %s", name, what)
	}
}

// integer is a whole number: of 64 bits as it is written, of 32 as some tools write it.
func (f *fields) integer(name string, least, greatest int64) int64 {
	v := f.value(name)
	n, ok := v.Int64OK()
	if !ok {
		var short int32
		short, ok = v.Int32OK()
		n = int64(short)
	}
	if !ok || n < least || n > greatest {
		f.wrong(name, "is not a number that it can be")
		return 0
	}
	return n
}

func (f *fields) text(name string) string {
	text, ok := f.value(name).StringValueOK()
	if !ok {
		f.wrong(name, "is no text")
	}
	return text
}

func (f *fields) optional(name string) string {
	if !f.has(name) {
		return ""
	}
	return f.text(name)
}

func (f *fields) binary(name string, subtype byte, size int) []byte {
	kind, data, ok := f.value(name).BinaryOK()
	if !ok || kind != subtype || len(data) != size {
		f.wrong(name, "is not binary of its kind")
		return make([]byte, size)
	}
	return data
}

func (f *fields) array(name string) []bson.RawValue {
	array, ok := f.value(name).ArrayOK()
	if !ok {
		f.wrong(name, "is no array")
		return nil
	}
	values, err := array.Values()
	if err != nil {
		f.wrong(name, "is no array")
	}
	return values
}

// strings tells whether an array, absent where want has nothing, holds exactly these texts.
func (f *fields) strings(name string, want []string) bool {
	if !f.has(name) {
		return len(want) == 0
	}
	return slices.EqualFunc(f.array(name), want, func(v bson.RawValue, text string) bool {
		got, ok := v.StringValueOK()
		return ok && got == text
	})
}

// part reads a part of a stream.
func (f *fields) part(stream eventlog.Stream) (p eventlog.Part, nth int64) {
	p = eventlog.Part{
		Stream: stream, Version: eventlog.Version(f.integer("version", 1, math.MaxInt64)),
		Events: int(f.integer("events", 1, eventlog.MaxEvents)),
		Prev:   eventlog.Hash(f.binary("prev", bson.TypeBinaryGeneric, len(eventlog.Hash{}))),
		Hash:   eventlog.Hash(f.binary("hash", bson.TypeBinaryGeneric, len(eventlog.Hash{}))),
	}
	if p.Kind = kindOf(f.text("kind")); p.Kind == 0 {
		f.wrong("kind", "is unknown")
	}
	body := f.value("body")
	if text, ok := body.StringValueOK(); ok {
		p.Body = []byte(text)
	} else if _, data, ok := body.BinaryOK(); ok {
		p.Body = bytes.Clone(data)
	} else {
		f.wrong("body", "is neither text nor binary")
	}
	return p, f.integer("nth", 0, math.MaxInt64)
}
