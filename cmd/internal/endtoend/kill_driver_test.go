package endtoend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evcharging/domain"
)

// list writes a driver's list and gives its path.
func (w *world) list(name string, points ...domain.PointID) string {
	w.t.Helper()
	var text strings.Builder
	for _, p := range points {
		text.WriteString(string(p) + "\n")
	}
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// A driver that is killed takes nothing with it: the supply goes on, and when it comes
// back it is shown what happened, asks nothing twice and goes on with its list.
func TestADriverThatIsKilledGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	w.point(c, "CP-001", "--battery", "0.02")
	p := w.point(c, "CP-002", "--plug", "manual")
	w.listen("ev.supply.request", "ev.supply.telemetry", "ev.supply.ticket")
	lines := []domain.PointID{"CP-001", "CP-002", "CP-002"}
	run := func() *process {
		return w.run("ev-driver", "--driver-id", "D-001", "--file", w.list("list", lines...), "--next-delay", "1")
	}

	// In the supply.
	driver := run()
	w.supplying("D-001", 2)
	driver.kill()
	ticket := asSent(t, w.hears("ev.supply.ticket", map[string]any{"driver_id": "D-001"}))
	driver = run()
	driver.says("CP-001 (1 of 3): ticket " + string(ticket.Ticket))
	// Granted, and waiting for the plug.
	p.engine.says("waiting for the plug")
	driver.kill()
	driver = run()
	driver.says("going on where this was cut off, 1 of 3 concluded")
	driver.kill()
	p.engine.types("plug")
	w.hears("ev.supply.telemetry", map[string]any{"cp_id": "CP-002"})
	driver = run()
	driver.says("CP-002 (2 of 3): supplying")
	p.engine.types("unplug")
	// Between two lines.
	driver.says("CP-002 (2 of 3): ticket")
	driver.kill()
	driver = run()
	driver.says("CP-002 (3 of 3): granted")
	p.engine.types("plug")
	driver.says("CP-002 (3 of 3): supplying")
	p.engine.types("unplug")
	if status := driver.wait(patience); status != 0 {
		t.Errorf("the driver ended with status %d", status)
	}
	c.shows("CP-002", "ACTIVATED")

	if asked := w.all("ev.supply.request", nil); len(asked) != len(lines) {
		t.Errorf("%d requests were sent for %d lines", len(asked), len(lines))
	}
	if left, _ := filepath.Glob(filepath.Join(w.dir, "*.checkpoint")); len(left) > 0 {
		t.Errorf("a run that is complete leaves %v", left)
	}
	a := w.audit(c)
	a.told("D-001", lines, driver)
}
