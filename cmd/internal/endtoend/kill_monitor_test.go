package endtoend

import (
	"strings"
	"testing"
	"time"

	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// shortLease starts an Engine and a Monitor with the shortest lease, and waits until Central
// has the point free.
func (w *world) shortLease(c *central, id string, engineArgs ...string) *point {
	w.t.Helper()
	p := &point{w: w, id: id, port: freePort(w.t), engineArgs: engineArgs, central: c}
	p.startEngine()
	p.startMonitor("--lease", "3s")
	c.shows(id, "ACTIVATED")
	return p
}

// free waits until a point is shown free and no stop holds it any more.
func (c *central) free(id string) {
	c.w.t.Helper()
	c.shows(id, "ACTIVATED")
	var held domain.UnixMillis
	for _, e := range c.log() {
		if e.Stream != "point-"+eventlog.Stream(id) {
			continue
		}
		switch e := e.Event.(type) {
		case chargingpoint.StopOrdered:
			held = max(held, e.HoldUntil)
		case chargingpoint.TakenOutOfService:
			held = max(held, e.HoldUntil)
		}
	}
	eventually(c.w.t, id+" is not held any more", func() bool { return domain.At(time.Now()) >= held })
}

// A point whose Monitor is gone is grey: its supply is stopped and billed, and nothing is
// granted, not even at the point itself, until a Monitor is there again.
func TestAMonitorThatIsKilledTakesItsPointAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.shortLease(c, "CP-001")
	w.listen("ev.supply.telemetry", "ev.supply.start", "ev.commands", "ev.supply.done")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	w.supplying("D-001", 2)

	p.monitor.kill()
	c.shows("CP-001", "DISCONNECTED")
	if status := driver.wait(patience); status != 1 {
		t.Errorf("the driver ended with status %d", status)
	}
	start := asSent(t, w.hears("ev.supply.start", map[string]any{"driver_id": "D-001"}))
	stop := asSent(t, w.hears("ev.commands", map[string]any{"cmd": "STOP_SUPPLY", "session_id": string(start.Session)}))
	if stop.Order <= start.Order {
		t.Errorf("the stop has the number %d, the start %d", stop.Order, start.Order)
	}
	done := asSent(t, w.hears("ev.supply.done", map[string]any{"session_id": string(start.Session)}))
	if done.Reason != "STOP_BY_CENTRAL" {
		t.Errorf("the Engine reports %s", done.Value)
	}

	refused := w.run("ev-driver", "--driver-id", "D-002", "--cp", "CP-001")
	if status := refused.wait(patience); status != 1 || !strings.Contains(refused.output(), "the point is disconnected") {
		t.Errorf("a driver asks a point without a Monitor: status %d, %s", status, refused.output())
	}
	p.engine.types("request D-003")
	p.engine.says("Central has refused the supply to D-003: DISCONNECTED")

	p.startMonitor("--lease", "3s")
	c.free("CP-001")
	served := w.run("ev-driver", "--driver-id", "D-004", "--cp", "CP-001")
	w.supplying("D-004", 1)
	p.engine.types("unplug")
	if status := served.wait(patience); status != 0 {
		t.Errorf("the driver ended with status %d", status)
	}
	c.shows("CP-001", "ACTIVATED")

	a := w.audit(c)
	if s := a.session("D-001"); s.cause != "DISCONNECTED" || s.reason() != "DISCONNECTED" || s.energy() != w.kWh(done.Total) || s.energy() == 0 {
		t.Errorf("the Engine reports %s kWh; the ticket is %+v", done.Total, s.tickets)
	}
}
