package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
)

// What can be wrong with a log that checkpoints tell of.
var (
	ErrRewritten = errors.New("the log has another history than the one that was signed")
	ErrCut       = errors.New("the log has less of the stream than was signed")
	ErrDropped   = errors.New("the log has nothing of the stream")
	ErrInserted  = errors.New("no checkpoint has it, though later ones were made")
	ErrUnsigned  = errors.New("no checkpoint is signed by a key that counts")
)

// Checkpoints are records that somebody keeps outside the log.
type Checkpoints struct {
	// Name is for people: a file, a topic.
	Name string
	// Records gives the records, in their order, as often as it is called: as Records does.
	Records func(ctx context.Context) iter.Seq2[Record, error]
}

// Witnessed is what checkpoints were held against a log.
type Witnessed struct {
	// Checkpoints were looked at, made by Keys from First to Last.
	Checkpoints uint64
	Keys        []string
	First, Last domain.UnixMillis
	// Strange are checkpoints signed by keys that don't count: nothing was held against them.
	Strange uint64
	// Heads were held against the log.
	Heads uint64
	// Newer is how many streams have something that is newer than the last checkpoint, Unlisted
	// how many that may be in checkpoints which are missing: of that nothing can be said.
	Newer, Unlisted uint64
}

// VerifyAgainst is Verify, and holds the log against checkpoints: each head that they list
// must be in it, and what is in it must be listed, unless it is newer than the last of them.
// Its memory is besides that of the heads of a few checkpoints, and some 120 bytes for each
// checkpoint: 60 MB for a year of them.
func VerifyAgainst(ctx context.Context, log Log, codec central.Codec, notary Notary, checkpoints []Checkpoints, found func(Finding), progress func(Verified)) (Verified, Witnessed, error) {
	w := &witness{
		ctx: ctx, log: log, notary: notary, sources: checkpoints,
		marks: map[eventlog.Stream][]mark{}, waiting: map[eventlog.Stream]span{}, told: map[eventlog.Stream]bool{},
		notes: map[string]map[uint64]signed{}, forked: map[string]bool{},
	}
	for _, c := range checkpoints {
		next, stop := iter.Pull2(c.Records(ctx))
		defer stop()
		w.readers = append(w.readers, &witnessReader{name: c.Name, next: next, chains: map[string]*Chain{}})
	}
	v := newVerifier(log, codec, found)
	v.witness, w.find = w, v.find
	verified, err := v.all(ctx, progress)
	return verified, w.witnessed(), err
}

// ahead is how many checkpoints that are later than a commit are looked at before it: the
// one that lists it is among them, in a log whose commits are in the order of time.
const ahead = 4

// newest is how long a commit may take from its time until it is in the log.
const newest = 60_000

// mark is what a checkpoint says of a stream.
type mark struct {
	version eventlog.Version
	hash    eventlog.Hash
	// from is the number of the checkpoint among those that were read.
	from  int
	where string
}

// span is what a log has of a stream that no checkpoint has yet. at is the time of the first
// version, or a later one, until that of the last.
type span struct {
	first, last eventlog.Version
	at, until   domain.UnixMillis
}

// signed is a checkpoint's note, and the one before it; how many heads the tree has, and how many
// its record says that it had before: negative where the record is wrong.
type signed struct {
	note, before tlog.Hash
	heads, from  int64
}

// witness holds checkpoints against a log that passes by.
type witness struct {
	ctx     context.Context
	log     Log
	notary  Notary
	find    func(Finding)
	sources []Checkpoints
	readers []*witnessReader

	// marks are those of the checkpoints that were read, in their order, as long as the log was
	// not held against them; read are those checkpoints.
	marks   map[eventlog.Stream][]mark
	read    []readRecord
	records int // how many were read
	waiting map[eventlog.Stream]span
	// told are the streams of which something was found.
	told map[eventlog.Stream]bool
	// notes are those that were read, by key and number.
	notes map[string]map[uint64]signed
	// forked are the keys that have signed two histories.
	forked map[string]bool
	// holes tells that checkpoints between others are missing, or can't be used.
	holes  bool
	counts Witnessed
}

// readRecord is a checkpoint whose heads are among the marks.
type readRecord struct {
	number  int
	at      domain.UnixMillis
	streams []eventlog.Stream
}

// witnessReader reads one source.
type witnessReader struct {
	name   string
	next   func() (Record, error, bool)
	chains map[string]*Chain
	// record is the next one, whose checkpoint is known; ok is false behind the last.
	record     Record
	checkpoint Checkpoint
	ok         bool
	begun      bool
}

func (w *witness) witnessed() Witnessed {
	out := w.counts
	out.Keys = slices.Sorted(maps.Keys(w.notes))
	return out
}

// begin is called before a commit of an instant.
func (w *witness) begin(at domain.UnixMillis) error {
	later := 0
	for _, r := range w.read {
		if r.at > at {
			later++
		}
	}
	for ; later < ahead; later++ {
		if ok, err := w.load(); err != nil || !ok {
			return err
		}
		if w.read[len(w.read)-1].at <= at {
			later--
		}
	}
	for len(w.read) > ahead && w.read[ahead].at < at {
		if err := w.settle(); err != nil {
			return err
		}
	}
	return nil
}

