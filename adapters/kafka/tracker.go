package kafka

// tracker says up to where a partition is done while its records are worked on side by
// side: only what lies before the first record that is not done may be committed. It is
// not safe for use from several goroutines.
type tracker struct {
	// open are the records from the first that is not done on, as they came.
	open []*slot
}

// slot is one record's place in a tracker.
type slot struct {
	offset int64
	done   bool
}

// add takes a record in. Offsets grow, with gaps.
func (t *tracker) add(offset int64) *slot {
	s := &slot{offset: offset}
	t.open = append(t.open, s)
	return s
}

// done marks a record as done. Moved tells whether more than before may be committed, next
// is the offset to commit: that of the record to read after a restart.
func (t *tracker) done(s *slot) (next int64, moved bool) {
	s.done = true
	n := 0
	for n < len(t.open) && t.open[n].done {
		next, moved = t.open[n].offset+1, true
		t.open[n] = nil
		n++
	}
	t.open = t.open[n:]
	return next, moved
}

// size is how many records lie between the first that is not done and the last taken in.
func (t *tracker) size() int { return len(t.open) }
