package mongo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/domain"
)

// running runs projections until the test ends, in virtual time.
func running(t *testing.T, p *Projections) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	synctest.Wait()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// pass lets virtual time pass, and all that happens meanwhile end.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestSamplesAreStoredWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := supplying(t)
		fake := newFake()
		p := project(h, fake, false, io.Discard)
		stop := running(t, p)
		for n := range int64(5) {
			h.now += 1_000
			must(t, p.Handle(t.Context(), h.reports(s, 2+n, domain.MilliwattHours(2_000+n), h.now)))
			pass(time.Second)
			if got := energyOf(fake, s); got != 2_000+n {
				t.Errorf("a second later it has %d", got)
			}
		}
		h.now += 1_000
		must(t, p.Handle(t.Context(), h.reports(s, 9, 3_000, h.now)))
		stop()
		if got := energyOf(fake, s); got != 3_000 {
			t.Errorf("after the last flush it has %d", got)
		}
	})
}

func TestRunEndsWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := supplying(t)
		fake := newFake()
		var lines collector
		p := project(h, fake, false, &lines)
		stop := running(t, p)
		fake.setAway(true)
		h.now += 1_000
		must(t, p.Handle(t.Context(), h.reports(s, 2, 2_000, h.now)))
		pass(time.Minute)
		stop()
		if lines.count("wait for MongoDB") != 1 || lines.count("not all projections are stored") != 1 {
			t.Errorf("said was %q", lines.lines)
		}
		p = project(h, fake, false, io.Discard)
		fake.setAway(false)
		stop = running(t, p)
		if got := energyOf(fake, s); got != 2_000 {
			t.Errorf("after the next start it has %d", got)
		}
		stop()
	})
}

// What was changed or removed is made right again: at the start, every 30 s and after an
// outage.
func TestSweepsMendDocumentsOfOpenStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := supplying(t)
		var lines collector
		want := rebuiltFrom(t, h)
		fake := want.clone()
		spoiled := func() {
			t.Helper()
			changed, err := bson.Marshal(bson.D{{Key: "_id", Value: "CP-1"}, {Key: "version", Value: int64(99)}, {Key: "state", Value: "BROKEN"}})
			must(t, err)
			fake.change(pointsCollection, "CP-1", changed)
			fake.change(sessionsCollection, string(s.ID()), nil)
			named, err := bson.Marshal(bson.D{{Key: "_id", Value: "D-7"}, {Key: "name", Value: "somebody else"}})
			must(t, err)
			fake.change(driversCollection, "D-7", named)
		}
		right := func(when string) {
			t.Helper()
			synctest.Wait()
			if t.Failed() {
				return
			}
			if sameDocuments(t, fake, want); t.Failed() {
				t.Errorf("that is %s", when)
			}
		}
		spoiled()
		p := project(h, fake, false, &lines)
		stop := running(t, p)
		right("at the start")

		spoiled()
		pass(sweepEvery + time.Second)
		right("30 s later")
		if got := p.Stats().Mended; got != 2+3 { // at the start a missing one may be on its way
			t.Errorf("%d are counted as mended", got)
		}

		fake.setAway(true)
		h.now += 1_000
		must(t, p.Handle(t.Context(), h.reports(s, 2, 2_000, h.now)))
		pass(2 * time.Second)
		want = rebuiltFrom(t, h)
		spoiled()
		fake.setAway(false)
		pass(2 * time.Second)
		right("after an outage")
		stop()
	})
}

// A sample that another Central stored in the log alone before it died is seen by whoever
// sweeps.
func TestSweepsTakeInWhatADeadCentralStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := supplying(t)
		fake := newFake()
		p := project(h, fake, false, io.Discard)
		stop := running(t, p)
		h.now += 1_000
		h.reports(s, 2, 2_000, h.now)
		pass(sweepEvery + time.Second)
		if got := energyOf(fake, s); got != 2_000 {
			t.Errorf("it has %d", got)
		}
		stop()
	})
}

