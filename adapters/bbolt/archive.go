package bbolt

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"

	"evcharging/adapters/durable"
	"evcharging/application/eventlog"
)

// Archive removes from the log in a folder what was moved to an archive: the commits that
// are one sample, and have no cause, of these streams. In their place remains what joins the
// chain (eventlog.ArchivedError), and no position changes. It gives how many commits it has
// removed. It returns ErrInUse where a process has the folder, ErrNewer, or the error of the file system or of
// ctx; it may be stopped at any moment, a crash included, and called again. The next Open
// makes all indices anew.
func Archive(ctx context.Context, dir string, o Options, moved map[eventlog.Stream]eventlog.Moved) (removed int, err error) {
	lock, err := lockFolder(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	network, _, err := readManifest(dir)
	if err != nil {
		return 0, err
	}
	if err := sweep(dir); err != nil {
		return 0, err
	}
	segments, _, err := list(dir)
	if err != nil {
		return 0, err
	}
	for _, first := range segments {
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		path := filepath.Join(dir, segmentName(first))
		plan, err := planRemoval(path, moved)
		if err != nil {
			return removed, err
		}
		if len(plan.drops) == 0 {
			continue
		}
		if removed == 0 { // before the first, and after a crash once more
			if err := writeManifest(dir, archivedFormat, network, o.at); err != nil {
				return removed, err
			}
			// What the indices say of a segment is true of it or of none.
			if err := os.Remove(filepath.Join(dir, directoryName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return removed, err
			}
			if err := durable.SyncFolder(dir); err != nil {
				return removed, err
			}
			if err := o.at("removed " + directoryName); err != nil {
				return removed, err
			}
		}
		if err := plan.carryOut(path, o.at); err != nil {
			return removed, err
		}
		removed += len(plan.drops)
	}
	return removed, nil
}

// removal is what is removed from a segment.
type removal struct {
	drops map[eventlog.Position]struct{}
	// ranges are what remains of the dropped, by where they begin.
	ranges map[eventlog.Position]*eventlog.ArchivedError
}

// view reads a segment that nobody writes to.
func view(path string, each func(at eventlog.Position, value []byte) error) error {
	err := checkPages(path)
	var db *bolt.DB
	if err == nil {
		db, err = openFile(path, bolt.Options{ReadOnly: true, NoStatistics: true})
	}
	if err != nil {
		return blame(err, filepath.Base(path), 0, "")
	}
	prefetch(path)
	err = guard(func() error {
		return db.View(func(tx *bolt.Tx) error {
			return tx.Bucket(commitsBucket).ForEach(func(key, value []byte) error {
				return each(eventlog.Position(binary.BigEndian.Uint64(key)), value)
			})
		})
	})
	return errors.Join(blame(err, filepath.Base(path), 0, ""), db.Close())
}

// planRemoval finds what is to be removed from a segment. What is damaged stays.
func planRemoval(path string, moved map[eventlog.Stream]eventlog.Moved) (removal, error) {
	plan := removal{drops: map[eventlog.Position]struct{}{}, ranges: map[eventlog.Position]*eventlog.ArchivedError{}}
	open := map[eventlog.Stream]*eventlog.ArchivedError{}
	var r record
	err := view(path, func(at eventlog.Position, value []byte) error {
		if r.decode(value) != nil || r.moved > 0 || r.caused || len(r.parts) != 1 || r.parts[0].kind != eventlog.Sample {
			return nil
		}
		m, ok := moved[eventlog.Stream(r.parts[0].stream)]
		c, err := r.commit("")
		if !ok || err != nil || c.Parts[0].Last() >= m.Before {
			return nil
		}
		p := c.Parts[0]
		if a := open[p.Stream]; a != nil && p.Version == a.To+1 && p.Prev == a.Hash {
			a.To, a.Hash = p.Last(), p.Hash
		} else {
			a = &eventlog.ArchivedError{Stream: p.Stream, From: p.Version, To: p.Last(), Prev: p.Prev, Hash: p.Hash, Archive: m.Archive}
			open[p.Stream], plan.ranges[at] = a, a
		}
		plan.drops[at] = struct{}{}
		return nil
	})
	return plan, err
}

// carryOut puts another segment in the place of one.
func (r removal) carryOut(path string, at crashPoint) error {
	return makeFile(path, at, func(tx *bolt.Tx) error {
		commits, err := sequential(tx, commitsBucket)
		if err != nil {
			return err
		}
		var from, next eventlog.Position // of the run of dropped commits that is open
		put := func() error {
			if from == 0 {
				return nil
			}
			var begins []*eventlog.ArchivedError
			if a := r.ranges[from]; a != nil {
				begins = append(begins, a)
			}
			err := commits.Put(positionKey(from), encodeMoved(next-from, begins...))
			from = 0
			return err
		}
		err = view(path, func(at eventlog.Position, value []byte) error {
			_, drop := r.drops[at]
			if from != 0 && (!drop || r.ranges[at] != nil) {
				if err := put(); err != nil {
					return err
				}
			}
			if !drop {
				return commits.Put(positionKey(at), slices.Clone(value)) // which is kept until the transaction ends
			}
			if from == 0 {
				from = at
			}
			next = at + 1
			return nil
		})
		return errors.Join(err, put())
	})
}
