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

// Whatever is cut off in running supplies, for longer than a lease, and than a session may
// be silent or wait to be taken up: nothing is lost, doubled, or ended by silence.
func TestAnOutageInRunningSuppliesLosesNothing(t *testing.T) {
	t.Parallel()
	needsKafka(t)
	type network struct {
		*world
		c, other *central
	}
	const killed, paused = 10, 60 // seconds
	for name, test := range map[string]struct {
		seconds   int64
		mongo     bool // it is about a log that is shared, or elsewhere
		two       bool
		cut, mend func(n network)
	}{
		"the broker is killed": {
			seconds: killed,
			cut:     func(n network) { n.outages.Store(true); must(n.t, n.broker.kill()) },
			mend:    func(n network) { n.restartBroker() },
		},
		"the broker is paused": {
			seconds: paused,
			cut:     func(n network) { n.pauseBroker() },
			mend:    func(n network) { n.resumeBroker() },
		},
		"the database is killed": {
			seconds: killed, mongo: true,
			cut:  func(n network) { must(n.t, n.database.kill()) },
			mend: func(n network) { n.starts(n.database) },
		},
		"the database is paused": {
			seconds: paused, mongo: true,
			cut:  func(n network) { must(n.t, n.database.pause()) },
			mend: func(n network) { must(n.t, n.database.resume()) },
		},
		"Central is paused": {
			seconds: paused,
			cut:     func(n network) { n.c.signal(syscall.SIGSTOP) },
			mend:    func(n network) { n.c.signal(syscall.SIGCONT) },
		},
		"one of two Centrals is killed": {
			seconds: killed, mongo: true, two: true,
			cut:  func(n network) { n.other.kill() },
			mend: func(n network) { n.other.start() },
		},
		"one of two Centrals is paused": {
			seconds: paused, mongo: true, two: true,
			cut:  func(n network) { n.other.signal(syscall.SIGSTOP) },
			mend: func(n network) { n.other.signal(syscall.SIGCONT) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.mongo {
				needsMongo(t)
			}
			n := network{world: newWorld(t)}
			w := n.world
			limits := []string{"--silence", "20s", "--take-up", "20s"}
			if test.two { // the other one goes on listening
				limits = []string{"--silence", "20s", "--take-up", "3m"}
			}
			n.c = w.central(limits...)
			if test.two {
				n.other = w.central(limits...)
			}
			full := w.point(n.c, "CP-FULL", "--battery", "0.02")
			running := w.point(n.c, "CP-RUNNING")
			plug := w.point(n.c, "CP-PLUG", "--plug", "manual")
			idle := w.point(n.c, "CP-IDLE")
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

			test.cut(n)
			full.engine.says("ended: session")
			for left := test.seconds - 5; left > 0; left -= 20 {
				w.measures("CP-RUNNING", min(left, 20))
			}
			onIdle := drive("D-IDLE", idle)
			w.measures("CP-RUNNING", 5)
			sent := len(w.all("ev.supply.telemetry", map[string]any{"driver_id": "D-RUNNING"}))
			test.mend(n)

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
				n.c.shows(p.id, "ACTIVATED")
			}
			n.c.decidesNothing()
			a := w.audit(n.c)
			if s := a.session("D-FULL"); s.energy() != 20_000 || s.reason() != "FINISHED" {
				t.Errorf("a battery of 0.02 kWh was filled, and the ticket is %+v", s.tickets)
			}
			if n.other != nil {
				n.other.shows("CP-RUNNING", "ACTIVATED")
				n.agree(n.c, n.other)
			}
		})
	}
}
