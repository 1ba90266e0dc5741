package chargingpoint_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// Whatever happens to a point, in whatever order and by whatever clocks: order numbers
// grow, a grant is given only to a point that works and is free, and not while it is held
// after a stop. The kit moreover holds each step to what its events give when replayed.
func TestAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := points.Given(t, at(noon, registered))
		now, held, last := noon, domain.UnixMillis(0), domain.Order(0)
		sessions := rapid.SampledFrom([]domain.SessionID{"S-1", "S-2", "S-3"})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			// Orders are numbered by a clock that others may have set back.
			now = max(noon, now+domain.UnixMillis(rapid.Int64Range(-3_000, 12_000).Draw(t, "later")))
			reportedAt := now + domain.UnixMillis(rapid.Int64Range(-20_000, 20_000).Draw(t, "record"))
			session := sessions.Draw(t, "session")
			before := s.Live.State()
			granted := false
			from := now + domain.UnixMillis(rapid.Int64Range(-30, 30).Draw(t, "from")*1_000)
			price := domain.MicroEurosPerKWh(rapid.Int64Range(0, 2).Draw(t, "operator's price"))
			if scheduled := s.Live.Scheduled(); len(scheduled) > 0 && rapid.Bool().Draw(t, "of the schedule") {
				from = rapid.SampledFrom(scheduled).Draw(t, "change").From
			}
			commands := map[string]func(p *point) error{
				"register": func(p *point) error {
					return p.Register(now, "L", domain.MicroEurosPerKWh(rapid.Int64Range(0, 2).Draw(t, "price")), reportedAt, open)
				},
				"health": func(p *point) error {
					return p.ReportHealth(now, chargingpoint.Report{
						Healthy: rapid.Bool().Draw(t, "healthy"), ReportedAt: reportedAt,
						Lease: time.Duration(rapid.Int64Range(0, 1).Draw(t, "lease")) * 15 * time.Second,
					})
				},
				"lose": func(p *point) error { return p.LoseContact(now, reportedAt, noon) },
				"occupy": func(p *point) error {
					_, err := p.Occupy(now, chargingpoint.Request{Session: session, Driver: "D", Heard: true})
					granted = err == nil
					return err
				},
				"release": func(p *point) error { return p.Release(now, session) },
				"stop":    func(p *point) error { p.OrderStop(now, session, "KO"); return nil },
				"again":   func(p *point) error { return p.OrderStopAgain(now, session, "KO") },
				"out":     func(p *point) error { return p.TakeOutOfService(now, reportedAt, "op") },
				"back":    func(p *point) error { return p.ReturnToService(now, reportedAt, "op") },
				"price":   func(p *point) error { return p.SetPrice(now, from, price, "op") },
				"own":     func(p *point) error { return p.HandBackPrice(now, from, "op") },
				"effect":  func(p *point) error { return p.TakePriceEffect(now, from) },
			}
			name := rapid.SampledFrom([]string{
				"register", "health", "lose", "occupy", "release", "stop", "again", "out", "back", "price", "own", "price", "effect",
			}).Draw(t, "command")
			count := len(s.History())
			var err error
			s.When(now, func(p *point) error { err = commands[name](p); return err })
			if err != nil {
				s.ThenError(err)
				continue
			}
			var events []chargingpoint.Event
			if h := s.History(); len(h) > count {
				events = h[count].Events
			}
			if len(events) == 0 {
				t.Fatalf("%s did nothing and gave no error", name)
			}
			s.Then(events...)
			if granted && (before != chargingpoint.Activated || now < held) {
				t.Fatalf("granted while %s, held until %s, at %s", before, held, now)
			}
			for _, event := range events {
				var order domain.Order
				switch e := event.(type) {
				case chargingpoint.PointOccupied:
					order = e.Order
				case chargingpoint.StopOrdered:
					order, held = e.Order, max(held, e.HoldUntil)
				case chargingpoint.TakenOutOfService:
					order, held = e.Order, max(held, e.HoldUntil)
				case chargingpoint.ReturnedToService:
					order = e.Order
				default:
					continue
				}
				if order <= last || order < domain.Order(now) {
					t.Fatalf("order %d at %d after order %d", order, now, last)
				}
				last = order
			}
		}
	})
}

// Whatever operators say of the price, and whether anybody notices what was scheduled: it is
// what was said last for that instant or an earlier one.
func TestAnyPrices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type word struct {
			from  domain.UnixMillis
			set   bool
			price domain.MicroEurosPerKWh
		}
		var words []word
		own := registered.Price
		costs := func(instant domain.UnixMillis) domain.MicroEurosPerKWh {
			for _, w := range slices.Backward(words) {
				if w.from <= instant && w.set {
					return w.price
				} else if w.from <= instant {
					return own
				}
			}
			return own
		}
		s := points.Given(t, ready)
		now := noon
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += domain.UnixMillis(rapid.Int64Range(0, 5).Draw(t, "later"))
			w := word{from: now + domain.UnixMillis(rapid.Int64Range(-5, 20).Draw(t, "from"))}
			var err error
			switch rapid.IntRange(0, 4).Draw(t, "command") {
			case 0, 1:
				w.set, w.price = true, domain.MicroEurosPerKWh(rapid.Int64Range(0, 2).Draw(t, "price"))
				s.When(now, func(p *point) error { err = p.SetPrice(now, w.from, w.price, "op"); return err })
				words = append(words, w)
			case 2:
				s.When(now, func(p *point) error { err = p.HandBackPrice(now, w.from, "op"); return err })
				words = append(words, w)
			case 3:
				own++
				s.When(now, func(p *point) error { err = p.Register(now, "L", own, now, open); return err })
			default:
				s.When(now, func(p *point) error { err = p.TakePriceEffect(now, w.from); return err })
			}
			if err != nil {
				s.ThenError(err)
			} else {
				s.Then(s.History()[len(s.History())-1].Events...)
			}
			for instant := now; instant < now+30; instant++ {
				if got, want := s.Live.PriceAt(instant), costs(instant); got != want {
					t.Fatalf("at %s it costs %s, want %s", instant, got, want)
				}
			}
			// Whoever has only the events has the same schedule.
			var told chargingpoint.Schedule
			for _, past := range s.History() {
				for _, event := range past.Events {
					told = told.After(past.At, event)
				}
			}
			told = slices.DeleteFunc(slices.Clone(told), func(c chargingpoint.PriceChange) bool { return c.From <= s.Live.UpdatedAt() })
			if !slices.Equal(told, s.Live.Scheduled()) {
				t.Fatalf("the events give %+v, scheduled are %+v", told, s.Live.Scheduled())
			}
			last := s.Live.UpdatedAt()
			for _, c := range s.Live.Scheduled() {
				if c.From <= last {
					t.Fatalf("%+v is scheduled, at %s", c, s.Live.UpdatedAt())
				}
				last = c.From
			}
		}
	})
}
