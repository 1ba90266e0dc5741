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
	now := domain.At(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	local := func(hour, minute, second int) domain.UnixMillis {
		return domain.At(time.Date(2026, 12, 1, hour, minute, second, 0, time.Local))
	}
	price := func(p domain.MicroEurosPerKWh) *domain.MicroEurosPerKWh { return &p }
	for _, c := range []struct {
		price, from string
		want        message.Control
		err         error
	}{
		{"0.42", "", message.Control{Price: price(420_000)}, nil},
		{"0", "", message.Control{Price: price(0)}, nil},
		{"auto", "", message.Control{}, nil},
		{"AUTO", "2026-12-01", message.Control{From: local(0, 0, 0)}, nil},
		{"0.42", "2026-12-01T07:30", message.Control{Price: price(420_000), From: local(7, 30, 0)}, nil},
		{"0.42", "2026-12-01t07:30:15", message.Control{Price: price(420_000), From: local(7, 30, 15)}, nil},
		{"0.42", "2026-12-01T00:00:00+01:00", message.Control{Price: price(420_000), From: domain.At(time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC))}, nil},
		{"0.42", "2026-12-01T00:00:00.25Z", message.Control{Price: price(420_000), From: domain.At(time.Date(2026, 12, 1, 0, 0, 0, 250e6, time.UTC))}, nil},
		{"0.42", "2026-12-01T00:00z", message.Control{Price: price(420_000), From: domain.At(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))}, nil},
		{"0.42", "2026-11-20T10:00:00Z", message.Control{}, central.ErrPassed},
		{"0.42", "2025-12-01", message.Control{}, central.ErrPassed},
		{"0.42", "tomorrow", message.Control{}, central.ErrNoTime},
		{"0.42", "2026-13-01", message.Control{}, central.ErrNoTime},
		{"0.42", "1.12.2026", message.Control{}, central.ErrNoTime},
		{"free", "", message.Control{}, domain.ErrNotANumber},
		{"-1", "2026-12-01", message.Control{}, domain.ErrOutOfRange},
	} {
		t.Run(c.price+" from "+c.from, func(t *testing.T) {
			got, err := central.PriceControl(c.price, c.from, now)
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			if got.Action != message.ActionPrice || got.From != c.want.From || (got.Price == nil) != (c.want.Price == nil) || got.Price != nil && *got.Price != *c.want.Price {
				t.Errorf("%+v, want %+v", got, c.want)
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
