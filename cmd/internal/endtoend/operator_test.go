package endtoend

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

func TestOperatorsSubcommands(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.start", "ev.supply.ticket")
	for _, cp := range []string{"CP-001", "CP-002", "CP-003"} {
		w.referencePoint(c, cp, "0.3")
	}
	w.health("CP-NEW", "OK") // a point that never registered is none to stop
	pages := []string{"--http", c.pages}
	says := func(want, name string, args ...string) {
		t.Helper()
		if said := w.succeeds(name, args...); said != want {
			t.Errorf("%s %v prints\n%s, want\n%s", name, args, said, want)
		}
	}
	refuses := func(reason string, args ...string) {
		t.Helper()
		w.call("ev-central", args...).isSentence(t, "ev-central", 1, reason)
	}

	for range 2 { // repeated without harm
		says("CP-001 is OUT_OF_ORDER, 0.30 EUR/kWh\n", "ev-central", "stop", "CP-001")
	}
	refuses("refused: OUT_OF_ORDER", "start", "CP-001", "D-1")
	for range 2 {
		says("CP-001 is ACTIVATED, 0.30 EUR/kWh\n", "ev-central", "resume", "CP-001")
	}
	for range 2 {
		says("1/3 CP-001 is OUT_OF_ORDER, 0.30 EUR/kWh\n2/3 CP-002 is OUT_OF_ORDER, 0.30 EUR/kWh\n3/3 CP-003 is OUT_OF_ORDER, 0.30 EUR/kWh\n", "ev-central", "stop", "all")
	}
	says("None of 3 points is free; --all lists them.\n", "ev-driver", "points")
	says("1/3 CP-001 is ACTIVATED, 0.30 EUR/kWh\n2/3 CP-002 is ACTIVATED, 0.30 EUR/kWh\n3/3 CP-003 is ACTIVATED, 0.30 EUR/kWh\n", "ev-central", "resume", "ALL")
	if n := len(events[chargingpoint.TakenOutOfService](c)); n != 4 {
		t.Errorf("four stops that changed something are stored %d times", n)
	}

	for _, args := range [][]string{{"stop", "CP-NOBODY"}, {"resume", "CP-NOBODY"}, {"price", "CP-NOBODY", "0.4"}, {"price", "CP-NEW", "auto"}} {
		refuses(args[0]+" "+args[1]+": refused: no such point is registered", args...)
	}
	refuses("start CP-NOBODY: refused: UNKNOWN_POINT", "start", "CP-NOBODY", "D-1")

	// The operator's price stands over registrations, and over no session that runs.
	running := w.supply("D-1", "CP-001")
	running.begins(c)
	says("CP-001 is SUPPLYING, 0.42 EUR/kWh\n", "ev-central", "price", "CP-001", "0.42")
	w.send("ev.register", `{"id": "CP-001", "location": "Alicante", "price_eur_kwh": 0.9}`)
	w.consumed("ev.register")
	if p := c.shown("CP-001"); p["price"] != 0.42 || p["price_set_by_operator"] != true {
		t.Errorf("the operator's price did not stand: %v", p)
	}
	running.done("1", "0.3", "FINISHED")
	if bill := running.ticket(); bill["price"] != 0.3 || bill["total_eur"] != 0.3 {
		t.Errorf("the running session was billed at another price: %v", bill)
	}
	second := w.supply("D-1", "CP-001")
	if price := second.start().fields()["price"]; price != 0.42 {
		t.Errorf("the next session costs %v", price)
	}
	second.done("0", "0", "FINISHED")
	second.ticket()
	says("CP-001 is ACTIVATED, 0.90 EUR/kWh\n", "ev-central", "price", "CP-001", "auto")
	says("1/3 CP-001 is ACTIVATED, 0.00 EUR/kWh\n2/3 CP-002 is ACTIVATED, 0.00 EUR/kWh\n3/3 CP-003 is ACTIVATED, 0.00 EUR/kWh\n", "ev-central", "price", "all", "0")
	w.succeeds("ev-central", "price", "all", "auto")

	// A start; the point is then its driver's.
	said := w.succeeds("ev-central", "start", "CP-002", "D-7")
	id := regexp.MustCompile(`^CP-002 may supply D-7: session ([0-9a-f-]{36})\n$`).FindStringSubmatch(said)
	if id == nil {
		t.Fatalf("a start prints %q", said)
	}
	refuses("start CP-002: refused: OCCUPIED", "start", "CP-002", "D-8")
	started := supply{w, id[1], "CP-002", "D-7"}
	started.begins(c)

	// What Central knows.
	listed := w.succeeds("ev-central", append([]string{"points"}, pages...)...)
	for _, line := range []string{
		`(?m)^POINT +STATE +EUR/KWH +SUPPLIES +LOCATION$`,
		`(?m)^CP-001 +ACTIVATED +0\.90 +Alicante$`, `(?m)^CP-002 +SUPPLYING +0\.30 +D-7 7\.2 kW .*Alicante$`,
	} {
		if !regexp.MustCompile(line).MatchString(listed) {
			t.Errorf("points has no line %s:\n%s", line, listed)
		}
	}
	listed = w.succeeds("ev-central", append([]string{"sessions"}, pages...)...)
	for _, line := range []string{
		`(?m)^SESSION +POINT +DRIVER +STATUS +GRANTED +KWH +EUR +REASON$`,
		`(?m)^` + running.session + ` +CP-001 +D-1 +CLOSED +.* FINISHED$`, `(?m)^` + started.session + ` +CP-002 +D-7 +SUPPLYING`,
	} {
		if !regexp.MustCompile(line).MatchString(listed) {
			t.Errorf("sessions has no line %s:\n%s", line, listed)
		}
	}
	if text := w.succeeds("ev-central", append([]string{"ticket", started.session}, pages...)...); !strings.Contains(text, "has no ticket yet") {
		t.Errorf("the ticket of a session that runs: %s", text)
	}
	bill := w.succeeds("ev-central", append([]string{"ticket", running.session}, pages...)...)
	for _, line := range []string{"ticket +" + running.ticket()["ticket_id"].(string), "driver +D-1", "point +CP-001", "energy +1 kWh", `price +0\.30 EUR/kWh`, `amount +0\.3 EUR`, "reason +FINISHED"} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(bill) {
			t.Errorf("the ticket has no line %s:\n%s", line, bill)
		}
	}
	refuses("no such session", append([]string{"ticket", "S-0"}, pages...)...)
	refuses("does not answer", "points", "--http", "127.0.0.1:1")
	says("POINT   LOCATION  EUR/KWH  STATE\nCP-001  Alicante      0.9  ACTIVATED\nCP-003  Alicante      0.3  ACTIVATED\n", "ev-driver", "points")
	if all := w.succeeds("ev-driver", "points", "--all"); !strings.Contains(all, "CP-002") || strings.Contains(all, "CP-NEW") {
		t.Errorf("all points are\n%s", all)
	}
	w.pages(c)

	// Nobody answers: 10 s, then a sentence. What was asked for is done when Central is back.
	c.stop()
	silent := w.run("ev-central", "stop", "CP-003")
	away := w.launch("ev-central", "stop", "CP-003", "--kafka", "127.0.0.1:1")
	listing := w.launch("ev-driver", "points", "--kafka", "127.0.0.1:1")
	interrupted := w.run("ev-central", "resume", "CP-003")
	began := time.Now()
	eventually(t, "the interrupted command was sent", func() bool { return w.lag("ev.control") == 2 })
	interrupted.signal(syscall.SIGINT)
	for _, test := range []struct {
		*process
		says string
	}{
		{interrupted, "interrupted before Central answered"},
		{silent, "Central did not answer within 10 s"},
		{away, "Kafka can't be reached at 127.0.0.1:1"},
		{listing, "Kafka can't be reached at 127.0.0.1:1"},
	} {
		if status := test.wait(patience); status != 1 || !strings.Contains(test.output(), test.says) {
			t.Errorf("%s: status %d: %s", test.name, status, test.output())
		}
	}
	if took := time.Since(began); took < 8*time.Second || took > 14*time.Second {
		t.Errorf("silence was waited for %s", took)
	}
	c.start()
	w.consumed("ev.control")
	if n := len(events[chargingpoint.TakenOutOfService](c)); n != 5 {
		t.Errorf("a stop that nobody answered was carried out %d times", n-4)
	}
}

