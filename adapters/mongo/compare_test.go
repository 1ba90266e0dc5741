package mongo

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/application/eventlog"
)

// compared are the differences that a comparison tells, as lines in order, and what it counts.
// It takes no time, since it waits in a bubble.
func compared(t *testing.T, h *history, fake *fakeShelves) (differences []string, counts Rebuilt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		counts, err = project(h, fake, false, io.Discard).Compare(t.Context(), h.log, h.log.Decode, func(d Difference) {
			line := fmt.Sprintf("%s %s %s", d.Collection, d.ID, d.Kind)
			for _, f := range d.Fields {
				line += "; " + f.String()
			}
			differences = append(differences, line)
		}, nil)
		must(t, err)
	})
	slices.Sort(differences)
	return differences, counts
}

// edit changes a field of a document.
func edit(t tester, document bson.Raw, field string, to any) bson.Raw {
	t.Helper()
	var d bson.D
	must(t, bson.Unmarshal(document, &d))
	found := false
	for i := range d {
		if d[i].Key == field {
			d[i].Value, found = to, true
		}
	}
	if !found {
		d = append(d, bson.E{Key: field, Value: to})
	}
	raw, err := bson.Marshal(d)
	must(t, err)
	return raw
}

func TestCompareTellsEachDocumentThatIsNotAsTheLogHasIt(t *testing.T) {
	h, s := supplying(t)
	other, _ := h.asks("D-9", "CP-1") // refused: the point supplies
	h.done(s, 2_000_000)
	id := string(s.ID())
	for name, c := range map[string]struct {
		spoil func(*fakeShelves)
		want  []string
	}{
		"nothing": {func(*fakeShelves) {}, nil},
		"a document is missing": {func(f *fakeShelves) { f.change(sessionsCollection, id, nil) }, []string{
			"sessions " + id + " missing",
		}},
		"a field is another": {func(f *fakeShelves) {
			f.change(sessionsCollection, id, edit(t, f.documents[sessionsCollection][id], "total_kwh", 3.5))
		}, []string{"sessions " + id + " differs; total_kwh: the log has 2, MongoDB has 3.5"}},
		"a field inside": {func(f *fakeShelves) {
			ticket := edit(t, f.documents[sessionsCollection][id].Lookup("ticket").Document(), "reason", "KO")
			f.change(sessionsCollection, id, edit(t, f.documents[sessionsCollection][id], "ticket", ticket))
		}, []string{"sessions " + id + ` differs; ticket.reason: the log has "FINISHED", MongoDB has "KO"`}},
		"a field of another type": {func(f *fakeShelves) {
			f.change(sessionsCollection, id, edit(t, f.documents[sessionsCollection][id], "total_kwh", int64(2)))
		}, []string{"sessions " + id + " differs; total_kwh: the log has 2 (double), MongoDB has 2 (64-bit integer)"}},
		"a field too many": {func(f *fakeShelves) {
			f.change(pointsCollection, "CP-1", edit(t, f.documents[pointsCollection]["CP-1"], "note", "new"))
		}, []string{`charging_points CP-1 differs; note: the log has nothing, MongoDB has "new"`}},
		"fields in another order": {func(f *fakeShelves) {
			var d bson.D
			must(t, bson.Unmarshal(f.documents[pointsCollection]["CP-1"], &d))
			d[1], d[2] = d[2], d[1]
			raw, err := bson.Marshal(d)
			must(t, err)
			f.change(pointsCollection, "CP-1", raw)
		}, []string{"charging_points CP-1 differs; (the fields): the log has them in its order, MongoDB has them in another, or twice"}},
		"an older version": {func(f *fakeShelves) {
			f.change(pointsCollection, "CP-1", edit(t, f.documents[pointsCollection]["CP-1"], "version", int64(1)))
		}, []string{"charging_points CP-1 differs; version: the log has 5, MongoDB has 1"}},
		"a version that the log does not have": {func(f *fakeShelves) {
			f.change(pointsCollection, "CP-1", edit(t, f.documents[pointsCollection]["CP-1"], "version", int64(99)))
		}, []string{"charging_points CP-1 differs; version: the log has 5, MongoDB has 99"}},
		"a driver's is another": {func(f *fakeShelves) {
			f.change(driversCollection, "D-9", edit(t, f.documents[driversCollection]["D-9"], "name", "Eva"))
		}, []string{`drivers D-9 differs; name: the log has "D-9", MongoDB has "Eva"`}},
		"a collection was dropped": {func(f *fakeShelves) { f.documents[driversCollection] = map[string]bson.Raw{} }, []string{
			"drivers D-7 missing", "drivers D-9 missing",
		}},
		"orphans": {func(f *fakeShelves) {
			f.change(pointsCollection, "CP-66", f.documents[pointsCollection]["CP-1"])
			f.change(driversCollection, "D-66", f.documents[driversCollection]["D-9"])
			f.change(sessionsCollection, "S-66", f.documents[sessionsCollection][id])
			f.change(sessionsCollection, string(other.ID()), f.documents[sessionsCollection][id])
		}, []string{
			"charging_points CP-66 orphaned", "drivers D-66 orphaned", "sessions S-66 orphaned", "sessions " + string(other.ID()) + " orphaned",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			fake := rebuiltFrom(t, h)
			c.spoil(fake)
			before := fake.all()
			slices.Sort(c.want)
			got, counts := compared(t, h, fake)
			if !slices.Equal(got, c.want) {
				t.Errorf("it tells\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if wrong := int(counts.Missing + counts.Different + counts.Orphaned); wrong != len(c.want) || int(counts.Commits) != len(h.log.commits) {
				t.Errorf("it counts %+v", counts)
			}
			if after := fake.all(); len(after) != len(before) || fake.writes != rebuiltFrom(t, h).writes {
				t.Error("it has written")
			}
		})
	}
}

func TestCompareOfALongHistory(t *testing.T) {
	h := busy(t, 5_000)
	fake := rebuiltFrom(t, h)
	if got, counts := compared(t, h, fake); len(got) > 0 || int(counts.Same) < len(fake.all()) {
		t.Errorf("it counts %+v of %d documents, and tells %q", counts, len(fake.all()), got)
	}
}

// meanwhile is a log of which something happens behind the first pass over it.
type meanwhile struct {
	*partLog
	then func()
}

func (m *meanwhile) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for c, err := range m.partLog.All(ctx, from) {
			if !yield(c, err) {
				return
			}
		}
		if m.then != nil {
			m.then()
			m.then = nil
		}
	}
}

