package endtoend

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// ownServers is why evcharging is tried on embedded parts alone.
const ownServers = "evcharging has its broker and its log in its own process"

// network is a whole network in one process, and a Central's pages to look at it.
type network struct {
	*central
	broker, engines string
}

var (
	networkRuns = regexp.MustCompile(`msg="the network runs" broker=(\S+) central=(\S+) pages=http://(\S+)`)
	pointsRun   = regexp.MustCompile(`msg="the points run" points=\d+ engines="?([^ ",]+)`)
)

// network starts evcharging and waits for the addresses that it prints.
func (w *world) network(args ...string) *network {
	w.t.Helper()
	p := w.launch("evcharging", args...)
	var runs, engines []string
	eventually(w.t, "evcharging prints its addresses", func() bool {
		runs, engines = networkRuns.FindStringSubmatch(p.output()), pointsRun.FindStringSubmatch(p.output())
		return runs != nil && (engines != nil || slices.Contains(args, "--points=0"))
	})
	_, port, _ := net.SplitHostPort(runs[2])
	n := &network{central: &central{process: p, w: w, port: port, pages: runs[3]}, broker: runs[1]}
	if engines != nil {
		n.engines = engines[1]
	}
	return n
}

// answers types a line and waits for what is printed from then on.
func (n *network) answers(line string, texts ...string) {
	n.t.Helper()
	before := len(n.output())
	n.types(line)
	for _, text := range texts {
		eventually(n.t, line+" answers "+text, func() bool { return strings.Contains(n.output()[before:], text) })
	}
}

// stops ends it with SIGTERM: with status 0, in time.
func (n *network) stops() {
	n.t.Helper()
	began := time.Now()
	n.stop()
	if took := time.Since(began); took > 10*time.Second {
		n.t.Errorf("it took %s to stop", took)
	}
}

func TestEvchargingIsAWholeNetwork(t *testing.T) {
	embeddedOnly(t, ownServers)
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	args := []string{"--points", "4", "--drivers", "2", "--speed", "600", "--data", "data"}
	n := w.network(args...)
	n.says(" supplies at CP-")
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the first supply ran after %s", took)
	}

	// Somebody at its standard input.
	n.answers("help", "break POINT", "mend POINT", "ask POINT DRIVER", "stop POINT|all")
	n.answers("break CP-002", "CP-002 is broken")
	n.shows("CP-002", "BROKEN")
	n.answers("ask CP-002 D-77", "error: D-77 was refused at CP-002: BROKEN")
	n.answers("mend CP-002", "CP-002 is mended")
	eventually(t, "CP-002 works again", func() bool { return n.shown("CP-002")["state"] != "BROKEN" })
	n.answers("break CP-099", "error: CP-099 is no point of this process")
	n.answers("stop CP-001", "CP-001 is OUT_OF_ORDER")
	n.answers("ask CP-001 D-77", "error: D-77 was refused at CP-001: OUT_OF_ORDER")
	n.answers("ask CP-001 D/77", "error: an id is")

	// Programs from elsewhere join at the addresses that it printed.
	elsewhere := &world{t: t, dir: t.TempDir(), kafka: n.broker}
	guest := elsewhere.point(n.central, "CP-GUEST", "--speed", "600", "--battery", "20")
	driver := elsewhere.run("ev-driver", "--driver-id", "D-GUEST", "--cp", "CP-GUEST")
	if status := driver.wait(patience); status != 0 && !strings.Contains(driver.output(), "occupied") {
		t.Errorf("a driver from elsewhere ended with %d", status) // one of the network's own may be quicker
	}
	if answer, _ := exchange(t, portOf(n.engines), "PING", 2); answer != "OK" {
		t.Errorf("the first Engine answers %q", answer)
	}
	eventually(t, "there are tickets", func() bool { return len(n.tickets()) >= 3 })
	n.answers("sessions", "FINISHED")
	guest.monitor.stop()
	guest.engine.stop()

	// Stopped and started on the same folder it knows everything again.
	before := commitLines(t, body(t, "http://"+n.pages+"/log"))
	n.stops()
	n = w.network(args...)
	if after := commitLines(t, body(t, "http://"+n.pages+"/log")); !strings.HasPrefix(after, before) {
		t.Error("what was in the log is not there after a restart")
	}
	n.shows("CP-001", "OUT_OF_ORDER")
	for stream, bill := range n.tickets() {
		if !strings.Contains(before, string(bill.Ticket)) {
			continue
		}
		var known struct {
			Ticket map[string]any `json:"ticket"`
		}
		if id := strings.TrimPrefix(string(stream), "session-"); !n.get("/sessions/"+id, &known) || known.Ticket["ticket_id"] != string(bill.Ticket) {
			t.Errorf("the ticket of %s is not known any more: %v", id, known)
		}
	}
	n.answers("resume all", "resume: 5 points done")
	n.shows("CP-GUEST", "DISCONNECTED")

	// Cut off, which is what a second signal does, it knows everything too, and bills what ran.
	n.says(" supplies at CP-")
	cut := time.Now()
	n.signal(syscall.SIGINT)
	<-time.After(100 * time.Millisecond) // sooner it is the same signal
	n.signal(syscall.SIGINT)
	if status := n.wait(patience); status != 1 || time.Since(cut) > 2*time.Second || !strings.Contains(n.output(), "evcharging: a second signal cut it off") {
		t.Errorf("two signals: status %d after %s", status, time.Since(cut))
	}
	n = w.network(args...)
	eventually(t, "every supply that ran has its ticket", func() bool {
		open := map[string]bool{}
		for _, e := range n.log() {
			switch e.Event.(type) {
			case session.SupplyAuthorized:
				open[string(e.Stream)] = true
			case session.TicketIssued:
				delete(open, string(e.Stream))
			}
		}
		return len(open) <= 2 // those of its own drivers now
	})
	if n := len(events[chargingpoint.TakenOutOfService](n.central)); n != 1 {
		t.Errorf("a stop is stored %d times", n)
	}
	n.stops()
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func TestTwoEvchargingsBesideEachOther(t *testing.T) {
	embeddedOnly(t, ownServers)
	t.Parallel()
	w := newWorld(t)
	args := []string{"--points", "2", "--drivers", "1"}
	first, second := w.network(args...), w.network(args...)
	if first.broker == second.broker || first.pages == second.pages || first.port == second.port || first.engines == second.engines {
		t.Errorf("both have an address: %+v, %+v", first, second)
	}
	for _, n := range []*network{first, second} {
		n.says(" supplies at CP-")
		n.says("is gone at the end; --data DIR keeps it")
	}
	folder := regexp.MustCompile(`folder=(\S+)`).FindStringSubmatch(first.output())[1]
	if _, err := os.Stat(filepath.Join(folder, "log")); err != nil {
		t.Error("the temporary folder is not the one that it says:", err)
	}
	// Each is a network of its own.
	first.answers("stop CP-001", "CP-001 is OUT_OF_ORDER")
	if state := second.shown("CP-001")["state"]; state == "OUT_OF_ORDER" {
		t.Error("a stop in one network reached the other")
	}
	first.stops()
	second.types("quit")
	if status := second.wait(12 * time.Second); status != 0 {
		t.Errorf("quit ends with %d", status)
	}
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary folder is still there: %v", err)
	}

	kept := w.network("--points=0", "--drivers=0", "--data", "data")
	w.callWith(nil, "evcharging", "--points=0", "--drivers=0", "--data", "data").isSentence(t, "evcharging", 1, "another broker uses the folder", "data")
	kept.stops()
}
