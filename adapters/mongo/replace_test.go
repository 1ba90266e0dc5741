package mongo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/application/central"
	"evcharging/domain"
)

// versioned is a document of sessions.
func versioned(t tester, id string, version int64, more string) replacement {
	body, err := bson.Marshal(bson.D{
		{Key: "_id", Value: id},
		{Key: "z", Value: 0.3},
		{Key: "more", Value: more},
		{Key: "none", Value: nil},
		{Key: "list", Value: bson.A{bson.D{{Key: "b", Value: int64(1)}, {Key: "a", Value: bson.DateTime(begin)}}}},
		{Key: "version", Value: version},
	})
	must(t, err)
	return replacement{projection: projection{collection: sessionsCollection, id: id, version: version, body: body}}
}

// instead has a replacement replace exactly what claims a version; none where it is nil.
func instead(t tester, r replacement, claims any) replacement {
	r.found = &bson.RawValue{}
	if claims != nil {
		kind, value, err := bson.MarshalValue(claims)
		must(t, err)
		r.found = &bson.RawValue{Type: kind, Value: value}
	}
	return r
}

func TestShelves(t *testing.T) {
	t.Run("the stand-in", func(t *testing.T) { runShelves(t, func(*testing.T) shelves { return newFake() }) })
	t.Run("MongoDB", func(t *testing.T) { runShelves(t, func(t *testing.T) shelves { return connect(t, database(t)) }) })
}

