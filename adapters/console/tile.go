package console

import (
	"time"

	"github.com/charmbracelet/x/ansi"

	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// A tile is tileHeight lines of at least minTile and at most maxTile cells.
const (
	tileHeight = 4
	minTile    = 26
	maxTile    = 42
)

// tile draws a point: its id and price, its location, its state and driver, and what
// it supplies or since when it is so.
func (s *screen) tile(p network.Point, width int) [tileHeight]string {
	inner := width - 2
	edge, state, mark := s.look.edge[p.State], s.look.state[p.State], signs[p.State]

	price := network.Price(p.Price) + " EUR/kWh"
	if ansi.StringWidth(price) > inner/2+1 {
		price = network.Price(p.Price)
	}
	if p.PriceSet {
		price = "*" + price // an operator's, not the point's own
	}
	if p.State == network.Unreadable {
		price = ""
	}
	id := cut(clean(string(p.ID)), inner-ansi.StringWidth(price)-1)
	head := s.look.strong.Render(id) + blank(inner-ansi.StringWidth(id)-ansi.StringWidth(price)) + s.look.dim.Render(price)

	word := mark.glyph + " " + mark.word
	driver := ""
	if p.Supply != nil {
		driver = cut(clean(string(p.Supply.Driver)), inner-ansi.StringWidth(word)-1)
	}
	line := state.Render(word) + blank(inner-ansi.StringWidth(word)-ansi.StringWidth(driver)) + driver

	return [tileHeight]string{
		edge.Render("╭") + " " + head,
		edge.Render("│") + " " + s.look.dim.Render(fit(clean(p.Location), inner)),
		edge.Render("│") + " " + line,
		edge.Render("╰") + " " + s.tileFoot(p, inner),
	}
}

// tileFoot is the last line of a tile.
func (s *screen) tileFoot(p network.Point, width int) string {
	switch supply := p.Supply; {
	case supply != nil && supply.Status == session.Supplying:
		return figures(*supply, width)
	case supply != nil && supply.Status == session.Ending:
		return s.look.dim.Render(apart("ending", network.KWh(supply.Energy, 2)+" kWh "+network.EUR(supply.Amount)+" EUR", width))
	case p.State == network.Unreadable, supply != nil && supply.Status == network.Unreadable:
		return s.look.dim.Render(fit("its log can't be read", width))
	case supply != nil:
		return s.look.dim.Render(fit("waits to charge", width))
	case p.NotHeard:
		return s.look.dim.Render(fit("not heard since start", width))
	case p.State == chargingpoint.Activated:
		return blank(width)
	}
	return s.look.dim.Render(fit("since "+s.clock(p.Since), width))
}

// figures sets power, energy and amount apart over a width, with as many decimals as it has room for.
func figures(supply network.Session, width int) string {
	amount := network.EUR(supply.Amount) + " EUR"
	for _, decimals := range []struct{ power, energy int }{{1, 3}, {1, 2}, {0, 2}, {0, 1}, {0, 0}} {
		power := network.KW(supply.Power, decimals.power) + " kW"
		energy := network.KWh(supply.Energy, decimals.energy) + " kWh"
		free := width - len(power) - len(energy) - len(amount)
		if free >= 2 {
			return power + blank(free/2) + energy + blank(free-free/2) + amount
		}
	}
	return apart(network.KWh(supply.Energy, 0)+" kWh", amount, width)
}

// clock is an instant as people read it: the time of this day, or the day.
func (s *screen) clock(at domain.UnixMillis) string {
	t, now := at.Time().In(s.zone), s.status.Now.Time().In(s.zone)
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format(time.TimeOnly)
	}
	return t.Format("2 Jan")
}
