package audit

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// Checkpoint says what all streams of a log were at an instant: it has the root of a tree
// over their heads. Each checkpoint adds to the tree, in order of the streams' names, the
// heads of the streams that have changed since the one before, so what it costs is what has
// changed, and the tree of an earlier checkpoint is the beginning of that of a later one.
type Checkpoint struct {
	// Network is the id of the log's network.
	Network uuid.UUID
	// Number counts the checkpoints of one key, from 1.
	Number uint64
	At     domain.UnixMillis
	// Heads is how many leaves the tree has, Root its root.
	Heads int64
	Root  tlog.Hash
	// Before is the SHA-256 of the signed note of the checkpoint before; zero for the first.
	Before tlog.Hash
}

const checkpointFormat = "evcharging checkpoint 1"

// errCheckpoint tells of a text that is no checkpoint's.
var errCheckpoint = errors.New("not the text of a checkpoint")

// Text is what is signed.
func (c Checkpoint) Text() string {
	before := "-"
	if c.Number > 1 {
		before = c.Before.String()
	}
	return fmt.Sprintf("%s\n%s\n%d\n%s\n%d\n%s\n%s\n", checkpointFormat, c.Network, c.Number, c.At, c.Heads, c.Root, before)
}

// ParseCheckpoint reads a text. What it gives has exactly that text.
func ParseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 8 {
		return Checkpoint{}, errCheckpoint
	}
	var errs [6]error
	c.Network, errs[0] = uuid.Parse(lines[1])
	c.Number, errs[1] = strconv.ParseUint(lines[2], 10, 64)
	at, err := time.Parse(time.RFC3339Nano, lines[3])
	c.At, errs[2] = domain.At(at), err
	c.Heads, errs[3] = strconv.ParseInt(lines[4], 10, 64)
	c.Root, errs[4] = tlog.ParseHash(lines[5])
	if lines[6] != "-" {
		c.Before, errs[5] = tlog.ParseHash(lines[6])
	}
	if errors.Join(errs[:]...) != nil || c.Text() != text || c.Number == 0 || c.Heads < 0 {
		return Checkpoint{}, errCheckpoint
	}
	return c, nil
}

// NoteHash is by what the next checkpoint names a note.
func NoteHash(note []byte) tlog.Hash { return sha256.Sum256(note) }

// Record is a checkpoint as it is kept outside the log. It can be held against its signature by itself.
type Record struct {
	// Before is how many leaves the tree had, Peaks what Tree.Peaks was.
	Before int64
	Peaks  []tlog.Hash
	// Heads are what the checkpoint adds to the tree, in order of their streams' names.
	Heads []Head
	// Note is the signed note.
	Note []byte
}

const (
	// maxHeads is how many heads a record has at most.
	maxHeads = 50_000
	// enough is how many bytes of heads are enough for a record: what is more is the next one's,
	// so that each fits into a record of Kafka, whatever the commit that filled it.
	enough = 512 << 10
)

// recordBegins begins the first line of a record.
const recordBegins = "checkpoint "

// Append appends the record to a text: a line with the checkpoint's number and the sizes, the
// peaks, the heads, an empty line, the note, an empty line.
func (r Record) Append(to []byte, number uint64) []byte {
	to = fmt.Appendf(to, "%s%d: %d heads after %d\n", recordBegins, number, len(r.Heads), r.Before)
	for _, p := range r.Peaks {
		to = append(to, p.String()...)
		to = append(to, '\n')
	}
	for _, h := range r.Heads {
		to = append(to, h.Line()...)
	}
	to = append(to, '\n')
	to = append(to, r.Note...)
	return append(to, '\n')
}

// ErrRecord tells of lines that are no whole record: one that was cut off while it was
// written, or that somebody changed.
var ErrRecord = errors.New("not a whole checkpoint")

// longestRecordLine bounds a line of a record: a head's stream, version and hash, or one of a note.
const longestRecordLine = 1 << 10

// Records reads the records of a text, in their order. What is none is ErrRecord, with the
// number of its line, and the reading goes on at the next that begins; any other error is the
// reader's, and the last.
func Records(from io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		r := recordReader{lines: bufio.NewReaderSize(from, 64<<10)}
		for {
			record, err := r.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(record, err) || err != nil && !errors.Is(err, ErrRecord) {
				return
			}
		}
	}
}

