package eventjson

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// ErrUnknownEvent tells of an event, or of a version of one, that the table does not have:
// a newer program wrote it.
var ErrUnknownEvent = errors.New("unknown event: a newer version of the program wrote it, or the log is not ours")

var errNoEvents = errors.New("a part has no events")

// Codec is central.Codec. Its zero value is ready; it is safe for use from several
// goroutines.
type Codec struct{}

var _ central.Codec = Codec{}

// part is a part's text; D is an event's data, as it is written or as it is read.
type part[D any] struct {
	Commit uuid.UUID         `json:"commit"`
	At     domain.UnixMillis `json:"at"`
	Cause  *cause            `json:"cause,omitempty"`
	Events []event[D]        `json:"events"`
}

type cause struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp domain.UnixMillis `json:"timestamp"`
	Digest    string            `json:"digest"`
}

type event[D any] struct {
	Type    string `json:"type"`
	Version int    `json:"v"`
	Data    D      `json:"data"`
}

var (
	strict  = json.RejectUnknownMembers(true)
	scalars = json.JoinOptions(
		json.WithMarshalers(json.JoinMarshalers(
			json.MarshalToFunc(func(e *jsontext.Encoder, d time.Duration) error {
				return e.WriteToken(jsontext.Int(d.Milliseconds()))
			}),
			json.MarshalToFunc(func(e *jsontext.Encoder, s session.Source) error {
				return json.MarshalEncode(e, source(s))
			}),
			json.MarshalToFunc(func(e *jsontext.Encoder, i session.Ignored) error {
				return json.MarshalEncode(e, ignored(i))
			}),
		)),
		json.WithUnmarshalers(json.JoinUnmarshalers(
			json.UnmarshalFromFunc(func(d *jsontext.Decoder, to *time.Duration) error {
				var millis int64
				if err := json.UnmarshalDecode(d, &millis); err != nil {
					return err
				}
				if *to = time.Duration(millis) * time.Millisecond; to.Milliseconds() != millis {
					return fmt.Errorf("%d ms is no duration", millis)
				}
				return nil
			}),
			json.UnmarshalFromFunc(func(d *jsontext.Decoder, to *session.Source) error {
				return json.UnmarshalDecode(d, (*source)(to))
			}),
			json.UnmarshalFromFunc(func(d *jsontext.Decoder, to *session.Ignored) error {
				return json.UnmarshalDecode(d, (*ignored)(to))
			}),
		)),
	)
)

// Encode is central.Codec's.
func (Codec) Encode(e central.Envelope) ([]byte, error) {
	if len(e.Events) == 0 {
		return nil, errNoEvents
	}
	p := part[any]{Commit: e.Commit, At: e.At, Events: make([]event[any], len(e.Events))}
	if !e.Cause.IsZero() {
		p.Cause = &cause{e.Cause.Topic, e.Cause.Partition, e.Cause.Offset, e.CausedAt, hex.EncodeToString(e.Cause.Digest[:])}
	}
	for i, ev := range e.Events {
		entry, ok := byType[reflect.TypeOf(ev)]
		if !ok {
			return nil, fmt.Errorf("%w: %T", ErrUnknownEvent, ev)
		}
		p.Events[i] = event[any]{entry.name.Type, entry.name.Version, entry.encode(ev)}
	}
	body, err := json.Marshal(p, scalars)
	if err != nil {
		return nil, fmt.Errorf("encode a part of the event log: %w", err)
	}
	return body, nil
}

// Decode is central.Codec's.
func (Codec) Decode(body []byte) (central.Envelope, error) {
	var p part[jsontext.Value]
	if err := json.Unmarshal(body, &p, strict); err != nil {
		return central.Envelope{}, fmt.Errorf("decode a part of the event log: %w", err)
	}
	if len(p.Events) == 0 {
		return central.Envelope{}, fmt.Errorf("decode a part of the event log: %w", errNoEvents)
	}
	e := central.Envelope{Commit: p.Commit, At: p.At, Events: make([]any, len(p.Events))}
	if p.Cause != nil {
		e.Cause = eventlog.Cause{Topic: p.Cause.Topic, Partition: p.Cause.Partition, Offset: p.Cause.Offset}
		e.CausedAt = p.Cause.Timestamp
		digest, err := hex.DecodeString(p.Cause.Digest)
		if err != nil || len(digest) != len(e.Cause.Digest) {
			return central.Envelope{}, fmt.Errorf("decode a part of the event log: the cause's digest is not 8 bytes in hex: %q", p.Cause.Digest)
		}
		copy(e.Cause.Digest[:], digest)
	}
	for i, ev := range p.Events {
		entry, err := lookUp(name{ev.Type, ev.Version})
		if err != nil {
			return central.Envelope{}, err
		}
		if ev.Data.Kind() != jsontext.KindBeginObject {
			return central.Envelope{}, fmt.Errorf("decode %s version %d: its data is no object", ev.Type, ev.Version)
		}
		if e.Events[i], err = entry.decode(ev.Data); err != nil {
			return central.Envelope{}, fmt.Errorf("decode %s version %d: %w", ev.Type, ev.Version, err)
		}
	}
	return e, nil
}
