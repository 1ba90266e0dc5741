package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Tariff are prices that could have been: of some points, and of all others. The zero
// Tariff has none.
type Tariff struct {
	points map[domain.PointID][]priceFrom
	others []priceFrom
}

// priceFrom is a price and the instant from which on it counts.
type priceFrom struct {
	from  domain.UnixMillis
	price domain.MicroEurosPerKWh
}

// Set says what a point's price is from an instant on, 0 for ever; with an empty id that of
// all points that have none of their own then. It is false where that is said already.
func (t *Tariff) Set(point domain.PointID, from domain.UnixMillis, price domain.MicroEurosPerKWh) bool {
	prices := t.others
	if point != "" {
		prices = t.points[point]
	}
	at, there := slices.BinarySearchFunc(prices, from, func(p priceFrom, from domain.UnixMillis) int { return cmp.Compare(p.from, from) })
	if there {
		return false
	}
	prices = slices.Insert(prices, at, priceFrom{from, price})
	switch {
	case point == "":
		t.others = prices
	case t.points == nil:
		t.points = map[domain.PointID][]priceFrom{point: prices}
	default:
		t.points[point] = prices
	}
	return true
}

// Price is a point's price at an instant; ok is false where the tariff has none for it.
func (t *Tariff) Price(point domain.PointID, at domain.UnixMillis) (price domain.MicroEurosPerKWh, ok bool) {
	for _, prices := range [][]priceFrom{t.points[point], t.others} {
		for _, p := range slices.Backward(prices) {
			if p.from <= at {
				return p.price, true
			}
		}
	}
	return 0, false
}

// Bills are what some sessions come to.
type Bills struct {
	Sessions int
	Energy   domain.MilliwattHours
	// Billed is what was billed, Otherwise what it would have been.
	Billed, Otherwise domain.MicroEuros
}

// Difference is what would have been owed beyond what was billed; it may be negative.
func (b Bills) Difference() domain.MicroEuros { return b.Otherwise - b.Billed }

func (b *Bills) add(sessions int, energy domain.MilliwattHours, billed, otherwise domain.MicroEuros) {
	b.Sessions += sessions
	b.Energy += energy
	b.Billed += billed
	b.Otherwise += otherwise
}

// Otherwise are the sessions of a period, as they were billed and under other prices.
type Otherwise struct {
	Total   Bills
	Points  map[domain.PointID]Bills
	Drivers map[domain.DriverID]Bills
}

// WhatIf bills the sessions under a tariff that were closed from an instant on and before
// another, 0 for without end. A session has the tariff's price for its point at its grant,
// and the one that it was granted where the tariff has none. The energy is that of the ticket
// as it stood at the end of the period: a revision counts where it was decided before that.
// unreadable is told what can't be read, which then is not in the sums; any other error ends
// it. Its memory is that of the open sessions and of the sums.
func WhatIf(ctx context.Context, log Log, codec central.Codec, tariff Tariff, from, to domain.UnixMillis, unreadable func(error)) (Otherwise, error) {
	w := whatIf{
		Central: &central.Central{Codec: codec}, log: log, tariff: tariff, from: from, to: to, open: map[eventlog.Stream]granted{},
		sums: Otherwise{Points: map[domain.PointID]Bills{}, Drivers: map[domain.DriverID]Bills{}},
	}
	for commit, err := range all(ctx, log, 1) {
		if err == nil && to != 0 && commit.At >= to {
			continue
		}
		errs := []error{err}
		for _, p := range commit.Parts {
			if p.Kind != eventlog.Sample && strings.HasPrefix(string(p.Stream), "session-") {
				errs = append(errs, w.part(ctx, commit.At, p))
			}
		}
		for _, err := range errs {
			if errors.Is(err, eventlog.ErrDamaged) {
				unreadable(err)
			} else if err != nil {
				return w.sums, fmt.Errorf("read the event log: %w", err)
			}
		}
	}
	return w.sums, ctx.Err()
}

type whatIf struct {
	*central.Central
	log      Log
	tariff   Tariff
	from, to domain.UnixMillis
	// open are the sessions that were granted and are not closed.
	open map[eventlog.Stream]granted
	sums Otherwise
}

// granted is what a grant says of a session's price.
type granted struct {
	point     domain.PointID
	driver    domain.DriverID
	otherwise domain.MicroEurosPerKWh
}

func (w *whatIf) grant(at domain.UnixMillis, e session.SupplyAuthorized) granted {
	g := granted{e.Point, e.Driver, e.Price}
	if price, ok := w.tariff.Price(e.Point, at); ok {
		g.otherwise = price
	}
	return g
}

// part takes in a part that is no sample.
func (w *whatIf) part(ctx context.Context, at domain.UnixMillis, p eventlog.Part) error {
	part, err := w.Decode(p)
	if err != nil {
		return err
	}
	for _, event := range part.Events {
		switch e := event.(type) {
		case session.SupplyAuthorized:
			w.open[p.Stream] = w.grant(at, e)
		case session.TicketIssued:
			g, ok := w.open[p.Stream]
			delete(w.open, p.Stream)
			switch {
			case at < w.from:
			case !ok:
				return fmt.Errorf("%w: %s was billed without a grant", eventlog.ErrDamaged, p.Stream)
			default:
				w.add(g, 1, e.Energy, e.Amount, domain.Cost(e.Energy, g.otherwise))
			}
		case session.TicketRevised:
			g, closed, err := w.former(ctx, p.Stream)
			if err != nil {
				return err
			}
			if closed >= w.from {
				w.add(g, 0, e.EnergyAfter-e.EnergyBefore, e.AmountDifference, domain.Cost(e.EnergyAfter, g.otherwise)-domain.Cost(e.EnergyBefore, g.otherwise))
			}
		}
	}
	return nil
}

func (w *whatIf) add(g granted, sessions int, energy domain.MilliwattHours, billed, otherwise domain.MicroEuros) {
	w.sums.Total.add(sessions, energy, billed, otherwise)
	point, driver := w.sums.Points[g.point], w.sums.Drivers[g.driver]
	point.add(sessions, energy, billed, otherwise)
	driver.add(sessions, energy, billed, otherwise)
	w.sums.Points[g.point], w.sums.Drivers[g.driver] = point, driver
}

// former reads a session that was closed before once more: its grant, and when it was closed.
func (w *whatIf) former(ctx context.Context, stream eventlog.Stream) (g granted, closed domain.UnixMillis, err error) {
	for commit, err := range w.log.Read(ctx, stream, 1) {
		if err != nil {
			return g, 0, fmt.Errorf("read %s: %w", stream, err)
		}
		if commit.Parts[0].Kind == eventlog.Sample {
			continue
		}
		part, err := w.Decode(commit.Parts[0])
		if err != nil {
			return g, 0, err
		}
		for _, event := range part.Events {
			switch e := event.(type) {
			case session.SupplyAuthorized:
				g = w.grant(commit.At, e)
			case session.TicketIssued:
				return g, commit.At, nil
			}
		}
	}
	return g, 0, fmt.Errorf("%w: %s has a revision and no ticket", eventlog.ErrDamaged, stream)
}
