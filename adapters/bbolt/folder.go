package bbolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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
	if errors.Is(err, durable.ErrHeld) {
		err = fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	return lock, err
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
	var id string
	var format int
	if n, _ := fmt.Sscanf(string(text), manifestTitle+"\nformat %d\nnetwork %s\n", &format, &id); n < 1 {
		return uuid.Nil, false, damaged(manifestName, errors.New("it is no manifest of an event log"))
	}
	if format > archivedFormat {
		return uuid.Nil, false, fmt.Errorf("%s has format %d, this program knows %d: %w", dir, format, archivedFormat, ErrNewer)
	}
	if network, err = uuid.Parse(id); err != nil {
		return uuid.Nil, false, damaged(manifestName, err)
	}
	return network, true, nil
}

// Exists tells whether a folder has a log. Its error is that of reading the folder.
func Exists(dir string) (bool, error) {
	_, ok, err := readManifest(dir)
	return ok, err
}

// makeFolder makes an empty log in a folder that has none. The manifest comes last:
// where it is, the first segment has been.
func makeFolder(dir string, o Options) (network uuid.UUID, err error) {
	segments, _, err := list(dir)
	if err != nil {
		return uuid.Nil, err
	}
	// A crash may have left the first segment, which is empty then.
	for _, first := range segments {
		empty, err := emptySegment(filepath.Join(dir, segmentName(first)))
		if err != nil || first != 1 || !empty {
			return uuid.Nil, damaged(manifestName, errors.Join(errors.New("it is missing, and there are segments"), err))
		}
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
	return writeFile(filepath.Join(dir, manifestName), at, strings.NewReader(manifest))
}

// list gives the first positions of the segments and of the indices in a folder, in
// order, and removes what a crash left half made.
func list(dir string) (segments, indices []eventlog.Position, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		name, half := strings.CutSuffix(f.Name(), temporary)
		suffix := filepath.Ext(name)
		if half {
			if name == manifestName || name == directoryName || suffix == segmentSuffix || suffix == indexSuffix {
				err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
			}
			continue
		}
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
