package endtoend

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"evcharging/domain/chargingpoint"
)

// A price that an operator schedules counts when its time comes, is shown by itself, and is in
// the history; also where Central is killed meanwhile.
func TestAScheduledPrice(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.start", "ev.supply.ticket", "ev.cp.state")
	w.referencePoint(c, "CP-001", "0.3")
	running := w.supply("D-1", "CP-001")
	running.begins(c)

	from := time.Now().Add(20 * time.Second) // Central is killed before, on a busy machine too
	said := w.succeeds("ev-central", "price", "CP-001", "0.5", "--from", from.Format(time.RFC3339Nano))
	if want := "CP-001 is SUPPLYING, 0.30 EUR/kWh; from " + from.Format("2006-01-02 15:04:05 MST") + " on 0.50 EUR/kWh\n"; said != want {
		t.Errorf("it prints %q, want %q", said, want)
	}
	said = w.succeeds("ev-central", "price", "CP-001", "auto", "--from", "2999-01-01")
	if !strings.HasPrefix(said, "CP-001 is SUPPLYING, 0.30 EUR/kWh; from 2999-01-01 00:00:00 ") || !strings.HasSuffix(said, " on its own price\n") {
		t.Errorf("it prints %q", said)
	}
	w.call("ev-central", "price", "CP-001", "0.5", "--from", "2020-01-01").isSentence(t, "ev-central", 2, "has passed")
	w.call("ev-central", "price", "CP-001", "0.5", "--from", "soon").isSentence(t, "ev-central", 2, "a time is like")
	c.kill()
	eventually(t, "its time comes while Central is away", func() bool { return time.Now().After(from) })
	c.start()

	w.hears("ev.cp.state", map[string]any{"id": "CP-001", "price": 0.5})
	c.says("CP-001 costs 0.50 EUR/kWh from now on, as scheduled")
	if p := c.shown("CP-001"); p["price"] != 0.5 || p["price_set_by_operator"] != true {
		t.Errorf("it is shown as %v", p)
	}
	running.done("2", "0.6", "FINISHED")
	if bill := running.ticket(); bill["price"] != 0.3 || bill["total_eur"] != 0.6 {
		t.Errorf("the session that ran was billed %v", bill)
	}
	next := w.supply("D-2", "CP-001")
	if price := next.start().fields()["price"]; price != 0.5 {
		t.Errorf("the next session costs %v", price)
	}
	if n := len(events[chargingpoint.PriceTookEffect](c)); n != 1 {
		t.Errorf("it took effect %d times", n)
	}
	c.types("price CP-001 0.6 from 2999-06-01T00:00")
	c.says("on 0.60 EUR/kWh")
	c.types("price CP-001 0.6 at 2999-06-01")
	c.says("a price that counts later is typed like this")

	for what, listed := range map[string]string{
		"the subcommand": w.succeeds("ev-central", "prices", "CP-001", "--http", c.pages),
		"the panel":      func() string { c.types("prices CP-001"); c.says("the point"); return c.output() }(),
	} {
		for _, line := range []string{
			`(?m)^FROM +EUR/KWH +BY +DECIDED$`,
			`(?m)^\S+ \S+ +0\.60 +\S+@\S+ +\S+ \S+$`,
			`(?m)^\S+ \S+ +auto +\S+@\S+ +\S+ \S+$`,
			`(?m)^\S+ \S+ +0\.50 +\S+@\S+ +\S+ \S+$`,
			`(?m)^\S+ \S+ +0\.30 +the point +\S+ \S+$`,
		} {
			if !regexp.MustCompile(line).MatchString(listed) {
				t.Errorf("%s: no line %s:\n%s", what, line, listed)
			}
		}
	}
	w.call("ev-central", "prices", "CP-NOBODY", "--http", c.pages).isSentence(t, "ev-central", 1, "no such point")
}

// A final report that comes after the session was closed corrects the ticket: everybody can
// read what it was, what it is, the difference and the reason.
func TestALateFinalReportCorrectsTheTicket(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.start", "ev.supply.ticket")
	w.referencePoint(c, "CP-001", "0.3")
	s := w.supply("D-1", "CP-001")
	s.begins(c)
	s.done("2", "0.6", "FINISHED")
	if bill := s.ticket(); bill["revision"] != 0.0 || bill["eur_difference"] != nil {
		t.Errorf("the first ticket is %v", bill)
	}
	s.done("2.5", "0.75", "RECOVERED")
	bill := w.hears("ev.supply.ticket", map[string]any{"session_id": s.session, "revision": 1.0}).fields()
	for field, want := range map[string]any{
		"total_kwh": 2.5, "total_eur": 0.75, "reason": "FINISHED",
		"revision_reason": "RECOVERED", "kwh_before": 2.0, "eur_before": 0.6, "eur_difference": 0.15,
	} {
		if bill[field] != want {
			t.Errorf("the ticket's %s is %v, want %v", field, bill[field], want)
		}
	}
	shown := w.succeeds("ev-central", "ticket", s.session, "--http", c.pages)
	if !regexp.MustCompile(`(?m)^revision 1 +0\.15 EUR more, .*, for a late RECOVERED; before it 2 kWh, 0\.6 EUR$`).MatchString(shown) {
		t.Errorf("its ticket is shown as\n%s", shown)
	}
	listed := w.callWith(nil, "ev-replay", "corrections", "--log", "http://"+c.pages).stdout
	if !strings.Contains(listed, s.session+" at CP-001 of D-1, revision 1: 2 kWh, 0.6 EUR before, 2.5 kWh, 0.75 EUR after: 0.15 EUR more, for a late RECOVERED\n1 correction, 0.15 EUR\n") {
		t.Errorf("corrections lists\n%s", listed)
	}
}
