package audit_test

import (
	"errors"
	"testing"

	"evcharging/adapters/eventjson"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

func whatIf(t *testing.T, log audit.Log, tariff audit.Tariff, from, to domain.UnixMillis) (audit.Otherwise, []error) {
	t.Helper()
	var errs []error
	bills, err := audit.WhatIf(t.Context(), log, eventjson.Codec{}, tariff, from, to, func(err error) { errs = append(errs, err) })
	if err != nil {
		t.Fatal(err)
	}
	return bills, errs
}

// tariff is one of all points.
func tariff(price domain.MicroEurosPerKWh) (t audit.Tariff) {
	t.Set("", 0, price)
	return t
}

func TestATariffHasAPriceForAnInstant(t *testing.T) {
	var tariff audit.Tariff
	for _, p := range []struct {
		point domain.PointID
		from  domain.UnixMillis
		price domain.MicroEurosPerKWh
		taken bool
	}{
		{"CP-1", 200, 2, true},
		{"CP-1", 100, 1, true},
		{"CP-1", 200, 3, false},
		{"", 150, 9, true},
		{"CP-2", 0, 5, true},
		{"", 150, 8, false},
	} {
		if tariff.Set(p.point, p.from, p.price) != p.taken {
			t.Errorf("%+v is taken: %t", p, !p.taken)
		}
	}
	for _, c := range []struct {
		point domain.PointID
		at    domain.UnixMillis
		want  domain.MicroEurosPerKWh // 0: none
	}{
		{"CP-1", 99, 0},
		{"CP-1", 100, 1},
		{"CP-1", 199, 1},
		{"CP-1", 200, 2},
		{"CP-2", 1, 5},
		{"CP-3", 149, 0},
		{"CP-3", 150, 9},
	} {
		if price, ok := tariff.Price(c.point, c.at); price != c.want || ok != (c.want != 0) {
			t.Errorf("%s at %d costs %d (%t), want %d", c.point, c.at, price, ok, c.want)
		}
	}
}

func TestWhatIf(t *testing.T) {
	log, supplies := everyEnding(t)
	var energy domain.MilliwattHours
	var billed, dearer domain.MicroEuros
	sessions := 0
	for _, s := range supplies {
		if s.Energy == "" {
			continue
		}
		kWh, err1 := domain.ParseKWh(s.Energy)
		eur, err2 := domain.ParseEUR(s.Amount)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		sessions++
		energy += kWh
		billed += eur
		dearer += domain.Cost(kWh, 1_234_567)
	}
	same, errs := whatIf(t, log, audit.Tariff{}, 0, 0)
	if want := (audit.Bills{Sessions: sessions, Energy: energy, Billed: billed, Otherwise: billed}); same.Total != want || len(errs) > 0 {
		t.Errorf("under the prices that they have: %+v, %v, want %+v", same.Total, errs, want)
	}
	other, _ := whatIf(t, log, tariff(1_234_567), 0, 0)
	if want := (audit.Bills{Sessions: sessions, Energy: energy, Billed: billed, Otherwise: dearer}); other.Total != want || other.Total.Difference() != dearer-billed {
		t.Errorf("under another price: %+v, want %+v", other.Total, want)
	}
	var points, drivers audit.Bills
	for _, b := range other.Points {
		points = audit.Bills{Sessions: points.Sessions + b.Sessions, Energy: points.Energy + b.Energy, Billed: points.Billed + b.Billed, Otherwise: points.Otherwise + b.Otherwise}
	}
	for _, b := range other.Drivers {
		drivers = audit.Bills{Sessions: drivers.Sessions + b.Sessions, Energy: drivers.Energy + b.Energy, Billed: drivers.Billed + b.Billed, Otherwise: drivers.Otherwise + b.Otherwise}
	}
	if points != other.Total || drivers != other.Total || len(other.Points) != sessions || len(other.Drivers) != sessions {
		t.Errorf("by point they come to %+v, by driver to %+v, in all to %+v", points, drivers, other.Total)
	}
}

// A session counts where it was closed, with the revisions that were decided in the period.
func TestWhatIfOfAPeriod(t *testing.T) {
	log, supplies := everyEnding(t)
	revised := eventlog.Stream("session-" + string(supplies["revised twice"].Session))
	var point domain.PointID
	at := map[int]domain.UnixMillis{} // revision: when
	for _, c := range log.commits {
		for _, p := range c.Parts {
			for _, event := range log.decode(p).Events {
				switch e := event.(type) {
				case session.SupplyAuthorized:
					if p.Stream == revised {
						point = e.Point
					}
				case session.TicketIssued:
					if p.Stream == revised {
						at[0] = c.At
					}
				case session.TicketRevised:
					if p.Stream == revised {
						at[e.Revision] = c.At
					}
				}
			}
		}
	}
	if len(at) != 3 {
		t.Fatal(at)
	}
	for name, c := range map[string]struct {
		from, to domain.UnixMillis
		want     audit.Bills // at 1 EUR/kWh
	}{
		"all of it":                  {0, 0, audit.Bills{Sessions: 1, Energy: 8_500_000, Billed: 2_550_000, Otherwise: 8_500_000}},
		"up to the last revision":    {at[0], at[2], audit.Bills{Sessions: 1, Energy: 8_000_000, Billed: 2_400_000, Otherwise: 8_000_000}},
		"before the first revision":  {at[0], at[1], audit.Bills{Sessions: 1, Energy: 7_000_000, Billed: 2_100_000, Otherwise: 7_000_000}},
		"before its close":           {0, at[0], audit.Bills{}},
		"after its close: revisions": {at[0] + 1, 0, audit.Bills{}},
	} {
		t.Run(name, func(t *testing.T) {
			if bills, errs := whatIf(t, log, tariff(1_000_000), c.from, c.to); bills.Points[point] != c.want || len(errs) > 0 {
				t.Errorf("it comes to %+v, %v, want %+v", bills.Points[point], errs, c.want)
			}
		})
	}
}

func TestWhatIfTellsWhatCanNotBeRead(t *testing.T) {
	log, supplies := everyEnding(t)
	whole, _ := whatIf(t, log, tariff(1_000_000), 0, 0)
	stream := eventlog.Stream("session-" + string(supplies["finished"].Session))
	commit, part := find[session.SupplyAuthorized](log, stream, 0)
	log.part(commit, part, func(p *eventlog.Part) { p.Body = []byte("{}") })
	less, errs := whatIf(t, log, tariff(1_000_000), 0, 0)
	if less.Total.Sessions != whole.Total.Sessions-1 || less.Total.Energy != whole.Total.Energy-350_000 || len(errs) != 2 {
		t.Errorf("without a grant that can be read: %+v of %+v, %v", less.Total, whole.Total, errs)
	}
	for _, err := range errs {
		if !errors.Is(err, eventlog.ErrDamaged) {
			t.Error(err)
		}
	}
	if _, err := audit.WhatIf(t.Context(), away{history: log, all: true}, eventjson.Codec{}, audit.Tariff{}, 0, 0, nil); !errors.Is(err, errAway) {
		t.Errorf("where the store is away it says %v", err)
	}
}
