package mongo

import (
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/domain"
	"evcharging/domain/session"
)

// without is the log of a history as it is without its last commits.
func without(t tester, h *history, commits int) *history {
	t.Helper()
	old := newHistory(t, nil)
	for _, parts := range h.log.commits[:len(h.log.commits)-commits] {
		old.log.append(parts)
	}
	return old
}

// twoSupplies is a history with a supply that is over, and one that runs. It is the same each time.
func twoSupplies(t tester) (*history, *session.Session) {
	h := newHistory(t, nil)
	h.working("CP-1", 300_000)
	first, _ := h.asks("D-6", "CP-1")
	h.done(first, 1_000)
	s, _ := h.asks("D-7", "CP-1")
	h.now += 1_000
	h.reports(s, 1, 1_000, h.now)
	return h, s
}

// billed is twoSupplies where the second is billed, and revised as often as said, an hour after it began.
func billed(t tester, revisions int) (*history, *session.Session) {
	h, s := twoSupplies(t)
	h.now += 3_600_000
	for n := range 1 + revisions {
		h.now += 1_000
		h.done(s, 2_000_000+domain.MilliwattHours(1_000*n))
	}
	return h, s
}

// withTicket changes a field of a document's ticket.
func withTicket(t tester, document bson.Raw, field string, to any) bson.Raw {
	t.Helper()
	return edit(t, document, "ticket", edit(t, document.Lookup("ticket").Document(), field, to))
}

// A bill that a document has, and that the log has lost, stays and is told; what only claims to be one does not.
func TestABillThatTheLogHasLostStays(t *testing.T) {
	for name, c := range map[string]struct {
		revisions, lost int
		spoil           func(t *testing.T, document bson.Raw) bson.Raw
		stays           bool
	}{
		"its close is lost":                 {0, 1, nil, true},
		"all of its session is lost":        {0, 3, nil, true},
		"a revision is lost":                {1, 1, nil, true},
		"a revision and the close are lost": {1, 2, nil, true},
		"and the log went on":               {0, 1, func(t *testing.T, d bson.Raw) bson.Raw { return edit(t, d, "version", int64(1)) }, true},
		"nothing is lost":                   {1, 0, nil, false},
		"nothing but a version is claimed":  {0, 0, func(t *testing.T, d bson.Raw) bson.Raw { return edit(t, d, "version", int64(99_999)) }, false},
		"other figures are claimed": {0, 0, func(t *testing.T, d bson.Raw) bson.Raw {
			return edit(t, edit(t, d, "version", int64(99)), "total_eur", 0.0)
		}, false},
		"a close without a ticket is claimed": {0, 1, func(t *testing.T, d bson.Raw) bson.Raw { return edit(t, d, "ticket", nil) }, false},
		"another session's ticket is claimed": {0, 1, func(t *testing.T, d bson.Raw) bson.Raw {
			return withTicket(t, d, "ticket_id", string(session.TicketFor("S-66")))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := billed(t, c.revisions)
			id := string(s.ID())
			fake := rebuiltFrom(t, h)
			if c.spoil != nil {
				fake.change(sessionsCollection, id, c.spoil(t, fake.documents[sessionsCollection][id]))
			}
			old := without(t, h, c.lost)
			old.working("CP-2", 300_000) // what is missing is made all the same
			bill, want := fake.documents[sessionsCollection][id], rebuiltFrom(t, old)
			if c.stays {
				want.documents[sessionsCollection][id] = bill
				want.documents[driversCollection]["D-7"] = fake.documents[driversCollection]["D-7"]
			}
			var told []string
			tell := func(d Difference) {
				if d.Kind == DocumentUnproved {
					told = append(told, fmt.Sprint(d))
				}
			}
			before := fake.all()
			var dry Rebuilt
			synctest.Test(t, func(t *testing.T) { dry = rebuilds(t, old, fake, RebuildOptions{Found: tell, DryRun: true}) })
			if !maps.Equal(fake.all(), before) {
				t.Error("a dry run has changed something")
			}
			got := rebuilds(t, old, fake, RebuildOptions{Found: tell})
			sameDocuments(t, fake, want)
			n := 0
			if c.stays {
				n = 1
			}
			if int(got.Unproved) != n || int(dry.Unproved) != n || len(told) != 2*n || n == 1 && (told[0] != told[1] || !strings.Contains(told[0], "ticket")) {
				t.Errorf("a dry run %+v, a rebuild %+v, told was %q", dry, got, told)
			}
			rebuilds(t, old, fake, RebuildOptions{Only: id})
			sameDocuments(t, fake, want)
			rebuilds(t, old, fake, RebuildOptions{Until: old.now + 7_200_000})
			if sameDocuments(t, fake, rebuiltFrom(t, old)); t.Failed() {
				t.Error("that is the past, which has no later bill")
			}
		})
	}
}

