package endtoend

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// While Central is dead the Engines go on. When it is back it knows everything again, takes
// in what was reported meanwhile, issues the tickets that are due, once each, has points
// disconnected until it hears them, and stops nobody's supply.
func TestACentralThatIsKilledInRunningSuppliesStopsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	w.point(c, "CP-FULL", "--battery", "0.02")
	goesOn := w.point(c, "CP-GOES-ON")
	unheard := w.point(c, "CP-UNHEARD")
	plug := w.point(c, "CP-PLUG", "--plug", "manual")
	w.send("ev.register", `{"id":"CP-NO-LEASE"}`)
	w.send("ev.health", `{"id":"CP-NO-LEASE","status":"OK"}`)
	c.shows("CP-NO-LEASE", "ACTIVATED")
	w.listen("ev.supply.telemetry", "ev.supply.done", "ev.supply.auth", "ev.supply.start")

	drive := func(driver, cp string) *process { return w.run("ev-driver", "--driver-id", driver, "--cp", cp) }
	granted := drive("D-PLUG", "CP-PLUG")
	plug.engine.says("waiting for the plug")
	running, alone := drive("D-GOES-ON", "CP-GOES-ON"), drive("D-UNHEARD", "CP-UNHEARD")
	w.supplying("D-GOES-ON", 1)
	w.supplying("D-UNHEARD", 1)
	full := drive("D-FULL", "CP-FULL")
	w.supplying("D-FULL", 1)

	unheard.monitor.kill()
	w.committed("ev-central.ev.health", "ev.health") // else its last word comes again, and counts
	c.kill()
	before := len(w.all("ev.supply.telemetry", map[string]any{"driver_id": "D-GOES-ON"}))
	refused := drive("D-LATE", "CP-GOES-ON")
	done := asSent(t, w.hears("ev.supply.done", map[string]any{"driver_id": "D-FULL"}))
	w.supplying("D-GOES-ON", before+3)
	refused.says("Central does not answer")
	c.start()

	// Whoever is not heard is disconnected, and keeps its supply as long as its lease may run.
	if p := c.shown("CP-UNHEARD"); p["state"] != "DISCONNECTED" || p["not_heard_since_start"] != true || p["supply"] == nil {
		t.Errorf("a point that was not heard is shown as %v", p)
	}
	// Whoever gives no lease keeps its last word, and is granted on it.
	if state := c.shown("CP-NO-LEASE")["state"]; state != "ACTIVATED" {
		t.Errorf("a point without a lease is shown as %v", state)
	}
	w.send("ev.supply.request", `{"driver_id":"D-NO-LEASE","cp_id":"CP-NO-LEASE"}`)
	w.hears("ev.supply.auth", map[string]any{"driver_id": "D-NO-LEASE", "authorized": true})
	start := asSent(t, w.hears("ev.supply.start", map[string]any{"driver_id": "D-NO-LEASE"}))
	w.send("ev.supply.done", `{"session_id":"`+string(start.Session)+`","cp_id":"CP-NO-LEASE","driver_id":"D-NO-LEASE","total_kwh":0.5,"total_eur":0.15,"reason":"FINISHED"}`)
	c.shows("CP-NO-LEASE", "ACTIVATED")
	unheard.startMonitor()
	c.shows("CP-UNHEARD", "SUPPLYING")
	c.shows("CP-GOES-ON", "SUPPLYING")
	c.shows("CP-PLUG", "SUPPLYING")
	if status := full.wait(patience); status != 0 {
		t.Errorf("the driver whose supply was done meanwhile ended with status %d", status)
	}
	if status := refused.wait(patience); status != 1 {
		t.Errorf("the driver of an occupied point ended with status %d", status)
	}
	plug.engine.types("plug")
	w.supplying("D-PLUG", 1)
	for _, p := range []*point{goesOn, unheard, plug} {
		p.engine.types("unplug")
	}
	for _, driver := range []*process{running, alone, granted} {
		if status := driver.wait(patience); status != 0 {
			t.Errorf("%s ended with status %d", driver.name, status)
		}
	}

	for _, e := range c.log() {
		switch e := e.Event.(type) {
		case session.EndDecided, chargingpoint.StopOrdered, chargingpoint.PointDisconnected:
			t.Errorf("Central has decided %T %+v", e, e)
		}
	}
	a := w.audit(c)
	if s := a.session("D-FULL"); s.energy() != 20_000 || s.energy() != w.kWh(done.Total) || s.reason() != "FINISHED" {
		t.Errorf("a battery of 0.02 kWh was filled, and the ticket is %+v", s.tickets)
	}
	if n := len(a.stories); n != 6 {
		t.Errorf("there are %d sessions", n)
	}
}

