package endtoend

import (
	"fmt"
	"testing"

	"evcharging/application/engine"
	"evcharging/domain"
)

// Everything is killed during ten running supplies and started again, in one order and
// in another: no supply is lost, forgotten or billed twice, and each is billed what its Engine had
// measured by then.
func TestEverythingIsKilledDuringTenSuppliesAndComesBack(t *testing.T) {
	t.Parallel()
	const supplies = 10
	w := newWorld(t)
	c := w.central()
	var points []*point
	for i := range supplies {
		p := &point{w: w, id: fmt.Sprintf("CP-%03d", i+1), port: freePort(t), central: c}
		p.startEngine()
		p.startMonitor()
		points = append(points, p)
	}
	for _, p := range points {
		c.shows(p.id, "ACTIVATED")
	}
	w.listen("ev.supply.telemetry")

	engines := func() {
		for _, p := range points {
			p.startEngine()
		}
	}
	monitors := func() {
		for _, p := range points {
			p.startMonitor()
		}
	}
	killed := map[domain.DriverID]engine.Sample{}
	drivers := map[domain.DriverID]*process{}
	for _, round := range []struct {
		name string
		back func(drivers func())
	}{
		{"Central first", func(drivers func()) { c.start(); engines(); monitors(); drivers() }},
		{"Central last", func(drivers func()) { drivers(); monitors(); engines(); c.start() }},
		{"the broker last", func(drivers func()) {
			w.stopBroker()
			engines()
			c.spawn()
			drivers()
			monitors()
			for _, p := range points {
				p.engine.says("Kafka can't be reached")
			}
			w.restartBroker()
			c.says("Central is ready")
		}},
	} {
		t.Log(round.name)
		driverOf := func(p *point) string { return fmt.Sprintf("D-%d-%s", len(killed)/supplies, p.id) }
		drive := func() {
			for _, p := range points {
				drivers[domain.DriverID(driverOf(p))] = w.run("ev-driver", "--driver-id", driverOf(p), "--cp", p.id)
			}
		}
		drive()
		for i, p := range points {
			w.supplying(driverOf(p), 1+i%3)
		}
		all := []*process{c.process}
		for _, p := range points {
			all = append(all, p.engine, p.monitor, drivers[domain.DriverID(driverOf(p))])
		}
		for _, p := range all {
			p.kill()
		}
		measured := map[domain.DriverID]engine.Sample{}
		for _, p := range points {
			measured[domain.DriverID(driverOf(p))] = w.journal(domain.PointID(p.id)).Last
		}
		round.back(drive)
		for _, p := range points {
			driver := drivers[domain.DriverID(driverOf(p))]
			if status := driver.wait(patience); status != 1 {
				t.Errorf("%s ended with status %d, and its supply was cut off", driver.name, status)
			}
		}
		for _, p := range points {
			c.free(p.id)
		}
		for driver, sample := range measured {
			killed[driver] = sample
		}
	}

	a := w.audit(c)
	if n := len(a.stories); n != 3*supplies {
		t.Errorf("there are %d sessions", n)
	}
	for driver, sample := range killed {
		s := a.session(driver)
		if s.energy() != sample.Energy || s.done == nil || s.done.Reason != "RECOVERED" {
			t.Errorf("%s: the journal's last sample had %s kWh; the ticket is %+v, the final report %+v", driver, sample.Energy, s.tickets[0], s.done)
		}
		_, point, _ := s.request()
		a.told(driver, []domain.PointID{point}, drivers[driver])
	}
}
