// Package jsonl is the form that the event log has outside a database: JSON Lines, a
// commit a line, between a header and a trailer by which a reader knows that they are
// whole (docs/log-format.md).
//
//	{"position":7,"id":"…","at":…,"parts":[{"stream":"point-CP-001","version":3,"events":2,
//	 "kind":"lifecycle","prev":"…","hash":"…","body":{…}}]}
//
// body is the part's canonical text, byte for byte: the hash is over it. A commit that
// has a cause has it beside its id, as "cause".
package jsonl

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

var (
	// ErrLine tells of a line that is no commit.
	ErrLine = errors.New("not a line of an event log")
	// ErrText tells of a part whose text a line can't carry byte for byte: it is no JSON, or
	// has white space.
	ErrText = errors.New("the part's text can't stand in a line as it is")
)

type line struct {
	Position eventlog.Position `json:"position"`
	ID       uuid.UUID         `json:"id"`
	At       domain.UnixMillis `json:"at"`
	Cause    *cause            `json:"cause,omitempty"`
	Parts    []part            `json:"parts"`
}

type cause struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Digest    string `json:"digest"`
}

type part struct {
	Stream  eventlog.Stream  `json:"stream"`
	Version eventlog.Version `json:"version"`
	Events  int              `json:"events"`
	Kind    string           `json:"kind"`
	Prev    string           `json:"prev"`
	Hash    string           `json:"hash"`
	Body    jsontext.Value   `json:"body"`
}

var kinds = map[eventlog.Kind]string{
	eventlog.Lifecycle: "lifecycle", eventlog.Sample: "sample", eventlog.Closing: "closing",
}

// Encode is the line of a commit, its line feed included. ErrText where a line can't
// carry it.
func Encode(c eventlog.Positioned) ([]byte, error) {
	l := line{Position: c.Position, ID: c.ID, At: c.At, Parts: make([]part, len(c.Parts))}
	if !c.Cause.IsZero() {
		l.Cause = &cause{c.Cause.Topic, c.Cause.Partition, c.Cause.Offset, hex.EncodeToString(c.Cause.Digest[:])}
	}
	for i, p := range c.Parts {
		l.Parts[i] = part{
			p.Stream, p.Version, p.Events, kinds[p.Kind],
			hex.EncodeToString(p.Prev[:]), hex.EncodeToString(p.Hash[:]), p.Body,
		}
	}
	text, err := json.Marshal(l, jsontext.PreserveRawStrings(true))
	if err != nil {
		return nil, fmt.Errorf("write commit %s as a line: %w: %w", c.ID, ErrText, err)
	}
	for _, p := range c.Parts {
		if !bytes.Contains(text, p.Body) {
			return nil, fmt.Errorf("write commit %s as a line: %w: %s at version %d", c.ID, ErrText, p.Stream, p.Version)
		}
	}
	return append(text, '\n'), nil
}

// Decode reads a line. ErrLine, with the reason, where it is none; whether its hashes
// are those of its content is Commit.Check's to say.
func Decode(text []byte) (eventlog.Positioned, error) {
	var l line
	if err := json.Unmarshal(text, &l, json.RejectUnknownMembers(true)); err != nil {
		return eventlog.Positioned{}, fmt.Errorf("%w: %w", ErrLine, err)
	}
	c := eventlog.Positioned{Position: l.Position, Commit: eventlog.Commit{ID: l.ID, At: l.At}}
	if l.Cause != nil {
		c.Cause = eventlog.Cause{Topic: l.Cause.Topic, Partition: l.Cause.Partition, Offset: l.Cause.Offset}
		if err := unhex(c.Cause.Digest[:], l.Cause.Digest); err != nil {
			return eventlog.Positioned{}, err
		}
	}
	for _, p := range l.Parts {
		read := eventlog.Part{Stream: p.Stream, Version: p.Version, Events: p.Events, Body: p.Body}
		for kind, text := range kinds {
			if text == p.Kind {
				read.Kind = kind
			}
		}
		if read.Kind == 0 {
			return eventlog.Positioned{}, fmt.Errorf("%w: unknown kind %q", ErrLine, p.Kind)
		}
		if err := errors.Join(unhex(read.Prev[:], p.Prev), unhex(read.Hash[:], p.Hash)); err != nil {
			return eventlog.Positioned{}, err
		}
		c.Parts = append(c.Parts, read)
	}
	return c, nil
}

func unhex(to []byte, text string) error {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(to) {
		return fmt.Errorf("%w: %q is not %d bytes in hex", ErrLine, text, len(to))
	}
	copy(to, b)
	return nil
}