// An authorization that no Engine takes up expires: a ticket with zeros, a stop with a new
// number, and the point is free.
func TestAGrantThatNobodyTakesUpExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central("--take-up", "2s")
	p := w.point(c, "CP-PLUG", "--plug", "manual")
	w.send("ev.register", `{"id":"CP-NOBODY"}`)
	w.send("ev.health", `{"id":"CP-NOBODY","status":"OK"}`)
	c.shows("CP-NOBODY", "ACTIVATED")
	w.listen("ev.supply.start", "ev.commands", "ev.supply.ticket", "ev.supply.done", "ev.supply.telemetry")

	for _, cp := range []string{"CP-NOBODY", "CP-PLUG"} {
		driver := w.run("ev-driver", "--driver-id", "D-"+cp, "--cp", cp)
		start := asSent(t, w.hears("ev.supply.start", map[string]any{"cp_id": cp}))
		ticket := asSent(t, w.hears("ev.supply.ticket", map[string]any{"session_id": string(start.Session)}))
		if ticket.Reason != "EXPIRED" || w.kWh(ticket.Total) != 0 || w.eur(ticket.Amount) != 0 {
			t.Errorf("the ticket is %s", ticket.Value)
		}
		stop := asSent(t, w.hears("ev.commands", map[string]any{"cp_id": cp, "cmd": "STOP_SUPPLY", "session_id": string(start.Session)}))
		if stop.Order <= start.Order {
			t.Errorf("the stop has the number %d, the start %d", stop.Order, start.Order)
		}
		if status := driver.wait(patience); status != 1 || !strings.Contains(driver.output(), "EXPIRED") {
			t.Errorf("the driver ended with status %d:\n%s", status, driver.output())
		}
	}
	// The Engine that waited for a plug waits no more.
	w.hears("ev.supply.done", map[string]any{"cp_id": "CP-PLUG", "reason": "STOP_BY_CENTRAL"})
	c.free("CP-PLUG")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-PLUG")
	eventually(t, "the next driver waits for the plug", func() bool {
		return strings.Count(p.engine.output(), "waiting for the plug") == 2
	})
	p.engine.types("plug")
	w.supplying("D-001", 1)
	p.engine.types("unplug")
	if status := driver.wait(patience); status != 0 {
		t.Errorf("the driver ended with status %d", status)
	}
	c.shows("CP-PLUG", "ACTIVATED")
	w.audit(c)
}

// What an operator has stopped stays out of order over restarts of anything.
func TestOutOfOrderStaysOverRestartsOfAnything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.point(c, "CP-001")
	w.listen("ev.supply.telemetry")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	w.supplying("D-001", 1)
	if stop := w.run("ev-central", "stop", "CP-001"); stop.wait(patience) != 0 {
		t.Fatalf("the stop failed: %s", stop.output())
	}
	if status := driver.wait(patience); status != 0 || !strings.Contains(driver.output(), "STOP_BY_CENTRAL") {
		t.Errorf("the driver ended with status %d:\n%s", status, driver.output())
	}
	out := func(after string) {
		t.Helper()
		c.shows("CP-001", "OUT_OF_ORDER")
		p.engine.types("status")
		p.engine.says("CP-001, out of order")
		refused := w.run("ev-driver", "--driver-id", "D-REFUSED", "--cp", "CP-001")
		if status := refused.wait(patience); status != 1 || !strings.Contains(refused.output(), "the point is out of order") {
			t.Errorf("after %s a driver is told with status %d: %s", after, status, refused.output())
		}
	}
	out("the stop")
	p.engine.kill()
	c.shows("CP-001", "BROKEN")
	p.startEngine()
	out("a restart of the Engine")
	p.monitor.kill()
	p.startMonitor()
	out("a restart of the Monitor")
	c.kill()
	c.start()
	out("a restart of Central")
	c.kill()
	p.engine.kill()
	p.monitor.kill()
	p.startMonitor()
	p.startEngine()
	c.start()
	out("a restart of everything")

	if resume := w.run("ev-central", "resume", "CP-001"); resume.wait(patience) != 0 {
		t.Fatalf("the resume failed: %s", resume.output())
	}
	c.free("CP-001")
	driver = w.run("ev-driver", "--driver-id", "D-002", "--cp", "CP-001")
	w.supplying("D-002", 1)
	p.engine.types("unplug")
	if status := driver.wait(patience); status != 0 {
		t.Errorf("the driver ended with status %d", status)
	}
	c.shows("CP-001", "ACTIVATED")
	a := w.audit(c)
	var service []string
	for _, e := range c.log() {
		switch e.Event.(type) {
		case chargingpoint.TakenOutOfService, chargingpoint.ReturnedToService:
			service = append(service, fmt.Sprintf("%T", e.Event))
		}
	}
	if want := []string{"chargingpoint.TakenOutOfService", "chargingpoint.ReturnedToService"}; !slices.Equal(service, want) {
		t.Errorf("the log has %v", service)
	}
	if s := a.session("D-001"); s.reason() != "STOP_BY_CENTRAL" || s.done == nil || s.energy() != s.done.EnergyReported {
		t.Errorf("the ticket of the stopped supply is %+v", s.tickets)
	}
}
