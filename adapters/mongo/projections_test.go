package mongo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// project gives projections of a history.
func project(h *history, s shelves, optional bool, log io.Writer) *Projections {
	c := ProjectionsConfig{Read: h.log.Parts, Open: h.log.Open, Optional: optional, Logger: slog.New(slog.NewTextHandler(log, nil))}
	if optional {
		c.Log = h.log
	}
	return newProjections(s, c)
}

// rebuiltFrom is what Rebuild makes of a history.
func rebuiltFrom(t tester, h *history) *fakeShelves {
	t.Helper()
	fake := newFake()
	if _, err := project(h, fake, false, io.Discard).Rebuild(context.Background(), h.log, h.log.Decode, RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	return fake
}

// sameDocuments compares documents byte for byte.
func sameDocuments(t tester, got, want *fakeShelves) {
	t.Helper()
	got = got.clone() // what a Handle that failed has left may be under way still
	for collection, documents := range want.documents {
		for id, d := range documents {
			if !bytes.Equal(got.documents[collection][id], d) {
				t.Errorf("%s has\n%s\nwant\n%s", collection, got.documents[collection][id], d)
			}
		}
		for id, d := range got.documents[collection] {
			if documents[id] == nil {
				t.Errorf("%s has one too many:\n%s", collection, d)
			}
		}
	}
}

// Whatever happens on the way, to one Central or to two, in the end the documents are those
// that a rebuild makes of the log, byte for byte.
func TestLiveDocumentsAreThoseOfARebuild(t *testing.T) {
	t.Run("two Centrals that share a log", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) { playLive(t, 2, false) })
	})
	t.Run("a log elsewhere", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) { playLive(t, 1, true) })
	})
}

