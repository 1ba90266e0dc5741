package mongo

import (
	"context"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"

	"evcharging/application/central"
	"evcharging/application/eventlog"
)

// reordered is a history's log in another order that keeps each stream's: its parts one by
// one, the streams mixed anew.
func reordered(t *rapid.T, log *partLog) *partLog {
	other := &partLog{streams: map[eventlog.Stream][]partAt{}, damaged: map[eventlog.Stream]bool{}}
	var names []eventlog.Stream // in the order in which they began
	left := map[eventlog.Stream][]central.Part{}
	for _, parts := range log.commits {
		for _, p := range parts {
			if left[p.Stream] == nil {
				names = append(names, p.Stream)
			}
			left[p.Stream] = append(left[p.Stream], p)
		}
	}
	for len(names) > 0 {
		i := rapid.IntRange(0, len(names)-1).Draw(t, "stream")
		parts := left[names[i]]
		n := rapid.IntRange(1, len(parts)).Draw(t, "parts")
		for _, p := range parts[:n] {
			other.append([]central.Part{p})
		}
		if left[names[i]] = parts[n:]; n == len(parts) {
			names = append(names[:i], names[i+1:]...)
		}
	}
	return other
}

// The same events give the same documents, byte for byte: folded twice, or in any order that
// keeps each stream's, all at once or as they come.
func TestAnyOrderThatKeepsEachStreamsGivesTheSameDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") })
		for range rapid.IntRange(50, 300).Draw(t, "steps") {
			h.step()
		}
		want := rebuiltFrom(t, h)
		sameDocuments(t, rebuiltFrom(t, h), want)

		other := &history{tester: h.tester, log: reordered(t, h.log)}
		sameDocuments(t, rebuiltFrom(t, other), want)

		ctx, fake := context.Background(), newFake()
		live := project(other, fake, false, io.Discard)
		for _, parts := range other.log.commits {
			if err := live.Handle(ctx, central.Publication{Parts: parts}); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(live.readMissing(ctx), live.flush(ctx)); err != nil {
			t.Fatal(err)
		}
		sameDocuments(t, fake, want)
	})
}
