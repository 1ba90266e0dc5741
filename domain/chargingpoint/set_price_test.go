package chargingpoint_test

import (
	"testing"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

func setPrice(price domain.MicroEurosPerKWh) func(*point) error {
	return func(p *point) error { return p.SetPrice(noon+minute, price, "op") }
}

func handBack(p *point) error { return p.HandBackPrice(noon+minute, "op") }

func TestSetPrice(t *testing.T) {
	set := chargingpoint.PriceSet{Price: 450_000, By: "op"}
	given(t).When(noon+minute, setPrice(450_000)).ThenError(chargingpoint.ErrUnknownPoint)
	given(t, ready, at(noon, set)).When(noon+minute, setPrice(450_000)).ThenError(chargingpoint.ErrUnchanged)
	s := given(t, ready).
		When(noon+minute, setPrice(450_000)).Then(set).
		When(noon+minute, setPrice(0)).Then(chargingpoint.PriceSet{By: "op"})
	if s.Live.Price() != 0 {
		t.Errorf("the price is %s; for nothing is a price too", s.Live.Price())
	}
	// the point's own price, set by an operator, is more than its own: it stays
	given(t, ready).When(noon+minute, setPrice(300_000)).Then(chargingpoint.PriceSet{Price: 300_000, By: "op"})
}

func TestHandBackPrice(t *testing.T) {
	set := chargingpoint.PriceSet{Price: 450_000, By: "op"}
	given(t).When(noon+minute, handBack).ThenError(chargingpoint.ErrUnknownPoint)
	given(t, ready).When(noon+minute, handBack).ThenError(chargingpoint.ErrUnchanged)
	s := given(t, ready, at(noon, set)).
		When(noon+minute, handBack).Then(chargingpoint.PriceHandedBack{By: "op"}).
		When(noon+minute, handBack).ThenError(chargingpoint.ErrUnchanged)
	if s.Live.Price() != 300_000 {
		t.Errorf("the price is %s", s.Live.Price())
	}
}

// A price that an operator has set stands over registrations until it is handed back.
func TestOperatorsPriceStandsOverRegistrations(t *testing.T) {
	s := given(t, ready, at(noon+1, chargingpoint.PriceSet{Price: 450_000, By: "op"})).
		When(noon+minute, register(noon+minute, "Plaza Mayor 1", 350_000, noon+minute, open)).
		Then(chargingpoint.PointRegistered{Location: "Plaza Mayor 1", Price: 350_000, RecordedAt: noon + minute})
	if s.Live.Price() != 450_000 {
		t.Errorf("the price is %s, the operator's is 0.45", s.Live.Price())
	}
	s.When(noon+minute, handBack).Then(chargingpoint.PriceHandedBack{By: "op"})
	if s.Live.Price() != 350_000 {
		t.Errorf("the price is %s, the point's is 0.35", s.Live.Price())
	}
}