// load reads the next checkpoint, the earliest of all sources; false where there is none.
func (w *witness) load() (bool, error) {
	var first *witnessReader
	for _, r := range w.readers {
		if !r.begun {
			r.begun = true
			if err := w.advance(r); err != nil {
				return false, err
			}
		}
		if r.ok && (first == nil || r.checkpoint.At < first.checkpoint.At) {
			first = r
		}
	}
	if first == nil {
		return false, nil
	}
	record, checkpoint, where := first.record, first.checkpoint, first.where()
	if err := w.advance(first); err != nil {
		return false, err
	}
	w.records++
	read := readRecord{number: w.records, at: checkpoint.At}
	for _, h := range record.Heads {
		w.marks[h.Stream] = append(w.marks[h.Stream], mark{h.Version, h.Hash, read.number, where})
		read.streams = append(read.streams, h.Stream)
		switch s, ok := w.waiting[h.Stream]; {
		case ok && h.Version >= s.last:
			delete(w.waiting, h.Stream)
		case ok && h.Version >= s.first:
			s.first, s.at = h.Version+1, s.until
			w.waiting[h.Stream] = s
		}
	}
	w.read = append(w.read, read)
	return true, nil
}

func (r *witnessReader) where() string {
	return fmt.Sprintf("checkpoint %d of %s in %s", r.checkpoint.Number, r.checkpoint.At, r.name)
}

// advance goes to the source's next checkpoint that says something new.
func (w *witness) advance(r *witnessReader) error {
	for {
		record, err, ok := r.next()
		switch {
		case !ok:
			r.ok = false
			return nil
		case errors.Is(err, ErrRecord):
			continue // what is missed is found by what follows
		case err != nil:
			return fmt.Errorf("read the checkpoints in %s: %w", r.name, err)
		}
		text, key, err := w.notary.Open(record.Note)
		if errors.Is(err, ErrStranger) {
			w.counts.Strange++
			continue
		}
		if err == nil {
			r.checkpoint, err = ParseCheckpoint(text)
		}
		if err != nil {
			w.find(Finding{Where: "a checkpoint in " + r.name, Reason: err})
			continue
		}
		if w.take(r, key, record) {
			r.record, r.ok = record, true
			return nil
		}
	}
}

// take holds a checkpoint against the others of its key, and tells whether it is new. They may
// come twice, and in any order: only what they say can contradict.
func (w *witness) take(r *witnessReader, key string, record Record) bool {
	c, chain := r.checkpoint, r.chains[key]
	if chain == nil {
		chain = &Chain{}
		r.chains[key] = chain
	}
	if w.notes[key] == nil {
		w.notes[key] = map[uint64]signed{}
	}
	notes, note := w.notes[key], signed{NoteHash(record.Note), c.Before, c.Heads, record.Before}
	known, there := notes[c.Number]
	again := there && known.note == note.note
	var err error
	if last := chain.Last; c.Number > last.Number {
		err = chain.Follow(c, record)
	} else if _, _, err = record.trees(c); err == nil && (c.Network != last.Network || c.At > last.At || c.Heads > last.Heads) {
		err = ErrFork // it comes behind a later one, which alone is none
	}
	before, first := notes[c.Number-1]
	after, next := notes[c.Number+1]
	switch {
	case there && !again, first && before.note != note.before, next && after.before != note.note:
		err = ErrFork
	case err != nil && !errors.Is(err, ErrLost):
	case first && before.heads != note.from, again && known.from >= 0 && known.from != note.from, next && after.from >= 0 && after.from != note.heads:
		err = ErrTree
	}
	fork := errors.Is(err, ErrFork)
	if err != nil && !errors.Is(err, ErrLost) && (!fork || !w.forked[key]) { // what is missing here may be elsewhere
		w.find(Finding{Where: r.where(), Reason: err})
	}
	w.forked[key] = w.forked[key] || fork
	if again {
		return false
	}
	if errors.Is(err, ErrTree) {
		note.from = -1
	}
	notes[c.Number] = note
	if errors.Is(err, ErrTree) {
		w.holes = true
		return false
	}
	w.counts.Checkpoints++
	if w.counts.First == 0 || c.At < w.counts.First {
		w.counts.First = c.At
	}
	w.counts.Last = max(w.counts.Last, c.At)
	return true
}

// lost tells which checkpoints are missing before others of their key.
func (w *witness) lost() {
	for _, key := range slices.Sorted(maps.Keys(w.notes)) {
		last := uint64(0)
		for _, number := range slices.Sorted(maps.Keys(w.notes[key])) {
			if number > last+1 && (last != 0 || !w.known(number-1)) {
				w.holes = true
				w.find(Finding{Where: fmt.Sprintf("checkpoint %d of key %s", number, key), Reason: fmt.Errorf("%w: %d to %d", ErrLost, last+1, number-1)})
			}
			last = number
		}
	}
	if w.counts.Checkpoints == 0 {
		w.find(Finding{Where: "the checkpoints", Reason: ErrUnsigned})
	}
}

