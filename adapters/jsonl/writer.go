package jsonl

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// Writer writes lines with their header and trailer. Whoever makes one closes it; without a
// trailer nobody takes its lines for whole. It is not safe for use from several goroutines.
type Writer struct {
	to      io.Writer
	text    hash.Hash
	trailer Trailer
}

// NewWriter begins with the header.
func NewWriter(to io.Writer, h Header) (*Writer, error) {
	w := &Writer{to: to, text: sha256.New()}
	line, err := h.line()
	if err == nil {
		err = w.line(line)
	}
	return w, err
}

func (w *Writer) line(text []byte) error {
	w.text.Write(text)
	_, err := w.to.Write(text)
	return err
}

// Write writes the line of a commit. ErrText where a line can't carry it, else the error is
// that of writing.
func (w *Writer) Write(c eventlog.Positioned) error {
	line, err := Encode(c)
	if err != nil {
		return err
	}
	w.trailer.take(c.Commit, line)
	return w.line(line)
}

// Unread writes a line that says why something is missing.
func (w *Writer) Unread(reason error) error {
	l := unreadLine{}
	l.Unread.Reason = reason.Error()
	var damage *eventlog.DamagedError
	if errors.As(reason, &damage) {
		l.Unread.Position, l.Unread.Stream = damage.Position, damage.Stream
	}
	w.trailer.Unread++
	line, err := newLine(l)
	if err == nil {
		err = w.line(line)
	}
	return err
}

// Close writes the trailer, and gives it.
func (w *Writer) Close() (Trailer, error) {
	w.text.Sum(w.trailer.Text[:0])
	line, err := w.trailer.line()
	if err == nil {
		_, err = w.to.Write(line)
	}
	return w.trailer, err
}

// take counts a commit and its line.
func (t *Trailer) take(c eventlog.Commit, line []byte) {
	t.Commits++
	for _, p := range c.Parts {
		t.Events += uint64(p.Events)
		if p.Version == 1 {
			t.Streams++
		}
	}
	t.Digest.add(line)
}

// Log is a log that is written as lines. Every eventlog.Log is one.
type Log interface {
	// All is eventlog.Log's.
	All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error]
	// End is eventlog.Log's.
	End(ctx context.Context) (eventlog.Position, error)
}

// Write writes the lines of a log, from a position on to the end that it has when it is
// called, with header and trailer. wrote is called after each commit. Of a commit that is damaged
// a line says so in its place, and the writing goes on behind it: the error is the first
// *eventlog.DamagedError then. Any other error is the last: its line stands where the
// trailer would, unless it came before the header.
func Write(ctx context.Context, to io.Writer, log Log, network uuid.UUID, from eventlog.Position, wrote func()) (Trailer, error) {
	from = max(from, 1)
	header := Header{Network: network, From: from}
	end, err := log.End(ctx)
	if err == nil && end >= from {
		header.First, err = timeAt(ctx, log, from)
		if err == nil {
			header.Last, err = timeAt(ctx, log, end)
		}
	}
	if err != nil {
		return Trailer{}, fmt.Errorf("read the event log: %w", err)
	}
	w, err := NewWriter(to, header)
	if err != nil {
		return Trailer{}, err
	}
	var damage *eventlog.DamagedError
	for next := from; next != 0 && next <= end; {
		at := next
		next = 0
		for commit, err := range log.All(ctx, at) {
			var found *eventlog.DamagedError
			if errors.As(err, &found) && found.Position >= at {
				if found.Position > end {
					break
				}
				if err = w.Unread(found); err != nil {
					return w.trailer, err
				}
				if damage == nil {
					damage = found
				}
				next = found.Position + 1
				break
			}
			if err != nil {
				return w.trailer, errors.Join(fmt.Errorf("read the event log: %w", err), w.Unread(err))
			}
			if commit.Position > end {
				break
			}
			if err := w.Write(commit); err != nil {
				return w.trailer, errors.Join(err, w.Unread(err))
			}
			wrote()
		}
	}
	trailer, err := w.Close()
	if err == nil && damage != nil {
		err = damage
	}
	return trailer, err
}

// timeAt is the time of the first commit from a position on; 0 where it can't be read.
func timeAt(ctx context.Context, log Log, from eventlog.Position) (domain.UnixMillis, error) {
	for commit, err := range log.All(ctx, from) {
		if errors.Is(err, eventlog.ErrDamaged) {
			return 0, nil
		}
		return commit.At, err
	}
	return 0, nil
}
