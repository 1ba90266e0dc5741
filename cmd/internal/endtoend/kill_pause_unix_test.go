//go:build unix

package endtoend

import (
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
