package network

import (
	"fmt"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// pointMessage is what people read of an event that was decided at an instant, given the
// point before it; without text where the event says nothing new to them.
func pointMessage(p *point, at domain.UnixMillis, event chargingpoint.Event) Message {
	id := p.ID()
	switch e := event.(type) {
	case chargingpoint.PointRegistered:
		verb := "registered"
		if p.Known() {
			verb = "registered anew"
		}
		return Message{Text: fmt.Sprintf("%s %s: %s, %s EUR/kWh", id, verb, e.Location, Price(e.Price))}
	case chargingpoint.PriceSet:
		return Message{Text: fmt.Sprintf("%s costs %s EUR/kWh from %s on%s%s", id, Price(e.Price), from(e.From), by(e.By), replaced(p, at, e.From))}
	case chargingpoint.PriceHandedBack:
		when := "again"
		if e.From != 0 {
			when = "again from " + from(e.From) + " on"
		}
		return Message{Text: fmt.Sprintf("%s costs what it says itself %s%s%s", id, when, by(e.By), replaced(p, at, e.From))}
	case chargingpoint.PriceTookEffect:
		return Message{Text: fmt.Sprintf("%s costs %s EUR/kWh from now on, as scheduled", id, Price(p.PriceAt(e.From)))}
	case chargingpoint.PointConnected:
		return Message{Text: fmt.Sprintf("%s connected", id)}
	case chargingpoint.PointDisconnected:
		return Message{Level: Warning, Text: fmt.Sprintf("%s disconnected: its Monitor was not heard for %s", id, e.Lease)}
	case chargingpoint.FaultReported:
		return Message{Level: Alert, Text: fmt.Sprintf("%s broken", id)}
	case chargingpoint.FaultCleared:
		if h := p.Health(); h.Known && !h.Healthy {
			return Message{Text: fmt.Sprintf("%s works again", id)}
		}
	case chargingpoint.TakenOutOfService:
		return Message{Level: Warning, Text: fmt.Sprintf("%s out of order%s", id, by(e.By))}
	case chargingpoint.ReturnedToService:
		return Message{Text: fmt.Sprintf("%s back in service%s", id, by(e.By))}
	}
	return Message{}
}

// sessionMessage is what people read of an event, given the session after it; without
// text where the event says nothing new to them.
func sessionMessage(r *record, event session.Event) Message {
	request := r.Request()
	driver, point := request.Driver, request.Point
	switch e := event.(type) {
	case session.SupplyAuthorized:
		return Message{Text: fmt.Sprintf("%s may supply at %s for %s EUR/kWh", driver, point, Price(e.Price))}
	case session.SupplyRefused:
		return Message{Level: Warning, Text: fmt.Sprintf("%s refused at %s: %s", driver, point, e.Reason)}
	case session.SupplyStarted:
		return Message{Text: fmt.Sprintf("%s supplies at %s", driver, point)}
	case session.EndDecided:
		return Message{Text: fmt.Sprintf("%s at %s is ended: %s", driver, point, e.Cause)}
	case session.TicketIssued:
		return Message{Text: fmt.Sprintf("ticket %s at %s: %s kWh, %s EUR, %s", driver, point,
			e.Energy, e.Amount, e.Reason)}
	case session.TicketRevised:
		return Message{Level: Warning, Text: fmt.Sprintf("ticket %s at %s corrected: %s kWh, %s EUR, %s EUR more, for a late %s", driver, point,
			e.EnergyAfter, e.AmountAfter, e.AmountDifference, e.Reason)}
	}
	return Message{}
}

// from is when a price counts; 0: at once.
func from(at domain.UnixMillis) string {
	if at == 0 {
		return "now"
	}
	return at.Time().Format("2006-01-02 15:04:05Z")
}

// replaced tells how many changes of the price that were to come a change from an instant
// on replaces; empty where it is none.
func replaced(p *point, at, from domain.UnixMillis) string {
	n := 0
	for _, c := range p.Scheduled() {
		if c.From > at && c.From >= from {
			n++
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return ", in place of a change that was scheduled"
	}
	return fmt.Sprintf(", in place of %d changes that were scheduled", n)
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return ", by " + who
}
