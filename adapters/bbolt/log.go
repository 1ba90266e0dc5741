package bbolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	bolterrors "go.etcd.io/bbolt/errors"

	"evcharging/application/eventlog"
)

const (
	// segmentSize is how many bytes of commits a segment gets before the next one begins.
	segmentSize = 64 << 20
	// retention is for how long at least a cause is known: longer than the topics keep
	// their records.
	retention = 31 * 24 * time.Hour
	// openFiles bounds how many closed segments and indices are kept open.
	openFiles = 64
	// healPause is how long the log leaves a store that refused alone.
	healPause = time.Second
)

// Options are what may be chosen. The zero Options are right.
type Options struct {
	// Logger is told of damage and of what was healed; slog.Default() where it is nil.
	Logger *slog.Logger
	// Network is the id of the network that a new log gets, for one that is imported; a new
	// one where it is uuid.Nil.
	Network uuid.UUID

	// reading is chosen by OpenToRead.
	reading bool

	// What tests choose.
	segmentSize int64
	healPause   time.Duration
	now         func() time.Time
	fault       crashPoint
	openFile    func(string, int, os.FileMode) (*os.File, error)
}

// crashPoint is called between any two steps that a crash may part. An error ends the
// work there, as a crash would.
type crashPoint func(step string) error

func (o Options) at(step string) error {
	if o.fault == nil {
		return nil
	}
	return o.fault(step)
}

// Log is an event log in a folder. It may be used from any number of goroutines; one
// process alone has the folder.
type Log struct {
	dir     string
	options Options
	lock    *os.File
	network uuid.UUID
	queue   queue
	// ended is closed when nothing is written any more, indexing done when no segment is
	// being indexed.
	ended    chan struct{}
	indexing sync.WaitGroup
	// contents is nil once the log is closed.
	contents atomic.Pointer[contents]
	// failure is the write that failed, nil while all is well.
	failure  atomic.Pointer[failure]
	indexers atomic.Int32
	closing  sync.Once
	closeErr error
}

var _ eventlog.Log = (*Log)(nil)

// errReading is a fault of whoever opened a log to read it.
var errReading = errors.New("the event log was opened to be read")

// OpenToRead opens the log in a folder, as Open does, to read it alone: Append fails. Where
// segments are broken, it gives what can be had back of them, and ErrDamaged for the rest;
// it changes no segment. It opens a folder that can't be written to, too, where its indices are
// as they were made. fs.ErrNotExist where there is no log.
func OpenToRead(dir string, options Options) (*Log, error) {
	options.reading = true
	return Open(dir, options)
}

// Open opens the log in a folder, and makes folder and log where there are none. It heals
// what a crash has left. It returns ErrInUse where another process has the folder,
// ErrNewer where a newer program wrote it, eventlog.ErrDamaged where it can't be told any
// more where its streams end (then OpenToRead gives what can be had back), or the file
// system's error. Whoever opens it closes it.
func Open(dir string, options Options) (*Log, error) {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if options.segmentSize == 0 {
		options.segmentSize = segmentSize
	}
	if options.healPause == 0 {
		options.healPause = healPause
	}
	if options.now == nil {
		options.now = time.Now
	}
	l := &Log{dir: dir, options: options, ended: make(chan struct{})}
	l.queue.arrived = make(chan struct{}, 1)
	var err error
	if options.reading {
		l.lock, err = lockToRead(dir)
	} else {
		l.lock, err = lockFolder(dir)
	}
	if err != nil {
		return nil, err
	}
	c, err := l.load()
	if err != nil {
		return nil, errors.Join(err, l.unlock())
	}
	l.contents.Store(c)
	go l.write()
	return l, nil
}

func (l *Log) load() (c *contents, err error) {
	network, ok, err := readManifest(l.dir)
	if err != nil {
		return nil, err
	}
	if !ok && l.options.reading {
		return nil, fs.ErrNotExist
	}
	if !ok {
		if network, err = makeFolder(l.dir, l.options); err != nil {
			return nil, err
		}
	}
	l.network = network
	doubtful, err := suspected(l.dir)
	if err == nil && doubtful && !l.options.reading {
		var segments []eventlog.Position
		if segments, _, err = list(l.dir); err == nil {
			err = secure(l.dir, segments[max(0, len(segments)-1):], l.options.at)
		}
	}
	if err != nil {
		return nil, err
	}
	c, err = load(l.dir, l.options)
	var damage *eventlog.DamagedError
	if errors.As(err, &damage) {
		damage.Reason = fmt.Errorf("%w. It is not known any more where its streams end, so nothing is written to it, and no segment was changed: "+
			"`ev-replay verify --log %s` says what can be had back; to go on, bring the folder back from a copy, or import an export of it into a new folder",
			damage.Reason, l.dir)
	}
	return c, err
}

// NetworkID is the id of the network whose log this is. It was made with the log and
// never changes.
func (l *Log) NetworkID() uuid.UUID { return l.network }

// Close ends the log. What was being appended is stored or answered with
// eventlog.ErrClosed; everything after is answered with eventlog.ErrClosed.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.queue.close()
		<-l.ended
		l.indexing.Wait()
		l.closeErr = errors.Join(l.contents.Swap(nil).close(), l.unlock())
	})
	return l.closeErr
}

func (l *Log) unlock() error {
	if l.lock == nil {
		return nil // of a folder that is only read
	}
	return l.lock.Close()
}

