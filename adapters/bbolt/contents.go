package bbolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"sync"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// errGap tells that parts of a stream don't follow each other.
var errGap = errors.New("a part before it is lost")

// commitsBucket is the one bucket of a segment: position → record, appended to alone.
var commitsBucket = []byte("commits")

// contents is what is known of a folder: its files, and of the streams what it takes to
// append to them and to find their parts. Its memory grows with the open streams and the
// segments that have no index yet, not with history. One goroutine alone may write (write,
// roll), one alone may index; any number may read.
type contents struct {
	dir       string
	options   Options
	handles   *handles
	directory *bolt.DB

	mu sync.RWMutex
	// segments are all of the folder, in order. The last is written to. Those that have no
	// index yet are the last one, and one before it while that is being indexed.
	segments []*segment
	// streams are the open ones, and all that have parts in a segment without an index.
	streams map[eventlog.Stream]state
	// causes tells, for each partition, which offsets the segments with an index have.
	causes map[partition][]offsets
	// newest is the greatest time of a commit in them.
	newest domain.UnixMillis
	last   eventlog.Position
}

// segment is a file of commits. tail and db are nil once it has an index.
type segment struct {
	first eventlog.Position
	tail  *tail
	db    *bolt.DB
}

// offsets tells which offsets of a partition are causes in a segment.
type offsets struct {
	segment   eventlog.Position
	low, high int64
	// newest is the segment's.
	newest domain.UnixMillis
}