// pages looks at what Central serves, to be read only.
func (w *world) pages(c *central) {
	w.t.Helper()
	for _, test := range []struct {
		method, page, kind string
		status             int
	}{
		{"GET", "/points", "application/json", 200},
		{"GET", "/points/CP-001", "application/json", 200},
		{"GET", "/points/CP-NOBODY", "text/plain; charset=utf-8", 404},
		{"GET", "/sessions", "application/json", 200},
		{"GET", "/sessions/S-0", "text/plain; charset=utf-8", 404},
		{"GET", "/log", "application/jsonl", 200},
		{"GET", "/log?from=2", "application/jsonl", 200},
		{"GET", "/log?from=1000000", "application/jsonl", 200},
		{"GET", "/log?from=x", "text/plain; charset=utf-8", 400},
		{"POST", "/points", "text/plain; charset=utf-8", 405},
		{"DELETE", "/log", "text/plain; charset=utf-8", 405},
		{"GET", "/nowhere", "text/plain; charset=utf-8", 404},
	} {
		request, err := http.NewRequest(test.method, "http://"+c.pages+test.page, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != test.status || response.Header.Get("Content-Type") != test.kind {
			w.t.Errorf("%s %s: %s %s %v", test.method, test.page, response.Status, response.Header.Get("Content-Type"), err)
		}
		if lines := strings.Count(string(text), "\n"); test.kind == "application/jsonl" && (lines > 2) == strings.Contains(test.page, "1000000") {
			w.t.Errorf("%s has %d lines", test.page, lines)
		}
	}
	whole, rest := commitLines(w.t, body(w.t, "http://"+c.pages+"/log")), commitLines(w.t, body(w.t, "http://"+c.pages+"/log?from=3"))
	if lines := strings.SplitAfterN(whole, "\n", 3); rest != lines[2] {
		w.t.Errorf("the log from the third commit on is not the rest of the log:\n%.500s\n%.500s", rest, lines[2])
	}
}

func TestOperatorsConsole(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.start", "ev.supply.ticket", "ev.commands")
	for _, cp := range []string{"CP-001", "CP-002"} {
		w.referencePoint(c, cp, "0.3")
	}
	w.health("CP-NEW", "OK")
	c.says("CP-NEW connected")
	answers := func(line string, says ...string) {
		t.Helper()
		before := len(c.output())
		c.types(line)
		for _, text := range says {
			eventually(t, fmt.Sprintf("%q answers %q", line, text), func() bool { return strings.Contains(c.output()[before:], text) })
		}
	}
	answers("help", "stop POINT|all", "resume POINT|all", "start POINT DRIVER", "price POINT|all EUR|auto", "ticket SESSION", "quit")
	answers("stop CP-001", "CP-001 is OUT_OF_ORDER, 0.30 EUR/kWh", "CP-001 out of order, by ")
	answers("stop CP-001", "CP-001 is OUT_OF_ORDER, 0.30 EUR/kWh")
	answers("stop all", "stop: 2 points done")
	answers("resume all", "resume: 2 points done")
	answers("stop CP-NOBODY", "error: stop CP-NOBODY: refused: no such point is registered")
	answers("stop", "error: stop is typed like this: stop POINT|all")
	answers("stop here and now", "error: stop is typed like this: stop POINT|all")
	answers("stop a/b", "error: an id is")
	answers("price CP-001 free", "error: a price is a number of EUR per kWh, or auto")
	answers("price CP-001 0.42", "CP-001 is ACTIVATED, 0.42 EUR/kWh")
	answers("dance", `error: "dance" is not a command; help lists them`)
	answers("", "")
	answers("start CP-001 D-7", "CP-001 may supply D-7: session ")
	start := w.hears("ev.supply.start", map[string]any{"cp_id": "CP-001"}).fields()
	if start["price"] != 0.42 {
		t.Errorf("started is %v", start)
	}
	s := supply{w, start["session_id"].(string), "CP-001", "D-7"}
	s.begins(c)
	answers("start CP-001 D-8", "error: start CP-001: refused: OCCUPIED")
	answers("start CP-NOBODY D-8", "error: start CP-NOBODY: refused: UNKNOWN_POINT")
	answers("points", "SUPPLYING", "D-7 7.2 kW")
	answers("sessions", s.session)
	answers("ticket "+s.session, "has no ticket yet")
	s.done("2", "0.84", "FINISHED")
	s.ticket()
	answers("ticket "+s.session, "0.84 EUR", "FINISHED")
	answers("ticket S-0", "error: there is no session S-0")
	c.types("quit")
	if status := c.wait(12 * time.Second); status != 0 {
		t.Errorf("quit ends with %d", status)
	}
	c.start()
	// The end of what is typed ends nothing.
	if err := c.in.Close(); err != nil {
		t.Fatal(err)
	}
	w.health("CP-002", "KO")
	c.shows("CP-002", "BROKEN")
	if n := len(c.tickets()); n != 1 {
		t.Errorf("%d tickets", n)
	}
	for _, e := range events[session.SupplyAuthorized](c) {
		if e.Origin != "operator" {
			t.Errorf("an operator's start is recorded as of %q", e.Origin)
		}
	}
	c.stop()
}
