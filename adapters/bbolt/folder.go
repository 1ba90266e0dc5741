package bbolt

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/google/uuid"
	bolt "go.etcd.io/bbolt"

	"evcharging/adapters/durable"
	"evcharging/application/eventlog"
)

// The files of a folder. A segment and its index are named by the segment's first position.
const (
	manifestName  = "log"
	lockName      = "lock"
	suspectName   = "suspect"
	directoryName = "index.db"
	segmentSuffix = ".seg"
	indexSuffix   = ".idx"
)

// The format of the folder as a whole. A program refuses a newer one.
const (
	folderFormat = 1
	// archivedFormat is that of a folder some of whose samples were moved to an archive.
	archivedFormat = 2
)

const manifestTitle = "evcharging event log"

var (
	// ErrInUse tells that another process, or another Log of this one, has the folder.
	ErrInUse = errors.New("the event log is in use by another program: stop that program, or take another folder")
	// ErrNewer tells that the folder was written by a newer program.
	ErrNewer = errors.New("the event log was written by a newer program: run that program, or take another folder")
)

func segmentName(first eventlog.Position) string {
	return fmt.Sprintf("%020d%s", first, segmentSuffix)
}

func indexName(first eventlog.Position) string { return fmt.Sprintf("%020d%s", first, indexSuffix) }

// lockFolder makes the folder, if need be, and takes it for this Log alone.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := durable.Take(filepath.Join(dir, lockName), 0)
	return lock, inUse(dir, err)
}

