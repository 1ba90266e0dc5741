package mongo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
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

// rebuilds has documents rebuilt of a history.
func rebuilds(t tester, h *history, s shelves, o RebuildOptions) Rebuilt {
	t.Helper()
	got, err := project(h, s, false, io.Discard).Rebuild(context.Background(), h.log, h.log.Decode, o)
	must(t, err)
	return got
}

// digestOf is that of stored documents.
func digestOf(fake *fakeShelves) (digest Digest, documents uint64) {
	for collection, all := range fake.documents {
		for id, body := range all {
			digest, documents = digest.plus(documentSum(collection, id, body)), documents+1
		}
	}
	return digest, documents
}

func TestRebuildTellsHowFarItIs(t *testing.T) {
	h := busy(t, 5_000)
	fake := newFake()
	var told []Rebuilt
	got := rebuilds(t, h, fake, RebuildOptions{Progress: func(r Rebuilt) { told = append(told, r) }})
	events := 0
	for _, parts := range h.log.commits {
		for _, p := range parts {
			events += len(p.Events)
		}
	}
	digest, documents := digestOf(fake)
	want := Rebuilt{
		Commits: uint64(len(h.log.commits)), Events: uint64(events), Stale: map[string]int{},
		Missing: documents, Documents: documents, Digest: digest,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, want\n%+v", got, want)
	}
	if n := len(h.log.commits)/progressEvery + 1; len(told) != n || fmt.Sprint(told[n-1]) != fmt.Sprint(got) {
		t.Errorf("it told %d times (want %d): %+v", len(told), n, told)
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
	h := supplies(t, 2*rebuildLanes*closedKept)
	want := rebuiltFrom(t, h)
	fake := newFake()
	for _, after := range []int{1, 10, len(h.log.commits) * 3 / 4, len(h.log.commits) - 1} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := project(h, fake, false, io.Discard).Rebuild(ctx, &stopping{h.log, after, cancel}, h.log.Decode, RebuildOptions{})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped after %d commits: %v", after, err)
		}
	}
	if len(fake.documents[sessionsCollection]) == 0 {
		t.Error("nothing was stored before it was stopped")
	}
	got := rebuilds(t, h, fake, RebuildOptions{})
	sameDocuments(t, fake, want)
	if got.Same == 0 || got.Missing == 0 {
		t.Errorf("the last one: %+v", got)
	}
}

