package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"regexp"
	"strings"

	"evcharging/adapters/jsonl"
	"evcharging/application/eventlog"
)

// lineLog is a file of lines as they are: what a line does not say is damage of that line
// alone, and the number of a line is its position. It is not safe for use from several
// goroutines.
type lineLog struct {
	name string
	file *os.File
	from *bufio.Reader
	// next is the number of the line that is read next.
	next eventlog.Position
}

// openLines opens a file of lines; "-" is standard input, of which a copy is kept meanwhile.
func openLines(ctx context.Context, name string, stdin io.Reader) (log *lineLog, err error) {
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("open the event log: %w", err)
		}
		return &lineLog{name: name, file: file}, nil
	}
	file, err := os.CreateTemp("", "ev-replay-")
	if err == nil {
		_, err = io.Copy(file, input(ctx, stdin))
	}
	if err != nil {
		return nil, fmt.Errorf("keep a copy of standard input: %w", err)
	}
	return &lineLog{name: "standard input", file: file}, nil
}

// Close ends the reading.
func (l *lineLog) Close() error {
	err := l.file.Close()
	if l.name == "standard input" {
		err = errors.Join(err, os.Remove(l.file.Name()))
	}
	return err
}

// where names a line.
func (l *lineLog) where(n eventlog.Position) string { return fmt.Sprintf("line %d of %s", n, l.name) }

// All is audit.Log's.
func (l *lineLog) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		if err := l.seek(from); err != nil {
			yield(eventlog.Positioned{}, err)
			return
		}
		for ctx.Err() == nil {
			c, err := l.read()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
		yield(eventlog.Positioned{}, ctx.Err())
	}
}

// Read is audit.Log's. It goes through all lines.
func (l *lineLog) Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		file, err := os.Open(l.file.Name())
		if err != nil {
			yield(eventlog.Commit{}, err)
			return
		}
		defer file.Close()
		all := &lineLog{name: l.name, file: file}
		for at := eventlog.Position(1); at != 0; {
			next := eventlog.Position(0)
			for c, err := range all.All(ctx, at) {
				var damage *eventlog.DamagedError
				if errors.As(err, &damage) {
					if damage.Stream == stream && !yield(eventlog.Commit{}, err) {
						return
					}
					next = damage.Position + 1
					break
				}
				if err != nil {
					yield(eventlog.Commit{}, err)
					return
				}
				for _, p := range c.Parts {
					if p.Stream == stream && p.Last() >= from {
						only := c.Commit
						only.Parts = []eventlog.Part{p}
						if !yield(only, nil) {
							return
						}
					}
				}
			}
			at = next
		}
	}
}

// seek goes to a line.
func (l *lineLog) seek(to eventlog.Position) error {
	if l.from == nil || to != l.next {
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		l.from, l.next = bufio.NewReaderSize(l.file, 1<<16), 1
	}
	for l.next < to {
		if _, err := l.line(); err != nil {
			return err
		}
	}
	return nil
}

// read is the commit of the next line that is not empty; io.EOF behind the last.
func (l *lineLog) read() (eventlog.Positioned, error) {
	for {
		n := l.next
		text, err := l.line()
		if err != nil {
			return eventlog.Positioned{}, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if len(text) > longestLine {
			return eventlog.Positioned{}, damagedLine(l.where(n), n, text, errLongLine)
		}
		c, err := jsonl.Decode(bytes.TrimSpace(text))
		if err != nil {
			if !bytes.HasSuffix(text, []byte("\n")) {
				err = fmt.Errorf("it is cut off: %w", err)
			}
			return eventlog.Positioned{}, damagedLine(l.where(n), n, text, err)
		}
		c.Position = n
		return c, nil
	}
}

var (
	errLongLine = errors.New("it is longer than any line of an event log")
	streamNamed = regexp.MustCompile(`"stream":"((?:point|session)-[A-Za-z0-9._:-]{1,64})"`)
)

// damagedLine is a line that can't be read, with the streams that it seems to be about.
func damagedLine(where string, at eventlog.Position, text []byte, reason error) error {
	d := &eventlog.DamagedError{Where: where, Position: at, Reason: reason}
	var others []string
	for i, m := range streamNamed.FindAllSubmatch(text[:min(len(text), longestLine)], -1) {
		if i == 0 {
			d.Stream = eventlog.Stream(m[1])
		} else {
			others = append(others, string(m[1]))
		}
	}
	if len(others) > 0 {
		d.Reason = fmt.Errorf("%w (it names %s, too)", reason, strings.Join(others, ", "))
	}
	return d
}

// line is the next line, its line feed included, as far as it is needed to see that it is too
// long; io.EOF behind the last.
func (l *lineLog) line() (text []byte, err error) {
	for {
		piece, err := l.from.ReadSlice('\n')
		if len(text) <= longestLine {
			text = append(text, piece...)
		}
		switch {
		case err == nil, errors.Is(err, io.EOF) && len(text) > 0:
			l.next++
			return text, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