// load reads a folder: the directory, and the segments that have no index, all of which
// but the last get one. This is how a log starts, and how it heals whatever a crash left.
func load(dir string, o Options) (*contents, error) {
	segments, indices, err := list(dir)
	if err != nil {
		return nil, err
	}
	c := &contents{
		dir: dir, options: o,
		handles: &handles{limit: openFiles},
		causes:  map[partition][]offsets{},
	}
	if err := c.fill(segments, indices); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *contents) fill(segments, indices []eventlog.Position) error {
	summaries, err := c.openDirectory(indices)
	if err != nil {
		return err
	}
	for _, s := range summaries {
		c.segments = append(c.segments, &segment{first: s.first})
		c.know(s)
		c.last = s.last
		if !slices.Contains(segments, s.first) {
			c.options.Logger.Error("A segment of the event log is missing: what it holds can't be read.", "segment", segmentName(s.first))
		}
	}
	c.forget()
	segments = slices.DeleteFunc(segments, func(first eventlog.Position) bool { return first <= c.last })
	if len(segments) == 0 {
		return damaged(segmentName(c.last+1), errors.New("the segment is missing"))
	}
	for i, first := range segments {
		if first != c.last+1 {
			return damaged(segmentName(c.last+1), errors.New("the segment is missing, or one before it is cut off"))
		}
		s, err := c.openSegment(first)
		if err != nil {
			return err
		}
		c.segments = append(c.segments, s)
		if err := c.scan(s); err != nil {
			return err
		}
		if i < len(segments)-1 {
			if err := c.index(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// openDirectory opens the directory and gives what is in it. Where it, or any index, is
// missing or broken, it begins a new one, and all indices with it.
func (c *contents) openDirectory(indices []eventlog.Position) (summaries []summary, err error) {
	path := filepath.Join(c.dir, directoryName)
	c.directory, err = openFile(path, bolt.Options{NoStatistics: true})
	if err == nil {
		summaries, c.streams, err = readDirectory(c.directory)
		for _, s := range summaries {
			if err == nil && !slices.Contains(indices, s.first) {
				err = fmt.Errorf("%s: %w", indexName(s.first), fs.ErrNotExist)
			}
		}
	}
	if err == nil {
		return summaries, nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errBroken) && !errors.Is(err, errSeal) {
		return nil, err
	}
	if len(indices) > 0 {
		c.options.Logger.Warn("The event log makes its indices again from its segments; this takes a while.", "reason", err)
	}
	if c.directory != nil {
		if err := c.directory.Close(); err != nil {
			return nil, err
		}
	}
	c.streams = map[eventlog.Stream]state{}
	if err := makeDirectory(c.dir, c.options.at); err != nil {
		return nil, err
	}
	c.directory, err = openFile(path, bolt.Options{NoStatistics: true})
	return nil, err
}

// know takes note of the causes of a segment that has an index.
func (c *contents) know(s summary) {
	c.newest = max(c.newest, s.newest)
	for p, bounds := range s.causes {
		c.causes[p] = append(c.causes[p], offsets{s.first, bounds[0], bounds[1], s.newest})
	}
}

// forget drops the causes that are older than the topics keep their records, counted from
// the newest commit: an imported log is as old as it is. A commit from the future counts as one of now.
func (c *contents) forget() {
	oldest := min(c.newest, domain.At(c.options.now())).Add(-retention)
	for p, all := range c.causes {
		c.causes[p] = slices.DeleteFunc(all, func(o offsets) bool { return o.newest < oldest })
	}
}

// openSegment opens a segment that has no index.
func (c *contents) openSegment(first eventlog.Position) (*segment, error) {
	o := bolt.Options{OpenFile: c.options.openFile}
	if runtime.GOOS != "windows" { // where a mapping is as large as its file
		// Mapped with room to grow, for growing waits for all who read.
		o.InitialMmapSize = int(2 * c.options.segmentSize)
	}
	db, err := openFile(filepath.Join(c.dir, segmentName(first)), o)
	if errors.Is(err, errBroken) {
		return nil, damaged(segmentName(first), err)
	}
	if err != nil {
		return nil, err
	}
	return &segment{first: first, tail: newTail(first), db: db}, nil
}

// scan reads the headers of a segment's commits.
func (c *contents) scan(s *segment) error {
	prefetch(filepath.Join(c.dir, segmentName(s.first)))
	var r record
	topics := map[string]string{}
	err := guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			cursor := tx.Bucket(commitsBucket).Cursor()
			for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
				if len(key) != 8 || eventlog.Position(binary.BigEndian.Uint64(key)) != s.tail.last+1 {
					return fmt.Errorf("%w: position %d does not follow %d", errBroken, key, s.tail.last)
				}
				decodeErr := r.decode(value)
				if decodeErr != nil {
					r.at, r.cause, r.topic = 0, eventlog.Cause{}, nil
				}
				topic, ok := topics[string(r.topic)]
				if !ok {
					topic = string(r.topic)
					topics[topic] = topic
				}
				r.cause.Topic = topic
				position := s.tail.commit(len(value), r.at, r.cause)
				for _, p := range r.parts {
					part := eventlog.Part{
						Stream: eventlog.Stream(p.stream), Version: p.version, Events: p.events, Kind: p.kind,
						Prev: eventlog.Hash(p.prev), Hash: eventlog.Hash(p.hash),
					}
					before, err := c.state(part.Stream)
					switch {
					case err != nil && !errors.Is(err, eventlog.ErrDamaged):
						return err
					case err == nil:
						err = decodeErr
					}
					if err == nil && (part.Version != before.head.Version+1 || part.Prev != before.head.Hash) {
						err = errGap
					}
					if err == nil {
						c.streams[part.Stream] = s.tail.part(s.first, before, part)
						continue
					}
					c.streams[part.Stream] = s.tail.lose(s.first, before, part, decodeErr == nil)
					c.options.Logger.Error("A stream of the event log is damaged; the others go on.",
						"segment", segmentName(s.first), "position", position, "stream", part.Stream, "reason", err)
				}
				if decodeErr != nil && len(r.parts) == 0 {
					c.options.Logger.Error("The event log is damaged, it can't be told in which streams.",
						"segment", segmentName(s.first), "position", position, "reason", decodeErr)
				}
			}
			return nil
		})
	})
	c.last = s.tail.last
	if errors.Is(err, errBroken) {
		return &eventlog.DamagedError{Where: segmentName(s.first), Position: s.tail.last + 1, Reason: err}
	}
	return err
}

func (c *contents) close() error {
	var errs []error
	for _, s := range c.segments {
		if s.db != nil {
			errs = append(errs, s.db.Close())
		}
	}
	if c.directory != nil {
		errs = append(errs, c.directory.Close())
	}
	return errors.Join(append(errs, c.handles.close())...)
}

// end is the position of the last commit.
func (c *contents) end() eventlog.Position {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.last
}

// unindexed are the segments that have no index.
func (c *contents) unindexed() (segments []eventlog.Position) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.segments {
		if s.tail != nil {
			segments = append(segments, s.first)
		}
	}
	return segments
}

// openStreams are the streams that are open.
func (c *contents) openStreams() (open []eventlog.Stream) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name, s := range c.streams {
		if s.open() {
			open = append(open, name)
		}
	}
	return open
}

// state is that of any stream, zero where it is empty.
func (c *contents) state(name eventlog.Stream) (state, error) {
	c.mu.RLock()
	s, ok := c.streams[name]
	c.mu.RUnlock()
	if ok {
		return s, nil
	}
	var at eventlog.Position
	err := guard(func() error {
		return c.directory.View(func(tx *bolt.Tx) (err error) {
			at, err = findClosed(tx, name)
			return err
		})
	})
	if err != nil {
		return state{}, blame(err, directoryName, 0, name)
	}
	if at == 0 {
		return state{}, nil
	}
	e, err := c.entry(at, name)
	return e.state, err
}

