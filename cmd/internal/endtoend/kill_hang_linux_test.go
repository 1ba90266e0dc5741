package endtoend

import (
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"evcharging/adapters/broker"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// gate stands before a broker. While it is shut, connections are taken and nothing comes
// through: the broker hangs.
type gate struct {
	listener net.Listener
	to       string
	pipes    sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed while the gate is open
	conns map[net.Conn]bool
}

// newHangingWorld is a world whose broker can hang. Clients are told the gate's address, on
// another of the machine's own addresses: any address of 127.0.0.0/8 is, under Linux.
func newHangingWorld(t *testing.T) (*world, *gate) {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	port := freePort(t)
	b, err := broker.Start(broker.Config{
		Addr: "127.0.0.1:" + port, AdvertisedHost: "127.0.0.2", Dir: filepath.Join(w.dir, "broker"),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.broker, w.kafka = b, b.Addr()
	w.client = &kafka.Client{Addr: kafka.TCP(w.kafka), Timeout: 10 * time.Second}
	g := &gate{to: "127.0.0.1:" + port, open: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(g.open)
	if g.listener, err = net.Listen("tcp", w.kafka); err != nil {
		t.Fatal(err)
	}
	g.pipes.Go(g.serve)
	t.Cleanup(func() {
		g.close()
		if err := b.Close(); err != nil {
			t.Error("close the broker:", err)
		}
	})
	return w, g
}

func (g *gate) serve() {
	for {
		from, err := g.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", g.to)
		if err != nil {
			from.Close()
			continue
		}
		g.mu.Lock()
		g.conns[from], g.conns[to] = true, true
		g.mu.Unlock()
		g.pipes.Go(func() { g.pipe(from, to) })
		g.pipes.Go(func() { g.pipe(to, from) })
	}
}

// pipe carries one direction of a connection.
func (g *gate) pipe(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		<-open
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// shut has the broker hang.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// reopen has it answer again, all that was sent meanwhile too.
func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) close() {
	g.listener.Close()
	g.mu.Lock()
	for conn := range g.conns {
		conn.Close()
	}
	select {
	case <-g.open:
	default:
		close(g.open)
	}
	g.mu.Unlock()
	g.pipes.Wait()
}

// A broker that hangs for longer than a lease, too shortly to be known to be away or long
// enough, loses nothing, and nobody is stopped.
func TestABrokerThatHangsStopsNobody(t *testing.T) {
	t.Parallel()
	w, gate := newHangingWorld(t)
	c := w.central("--silence", "5s", "--take-up", "5s")
	points := []*point{w.shortLease(c, "CP-001"), w.shortLease(c, "CP-002"), w.shortLease(c, "CP-003")}
	w.listen("ev.supply.telemetry")
	w.outages.Store(true)
	var drivers []*process
	for _, p := range points {
		drivers = append(drivers, w.run("ev-driver", "--driver-id", "D-"+p.id, "--cp", p.id))
		w.supplying("D-"+p.id, 1)
	}
	for _, seconds := range []int64{5, 12} {
		gate.shut()
		w.measures("CP-001", seconds)
		gate.reopen()
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