// What a Central is just writing is not told.
func TestCompareBesideACentral(t *testing.T) {
	h, s := supplying(t)
	fake := rebuiltFrom(t, h)
	h.now += 1_000
	h.reports(s, 2, 1_500_000, h.now) // the document is behind
	log := &meanwhile{h.log, func() {
		h.asks("D-77", "CP-1")
		h.working("CP-2", 300_000)
		fake.documents = rebuiltFrom(t, h).documents
		if fake.documents[driversCollection]["D-77"] == nil || fake.documents[pointsCollection]["CP-2"] == nil {
			t.Error("nobody has come meanwhile")
		}
	}}
	synctest.Test(t, func(t *testing.T) {
		counts, err := project(h, fake, false, io.Discard).Compare(t.Context(), log, h.log.Decode, func(d Difference) {
			t.Errorf("it tells %+v", d)
		}, nil)
		if err != nil || counts.Same == 0 {
			t.Errorf("%+v, %v", counts, err)
		}
	})
}

func TestCompareSaysNothingOfWhatCantBeRead(t *testing.T) {
	h, s := supplying(t)
	fake := rebuiltFrom(t, h)
	h.log.damaged[central.SessionStream(s.ID())] = true
	got, counts := compared(t, h, fake)
	if len(got) > 0 || counts.Stale[staleDamaged] != 1 {
		t.Errorf("it counts %+v, and tells %q", counts, got)
	}
}

func TestCompareEndsWhereTheStoreIsAway(t *testing.T) {
	h := busy(t, 500)
	fake := rebuiltFrom(t, h)
	fake.setAway(true)
	if _, err := project(h, fake, false, io.Discard).Compare(t.Context(), h.log, h.log.Decode, func(Difference) {}, nil); err == nil {
		t.Error("it compares with nothing")
	}
}
