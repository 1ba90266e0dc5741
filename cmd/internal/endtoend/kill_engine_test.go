package endtoend

import (
	"strings"
	"testing"

	"evcharging/domain"
	"evcharging/domain/session"
)

// supplying waits until the world has heard so many samples of a driver's supply, which it
// must be listening for; it gives the last.
func (w *world) supplying(driver string, samples int) sent {
	w.t.Helper()
	var all []record
	eventually(w.t, driver+" is supplied", func() bool {
		all = w.all("ev.supply.telemetry", map[string]any{"driver_id": driver})
		return len(all) >= samples
	})
	return asSent(w.t, all[len(all)-1])
}

// An Engine that is killed in a supply is red, and back again it reports what its journal
// has: the ticket bills exactly that.
func TestAnEngineKilledInASupplyReportsItFromItsJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.point(c, "CP-001")
	w.listen("ev.supply.telemetry", "ev.supply.done", "ev.cp.state")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	w.supplying("D-001", 3)

	p.engine.kill()
	c.shows("CP-001", "BROKEN")
	w.hears("ev.cp.state", map[string]any{"id": "CP-001", "state": "BROKEN"})
	journalled := w.journal("CP-001").Last
	p.startEngine()
	if status := driver.wait(patience); status != 1 {
		t.Errorf("a supply that ended in a fault has failed; the driver ended with status %d", status)
	}
	c.shows("CP-001", "ACTIVATED")

	s := w.audit(c).session("D-001")
	if s.done == nil || s.done.Reason != "RECOVERED" || s.done.EnergyReported != journalled.Energy {
		t.Errorf("the journal's last sample has %s kWh; the final report is %+v", journalled.Energy, s.done)
	}
	if s.energy() != journalled.Energy || s.energy() == 0 || s.reason() != "KO" || len(s.revisions) > 0 {
		t.Errorf("the journal's last sample has %s kWh; the ticket is %+v, revised %v", journalled.Energy, s.tickets[0], s.revisions)
	}
	for _, text := range []string{s.energy().String() + " kWh", s.amount().String() + " EUR", "KO"} {
		if !strings.Contains(driver.output(), text) {
			t.Errorf("the driver's screen has no %q:\n%s", text, driver.output())
		}
	}
}

// An Engine that was to wait for a plug and is killed has supplied nothing, and says so.
func TestAnEngineKilledBeforeThePlugReportsZeros(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.point(c, "CP-001", "--plug", "manual")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	p.engine.says("waiting for the plug")

	p.engine.kill()
	p.startEngine()
	if status := driver.wait(patience); status != 1 {
		t.Errorf("the driver ended with status %d", status)
	}
	c.shows("CP-001", "ACTIVATED")
	s := w.audit(c).session("D-001")
	if s.done == nil || s.done.Reason != "RECOVERED" || s.energy() != 0 || s.amount() != 0 {
		t.Errorf("the final report is %+v, the ticket %+v", s.done, s.tickets)
	}
}

// An Engine that comes back when its session has been closed without it has more to bill
// than Central knew: the ticket is revised upwards, and the first one stays.
func TestAnEngineThatComesBackTooLateHasItsTicketRevised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central("--final-report", "2s")
	p := w.point(c, "CP-001")
	w.listen("ev.supply.telemetry", "ev.supply.ticket")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	known := w.supplying("D-001", 2)
	// What is measured while the broker is away only the journal has.
	w.stopBroker()
	eventually(t, "the Engine has measured more than Central knows", func() bool {
		return w.journal("CP-001").Last.Seq >= known.Seq+4
	})
	p.engine.kill()
	w.restartBroker()

	first := w.hears("ev.supply.ticket", map[string]any{"driver_id": "D-001", "revision": 0.0})
	if status := driver.wait(patience); status != 1 {
		t.Errorf("the driver ended with status %d", status)
	}
	p.startEngine()
	w.hears("ev.supply.ticket", map[string]any{"driver_id": "D-001", "revision": 1.0})
	c.shows("CP-001", "ACTIVATED")

	s := w.audit(c).session("D-001")
	last := s.samples[len(s.samples)-1]
	if s.tickets[0].Energy != last.Energy || w.kWh(asSent(t, first).Total) != last.Energy {
		t.Errorf("the last report that Central had says %s kWh; the first ticket is %+v", last.Energy, s.tickets[0])
	}
	memory := w.journal("CP-001")
	done, _ := memory.Done(s.id)
	if len(s.revisions) != 1 || s.revisions[0].EnergyBefore != last.Energy || s.revisions[0].EnergyAfter != done.Energy || done.Energy <= last.Energy {
		t.Errorf("the journal has %s kWh; the revisions are %+v", done.Energy, s.revisions)
	}
}

// A session whose Engine never comes back is closed on the last report; the point stays red.
func TestAnEngineThatNeverComesBackIsBilledOnItsLastReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central("--final-report", "2s")
	p := w.point(c, "CP-001")
	w.listen("ev.supply.telemetry")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	w.supplying("D-001", 3)
	p.engine.kill()
	if status := driver.wait(patience); status != 1 {
		t.Errorf("the driver ended with status %d", status)
	}
	c.shows("CP-001", "BROKEN")
	if next := w.run("ev-driver", "--driver-id", "D-002", "--cp", "CP-001"); next.wait(patience) != 1 || !strings.Contains(next.output(), "the point is broken") {
		t.Errorf("a broken point is asked: %s", next.output())
	}

	tickets := c.tickets()
	if len(tickets) != 1 {
		t.Fatalf("there are %d tickets", len(tickets))
	}
	var last domain.MilliwattHours
	for _, e := range c.log() {
		if sample, ok := e.Event.(session.MeterValueRecorded); ok {
			last = sample.Energy
		}
	}
	for _, ticket := range tickets {
		if ticket.Energy != last || last == 0 || ticket.Reason != "KO" {
			t.Errorf("the last report says %s kWh; the ticket is %+v", last, ticket)
		}
	}
}