// use runs what reads the contents, again where they were replaced meanwhile.
func (l *Log) use(ctx context.Context, read func(*contents) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := l.contents.Load()
		if c == nil {
			return eventlog.ErrClosed
		}
		err := read(c)
		if errors.Is(err, bolterrors.ErrDatabaseNotOpen) && l.contents.Load() != c {
			continue
		}
		return err
	}
}

// Head implements eventlog.Log.
func (l *Log) Head(ctx context.Context, name eventlog.Stream) (head eventlog.Head, err error) {
	err = l.use(ctx, func(c *contents) error {
		s, err := c.intact(name)
		head = s.head
		return err
	})
	return head, err
}

// Read implements eventlog.Log.
func (l *Log) Read(ctx context.Context, name eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		var places []place
		var damage error
		err := l.use(ctx, func(c *contents) error {
			s, err := c.intact(name)
			if errors.Is(err, eventlog.ErrDamaged) && s.damage != 0 {
				damage, err = err, nil // after what can be read
			}
			if err == nil {
				places, err = c.parts(s, name, from)
			}
			return err
		})
		positions := make([]eventlog.Position, len(places))
		for i, p := range places {
			positions[i] = p.position
		}
		var before eventlog.Part
		for err == nil && len(positions) > 0 {
			var found []eventlog.Commit
			found, err = l.fetch(ctx, name, positions)
			for i, commit := range found {
				part := commit.Parts[0]
				if err = l.chained(ctx, before, part, positions[i]); err != nil {
					break
				}
				if before = part; !yield(commit, nil) {
					return
				}
			}
			positions = positions[len(found):]
			if err == nil {
				err = ctx.Err()
			}
		}
		if err == nil {
			err = damage
		}
		if err != nil {
			yield(eventlog.Commit{}, err)
		}
	}
}

// chained is ErrDamaged where a part follows another in version, and is not made to follow it.
func (l *Log) chained(ctx context.Context, before, part eventlog.Part, at eventlog.Position) error {
	if before.Version == 0 || part.Version != before.Last()+1 || part.Prev == before.Hash {
		return nil
	}
	return l.use(ctx, func(c *contents) error {
		return &eventlog.DamagedError{Where: c.segmentOf(at), Position: at, Stream: part.Stream, Reason: errChain}
	})
}

// fetch reads parts of a stream: those at the first of some positions, at least one.
func (l *Log) fetch(ctx context.Context, name eventlog.Stream, positions []eventlog.Position) (commits []eventlog.Commit, err error) {
	err = l.use(ctx, func(c *contents) error {
		found, err := c.fetch(name, positions)
		if err != nil {
			return err
		}
		commits = make([]eventlog.Commit, 0, len(found))
		var r record
		for _, f := range found {
			commit, err := c.decode(&r, f, name)
			if err != nil {
				return err
			}
			commits = append(commits, commit)
		}
		return nil
	})
	return commits, err
}

// Rehydrate implements eventlog.Log.
func (l *Log) Rehydrate(ctx context.Context, name eventlog.Stream) (commits []eventlog.Commit, err error) {
	var positions []eventlog.Position
	err = l.use(ctx, func(c *contents) (err error) {
		positions, err = c.alive(name)
		return err
	})
	for err == nil && len(positions) > 0 {
		var found []eventlog.Commit
		found, err = l.fetch(ctx, name, positions)
		for i, commit := range found {
			if err == nil && len(commits) > 0 {
				err = l.chained(ctx, commits[len(commits)-1].Parts[0], commit.Parts[0], positions[i])
			}
			commits = append(commits, commit)
		}
		positions = positions[len(found):]
	}
	if err != nil {
		return nil, err
	}
	return commits, nil
}

// ByCause implements eventlog.Log. A cause is known for 31 days at least.
func (l *Log) ByCause(ctx context.Context, cause eventlog.Cause) (commit eventlog.Commit, ok bool, err error) {
	err = l.use(ctx, func(c *contents) error {
		position, err := c.byCause(cause)
		if err != nil || position == 0 {
			return err
		}
		commit, err = c.whole(position)
		if err == nil && commit.Cause != cause {
			err = &eventlog.DamagedError{Where: c.segmentOf(position), Position: position, Reason: errors.New("its index is of another segment")}
		}
		ok = err == nil
		return err
	})
	if !ok {
		commit = eventlog.Commit{}
	}
	return commit, ok, err
}

// All implements eventlog.Log. Positions have no gaps but where samples were moved to an
// archive.
func (l *Log) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		end, err := l.End(ctx)
		var r record
		for from = max(from, 1); err == nil && from <= end; {
			var found []stored
			err = l.use(ctx, func(c *contents) (err error) {
				found, err = c.sequence(from, end)
				return err
			})
			for _, f := range found {
				if f.value == nil {
					from = f.next
					continue
				}
				var commit eventlog.Commit
				err = l.use(ctx, func(c *contents) (err error) {
					commit, err = c.decode(&r, f, "")
					return err
				})
				if err != nil {
					break
				}
				if len(commit.Parts) > 0 && !yield(eventlog.Positioned{Position: f.position, Commit: commit}, nil) {
					return
				}
				from = f.next
			}
		}
		if err != nil {
			yield(eventlog.Positioned{}, err)
		}
	}
}

// End implements eventlog.Log.
func (l *Log) End(ctx context.Context) (end eventlog.Position, err error) {
	err = l.use(ctx, func(c *contents) error {
		end = c.end()
		return nil
	})
	return end, err
}

// Open implements eventlog.Log.
func (l *Log) Open(ctx context.Context) (open []eventlog.Stream, err error) {
	err = l.use(ctx, func(c *contents) error {
		open = c.openStreams()
		return nil
	})
	return open, err
}
