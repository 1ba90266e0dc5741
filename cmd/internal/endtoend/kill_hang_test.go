package endtoend

import (
	"path/filepath"
	"runtime"
	"testing"

	"evcharging/adapters/broker"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// newHangingWorld is a world whose broker can be paused. Clients of an embedded one are told
// its gate's address, on another of the machine's own addresses: any address of 127.0.0.0/8
// is, under Linux.
func newHangingWorld(t *testing.T) *world {
	t.Helper()
	if realServers() {
		return newWorld(t)
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs a second address of this machine")
	}
	w := &world{t: t, dir: t.TempDir()}
	port := freePort(t)
	b := newEmbedded(t, broker.Config{
		Addr: "127.0.0.1:" + port, AdvertisedHost: "127.0.0.2", Dir: filepath.Join(w.dir, "broker"),
	})
	b.gate = newGate(t, b.address(), "127.0.0.1:"+port)
	w.use(b)
	return w
}

// A broker that hangs for longer than a lease, too shortly to be known to be away or long
// enough, loses nothing, and nobody is stopped.
func TestABrokerThatHangsStopsNobody(t *testing.T) {
	t.Parallel()
	w := newHangingWorld(t)
	c := w.central("--silence", "5s", "--take-up", "5s")
	points := []*point{w.shortLease(c, "CP-001"), w.shortLease(c, "CP-002"), w.shortLease(c, "CP-003")}
	w.listen("ev.supply.telemetry")
	var drivers []*process
	for _, p := range points {
		drivers = append(drivers, w.run("ev-driver", "--driver-id", "D-"+p.id, "--cp", p.id))
		w.supplying("D-"+p.id, 1)
	}
	for _, seconds := range []int64{5, 12} {
		w.pauseBroker()
		w.measures("CP-001", seconds)
		w.resumeBroker()
		w.measures("CP-001", 3)
		for _, e := range c.log() {
			switch e := e.Event.(type) {
			case session.EndDecided, chargingpoint.StopOrdered, chargingpoint.PointDisconnected:
				t.Errorf("after %d s Central has decided %T %+v", seconds, e, e)
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
	for _, p := range points {
		c.shows(p.id, "ACTIVATED")
	}
	w.audit(c)
}
