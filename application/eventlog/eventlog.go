// Package eventlog is the port of the session event log: the only truth of the
// network. It knows streams, versions, causes and bytes; what the bytes say is
// the business of the codec above it, where they are kept of the adapter below.
//
// Every adapter passes the suite in eventlogtest.
package eventlog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"

	"github.com/google/uuid"

	"evcharging/domain"
)

// Stream names a stream: "point-" and a point's id, or "session-" and a session's id.
type Stream string

// Version counts a stream's events: the first has version 1. 0 is an empty stream.
type Version uint64

// Position counts the commits of one log, from 1, in an order that keeps each
// stream's order. It belongs to the log that gave it: the same commit has another
// position in another log.
type Position uint64

// Kind says what a part holds, so that a log finds open sessions and their last
// samples without decoding anything.
type Kind uint8

// The kinds of a part.
const (
	// Lifecycle holds at least one event that is no sample, and leaves its stream open.
	Lifecycle Kind = 1
	// Sample holds samples alone. A later part makes it dispensable for rehydration.
	Sample Kind = 2
	// Closing holds the event after which its stream is closed (a refusal, a ticket),
	// or comes after it (a revision).
	Closing Kind = 3
)

// Hash is the SHA-256 of the chain. The zero Hash stands before a stream's first part.
type Hash [sha256.Size]byte

// Cause is the inbound record that made a commit. The zero Cause is none.
type Cause struct {
	Topic     string
	Partition int32
	Offset    int64
	// Digest is 8 bytes of SHA-256 over the record's timestamp, key and value, for a
	// topic that was wiped and made again reuses offsets.
	Digest [8]byte
}

// IsZero tells whether there is no cause.
func (c Cause) IsZero() bool { return c == Cause{} }

func (c Cause) String() string {
	return fmt.Sprintf("%s/%d@%d#%x", c.Topic, c.Partition, c.Offset, c.Digest)
}

const (
	// MaxName bounds the names of streams and topics, in bytes.
	MaxName = 255
	// MaxParts bounds the parts of a commit.
	MaxParts = 1000
	// MaxEvents bounds the events of a part.
	MaxEvents = 1<<16 - 1
	// MaxVersion bounds the version of a part's first event: stores count in 63 bits.
	MaxVersion = 1<<63 - 1 - MaxEvents
	// MaxBodies bounds the bodies of a commit together, in bytes: a commit has to fit into
	// one document of any store.
	MaxBodies = 8 << 20
)

// Part is what one commit adds to one stream.
type Part struct {
	Stream Stream
	// Version is the version of the part's first event.
	Version Version
	// Events is how many events the part holds, 1 to MaxEvents.
	Events int
	Kind   Kind
	// Prev is the Hash of the stream's part before this one.
	Prev Hash
	Hash Hash
	// Body is the part's canonical text. It is made once and stored verbatim.
	Body []byte
}

// Last is the version of the part's last event.
func (p Part) Last() Version { return p.Version + Version(p.Events) - 1 }

// Sum is the hash that the part's content gives: SHA-256 over Prev, the stream's
// length in 8 bytes big-endian, the stream, Version in 8 bytes big-endian, Body.
func (p Part) Sum() Hash {
	h := sha256.New()
	var n [8]byte
	h.Write(p.Prev[:])
	binary.BigEndian.PutUint64(n[:], uint64(len(p.Stream)))
	h.Write(n[:])
	h.Write([]byte(p.Stream))
	binary.BigEndian.PutUint64(n[:], uint64(p.Version))
	h.Write(n[:])
	h.Write(p.Body)
	return Hash(h.Sum(nil))
}

// Commit is what one turn decided: it is stored whole or not at all.
type Commit struct {
	// ID is a UUIDv7.
	ID uuid.UUID
	// At is the turn's time: never before that of an earlier part of a stream that the commit touches.
	At    domain.UnixMillis
	Cause Cause
	// Parts has 1 to MaxParts parts and no stream twice.
	Parts []Part
}

// Head is the end of a stream: the version of its last event and the hash of its
// last part; both zero where the stream is empty.
type Head struct {
	Version Version
	Hash    Hash
	// Kind is that of the stream's last part that is no sample.
	Kind Kind
}

