package endtoend

import (
	"fmt"
	"strings"
	"testing"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// saysOnce checks that a program has said exactly once that the broker was lost, and found,
// and that no sentence came twice.
func (p *process) saysOnce() {
	p.t.Helper()
	for _, text := range []string{"Kafka can't be reached at", "Kafka is reached again"} {
		if n := strings.Count(p.output(), text); n != 1 {
			p.t.Errorf("%s says %d times %q:\n%s", p.name, n, text, p.output())
		}
	}
	seen := map[string]bool{}
	for line := range strings.Lines(p.output()) {
		if level, text, ok := strings.Cut(line, "level="); !ok || !strings.HasPrefix(text, "WARN") {
			continue
		} else if seen[text] {
			p.t.Errorf("%s repeats %s after %s", p.name, text, level)
		} else {
			seen[text] = true
		}
	}
}

// measures waits until an Engine has measured for so many seconds more.
func (w *world) measures(point domain.PointID, seconds int64) {
	w.t.Helper()
	before := w.journal(point).Last.Seq
	eventually(w.t, "the Engine goes on measuring", func() bool { return w.journal(point).Last.Seq >= before+seconds })
}

// While the broker is away, longer than a lease and than any session may be silent,
// everybody tries again and says so once, and what is to be reported waits in the Engines'
// journals. When it is back nothing was lost and nobody was stopped.
func TestABrokerThatIsAwayLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central("--silence", "5s", "--take-up", "5s")
	full := w.shortLease(c, "CP-FULL", "--battery", "0.02")
	running := w.shortLease(c, "CP-RUNNING")
	idle := w.shortLease(c, "CP-IDLE")
	w.listen("ev.supply.telemetry", "ev.supply.request", "ev.supply.ticket")
	drive := func(driver, cp string) *process { return w.run("ev-driver", "--driver-id", driver, "--cp", cp) }
	onRunning := drive("D-RUNNING", "CP-RUNNING")
	w.supplying("D-RUNNING", 1)
	onFull := drive("D-FULL", "CP-FULL")
	w.supplying("D-FULL", 1)

	w.stopBroker()
	onIdle := drive("D-IDLE", "CP-IDLE")
	full.engine.says("ended: session")
	full.engine.types("status")
	full.engine.says("1 final reports wait for Kafka")
	w.measures("CP-RUNNING", 4)
	sent := len(w.all("ev.supply.telemetry", map[string]any{"driver_id": "D-RUNNING"}))
	w.restartBroker()

	w.supplying("D-RUNNING", sent+2)
	w.supplying("D-IDLE", 1)
	if status := onFull.wait(patience); status != 0 {
		t.Errorf("the driver whose supply ended in the outage ended with status %d", status)
	}
	for _, p := range []*point{running, idle} {
		p.engine.types("unplug")
	}
	for _, driver := range []*process{onRunning, onIdle} {
		if status := driver.wait(patience); status != 0 {
			t.Errorf("%s ended with status %d", driver.name, status)
		}
	}
	for _, p := range []*point{full, running, idle} {
		c.shows(p.id, "ACTIVATED")
		p.engine.saysOnce()
		p.monitor.saysOnce()
	}
	c.saysOnce()
	onRunning.saysOnce()

	for _, e := range c.log() {
		switch e := e.Event.(type) {
		case session.EndDecided, chargingpoint.StopOrdered, chargingpoint.PointDisconnected:
			t.Errorf("Central has decided %T %+v", e, e)
		}
	}
	a := w.audit(c)
	if s := a.session("D-FULL"); s.energy() != 20_000 || s.reason() != "FINISHED" {
		t.Errorf("a battery of 0.02 kWh was filled, and the ticket is %+v", s.tickets)
	}
}

// A broker that goes away while Central starts delays it and no more.
func TestACentralThatStartsOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	c.kill()
	c.spawn()
	eventually(t, "Central waits for the dead one to leave the group, or the broker was quicker", func() bool {
		return strings.Contains(c.output(), "is a member of the group still") || strings.Contains(c.output(), "Central is ready")
	})
	w.stopBroker()
	c.says("Kafka can't be reached")
	w.restartBroker()
	c.says("Central is ready")
	c.says("Kafka is reached again")
	w.point(c, "CP-001")
	c.saysOnce()
}

// An order that was given when the broker went away, or when Central was killed, is sent when they are
// back, unless a newer one was given meanwhile: never an old one after a newer one.
func TestAnOldOrderIsNotSentAfterANewerOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.point(c, "CP-001")
	w.listen("ev.control", "ev.commands", "ev.supply.telemetry")
	for round, cut := range []func(){
		func() { w.stopBroker(); p.engine.says("Kafka can't be reached"); w.restartBroker() },
		func() { c.kill(); c.start() },
	} {
		driver := w.run("ev-driver", "--driver-id", fmt.Sprintf("D-%d", round), "--cp", "CP-001")
		w.supplying(fmt.Sprintf("D-%d", round), 1)
		asked := len(w.all("ev.control", nil))
		stop, resume := w.run("ev-central", "stop", "CP-001"), w.run("ev-central", "resume", "CP-001")
		eventually(t, "an operator's record is there", func() bool { return len(w.all("ev.control", nil)) > asked })
		cut()
		stop.wait(patience)
		resume.wait(patience)
		driver.wait(patience)
		// Whichever came last, the point is let go now.
		if again := w.run("ev-central", "resume", "CP-001"); again.wait(patience) != 0 {
			t.Errorf("the resume failed: %s", again.output())
		}
		c.free("CP-001")
	}
	served := w.run("ev-driver", "--driver-id", "D-LAST", "--cp", "CP-001")
	w.supplying("D-LAST", 1)
	p.engine.types("unplug")
	if status := served.wait(patience); status != 0 {
		t.Errorf("the driver ended with status %d", status)
	}
	c.shows("CP-001", "ACTIVATED")
	w.audit(c)
}
