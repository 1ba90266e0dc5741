package bbolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"

	"evcharging/application/eventlog"
)

// errTail tells that it is not known whether a segment had more.
var errTail = errors.New("the file is broken: whether there was anything from here on can't be told")

// leastRecord is less than any record has, in bytes.
const leastRecord = 64

// candidate is a record that was found in a page, for a position.
type candidate struct {
	value []byte
	// rank tells how much speaks for it: less for one whose body is not as it was written, 0
	// where two are equally good, and not the same.
	rank int
}

const (
	ambiguous = iota
	legible
	whole
)

// salvage is what can be had back of a segment that bbolt can't read: whatever is in a page
// that looks like a leaf is a record where its checksum and its hashes are right, and its
// position is where its neighbours in the page say so. Records never change, so that what
// pages hold that are no longer in use is as good. It may have, at the end of the newest
// segment, commits that a crash cut off before anybody was told that they are stored.
type salvage struct {
	first, limit eventlog.Position
	found        map[eventlog.Position]candidate
	// leads has, for each page, the positions that it begins with, as other pages say.
	leads map[uint64][]eventlog.Position
	// last is the greatest position that is known to have been there.
	last eventlog.Position
	r    record
}

// dig reads a segment's file that need not be there. until is the position behind its last,
// 0 where that is not known.
func dig(path string, first, until eventlog.Position) (*salvage, error) {
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s := &salvage{
		first: first, limit: until, last: first - 1,
		found: map[eventlog.Position]candidate{}, leads: map[uint64][]eventlog.Position{},
	}
	size := os.Getpagesize()
	for _, at := range []int{0, 4096, size} {
		if m, ok := readMeta(content[min(at, len(content)):]); ok {
			size = int(m.pageSize)
		}
	}
	pages := func(read func([]byte, uint64)) {
		for at := 0; at+pageHeader < len(content); at += size {
			read(content[at:], uint64(at/size))
		}
	}
	if until == 0 {
		s.limit = first + eventlog.Position(len(content)/leastRecord)
		pages(s.reach)
	}
	pages(s.branch)
	pages(s.leaf)
	maps.DeleteFunc(s.found, func(_ eventlog.Position, c candidate) bool { return c.rank == ambiguous })
	for position := range s.found {
		s.last = max(s.last, position)
	}
	return s, nil
}

// elements is how many a page has: the first lies behind all, and the page says it, too.
func elements(page []byte, first uint32) int {
	n := int(native.Uint16(page[10:]))
	if first%pageElement == 0 {
		n = max(n, int(min(first, 1<<16)/pageElement))
	}
	return min(n, (len(page)-pageHeader)/pageElement)
}

// branch takes note of what a page says of others.
func (s *salvage) branch(page []byte, _ uint64) {
	if len(page) < pageHeader+pageElement {
		return
	}
	before := eventlog.Position(0)
	for i := range elements(page, native.Uint32(page[pageHeader:])) {
		at := pageHeader + i*pageElement
		start, length, below := uint64(at)+uint64(native.Uint32(page[at:])), native.Uint32(page[at+4:]), native.Uint64(page[at+8:])
		if length != 8 || start+8 > uint64(len(page)) {
			return
		}
		key := eventlog.Position(binary.BigEndian.Uint64(page[start:]))
		if key < s.first || key >= s.limit || key <= before || below < 2 {
			return
		}
		s.leads[below] = append(s.leads[below], key)
		s.last = max(s.last, key)
		before = key
	}
}

// element is a record that a page has, and the position behind it.
type element struct {
	position, next eventlog.Position
	candidate
}

// reach makes room for the positions of what was moved to an archive: a record stands for
// more of them than it has bytes.
func (s *salvage) reach(page []byte, _ uint64) {
	for _, e := range s.records(page) {
		s.limit += e.next - e.position - 1
	}
}

// leaf takes the records of a page.
func (s *salvage) leaf(page []byte, number uint64) {
	all := s.records(page)
	for i, e := range all {
		follows := i > 0 && all[i-1].next == e.position
		followed := i+1 < len(all) && e.next == all[i+1].position
		leads := s.leads[number]
		alone := len(all) == 1 && e.rank == whole && (len(leads) == 0 || slices.Contains(leads, e.position))
		if e.position < s.limit && (follows || followed || alone) {
			s.take(e.position, e.candidate)
			s.last = max(s.last, e.next-1)
		}
	}
}

