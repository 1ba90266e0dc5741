package jsonl

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/go-json-experiment/json"

	"evcharging/application/eventlog"
)

// MaxLine is how long a line may be, in bytes: the bodies of a commit, and what stands around
// them.
const MaxLine = 2*eventlog.MaxBodies + 1<<20

// What can be wrong with lines, besides ErrLine and ErrNewer.
var (
	// ErrCut tells of lines that end, or could not be read any further, before their trailer.
	ErrCut = errors.New("the log ends too early")
	// ErrChanged tells of lines that are not those that were written.
	ErrChanged = errors.New("the log was changed after it was written")
	// ErrPacked tells of bytes that are packed with gzip: no line of them can be read.
	ErrPacked = errors.New("it is packed with gzip: unpack it")
	// ErrLong tells of a line that is longer than MaxLine.
	ErrLong = errors.New("it is longer than any line of an event log")
)

// LineError says which line is none that can be read.
type LineError struct {
	// Line is its number, from 1; Text as much of it as is needed.
	Line   int
	Text   []byte
	Reason error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Unwrap is the reason.
func (e *LineError) Unwrap() error { return e.Reason }

// UnreadError tells of what could not be read when the lines were written: it is missing.
type UnreadError struct {
	// Position and Stream are zero where they are not known.
	Position eventlog.Position
	Stream   eventlog.Stream
	Reason   string
}

func (e *UnreadError) Error() string { return e.Reason }

// Reader reads lines: between header and trailer or, as earlier versions wrote them, without.
// It is not safe for use from several goroutines.
type Reader struct {
	lines  *bufio.Reader
	number int
	// came is how many bytes were read; begins and ends are where the last line does.
	came, begins, ends int64
	// first is what Header has read already.
	first *firstLine
	// header is nil where there is none. begun tells that a line was taken, closed that the
	// trailer was, ended that nothing more is read.
	header               *Header
	begun, closed, ended bool
	text                 hash.Hash
	sofar                Trailer
	// unread is what could not be read, as long as nothing came behind it.
	unread error
	// failed is what the lines' own reader said in the middle of one.
	failed error
}

type firstLine struct {
	text []byte
	err  error
}

// NewReader reads lines from a reader.
func NewReader(from io.Reader) *Reader {
	return &Reader{lines: bufio.NewReaderSize(from, 1<<16), text: sha256.New()}
}

// Line is the number of the line that Next has read last, from 1.
func (r *Reader) Line() int { return r.number }

// Span is where the line that Next has read last begins and ends among the bytes of all, its line
// feed included.
func (r *Reader) Span() (begins, ends int64) { return r.begins, r.ends }

// Header gives the header. ok is false where there is none, or none that can be read: Next
// tells of that. It is called before Next.
func (r *Reader) Header() (h Header, ok bool) {
	if r.first == nil {
		text, err := r.read()
		r.first = &firstLine{text, err}
	}
	if !bytes.HasPrefix(r.first.text, []byte(headerBegins)) {
		return Header{}, false
	}
	h, err := parseHeader(r.first.text)
	return h, err == nil
}

// Trailer is what the lines come to that were read so far. Its Text is known behind the trailer.
func (r *Reader) Trailer() Trailer { return r.sofar }

// Next gives the next commit, io.EOF behind the last. A *LineError tells of a line that is
// none of a log, and the reading goes on behind it, but where it is ErrPacked. Its Reason is ErrLine or ErrLong,
// an *UnreadError where the writer could not read it, ErrChanged where the lines are not
// those that the trailer tells of, or ErrCut where they end without one, though they have a
// header. Whether a commit's hashes are those of its content is Commit.Check's to say.
func (r *Reader) Next() (eventlog.Positioned, error) {
	for !r.ended {
		text, err := r.line()
		if err != nil {
			return eventlog.Positioned{}, r.end(err)
		}
		c, ok, err := r.take(text)
		if err != nil {
			return eventlog.Positioned{}, &LineError{r.number, text, err}
		}
		if ok {
			return c, nil
		}
	}
	return eventlog.Positioned{}, io.EOF
}

// end is what is said behind the last line, which err tells of.
func (r *Reader) end(err error) error {
	r.ended = true
	whole := r.closed || r.begun && r.header == nil
	switch {
	case whole && errors.Is(err, io.EOF):
		return io.EOF
	case r.unread != nil:
		err = r.unread
	case !r.begun && errors.Is(err, io.EOF):
		err = errors.New("there is nothing in it")
	case errors.Is(err, io.EOF):
		err = errors.New("the trailer is missing")
	}
	return &LineError{Line: max(r.number, 1), Reason: fmt.Errorf("%w: %w", ErrCut, err)}
}

// take takes in a line; ok is false where it has no commit.
func (r *Reader) take(line []byte) (c eventlog.Positioned, ok bool, err error) {
	text := bytes.TrimSpace(line)
	if r.closed {
		if r.ended = len(text) > 0; r.ended {
			err = fmt.Errorf("%w: something follows the trailer", ErrChanged)
		}
		return c, false, err
	}
	if r.header != nil && bytes.HasPrefix(text, []byte(trailerBegins)) {
		return c, false, r.close(line, text)
	}
	r.text.Write(line)
	begins := !r.begun
	r.begun = r.begun || len(text) > 0
	switch {
	case len(text) == 0:
		return c, false, nil
	case begins && bytes.HasPrefix(line, []byte("\x1f\x8b")):
		r.ended = true
		return c, false, ErrPacked
	case len(line) > MaxLine:
		return c, false, ErrLong
	case begins && bytes.HasPrefix(text, []byte(headerBegins)):
		h, err := parseHeader(text)
		r.header = &h
		return c, false, r.orCut(line, err)
	case bytes.HasPrefix(text, []byte(headerBegins)):
		return c, false, fmt.Errorf("%w: it is a header amid other lines", ErrChanged)
	case bytes.HasPrefix(text, []byte(trailerBegins)):
		return c, false, fmt.Errorf("%w: it has a trailer and no header", ErrChanged)
	case bytes.HasPrefix(text, []byte(unreadBegins)):
		return c, false, r.orCut(line, r.missing(text))
	}
	if c, err = Decode(text); err != nil {
		return c, false, r.orCut(line, err)
	}
	r.unread = nil
	r.sofar.take(c.Commit, text)
	return c, true, nil
}

// close holds what was read against the trailer.
func (r *Reader) close(line, text []byte) error {
	r.closed = true
	r.text.Sum(r.sofar.Text[:0])
	written, err := parseTrailer(text)
	if err != nil {
		return r.orCut(line, err)
	}
	if others := r.sofar.differs(written); others != "" {
		return fmt.Errorf("%w: %s", ErrChanged, others)
	}
	return nil
}

// missing is what a line says that could not be read.
func (r *Reader) missing(text []byte) error {
	var l unreadLine
	if err := json.Unmarshal(text, &l, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrLine, err)
	}
	r.sofar.Unread++
	r.unread = &UnreadError{l.Unread.Position, l.Unread.Stream, l.Unread.Reason}
	return r.unread
}