// A document that was made to look newer than the log while nobody looked, and whose
// stream closes before the next sweep, is made right all the same.
func TestADocumentThatLooksNewerThanItsLastWordIsMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := supplying(t)
		fake := newFake()
		p := project(h, fake, false, io.Discard)
		stop := running(t, p)
		ahead, err := bson.Marshal(bson.D{{Key: "_id", Value: string(s.ID())}, {Key: "version", Value: int64(1_000)}})
		must(t, err)
		fake.change(sessionsCollection, string(s.ID()), ahead)
		h.now += 1_000
		must(t, p.Handle(t.Context(), h.done(s, 5_000)))
		pass(time.Second)
		sameDocuments(t, fake, rebuiltFrom(t, h))
		if len(p.doubts) > 0 || p.folds[central.SessionStream(s.ID())] != nil {
			t.Error("it is still kept")
		}
		stop()
	})
}

func TestFoldsOfStreamsThatOthersClosedAreForgotten(t *testing.T) {
	h, s := supplying(t)
	p := project(h, newFake(), false, io.Discard)
	must(t, p.sweep(t.Context()))
	if len(p.folds) != 2 {
		t.Fatalf("%d streams are kept", len(p.folds))
	}
	h.done(s, 5_000) // at another Central
	must(t, p.sweep(t.Context()))
	if p.folds[central.SessionStream(s.ID())] != nil || len(p.folds) != 1 {
		t.Errorf("%d streams are kept", len(p.folds))
	}
}

func TestALogThatIsAwayIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines collector
		h, _ := supplying(t)
		h.log.setAway(errAway)
		fake := newFake()
		stop := running(t, project(h, fake, false, &lines))
		pass(time.Minute - time.Second)
		if lines.count("can't be compared") != 1 || len(lines.lines) != 1 {
			t.Errorf("said was %q", lines.lines)
		}
		if tried := h.log.opens; tried != int(time.Minute/sweepAgain) {
			t.Errorf("it was tried %d times", tried)
		}
		h.log.setAway(nil)
		pass(sweepAgain + time.Second)
		sameDocuments(t, fake, rebuiltFrom(t, h))
		if lines.count("compared with the event log again") != 1 {
			t.Errorf("said was %q", lines.lines)
		}
		stop()
	})
}