// entry is what a segment has of a stream; one from an index lacks the parts.
func (c *contents) entry(at eventlog.Position, name eventlog.Stream) (e entry, err error) {
	if e, ok := c.tailEntry(at, name); ok {
		return e, nil
	}
	err = c.viewIndex(at, name, func(tx *bolt.Tx) error {
		var ok bool
		if e, ok, err = findEntry(tx, name); err == nil && !ok {
			err = errSeal
		}
		return err
	})
	return e, err
}

// places is where a segment's parts of a stream are.
func (c *contents) places(at eventlog.Position, name eventlog.Stream) (places []place, err error) {
	if e, ok := c.tailEntry(at, name); ok {
		return e.parts, nil
	}
	err = c.viewIndex(at, name, func(tx *bolt.Tx) error {
		places, err = findParts(tx, name)
		return err
	})
	return places, err
}

// tailEntry is the entry of a segment that has no index yet.
func (c *contents) tailEntry(at eventlog.Position, name eventlog.Stream) (entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.segment(at)
	if s.tail == nil {
		return entry{}, false
	}
	e, ok := s.tail.entries[name]
	if !ok {
		return entry{}, false
	}
	return *e, true
}

// segment is the one that holds a position. The caller holds mu.
func (c *contents) segment(at eventlog.Position) *segment {
	i := sort.Search(len(c.segments), func(i int) bool { return c.segments[i].first > at })
	return c.segments[i-1]
}

// viewIndex reads the index of a segment.
func (c *contents) viewIndex(at eventlog.Position, name eventlog.Stream, read func(*bolt.Tx) error) error {
	return blame(c.handles.view(filepath.Join(c.dir, indexName(at)), read), indexName(at), 0, name)
}

// view reads the segment that holds a position. first is that of the segment.
func (c *contents) view(at eventlog.Position, name eventlog.Stream, read func(first eventlog.Position, commits *bolt.Bucket) error) error {
	for {
		c.mu.RLock()
		s := c.segment(at)
		db := s.db
		c.mu.RUnlock()
		inBucket := func(tx *bolt.Tx) error { return read(s.first, tx.Bucket(commitsBucket)) }
		var err error
		if db == nil {
			err = c.handles.view(filepath.Join(c.dir, segmentName(s.first)), inBucket)
		} else {
			err = guard(func() error { return db.View(inBucket) })
		}
		if errors.Is(err, bolterrors.ErrDatabaseNotOpen) && db != nil && c.indexed(s) {
			continue // it got its index meanwhile
		}
		return blame(err, segmentName(s.first), at, name)
	}
}

func (c *contents) indexed(s *segment) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return s.db == nil
}

// blame makes a DamagedError of an error that tells of damage.
func blame(err error, where string, at eventlog.Position, name eventlog.Stream) error {
	var already *eventlog.DamagedError
	var hash *hashError
	switch {
	case errors.As(err, &already):
		return err
	case errors.Is(err, errBroken), errors.Is(err, errSeal), errors.Is(err, errRecord), errors.Is(err, fs.ErrNotExist), errors.As(err, &hash):
	default:
		return err
	}
	if filepath.Ext(where) != segmentSuffix {
		err = fmt.Errorf("%w (to have the file made again, stop the program, remove the file, and start)", err)
	}
	return &eventlog.DamagedError{Where: where, Position: at, Stream: name, Reason: err}
}