type recordReader struct {
	lines  *bufio.Reader
	number int
	// begun is the first line of the next record, where it was read already.
	begun string
}

// line is the next line, its line feed included.
func (r *recordReader) line() (string, error) {
	text, err := r.lines.ReadSlice('\n')
	r.number++
	switch {
	case errors.Is(err, bufio.ErrBufferFull), err == nil && len(text) > longestRecordLine, errors.Is(err, io.EOF) && len(text) > 0:
		return "", r.broken("the line is cut off, or too long")
	case err != nil:
		return "", err
	}
	return string(text), nil
}

func (r *recordReader) broken(what string) error {
	return fmt.Errorf("%w: line %d: %s", ErrRecord, r.number, what)
}

// next is the next record; io.EOF behind the last.
func (r *recordReader) next() (Record, error) {
	first := r.begun
	r.begun = ""
	if first == "" {
		var err error
		if first, err = r.line(); err != nil {
			return Record{}, err
		}
		if !strings.HasPrefix(first, recordBegins) {
			return Record{}, errors.Join(r.broken("no checkpoint begins with it"), r.skip())
		}
	}
	record, err := r.rest(first)
	if errors.Is(err, io.EOF) {
		err = r.broken("the end is missing")
	}
	return record, err
}

// skip goes to the first line of the next record. Its error is that of the reader.
func (r *recordReader) skip() error {
	for {
		line, err := r.line()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, ErrRecord):
		case err != nil:
			return err
		case strings.HasPrefix(line, recordBegins):
			r.begun = line
			return nil
		}
	}
}

// rest reads the record that a line begins.
func (r *recordReader) rest(first string) (Record, error) {
	var number uint64
	var heads int
	record := Record{}
	if n, _ := fmt.Sscanf(first, recordBegins+"%d: %d heads after %d\n", &number, &heads, &record.Before); n != 3 || heads < 0 || heads > maxHeads || record.Before < 0 {
		return Record{}, errors.Join(r.broken("no checkpoint begins with it"), r.skip())
	}
	peaks := bits.OnesCount64(uint64(record.Before))
	for line := ""; line != "\n"; {
		var err error
		if line, err = r.inside(); err != nil {
			return Record{}, err
		}
		switch {
		case line == "\n":
		case len(record.Peaks) < peaks:
			var peak tlog.Hash
			if peak, err = tlog.ParseHash(strings.TrimSuffix(line, "\n")); err == nil {
				record.Peaks = append(record.Peaks, peak)
			}
		case len(record.Heads) < heads:
			var head Head
			if head, err = parseHead(line); err == nil {
				record.Heads = append(record.Heads, head)
			}
		default:
			err = errHead
		}
		if err != nil {
			return Record{}, errors.Join(r.broken("not one of the checkpoint's hashes or heads"), r.skip())
		}
	}
	for ends := 0; ends < 2; {
		line, err := r.inside()
		if err != nil {
			return Record{}, err
		}
		if line == "\n" {
			ends++
		}
		if ends < 2 {
			record.Note = append(record.Note, line...)
		}
	}
	if len(record.Peaks) != peaks || len(record.Heads) != heads || !strings.HasPrefix(string(record.Append(nil, number)), first) {
		return Record{}, r.broken("the checkpoint before it has not what its first line says")
	}
	return record, nil
}

// inside is a line of the record that is being read.
func (r *recordReader) inside() (string, error) {
	line, err := r.line()
	if err == nil && strings.HasPrefix(line, recordBegins) {
		r.begun = line
		return "", r.broken("the checkpoint before it has no end")
	}
	return line, err
}

// Notary knows whose notes count.
type Notary interface {
	// Open gives the text of a note, and the key that has signed it. ErrStranger where none of
	// the keys that count has, ErrSignature where the note is not signed by exactly one, or not
	// written as whoever signs writes it.
	Open(note []byte) (text, key string, err error)
}

// What can be wrong with a note.
var (
	ErrStranger  = errors.New("it is signed by another key")
	ErrSignature = errors.New("its signature is wrong")
)

