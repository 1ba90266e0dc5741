package chargingpoint_test

import (
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

const (
	// said is when an operator speaks in these tests, t1 and t2 are instants to come.
	said = noon + minute
	t1   = noon + hour
	t2   = noon + 2*hour
)

func setPrice(price domain.MicroEurosPerKWh, from domain.UnixMillis) func(*point) error {
	return func(p *point) error { return p.SetPrice(said, from, price, "op") }
}

func handBack(from domain.UnixMillis) func(*point) error {
	return func(p *point) error { return p.HandBackPrice(said, from, "op") }
}

func takeEffect(now, from domain.UnixMillis) func(*point) error {
	return func(p *point) error { return p.TakePriceEffect(now, from) }
}

func TestSetPrice(t *testing.T) {
	set := chargingpoint.PriceSet{Price: 450_000, By: "op"}
	given(t).When(said, setPrice(450_000, 0)).ThenError(chargingpoint.ErrUnknownPoint)
	given(t, ready, at(noon, set)).When(said, setPrice(450_000, 0)).ThenError(chargingpoint.ErrUnchanged)
	s := given(t, ready).
		When(said, setPrice(450_000, 0)).Then(set).
		When(said, setPrice(0, 0)).Then(chargingpoint.PriceSet{By: "op"})
	if s.Live.Price() != 0 {
		t.Errorf("the price is %s; for nothing is a price too", s.Live.Price())
	}
	// the point's own price, set by an operator, is more than its own: it stays
	given(t, ready).When(said, setPrice(300_000, 0)).Then(chargingpoint.PriceSet{Price: 300_000, By: "op"})
}

func TestHandBackPrice(t *testing.T) {
	set := chargingpoint.PriceSet{Price: 450_000, By: "op"}
	given(t).When(said, handBack(0)).ThenError(chargingpoint.ErrUnknownPoint)
	given(t, ready).When(said, handBack(0)).ThenError(chargingpoint.ErrUnchanged)
	s := given(t, ready, at(noon, set)).
		When(said, handBack(0)).Then(chargingpoint.PriceHandedBack{By: "op"}).
		When(said, handBack(0)).ThenError(chargingpoint.ErrUnchanged)
	if s.Live.Price() != 300_000 {
		t.Errorf("the price is %s", s.Live.Price())
	}
}

// A price that an operator has set stands over registrations until it is handed back.
func TestOperatorsPriceStandsOverRegistrations(t *testing.T) {
	s := given(t, ready, at(noon+1, chargingpoint.PriceSet{Price: 450_000, By: "op"})).
		When(said, register(said, "Plaza Mayor 1", 350_000, said, open)).
		Then(chargingpoint.PointRegistered{Location: "Plaza Mayor 1", Price: 350_000, RecordedAt: said})
	if s.Live.Price() != 450_000 {
		t.Errorf("the price is %s, the operator's is 0.45", s.Live.Price())
	}
	s.When(said, handBack(0)).Then(chargingpoint.PriceHandedBack{By: "op"})
	if s.Live.Price() != 350_000 {
		t.Errorf("the price is %s, the point's is 0.35", s.Live.Price())
	}
}

// say is an operator's word as the table has it: "0.42", "auto from T1".
func say(t *testing.T, word string) func(*point) error {
	t.Helper()
	price, when, _ := strings.Cut(word, " from ")
	instant, ok := map[string]domain.UnixMillis{"": 0, "T1": t1, "T2": t2}[when]
	if !ok {
		t.Fatalf("%q names no instant", word)
	}
	if price == "auto" {
		return handBack(instant)
	}
	figure, err := domain.ParsePrice(price)
	if err != nil {
		t.Fatalf("%q: %v", word, err)
	}
	return setPrice(figure, instant)
}

// Each row of the table in doc.go, also where Central notices each change when it counts.
func TestTheTableOfPrices(t *testing.T) {
	for _, row := range tableOfPrices(t) {
		t.Run(row[0]+"; now "+row[1], func(t *testing.T) {
			s := given(t, ready)
			for _, word := range append(strings.Split(row[0], ", "), row[1]) {
				if word == "nothing" {
					continue
				}
				var err error
				before := len(s.History())
				if s.When(said, func(p *point) error { err = say(t, word)(p); return err }); err != nil {
					t.Fatalf("%s: %v", word, err)
				}
				s.Then(s.History()[before].Events...)
			}
			want := func(column int) domain.MicroEurosPerKWh {
				if row[column] == "own" {
					return 300_000
				}
				price, err := domain.ParsePrice(row[column])
				if err != nil {
					t.Fatal(err)
				}
				return price
			}
			for column, instant := range map[int]domain.UnixMillis{2: said, 3: t1, 4: t2} {
				if got := s.Live.PriceAt(instant); got != want(column) {
					t.Errorf("at %s it costs %s", instant, got)
				}
			}
			if got := s.Live.PriceAt(t1 - 1); got != want(2) {
				t.Errorf("a millisecond before T1 it costs %s", got)
			}
			if got := s.Live.PriceAt(t2 - 1); got != want(3) {
				t.Errorf("a millisecond before T2 it costs %s", got)
			}
			// What an event says afterwards is what counted anyway.
			scheduled := s.Live.Scheduled()
			for column, instant := range map[int]domain.UnixMillis{3: t1, 4: t2} {
				isScheduled := slices.ContainsFunc(scheduled, func(c chargingpoint.PriceChange) bool { return c.From == instant })
				one := given(t, s.History()...)
				if !isScheduled {
					one.When(instant, takeEffect(instant, instant)).ThenError(chargingpoint.ErrDeadlineGone)
					continue
				}
				one.When(instant, takeEffect(instant, instant)).Then(chargingpoint.PriceTookEffect{From: instant})
				if got := one.Live.Price(); got != want(column) {
					t.Errorf("once the change at %s is noticed, it costs %s", instant, got)
				}
			}
		})
	}
}

// tableOfPrices is the table in the package's comment.
func tableOfPrices(t *testing.T) (rows [][]string) {
	t.Helper()
	file, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := parser.ParseFile(token.NewFileSet(), "doc.go", file, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	columns := regexp.MustCompile(`\s{2,}`)
	for line := range strings.Lines(doc.Doc.Text()) {
		cells := columns.Split(strings.TrimSpace(line), -1)
		if strings.HasPrefix(line, "\t") && len(cells) == 5 && cells[0] != "Said before" {
			rows = append(rows, cells)
		}
	}
	if len(rows) < 15 {
		t.Fatalf("doc.go has a table of %d rows", len(rows))
	}
	return rows
}

func TestAScheduledPrice(t *testing.T) {
	scheduled := chargingpoint.PriceSet{Price: 450_000, By: "op", From: t1}
	back := chargingpoint.PriceHandedBack{By: "op", From: t2}
	change := chargingpoint.PriceChange{From: t1, Set: true, Price: 450_000, DecidedAt: said, By: "op"}
	t.Run("is an event at once, and counts later", func(t *testing.T) {
		s := given(t, ready).
			When(said, setPrice(450_000, t1)).Then(scheduled).
			When(said, handBack(t2)).Then(back)
		want := chargingpoint.Schedule{change, {From: t2, DecidedAt: said, By: "op"}}
		if got := s.Live.Scheduled(); !slices.Equal(got, want) || s.Live.PriceChange() != (chargingpoint.PriceChange{}) {
			t.Errorf("scheduled are %+v, what counts is %+v", got, s.Live.PriceChange())
		}
	})
	t.Run("of an unknown point is refused", func(t *testing.T) {
		given(t).When(said, setPrice(450_000, t1)).ThenError(chargingpoint.ErrUnknownPoint)
		given(t).When(said, handBack(t1)).ThenError(chargingpoint.ErrUnknownPoint)
	})
	t.Run("for an instant that has come counts at once", func(t *testing.T) {
		for _, from := range []domain.UnixMillis{said, said - 1, noon - day} {
			s := given(t, ready).When(said, setPrice(450_000, from)).Then(chargingpoint.PriceSet{Price: 450_000, By: "op"})
			want := chargingpoint.PriceChange{From: said, Set: true, Price: 450_000, DecidedAt: said, By: "op"}
			if got := s.Live.PriceChange(); got != want || len(s.Live.Scheduled()) > 0 {
				t.Errorf("what counts is %+v", got)
			}
			s.When(said, handBack(from)).Then(chargingpoint.PriceHandedBack{By: "op"})
		}
	})
	t.Run("that changes nothing is ignored", func(t *testing.T) {
		given(t, ready, at(noon, scheduled)).
			When(said, setPrice(450_000, t1)).ThenError(chargingpoint.ErrUnchanged).
			When(said, setPrice(450_000, t2)).ThenError(chargingpoint.ErrUnchanged).
			When(said, setPrice(450_000, t1-1)).Then(chargingpoint.PriceSet{Price: 450_000, By: "op", From: t1 - 1})
		given(t, ready).When(said, handBack(t1)).ThenError(chargingpoint.ErrUnchanged)
		// A change that drops what comes after it is one.
		given(t, ready, at(noon, scheduled)).When(said, handBack(0)).Then(chargingpoint.PriceHandedBack{By: "op"})
		given(t, ready, at(noon, scheduled, back)).When(said, setPrice(450_000, t1)).Then(scheduled)
		// So is nothing that is said after it has come to count, though nobody has noticed.
		given(t, ready, at(noon, scheduled)).
			When(t1, func(p *point) error { return p.SetPrice(t1, 0, 450_000, "op") }).ThenError(chargingpoint.ErrUnchanged)
	})
	t.Run("is granted from its instant on, noticed or not", func(t *testing.T) {
		for now, want := range map[domain.UnixMillis]domain.MicroEurosPerKWh{t1 - 1: 300_000, t1: 450_000, t1 + 1: 450_000} {
			for _, noticed := range []bool{false, true} {
				s := given(t, ready, at(said, scheduled))
				if noticed && now >= t1 {
					s.When(now, takeEffect(now, t1)).Then(chargingpoint.PriceTookEffect{From: t1})
				}
				var grant chargingpoint.Grant
				s.When(now, occupy(now, chargingpoint.Request{Session: "S-9", Driver: "D-9", Heard: true}, &grant)).
					Then(chargingpoint.PointOccupied{Session: "S-9", Driver: "D-9", Order: domain.Order(now), ValidUntil: now + 30*second})
				if grant.Price != want || s.Live.Price() != want {
					t.Errorf("at %s, noticed %t, it is granted for %s and shown as %s, want %s", now, noticed, grant.Price, s.Live.Price(), want)
				}
			}
		}
	})
	t.Run("takes effect once, and not before its time", func(t *testing.T) {
		s := given(t, ready, at(said, scheduled)).
			When(t1-1, takeEffect(t1-1, t1)).ThenError(chargingpoint.ErrDeadlineGone).
			When(t1, takeEffect(t1, t1+1)).ThenError(chargingpoint.ErrDeadlineGone).
			When(t1, takeEffect(t1, 0)).ThenError(chargingpoint.ErrDeadlineGone).
			When(t1+1, takeEffect(t1+1, t1)).Then(chargingpoint.PriceTookEffect{From: t1}).
			When(t1+1, takeEffect(t1+1, t1)).ThenError(chargingpoint.ErrDeadlineGone)
		if got := s.Live.PriceChange(); got != change || len(s.Live.Scheduled()) > 0 {
			t.Errorf("what counts is %+v", got)
		}
	})
	t.Run("after one that nobody noticed leaves it behind", func(t *testing.T) {
		s := given(t, ready, at(said, scheduled, back)).
			When(t2, takeEffect(t2, t2)).Then(chargingpoint.PriceTookEffect{From: t2}).
			When(t2, takeEffect(t2, t1)).ThenError(chargingpoint.ErrDeadlineGone)
		if s.Live.Price() != 300_000 {
			t.Errorf("the price is %s", s.Live.Price())
		}
	})
	t.Run("is shown as counting by any event of its time", func(t *testing.T) {
		s := given(t, ready, at(said, scheduled), at(t1, faulted))
		if s.Live.Price() != 450_000 || s.Live.PriceChange() != change || len(s.Live.Scheduled()) > 0 {
			t.Errorf("it costs %s by %+v, scheduled %+v", s.Live.Price(), s.Live.PriceChange(), s.Live.Scheduled())
		}
		s.When(t1, takeEffect(t1, t1)).Then(chargingpoint.PriceTookEffect{From: t1}) // it is said all the same
	})
	t.Run("of a hand back counts what the point says by then", func(t *testing.T) {
		s := given(t, ready, at(said, scheduled, back)).
			When(said, register(said, "Plaza Mayor 1", 350_000, said, open)).
			Then(chargingpoint.PointRegistered{Location: "Plaza Mayor 1", Price: 350_000, RecordedAt: said})
		if got := s.Live.PriceAt(t2); got != 350_000 {
			t.Errorf("at T2 it costs %s", got)
		}
	})
	t.Run("has room for a hundred", func(t *testing.T) {
		s := given(t, ready)
		for i := range domain.UnixMillis(chargingpoint.MaxScheduled) {
			price := 400_000 + domain.MicroEurosPerKWh(i)
			s.When(said, setPrice(price, t1+i)).Then(chargingpoint.PriceSet{Price: price, By: "op", From: t1 + i})
		}
		s.When(said, setPrice(1, t2)).ThenError(chargingpoint.ErrScheduleFull).
			When(said, handBack(t2)).ThenError(chargingpoint.ErrScheduleFull).
			When(said, setPrice(1, t1)).Then(chargingpoint.PriceSet{Price: 1, By: "op", From: t1}).
			When(said, handBack(t2)).Then(back)
	})
}
