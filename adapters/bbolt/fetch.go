package bbolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"evcharging/application/eventlog"
)

var (
	// errGap tells that parts of a stream don't follow each other.
	errGap = errors.New("a part of the stream is lost")
	// errChain tells that a part was changed and given a new hash.
	errChain = errors.New("it was made to follow another part than the one before it")
	// errMissing tells that a position is not where it should be.
	errMissing = fmt.Errorf("%w: the position is missing", errBroken)
)

// stored is a record as it was found.
type stored struct {
	position eventlog.Position
	value    []byte
	// next is the position behind it, set by sequence.
	next eventlog.Position
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
					return errMissing
				}
				return nil
			}
			found = append(found, stored{position: position, value: slices.Clone(value)})
			if size += len(value); size > chunkBytes || len(found) == chunkCommits {
				return nil
			}
		}
		return nil
	})
	return found, err
}

// sequence reads the commits from a position on, up to an end that exists: at least one, or
// what stands for those that were moved to an archive, all in one segment.
func (c *contents) sequence(from, end eventlog.Position) (found []stored, err error) {
	err = c.view(from, "", func(first eventlog.Position, commits *bolt.Bucket) error {
		found = nil
		if from == first {
			prefetch(commits.Tx().DB().Path())
		}
		size, position := 0, from
		cursor := commits.Cursor()
		key, value := cursor.Seek(positionKey(from))
		if next := c.inside(from, key, cursor); next > from {
			// In the middle of what was moved: what there is to say of that was said before.
			found = append(found, stored{from, nil, next})
			return nil
		}
		for ; key != nil; key, value = cursor.Next() {
			if position > end || size > chunkBytes || len(found) == chunkCommits {
				return nil
			}
			if string(key) != string(positionKey(position)) || value == nil { // or is said to be a bucket
				break
			}
			next := position + max(movedPositions(value), 1)
			found = append(found, stored{position, slices.Clone(value), next})
			size += len(value)
			position = next
		}
		if len(found) == 0 {
			return errMissing
		}
		return nil
	})
	if err == nil {
		c.leave(found[len(found)-1].next - 1)
	}
	return found, err
}

// inside gives the position behind the positions that were moved to an archive, where from is
// one of them but not the first; else 0. key is the next one that is there, from on.
func (c *contents) inside(from eventlog.Position, key []byte, cursor *bolt.Cursor) eventlog.Position {
	if string(key) == string(positionKey(from)) {
		return 0
	}
	var value []byte
	if key == nil {
		key, value = cursor.Last()
	} else {
		key, value = cursor.Prev()
	}
	if len(key) != 8 {
		return 0
	}
	next := eventlog.Position(binary.BigEndian.Uint64(key)) + movedPositions(value)
	if next <= from {
		return 0
	}
	return next
}

// movedPositions is how many positions a record stands for whose commits were moved; 0 where it is
// a commit.
func movedPositions(value []byte) eventlog.Position {
	var r record
	if len(value) == 0 || value[0] != movedFormat || r.decode(value) != nil {
		return 0
	}
	return r.moved
}

// leave closes the segment whose last commit is at a position: a pass over the whole log does
// not keep in memory what it has passed.
func (c *contents) leave(last eventlog.Position) {
	c.mu.RLock()
	s, next := c.segment(last), c.segment(last+1)
	left := s != next && s.db == nil
	c.mu.RUnlock()
	if left {
		path, _ := c.path(s.first)
		c.handles.drop(path)
	}
}

// decode is what was found as a commit, whole or with the part of one stream alone.
func (c *contents) decode(r *record, f stored, name eventlog.Stream) (eventlog.Commit, error) {
	err := r.decode(f.value)
	var commit eventlog.Commit
	if err == nil {
		commit, err = r.commit(name)
	}
	if err != nil {
		var hash *hashError
		var archived *eventlog.ArchivedError
		if errors.As(err, &hash) {
			name = hash.stream
		}
		if errors.As(err, &archived) {
			name = archived.Stream
		}
		return eventlog.Commit{}, blame(err, c.segmentOf(f.position), f.position, name)
	}
	return commit, nil
}

// whole is the commit at a position.
func (c *contents) whole(position eventlog.Position) (eventlog.Commit, error) {
	found, err := c.fetch("", []eventlog.Position{position})
	if err != nil {
		return eventlog.Commit{}, err
	}
	return c.decode(&record{}, found[0], "")
}

// view reads the segment that holds a position. first is that of the segment. read takes no
// lock: while index waits for it, to close the file, it holds mu.
func (c *contents) view(at eventlog.Position, name eventlog.Stream, read func(first eventlog.Position, commits *bolt.Bucket) error) error {
	for {
		c.mu.RLock()
		s := c.segment(at)
		db := s.db
		c.mu.RUnlock()
		inBucket := func(tx *bolt.Tx) error { return read(s.first, tx.Bucket(commitsBucket)) }
		var err error
		if db == nil {
			path, salvaged := c.path(s.first)
			err = c.handles.view(path, inBucket)
			if !salvaged && errors.Is(err, errBroken) && c.salvageIndexed(s.first, err) {
				c.handles.drop(path)
				continue
			}
		} else {
			err = guard(func() error { return db.View(inBucket) })
		}
		if errors.Is(err, bolterrors.ErrDatabaseNotOpen) && db != nil && c.indexed(s) {
			continue // it got its index meanwhile
		}
		if errors.Is(err, errMissing) && s.open == at {
			err = errTail
		}
		return blame(err, segmentName(s.first), at, name)
	}
}

func (c *contents) indexed(s *segment) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return s.db == nil
}

// viewIndex reads the index of a segment.
func (c *contents) viewIndex(at eventlog.Position, name eventlog.Stream, read func(*bolt.Tx) error) error {
	return blame(c.handles.view(filepath.Join(c.dir, indexName(at)), read), indexName(at), 0, name)
}

// segment is the one that holds a position. The caller holds mu.
func (c *contents) segment(at eventlog.Position) *segment {
	i := sort.Search(len(c.segments), func(i int) bool { return c.segments[i].first > at })
	return c.segments[i-1]
}

func (c *contents) segmentOf(at eventlog.Position) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return segmentName(c.segment(at).first)
}

// blame makes a DamagedError of an error that tells of damage.
func blame(err error, where string, at eventlog.Position, name eventlog.Stream) error {
	var already *eventlog.DamagedError
	var hash *hashError
	var archived *eventlog.ArchivedError
	switch {
	case errors.As(err, &already):
		return err
	case errors.Is(err, errBroken), errors.Is(err, errTail), errors.Is(err, errSeal), errors.Is(err, errRecord), errors.Is(err, fs.ErrNotExist),
		errors.As(err, &hash), errors.As(err, &archived):
	default:
		return err
	}
	if filepath.Ext(where) != segmentSuffix {
		err = fmt.Errorf("%w (the file is made again when the program starts: stop it, and start it)", err)
	}
	return &eventlog.DamagedError{Where: where, Position: at, Stream: name, Reason: err}
}