// records are those that a page has, or a bucket in it.
func (s *salvage) records(page []byte) (all []element) {
	if len(page) < pageHeader+pageElement {
		return nil
	}
	n := elements(page, native.Uint32(page[pageHeader+4:]))
	for i := range n {
		at := pageHeader + i*pageElement
		start, key, value := uint64(at)+uint64(native.Uint32(page[at+4:])), uint64(native.Uint32(page[at+8:])), uint64(native.Uint32(page[at+12:]))
		if start+key+value > uint64(len(page)) {
			continue
		}
		name, content := page[start:start+key], page[start+key:start+key+value]
		if bytes.Equal(name, commitsBucket) && len(content) > bucketHeader {
			all = append(all, s.records(content[bucketHeader:])...)
			continue
		}
		if key != 8 || value < recordPrefix {
			continue
		}
		e := element{position: eventlog.Position(binary.BigEndian.Uint64(name)), candidate: candidate{value: content}}
		if e.position < s.first {
			continue
		}
		err := s.r.decode(content)
		if err == nil && s.r.moved == 0 {
			_, err = s.r.commit("")
		}
		switch {
		case err == nil:
			e.rank = whole
		case s.r.certain:
			e.rank = legible
		default:
			continue
		}
		e.next = e.position + max(s.r.moved, 1)
		all = append(all, e)
	}
	return all
}

func (s *salvage) take(at eventlog.Position, c candidate) {
	known, ok := s.found[at]
	switch {
	case !ok || c.rank > known.rank && known.rank != ambiguous:
		s.found[at] = c
	case c.rank == known.rank && !bytes.Equal(c.value, known.value):
		s.found[at] = candidate{rank: ambiguous}
	}
}

// put makes a segment of what was found.
func (s *salvage) put(path string) error {
	return makeFile(path, Options{}.at, func(tx *bolt.Tx) error {
		commits, err := sequential(tx, commitsBucket)
		if err != nil {
			return err
		}
		for _, position := range slices.Sorted(maps.Keys(s.found)) {
			if err := commits.Put(positionKey(position), s.found[position].value); err != nil {
				return err
			}
		}
		return nil
	})
}

// salvage makes, outside the folder, a segment of what can be had back of one, and has it
// read in its place. last is the last position that is known of it.
func (c *contents) salvage(first, until eventlog.Position, reason error) (last eventlog.Position, err error) {
	c.mu.Lock()
	if c.aside == "" {
		c.aside, err = os.MkdirTemp("", "evcharging-salvage-")
	}
	aside := c.aside
	c.mu.Unlock()
	if err != nil {
		return 0, fmt.Errorf("make a temporary folder: %w", err)
	}
	s, err := dig(filepath.Join(c.dir, segmentName(first)), first, until)
	if err != nil {
		return 0, err
	}
	path := filepath.Join(aside, segmentName(first))
	if err := s.put(path); err != nil {
		return 0, err
	}
	c.mu.Lock()
	c.salvaged[first] = path
	c.mu.Unlock()
	c.options.Logger.Error("A segment of the event log is broken: what can be had back of it is read from a copy.",
		"segment", segmentName(first), "commits", len(s.found), "reason", reason)
	return s.last, nil
}

// salvageIndexed salvages a segment that has an index, once; ok is false where that is of no use.
func (c *contents) salvageIndexed(first eventlog.Position, reason error) (ok bool) {
	c.salvaging.Lock()
	defer c.salvaging.Unlock()
	c.mu.RLock()
	_, already := c.salvaged[first]
	until := c.last + 1
	for _, s := range c.segments {
		if s.first > first {
			until = s.first
			break
		}
	}
	c.mu.RUnlock()
	if already {
		return true // by somebody else, meanwhile
	}
	if _, err := c.salvage(first, until, reason); err != nil {
		c.options.Logger.Error("A segment of the event log is broken, and what is in it can't be had back now.", "segment", segmentName(first), "reason", err)
		c.mu.Lock()
		c.salvaged[first] = filepath.Join(c.dir, segmentName(first))
		c.mu.Unlock()
		return false
	}
	return true
}

// path is that of the file that is read for a segment.
func (c *contents) path(first eventlog.Position) (path string, salvaged bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if path, ok := c.salvaged[first]; ok {
		return path, true
	}
	return filepath.Join(c.dir, segmentName(first)), false
}

// openBroken opens what can be had back of a segment without an index.
func (c *contents) openBroken(first, until eventlog.Position, reason error) (*segment, error) {
	last, err := c.salvage(first, until, reason)
	if err != nil {
		return nil, err
	}
	path, _ := c.path(first)
	db, err := openFile(path, bolt.Options{ReadOnly: true, NoStatistics: true})
	if err != nil {
		return nil, err
	}
	s := &segment{first: first, tail: newTail(first), db: db, salvaged: true, end: until - 1}
	if until == 0 {
		s.end, s.open = last+1, last+1
	}
	return s, nil
}
