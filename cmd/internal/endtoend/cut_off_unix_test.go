//go:build unix

package endtoend

import (
	"syscall"
	"testing"

	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// decidesNothing fails the test where Central has ended a supply, or taken a point for gone.
func (c *central) decidesNothing() {
	c.w.t.Helper()
	for _, e := range c.log() {
		switch e := e.Event.(type) {
		case session.EndDecided, chargingpoint.StopOrdered, chargingpoint.PointDisconnected:
			c.w.t.Errorf("Central has decided %T %+v of %s", e, e, c.w.t.Name())
		}
	}
}

// How many seconds something is killed, and paused: longer than a lease.
const killed, paused = 10, 60

// Whatever is cut off in running supplies, for longer than a lease, and than a session may be
// silent or wait to be taken up: nothing is lost, doubled, or ended by silence.

func TestABrokerThatIsKilledInRunningSuppliesLosesNothing(t *testing.T) {
	t.Parallel()
	needsKafka(t)
	w := newWorld(t)
	w.isCutOff(killed, w.patient(), nil, func() { must(t, w.broker.kill()) }, w.restartBroker)
}

func TestABrokerThatIsPausedInRunningSuppliesLosesNothing(t *testing.T) {
	t.Parallel()
	needsKafka(t)
	w := newWorld(t)
	w.isCutOff(paused, w.patient(), nil, w.pauseBroker, w.resumeBroker)
}

func TestADatabaseThatIsKilledInRunningSuppliesLosesNothing(t *testing.T) {
	t.Parallel()
	needsMongo(t)
	w := newWorld(t)
	w.isCutOff(killed, w.patient(), nil, func() { must(t, w.database.kill()) }, func() { w.starts(w.database) })
}

func TestADatabaseThatIsPausedInRunningSuppliesLosesNothing(t *testing.T) {
	t.Parallel()
	needsMongo(t)
	w := newWorld(t)
	w.isCutOff(paused, w.patient(), nil, func() { must(t, w.database.pause()) }, func() { must(t, w.database.resume()) })
}

func TestACentralThatIsPausedInRunningSuppliesLosesNothing(t *testing.T) {
	t.Parallel()
	needsKafka(t)
	w := newWorld(t)
	c := w.patient()
	w.isCutOff(paused, c, nil, func() { c.signal(syscall.SIGSTOP) }, func() { c.signal(syscall.SIGCONT) })
}

func TestOneOfTwoCentralsThatIsKilledInRunningSuppliesLosesNothing(t *testing.T) {
	t.Parallel()
	needsMongo(t)
	w := newWorld(t)
	c, other := w.central("--silence", "20s"), w.central("--silence", "20s")
	w.isCutOff(killed, c, other, other.kill, other.start)
}

func TestOneOfTwoCentralsThatIsPausedInRunningSuppliesLosesNothing(t *testing.T) {
	t.Parallel()
	needsMongo(t)
	w := newWorld(t)
	// Nobody is silent meanwhile: whoever waits for a plug waits for that long.
	limits := []string{"--silence", "20s", "--take-up", "3m"}
	c, other := w.central(limits...), w.central(limits...)
	w.isCutOff(paused, c, other, func() { other.signal(syscall.SIGSTOP) }, func() { other.signal(syscall.SIGCONT) })
}

// patient starts a Central whose limits are shorter than what is paused is.
func (w *world) patient() *central {
	w.t.Helper()
	return w.central("--silence", "20s", "--take-up", "20s")
}

// isCutOff goes through supplies at four points, with something cut off in them for so many
// seconds; other is the second of two Centrals, or nil.
func (w *world) isCutOff(seconds int64, c, other *central, cut, mend func()) {
	t := w.t
	t.Helper()
	full := w.point(c, "CP-FULL", "--battery", "0.02")
	running := w.point(c, "CP-RUNNING")
	plug := w.point(c, "CP-PLUG", "--plug", "manual")
	idle := w.point(c, "CP-IDLE")
	w.listen("ev.supply.telemetry")
	drive := func(driver string, p *point) *process {
		return w.run("ev-driver", "--driver-id", driver, "--cp", p.id)
	}
	onPlug := drive("D-PLUG", plug)
	plug.engine.says("waiting for the plug")
	onRunning := drive("D-RUNNING", running)
	w.supplying("D-RUNNING", 1)
	onFull := drive("D-FULL", full)
	w.supplying("D-FULL", 1)

	cut()
	full.engine.says("ended: session")
	for left := seconds - 5; left > 0; left -= 20 {
		w.measures("CP-RUNNING", min(left, 20))
	}
	onIdle := drive("D-IDLE", idle)
	w.measures("CP-RUNNING", 5)
	sent := len(w.all("ev.supply.telemetry", map[string]any{"driver_id": "D-RUNNING"}))
	mend()

	w.supplying("D-RUNNING", sent+2)
	w.supplying("D-IDLE", 1)
	if status := onFull.wait(patience); status != 0 {
		t.Errorf("the driver whose supply ended in the outage ended with status %d", status)
	}
	plug.engine.types("plug")
	w.supplying("D-PLUG", 1)
	for _, p := range []*point{running, idle, plug} {
		p.engine.types("unplug")
	}
	for _, driver := range []*process{onRunning, onIdle, onPlug} {
		if status := driver.wait(patience); status != 0 {
			t.Errorf("%s ended with status %d", driver.name, status)
		}
	}
	for _, p := range []*point{full, running, idle, plug} {
		c.shows(p.id, "ACTIVATED")
	}
	c.decidesNothing()
	a := w.audit(c)
	if s := a.session("D-FULL"); s.energy() != 20_000 || s.reason() != "FINISHED" {
		t.Errorf("a battery of 0.02 kWh was filled, and the ticket is %+v", s.tickets)
	}
	if other != nil {
		w.agree(c, other)
	}
}
