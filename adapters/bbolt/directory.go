package bbolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// The directory is what is known of all segments that have an index, so that a start
// reads this and the segments without one. Three buckets, each value sealed:
//
//	indexed   first position → summary, and what its index was made as
//	open      stream → its state, of streams that are open
//	closed    stream → the newest segment that has parts of it, of all others
//
// It holds nothing that the segments don't: where it is lost, it is made again.
var (
	indexedBucket = []byte("indexed")
	openBucket    = []byte("open")
	closedBucket  = []byte("closed")
)

// summary is what is known of a segment that has an index.
type summary struct {
	first, last eventlog.Position
	// newest is the greatest time of its commits.
	newest domain.UnixMillis
	// causes has, for each partition, the least and the greatest offset of its causes.
	causes map[partition][2]int64
	// index is that of the index's file. An index that lacks something, or that of another
	// segment, would tell of causes and streams that they are not there.
	index fileDigest
}

func makeDirectory(dir string, at crashPoint) error {
	return makeFile(filepath.Join(dir, directoryName), at, func(tx *bolt.Tx) error {
		for _, name := range [][]byte{indexedBucket, openBucket, closedBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// readDirectory gives the summaries in order of position, and the open streams.
func readDirectory(db *bolt.DB) (summaries []summary, open map[eventlog.Stream]state, err error) {
	open = map[eventlog.Stream]state{}
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			indexed := tx.Bucket(indexedBucket)
			if indexed == nil {
				return fmt.Errorf("%w: an older program made it", errBroken)
			}
			err := indexed.ForEach(func(key, value []byte) error {
				r, err := unseal(key, value)
				if err != nil {
					return err
				}
				summaries = append(summaries, readSummary(key, &r))
				return nil
			})
			err = errors.Join(err, tx.Bucket(openBucket).ForEach(func(key, value []byte) error {
				r, err := unseal(key, value)
				if err != nil {
					return err
				}
				open[eventlog.Stream(key)] = readState(&r)
				return nil
			}))
			// Where a name is not what it was, its stream would seem to be empty.
			return errors.Join(err, tx.Bucket(closedBucket).ForEach(func(key, value []byte) error {
				_, err := unseal(key, value)
				return err
			}))
		})
	})
	return summaries, open, err
}

// findClosed is the newest segment that has parts of a stream that isn't open; 0 where
// there is none.
func findClosed(tx *bolt.Tx, name eventlog.Stream) (eventlog.Position, error) {
	key := []byte(name)
	sealed := tx.Bucket(closedBucket).Get(key)
	if sealed == nil {
		return 0, nil
	}
	r, err := unseal(key, sealed)
	if err != nil {
		return 0, err
	}
	return eventlog.Position(r.uint64()), nil
}

// addToDirectory adds a segment whose index has been written.
func addToDirectory(tx *bolt.Tx, s summary, t *tail) error {
	if err := putSealed(tx.Bucket(indexedBucket), positionKey(s.first), s.encode()); err != nil {
		return err
	}
	open, closed := tx.Bucket(openBucket), tx.Bucket(closedBucket)
	for _, name := range slices.Sorted(maps.Keys(t.entries)) {
		key, state := []byte(name), t.entries[name].state
		var err error
		if state.open() {
			err = errors.Join(putSealed(open, key, state.append(nil)), closed.Delete(key))
		} else {
			err = errors.Join(putSealed(closed, key, positionKey(s.first)), open.Delete(key))
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
	}
	return nil
}

// summarize is what the directory keeps of a segment.
func summarize(first eventlog.Position, t *tail, index fileDigest) summary {
	s := summary{first: first, last: t.last, newest: t.newest, causes: map[partition][2]int64{}, index: index}
	for p, causes := range t.causes {
		var bounds [2]int64
		started := false
		for k := range causes {
			if !started {
				bounds, started = [2]int64{k.offset, k.offset}, true
			}
			bounds = [2]int64{min(bounds[0], k.offset), max(bounds[1], k.offset)}
		}
		s.causes[p] = bounds
	}
	return s
}

func (s summary) encode() []byte {
	b := positionKey(s.last)
	b = binary.BigEndian.AppendUint64(b, uint64(s.newest))
	b = append(b, s.index[:]...)
	for p, bounds := range s.causes {
		b = append(b, p.prefix()...)
		b = binary.BigEndian.AppendUint64(b, uint64(bounds[0]))
		b = binary.BigEndian.AppendUint64(b, uint64(bounds[1]))
	}
	return b
}

func readSummary(key []byte, r *reader) summary {
	s := summary{
		first: eventlog.Position(binary.BigEndian.Uint64(key)), last: eventlog.Position(r.uint64()),
		newest: domain.UnixMillis(r.uint64()), causes: map[partition][2]int64{},
	}
	copy(s.index[:], r.bytes(uint64(len(s.index))))
	for len(r.rest) > 0 {
		p := partition{topic: string(r.bytes(uint64(r.byte())))}
		p.number = int32(r.uint32())
		low := int64(r.uint64())
		s.causes[p] = [2]int64{low, int64(r.uint64())}
	}
	return s
}