func playLive(t *rapid.T, processes int, optional bool) {
	ctx := context.Background()
	h := newHistory(t, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "choice") })
	fake := newFake()
	live := make([]*Projections, processes)
	for i := range live {
		live[i] = project(h, fake, optional, io.Discard)
	}
	var undelivered []central.Publication
	deliver := func(p *Projections, publication central.Publication) {
		if len(publication.Parts) == 0 {
			return
		}
		switch err := p.Handle(ctx, publication); {
		case err != nil && !publication.SampleAlone:
			undelivered = append(undelivered, publication) // its record comes again
		case err == nil && !publication.SampleAlone && !optional:
			for _, part := range publication.Parts {
				isStoredAt(t, h, fake, part.Stream, part.Version)
			}
		}
	}
	for range rapid.IntRange(1, 100).Draw(t, "steps") {
		i := rapid.IntRange(0, processes-1).Draw(t, "process")
		p := live[i]
		switch rapid.IntRange(0, 19).Draw(t, "what") {
		case 0:
			_ = p.flush(ctx)
		case 1:
			_ = p.readMissing(ctx)
		case 2:
			_ = errors.Join(p.resolveDoubts(ctx), p.sweep(ctx))
		case 3: // killed
			live[i] = project(h, fake, optional, io.Discard)
		case 4: // killed between its commit and its projection
			if publication := h.step(); len(publication.Parts) > 0 {
				if !publication.SampleAlone {
					undelivered = append(undelivered, publication)
				}
				live[i] = project(h, fake, optional, io.Discard)
			}
		case 5:
			fake.fail(rapid.Bool().Draw(t, "away"), 0)
		case 6:
			fake.fail(false, rapid.IntRange(1, 3).Draw(t, "unknown outcomes"))
		case 7: // what failed comes again
			again := undelivered
			undelivered = nil
			for _, publication := range again {
				deliver(p, publication)
			}
		default:
			deliver(p, h.step())
		}
	}
	fake.fail(false, 0)
	if rapid.Bool().Draw(t, "all are started anew") {
		for i := range live {
			live[i] = project(h, fake, optional, io.Discard)
		}
	}
	for _, publication := range undelivered {
		if err := live[0].Handle(ctx, publication); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range live {
		if err := errors.Join(p.sweep(ctx), p.readMissing(ctx), p.resolveDoubts(ctx), p.flush(ctx)); err != nil {
			t.Fatal(err)
		}
		if s := p.Stats(); s.Waiting > 0 || s.Delay != 0 {
			t.Fatalf("in the end %+v", s)
		}
	}
	want := rebuiltFrom(t, h)
	sameDocuments(t, fake, want)

	// A rebuild over what is right changes nothing, and over anything else makes it right.
	again, err := live[0].Rebuild(ctx, h.log, h.log.Decode, RebuildOptions{})
	if total := len(fake.documents[pointsCollection]) + len(fake.documents[sessionsCollection]) + len(fake.documents[driversCollection]); err != nil || again.Missing+again.Different+again.Orphaned > 0 || int(again.Same) != total {
		t.Fatalf("a rebuild over what is right: %+v of %d documents, %v", again, total, err)
	}
	fake = fake.clone()
	spoil(t, fake)
	if _, err := project(h, fake, optional, io.Discard).Rebuild(ctx, h.log, h.log.Decode, RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	sameDocuments(t, fake, want)
}

// isStoredAt checks that a stream's document has at least a version, and says what the log
// says at the version that it has.
func isStoredAt(t tester, h *history, fake *fakeShelves, stream eventlog.Stream, least eventlog.Version) {
	t.Helper()
	f, err := newFold(stream)
	must(t, err)
	collection, id, _ := placeOf(stream)
	fake.mu.Lock()
	defer fake.mu.Unlock()
	found := fake.documents[collection][id]
	version, ok := storedVersion(found)
	for part, err := range h.log.Parts(context.Background(), stream, 1) {
		must(t, err)
		if part.Version > max(least, eventlog.Version(version)) {
			break
		}
		must(t, f.apply(part))
	}
	want, has, err := f.document()
	must(t, err)
	switch {
	case has != (found != nil):
		t.Fatalf("%s is stored as %s", stream, found)
	case has && (!ok || !bytes.Equal(want.body, found)):
		t.Fatalf("%s is stored as\n%s\nwant, of version %d or later,\n%s", stream, found, least, want.body)
	}
}

// spoil changes some documents, and removes others.
func spoil(t *rapid.T, fake *fakeShelves) {
	for collection, documents := range fake.documents {
		for _, id := range slices.Sorted(maps.Keys(documents)) {
			var d bson.D
			if err := bson.Unmarshal(documents[id], &d); err != nil {
				t.Fatal(err)
			}
			switch rapid.IntRange(0, 6).Draw(t, "spoiled") {
			case 0:
				fake.change(collection, id, nil)
				continue
			case 1: // another version
				for i := range d {
					if d[i].Key == "version" {
						d[i].Value = rapid.SampledFrom([]any{int64(0), int64(1), int64(2), int64(1 << 40), 3.0, 2.5, math.NaN(), math.Inf(1), math.Inf(-1), 1e19, "7", nil, bson.A{}}).Draw(t, "version")
					}
				}
			case 2:
				d = append(d, bson.E{Key: "more", Value: true})
			case 3: // but for its id, nothing is left
				d = d[:1]
			}
			raw, err := bson.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			fake.change(collection, id, raw)
		}
	}
}

// collector is a log of messages.
type collector struct {
	mu    sync.Mutex
	lines []string
}

func (c *collector) Write(line []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, string(line))
	return len(line), nil
}

