//go:build unix

package endtoend

import (
	"strings"
	"syscall"
	"testing"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// A Central that was suspended has heard nobody meanwhile: nobody's lease has run out.
func TestACentralThatWasSuspendedStopsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central("--silence", "5s")
	points := []*point{w.shortLease(c, "CP-001"), w.shortLease(c, "CP-002"), w.shortLease(c, "CP-003")}
	w.listen("ev.supply.telemetry")
	var drivers []*process
	for _, p := range points {
		drivers = append(drivers, w.run("ev-driver", "--driver-id", "D-"+p.id, "--cp", p.id))
		w.supplying("D-"+p.id, 1)
	}
	for _, seconds := range []int64{4, 8} {
		c.signal(syscall.SIGSTOP)
		w.measures("CP-001", seconds)
		c.signal(syscall.SIGCONT)
		w.measures("CP-001", 3)
		for _, e := range c.log() {
			switch e := e.Event.(type) {
			case session.EndDecided, chargingpoint.StopOrdered, chargingpoint.PointDisconnected:
				t.Errorf("Central has decided %T %+v", e, e)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, p := range points {
		p.engine.types("unplug")
	}
	for _, driver := range drivers {
		if status := driver.wait(patience); status != 0 {
			t.Errorf("%s ended with status %d", driver.name, status)
		}
	}
	w.audit(c)
}

// A driver that is killed before its answer gets it when it comes back.
func TestADriverThatIsKilledBeforeItsAnswerGetsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.point(c, "CP-001")
	w.listen("ev.supply.request", "ev.supply.auth", "ev.supply.telemetry")
	c.signal(syscall.SIGSTOP)
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	w.hears("ev.supply.request", map[string]any{"driver_id": "D-001"})
	driver.kill()
	c.signal(syscall.SIGCONT)
	w.hears("ev.supply.auth", map[string]any{"driver_id": "D-001", "authorized": true})
	driver = w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	driver.says("granted at 0.3 EUR/kWh, session")
	w.supplying("D-001", 1)
	p.engine.types("unplug")
	if status := driver.wait(patience); status != 0 {
		t.Errorf("the driver ended with status %d", status)
	}
	c.shows("CP-001", "ACTIVATED")
	if asked := w.all("ev.supply.request", nil); len(asked) != 1 {
		t.Errorf("%d requests were sent", len(asked))
	}
	w.audit(c).told("D-001", []domain.PointID{"CP-001"}, driver)
}

// A Monitor that is paused for longer than its lease is as good as gone: its point turns
// grey, its supply is stopped and billed, nothing is granted. Then it goes on, and so does
// the point.
func TestAMonitorThatIsPausedTakesItsPointAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.shortLease(c, "CP-001")
	w.listen("ev.supply.telemetry", "ev.supply.done")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	w.supplying("D-001", 2)

	p.monitor.signal(syscall.SIGSTOP)
	c.shows("CP-001", "DISCONNECTED")
	if status := driver.wait(patience); status != 1 || !strings.Contains(driver.output(), "DISCONNECTED") {
		t.Errorf("the driver ended with status %d:\n%s", status, driver.output())
	}
	done := asSent(t, w.hears("ev.supply.done", map[string]any{"driver_id": "D-001"}))
	if done.Reason != "STOP_BY_CENTRAL" {
		t.Errorf("the Engine reports %s", done.Value)
	}
	refused := w.run("ev-driver", "--driver-id", "D-002", "--cp", "CP-001")
	if status := refused.wait(patience); status != 1 || !strings.Contains(refused.output(), "the point is disconnected") {
		t.Errorf("a driver asks a point whose Monitor is paused: status %d, %s", status, refused.output())
	}

	p.monitor.signal(syscall.SIGCONT)
	c.free("CP-001")
	served := w.run("ev-driver", "--driver-id", "D-003", "--cp", "CP-001")
	w.supplying("D-003", 1)
	p.engine.types("unplug")
	if status := served.wait(patience); status != 0 {
		t.Errorf("the driver ended with status %d", status)
	}
	c.shows("CP-001", "ACTIVATED")
	if s := w.audit(c).session("D-001"); s.reason() != "DISCONNECTED" || s.energy() != w.kWh(done.Total) || s.energy() == 0 {
		t.Errorf("the Engine reports %s kWh; the ticket is %+v", done.Total, s.tickets)
	}
}

// An Engine that is paused is as good as dead: its point turns red and its driver is told.
// Going on it hears that its supply was stopped, and reports it: the ticket bills that.
func TestAnEngineThatIsPausedInASupplyIsBroken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.point(c, "CP-001")
	w.listen("ev.supply.telemetry", "ev.cp.state")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	w.supplying("D-001", 2)

	p.engine.signal(syscall.SIGSTOP)
	w.hears("ev.cp.state", map[string]any{"id": "CP-001", "state": "BROKEN"})
	c.shows("CP-001", "BROKEN")
	refused := w.run("ev-driver", "--driver-id", "D-002", "--cp", "CP-001")
	if status := refused.wait(patience); status != 1 || !strings.Contains(refused.output(), "the point is broken") {
		t.Errorf("a driver asks a point whose Engine is paused: status %d, %s", status, refused.output())
	}

	p.engine.signal(syscall.SIGCONT)
	if status := driver.wait(patience); status != 1 {
		t.Errorf("a supply that ended in a fault has failed; the driver ended with status %d", status)
	}
	c.free("CP-001")
	s := w.audit(c).session("D-001")
	if s.cause != "KO" || s.reason() != "KO" || s.done == nil || s.energy() != s.done.EnergyReported || s.energy() == 0 || len(s.revisions) > 0 {
		t.Errorf("the Engine has reported %+v; the ticket is %+v", s.done, s.tickets)
	}
	for _, text := range []string{s.energy().String() + " kWh", "KO"} {
		if !strings.Contains(driver.output(), text) {
			t.Errorf("the driver's screen has no %q:\n%s", text, driver.output())
		}
	}
}