// byCause is the position of a cause's commit, 0 where there is none.
func (c *contents) byCause(cause eventlog.Cause) (eventlog.Position, error) {
	if cause.IsZero() {
		return 0, nil
	}
	p, k := partition{cause.Topic, cause.Partition}, causeKey{cause.Offset, cause.Digest}
	position, candidates := c.candidates(p, k)
	for _, at := range candidates {
		if position != 0 {
			break
		}
		err := c.viewIndex(at, "", func(tx *bolt.Tx) (err error) {
			position, err = findCause(tx, p, k)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return position, nil
}

// candidates gives a cause's position, where a segment without an index has it, else
// the segments that may have it.
func (c *contents) candidates(p partition, k causeKey) (eventlog.Position, []eventlog.Position) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range slices.Backward(c.segments) {
		if s.tail == nil {
			break
		}
		if position, ok := s.tail.causes[p][k]; ok {
			return position, nil
		}
	}
	var segments []eventlog.Position
	for _, o := range slices.Backward(c.causes[p]) {
		if o.low <= k.offset && k.offset <= o.high {
			segments = append(segments, o.segment)
		}
	}
	return 0, segments
}

// stored is a record as it was found.
type stored struct {
	position eventlog.Position
	value    []byte
}

const (
	// chunkCommits and chunkBytes bound what is read in one transaction: one that lasts
	// keeps pages from being used again.
	chunkCommits = 512
	chunkBytes   = 1 << 20
)

// fetch reads the commits at the first of some positions, at least one, all in one segment.
func (c *contents) fetch(name eventlog.Stream, positions []eventlog.Position) (found []stored, err error) {
	err = c.view(positions[0], name, func(_ eventlog.Position, commits *bolt.Bucket) error {
		found = nil // a view may be tried again
		size := 0
		for _, position := range positions {
			value := commits.Get(positionKey(position))
			if value == nil {
				// It is in the next segment, or lost.
				if len(found) == 0 {
					return fmt.Errorf("%w: the position is missing", errBroken)
				}
				return nil
			}
			found = append(found, stored{position, slices.Clone(value)})
			if size += len(value); size > chunkBytes || len(found) == chunkCommits {
				return nil
			}
		}
		return nil
	})
	return found, err
}

// sequence reads the commits from a position on, up to an end that exists: at least one,
// all in one segment.
func (c *contents) sequence(from, end eventlog.Position) (found []stored, err error) {
	err = c.view(from, "", func(first eventlog.Position, commits *bolt.Bucket) error {
		found = nil
		if from == first {
			prefetch(filepath.Join(c.dir, segmentName(first)))
		}
		size := 0
		cursor := commits.Cursor()
		for key, value := cursor.Seek(positionKey(from)); key != nil; key, value = cursor.Next() {
			position := from + eventlog.Position(len(found))
			if position > end || size > chunkBytes || len(found) == chunkCommits {
				return nil
			}
			if string(key) != string(positionKey(position)) {
				break
			}
			found = append(found, stored{position, slices.Clone(value)})
			size += len(value)
		}
		if len(found) == 0 {
			return fmt.Errorf("%w: the position is missing", errBroken)
		}
		return nil
	})
	return found, err
}

// addition is a commit that was checked and is to be written.
type addition struct {
	commit eventlog.Commit
	value  []byte
	// before are the states of its parts' streams.
	before []state
}

// write stores commits durably, all or none, and takes note of them.
func (c *contents) write(additions []addition) error {
	open := c.segments[len(c.segments)-1] // nobody else changes the slice
	err := guard(func() error {
		return open.db.Update(func(tx *bolt.Tx) error {
			commits := tx.Bucket(commitsBucket)
			commits.FillPercent = 1
			for i, a := range additions {
				if err := commits.Put(positionKey(c.last+1+eventlog.Position(i)), a.value); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err == nil {
		err = c.options.at("written " + segmentName(open.first))
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range additions {
		c.last = open.tail.commit(len(a.value), a.commit.At, a.commit.Cause)
		for i, p := range a.commit.Parts {
			c.streams[p.Stream] = open.tail.part(open.first, a.before[i], p)
		}
	}
	return nil
}

// full tells whether the segment that is written to has its size.
func (c *contents) full() bool {
	return c.segments[len(c.segments)-1].tail.size >= c.options.segmentSize
}

// roll begins a new segment, and gives the one before it, which wants an index.
func (c *contents) roll() (*segment, error) {
	first := c.last + 1
	if err := makeSegment(c.dir, first, c.options.at); err != nil {
		return nil, err
	}
	s, err := c.openSegment(first)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.segments = append(c.segments, s)
	return c.segments[len(c.segments)-2], nil
}

// index writes the index of a segment that nobody writes to any more, and forgets what
// is in it.
func (c *contents) index(s *segment) error {
	path := filepath.Join(c.dir, indexName(s.first))
	if err := makeFile(path, c.options.at, func(tx *bolt.Tx) error { return writeIndex(tx, s.tail) }); err != nil {
		return err
	}
	known := summarize(s.first, s.tail)
	err := guard(func() error {
		return c.directory.Update(func(tx *bolt.Tx) error { return addToDirectory(tx, known, s.tail) })
	})
	if err == nil {
		err = c.options.at("added " + indexName(s.first))
	}
	if err != nil {
		return err
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range s.tail.entries {
		if now := c.streams[name]; !now.open() && now.segment == s.first {
			delete(c.streams, name)
		}
	}
	c.know(known)
	c.forget()
	// Closed here, where nobody can open it anew: a file that is written to is locked. This
	// waits for those who read it; they wait for nothing.
	err = s.db.Close()
	s.tail, s.db = nil, nil
	return err
}
