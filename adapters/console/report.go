package console

import (
	"fmt"
	"slices"
	"strings"

	"evcharging/application/network"
	"evcharging/domain"
)

// Points lists points, a line each.
func Points(points []network.Point) string {
	if len(points) == 0 {
		return "no points"
	}
	rows := [][]string{{"POINT", "STATE", "EUR/KWH", "SUPPLIES", "LOCATION"}}
	for _, p := range points {
		price, supplies := network.Price(p.Price), ""
		if p.State == network.Unreadable {
			price = ""
		}
		if s := p.Supply; s != nil && s.Status == network.Unreadable {
			supplies = clean(string(s.Driver))
		} else if s != nil {
			supplies = fmt.Sprintf("%s %s kW %s kWh %s EUR", clean(string(s.Driver)), network.KW(s.Power, 1), network.KWh(s.Energy, 3), network.EUR(s.Amount))
		}
		rows = append(rows, []string{clean(string(p.ID)), string(p.State), price, supplies, clean(p.Location)})
	}
	return table(rows)
}

// Prices lists the changes of a point's price, the one that was decided last first.
func Prices(changes []network.PriceChange) string {
	if len(changes) == 0 {
		return "no prices"
	}
	rows := [][]string{{"FROM", "EUR/KWH", "BY", "DECIDED", ""}}
	for _, c := range slices.Backward(changes) {
		price, by, note := network.Price(c.Price), clean(c.By), ""
		switch c.Kind {
		case network.PriceAuto:
			price = "auto"
		case network.PriceOwn:
			by = "the point"
		}
		switch {
		case c.ReplacedAt != 0:
			note = "replaced " + seconds(c.ReplacedAt) + ", before it counted"
		case c.Covered:
			note = "an operator's price stood over it"
		}
		rows = append(rows, []string{seconds(c.From), price, by, seconds(c.DecidedAt), note})
	}
	return table(rows)
}

// Sessions lists sessions, a line each.
func Sessions(sessions []network.Session) string {
	if len(sessions) == 0 {
		return "no sessions"
	}
	asked := "GRANTED"
	if slices.ContainsFunc(sessions, func(s network.Session) bool { return s.Refusal != "" }) {
		asked = "ASKED"
	}
	rows := [][]string{{"SESSION", "POINT", "DRIVER", "STATUS", asked, "KWH", "EUR", "REASON"}}
	for _, s := range sessions {
		reason := string(s.Cause)
		if s.Ticket != nil {
			reason = s.Ticket.Reason
		}
		if s.Refusal != "" {
			reason = s.Refusal
		}
		energy, amount := network.KWh(s.Energy, 3), network.EUR(s.Amount)
		if s.Status == network.Unreadable {
			energy, amount = "", ""
		}
		rows = append(rows, []string{
			clean(string(s.ID)), clean(string(s.Point)), clean(string(s.Driver)), string(s.Status), seconds(s.AskedAt()),
			energy, amount, clean(reason),
		})
	}
	return table(rows)
}

// Session shows a session with its exact figures, and its bill where there is one.
func Session(s network.Session) string {
	rows := [][]string{
		{"session", clean(string(s.ID))},
		{"status", string(s.Status)},
		{"driver", clean(string(s.Driver))},
		{"point", clean(string(s.Point))},
	}
	add := func(name, value string, there bool) {
		if there {
			rows = append(rows, []string{name, value})
		}
	}
	add("request", clean(string(s.Request)), s.Request != "")
	add("origin", clean(s.Origin), s.Origin != "")
	if s.Refusal != "" {
		return table(append(rows, []string{"refused", seconds(s.AskedAt()) + ", " + clean(s.Refusal)}))
	}
	add("granted", seconds(s.GrantedAt)+", for "+network.Price(s.Price)+" EUR/kWh", true)
	add("ended by", "Central: "+string(s.Cause), s.Cause != "")
	if s.Ticket != nil {
		return table(append(rows, ticketRows(s)...))
	}
	add("started", seconds(s.StartedAt), s.StartedAt != 0)
	add("reported", seconds(s.ReportedAt), s.ReportedAt != 0)
	add("power", s.Power.String()+" kW", true)
	add("energy", s.Energy.String()+" kWh", true)
	add("amount", s.Amount.String()+" EUR", true)
	return table(rows)
}

// Ticket shows a session's bill with its exact figures, or how far the session is.
func Ticket(s network.Session) string {
	t := s.Ticket
	if t == nil {
		return fmt.Sprintf("%s has no ticket yet: %s at %s is %s, %s kWh and %s EUR so far",
			clean(string(s.ID)), clean(string(s.Driver)), clean(string(s.Point)), strings.ToLower(string(s.Status)), s.Energy, s.Amount)
	}
	rows := [][]string{
		{"ticket", string(t.ID)},
		{"session", clean(string(s.ID))},
		{"driver", clean(string(s.Driver))},
		{"point", clean(string(s.Point))},
	}
	return table(append(rows, ticketRows(s)[1:]...))
}

// ticketRows are what a ticket says of a supply, and its revisions.
func ticketRows(s network.Session) [][]string {
	t := s.Ticket
	rows := [][]string{
		{"ticket", string(t.ID)},
		{"started", seconds(t.StartedAt)},
		{"ended", seconds(t.EndedAt)},
		{"energy", t.Energy.String() + " kWh"},
		{"price", network.Price(t.Price) + " EUR/kWh"},
		{"amount", t.Amount.String() + " EUR"},
		{"reason", clean(t.Reason)},
	}
	for _, r := range s.Revisions {
		rows = append(rows, []string{fmt.Sprintf("revision %d", r.After.Revision), fmt.Sprintf("%s EUR more, %s, for a late %s; before it %s kWh, %s EUR",
			r.Difference(), seconds(r.At), clean(r.Reason), r.Before.Energy, r.Before.Amount)})
	}
	return rows
}

// seconds is an instant in UTC, to the second.
func seconds(at domain.UnixMillis) string {
	if at == 0 {
		return "-"
	}
	return at.Time().Format("2006-01-02 15:04:05Z")
}
