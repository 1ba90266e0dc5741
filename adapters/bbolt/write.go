package bbolt

import (
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"evcharging/application/eventlog"
)

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
	digest, err := digestFile(path)
	if err != nil {
		return err
	}
	known := summarize(s.first, s.tail, digest)
	err = guard(func() error {
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