// Changes are the heads of the streams that have changed. The zero Changes is ready.
type Changes struct {
	heads map[eventlog.Stream]Head
	size  int
}

// Take takes in a commit.
func (c *Changes) Take(commit eventlog.Commit) {
	if c.heads == nil {
		c.heads = map[eventlog.Stream]Head{}
	}
	for _, p := range commit.Parts {
		before, listed := c.heads[p.Stream]
		if p.Last() <= before.Version {
			continue
		}
		head := Head{p.Stream, p.Last(), p.Hash}
		if c.heads[p.Stream] = head; !listed {
			c.size += len(head.Line())
		}
	}
}

// Full tells that a checkpoint has to be made of what there is before more is taken in.
func (c *Changes) Full() bool { return c.size >= enough }

// Heads are the heads in order of their streams' names.
func (c *Changes) Heads() []Head {
	return slices.SortedFunc(maps.Values(c.heads), func(a, b Head) int { return strings.Compare(string(a.Stream), string(b.Stream)) })
}

// What can be wrong with checkpoints.
var (
	// ErrFork tells of two histories that one key has signed: two checkpoints of one number, or
	// one that follows another than the one that is there.
	ErrFork = errors.New("the key has signed two histories")
	// ErrLost tells that checkpoints before one are not there.
	ErrLost = errors.New("checkpoints before it are missing")
	// ErrTree tells of heads that are not those that were signed.
	ErrTree = errors.New("its heads are not those that were signed")
)

// Chain is the checkpoints of one key, one after the other, as far as they have come. The zero Chain is
// before the first.
type Chain struct {
	// Last is the last checkpoint, Note the hash of its note; zero before the first.
	Last Checkpoint
	Note tlog.Hash
	Tree Tree
}

// Next is the checkpoint that follows in the chain and adds these heads, in order of their
// streams' names, and its record, which has no note yet.
func (c *Chain) Next(network uuid.UUID, at domain.UnixMillis, heads []Head) (Checkpoint, Record) {
	tree := c.Tree.with(heads, nil)
	return Checkpoint{
		Network: network, Number: c.Last.Number + 1, At: max(at, c.Last.At), Heads: tree.Size(), Root: tree.Root(), Before: c.Note,
	}, Record{Before: c.Tree.Size(), Peaks: c.Tree.Peaks(), Heads: heads}
}

// Follow takes in a checkpoint and its record. ErrTree where the record is not what was
// signed, ErrFork where the checkpoint does not belong to the same history: then the chain
// stays as it was. ErrLost where checkpoints between are missing: then it goes on with this
// one. A chain may begin with any checkpoint.
func (c *Chain) Follow(checkpoint Checkpoint, record Record) error {
	before, after, err := record.trees(checkpoint)
	if err != nil {
		return err
	}
	lost := false
	if last := c.Last; last.Number > 0 {
		next := checkpoint.Number == last.Number+1
		lost = !next
		switch {
		case checkpoint.Number <= last.Number, checkpoint.Network != last.Network, checkpoint.At < last.At, checkpoint.Heads < last.Heads,
			next && checkpoint.Before != c.Note:
			return ErrFork
		case next && record.Before != last.Heads: // what a record begins with is not signed
			return ErrTree
		case next && before.Root() != last.Root:
			return ErrFork
		}
	}
	*c = Chain{checkpoint, NoteHash(record.Note), after}
	if lost {
		return ErrLost
	}
	return nil
}

// trees are the tree before a record's heads and the one with them. ErrTree where that is not what its checkpoint
// has signed.
func (r Record) trees(c Checkpoint) (before, after Tree, err error) {
	before, err = TreeOf(r.Before, r.Peaks)
	// Nobody signs what a record has besides its note, and nothing comes before the first.
	if err != nil || c.Number == 1 && r.Before != 0 {
		return Tree{}, Tree{}, ErrTree
	}
	for i := 1; i < len(r.Heads); i++ {
		if r.Heads[i-1].Stream >= r.Heads[i].Stream {
			return Tree{}, Tree{}, ErrTree
		}
	}
	after = before.with(r.Heads, nil)
	if after.Size() != c.Heads || after.Root() != c.Root {
		return Tree{}, Tree{}, ErrTree
	}
	return before, after, nil
}
