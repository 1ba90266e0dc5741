package kafka

import (
	"testing"

	"pgregory.net/rapid"
)

// However records are finished, and wherever the partition is taken away, nothing is
// committed that was not done and nothing is left out; the next owner begins there.
func TestNothingIsCommittedBeforeItIsDone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// A partition's offsets, with the gaps that compaction leaves.
		var offsets []int64
		for next := int64(0); len(offsets) < 12; next++ {
			if rapid.IntRange(0, 3).Draw(t, "gap") > 0 {
				offsets = append(offsets, next)
			}
		}
		var (
			handled   = make(map[int64]int)
			committed int64
			tr        tracker
			working   []*slot
			next      int // index into offsets of the record to be fed
		)
		takeAway := func() { // another owner begins at what was committed
			tr, working, next = tracker{}, nil, 0
			for next < len(offsets) && offsets[next] < committed {
				next++
			}
		}
		check := func() {
			for _, o := range offsets {
				if o < committed && handled[o] == 0 {
					t.Fatalf("offset %d is committed and was not handled", committed)
				}
			}
			if tr.size() < len(working) {
				t.Fatalf("%d are being worked on, the window is said to be %d", len(working), tr.size())
			}
		}
		// After so many steps the partition is taken away no more, so that it comes to an end.
		for step := 0; next < len(offsets) || len(working) > 0; step++ {
			switch action := rapid.IntRange(0, 9).Draw(t, "action"); {
			case action == 0 && step < 60:
				takeAway()
			case action < 5 && next < len(offsets):
				working = append(working, tr.add(offsets[next]))
				next++
			case len(working) > 0:
				i := rapid.IntRange(0, len(working)-1).Draw(t, "finished")
				s := working[i]
				working = append(working[:i], working[i+1:]...)
				handled[s.offset]++
				before := committed
				if to, moved := tr.done(s); moved {
					committed = to
				}
				if committed < before {
					t.Fatalf("from %d back to %d", before, committed)
				}
			}
			check()
		}
		if last := offsets[len(offsets)-1]; committed != last+1 {
			t.Fatalf("all are done up to %d, committed is %d", last, committed)
		}
		if tr.size() != 0 {
			t.Fatalf("all are done, the window is said to be %d", tr.size())
		}
	})
}