// lockToRead takes a folder that is there. It gives no lock where there is none, and none can be
// made: that of a copy on a disk that is only read.
func lockToRead(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	lock, err := durable.Take(path, 0)
	if mayNotWrite(err) {
		if lock, err = durable.TakeToRead(path); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	return lock, inUse(dir, err)
}

func inUse(dir string, err error) error {
	if errors.Is(err, durable.ErrHeld) {
		err = fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	return err
}

// mayNotWrite tells that a folder can be read alone.
func mayNotWrite(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// readManifest gives the network's id; ok is false in a folder that has no log yet.
func readManifest(dir string) (network uuid.UUID, ok bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return uuid.Nil, false, nil
	}
	if err != nil {
		return uuid.Nil, false, err
	}
	// Earlier programs wrote none.
	if said, sum, checked := strings.Cut(string(text), checkedBy); checked && sum != checksumOf(said) {
		return uuid.Nil, false, unknownLog(errors.New("it is not as it was written"))
	}
	var id string
	var format int
	if n, _ := fmt.Sscanf(string(text), manifestTitle+"\nformat %d\nnetwork %s\n", &format, &id); n < 1 {
		return uuid.Nil, false, unknownLog(errors.New("it is no manifest of an event log"))
	}
	if format > archivedFormat {
		return uuid.Nil, false, fmt.Errorf("%s has format %d, this program knows %d: %w", dir, format, archivedFormat, ErrNewer)
	}
	if network, err = uuid.Parse(id); err != nil {
		return uuid.Nil, false, unknownLog(err)
	}
	return network, true, nil
}

// unknownLog is a DamagedError of the manifest, with what to do.
func unknownLog(reason error) error {
	return damaged(manifestName, fmt.Errorf("%w; bring the file back from a copy, or write it anew, three lines: %q, %q and %q "+
		"with the network's id, which the name of its public key begins with, and each export has in its first line",
		reason, manifestTitle, fmt.Sprint("format ", archivedFormat), "network ID"))
}

// Exists tells whether a folder has a log. Its error is that of reading the folder, or
// ErrDamaged where there is one, and it can't be told whose.
func Exists(dir string) (bool, error) {
	_, ok, err := readManifest(dir)
	if ok || err != nil {
		return ok, err
	}
	segments, _, err := list(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return false, errors.Join(err, begun(dir, segments))
}

// begun is nil where a folder without a manifest has no more than what a crash may have left
// when its log was made: the first segment, which is empty then.
func begun(dir string, segments []eventlog.Position) error {
	for _, first := range segments {
		empty, err := emptySegment(filepath.Join(dir, segmentName(first)))
		if err != nil || first != 1 || !empty {
			return unknownLog(errors.Join(errors.New("it is missing, and there are segments"), err))
		}
	}
	return nil
}

// makeFolder makes an empty log in a folder that has none. The manifest comes last:
// where it is, the first segment has been.
func makeFolder(dir string, o Options) (network uuid.UUID, err error) {
	segments, _, err := list(dir)
	if err != nil {
		return uuid.Nil, err
	}
	if err := begun(dir, segments); err != nil {
		return uuid.Nil, err
	}
	if err := makeSegment(dir, 1, o.at); err != nil {
		return uuid.Nil, err
	}
	if network = o.Network; network == uuid.Nil {
		network = uuid.New()
	}
	if err := writeManifest(dir, folderFormat, network, o.at); err != nil {
		return uuid.Nil, err
	}
	return network, durable.SyncFolder(filepath.Dir(dir))
}

func writeManifest(dir string, format int, network uuid.UUID, at crashPoint) error {
	manifest := fmt.Sprintf("%s\nformat %d\nnetwork %s\n", manifestTitle, format, network)
	return writeFile(filepath.Join(dir, manifestName), at, strings.NewReader(manifest+checkedBy+checksumOf(manifest)))
}

// checkedBy is what the last line of a manifest begins with, the checksum of all before it.
const checkedBy = "check "

func checksumOf(text string) string {
	return fmt.Sprintf("%08x\n", crc32.Checksum([]byte(text), castagnoli))
}

// sweep removes what a crash left half made.
func sweep(dir string) error {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		name, half := strings.CutSuffix(f.Name(), temporary)
		if suffix := filepath.Ext(name); half && (name == manifestName || name == directoryName || suffix == segmentSuffix || suffix == indexSuffix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return err
}

// list gives the first positions of the segments and of the indices in a folder, in order.
func list(dir string) (segments, indices []eventlog.Position, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		name := f.Name()
		suffix := filepath.Ext(name)
		first, parseErr := strconv.ParseUint(strings.TrimSuffix(name, suffix), 10, 64)
		switch {
		case parseErr != nil:
		case suffix == segmentSuffix:
			segments = append(segments, eventlog.Position(first))
		case suffix == indexSuffix:
			indices = append(indices, eventlog.Position(first))
		}
	}
	slices.Sort(segments)
	slices.Sort(indices)
	return segments, indices, err
}

// makeSegment makes an empty segment.
func makeSegment(dir string, first eventlog.Position, at crashPoint) error {
	return makeFile(filepath.Join(dir, segmentName(first)), at, func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket(commitsBucket)
		return err
	})
}

func emptySegment(path string) (empty bool, err error) {
	db, err := openFile(path, bolt.Options{ReadOnly: true})
	if err != nil {
		return false, err
	}
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			key, _ := tx.Bucket(commitsBucket).Cursor().First()
			empty = key == nil
			return nil
		})
	})
	return empty, errors.Join(err, db.Close())
}

// Suspicion: a write or a sync has failed, and what can be read of the newest files may
// not be on the disk.

// suspect leaves a mark for the next start, as well as it can.
func suspect(dir string) error { return os.WriteFile(filepath.Join(dir, suspectName), nil, 0o644) }

// suspected tells whether there is a mark.
func suspected(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, suspectName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// secure makes sure that what can be read of the directory and of some segments is on
// the disk, and takes the mark away.
func secure(dir string, segments []eventlog.Position, at crashPoint) error {
	names := []string{directoryName}
	for _, first := range segments {
		names = append(names, segmentName(first))
	}
	for _, name := range names {
		if err := rewrite(filepath.Join(dir, name), at); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(filepath.Join(dir, suspectName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncFolder(dir)
}

// damaged is a DamagedError of a file.
func damaged(where string, reason error) error {
	return &eventlog.DamagedError{Where: where, Reason: reason}
}