// known tells whether any key has signed a checkpoint of a number: one may go on where another ended.
func (w *witness) known(number uint64) bool {
	for _, notes := range w.notes {
		if _, ok := notes[number]; ok {
			return true
		}
	}
	return false
}

// part holds the checkpoints that were read against a part.
func (w *witness) part(p eventlog.Part, at domain.UnixMillis) {
	listed, last := false, p.Last()
	left := w.marks[p.Stream][:0]
	for _, m := range w.marks[p.Stream] {
		listed = listed || m.version >= last
		switch {
		case m.version == last:
			w.counts.Heads++
			if m.hash != p.Hash {
				w.wrong(p.Stream, m, ErrRewritten)
			}
		case m.version >= p.Version && m.version < last:
			w.counts.Heads++
			w.wrong(p.Stream, m, ErrRewritten)
		default: // it is of a part to come, or of one that came too early
			left = append(left, m)
		}
	}
	if len(left) == 0 {
		delete(w.marks, p.Stream)
	} else {
		w.marks[p.Stream] = left
	}
	if listed {
		return
	}
	s, ok := w.waiting[p.Stream]
	if !ok {
		s = span{first: p.Version, at: at}
	}
	s.last, s.until = max(s.last, last), at
	w.waiting[p.Stream] = s
}

// wrong tells of a stream, once.
func (w *witness) wrong(stream eventlog.Stream, m mark, reason error) {
	if !w.told[stream] {
		w.told[stream] = true
		w.find(Finding{Where: m.where, Stream: stream, Version: m.version, Reason: reason})
	}
}

// settle is done with the checkpoint that was read first: what the log has not shown of it
// is looked up.
func (w *witness) settle() error {
	read := w.read[0]
	w.read = w.read[1:]
	for _, stream := range read.streams {
		marks := w.marks[stream]
		if len(marks) == 0 || marks[0].from != read.number {
			continue // the log has shown it
		}
		if err := w.lookUp(stream, marks[0]); err != nil {
			return err
		}
		if marks = marks[1:]; len(marks) == 0 {
			delete(w.marks, stream)
		} else {
			w.marks[stream] = marks
		}
	}
	return nil
}

// lookUp reads from the log what a checkpoint says of a stream.
func (w *witness) lookUp(stream eventlog.Stream, m mark) error {
	w.counts.Heads++
	if w.told[stream] {
		return nil
	}
	for commit, err := range w.log.Read(w.ctx, stream, m.version) {
		if errors.Is(err, eventlog.ErrDamaged) {
			return nil // it was said when it was passed
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		if p := commit.Parts[0]; p.Last() != m.version || p.Hash != m.hash {
			w.wrong(stream, m, ErrRewritten)
		}
		return nil
	}
	has := eventlog.Version(0)
	for commit, err := range w.log.Read(w.ctx, stream, 1) {
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		has = commit.Parts[0].Last()
	}
	if has == 0 {
		w.wrong(stream, m, ErrDropped)
	} else {
		w.wrong(stream, m, fmt.Errorf("%w: it ends at version %d", ErrCut, has))
	}
	return nil
}

// end is called behind the last commit.
func (w *witness) end() error {
	for {
		ok, err := w.load()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		for len(w.read) > ahead {
			if err := w.settle(); err != nil {
				return err
			}
		}
	}
	for len(w.read) > 0 {
		if err := w.settle(); err != nil {
			return err
		}
	}
	w.lost()
	return w.inserted()
}

// inserted tells what no checkpoint has though it is older than the last of them.
func (w *witness) inserted() error {
	old := map[eventlog.Stream]span{}
	for stream, s := range w.waiting {
		if s.at < w.counts.Last-newest {
			old[stream] = s
		} else {
			w.counts.Newer++
		}
	}
	if len(old) == 0 {
		return nil
	}
	// In a log that is not in the order of time, it may be in one that was done with.
	for _, source := range w.sources {
		for record, err := range source.Records(w.ctx) {
			if errors.Is(err, ErrRecord) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read the checkpoints in %s: %w", source.Name, err)
			}
			if _, _, err := w.notary.Open(record.Note); err != nil {
				continue
			}
			for _, h := range record.Heads {
				if s, ok := old[h.Stream]; ok && h.Version >= s.last {
					delete(old, h.Stream)
				}
			}
		}
	}
	if w.holes {
		w.counts.Unlisted = uint64(len(old))
		return nil
	}
	streams := slices.SortedFunc(maps.Keys(old), func(a, b eventlog.Stream) int { return strings.Compare(string(a), string(b)) })
	for _, stream := range streams {
		w.find(Finding{Stream: stream, Version: old[stream].first, Reason: fmt.Errorf("%w: it is of %s", ErrInserted, old[stream].at)})
	}
	return nil
}
