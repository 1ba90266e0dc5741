package mongo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// told is a history in which everything is told that a document may say.
func told(t tester) (h *history, s *session.Session) {
	h = newHistory(t, nil)
	h.working("CP-1", 305_500)
	h.now = begin + 2_000
	s, _ = h.asks("D-7", "CP-1")
	h.now = begin + 3_000
	h.reports(s, 1, 2_044, begin+2_900)
	h.now = begin + 4_000
	h.reports(s, 2, 1_000_000, begin+3_900)
	h.reports(s, 2, 1_000_000, begin+3_900) // not newer
	return h, s
}

func folded(t tester, log *partLog, stream eventlog.Stream) *fold {
	t.Helper()
	f, err := newFold(stream)
	must(t, err)
	for part, err := range log.Parts(context.Background(), stream, 1) {
		must(t, err)
		must(t, f.apply(part))
	}
	return f
}

// shown is a stream's document as a text, a field a line; empty where it has none.
func shown(t tester, f *fold) string {
	t.Helper()
	d, ok, err := f.document()
	must(t, err)
	if !ok {
		return ""
	}
	return describe(t, d)
}

func describe(t tester, d projection) string {
	t.Helper()
	elements, err := d.body.Elements()
	must(t, err)
	lines := []string{d.collection + " " + d.id}
	for _, e := range elements {
		lines = append(lines, strings.TrimSuffix(strings.TrimPrefix(e.String(), "{"), "}"))
	}
	return strings.Join(lines, "\n")
}

// The documents byte for byte, with the types of their fields: whoever changes them changes
// what readers see, and docs/contract.md.
func TestDocuments(t *testing.T) {
	var got []string
	show := func(h *history, streams ...eventlog.Stream) {
		for _, stream := range streams {
			got = append(got, shown(t, folded(t, h.log, stream)))
		}
	}
	h, s := told(t)
	stream := central.SessionStream(s.ID())
	show(h, "point-CP-1", stream)
	h.now = begin + 5_000
	h.ends(s, session.CauseStopped)
	show(h, "point-CP-1", stream)
	h.now = begin + 6_000
	h.done(s, 1_500_001)
	h.now = begin + 9_000
	h.done(s, 1_500_003)
	show(h, "point-CP-1", stream)

	h.now = begin + 10_000
	p := h.point("CP-1")
	must(t, p.SetPrice(h.now, 0, 420_000, "ops"))
	must(t, p.SetPrice(h.now, h.now+3_600_000, 500_000, "ops"))
	must(t, p.HandBackPrice(h.now, h.now+7_200_000, "ops"))
	must(t, p.TakeOutOfService(h.now, h.now, "ops"))
	must(t, p.LoseContact(h.now, begin-60_000, begin-60_000))
	h.commit(p)
	p = h.point("CP-2")
	must(t, p.Register(h.now, "Elx", 0, h.now, chargingpoint.Proof{}))
	h.commit(p)
	h.working("CP-3", 300_000)
	expired, _ := h.asks("D-8", "CP-3")
	h.now += 60_000
	must(t, expired.PassDeadline(h.now, session.TakeUp, expired.Deadline().Due, 0, session.DefaultPatience))
	h.commit(expired)
	show(h, "point-CP-1", "point-CP-2", central.SessionStream(expired.ID()))
	driver, err := driverDocument("D-7")
	must(t, err)
	got = append(got, describe(t, driver))

	file, err := os.ReadFile("testdata/documents.txt")
	must(t, err)
	want := strings.Split(strings.TrimSpace(string(file)), "\n\n")
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("testdata/documents.txt has one too many:\n%s", want[i])
		case i >= len(want) || got[i] != want[i]:
			t.Errorf("document %d of testdata/documents.txt is now\n\n%s\n", i+1, got[i])
		}
	}
}

func TestStreamsWithoutADocument(t *testing.T) {
	h := newHistory(t, nil)
	s, _ := h.asks("D-7", "CP-1") // of a point that nobody knows: refused
	if got := shown(t, folded(t, h.log, central.SessionStream(s.ID()))); got != "" {
		t.Errorf("a refused request has the document %s", got)
	}
	p := h.point("CP-2")
	must(t, p.ReportHealth(h.now, chargingpoint.Report{Healthy: true, ReportedAt: h.now}))
	h.commit(p)
	if got := shown(t, folded(t, h.log, "point-CP-2")); got != "" {
		t.Errorf("a point that has not registered has the document %s", got)
	}
}