// ConflictError says that a stream is not where the commit expected it.
type ConflictError struct {
	Stream Stream
	// Expected is the version that the commit wanted to write after, Actual the stream's.
	// They are equal where the version is right and the last part's hash is not.
	Expected, Actual Version
}

func (e *ConflictError) Error() string {
	if e.Expected == e.Actual {
		return fmt.Sprintf("stream %s is at version %d with another last part: somebody else wrote to it", e.Stream, e.Actual)
	}
	return fmt.Sprintf("stream %s is at version %d, not %d: somebody else wrote to it", e.Stream, e.Actual, e.Expected)
}

// CauseStoredError says that the log has a commit of that cause already, and hands it back.
type CauseStoredError struct {
	Stored Commit
}

func (e *CauseStoredError) Error() string {
	return fmt.Sprintf("the log has commit %s for %s already", e.Stored.ID, e.Stored.Cause)
}

var (
	// ErrMalformed tells of a commit that no log takes: no parts, a stream twice, a part
	// without events or body, a hash that is not the part's Sum, something beyond the
	// limits above. It is a fault of the caller.
	ErrMalformed = errors.New("malformed commit")
	// ErrClosed tells that the log has been closed.
	ErrClosed = errors.New("the event log is closed")
	// ErrDamaged tells that what is stored can't be read as it was written. The error is a
	// *DamagedError, which says where. Streams that are not concerned go on.
	ErrDamaged = errors.New("the event log is damaged")
)

// DamagedError is ErrDamaged with the place.
type DamagedError struct {
	// Where names what holds the damage: a segment's file, a document.
	Where string
	// Position is that of the damaged commit; 0 where it is not known. A reader of All
	// that wants what lies behind it goes on at Position + 1.
	Position Position
	// Stream is the stream that can't be read; empty where it is not known.
	Stream Stream
	// Reason says what is wrong.
	Reason error
}

func (e *DamagedError) Error() string {
	if archived, ok := errors.AsType[*ArchivedError](e.Reason); ok {
		return archived.Error()
	}
	text := "the event log is damaged in " + e.Where
	if e.Position != 0 {
		text += fmt.Sprintf(" at position %d", e.Position)
	}
	if e.Stream != "" {
		text += fmt.Sprintf(", stream %s", e.Stream)
	}
	return text + ": " + e.Reason.Error()
}

// Is tells that the error is ErrDamaged.
func (e *DamagedError) Is(target error) bool { return target == ErrDamaged }

// Unwrap is the reason.
func (e *DamagedError) Unwrap() error { return e.Reason }

// ArchivedError is the Reason of a DamagedError where nothing is wrong: samples of a closed
// session were moved to an archive. Who does not ask for them is not concerned: Head,
// Rehydrate, ByCause and Append are as before.
type ArchivedError struct {
	Stream Stream
	// From and To are the versions of the first and the last event that were moved, Prev and
	// Hash the chain's before and behind them.
	From, To   Version
	Prev, Hash Hash
	// Archive is the name of the file that has them, and all of the stream up to its close.
	Archive string
	// Missing says why they can't be had of an archive that is at hand; nil where none is.
	Missing error
}

func (e *ArchivedError) Error() string {
	text := fmt.Sprintf("versions %d to %d of %s are in the archive, in %s: ", e.From, e.To, e.Stream, e.Archive)
	if e.Missing != nil {
		return text + e.Missing.Error()
	}
	return text + "name its folder, too, with --archive"
}

// Unwrap is Missing.
func (e *ArchivedError) Unwrap() error { return e.Missing }

// Moved says which samples of a stream are in an archive: all whose events are before a
// version, in a file.
type Moved struct {
	Before  Version
	Archive string
}