// count is how many lines have a text.
func (c *collector) count(text string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// supplying is a history of a session that supplies at CP-1.
func supplying(t tester) (*history, *session.Session) {
	h := newHistory(t, nil)
	h.working("CP-1", 300_000)
	s, _ := h.asks("D-7", "CP-1")
	h.now += 1_000
	h.reports(s, 1, 1_000, h.now)
	return h, s
}

// energyOf is the total_mwh of a session's stored document; -1 where there is none.
func energyOf(fake *fakeShelves, s *session.Session) int64 {
	fake.mu.Lock()
	defer fake.mu.Unlock()
	n, ok := fake.documents[sessionsCollection][string(s.ID())].Lookup("total_mwh").AsInt64OK()
	if !ok {
		return -1
	}
	return n
}

func TestLifecycleIsStoredAtOnceAndASampleInBulk(t *testing.T) {
	h, s := supplying(t)
	fake := newFake()
	p := project(h, fake, false, io.Discard)
	h.now += 1_000
	must(t, p.Handle(t.Context(), h.reports(s, 2, 2_000, h.now)))
	if got := energyOf(fake, s); got != -1 || p.Stats().Waiting != 1 || p.Stats().Delay <= 0 {
		t.Errorf("a sample alone is stored at once: %d, %+v", got, p.Stats())
	}
	must(t, errors.Join(p.readMissing(t.Context()), p.flush(t.Context())))
	if got := energyOf(fake, s); got != 2_000 || p.Stats().Waiting != 0 {
		t.Errorf("after a flush %d, %+v", got, p.Stats())
	}
	h.now += 1_000
	must(t, p.Handle(t.Context(), h.reports(s, 3, 3_000, h.now)))
	must(t, p.Handle(t.Context(), h.ends(s, session.CauseStopped)))
	if got := energyOf(fake, s); got != 3_000 || p.Stats().Waiting != 0 {
		t.Errorf("a lifecycle event takes the samples before it along: %d, %+v", got, p.Stats())
	}
	h.now += 1_000
	must(t, p.Handle(t.Context(), h.done(s, 4_000)))
	sameDocuments(t, fake, rebuiltFrom(t, h))
	if p.folds[central.SessionStream(s.ID())] != nil {
		t.Error("the fold of a closed session is kept")
	}
}

func TestARefusedRequestLeavesItsDriverOnly(t *testing.T) {
	h := newHistory(t, nil)
	fake := newFake()
	p := project(h, fake, false, io.Discard)
	_, publication := h.asks("D-7", "CP-1")
	must(t, p.Handle(t.Context(), publication))
	if got := fake.all(); len(got) != 1 || got["drivers/D-7"] != `{"_id": "D-7","id": "D-7","name": "D-7"}` {
		t.Errorf("stored are %v", got)
	}
	if len(p.folds) > 0 || len(p.waits) > 0 {
		t.Error("its fold is kept")
	}
}

func TestADriverIsStoredOnce(t *testing.T) {
	h := newHistory(t, nil)
	fake := newFake()
	p := project(h, fake, false, io.Discard)
	for range 3 {
		_, publication := h.asks("D-7", "CP-1")
		must(t, p.Handle(t.Context(), publication))
	}
	if fake.writes != 1 || len(fake.documents[driversCollection]) != 1 {
		t.Errorf("%d writes, stored are %v", fake.writes, fake.all())
	}
}

func TestAStoreThatIsAwayFailsATurnUnlessOptional(t *testing.T) {
	for _, optional := range []bool{false, true} {
		t.Run(fmt.Sprint("optional ", optional), func(t *testing.T) {
			var lines collector
			h := newHistory(t, nil)
			fake := newFake()
			p := project(h, fake, optional, &lines)
			fake.setAway(true)
			registration := h.working("CP-1", 300_000)
			for range 3 {
				if err := p.Handle(t.Context(), registration); (err == nil) != optional {
					t.Fatalf("while the store is away: %v", err)
				}
				_ = p.flush(t.Context())
			}
			fake.setAway(false)
			must(t, p.Handle(t.Context(), registration))
			must(t, p.flush(t.Context()))
			sameDocuments(t, fake, rebuiltFrom(t, h))
			if lines.count("wait for MongoDB") != 1 || lines.count("the projections go on") != 1 || len(lines.lines) != 2 {
				t.Errorf("said was %q", lines.lines)
			}
		})
	}
}

// What waits while a store is away that may be costs no more than its name once it is closed.
func TestClosedSessionsThatWaitAreReadAgain(t *testing.T) {
	h := newHistory(t, nil)
	fake := newFake()
	p := project(h, fake, true, io.Discard)
	fake.setAway(true)
	must(t, p.Handle(t.Context(), h.working("CP-1", 300_000)))
	for n := range 20 {
		h.now += 10_000
		s, publication := h.asks(domain.DriverID(fmt.Sprint("D-", n)), "CP-1")
		must(t, p.Handle(t.Context(), publication))
		must(t, p.Handle(t.Context(), h.done(s, 1_000)))
		if err := p.flush(t.Context()); err == nil {
			t.Fatal("the store is not away")
		}
	}
	folds := 0
	for _, k := range p.folds {
		if k.fold != nil {
			folds++
		}
	}
	if folds > 1 || p.Stats().Waiting != 21+20 {
		t.Errorf("%d folds are kept, %+v", folds, p.Stats())
	}
	fake.setAway(false)
	must(t, errors.Join(p.readMissing(t.Context()), p.flush(t.Context())))
	sameDocuments(t, fake, rebuiltFrom(t, h))
	if s := p.Stats(); s.Waiting != 0 {
		t.Errorf("in the end %+v", s)
	}
}

func TestADocumentThatIsRefusedForGoodStopsNothingElse(t *testing.T) {
	for _, optional := range []bool{false, true} {
		t.Run(fmt.Sprint("optional ", optional), func(t *testing.T) {
			var lines collector
			h := newHistory(t, nil)
			fake := newFake()
			fake.refuse = func(r replacement) string {
				if r.collection == sessionsCollection && bytes.Contains(r.body, []byte("D-13")) {
					return staleInvalid
				}
				return ""
			}
			p := project(h, fake, optional, &lines)
			must(t, p.Handle(t.Context(), h.working("CP-1", 300_000)))
			for n := 12; n <= 14; n++ {
				h.now += 10_000
				s, publication := h.asks(domain.DriverID(fmt.Sprint("D-", n)), "CP-1")
				must(t, p.Handle(t.Context(), publication))
				for seq := range int64(3) {
					h.now += 1_000
					must(t, p.Handle(t.Context(), h.reports(s, seq+1, 1_000, h.now)))
					must(t, p.flush(t.Context()))
				}
				must(t, p.Handle(t.Context(), h.done(s, 2_000)))
				must(t, p.flush(t.Context()))
			}
			if len(fake.documents[sessionsCollection]) != 2 || len(fake.documents[driversCollection]) != 3 {
				t.Errorf("stored are %v", fake.all())
			}
			if s := p.Stats(); s.Stale[staleInvalid] != 1 || s.Waiting != 0 {
				t.Errorf("counted are %+v", s)
			}
			if lines.count("stale") != 1 || len(lines.lines) != 1 {
				t.Errorf("said was %q", lines.lines)
			}
			fake.mu.Lock()
			fake.refuse = nil
			fake.mu.Unlock()
			must(t, errors.Join(p.sweep(t.Context()), p.readMissing(t.Context())))
			sameDocuments(t, fake, rebuiltFrom(t, h))
			if s := p.Stats(); s.Stale[staleInvalid] != 0 || lines.count("as the event log has it again") != 1 {
				t.Errorf("after a sweep %+v, %q", s, lines.lines)
			}
		})
	}
}

func TestADriverThatIsRefusedForGoodIsSaidOnce(t *testing.T) {
	var lines collector
	h := newHistory(t, nil)
	fake := newFake()
	fake.refuse = func(r replacement) string {
		if r.collection == driversCollection {
			return staleInvalid
		}
		return ""
	}
	p := project(h, fake, false, &lines)
	for range 3 {
		_, publication := h.asks("D-7", "CP-1")
		must(t, p.Handle(t.Context(), publication))
	}
	must(t, errors.Join(p.sweep(t.Context()), p.readMissing(t.Context()), p.flush(t.Context())))
	if s := p.Stats(); s.Stale[staleInvalid] != 1 || s.Waiting != 0 || len(lines.lines) != 1 {
		t.Errorf("%+v, said was %q", s, lines.lines)
	}
	fake.refuse = nil
	must(t, errors.Join(p.sweep(t.Context()), p.flush(t.Context())))
	sameDocuments(t, fake, rebuiltFrom(t, h))
	if s := p.Stats(); s.Stale[staleInvalid] != 0 {
		t.Errorf("in the end %+v", s)
	}
}

// A sample that comes while the one before is being written waits for the next flush, and
// is no older than that.
func TestASampleThatComesDuringAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := supplying(t)
		fake := newFake()
		p := project(h, fake, false, io.Discard)
		must(t, p.sweep(t.Context()))
		h.now += 1_000
		must(t, p.Handle(t.Context(), h.reports(s, 2, 2_000, h.now)))
		time.Sleep(10 * time.Second)
		if got := p.Stats(); got.Delay != 10*time.Second || got.Waiting != 1 {
			t.Errorf("before the flush %+v", got)
		}
		fake.before = func() {
			h.now += 1_000
			must(t, p.Handle(t.Context(), h.reports(s, 3, 3_000, h.now)))
			time.Sleep(time.Second)
		}
		must(t, p.flush(t.Context()))
		if got := p.Stats(); got.Delay != time.Second || got.Waiting != 1 || energyOf(fake, s) != 2_000 {
			t.Errorf("after it %+v, stored is %d", got, energyOf(fake, s))
		}
		fake.before = nil
		must(t, p.flush(t.Context()))
		if got := p.Stats(); got.Waiting != 0 || energyOf(fake, s) != 3_000 {
			t.Errorf("in the end %+v, stored is %d", got, energyOf(fake, s))
		}
	})
}