// runShelves is the suite of shelves.
func runShelves(t *testing.T, open func(*testing.T) shelves) {
	found := func(t *testing.T, s shelves, id string) bson.Raw {
		t.Helper()
		all, err := s.read(t.Context(), sessionsCollection, []string{id, "another"})
		must(t, err)
		return all[id]
	}
	// replaces stores documents and checks their outcomes, and what is there in the end.
	replaces := func(t *testing.T, s shelves, want []error, in bson.Raw, all ...replacement) {
		t.Helper()
		for i, err := range s.replace(t.Context(), sessionsCollection, all) {
			if !errors.Is(err, want[i]) {
				t.Errorf("the outcome of %d is %v, want %v", i, err, want[i])
			}
		}
		if got := found(t, s, all[0].id); !bytes.Equal(got, in) {
			t.Errorf("there is\n%s\nwant\n%s", got, in)
		}
	}
	t.Run("an older document is replaced, no other", func(t *testing.T) {
		s := open(t)
		v5, v6, other := versioned(t, "a", 5, ""), versioned(t, "a", 6, "six"), versioned(t, "a", 5, "other")
		replaces(t, s, []error{nil}, v5.body, v5)
		replaces(t, s, []error{errNewer}, v5.body, v5)
		replaces(t, s, []error{errNewer}, v5.body, other)
		replaces(t, s, []error{errNewer}, v5.body, versioned(t, "a", 4, ""))
		replaces(t, s, []error{nil}, v6.body, v6)
		replaces(t, s, []error{errNewer}, v6.body, v5)
	})
	t.Run("an older document with a bill is replaced where the log has the bill", func(t *testing.T) {
		billed := func(version int64, digest any) replacement {
			r := versioned(t, "a", version, "")
			r.body = edit(t, r.body, "ticket", bson.D{{Key: "digest", Value: digest}})
			return r
		}
		s := open(t)
		first, none, other, revised := billed(5, "x"), versioned(t, "a", 6, ""), billed(7, "y"), billed(8, "z")
		first.bills, other.bills, revised.bills = []string{"x"}, []string{"y"}, []string{"x", "z"}
		replaces(t, s, []error{nil}, versioned(t, "a", 4, "").body, versioned(t, "a", 4, ""))
		replaces(t, s, []error{nil}, first.body, first)
		replaces(t, s, []error{errNewer}, first.body, none)
		replaces(t, s, []error{errNewer}, first.body, other)
		replaces(t, s, []error{nil}, revised.body, revised)
		replaces(t, s, []error{nil}, none.body, instead(t, none, int64(8)))
		empty := versioned(t, "a", 7, "")
		empty.body = edit(t, empty.body, "ticket", nil)
		replaces(t, s, []error{nil}, empty.body, empty)
		replaces(t, s, []error{nil}, revised.body, revised)
	})
	t.Run("each has its own outcome", func(t *testing.T) {
		s := open(t)
		replaces(t, s, []error{nil}, versioned(t, "a", 5, "").body, versioned(t, "a", 5, ""))
		replaces(t, s, []error{errNewer, nil}, versioned(t, "a", 5, "").body, versioned(t, "a", 5, "x"), versioned(t, "b", 1, ""))
		if found(t, s, "b") == nil {
			t.Error("one is not stored for another's sake")
		}
	})
	t.Run("the ids of all documents are given", func(t *testing.T) {
		const documents = 1_200 // more than a server gives at once
		s := open(t)
		all := make([]replacement, documents)
		for i := range all {
			all[i] = versioned(t, fmt.Sprintf("S-%04d", i), 1, "")
		}
		must(t, errors.Join(s.replace(t.Context(), sessionsCollection, all)...))
		given := map[string]int{}
		must(t, s.ids(t.Context(), sessionsCollection, func(id bson.RawValue) error {
			given[id.StringValue()]++
			return nil
		}))
		if len(given) != documents || given["S-0007"] != 1 || given["S-1199"] != 1 {
			t.Errorf("%d ids are given, want %d", len(given), documents)
		}
		stop := errors.New("enough")
		if err := s.ids(t.Context(), sessionsCollection, func(bson.RawValue) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("it ends with %v, want %v", err, stop)
		}
		must(t, s.ids(t.Context(), pointsCollection, func(bson.RawValue) error { return stop }))
	})
	t.Run("what claims a version is replaced exactly", func(t *testing.T) {
		for _, claims := range []any{int64(99), int32(3), 7.5, math.NaN(), math.Inf(1), 1e19, "7", nil, true, bson.D{{Key: "x", Value: 1}}, bson.A{1, 2}} {
			s := open(t)
			wrong := bson.D{{Key: "_id", Value: "a"}}
			if claims != nil {
				wrong = append(wrong, bson.E{Key: "version", Value: claims})
			}
			body, err := bson.Marshal(wrong)
			must(t, err)
			insert(t, s, body)
			right := versioned(t, "a", 5, "")
			replaces(t, s, []error{nil}, body, instead(t, right, int64(4)))
			replaces(t, s, []error{nil}, body, instead(t, right, "4"))
			replaces(t, s, []error{nil}, right.body, instead(t, right, claims))
		}
		s := open(t)
		replaces(t, s, []error{nil}, nil, instead(t, versioned(t, "a", 5, ""), int64(4)))
		replaces(t, s, []error{nil}, nil, instead(t, versioned(t, "a", 5, ""), nil))
	})
	t.Run("a driver's document is written once", func(t *testing.T) {
		s := open(t)
		d, err := driverDocument("D-7")
		must(t, err)
		in := func() bson.Raw {
			all, err := s.read(t.Context(), driversCollection, []string{"D-7"})
			must(t, err)
			return all["D-7"]
		}
		write := func(r replacement) {
			t.Helper()
			must(t, s.replace(t.Context(), driversCollection, []replacement{r, r})[0])
		}
		if write(replacement{projection: d, found: &bson.RawValue{}}); in() != nil {
			t.Errorf("there is %s", in())
		}
		if write(replacement{projection: d}); !bytes.Equal(in(), d.body) {
			t.Errorf("there is %s", in())
		}
		other, err := bson.Marshal(bson.D{{Key: "_id", Value: "D-7"}, {Key: "id", Value: "D-7"}, {Key: "name", Value: "x"}})
		must(t, err)
		d2 := d
		d2.body = other
		if write(replacement{projection: d2}); !bytes.Equal(in(), d.body) {
			t.Errorf("there is %s", in())
		}
		if write(replacement{projection: d2, found: &bson.RawValue{}}); !bytes.Equal(in(), other) {
			t.Errorf("there is %s", in())
		}
	})
	t.Run("of many at once the newest stays", func(t *testing.T) {
		s := open(t)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for _, version := range rand.Perm(20) {
					outcome := s.replace(t.Context(), sessionsCollection, []replacement{versioned(t, "a", int64(version)+1, ""), versioned(t, "b", int64(version)+1, "")})
					for _, err := range outcome {
						if err != nil && !errors.Is(err, errNewer) {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		for _, id := range []string{"a", "b"} {
			if want := versioned(t, id, 20, "").body; !bytes.Equal(found(t, s, id), want) {
				t.Errorf("there is %s", found(t, s, id))
			}
		}
	})
	t.Run("a document is removed as it was seen", func(t *testing.T) {
		s := open(t)
		bodies := map[string]bson.D{
			"as it was": {{Key: "version", Value: int64(5)}, {Key: "updated_at", Value: bson.DateTime(begin)}},
			"later":     {{Key: "version", Value: int64(6)}, {Key: "updated_at", Value: bson.DateTime(begin + 1)}},
			"another":   {{Key: "version", Value: int64(5)}, {Key: "updated_at", Value: bson.DateTime(begin + 1)}},
			"nothing":   {},
		}
		seen := map[string]string{"a": "as it was", "b": "as it was", "c": "as it was", "d": "nothing", "e": "nothing", "f": "as it was"}
		is := map[string]string{"a": "as it was", "b": "later", "c": "another", "d": "nothing", "e": "as it was"}
		var all []removal
		for _, id := range slices.Sorted(maps.Keys(seen)) {
			if is[id] != "" {
				body, err := bson.Marshal(append(bson.D{{Key: "_id", Value: id}}, bodies[is[id]]...))
				must(t, err)
				insert(t, s, body)
			}
			raw, err := bson.Marshal(bodies[seen[id]])
			must(t, err)
			all = append(all, removal{id: id, guarded: true, version: bson.Raw(raw).Lookup("version"), updatedAt: bson.Raw(raw).Lookup("updated_at")})
		}
		stayed, err := s.remove(t.Context(), sessionsCollection, all)
		must(t, err)
		if want := []bool{false, true, true, false, true, false}; !slices.Equal(stayed, want) {
			t.Errorf("stayed are %v, want %v", stayed, want)
		}
		left, err := s.read(t.Context(), sessionsCollection, slices.Sorted(maps.Keys(seen)))
		must(t, err)
		if got := slices.Sorted(maps.Keys(left)); !slices.Equal(got, []string{"b", "c", "e"}) {
			t.Errorf("there are %v", got)
		}
		_, err = s.remove(t.Context(), sessionsCollection, []removal{{id: "e"}})
		must(t, err)
		if found(t, s, "e") != nil {
			t.Error("what is not guarded stays")
		}
	})
	t.Run("how far a log was projected", func(t *testing.T) {
		s := open(t)
		must(t, s.ready(t.Context()))
		for _, want := range []reached{{}, {Position: 7, Commit: "x"}, {Position: 1 << 40, Commit: "y"}} {
			if want.Position != 0 {
				must(t, s.setReached(t.Context(), want))
			}
			if got, err := s.lastReached(t.Context()); err != nil || got != want {
				t.Errorf("it is %+v, %v, want %+v", got, err, want)
			}
		}
	})
}

// insert stores a document whatever it is.
func insert(t *testing.T, s shelves, body bson.Raw) {
	t.Helper()
	switch s := s.(type) {
	case *fakeShelves:
		s.change(sessionsCollection, body.Lookup("_id").StringValue(), body)
	case *Store:
		_, err := s.db.Collection(sessionsCollection).InsertOne(t.Context(), body)
		must(t, err)
	}
}

func TestMongoRefusesADocumentForGood(t *testing.T) {
	s := connect(t, database(t))
	refuses := func(want string, all ...replacement) {
		t.Helper()
		for i, err := range s.replace(t.Context(), sessionsCollection, all) {
			var refused *refusedError
			switch {
			case i == 0 && (!errors.As(err, &refused) || refused.why != want):
				t.Errorf("the outcome is %v, want %s", err, want)
			case i > 0 && err != nil:
				t.Errorf("another one: %v", err)
			}
		}
	}
	must(t, s.db.CreateCollection(t.Context(), sessionsCollection, options.CreateCollection().
		SetValidator(bson.D{{Key: "more", Value: bson.D{{Key: "$ne", Value: "bad"}}}})))
	refuses(staleInvalid, versioned(t, "a", 1, "bad"), versioned(t, "b", 1, "good"))
	refuses(staleTooLarge, versioned(t, "a", 1, strings.Repeat("x", 16<<20)), versioned(t, "b", 2, "good"))
	refuses(staleTooLarge, versioned(t, "a", 1, strings.Repeat("x", maxDocument)), versioned(t, "b", 3, "good"))
	if _, err := s.db.Collection(sessionsCollection).Indexes().CreateOne(t.Context(), mongo.IndexModel{
		Keys: bson.D{{Key: "more", Value: 1}}, Options: options.Index().SetUnique(true),
	}); err != nil {
		t.Fatal(err)
	}
	refuses(staleRefused, versioned(t, "a", 1, "good"), versioned(t, "c", 1, "fine"))
	for i, err := range s.replace(t.Context(), sessionsCollection, []replacement{versioned(t, "a", 1, strings.Repeat("x", maxDocument-300))}) {
		if err != nil {
			t.Errorf("%d, of the greatest size: %v", i, err)
		}
	}
}

// What a server says of a bulk is taken apart into what it says of each document: 0, 1, 2.
func TestOutcomesOfABulk(t *testing.T) {
	sameID, err := bson.Marshal(bson.D{{Key: "keyPattern", Value: bson.D{{Key: "_id", Value: 1}}}})
	must(t, err)
	otherKey, err := bson.Marshal(bson.D{{Key: "keyPattern", Value: bson.D{{Key: "location", Value: 1}}}})
	must(t, err)
	exception := func(all ...mongo.WriteError) mongo.BulkWriteException {
		var e mongo.BulkWriteException
		for _, of := range all {
			e.WriteErrors = append(e.WriteErrors, mongo.BulkWriteError{WriteError: of})
		}
		return e
	}
	unsure := exception(mongo.WriteError{Index: 0, Code: 121}, mongo.WriteError{Index: 1, Code: 11000, Raw: sameID})
	unsure.WriteConcernError = &mongo.WriteConcernError{Code: 64}
	for _, c := range []struct {
		name  string
		bulk  func(n, call int) error // of so many documents, the first call is 0
		want  string                  // of each: stored, newer, passes or a reason
		calls int
	}{
		{"all are stored", func(int, int) error { return nil }, "stored stored stored", 1},
		{"one is refused", func(int, int) error { return exception(mongo.WriteError{Index: 1, Code: 121}) }, "stored invalid stored", 1},
		{"one is in another's way", func(int, int) error { return exception(mongo.WriteError{Index: 1, Code: 11000, Raw: otherKey}) }, "stored refused stored", 1},
		{"a newer one is there", func(_, call int) error {
			return exception(mongo.WriteError{Index: []int{2, 0}[call], Code: 11000, Raw: sameID})
		}, "stored stored newer", 2},
		{"an older one came between", func(_, call int) error {
			return []error{exception(mongo.WriteError{Index: 2, Code: 11000, Raw: sameID}), nil}[call]
		}, "stored stored stored", 2},
		{"the second time something else is wrong", func(_, call int) error {
			return []error{exception(mongo.WriteError{Index: 2, Code: 11000, Raw: sameID}), io.EOF}[call]
		}, "stored stored passes", 2},
		{"the server is about to stop", func(int, int) error { return exception(mongo.WriteError{Index: 0, Code: 11600}) }, "passes stored stored", 1},
		{"nobody knows whether it lasts", func(int, int) error { return unsure }, "invalid passes passes", 1},
		{"the server is gone", func(int, int) error { return io.EOF }, "passes passes passes", 1},
		{"no primary", func(int, int) error { return mongo.CommandError{Code: 10107} }, "passes passes passes", 1},
		{"one spoils the statement", func(n, call int) error {
			if n > 1 || call == 2 {
				return mongo.CommandError{Code: 22}
			}
			return nil
		}, "stored refused stored", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			bulk := func(models []mongo.WriteModel) error {
				calls++
				return c.bulk(len(models), calls-1)
			}
			outcomes := make([]error, 3)
			writeAll(bulk, map[int]mongo.WriteModel{0: nil, 1: nil, 2: nil}, outcomes)
			var got []string
			for _, err := range outcomes {
				var refused *refusedError
				switch {
				case err == nil:
					got = append(got, "stored")
				case errors.Is(err, errNewer):
					got = append(got, "newer")
				case errors.As(err, &refused):
					got = append(got, refused.why)
				default:
					got = append(got, "passes")
				}
			}
			if text := strings.Join(got, " "); text != c.want || calls != c.calls {
				t.Errorf("%s after %d calls, want %s after %d", text, calls, c.want, c.calls)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string // empty: it may pass
	}{
		{mongo.WriteError{Code: 121}, staleInvalid},
		{mongo.WriteError{Code: 17419}, staleTooLarge},
		{mongo.WriteError{Code: 17420}, staleTooLarge},
		{mongo.WriteError{Code: 15}, staleRefused},
		{mongo.WriteError{Code: 11000}, staleRefused},
		{mongo.CommandError{Code: 10334}, staleTooLarge},
		{mongo.CommandError{Code: 22}, staleRefused},
		{mongo.CommandError{Code: 10107}, ""},
		{mongo.CommandError{Code: 13}, ""},
		{mongo.CommandError{Code: 59}, ""},
		{context.DeadlineExceeded, ""},
		{io.EOF, ""},
	} {
		var refused *refusedError
		switch got := refusal(c.err); {
		case c.want == "" && got != nil:
			t.Errorf("%v is taken for a refusal", c.err)
		case c.want != "" && (!errors.As(got, &refused) || refused.why != c.want):
			t.Errorf("%v is %v, want %s", c.err, got, c.want)
		}
	}
}

func TestAStoreThatIsGoneIsNoRefusal(t *testing.T) {
	s := connect(t, database(t))
	must(t, s.Close())
	var refused *refusedError
	for _, err := range s.replace(t.Context(), sessionsCollection, []replacement{versioned(t, "a", 1, ""), versioned(t, "b", 1, "")}) {
		if err == nil || errors.As(err, &refused) || errors.Is(err, errNewer) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := s.read(t.Context(), sessionsCollection, []string{"a"}); err == nil {
		t.Error("it can be read")
	}
}

// Two Centrals follow a busy history, one of them is killed and started again, MongoDB's
// documents are changed and removed: in the end they are those that a rebuild makes.
func TestProjectionsInMongo(t *testing.T) {
	uri := database(t)
	choices := rand.New(rand.NewPCG(3, uint64(time.Now().UnixNano())))
	h := newHistory(t, choices.IntN)
	type process struct {
		*cutOff
		*Projections
		stop func()
	}
	start := func() *process {
		s := &cutOff{Store: connect(t, uri)}
		p := &process{cutOff: s, Projections: project(h, s, false, io.Discard)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = p.Run(ctx) }()
		p.stop = sync.OnceFunc(func() { cancel(); <-ended })
		t.Cleanup(p.stop)
		return p
	}
	live := []*process{start(), start()}
	for n := range 300 {
		i := choices.IntN(2)
		switch publication := h.step(); {
		case len(publication.Parts) == 0:
		case publication.SampleAlone && choices.IntN(10) == 0: // never handed over
		default:
			must(t, live[i].Handle(t.Context(), publication))
		}
		if n%100 == 99 { // killed with what it had
			live[i].cut.Store(true)
			live[i].stop()
			live[i] = start()
		}
	}
	for _, p := range live {
		p.stop()
		must(t, errors.Join(p.sweep(t.Context()), p.resolveDoubts(t.Context())))
	}
	want := rebuiltFrom(t, h)
	s := live[0].Store
	sameDocuments(t, inMongo(t, s), want)

	for _, collection := range []string{pointsCollection, sessionsCollection} {
		_, err := s.db.Collection(collection).UpdateMany(t.Context(), bson.D{{Key: "version", Value: bson.D{{Key: "$mod", Value: bson.A{3, 0}}}}}, bson.D{{Key: "$set", Value: bson.D{{Key: "location", Value: "nowhere"}}}})
		must(t, err)
		_, err = s.db.Collection(collection).DeleteMany(t.Context(), bson.D{{Key: "version", Value: bson.D{{Key: "$mod", Value: bson.A{3, 1}}}}})
		must(t, err)
	}
	must(t, s.db.Collection(driversCollection).Drop(t.Context()))
	must(t, errors.Join(live[1].sweep(t.Context())))
	mended := inMongo(t, s)
	open, err := h.log.Open(t.Context())
	must(t, err)
	for _, stream := range open {
		if collection, id, _ := placeOf(stream); !bytes.Equal(mended.documents[collection][id], want.documents[collection][id]) {
			t.Errorf("%s is\n%s\nwant\n%s", stream, mended.documents[collection][id], want.documents[collection][id])
		}
	}
	counts, err := live[0].Rebuild(t.Context(), h.log, h.log.Decode, RebuildOptions{})
	if err != nil || counts.Missing*counts.Different == 0 || counts.Same == 0 {
		t.Errorf("a rebuild: %+v, %v", counts, err)
	}
	sameDocuments(t, inMongo(t, s), want)
}

// cutOff is a store that a process has no way to any more once it is killed.
type cutOff struct {
	*Store
	cut atomic.Bool
}

func (c *cutOff) replace(ctx context.Context, collection string, documents []replacement) []error {
	if c.cut.Load() {
		outcomes := make([]error, len(documents))
		for i := range outcomes {
			outcomes[i] = errAway
		}
		return outcomes
	}
	return c.Store.replace(ctx, collection, documents)
}

// inMongo are the documents of a store.
func inMongo(t *testing.T, s *Store) *fakeShelves {
	t.Helper()
	all := newFake()
	for collection, documents := range all.documents {
		cursor, err := s.db.Collection(collection).Find(t.Context(), bson.D{})
		must(t, err)
		for cursor.Next(t.Context()) {
			documents[cursor.Current.Lookup("_id").StringValue()] = bytes.Clone(cursor.Current)
		}
		must(t, errors.Join(cursor.Err(), cursor.Close(t.Context())))
	}
	return all
}

// BenchmarkHandle tells how many turns a second are projected for so many callers.
func BenchmarkHandle(b *testing.B) {
	for _, callers := range []int{1, 12, 100, 300} {
		b.Run(fmt.Sprint("callers ", callers), func(b *testing.B) {
			s := connect(b, database(b))
			h := newHistory(b, nil)
			p := project(h, s, false, io.Discard)
			publications := make(chan central.Publication, b.N)
			for n := range b.N { // grants: a point, a session and a driver each
				id := domain.PointID(fmt.Sprint("CP-", n))
				h.working(id, 300_000)
				_, publication := h.asks(domain.DriverID(fmt.Sprint("D-", n%1_000)), id)
				publications <- publication
			}
			close(publications)
			b.ResetTimer()
			var all sync.WaitGroup
			for range callers {
				all.Go(func() {
					for publication := range publications {
						if err := p.Handle(b.Context(), publication); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "turns/s")
		})
	}
}
