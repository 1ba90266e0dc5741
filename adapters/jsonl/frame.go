package jsonl

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// A log's lines stand between a header and a trailer (docs/log-format.md), so that whoever
// reads them knows whether they are all there. The first name in a line tells what it is.
const (
	format      = "evcharging log 1"
	formatTitle = "evcharging log "

	headerBegins  = `{"format":`
	commitBegins  = `{"position":`
	unreadBegins  = `{"unread":`
	trailerBegins = `{"commits":`
)

// Header is the first line: what the lines are of.
type Header struct {
	// Network is the id of the log's network; uuid.Nil where it is not known.
	Network uuid.UUID
	// From is the position that the lines begin at; 1 where they are the whole log.
	From eventlog.Position
	// First and Last are the times of the first and the last commit; 0 where there is none, or
	// where it can't be read.
	First, Last domain.UnixMillis
}

type headerLine struct {
	Format  string            `json:"format"`
	Network uuid.UUID         `json:"network,omitzero"`
	From    eventlog.Position `json:"from"`
	First   domain.UnixMillis `json:"first,omitzero"`
	Last    domain.UnixMillis `json:"last,omitzero"`
}

// Trailer is the last line: what the lines before it come to.
type Trailer struct {
	// Commits and Events are how many there are, Streams how many streams begin among them.
	Commits, Events, Streams uint64
	// Unread is how many commits could not be read when the lines were written.
	Unread uint64
	// Digest is that of the commits: the same wherever a log is kept, and in whatever order it
	// has them.
	Digest Digest
	// Text is the SHA-256 of the bytes of all lines before the trailer.
	Text [sha256.Size]byte
}

type trailerLine struct {
	Commits uint64 `json:"commits"`
	Events  uint64 `json:"events"`
	Streams uint64 `json:"streams"`
	Unread  uint64 `json:"unread,omitzero"`
	Digest  string `json:"digest"`
	Text    string `json:"sha256"`
}

// unreadLine stands in the place of what could not be read.
type unreadLine struct {
	Unread struct {
		Position eventlog.Position `json:"position,omitzero"`
		Stream   eventlog.Stream   `json:"stream,omitzero"`
		Reason   string            `json:"reason"`
	} `json:"unread"`
}

// ErrNewer tells that a newer program wrote the lines.
var ErrNewer = errors.New("a newer program wrote these lines: read them with that program")

func (h Header) line() ([]byte, error) {
	return newLine(headerLine{format, h.Network, h.From, h.First, h.Last})
}

func parseHeader(text []byte) (Header, error) {
	var title struct {
		Format string `json:"format"`
	}
	if json.Unmarshal(text, &title) == nil && title.Format != format && strings.HasPrefix(title.Format, formatTitle) {
		return Header{}, fmt.Errorf("%w (their format is %q)", ErrNewer, title.Format)
	}
	var l headerLine
	if err := json.Unmarshal(text, &l, json.RejectUnknownMembers(true)); err != nil {
		return Header{}, fmt.Errorf("%w: %w", ErrLine, err)
	}
	if l.Format != format || l.From == 0 {
		return Header{}, fmt.Errorf("%w: its format is %q, from position %d", ErrLine, l.Format, l.From)
	}
	return Header{l.Network, l.From, l.First, l.Last}, nil
}

func (t Trailer) line() ([]byte, error) {
	return newLine(trailerLine{t.Commits, t.Events, t.Streams, t.Unread, t.Digest.String(), hex.EncodeToString(t.Text[:])})
}

func parseTrailer(text []byte) (Trailer, error) {
	var l trailerLine
	if err := json.Unmarshal(text, &l, json.RejectUnknownMembers(true)); err != nil {
		return Trailer{}, fmt.Errorf("%w: %w", ErrLine, err)
	}
	t := Trailer{Commits: l.Commits, Events: l.Events, Streams: l.Streams, Unread: l.Unread}
	var digest [sha256.Size]byte
	if err := errors.Join(unhex(digest[:], l.Digest), unhex(t.Text[:], l.Text)); err != nil {
		return Trailer{}, err
	}
	t.Digest = digestOf(digest)
	return t, nil
}

// differs says what is another than a trailer has it; empty where nothing is.
func (t Trailer) differs(from Trailer) string {
	var others []string
	for _, c := range []struct {
		what        string
		has, should uint64
	}{
		{"commits", t.Commits, from.Commits},
		{"events", t.Events, from.Events},
		{"streams", t.Streams, from.Streams},
		{"commits that could not be read", t.Unread, from.Unread},
	} {
		if c.has != c.should {
			others = append(others, fmt.Sprintf("there are %d %s, and %d were written", c.has, c.what, c.should))
		}
	}
	switch {
	case len(others) > 0:
	case t.Digest != from.Digest:
		others = append(others, "the digest of the commits is another")
	case t.Text != from.Text:
		others = append(others, "the SHA-256 of the lines is another")
	}
	return strings.Join(others, ", ")
}

func newLine(value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("write a line: %w", err)
	}
	return append(text, '\n'), nil
}

// Digest is a sum over commits: of the SHA-256 of each as a number of 256 bits, modulo 2^256.
// It finds what was lost or changed by mistake; who wants to be safe from forgers
// holds checkpoints against the log.
type Digest [4]uint64

func digestOf(b [sha256.Size]byte) (d Digest) {
	for i := range d {
		d[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	return d
}

// add adds a commit's line without its position: what stands behind the first comma, up to
// the line's end.
func (d *Digest) add(line []byte) {
	_, content, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(","))
	more, carry := digestOf(sha256.Sum256(content)), uint64(0)
	for i := len(d) - 1; i >= 0; i-- {
		d[i], carry = bits.Add64(d[i], more[i], carry)
	}
}

// String is the digest in 64 hexadecimal digits.
func (d Digest) String() string {
	return fmt.Sprintf("%016x%016x%016x%016x", d[0], d[1], d[2], d[3])
}