func TestAStreamThatCantBeReadStopsNothingElse(t *testing.T) {
	var lines collector
	h, s := supplying(t)
	stream := central.SessionStream(s.ID())
	h.log.damaged[stream] = true
	fake := newFake()
	p := project(h, fake, false, &lines)
	for range 2 {
		h.now += 1_000
		must(t, p.Handle(t.Context(), h.reports(s, 9, 2_000, h.now)))
		must(t, p.readMissing(t.Context()))
		must(t, p.Handle(t.Context(), h.ends(s, session.CauseStopped)))
		must(t, p.sweep(t.Context()))
	}
	if len(fake.documents[sessionsCollection]) != 0 || len(fake.documents[pointsCollection]) != 1 {
		t.Errorf("stored are %v", fake.all())
	}
	if s := p.Stats(); s.Stale[staleDamaged] != 1 || s.Waiting != 0 || len(lines.lines) != 1 || lines.count("a bit is wrong") != 1 {
		t.Errorf("%+v, said was %q", s, lines.lines)
	}
	counts, err := p.Rebuild(t.Context(), h.log, h.log.Decode, RebuildOptions{})
	if err != nil || counts.Stale[staleDamaged] != 1 || counts.Same != 1 {
		t.Errorf("a rebuild: %+v, %v", counts, err)
	}
	delete(h.log.damaged, stream)
	must(t, p.sweep(t.Context()))
	sameDocuments(t, fake, rebuiltFrom(t, h))
	if s := p.Stats(); s.Stale[staleDamaged] != 0 {
		t.Errorf("in the end %+v", s)
	}
}

