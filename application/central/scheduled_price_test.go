package central_test

import (
	"slices"
	"testing"
	"time"

	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// Prices that are to count from a later instant.

const (
	// dear is the price that is scheduled, for the instant changes.
	dear    = domain.MicroEurosPerKWh(500_000)
	changes = 12
)

// scheduled is free, and at 2 s an operator has scheduled a price.
func scheduled(t testing.TB) *world {
	w := free(t)
	w.given(seconds(2), priceFrom("c-1", dear, seconds(changes)))
	return w
}

func priceFrom(id string, price domain.MicroEurosPerKWh, from domain.UnixMillis) message.Control {
	c := control(id, message.ActionPrice)
	c.Price, c.From = &price, from
	return c
}

func priceDeadline(from domain.UnixMillis) message.Control {
	return message.Control{ID: "d", Point: cp1, Action: message.ActionDeadline, Kind: central.DeadlinePrice, DueAt: from, By: "deadline"}
}

// at a price, what Central says of the point and of a grant.
func costing(s message.PointState, price domain.MicroEurosPerKWh) message.PointState {
	s.Price = price
	return s
}

func TestAScheduledPriceIsStoredAtOnceAndShownWhenItCounts(t *testing.T) {
	w := free(t)
	w.when(seconds(2), priceFrom("c-1", dear, seconds(changes))).
		stores(ofPoint(chargingpoint.PriceSet{Price: dear, By: "ops", From: seconds(changes)})).
		sends(answering(state(chargingpoint.Activated, seconds(2), 4), "c-1", ""))
	w.when(seconds(changes), priceDeadline(seconds(changes))).
		stores(ofPoint(chargingpoint.PriceTookEffect{From: seconds(changes)})).
		sends(costing(state(chargingpoint.Activated, seconds(changes), 5), dear))

	back := control("c-2", message.ActionPrice)
	back.From = seconds(20)
	w.when(seconds(13), back).
		stores(ofPoint(chargingpoint.PriceHandedBack{By: "ops", From: seconds(20)})).
		sends(answering(costing(state(chargingpoint.Activated, seconds(13), 6), dear), "c-2", ""))
	w.when(seconds(20), priceDeadline(seconds(20))).
		stores(ofPoint(chargingpoint.PriceTookEffect{From: seconds(20)})).
		sends(state(chargingpoint.Activated, seconds(20), 7))
}

func TestAPriceFromAnInstantThatHasComeCountsAtOnce(t *testing.T) {
	w := free(t)
	w.when(seconds(2), priceFrom("c-1", dear, seconds(1))).
		stores(ofPoint(chargingpoint.PriceSet{Price: dear, By: "ops"})).
		sends(answering(costing(state(chargingpoint.Activated, seconds(2), 4), dear), "c-1", ""))
}

func TestAGrantHasThePriceOfItsInstant(t *testing.T) {
	granted := func(w *world, at domain.UnixMillis, version int64, price domain.MicroEurosPerKWh) {
		w.Helper()
		w.when(at, request(dan, danRequest)).sends(
			func() message.Message { o := startAt(at); o.Price = &price; return o }(),
			func() message.Message { a := grantOf(dan, danRequest); a.Price = &price; return a }(),
			costing(state(chargingpoint.Supplying, at, version), price))
	}
	t.Run("before the change", func(t *testing.T) {
		w := scheduled(t)
		granted(w, seconds(changes)-1, 5, cheap)
		t.Run("and keeps it", func(t *testing.T) {
			w.given(seconds(changes), priceDeadline(seconds(changes)))
			w.given(seconds(14), done(dans, 1000, message.DoneFinished, seconds(14)))
			if bill := sent[message.Ticket](w); bill.Price != cheap || bill.Amount != domain.Cost(kWh, cheap) {
				t.Errorf("billed %s EUR at %s", bill.Amount, bill.Price)
			}
		})
	})
	t.Run("after it, though nobody has noticed", func(t *testing.T) {
		granted(scheduled(t), seconds(changes), 5, dear)
	})
	t.Run("after it, of a Central that was restarted", func(t *testing.T) {
		w := scheduled(t)
		w.lane = w.central.Lane()
		granted(w, seconds(changes), 5, dear)
	})
	t.Run("after it", func(t *testing.T) {
		w := scheduled(t)
		w.given(seconds(changes), priceDeadline(seconds(changes)))
		granted(w, seconds(13), 6, dear)
	})
}

func TestAScheduledPriceThatDoesNotStandIsIgnored(t *testing.T) {
	gone := func(w *world, at domain.UnixMillis, c message.Control) {
		w.Helper()
		w.when(at, c).ignores(chargingpoint.ErrDeadlineGone)
	}
	t.Run("before its time", func(t *testing.T) { gone(scheduled(t), seconds(changes)-1, priceDeadline(seconds(changes))) })
	t.Run("another instant", func(t *testing.T) { gone(scheduled(t), seconds(changes), priceDeadline(seconds(11))) })
	t.Run("of a point that nobody knows", func(t *testing.T) { gone(newWorld(t), seconds(changes), priceDeadline(seconds(changes))) })
	t.Run("noticed already", func(t *testing.T) {
		w := scheduled(t)
		w.given(seconds(changes), priceDeadline(seconds(changes)))
		gone(w, seconds(13), priceDeadline(seconds(changes)))
	})
	t.Run("replaced by a price at once", func(t *testing.T) {
		w := scheduled(t)
		w.given(seconds(3), priceFrom("c-2", 400_000, 0))
		gone(w, seconds(changes), priceDeadline(seconds(changes)))
	})
	t.Run("replaced, by another Central meanwhile", func(t *testing.T) {
		w := scheduled(t)
		first, second := twoCentrals(w)
		w.lane = second
		w.given(seconds(3), priceFrom("c-2", 400_000, 0))
		w.lane = first
		gone(w, seconds(changes), priceDeadline(seconds(changes)))
	})
	t.Run("noticed by another Central meanwhile", func(t *testing.T) {
		w := scheduled(t)
		first, second := twoCentrals(w)
		w.lane = second
		w.given(seconds(changes), priceDeadline(seconds(changes)))
		w.lane = first
		gone(w, seconds(changes), priceDeadline(seconds(changes)))
	})
}

func TestARedeliveredScheduleIsNotScheduledAgain(t *testing.T) {
	w := free(t)
	r := w.given(seconds(2), priceFrom("c-1", dear, seconds(changes)))
	w.given(seconds(3), control("c-2", message.ActionPrice)) // handed back
	w.whenReceived(seconds(4), r).storesNothing().countsNothing().
		sends(answering(state(chargingpoint.Activated, seconds(3), 5), "c-1", ""))
	w.when(seconds(changes), request(dan, danRequest))
	if a := sent[message.Answer](w); *a.Price != cheap {
		t.Errorf("granted for %s", a.Price)
	}
}

func TestARedeliveredPriceDeadlineIsFinished(t *testing.T) {
	w := scheduled(t)
	r := w.given(seconds(changes), priceDeadline(seconds(changes)))
	w.whenReceived(seconds(13), r).storesNothing().countsNothing().
		sends(costing(state(chargingpoint.Activated, seconds(changes), 5), dear))
}

func TestAScheduleThatIsFullIsRejected(t *testing.T) {
	w := free(t)
	for i := range chargingpoint.MaxScheduled {
		w.given(seconds(2), priceFrom("c", dear+domain.MicroEurosPerKWh(i), seconds(60+i)))
	}
	w.when(seconds(2), priceFrom("c", cheap, at(time.Hour))).rejects(chargingpoint.ErrScheduleFull)
	w.given(seconds(2), priceFrom("c", cheap, seconds(60)))
}

func TestTheWatchPostsScheduledPrices(t *testing.T) {
	later := func(t testing.TB) *world { // two changes, one a second after the other
		w := scheduled(t)
		back := control("c-2", message.ActionPrice)
		back.From = seconds(changes + 1)
		w.given(seconds(2), back)
		return w
	}
	for name, c := range map[string]struct {
		given func(testing.TB) *world
		now   domain.UnixMillis
		want  []int
	}{
		"not before its time":            {scheduled, seconds(changes) - 1, nil},
		"at its time":                    {scheduled, seconds(changes), []int{changes}},
		"each in its turn":               {later, seconds(changes), []int{changes}},
		"all that have passed, in order": {later, seconds(changes + 1), []int{changes, changes + 1}},
		"none that was replaced": {func(t testing.TB) *world {
			w := scheduled(t)
			w.given(seconds(3), control("c-2", message.ActionPrice))
			return w
		}, seconds(20), nil},
		"none that was noticed":            {func(t testing.TB) *world { w := later(t); w.given(seconds(13), priceDeadline(seconds(13))); return w }, seconds(20), nil},
		"also while nobody could be heard": {func(t testing.TB) *world { w := scheduled(t); w.listening.Deaf(seconds(changes)); return w }, seconds(changes), []int{changes}},
		"of a Central that was away": {func(t testing.TB) *world {
			w := scheduled(t)
			w.restart(seconds(30))
			w.deadlines = memory.NewDeadlines(w.signs)
			parts, err := w.central.Restore(w.Context(), central.PointStream(cp1))
			if err != nil {
				t.Fatal(err)
			}
			w.deadlines.Apply(parts)
			return w
		}, seconds(30), []int{changes}},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := c.given(t), &poster{}
			watch := &central.Watch{Index: w.deadlines, Listening: w.listening, Poster: p}
			got := slices.DeleteFunc(ticks(t, w, watch, p, c.now), func(c message.Control) bool { return c.Kind == central.DeadlineLease })
			var want []message.Control
			for _, s := range c.want {
				d := priceDeadline(seconds(s))
				d.ID = ""
				want = append(want, d)
			}
			if !slices.Equal(got, want) {
				t.Errorf("posted\n%swant\n%s", describe(got), describe(want))
			}
			for _, d := range got {
				d.ID = "d"
				w.when(c.now, d).countsNothing() // each is acted on
			}
			now := c.now
			if got := ticks(t, w, watch, p, now.Add(6*time.Second)); slices.ContainsFunc(got, func(c message.Control) bool { return c.Kind == central.DeadlinePrice && c.DueAt <= now }) {
				t.Errorf("posted again\n%s", describe(got))
			}
		})
	}
}

// By a clock that was an hour ahead and was set back, a point's own time goes on: what
// counted does not stop to count.
func TestAPriceCountsOnWhereTheClockIsSetBack(t *testing.T) {
	w := scheduled(t)
	w.given(seconds(changes), priceDeadline(seconds(changes)))
	back := seconds(13).Add(-time.Hour)
	w.whenReceived(back, w.record(seconds(13), health(message.HealthOK))).counts(chargingpoint.ErrUnchanged)
	w.whenReceived(back, w.record(back, request(dan, danRequest)))
	if a := sent[message.Answer](w); a.Price == nil || *a.Price != dear {
		t.Errorf("sent\n%s", describe(w.outcome.messages))
	}
}