func TestJudge(t *testing.T) {
	raw := func(version any, more string) bson.Raw {
		d := bson.D{{Key: "_id", Value: "x"}}
		if version != nil {
			d = append(d, bson.E{Key: "version", Value: version})
		}
		b, err := bson.Marshal(append(d, bson.E{Key: "more", Value: more}))
		must(t, err)
		return b
	}
	want := projection{collection: sessionsCollection, id: "x", version: 7, body: raw(int64(7), "a")}
	for _, c := range []struct {
		name  string
		found bson.Raw
		want  verdict
	}{
		{"none", nil, missing},
		{"the same bytes", raw(int64(7), "a"), same},
		{"an earlier version", raw(int64(6), "a"), older},
		{"an earlier version, of another type", raw(int32(6), "a"), older},
		{"the same version, other bytes", raw(int64(7), "b"), differs},
		{"the same version, of another type", raw(7.0, "a"), differs},
		{"a later version", raw(int64(8), "a"), ahead},
		{"no version", raw(nil, "a"), differs},
		{"a version that is a text", raw("7", "a"), differs},
	} {
		if got := judge(want, c.found); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// A document that says more than the fold is looked at again with all that the log has: then
// it is right, or it is replaced, and only if it still is the one that was seen.
func TestMendReadsTheLogsEndFirst(t *testing.T) {
	h, s := supplying(t)
	stream := central.SessionStream(s.ID())
	f := folded(t, h.log, stream)
	h.now += 1_000
	h.reports(s, 2, 2_000, h.now)
	later, _, err := folded(t, h.log, stream).document()
	must(t, err)
	more := func() error {
		for part, err := range h.log.Parts(t.Context(), stream, f.version+1) {
			must(t, errors.Join(err, f.apply(part)))
		}
		return nil
	}
	if _, v, err := mend(f, later.body, more); v != same || err != nil {
		t.Errorf("another Central's document: %d, %v", v, err)
	}
	claims, err := bson.Marshal(bson.D{{Key: "_id", Value: string(s.ID())}, {Key: "version", Value: int64(8)}})
	must(t, err)
	r, v, err := mend(f, claims, more)
	if v != ahead || err != nil || r.found == nil || r.found.Int64() != 8 || r.version != int64(f.version) {
		t.Errorf("one beyond the log's end: %+v, %d, %v", r, v, err)
	}
	if _, _, err := mend(f, claims, func() error { return errAway }); !errors.Is(err, errAway) {
		t.Errorf("while the log is away: %v", err)
	}
	if r, v, err := mend(f, nil, more); v != missing || err != nil || r.found != nil {
		t.Errorf("none: %+v, %d, %v", r, v, err)
	}
}

// Where the log is elsewhere: what closed while the store was away is stored after a
// restart, and a start looks at no more of the log than it must.
func TestSessionsThatClosedDuringAnOutageAreStoredAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHistory(t, nil)
		fake := newFake()
		p := project(h, fake, true, io.Discard)
		stop := running(t, p)
		must(t, p.Handle(t.Context(), h.working("CP-1", 300_000)))
		supply := func(n int) {
			h.now += 10_000
			s, publication := h.asks(domain.DriverID(fmt.Sprint("D-", n)), "CP-1")
			must(t, p.Handle(t.Context(), publication))
			_, refused := h.asks(domain.DriverID(fmt.Sprint("R-", n)), "CP-1")
			must(t, p.Handle(t.Context(), refused))
			must(t, p.Handle(t.Context(), h.done(s, 1_000)))
		}
		for n := range 3 {
			supply(n)
		}
		pass(3 * sweepEvery)
		if end, _ := h.log.End(t.Context()); fake.reached.Position != end {
			t.Errorf("%d of %d commits are noted as stored", fake.reached.Position, end)
		}
		fake.setAway(true)
		for n := 3; n < 6; n++ {
			supply(n)
			pass(2 * sweepEvery)
		}
		stop()
		fake.setAway(false)

		before := h.log.reads
		stop = running(t, project(h, fake, true, io.Discard))
		pass(3 * sweepEvery)
		sameDocuments(t, fake, rebuiltFrom(t, h))
		if reads := h.log.reads - before; reads > 1+6 {
			t.Errorf("the start read %d streams", reads)
		}
		stop()
	})
}

// A log that was made anew has nothing to do with what is noted of the one before.
func TestWhatIsNotedOfAnotherLogDoesNotCount(t *testing.T) {
	h, s := supplying(t)
	h.done(s, 5_000)
	fake := newFake()
	fake.reached = reached{Position: 4, Commit: "another"}
	p := project(h, fake, true, io.Discard)
	must(t, errors.Join(p.sweep(t.Context()), p.flush(t.Context())))
	sameDocuments(t, fake, rebuiltFrom(t, h))
}

func TestDamageInALogElsewhereStopsNothingElse(t *testing.T) {
	h, s := supplying(t)
	h.done(s, 5_000)
	h.working("CP-2", 300_000)
	h.now += 10_000
	second, _ := h.asks("D-8", "CP-2")
	h.done(second, 1_000)
	h.log.damaged[central.SessionStream(s.ID())] = true
	fake := newFake()
	p := project(h, fake, true, io.Discard)
	must(t, errors.Join(p.sweep(t.Context()), p.flush(t.Context())))
	if got := energyOf(fake, second); got != 1_000 {
		t.Errorf("the session behind the damage has %d", got)
	}
	if _, ok := fake.documents[sessionsCollection][string(s.ID())]; ok {
		t.Error("the damaged session has a document")
	}
}