func TestRebuildEndsWhereTheStoreIsAway(t *testing.T) {
	h := busy(t, 2_000)
	for name, away := range map[string]func(*fakeShelves){
		"from the start": func(f *fakeShelves) { f.setAway(true) },
		"later":          func(f *fakeShelves) { f.before = func() { f.setAway(true) } },
	} {
		t.Run(name, func(t *testing.T) {
			fake := newFake()
			away(fake)
			if _, err := project(h, fake, false, io.Discard).Rebuild(t.Context(), h.log, h.log.Decode, RebuildOptions{}); !errors.Is(err, errAway) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What a Central stores while a rebuild goes on does not go back in time, and stays.
func TestRebuildBesideACentral(t *testing.T) {
	h := busy(t, 5_000)
	fake := newFake()
	live := project(h, fake, false, io.Discard)
	var writing atomic.Bool
	fake.before = func() { // between what the rebuild has read and what it writes
		if !writing.CompareAndSwap(false, true) {
			return
		}
		defer writing.Store(false)
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
	got := rebuilds(t, h, fake, RebuildOptions{})
	fake.before = nil
	must(t, errors.Join(live.readMissing(t.Context()), live.flush(t.Context())))
	sameDocuments(t, fake, rebuiltFrom(t, h))
	if got.Orphaned > 0 || got.Unsure > 0 {
		t.Errorf("it took some for orphans: %+v", got)
	}
}

// However long the log, a rebuild keeps what is open and some that closed last.
func TestRebuildKeepsNoMoreThanIsOpen(t *testing.T) {
	h := supplies(t, 3*rebuildLanes*closedKept)
	fake := newFake()
	r := newRebuild(project(h, fake, false, io.Discard), h.log, h.log.Decode, RebuildOptions{})
	var most [rebuildLanes]int
	r.decode = func(p eventlog.Part) (central.Part, error) {
		for i, l := range r.lanes {
			if l == r.laneOf(p.Stream) { // whose goroutine this is
				most[i] = max(most[i], len(l.folds), len(l.closed))
			}
		}
		return h.log.Decode(p)
	}
	_, err := r.run(t.Context())
	must(t, err)
	for i, l := range r.lanes {
		if most[i] > closedKept+laneSteps+2 || most[i] < laneBulk || len(l.folds)+len(l.closed) > 0 {
			t.Errorf("lane %d kept %d folds, in the end %d and %d", i, most[i], len(l.folds), len(l.closed))
		}
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
	for range 2 * rebuildLanes * closedKept {
		h.now += 10_000
		s, _ := h.asks("D-1", "CP-1")
		h.done(s, 1_000)
	}
	h.done(first, 2_000)
	h.done(first, 3_000)
	fake := newFake()
	for range 2 { // the second finds the revised document where it looks for the first ticket's
		h.log.reads = 0
		got := rebuilds(t, h, fake, RebuildOptions{})
		if energy := energyOf(fake, first); energy != 3_000 {
			t.Errorf("it has %d", energy)
		}
		isStoredAt(t, h, fake, central.SessionStream(first.ID()), 5)
		if digest, documents := digestOf(fake); got.Digest != digest || got.Documents != documents || h.log.reads == 0 {
			t.Errorf("%+v of %d documents, digest %s, %d streams read again", got, documents, digest, h.log.reads)
		}
	}
}

func TestRebuildGoesOnBehindDamage(t *testing.T) {
	h := busy(t, 3_000)
	want := rebuiltFrom(t, h)
	stream := central.SessionStream(h.closed()[3].ID())
	h.log.damaged[stream] = true
	var lines collector
	fake := newFake()
	got, err := project(h, fake, false, &lines).Rebuild(t.Context(), h.log, h.log.Decode, RebuildOptions{})
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
	got, err := project(h, fake, false, &lines).Rebuild(t.Context(), h.log, h.log.Decode, RebuildOptions{})
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

// shuffled is a history's log in another order that keeps each stream's.
func shuffled(t tester, h *history, seed uint64) *history {
	choices := rand.New(rand.NewPCG(seed, seed))
	other := newHistory(t, nil)
	waiting := slices.Clone(h.log.commits)
	for len(waiting) > 0 {
		n := choices.IntN(min(len(waiting), 50))
		touched := map[eventlog.Stream]bool{}
		for i, parts := range waiting[:n+1] { // the first of its streams there
			free := true
			for _, p := range parts {
				free = free && !touched[p.Stream]
				touched[p.Stream] = true
			}
			if i == n && !free {
				n = 0
			}
		}
		other.log.append(waiting[n])
		waiting = slices.Delete(waiting, n, n+1)
	}
	return other
}

// The digest is that of the documents, and the same however the log is ordered.
func TestTheDigestGoesByTheEventsAlone(t *testing.T) {
	h := busy(t, 3_000)
	want := rebuilds(t, h, newFake(), RebuildOptions{})
	for seed := range uint64(3) {
		other := shuffled(t, h, seed)
		if slices.EqualFunc(h.log.commits, other.log.commits, func(a, b []central.Part) bool { return a[0].Hash == b[0].Hash && a[0].Stream == b[0].Stream }) {
			t.Error("the order is the same")
		}
		fake := newFake()
		if got := rebuilds(t, other, fake, RebuildOptions{}); got.Digest != want.Digest || got.Documents != want.Documents {
			t.Errorf("%+v\nwant\n%+v", got, want)
		}
		if got := rebuilds(t, other, fake, RebuildOptions{DryRun: true}); got.Digest != want.Digest {
			t.Errorf("a dry run gives %s, want %s", got.Digest, want.Digest)
		}
	}
	h.asks("D-99", "CP-1")
	if got := rebuilds(t, h, newFake(), RebuildOptions{}); got.Digest == want.Digest {
		t.Error("another log has the same digest")
	}
}

// docs/contract.md has this digest, for whoever computes it elsewhere.
func TestTheDigestIsTheSumOfHashes(t *testing.T) {
	fake := newFake()
	for _, id := range []domain.DriverID{"D-1", "D-2", "D-3"} {
		d, err := driverDocument(id)
		must(t, err)
		fake.documents[driversCollection][string(id)] = d.body
	}
	const want = "1222cc9e7b3b7f36ae75fe0248fee0f1257116e3c8abad92cd90857ac07dcea1"
	if digest, _ := digestOf(fake); digest.String() != want {
		t.Errorf("it is %s, want %s", digest, want)
	}
	all := Digest{}
	for i := range all {
		all[i] = 0xff
	}
	one := Digest{31: 1}
	if all.plus(one) != (Digest{}) || (Digest{}).minus(one) != all || one.plus(all).minus(all) != one {
		t.Error("it is no sum modulo 2^256")
	}
}

// What a dry run tells is what a rebuild then changes.
func TestADryRunTellsWhatARebuildChanges(t *testing.T) {
	h := busy(t, 2_000)
	fake := rebuiltFrom(t, h)
	choices := rand.New(rand.NewPCG(3, 4))
	for _, collection := range collections {
		for _, id := range slices.Sorted(maps.Keys(fake.documents[collection])) {
			switch document := fake.documents[collection][id]; choices.IntN(8) {
			case 0:
				fake.change(collection, id, nil)
			case 1:
				fake.change(collection, id, edit(t, document, "note", "x"))
			case 2:
				fake.change(collection, "stranger-"+id, document)
			}
		}
	}
	before := fake.all()
	tell := func(to *[]string) func(Difference) {
		return func(d Difference) { *to = append(*to, fmt.Sprint(d)) }
	}
	var would, did []string
	var dry Rebuilt
	synctest.Test(t, func(t *testing.T) { dry = rebuilds(t, h, fake, RebuildOptions{DryRun: true, Found: tell(&would)}) })
	if !maps.Equal(fake.all(), before) {
		t.Error("a dry run has changed something")
	}
	wet := rebuilds(t, h, fake, RebuildOptions{Found: tell(&did)})
	slices.Sort(would)
	slices.Sort(did)
	if len(did) == 0 || !slices.Equal(would, did) || fmt.Sprint(dry) != fmt.Sprint(wet) {
		t.Errorf("it would\n%s\n%+v\nit did\n%s\n%+v", strings.Join(would, "\n"), dry, strings.Join(did, "\n"), wet)
	}
	sameDocuments(t, fake, rebuiltFrom(t, h))
}

// A rebuild until an instant makes the documents what a rebuild then made, and the next
// one what they are now.
func TestRebuildUntilAnInstant(t *testing.T) {
	h := busy(t, 2_000)
	fake := newFake()
	for _, at := range []int{100, 900, 700, 0, len(h.log.commits) - 1} {
		until := h.log.commits[at][0].At
		then := newHistory(t, nil)
		for _, parts := range h.log.commits {
			if parts[0].At <= until {
				then.log.append(parts)
			}
		}
		got := rebuilds(t, h, fake, RebuildOptions{Until: until})
		want := rebuiltFrom(t, then)
		sameDocuments(t, fake, want)
		if digest, documents := digestOf(want); got.Digest != digest || got.Documents != documents || int(got.Commits) != len(then.log.commits) {
			t.Errorf("until %s: %+v, want %d documents, digest %s", until, got, documents, digest)
		}
	}
	if got := rebuilds(t, h, fake, RebuildOptions{Until: begin - 1}); got.Commits+got.Orphaned != 0 || len(fake.all()) == 0 {
		t.Errorf("before the first event: %+v", got)
	}
}

func TestRebuildOfOneID(t *testing.T) {
	h, s := supplying(t)
	h.working("CP-2", 300_000)
	refused, _ := h.asks("D-9", "CP-1")
	h.done(s, 2_000_000)
	right := rebuiltFrom(t, h)
	id := string(s.ID())
	broken := func() *fakeShelves {
		fake := right.clone()
		for collection, documents := range right.documents {
			for id, d := range documents {
				fake.change(collection, id, edit(t, d, "note", "x"))
			}
			fake.change(collection, "X-1", right.documents[driversCollection]["D-9"])
		}
		fake.change(sessionsCollection, string(refused.ID()), right.documents[sessionsCollection][id])
		return fake
	}
	for only, want := range map[string][]string{
		"CP-1":               {"charging_points/CP-1"},
		id:                   {"sessions/" + id},
		"D-9":                {"drivers/D-9"},
		"X-1":                {"charging_points/X-1", "drivers/X-1", "sessions/X-1"},
		string(refused.ID()): {"sessions/" + string(refused.ID())},
	} {
		fake := broken()
		before := fake.all()
		var dry []string
		synctest.Test(t, func(t *testing.T) {
			rebuilds(t, h, fake, RebuildOptions{Only: only, DryRun: true, Found: func(d Difference) { dry = append(dry, d.Collection+"/"+d.ID) }})
		})
		rebuilds(t, h, fake, RebuildOptions{Only: only})
		var changed []string
		after, rights := fake.all(), right.all()
		for place, text := range before {
			if after[place] != text {
				changed = append(changed, place)
				if after[place] != rights[place] {
					t.Errorf("%s: %s is %s", only, place, after[place])
				}
			}
		}
		slices.Sort(changed)
		slices.Sort(dry)
		if !slices.Equal(changed, want) || !slices.Equal(dry, want) {
			t.Errorf("%s: changed are %q, a dry run tells %q, want %q", only, changed, dry, want)
		}
	}
	got := rebuilds(t, h, right.clone(), RebuildOptions{Only: "CP-1"})
	want := Digest{}.plus(documentSum(pointsCollection, "CP-1", right.documents[pointsCollection]["CP-1"]))
	if got.Same != 1 || got.Documents != 1 || got.Digest != want || got.Events == 0 {
		t.Errorf("one that is right: %+v", got)
	}
	if _, err := project(h, right, false, io.Discard).Rebuild(t.Context(), h.log, h.log.Decode, RebuildOptions{Only: "CP-9"}); !errors.Is(err, ErrUnknownID) {
		t.Errorf("one that nobody knows: %v", err)
	}
	h.log.damaged[central.PointStream("CP-1")] = true
	fake := broken()
	got = rebuilds(t, h, fake, RebuildOptions{Only: "CP-1"})
	if got.Stale[staleDamaged] != 1 || got.Unsure != 1 || !maps.Equal(fake.all(), broken().all()) {
		t.Errorf("one that can't be read: %+v", got)
	}
}

// What is in MongoDB and newer than the log, since that is an old one, stays.
func TestRebuildOfAnOldLog(t *testing.T) {
	h, s := supplying(t)
	old := newHistory(t, nil)
	for _, parts := range h.log.commits {
		old.log.append(parts)
	}
	end := h.now
	h.now += 3_600_000
	h.done(s, 2_000_000)
	h.working("CP-2", 300_000)
	h.asks("D-9", "CP-2")
	h.asks("D-10", "CP-2") // refused: its driver's document is all
	now := rebuiltFrom(t, h)
	for name, c := range map[string]struct {
		spoil         func(*fakeShelves)
		options       RebuildOptions
		newer, unsure uint64
		made          bool // to what the log has
	}{
		"nothing goes back in time": {func(*fakeShelves) {}, RebuildOptions{Behind: end}, 4, 2, false},
		"nor of a copy":             {func(*fakeShelves) {}, RebuildOptions{Behind: end, Copy: true}, 4, 2, false},
		"a version that nobody wrote": {func(f *fakeShelves) {
			f.documents = rebuiltFrom(t, old).documents
			f.change(pointsCollection, "CP-1", edit(t, edit(t, f.documents[pointsCollection]["CP-1"], "version", int64(99)), "updated_at", bson.DateTime(begin-1)))
		}, RebuildOptions{Behind: end}, 0, 0, true},
		"a time that has not come yet": {func(f *fakeShelves) {
			f.documents = rebuiltFrom(t, old).documents
			f.change(pointsCollection, "CP-1", edit(t, edit(t, f.documents[pointsCollection]["CP-1"], "version", int64(99)), "updated_at", bson.DateTime(end+7_200_000)))
			f.change(sessionsCollection, "S-66", edit(t, f.documents[sessionsCollection][string(s.ID())], "updated_at", bson.DateTime(end+7_200_000)))
		}, RebuildOptions{Behind: end, Ahead: end + 7_200_000}, 0, 0, true},
		"orphans from before": {func(f *fakeShelves) {
			f.documents = rebuiltFrom(t, old).documents
			f.change(sessionsCollection, "S-66", edit(t, f.documents[sessionsCollection][string(s.ID())], "updated_at", bson.DateTime(end-1)))
			f.change(driversCollection, "D-66", f.documents[driversCollection]["D-7"])
		}, RebuildOptions{Behind: end}, 0, 0, true},
		"a driver that a copy does not have": {func(f *fakeShelves) {
			f.documents = rebuiltFrom(t, old).documents
			f.change(driversCollection, "D-66", f.documents[driversCollection]["D-7"])
		}, RebuildOptions{Behind: end, Copy: true}, 0, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			fake := now.clone()
			c.spoil(fake)
			before := fake.all()
			got := rebuilds(t, old, fake, c.options)
			if got.Newer != c.newer || got.Unsure != c.unsure {
				t.Errorf("%+v", got)
			}
			if c.made {
				sameDocuments(t, fake, rebuiltFrom(t, old))
			} else if !maps.Equal(fake.all(), before) {
				t.Errorf("there is %v\nwant %v", fake.all(), before)
			}
		})
	}
}

// Documents of another network's log are not replaced with those of this one.
func TestRebuildRefusesAForeignDatabase(t *testing.T) {
	h, _ := supplying(t)
	other := newHistory(t, nil)
	other.now += 77_000
	other.working("CP-1", 300_000)
	ownOf := func(h *history) eventlog.Commit {
		for c, err := range h.log.All(t.Context(), 1) {
			must(t, err)
			return c.Commit
		}
		return eventlog.Commit{}
	}
	for name, c := range map[string]struct {
		in      func() *fakeShelves
		options RebuildOptions
		want    error
	}{
		"an empty one":              {newFake, RebuildOptions{}, nil},
		"its own":                   {func() *fakeShelves { return rebuiltFrom(t, h) }, RebuildOptions{}, nil},
		"its own, with its own log": {func() *fakeShelves { f := rebuiltFrom(t, h); f.own = ownOf(h); return f }, RebuildOptions{}, nil},
		"one with another log":      {func() *fakeShelves { f := newFake(); f.own = ownOf(other); f.own.ID[3]++; return f }, RebuildOptions{}, ErrForeign},
		"the sessions of another":   {func() *fakeShelves { f := rebuiltFrom(t, h); rename(t, f, sessionsCollection); return f }, RebuildOptions{}, ErrForeign},
		"the points of another": {func() *fakeShelves {
			f := rebuiltFrom(t, h)
			rename(t, f, pointsCollection)
			f.documents[sessionsCollection] = map[string]bson.Raw{}
			return f
		}, RebuildOptions{}, ErrForeign},
		"the past, an empty one":     {newFake, RebuildOptions{Until: begin}, nil},
		"the past, with its own log": {func() *fakeShelves { f := newFake(); f.own = ownOf(h); return f }, RebuildOptions{Until: begin}, ErrLive},
		"the past, of a Central":     {func() *fakeShelves { f := newFake(); f.reached = reached{3, "x"}; return f }, RebuildOptions{Until: begin}, ErrLive},
	} {
		t.Run(name, func(t *testing.T) {
			fake := c.in()
			before, writes := fake.all(), fake.writes
			_, err := project(h, fake, false, io.Discard).Rebuild(t.Context(), h.log, h.log.Decode, c.options)
			if !errors.Is(err, c.want) {
				t.Errorf("it says %v, want %v", err, c.want)
			}
			if c.options.Until == 0 {
				if _, err := project(h, c.in(), false, io.Discard).Compare(t.Context(), h.log, h.log.Decode, func(Difference) {}, nil); !errors.Is(err, c.want) {
					t.Errorf("of a comparison it says %v, want %v", err, c.want)
				}
			}
			if c.want != nil && (fake.writes != writes || !maps.Equal(fake.all(), before)) {
				t.Error("it has written all the same")
			}
		})
	}
}

// rename gives the documents of a collection other ids.
func rename(t tester, fake *fakeShelves, collection string) {
	for id, d := range fake.documents[collection] {
		fake.change(collection, id, nil)
		fake.change(collection, "other-"+id, edit(t, d, "_id", "other-"+id))
	}
}

// Orphans are removed, unless they are none by the time, or the log can't tell.
func TestRebuildRemovesOrphans(t *testing.T) {
	base := func() (*history, *session.Session, *fakeShelves) {
		h, s := supplying(t)
		fake := rebuiltFrom(t, h)
		fake.change(pointsCollection, "CP-66", fake.documents[pointsCollection]["CP-1"])
		driver, err := driverDocument("D-66")
		must(t, err)
		fake.change(driversCollection, "D-66", driver.body)
		fake.change(sessionsCollection, "S-66", fake.documents[sessionsCollection][string(s.ID())])
		return h, s, fake
	}
	t.Run("all", func(t *testing.T) {
		h, _, fake := base()
		if got := rebuilds(t, h, fake, RebuildOptions{}); got.Orphaned != 3 || got.Unsure != 0 {
			t.Errorf("%+v", got)
		}
		sameDocuments(t, fake, rebuiltFrom(t, h))
	})
	t.Run("many, between many that are none", func(t *testing.T) {
		h := supplies(t, 2_000)
		want := rebuiltFrom(t, h)
		fake := want.clone()
		for id, d := range want.documents[sessionsCollection] {
			fake.change(sessionsCollection, "orphan-"+id, d)
		}
		if got := rebuilds(t, h, fake, RebuildOptions{}); got.Orphaned != 2_000 || got.Same != got.Documents {
			t.Errorf("%+v", got)
		}
		sameDocuments(t, fake, want)
	})
	t.Run("not where part of the log is lost", func(t *testing.T) {
		h, _, fake := base()
		h.working("CP-2", 300_000)
		lost, _ := h.asks("D-9", "CP-2")
		fake.documents = func() map[string]map[string]bson.Raw {
			f := rebuiltFrom(t, h)
			maps.Copy(f.documents[pointsCollection], fake.documents[pointsCollection])
			maps.Copy(f.documents[driversCollection], fake.documents[driversCollection])
			maps.Copy(f.documents[sessionsCollection], fake.documents[sessionsCollection])
			return f.documents
		}()
		h.log.damaged[central.SessionStream(lost.ID())] = true
		before := fake.all()
		if got := rebuilds(t, h, fake, RebuildOptions{}); got.Orphaned != 0 || got.Unsure != 5 {
			t.Errorf("%+v", got)
		}
		if !maps.Equal(fake.all(), before) {
			t.Error("it has removed something")
		}
	})
	// Between a look at the log and the removal somebody uses the ids.
	for removal := range int32(3) { // of a point, a session, a driver
		t.Run(fmt.Sprint("not what a Central has just stored: ", removal), func(t *testing.T) {
			h, _, fake := base()
			live := project(h, fake, false, io.Discard)
			var calls atomic.Int32
			fake.before = func() {
				if calls.Add(1) != removal+1 {
					return
				}
				h.now += 1_000
				must(t, live.Handle(t.Context(), h.working("CP-66", 300_000)))
				for i := range 9 { // until its document is of a later version than the orphan
					h.now += 1_000
					p := h.point("CP-66")
					must(t, p.ReportHealth(h.now, chargingpoint.Report{Healthy: i%2 > 0, Lease: 15 * time.Second, ReportedAt: h.now}))
					must(t, live.Handle(t.Context(), h.commit(p)))
				}
				_, asked := h.asks("D-66", "CP-66")
				must(t, live.Handle(t.Context(), asked))
			}
			rebuilds(t, h, fake, RebuildOptions{})
			fake.before = nil
			sameDocuments(t, fake, rebuiltFrom(t, h))
			if calls.Load() < removal+1 {
				t.Error("nothing has come between")
			}
		})
	}
}

func BenchmarkRebuild(b *testing.B) {
	h := supplies(b, 20_000)
	for _, bulk := range []time.Duration{0, 20 * time.Millisecond} {
		b.Run("a bulk takes "+bulk.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fake := newFake()
				fake.before = func() { time.Sleep(bulk) }
				rebuilds(b, h, fake, RebuildOptions{})
			}
			b.ReportMetric(float64(len(h.log.commits)*b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}