func TestCurve(t *testing.T) {
	every := func(step, from, to int) (at []int) {
		for s := from; s <= to; s += step {
			at = append(at, s)
		}
		return at
	}
	for _, c := range []struct {
		name string
		at   []int // seconds
		want []int
	}{
		{"none", nil, nil},
		{"one", []int{5}, []int{5}},
		{"the first minute", every(1, 0, 59), every(1, 0, 59)},
		{"the last, too", every(1, 0, 61), append(every(1, 0, 59), 61)},
		{"each that comes 60 s after the last one taken", every(1, 0, 300), append(every(1, 0, 59), 119, 179, 239, 299, 300)},
		{"the last is taken", every(1, 0, 179), append(every(1, 0, 59), 119, 179)},
		{"the minute counts from the first", every(1, 500, 700), append(every(1, 500, 559), 619, 679, 700)},
		{"rare ones", []int{0, 100, 159, 160, 219, 220, 400, 401}, []int{0, 100, 160, 220, 400, 401}},
		{"a clock that is set back", []int{0, 30, 100, 20, 99, 101, 162}, []int{0, 30, 100, 20, 99, 162}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var curve curve
			for _, s := range c.at {
				curve.add(sample{At: bson.DateTime(s * 1000)})
			}
			got := []int{}
			for _, s := range curve.samples() {
				got = append(got, int(s.At/1000))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("it has %v\nwant %v", got, c.want)
			}
			if last := curve.newest(); len(c.at) > 0 && int(last.At/1000) != c.at[len(c.at)-1] {
				t.Errorf("its newest sample is of %d s", last.At/1000)
			}
		})
	}
}

func TestACurveIsBoundedWhereAClockStandsStill(t *testing.T) {
	var curve curve
	for n := range 10 * wholeSamples {
		curve.add(sample{At: 7, KWh: float64(n)})
	}
	all := curve.samples()
	if len(all) != wholeSamples+1 || all[wholeSamples].KWh != 10*wholeSamples-1 {
		t.Errorf("it has %d samples, the last %+v", len(all), all[len(all)-1])
	}
}

func TestFoldTakesPartsInOrder(t *testing.T) {
	h, s := told(t)
	parts, _, _ := h.log.read(central.SessionStream(s.ID()), 1)
	f, err := newFold(central.SessionStream(s.ID()))
	must(t, err)
	if err := f.apply(parts[1]); !errors.Is(err, errGap) {
		t.Fatalf("the second part first: %v", err)
	}
	must(t, f.apply(parts[0]))
	must(t, f.apply(parts[1]))
	before := shown(t, f)
	must(t, f.apply(parts[0])) // again
	must(t, f.apply(parts[1]))
	if after := shown(t, f); after != before {
		t.Errorf("parts that come again change it to\n%s", after)
	}
}

func TestFoldRefusesWhatIsNotItsOwn(t *testing.T) {
	for _, c := range []struct {
		stream eventlog.Stream
		event  any
	}{
		{"point-CP-1", session.SupplyStarted{}},
		{"session-1", chargingpoint.PointReleased{}},
		{"session-1", "a text"},
		{"session-1", session.TicketRevised{}},
	} {
		f, err := newFold(c.stream)
		must(t, err)
		if err := f.apply(central.Part{Stream: c.stream, Version: 1, Events: []any{c.event}}); !errors.Is(err, eventlog.ErrDamaged) {
			t.Errorf("%T in %s: %v", c.event, c.stream, err)
		}
	}
	if _, err := newFold("driver-1"); !errors.Is(err, eventlog.ErrDamaged) {
		t.Errorf("a stream of neither: %v", err)
	}
}

// What a reader prints of a figure is the decimal number that the domain has.
func TestFiguresAreExact(t *testing.T) {
	for _, n := range []domain.MicroEuros{0, 1, 3, 2_205_000, 305_500, 300_001, 7_350_499, domain.MaxMoney - 1, domain.MaxMoney} {
		if got := fmt.Sprint(micro(n)); got != n.String() && fmt.Sprintf("%.6f", micro(n)) != fmt.Sprintf("%d.%06d", n/1_000_000, n%1_000_000) {
			t.Errorf("%s is shown as %s", n, got)
		}
	}
}