func TestALogThatIsAwayFailsWhatNeedsIt(t *testing.T) {
	h, s := supplying(t)
	p := project(h, newFake(), false, io.Discard)
	h.log.setAway(errAway)
	ends := h.ends(s, session.CauseStopped)
	if err := p.Handle(t.Context(), ends); !errors.Is(err, errAway) {
		t.Errorf("parts are missing and the log is away: %v", err)
	}
	h.now += 1_000
	must(t, p.Handle(t.Context(), h.reports(s, 2, 2_000, h.now))) // it can wait
	h.log.setAway(nil)
	must(t, p.Handle(t.Context(), ends))
}

func TestHandleEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(t, nil)
		fake := newFake()
		stuck := make(chan struct{})
		fake.before = func() { <-stuck }
		p := project(h, fake, false, io.Discard)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Handle(ctx, h.working("CP-1", 300_000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a store that hangs: %v", err)
		}
		close(stuck)
	})
}

func TestConcurrentTurnsAreStoredTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(t, nil)
		fake := newFake()
		fake.before = func() { time.Sleep(time.Millisecond) } // virtual: the others come meanwhile
		p := project(h, fake, false, io.Discard)
		var all sync.WaitGroup
		for n := range 100 {
			publication := h.working(domain.PointID(fmt.Sprint("CP-", n)), 300_000)
			all.Go(func() { must(t, p.Handle(t.Context(), publication)) })
		}
		all.Wait()
		if fake.writes > 2 {
			t.Errorf("100 turns made %d writes", fake.writes)
		}
		sameDocuments(t, fake, rebuiltFrom(t, h))
	})
}
