package bbolt

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

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
	// indexes tells that a segment gets an index once it is full: whoever only reads makes
	// none where the others are right.
	indexes bool

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

	// salvaged has, for each segment that is broken, the file that is read in its place, in the
	// temporary folder aside. One at a time is salvaged.
	salvaged  map[eventlog.Position]string
	aside     string
	salvaging sync.Mutex
}

// segment is a file of commits. tail and db are nil once it has an index.
type segment struct {
	first eventlog.Position
	tail  *tail
	db    *bolt.DB
	// Of one that is broken and has no index: end is its last position, open the one from which
	// on it isn't known whether there was anything, 0 where that is known.
	salvaged  bool
	end, open eventlog.Position
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
	if !o.reading {
		if err := sweep(dir); err != nil {
			return nil, err
		}
	}
	segments, indices, err := list(dir)
	if err != nil {
		return nil, err
	}
	c := &contents{
		dir: dir, options: o,
		handles:  &handles{limit: openFiles, expected: map[string]fileDigest{}},
		causes:   map[partition][]offsets{},
		salvaged: map[eventlog.Position]string{},
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
	if c.options.reading && (len(segments) == 0 || segments[0] != c.last+1) {
		segments = slices.Insert(segments, 0, c.last+1) // and nothing of it can be had back
	}
	if len(segments) == 0 {
		return damaged(segmentName(c.last+1), errors.New("the segment is missing"))
	}
	for i, first := range segments {
		if first != c.last+1 {
			return damaged(segmentName(c.last+1), errors.New("the segment is missing, or one before it is cut off"))
		}
		until := eventlog.Position(0)
		if i < len(segments)-1 {
			until = segments[i+1]
		}
		if err := c.take(first, until); err != nil {
			return err
		}
		// No index is made of what was salvaged, nor of what comes behind that.
		if s := c.segments[len(c.segments)-1]; until != 0 && len(c.salvaged) == 0 && c.indexes {
			if err := c.index(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// take opens and scans a segment that has no index. until is where the next begins, 0 where
// there is none. One that is broken is salvaged by whoever only reads.
func (c *contents) take(first, until eventlog.Position) error {
	var before map[eventlog.Stream]state
	if c.options.reading {
		before = maps.Clone(c.streams)
	}
	err := notFound(checkPages(filepath.Join(c.dir, segmentName(first))))
	if err == nil {
		var s *segment
		if s, err = c.openSegment(first); err != nil {
			return err
		}
		c.segments = append(c.segments, s)
		err = c.scan(s)
		if err == nil && c.options.reading && until != 0 && s.tail.last != until-1 {
			err = fmt.Errorf("%w: it is cut off behind position %d", errBroken, s.tail.last)
		}
		if err != nil && c.options.reading {
			c.segments = c.segments[:len(c.segments)-1]
			err = errors.Join(err, s.db.Close())
		}
	}
	if err == nil || !c.options.reading || !errors.Is(err, errBroken) {
		return blame(err, segmentName(first), 0, "")
	}
	s, err := c.openBroken(first, until, err)
	if err != nil {
		return err
	}
	c.streams, c.segments = before, append(c.segments, s)
	return c.scan(s)
}

// notFound makes of a file that is not there one that is broken.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return err
}

// openDirectory opens the directory and gives what is in it. Where it, or any index, is
// missing or broken, it begins a new one, and all indices with it.
func (c *contents) openDirectory(indices []eventlog.Position) (summaries []summary, err error) {
	path := filepath.Join(c.dir, directoryName)
	if err = checkPages(path); err == nil {
		c.directory, err = openFile(path, bolt.Options{NoStatistics: true, ReadOnly: c.options.reading})
	}
	if err == nil {
		c.indexes = !c.options.reading
		summaries, c.streams, err = readDirectory(c.directory)
		for _, s := range summaries {
			if err == nil {
				err = s.index.check(filepath.Join(c.dir, indexName(s.first)))
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
	c.streams, c.indexes = map[eventlog.Stream]state{}, true
	if err := makeDirectory(c.dir, c.options.at); mayNotWrite(err) {
		return nil, fmt.Errorf("the event log's indices have to be made again, and its folder can't be written to, so copy it to where it can: %w", err)
	} else if err != nil {
		return nil, err
	}
	c.directory, err = openFile(path, bolt.Options{NoStatistics: true})
	return nil, err
}

// know takes note of the causes of a segment that has an index.
func (c *contents) know(s summary) {
	c.newest = max(c.newest, s.newest)
	c.handles.expect(filepath.Join(c.dir, indexName(s.first)), s.index)
	for p, bounds := range s.causes {
		c.causes[p] = append(c.causes[p], offsets{s.first, bounds[0], bounds[1], s.newest})
	}
}

// forget drops the causes that are older than the topics keep their records, counted from
// the newest commit: an imported log is as old as it is. A commit from the future counts
// as one of now.
func (c *contents) forget() {
	oldest := min(c.newest, domain.At(c.options.now())).Add(-retention)
	for p, all := range c.causes {
		c.causes[p] = slices.DeleteFunc(all, func(o offsets) bool { return o.newest < oldest })
	}
}

// openSegment opens a segment that has no index.
func (c *contents) openSegment(first eventlog.Position) (*segment, error) {
	o := bolt.Options{OpenFile: c.options.openFile, ReadOnly: c.options.reading}
	if runtime.GOOS != "windows" && !c.options.reading { // where a mapping is as large as its file
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
	errs = append(errs, c.handles.close())
	if c.aside != "" {
		errs = append(errs, os.RemoveAll(c.aside))
	}
	return errors.Join(errs...)
}
