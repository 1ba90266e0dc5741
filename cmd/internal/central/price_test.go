package central_test

import (
	"errors"
	"testing"
	"time"

	"evcharging/application/message"
	"evcharging/cmd/internal/central"
	"evcharging/domain"
)

func TestPriceControl(t *testing.T) {
	const now = domain.UnixMillis(1_800_000_000_000)
	price := func(p domain.MicroEurosPerKWh) *domain.MicroEurosPerKWh { return &p }
	for _, c := range []struct {
		price string
		from  domain.UnixMillis
		want  *domain.MicroEurosPerKWh
		err   error
	}{
		{"0.42", 0, price(420_000), nil},
		{"0", 0, price(0), nil},
		{"auto", 0, nil, nil},
		{"AUTO", now + 1, nil, nil},
		{"0.42", now + 1, price(420_000), nil},
		{"0.42", now, nil, central.ErrPassed},
		{"auto", now - 1, nil, central.ErrPassed},
		{"free", 0, nil, domain.ErrNotANumber},
		{"-1", now + 1, nil, domain.ErrOutOfRange},
	} {
		t.Run(c.price+" from "+c.from.String(), func(t *testing.T) {
			got, err := central.PriceControl(c.price, c.from, now)
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			if got.Action != message.ActionPrice || got.From != c.from || (got.Price == nil) != (c.want == nil) || got.Price != nil && *got.Price != *c.want {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	later := time.Date(2026, 12, 1, 7, 30, 0, 0, time.Local)
	state := message.PointState{Point: "CP-001", State: "ACTIVATED", Price: 300_000}
	price := domain.MicroEurosPerKWh(420_000)
	for _, c := range []struct {
		asked message.Control
		want  string
	}{
		{message.Control{Action: message.ActionStop}, "CP-001 is ACTIVATED, 0.30 EUR/kWh"},
		{message.Control{Action: message.ActionPrice, Price: &price}, "CP-001 is ACTIVATED, 0.30 EUR/kWh"},
		{message.Control{Action: message.ActionPrice, Price: &price, From: domain.At(later)}, "CP-001 is ACTIVATED, 0.30 EUR/kWh; from 2026-12-01 07:30:00 " + later.Format("MST") + " on 0.42 EUR/kWh"},
		{message.Control{Action: message.ActionPrice, From: domain.At(later)}, "CP-001 is ACTIVATED, 0.30 EUR/kWh; from 2026-12-01 07:30:00 " + later.Format("MST") + " on its own price"},
	} {
		if got := central.Describe(c.asked, state); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
