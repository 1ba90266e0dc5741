package mongo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"testing"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
)

// busy is a history of many steps, the same each time.
func busy(t tester, steps int) *history {
	choices := rand.New(rand.NewPCG(1, 2))
	h := newHistory(t, choices.IntN)
	for range steps {
		h.step()
	}
	return h
}

// supplies is a history of so many supplies, one after the other.
func supplies(t tester, n int) *history {
	h := newHistory(t, nil)
	h.working("CP-1", 300_000)
	for n := range n {
		h.now += 10_000
		s, _ := h.asks(domain.DriverID(fmt.Sprint("D-", n%7)), "CP-1")
		h.reports(s, 1, 500, h.now)
		h.done(s, 1_000)
	}
	return h
}

func TestRebuildTellsHowFarItIs(t *testing.T) {
	h := busy(t, 5_000)
	fake := newFake()
	var told []Rebuilt
	got, err := project(h, fake, false, io.Discard).Rebuild(t.Context(), h.log, h.log.Decode, func(r Rebuilt) { told = append(told, r) })
	must(t, err)
	events := 0
	for _, parts := range h.log.commits {
		for _, p := range parts {
			events += len(p.Events)
		}
	}
	documents := len(fake.documents[pointsCollection]) + len(fake.documents[sessionsCollection]) + len(fake.documents[driversCollection])
	if int(got.Commits) != len(h.log.commits) || int(got.Events) != events || int(got.Written) < documents || got.Unchanged != 0 || len(got.Stale) != 0 {
		t.Errorf("%+v of %d commits, %d events, %d documents", got, len(h.log.commits), events, documents)
	}
	if want := len(h.log.commits)/progressEvery + 1; len(told) != want || told[len(told)-1].Written != got.Written {
		t.Errorf("it told %d times (want %d): %+v", len(told), want, told)
	}
}

// stopping is a log that a rebuild is stopped in the middle of.
type stopping struct {
	*partLog
	after  int
	cancel context.CancelFunc
}

func (s *stopping) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for c, err := range s.partLog.All(ctx, from) {
			if s.after--; s.after == 0 {
				s.cancel()
				yield(eventlog.Positioned{}, ctx.Err())
				return
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

func TestRebuildMayBeStoppedAndRunAgain(t *testing.T) {
	h := supplies(t, 2*closedKept)
	want := rebuiltFrom(t, h)
	fake := newFake()
	for _, after := range []int{1, 10, len(h.log.commits) / 2, len(h.log.commits) - 1} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := project(h, fake, false, io.Discard).Rebuild(ctx, &stopping{h.log, after, cancel}, h.log.Decode, nil)
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped after %d commits: %v", after, err)
		}
	}
	if len(fake.documents[sessionsCollection]) == 0 {
		t.Error("nothing was stored before it was stopped")
	}
	got, err := project(h, fake, false, io.Discard).Rebuild(t.Context(), h.log, h.log.Decode, nil)
	must(t, err)
	sameDocuments(t, fake, want)
	if got.Unchanged == 0 || got.Written == 0 {
		t.Errorf("the last one: %+v", got)
	}
}

func TestRebuildEndsWhereTheStoreIsAway(t *testing.T) {
	h := busy(t, 2_000)
	fake := newFake()
	fake.setAway(true)
	if _, err := project(h, fake, false, io.Discard).Rebuild(t.Context(), h.log, h.log.Decode, nil); !errors.Is(err, errAway) {
		t.Errorf("got %v", err)
	}
}

// What a Central stores while a rebuild goes on does not go back in time.
func TestRebuildBesideACentral(t *testing.T) {
	h := busy(t, 5_000)
	fake := newFake()
	live := project(h, fake, false, io.Discard)
	writing := false
	fake.before = func() { // between what the rebuild has read and what it writes
		if writing {
			return
		}
		writing = true
		defer func() { writing = false }()
		for range 50 {
			publication := h.step()
			must(t, live.Handle(t.Context(), publication))
			for _, part := range publication.Parts {
				if !publication.SampleAlone {
					isStoredAt(t, h, fake, part.Stream, part.Version)
				}
			}
		}
		must(t, errors.Join(live.readMissing(t.Context()), live.flush(t.Context())))
	}
	if _, err := project(h, fake, false, io.Discard).Rebuild(t.Context(), h.log, h.log.Decode, nil); err != nil {
		t.Fatal(err)
	}
	fake.before = nil
	must(t, errors.Join(live.readMissing(t.Context()), live.flush(t.Context())))
	sameDocuments(t, fake, rebuiltFrom(t, h))
}