// orCut is an error, or ErrCut where the line that it is about is the last and not whole.
func (r *Reader) orCut(line []byte, err error) error {
	switch {
	case err == nil || !cutOff(line):
		return err
	case r.header == nil:
		return fmt.Errorf("it is cut off: %w", err)
	}
	r.ended = true
	reason := errors.New("the line is cut off")
	if r.failed != nil && !errors.Is(r.failed, io.EOF) {
		reason = r.failed
	}
	return fmt.Errorf("%w: %w", ErrCut, reason)
}

func cutOff(line []byte) bool { return !bytes.HasSuffix(line, []byte("\n")) }

// line is the next line, its line feed included.
func (r *Reader) line() (text []byte, err error) {
	if r.first != nil {
		text, err, r.first = r.first.text, r.first.err, nil
	} else {
		text, err = r.read()
	}
	if err == nil {
		r.number++
		r.begins, r.ends = r.ends, r.came
	}
	return text, err
}

// read reads a line as far as it is needed to see that it is too long; its error is the
// reader's, where nothing of a line was left.
func (r *Reader) read() (text []byte, err error) {
	if r.failed != nil {
		return nil, r.failed
	}
	for {
		piece, err := r.lines.ReadSlice('\n')
		r.came += int64(len(piece))
		if len(text) <= MaxLine {
			text = append(text, piece...)
		}
		switch {
		case err == nil:
			return text, nil
		case !errors.Is(err, bufio.ErrBufferFull) && len(text) > 0:
			r.failed = err
			return text, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
