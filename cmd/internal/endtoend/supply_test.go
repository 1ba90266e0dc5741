package endtoend

import (
	"fmt"
	"strings"
	"testing"

	"evcharging/domain"
	"evcharging/domain/session"
)

func TestASupplyFromRequestToTicketIsExact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	w.point(c, "CP-001", "--battery", "0.05", "--power", "20")
	w.listen("ev.supply.ticket", "ev.supply.done", "ev.supply.telemetry")

	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	if status := driver.wait(patience); status != 0 {
		t.Fatalf("the driver ended with status %d", status)
	}

	var granted session.SupplyAuthorized
	var last session.MeterValueRecorded
	var ended session.SupplyEnded
	var ticket session.TicketIssued
	for _, e := range c.log() {
		switch e := e.Event.(type) {
		case session.SupplyAuthorized:
			granted = e
		case session.MeterValueRecorded:
			last = e
		case session.SupplyEnded:
			ended = e
		case session.TicketIssued:
			ticket = e
		}
	}
	if ended.EnergyReported != 50_000 || ticket.Energy != 50_000 || last.Energy > ticket.Energy {
		t.Errorf("a battery of 0.05 kWh is 50000 mWh: done has %d, the ticket %d, the last sample %d", ended.EnergyReported, ticket.Energy, last.Energy)
	}
	if ticket.Price != granted.Price || ticket.Amount != domain.Cost(ticket.Energy, granted.Price) || ticket.Amount != 15_000 {
		t.Errorf("0.05 kWh at 0.30 EUR/kWh is 15000 µEUR: the ticket has %d at %d", ticket.Amount, ticket.Price)
	}
	sent := w.hears("ev.supply.ticket", map[string]any{"ticket_id": string(ticket.Ticket)})
	for _, text := range []string{`"total_kwh":0.05`, `"total_eur":0.015`, `"price":0.3`} {
		if !strings.Contains(string(sent.Value), text) {
			t.Errorf("the ticket on the wire has no %s: %s", text, sent.Value)
		}
	}
	for _, text := range []string{"0.05 kWh", "0.015 EUR"} {
		if !strings.Contains(driver.output(), text) {
			t.Errorf("the driver's screen has no %q:\n%s", text, driver.output())
		}
	}
}

func TestOfTwoHundredDriversAtTheSameInstantOneIsGranted(t *testing.T) {
	t.Parallel()
	const drivers = 200
	rounds := 10
	if realServers() {
		rounds = 2 // each answer is durable
	}
	w := newWorld(t)
	c := w.central()
	w.listen("ev.supply.auth", "ev.supply.start")
	for round := range rounds {
		cp := fmt.Sprintf("CP-%d", round)
		w.send("ev.register", fmt.Sprintf(`{"id":%q}`, cp))
		w.send("ev.health", fmt.Sprintf(`{"id":%q,"status":"OK"}`, cp))
		c.shows(cp, "ACTIVATED")
		w.askAll(cp, drivers)
		eventually(t, "all are answered", func() bool { return len(w.all("ev.supply.auth", map[string]any{"cp_id": cp})) == drivers })
		granted := w.all("ev.supply.auth", map[string]any{"cp_id": cp, "authorized": true})
		refused := w.all("ev.supply.auth", map[string]any{"cp_id": cp, "authorized": false, "reason": "OCCUPIED"})
		if len(granted) != 1 || len(refused) != drivers-1 {
			t.Fatalf("round %d: %d granted, %d refused as occupied", round, len(granted), len(refused))
		}
		start := w.hears("ev.supply.start", map[string]any{"cp_id": cp})
		if start.fields()["driver_id"] != granted[0].fields()["driver_id"] {
			t.Errorf("the start is for %v, the grant for %v", start.fields()["driver_id"], granted[0].fields()["driver_id"])
		}
	}
}