// Where the log has a bill of its own instead, that counts, and the document's is told.
func TestAnotherBillThanTheLogsIsTold(t *testing.T) {
	for name, version := range map[string]int64{"of an earlier version": 1, "of a later version": 99} {
		t.Run(name, func(t *testing.T) {
			h, s := billed(t, 0)
			want := rebuiltFrom(t, h)
			fake := want.clone()
			id := string(s.ID())
			document := edit(t, fake.documents[sessionsCollection][id], "version", version)
			fake.change(sessionsCollection, id, withTicket(t, document, "digest", strings.Repeat("ab", 32)))
			var told []Difference
			got := rebuilds(t, h, fake, RebuildOptions{Found: func(d Difference) { told = append(told, d) }})
			sameDocuments(t, fake, want)
			if got.Different != 1 || len(told) != 1 || told[0].Behind || !strings.Contains(fmt.Sprint(told), "digest") {
				t.Errorf("%+v, told was %+v", got, told)
			}
		})
	}
}

// A Central that goes on with a log that has lost a close says so once, and lets the bill be, until
// the log has one.
func TestSweepsLeaveABillThatTheLogHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, s := billed(t, 0)
		h, again := twoSupplies(t) // the same log, less its last commit
		fake := rebuiltFrom(t, before)
		id := string(s.ID())
		// The logs of these tests hash nothing: two bills would be of one digest.
		fake.change(sessionsCollection, id, withTicket(t, fake.documents[sessionsCollection][id], "digest", strings.Repeat("ab", 32)))
		bill := fake.documents[sessionsCollection][id]
		var lines collector
		p := project(h, fake, false, &lines)
		stop := running(t, p)
		stays := func(when string) {
			t.Helper()
			if got := fake.all()[sessionsCollection+"/"+id]; got != bill.String() {
				t.Errorf("%s it is\n%s", when, got)
			}
			if stats := p.Stats(); stats.Stale[staleUnproved] != 1 || stats.Waiting > 0 || lines.count("has a bill that the event log has not, and stays: 2 kWh, 0.6 EUR") != 1 {
				t.Errorf("%s: %+v, said was %q", when, stats, lines.lines)
			}
		}
		stays("at the start")
		pass(2 * sweepEvery)
		stays("two sweeps later")
		for n := range int64(9) { // until the log is beyond the document's version
			h.now += 1_000
			must(t, p.Handle(t.Context(), h.reports(again, 2+n, domain.MilliwattHours(2_000+n), h.now)))
		}
		pass(time.Second)
		h.now += 1_000
		must(t, p.Handle(t.Context(), h.ends(again, session.CauseStopped)))
		stays("after a turn")
		pass(2 * time.Second)
		stays("a moment later")
		h.now += 1_000
		must(t, p.Handle(t.Context(), h.done(again, 5_000)))
		pass(time.Second)
		stop()
		sameDocuments(t, fake, rebuiltFrom(t, h))
		if p.Stats().Stale[staleUnproved] != 0 || lines.count("another bill than the event log") != 1 || lines.count("document=\"2 kWh, 0.6 EUR") != 1 {
			t.Errorf("said was %q", lines.lines)
		}
		if len(p.doubts) > 0 || p.folds[central.SessionStream(s.ID())] != nil {
			t.Error("it is still kept")
		}
	})
}

// A revision that is lost is as little taken away, where the log is elsewhere: its start looks at what is closed.
func TestAStartLeavesARevisionThatTheLogHasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := billed(t, 1)
		fake := rebuiltFrom(t, h)
		want := fake.clone()
		p := project(without(t, h, 1), fake, true, io.Discard)
		stop := running(t, p)
		pass(2*sweepEvery + 2*time.Second)
		stop()
		sameDocuments(t, fake, want)
		if stats := p.Stats(); stats.Stale[staleUnproved] != 1 || stats.Mended > 0 || p.folds[central.SessionStream(s.ID())] != nil {
			t.Errorf("%+v", stats)
		}
	})
}

// In MongoDB itself, whether a sweep looks at the document or a turn of the log writes blindly.
func TestABillThatTheLogHasLostStaysInMongo(t *testing.T) {
	s := connect(t, database(t))
	before, billed := billed(t, 0)
	rebuilds(t, before, s, RebuildOptions{})
	h, again := twoSupplies(t)
	p := project(h, s, false, io.Discard)
	id := string(billed.ID())
	want := inMongo(t, s).all()[sessionsCollection+"/"+id]
	stays := func(when string) {
		t.Helper()
		if got := inMongo(t, s).all()[sessionsCollection+"/"+id]; got != want || p.Stats().Stale[staleUnproved] != 1 {
			t.Errorf("%s it is\n%s, %+v", when, got, p.Stats())
		}
	}
	must(t, p.sweep(t.Context()))
	stays("after a sweep")
	for n := range int64(9) { // until the log is beyond the document's version
		h.now += 1_000
		h.reports(again, 2+n, domain.MilliwattHours(2_000+n), h.now)
	}
	must(t, p.Handle(t.Context(), h.ends(again, session.CauseStopped)))
	stays("after a turn")
	must(t, p.resolveDoubts(t.Context()))
	stays("after a look at it")
}