// Check is nil where the commit is one that a log takes, else ErrMalformed.
func (c Commit) Check() error {
	if c.ID == uuid.Nil || len(c.Parts) == 0 {
		return fmt.Errorf("%w: it has no id or no parts", ErrMalformed)
	}
	if len(c.Parts) > MaxParts {
		return fmt.Errorf("%w: %s has more than %d parts", ErrMalformed, c.ID, MaxParts)
	}
	if len(c.Cause.Topic) > MaxName || !utf8.ValidString(c.Cause.Topic) {
		return fmt.Errorf("%w: the topic of %s is longer than %d bytes, or no valid UTF-8", ErrMalformed, c.ID, MaxName)
	}
	size := 0
	for i, p := range c.Parts {
		size += len(p.Body)
		switch {
		case p.Stream == "" || p.Version == 0 || p.Events < 1 || len(p.Body) == 0 || p.Kind < Lifecycle || p.Kind > Closing:
			return fmt.Errorf("%w: part %d of %s is incomplete", ErrMalformed, i, c.ID)
		case len(p.Stream) > MaxName || p.Events > MaxEvents || size > MaxBodies:
			return fmt.Errorf("%w: part %d of %s is larger than a log takes", ErrMalformed, i, c.ID)
		case !utf8.ValidString(string(p.Stream)) || p.Version > MaxVersion:
			return fmt.Errorf("%w: part %d of %s has a stream that is no valid UTF-8, or a version that no stream reaches", ErrMalformed, i, c.ID)
		case p.Hash != p.Sum():
			return fmt.Errorf("%w: the hash of part %d of %s is not that of its content", ErrMalformed, i, c.ID)
		}
		for _, q := range c.Parts[:i] {
			if q.Stream == p.Stream {
				return fmt.Errorf("%w: %s writes to %s twice", ErrMalformed, c.ID, p.Stream)
			}
		}
	}
	return nil
}

// Log is the port. All methods may be called from any number of goroutines; a
// caller sees what it appended, and a stream that was read stays a prefix of what
// is read later. What is handed in or out is copied: nobody sees a later change.
// Errors of the store itself (a network, a disk) are neither ConflictError nor
// CauseStoredError and mean that nothing is known: the caller tries the same
// commit again, and a log that did store it says so with CauseStoredError, or,
// where the commit has no cause, returns nil for a commit whose id and parts it
// holds already.
type Log interface {
	// Append stores the commit whole and durably, or not at all. It returns
	// *CauseStoredError where the cause is stored already (looked at first, also where the
	// versions conflict), *ConflictError where any part's Version is not its stream's head
	// + 1 or its Prev not the head's hash, ErrMalformed, ErrClosed, or the store's
	// error. Once it has returned nil the commit survives a kill and a loss of power.
	Append(ctx context.Context, commit Commit) error

	// Head is the end of a stream, zero where it is empty.
	Head(ctx context.Context, stream Stream) (Head, error)

	// Read gives the stream's parts whose last event's version is at least from, in
	// order of version, with their commits' id, time and cause: each Commit that is
	// yielded holds that one part alone. An error is yielded last.
	Read(ctx context.Context, stream Stream, from Version) iter.Seq2[Commit, error]

	// Rehydrate gives, in order of version, the stream's parts that are no samples and its
	// last sample, wherever it lies among them: what is needed to fold the stream's state, at a cost that does not grow with its samples. As with Read, each
	// Commit holds that one part alone.
	Rehydrate(ctx context.Context, stream Stream) ([]Commit, error)

	// ByCause is the commit that a cause made, whole; ok is false where there is none.
	ByCause(ctx context.Context, cause Cause) (commit Commit, ok bool, err error)

	// All gives every commit whose position is at least from, whole, with its position, in
	// ascending position: each stream in order of version, nothing promised between
	// streams. It ends at the end that the log had when it was called, or later. An error is
	// yielded last. Positions of samples that were moved to an archive are passed over, but for
	// one of each *ArchivedError, which comes as a *DamagedError.
	All(ctx context.Context, from Position) iter.Seq2[Positioned, error]

	// End is the position of the last commit; 0 where there is none.
	End(ctx context.Context) (Position, error)

	// Open gives the names of the streams that are not empty and whose last part that is no
	// sample is not Closing (every point, every session that is not closed), in no
	// particular order.
	Open(ctx context.Context) ([]Stream, error)
}

// Positioned is a commit and where its log holds it.
type Positioned struct {
	Position Position
	Commit
}
