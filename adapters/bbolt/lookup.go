package bbolt

import (
	"slices"

	bolt "go.etcd.io/bbolt"

	"evcharging/application/eventlog"
)

// end is the position of the last commit.
func (c *contents) end() eventlog.Position {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.last
}

// unindexed are the segments that have no index.
func (c *contents) unindexed() (segments []eventlog.Position) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.segments {
		if s.tail != nil {
			segments = append(segments, s.first)
		}
	}
	return segments
}

// openStreams are the streams that are open.
func (c *contents) openStreams() (open []eventlog.Stream) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for name, s := range c.streams {
		if s.open() {
			open = append(open, name)
		}
	}
	return open
}

// state is that of any stream, zero where it is empty.
func (c *contents) state(name eventlog.Stream) (state, error) {
	c.mu.RLock()
	s, ok := c.streams[name]
	c.mu.RUnlock()
	if ok {
		return s, nil
	}
	var at eventlog.Position
	err := guard(func() error {
		return c.directory.View(func(tx *bolt.Tx) (err error) {
			at, err = findClosed(tx, name)
			return err
		})
	})
	if err != nil {
		return state{}, blame(err, directoryName, 0, name)
	}
	if at == 0 {
		return state{}, nil
	}
	e, err := c.entry(at, name)
	return e.state, err
}

// entry is what a segment has of a stream; one from an index lacks the parts.
func (c *contents) entry(at eventlog.Position, name eventlog.Stream) (e entry, err error) {
	if e, ok := c.tailEntry(at, name); ok {
		return e, nil
	}
	err = c.viewIndex(at, name, func(tx *bolt.Tx) error {
		var ok bool
		if e, ok, err = findEntry(tx, name); err == nil && !ok {
			err = errSeal
		}
		return err
	})
	return e, err
}

// places is where a segment's parts of a stream are.
func (c *contents) places(at eventlog.Position, name eventlog.Stream) (places []place, err error) {
	if e, ok := c.tailEntry(at, name); ok {
		return e.parts, nil
	}
	err = c.viewIndex(at, name, func(tx *bolt.Tx) error {
		places, err = findParts(tx, name)
		return err
	})
	return places, err
}

// tailEntry is the entry of a segment that has no index yet.
func (c *contents) tailEntry(at eventlog.Position, name eventlog.Stream) (entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.segment(at)
	if s.tail == nil {
		return entry{}, false
	}
	e, ok := s.tail.entries[name]
	if !ok {
		return entry{}, false
	}
	return *e, true
}

// intact is a stream's state, or ErrDamaged where a part of it may be lost.
func (c *contents) intact(name eventlog.Stream) (state, error) {
	s, err := c.state(name)
	if err == nil && s.damage != 0 {
		err = &eventlog.DamagedError{Where: c.segmentOf(s.damage), Position: s.damage, Stream: name, Reason: errGap}
	}
	return s, err
}

// parts is where a stream's parts are whose last event's version is at least from, in order.
func (c *contents) parts(s state, name eventlog.Stream, from eventlog.Version) ([]place, error) {
	var segments [][]place
	for at := s.segment; at != 0 && from <= s.head.Version; {
		e, err := c.entry(at, name)
		if err != nil {
			return nil, err
		}
		places, err := c.places(at, name)
		if err != nil {
			return nil, err
		}
		places = places[:len(places):len(places)]
		for i, p := range places {
			if p.last >= from {
				segments = append(segments, places[i:])
				break
			}
		}
		if e.first <= from {
			break
		}
		at = e.previous
	}
	slices.Reverse(segments)
	return slices.Concat(segments...), nil
}

// alive is where a stream's parts are that are no samples, and its last sample.
func (c *contents) alive(name eventlog.Stream) (positions []eventlog.Position, err error) {
	s, err := c.intact(name)
	if err != nil {
		return nil, err
	}
	var segments [][]eventlog.Position
	for at := s.lifecycle; at != 0; {
		e, err := c.entry(at, name)
		if err != nil {
			return nil, err
		}
		lasting := e.lasting
		for len(lasting) > 0 && lasting[len(lasting)-1] > s.last {
			lasting = lasting[:len(lasting)-1] // came after the last part that we know of
		}
		segments = append(segments, lasting)
		at = e.previousLifecycle
	}
	slices.Reverse(segments)
	positions = slices.Concat(segments...)
	if s.sample != 0 {
		at, _ := slices.BinarySearch(positions, s.sample)
		positions = slices.Insert(positions, at, s.sample)
	}
	return positions, nil
}

// byCause is the position of a cause's commit, 0 where there is none.
func (c *contents) byCause(cause eventlog.Cause) (eventlog.Position, error) {
	if cause.IsZero() {
		return 0, nil
	}
	p, k := partition{cause.Topic, cause.Partition}, causeKey{cause.Offset, cause.Digest}
	position, candidates := c.candidates(p, k)
	for _, at := range candidates {
		if position != 0 {
			break
		}
		err := c.viewIndex(at, "", func(tx *bolt.Tx) (err error) {
			position, err = findCause(tx, p, k)
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return position, nil
}

// candidates gives a cause's position, where a segment without an index has it, else
// the segments that may have it.
func (c *contents) candidates(p partition, k causeKey) (eventlog.Position, []eventlog.Position) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range slices.Backward(c.segments) {
		if s.tail == nil {
			break
		}
		if position, ok := s.tail.causes[p][k]; ok {
			return position, nil
		}
	}
	var segments []eventlog.Position
	for _, o := range slices.Backward(c.causes[p]) {
		if o.low <= k.offset && k.offset <= o.high {
			segments = append(segments, o.segment)
		}
	}
	return 0, segments
}
