package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"

	"evcharging/adapters/jsonl"
	"evcharging/application/eventlog"
)

// openFile opens a file of lines, and unpacks it where its name says that it is packed.
func openFile(name string) (io.ReadCloser, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the event log: %w", err)
	}
	if packed(name) {
		return &unpacking{file: file}, nil
	}
	return file, nil
}

// unpacking is a file that is unpacked. An error of its beginning is one of reading, as those of all
// that follows.
type unpacking struct {
	file *os.File
	text *gzip.Reader
	err  error
}

func (u *unpacking) Read(p []byte) (n int, err error) {
	if u.text == nil && u.err == nil {
		u.text, u.err = gzip.NewReader(u.file)
	}
	if u.err == nil {
		n, u.err = u.text.Read(p)
	} else if errors.Is(u.err, io.EOF) && u.text == nil {
		u.err = io.ErrUnexpectedEOF // not a byte of it is there
	}
	if u.err != nil && !errors.Is(u.err, io.EOF) {
		return n, fmt.Errorf("unpack it: %w", u.err)
	}
	return n, u.err
}

func (u *unpacking) Close() error { return u.file.Close() }

// lineLog is a file of lines as they are: what a line does not say is damage of that line
// alone, and the number of a line is its position. It is not safe for use from several
// goroutines.
type lineLog struct {
	name string
	file linesFile
	// copied tells that the file is a copy, failed why it is not all of it.
	copied bool
	failed error
	lines  *jsonl.Reader
	// places are nil until a stream is read.
	places *places
	// checked tells that a line is damaged, too, where a hash is not that of its content.
	checked bool
}

// linesFile is a file of lines: an *os.File.
type linesFile interface {
	io.ReadSeekCloser
	io.ReaderAt
	Name() string
}

// openLines opens lines: those of from, where it is not nil, else of a file. Of what can't be
// read again as it is, a copy is kept meanwhile.
func openLines(ctx context.Context, name string, from io.Reader) (*lineLog, error) {
	l := &lineLog{name: name}
	if from == nil {
		file, err := openFile(name)
		if err != nil {
			return nil, err
		}
		if plain, ok := file.(*os.File); ok {
			l.file = plain
			return l, nil
		}
		defer file.Close()
		from = file
	} else {
		from = input(ctx, from)
	}
	kept, err := os.CreateTemp("", "ev-replay-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary file: %w", err)
	}
	l.file, l.copied = kept, true
	source := &noting{Reader: from}
	if _, err = io.Copy(kept, source); err != nil && (source.err == nil || ctx.Err() != nil) {
		return nil, errors.Join(fmt.Errorf("keep a copy of %s: %w", name, err), l.Close())
	}
	l.failed = source.err
	return l, nil
}

// noting notes what a reader says but for its end.
type noting struct {
	io.Reader
	err error
}

func (n *noting) Read(p []byte) (int, error) {
	read, err := n.Reader.Read(p)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return read, err
}

// Close ends the reading.
func (l *lineLog) Close() error {
	err := l.file.Close()
	if l.copied {
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

// Read is audit.Log's. The first goes through all lines, to know whose they are; any reads those of
// the stream alone.
func (l *lineLog) Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		if l.places == nil {
			places, err := l.index(ctx)
			if err != nil {
				yield(eventlog.Commit{}, err)
				return
			}
			l.places = places
		}
		for at := range l.places.of(stream) {
			if ctx.Err() != nil {
				yield(eventlog.Commit{}, ctx.Err())
				return
			}
			if at.damage != nil {
				if at.damage.Stream == stream && !yield(eventlog.Commit{}, at.damage) {
					return
				}
				continue
			}
			commit, err := l.commitAt(at)
			if err != nil {
				yield(eventlog.Commit{}, err)
				return
			}
			for _, p := range commit.Parts {
				if p.Stream == stream && p.Last() >= from {
					only := commit
					only.Parts = []eventlog.Part{p}
					if !yield(only, nil) {
						return
					}
				}
			}
		}
	}
}

// commitAt reads a line that could be read before.
func (l *lineLog) commitAt(at place) (eventlog.Commit, error) {
	text := make([]byte, at.length)
	if _, err := l.file.ReadAt(text, at.offset); err != nil {
		return eventlog.Commit{}, fmt.Errorf("read %s once more: %w", l.name, err)
	}
	c, err := jsonl.Decode(bytes.TrimSpace(text))
	if err != nil {
		return eventlog.Commit{}, fmt.Errorf("read %s once more: %w", l.name, err)
	}
	return c.Commit, nil
}

// index goes through all lines, and leaves a pass that is under way where it is.
func (l *lineLog) index(ctx context.Context) (*places, error) {
	all := &lineLog{name: l.name, lines: l.reader(io.NewSectionReader(l.file, 0, math.MaxInt64))}
	found := newPlaces()
	for ctx.Err() == nil {
		c, err := all.read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if damage, ok := errors.AsType[*eventlog.DamagedError](err); ok {
			found.damage(damage)
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := c.Check(); l.checked && err != nil {
			for _, p := range c.Parts {
				found.damage(&eventlog.DamagedError{Where: l.where(c.Position), Position: c.Position, Stream: p.Stream, Reason: err})
			}
			continue
		}
		begins, ends := all.lines.Span()
		for i, p := range c.Parts {
			if !slices.ContainsFunc(c.Parts[:i], func(q eventlog.Part) bool { return q.Stream == p.Stream }) {
				found.add(p.Stream, place{offset: begins, length: ends - begins})
			}
		}
	}
	return nil, ctx.Err()
}

// seek goes to a line.
func (l *lineLog) seek(to eventlog.Position) error {
	if l.lines == nil || to != l.next() {
		if _, err := l.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		l.lines = l.reader(l.file)
	}
	for l.next() < to {
		if _, err := l.lines.Next(); errors.Is(err, io.EOF) {
			return nil
		}
	}
	return nil
}

// reader reads the lines of the file, and says behind them why they are not all.
func (l *lineLog) reader(file io.Reader) *jsonl.Reader {
	if l.failed != nil {
		file = io.MultiReader(file, broken{l.failed})
	}
	return jsonl.NewReader(file)
}

// next is the number of the line that is read next.
func (l *lineLog) next() eventlog.Position { return eventlog.Position(l.lines.Line()) + 1 }

// broken is a reader that broke off.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// read is the commit of the next line that has one; io.EOF behind the last.
func (l *lineLog) read() (eventlog.Positioned, error) {
	c, err := l.lines.Next()
	var line *jsonl.LineError
	if errors.As(err, &line) {
		at := eventlog.Position(line.Line)
		return eventlog.Positioned{}, damagedLine(l.where(at), at, line.Text, line.Reason)
	}
	c.Position = eventlog.Position(l.lines.Line())
	return c, err
}

var streamNamed = regexp.MustCompile(`"stream":"((?:point|session)-[A-Za-z0-9._:-]{1,64})"`)

// damagedLine is a line that can't be read, with the streams that it seems to be about.
func damagedLine(where string, at eventlog.Position, text []byte, reason error) error {
	d := &eventlog.DamagedError{Where: where, Position: at, Reason: reason}
	var others []string
	for i, m := range streamNamed.FindAllSubmatch(text[:min(len(text), jsonl.MaxLine)], -1) {
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
