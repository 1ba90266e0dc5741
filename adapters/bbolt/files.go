package bbolt

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"evcharging/adapters/durable"
)

const (
	temporary = ".tmp"
	// lockWait is as short as bbolt knows: it looks once.
	lockWait = time.Nanosecond
	// growth is how much a file grows at once; each time costs a sync.
	growth = 4 << 20
	// leastFile is less than any file has: two pages that say where it begins.
	leastFile = 2 * 4096
)

// errBroken tells that a file is not what bbolt wrote.
var errBroken = errors.New("the file is broken")

// guard runs what reads a mapped file. bbolt panics where a page makes no sense, and the
// system faults where a file is shorter than it says; neither may end the process.
func guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errBroken, r)
		}
	}()
	return read()
}

// openFile opens a bbolt file that is there.
func openFile(path string, options bolt.Options) (db *bolt.DB, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, fmt.Errorf("%w: it is empty", errBroken) // bbolt would make a new one of it
	}
	if info.Size() < leastFile {
		return nil, fmt.Errorf("%w: it is cut off", errBroken)
	}
	options.Timeout = lockWait
	err = guard(func() error {
		db, err = bolt.Open(path, 0o644, &options)
		return err
	})
	if errors.Is(err, bolterrors.ErrInvalid) || errors.Is(err, bolterrors.ErrChecksum) || errors.Is(err, bolterrors.ErrVersionMismatch) {
		err = fmt.Errorf("%w: %w", errBroken, err)
	}
	if err != nil {
		return nil, err
	}
	db.AllocSize = growth
	return db, nil
}

// makeFile makes a bbolt file that is there whole and durably, or not at all: it is
// filled beside its place and then put there, over any file that is there already.
func makeFile(path string, at crashPoint, fill func(*bolt.Tx) error) error {
	// What a crash or a failure left there is of no use to anybody.
	if err := os.Remove(path + temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := bolt.Open(path+temporary, 0o644, &bolt.Options{Timeout: lockWait, NoSync: true, NoGrowSync: true, NoStatistics: true})
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(fill), db.Sync(), db.Close()); err != nil {
		return err
	}
	return settle(path, at)
}

// settle puts a finished temporary file in its place, durably.
func settle(path string, at crashPoint) error {
	if err := at("made " + filepath.Base(path)); err != nil {
		return err
	}
	if err := os.Rename(path+temporary, path); err != nil {
		return err
	}
	if err := at("named " + filepath.Base(path)); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(path))
}

// writeFile makes a file that is there whole and durably, or not at all.
func writeFile(path string, at crashPoint, content io.Reader) error {
	f, err := os.OpenFile(path+temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return settle(path, at)
}

// rewrite puts a copy in the place of a file. After a sync has failed, what can be read
// of a file need not be on the disk, and no later sync puts it there; of the copy it does.
func rewrite(path string, at crashPoint) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return writeFile(path, at, f)
}

// prefetch reads a file once in sequence: walking a mapped file that is not in memory
// reads it page by page, many times slower.
func prefetch(path string) {
	f, err := os.Open(path)
	if err != nil {
		return // whoever walks the file meets the error
	}
	defer f.Close()
	buffer := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Read(buffer)
	}
}

// fileDigest is the SHA-256 of a file that is written once.
type fileDigest [sha256.Size]byte

func digestFile(path string) (d fileDigest, err error) {
	file, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return d, err
	}
	h.Sum(d[:0])
	return d, nil
}

// check is errBroken where the file is not as it was made.
func (d fileDigest) check(path string) error {
	is, err := digestFile(path)
	if err == nil && is != d {
		err = fmt.Errorf("%w: %s is not as it was made", errBroken, filepath.Base(path))
	}
	return err
}

// handles keeps the files that nobody writes to open, the last used ones of them.
type handles struct {
	mu sync.Mutex
	// open is ordered, the last used at the end.
	open   []*bolt.DB
	limit  int
	closed bool
	// expected are the digests of those that have to be as they were made, and were not opened yet.
	expected map[string]fileDigest
}

func (h *handles) expect(path string, d fileDigest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expected[path] = d
}

// view reads a file. It fails with bolterrors.ErrDatabaseNotOpen once the handles are closed.
func (h *handles) view(path string, read func(*bolt.Tx) error) error {
	for {
		db, surplus, err := h.get(path)
		if surplus != nil {
			_ = surplus.Close() // it was only read; this waits for those who read it
		}
		if err != nil {
			return err
		}
		err = guard(func() error { return db.View(read) })
		if errors.Is(err, bolterrors.ErrDatabaseNotOpen) && h.evicted(db) {
			continue
		}
		return err
	}
}

func (h *handles) get(path string) (db, surplus *bolt.DB, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, bolterrors.ErrDatabaseNotOpen
	}
	i := slices.IndexFunc(h.open, func(db *bolt.DB) bool { return db.Path() == path })
	if i >= 0 {
		db = h.open[i]
		h.open = append(slices.Delete(h.open, i, i+1), db)
		return db, nil, nil
	}
	if d, ok := h.expected[path]; ok {
		if err := d.check(path); err != nil {
			return nil, nil, err
		}
		delete(h.expected, path) // once: it may be opened often
	}
	if db, err = openFile(path, bolt.Options{ReadOnly: true, NoStatistics: true}); err != nil {
		return nil, nil, err
	}
	if h.open = append(h.open, db); len(h.open) > h.limit {
		surplus = h.open[0]
		h.open = slices.Delete(h.open, 0, 1)
	}
	return db, surplus, nil
}

// drop closes a file that is not needed for a while. Whoever needs it all the same opens it again.
func (h *handles) drop(path string) {
	h.mu.Lock()
	i := slices.IndexFunc(h.open, func(db *bolt.DB) bool { return db.Path() == path })
	var db *bolt.DB
	if i >= 0 {
		db = h.open[i]
		h.open = slices.Delete(h.open, i, i+1)
	}
	h.mu.Unlock()
	if db != nil {
		_ = db.Close() // it was only read; this waits for those who read it
	}
}

// evicted tells whether somebody closed a file to make room for others.
func (h *handles) evicted(db *bolt.DB) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.closed && !slices.Contains(h.open, db)
}

func (h *handles) close() error {
	h.mu.Lock()
	h.closed = true
	open := h.open
	h.open = nil
	h.mu.Unlock()
	var errs []error
	for _, db := range open {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}