// However long the log, a rebuild keeps what is open and some that closed last.
func TestRebuildKeepsNoMoreThanIsOpen(t *testing.T) {
	h := supplies(t, 3*closedKept)
	most := 0
	fake := newFake()
	p := project(h, fake, false, io.Discard)
	r := &rebuild{
		projections: p, source: h.log, decode: h.log.Decode,
		folds: map[eventlog.Stream]*rebuilding{}, stale: map[eventlog.Stream]string{}, drivers: map[domain.DriverID]bool{},
	}
	fake.before = func() { most = max(most, len(r.folds)) }
	must(t, r.all(t.Context()))
	if most > closedKept+2 || most < closedKept/2 || len(r.closed) > 0 || len(r.folds) > 0 {
		t.Errorf("it kept %d folds, in the end %d and %d", most, len(r.folds), len(r.closed))
	}
	if h.log.reads > 0 {
		t.Errorf("it read %d streams for themselves", h.log.reads)
	}
	sameDocuments(t, fake, rebuiltFrom(t, h))
}

func TestRebuildReadsASessionAgainThatWasRevisedLongAfterItsClose(t *testing.T) {
	h := newHistory(t, nil)
	h.working("CP-1", 300_000)
	first, _ := h.asks("D-0", "CP-1")
	h.done(first, 1_000)
	for range 2 * closedKept {
		h.now += 10_000
		s, _ := h.asks("D-1", "CP-1")
		h.done(s, 1_000)
	}
	h.done(first, 2_000)
	fake := newFake()
	for range 2 { // the second finds the revised document where it looks for the first ticket's
		if _, err := project(h, fake, false, io.Discard).Rebuild(t.Context(), h.log, h.log.Decode, nil); err != nil {
			t.Fatal(err)
		}
		if got := energyOf(fake, first); got != 2_000 {
			t.Errorf("it has %d", got)
		}
		isStoredAt(t, h, fake, central.SessionStream(first.ID()), 4)
	}
}

func TestRebuildGoesOnBehindDamage(t *testing.T) {
	h := busy(t, 3_000)
	want := rebuiltFrom(t, h)
	stream := central.SessionStream(h.closed()[3].ID())
	h.log.damaged[stream] = true
	var lines collector
	fake := newFake()
	got, err := project(h, fake, false, &lines).Rebuild(t.Context(), h.log, h.log.Decode, nil)
	must(t, err)
	if !maps.Equal(got.Stale, map[string]int{staleDamaged: 1}) || lines.count("stale") != 1 {
		t.Errorf("%+v, said was %q", got, lines.lines)
	}
	_, id, _ := placeOf(stream)
	delete(want.documents[sessionsCollection], id)
	sameDocuments(t, fake, want)
}

func TestRebuildCountsWhatIsRefused(t *testing.T) {
	h := busy(t, 1_000)
	fake := newFake()
	fake.refuse = func(r replacement) string {
		switch {
		case r.collection == pointsCollection && r.id == "CP-1":
			return staleTooLarge
		case r.collection == driversCollection && r.id == "D-2":
			return staleInvalid
		}
		return ""
	}
	var lines collector
	got, err := project(h, fake, false, &lines).Rebuild(t.Context(), h.log, h.log.Decode, nil)
	if err != nil || !maps.Equal(got.Stale, map[string]int{staleTooLarge: 1, staleInvalid: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	want := rebuiltFrom(t, h)
	delete(want.documents[pointsCollection], "CP-1")
	delete(want.documents[driversCollection], "D-2")
	sameDocuments(t, fake, want)
	if lines.count("stale") != 2 || lines.count("driver-D-2") != 1 {
		t.Errorf("said was %q", lines.lines)
	}
}

func BenchmarkRebuild(b *testing.B) {
	h := busy(b, 50_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := project(h, newFake(), false, io.Discard).Rebuild(context.Background(), h.log, h.log.Decode, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(h.log.commits)*b.N)/b.Elapsed().Seconds(), "commits/s")
}
