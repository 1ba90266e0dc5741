package endtoend

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// Each fault of the reference is a test here, on the wire. What stands behind it is tested
// closer by, in application/.

func TestABusyPointIsNotGrantedAgain(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.auth", "ev.supply.start", "ev.supply.ticket", "ev.commands")
	w.referencePoint(c, "CP-001", "0.3")
	refused := func(driver, when string) {
		t.Helper()
		w.request(driver, "CP-001")
		if answer := w.hears("ev.supply.auth", map[string]any{"driver_id": driver}).fields(); answer["authorized"] != false || answer["reason"] != "OCCUPIED" {
			t.Errorf("%s: %v", when, answer)
		}
	}
	first := w.supply("D-1", "CP-001")
	refused("D-2", "granted, not begun")
	first.begins(c)
	refused("D-3", "supplying")
	c.types("stop CP-001")
	w.hears("ev.commands", map[string]any{"cmd": "STOP_SUPPLY", "session_id": first.session})
	c.types("resume CP-001")
	w.hears("ev.commands", map[string]any{"cmd": "RESUME"})
	refused("D-4", "while the done is awaited")
	first.done("0.001", "0.0003", "STOP_BY_CENTRAL")
	first.ticket()
	if starts := w.all("ev.supply.start", nil); len(starts) != 1 {
		t.Errorf("%d starts were ordered", len(starts))
	}
}

func TestASecondStartEndsTheFirstSessionAndMetersTheSecondOnce(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	w.listen("ev.supply.telemetry", "ev.supply.done")
	w.engine("CP-001", "--power", "20", "--speed", "100")
	w.startOrder("S-1", "CP-001", "D-1", "0.3")
	w.nth("ev.supply.telemetry", map[string]any{"session_id": "S-1"}, 2)
	w.startOrder("S-2", "CP-001", "D-2", "0.3")
	w.startOrder("S-2", "CP-001", "D-2", "0.3") // repeated: it runs already
	last := w.nth("ev.supply.telemetry", map[string]any{"session_id": "S-2"}, 4)
	metersOnce(t, w, "S-2", 20*100)
	done := w.hears("ev.supply.done", map[string]any{"session_id": "S-1", "driver_id": "D-1", "reason": "STOP_BY_CENTRAL"})
	if kwh, _ := done.fields()["total_kwh"].(float64); kwh == 0 {
		t.Errorf("the first session has lost its energy: %s", done.Value)
	}
	if late := w.all("ev.supply.telemetry", map[string]any{"session_id": "S-1"}); late[len(late)-1].At.After(done.At) {
		t.Errorf("the first session is metered after its end, at %s: %s", last.At, late[len(late)-1].Value)
	}
	if all := w.all("ev.supply.done", nil); len(all) != 1 {
		t.Errorf("%d dones", len(all))
	}
}

func TestAStopFollowedByAStartWithinASecondMetersOnce(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	w.listen("ev.supply.telemetry", "ev.supply.done")
	w.engine("CP-001", "--power", "20", "--speed", "100")
	w.startOrder("S-1", "CP-001", "D-1", "0.3")
	w.nth("ev.supply.telemetry", map[string]any{"session_id": "S-1"}, 2)
	w.order("CP-001", "STOP_SUPPLY")
	w.hears("ev.supply.done", map[string]any{"session_id": "S-1"})
	w.startOrder("S-2", "CP-001", "D-1", "0.3")
	w.nth("ev.supply.telemetry", map[string]any{"session_id": "S-2"}, 4)
	metersOnce(t, w, "S-2", 20*100)
}

// metersOnce fails the test where a session's samples are not those of one meter at a power
// in kW: numbered one by one, once a second, with the energy of the time between them.
func metersOnce(t *testing.T, w *world, session string, kw float64) {
	t.Helper()
	var first time.Time
	for i, r := range w.all("ev.supply.telemetry", map[string]any{"session_id": session}) {
		var sample struct {
			Seq int       `json:"seq"`
			KWh float64   `json:"kwh"`
			At  time.Time `json:"at"`
		}
		if err := json.Unmarshal(r.Value, &sample); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = sample.At
		}
		if sample.Seq != i+1 {
			t.Errorf("sample %d has the number %d", i+1, sample.Seq)
		}
		if most := kw * (sample.At.Sub(first).Hours() + 0.001/3600); sample.KWh > most {
			t.Errorf("%s after the first sample %g kWh are metered, more than %g kW give", sample.At.Sub(first), sample.KWh, kw)
		}
		if least := time.Duration(i-1) * 900 * time.Millisecond; sample.At.Sub(first) < least {
			t.Errorf("sample %d comes %s after the first: more than one a second", i+1, sample.At.Sub(first))
		}
	}
}

func TestAFaultARecoveryAndAStopMakeOneReportAndOneTicket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	w.listen("ev.supply.done", "ev.supply.ticket", "ev.commands", "ev.supply.telemetry")
	p := w.point(c, "CP-001", "--speed", "50")
	driver := w.run("ev-driver", "--driver-id", "D-1", "--cp", "CP-001")
	driver.says("supplying")
	p.engine.types("k")
	c.shows("CP-001", "BROKEN")
	p.engine.types("r")
	c.shows("CP-001", "ACTIVATED")
	if r := w.call("ev-central", "stop", "CP-001"); r.status != 0 {
		t.Errorf("stop: %d, %s", r.status, r.stderr)
	}
	driver.wait(patience)
	done := w.hears("ev.supply.done", nil)
	// A stop that names the session, too, gets its report once more: the same one.
	w.send("ev.commands", fmt.Sprintf(`{"cp_id": "CP-001", "cmd": "STOP_SUPPLY", "session_id": %q, "driver_id": "D-1"}`, done.fields()["session_id"]))
	w.nth("ev.supply.done", nil, 2)
	w.consumed("ev.supply.done", "ev.control", "ev.health")

	for _, again := range w.all("ev.supply.done", nil) {
		if string(again.Value) != string(done.Value) {
			t.Errorf("two reports of one session differ:\n%s\n%s", done.Value, again.Value)
		}
	}
	if done.fields()["reason"] != "KO" {
		t.Errorf("the session ended by a fault: %s", done.Value)
	}
	if tickets := w.all("ev.supply.ticket", nil); len(tickets) != 1 || tickets[0].fields()["reason"] != "KO" || tickets[0].fields()["revision"] != 0.0 {
		t.Errorf("%d tickets: %v", len(tickets), tickets)
	}
	if ended := events[session.SupplyEnded](c); len(ended) != 1 {
		t.Errorf("the session ended %d times", len(ended))
	}
}

func TestOutOfOrderEndsARunningSupply(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	w.listen("ev.supply.telemetry", "ev.supply.done")
	p := w.engine("CP-001", "--speed", "50")
	w.startOrder("S-1", "CP-001", "D-1", "0.3")
	w.nth("ev.supply.telemetry", map[string]any{"session_id": "S-1"}, 2)
	w.order("CP-001", "OUT_OF_ORDER")
	w.hears("ev.supply.done", map[string]any{"session_id": "S-1", "reason": "STOP_BY_CENTRAL"})
	p.engine.types("status")
	p.engine.says("out of order")
	if answer, _ := exchange(t, p.port, "PING", 2); answer != "OK" {
		t.Errorf("out of order is no fault, yet the heartbeat is answered %q", answer)
	}
}

func TestAStartOfABrokenPointDoesNotLeaveTheDriverWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	w.listen("ev.supply.done", "ev.supply.ticket")
	// The point breaks, and nobody has told Central yet.
	p := w.engine("CP-001")
	p.engine.types("k")
	p.engine.says("broken")
	w.referencePoint(c, "CP-001", "0.3")
	driver := w.run("ev-driver", "--driver-id", "D-1", "--cp", "CP-001")
	if status := driver.wait(patience); status != 1 {
		t.Errorf("a driver who got nothing ends with status %d", status)
	}
	w.hears("ev.supply.done", map[string]any{"reason": "REFUSED", "total_kwh": 0.0, "total_eur": 0.0})
	w.hears("ev.supply.ticket", map[string]any{"driver_id": "D-1", "reason": "REFUSED", "total_kwh": 0.0, "total_eur": 0.0})
	if !strings.Contains(driver.output(), "REFUSED") {
		t.Errorf("the driver is not told why:\n%s", driver.output())
	}
}

func TestAMalformedRecordDoesNotKillCentral(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.auth", "ev.supply.start", "ev.supply.ticket")
	read := []string{"ev.register", "ev.health", "ev.supply.request", "ev.supply.telemetry", "ev.supply.done", "ev.control"}
	for _, topic := range read {
		w.send(topic, "{")
		w.send(topic, `"ev"`)
	}
	w.consumed(read...)
	w.referencePoint(c, "CP-001", "0.3")
	s := w.supply("D-1", "CP-001")
	s.done("1", "0.3", "FINISHED")
	s.ticket()
}

func TestIdleClientsDoNotTurnAHealthyPointRed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.point(c, "CP-001")
	w.listen("ev.supply.telemetry")
	disturb(t, p.port, "PI")
	w.request("D-1", "CP-001")
	// The Monitor beats once a second, and so does the Engine report.
	for i := range 5 {
		w.nth("ev.supply.telemetry", nil, i+1)
		if answer, took := exchange(t, p.port, "PING", 2); answer != "OK" || took > time.Second {
			t.Errorf("a beat is answered %q after %s", answer, took)
		}
	}
	if faults := events[chargingpoint.FaultReported](c); len(faults) != 0 {
		t.Errorf("%d faults were reported", len(faults))
	}
	c.shows("CP-001", "SUPPLYING")
}

func TestAClientThatResetsItsConnectionDoesNotEndTheHeartbeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.engine("CP-001")
	for _, said := range []string{"", "P", "PING", "PINGPI", "xx"} {
		conn := dial(t, p.port)
		if _, err := io.WriteString(conn, said); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		if answer, _ := exchange(t, p.port, "PING", 2); answer != "OK" {
			t.Errorf("after a reset behind %q a beat is answered %q", said, answer)
		}
	}
}

func TestHalfAPingIsNotAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.engine("CP-001")
	for _, half := range []string{"P", "PI", "PIN", "PI\nNG", "ping"} {
		conn := dial(t, p.port)
		if _, err := io.WriteString(conn, half); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); len(answer) != 0 {
			t.Errorf("%q is answered %q (%v)", half, answer, err)
		}
	}
	conn := dial(t, p.port)
	for _, piece := range []string{"P", "IN", "G"} {
		if _, err := io.WriteString(conn, piece); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, 2)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "OK" {
		t.Errorf("a PING in pieces is answered %q (%v)", answer, err)
	}
}

func TestReRegisteringUnderARunningSessionDoesNotChangeItsPrice(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.auth", "ev.supply.start", "ev.supply.ticket")
	w.referencePoint(c, "CP-001", "0.3")
	s := w.supply("D-1", "CP-001")
	s.begins(c)
	w.send("ev.register", `{"id": "CP-001", "location": "Nowhere", "price_eur_kwh": 900}`)
	eventually(t, "the point has the new price", func() bool { return c.shown("CP-001")["price"] == 900.0 })
	if state := c.shown("CP-001")["state"]; state != "SUPPLYING" {
		t.Errorf("a registration made the point %s", state)
	}
	s.done("2", "0.6", "FINISHED")
	if ticket := s.ticket(); ticket["price"] != 0.3 || ticket["total_eur"] != 0.6 || ticket["reason"] != "FINISHED" {
		t.Errorf("billed %v", ticket)
	}
}

func TestAnEngineThatStartsLateObeysNoOldStart(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	w.listen("ev.supply.telemetry", "ev.supply.done")
	old := func(ago time.Duration, session, more string) {
		w.produce(&kgo.Record{
			Topic: "ev.supply.start", Timestamp: time.Now().Add(-ago),
			Value: fmt.Appendf(nil, `{"session_id": %q, "cp_id": "CP-001", "driver_id": "D-1", "price": 0.3%s}`, session, more),
		})
	}
	old(time.Hour, "S-1", "")
	old(45*time.Second, "S-2", "")
	old(time.Second, "S-3", fmt.Sprintf(`, "order": 1, "valid_until": %q`, time.Now().UTC().Add(-time.Second).Format(time.RFC3339Nano)))
	w.engine("CP-001")
	w.startOrder("S-4", "CP-001", "D-1", "0.3")
	w.nth("ev.supply.telemetry", map[string]any{"session_id": "S-4"}, 2)
	w.hears("ev.supply.done", map[string]any{"session_id": "S-3", "reason": "REFUSED", "total_kwh": 0.0})
	for _, id := range []string{"S-1", "S-2", "S-3"} {
		if all := w.all("ev.supply.telemetry", map[string]any{"session_id": id}); len(all) != 0 {
			t.Errorf("an old start was obeyed: %s", all[0].Value)
		}
	}
}

func TestRequestsOfAnHourAgoAreNotGrantedWhenCentralComesBack(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.referencePoint(c, "CP-001", "0.3")
	c.stop()
	// The broker has taken them while Central was away: only its clock counts, so it is put back.
	w.timestamps("ev.supply.request", "CreateTime")
	hourAgo := time.Now().Add(-time.Hour)
	w.produce(
		&kgo.Record{Topic: "ev.supply.request", Timestamp: hourAgo, Value: []byte(`{"driver_id": "D-1", "cp_id": "CP-001"}`)},
		&kgo.Record{Topic: "ev.supply.request", Timestamp: hourAgo, Value: []byte(`{"driver_id": "D-2", "cp_id": "CP-001", "request_id": "r-2"}`)},
	)
	c.start() // sets the topic back
	w.listen("ev.supply.auth", "ev.supply.start")
	if answer := w.hears("ev.supply.auth", map[string]any{"driver_id": "D-2"}).fields(); answer["authorized"] != false || answer["reason"] != "EXPIRED" {
		t.Errorf("a request of an hour ago was answered %v", answer)
	}
	w.health("CP-001", "OK")
	w.request("D-3", "CP-001")
	w.hears("ev.supply.start", map[string]any{"driver_id": "D-3"})
	if answers := w.all("ev.supply.auth", map[string]any{"driver_id": "D-1"}); len(answers) != 0 {
		t.Errorf("a driver of the reference would take this for the answer to its next request: %s", answers[0].Value)
	}
	var refused int
	for _, e := range events[session.SupplyRefused](c) {
		if e.Reason == string(chargingpoint.RefusedExpired) {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d expired requests are on record", refused)
	}
}

func TestAnOldGrantIsNotTheAnswerToANewRequest(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	w.listen("ev.supply.request")
	grant := `{"driver_id": "D-1", "cp_id": "CP-001", "authorized": true}`
	w.send("ev.supply.auth", grant)
	w.produce(&kgo.Record{Topic: "ev.supply.auth", Value: []byte(grant), Timestamp: time.Now().Add(-30 * time.Second)})
	// From here on the broker's time counts; a sender's may be five seconds off.
	w.timestamps("ev.supply.auth", "LogAppendTime")
	w.timestamps("ev.supply.request", "LogAppendTime")
	driver := w.run("ev-driver", "--driver-id", "D-1", "--cp", "CP-001")
	w.hears("ev.supply.request", map[string]any{"driver_id": "D-1", "cp_id": "CP-001"})
	w.send("ev.supply.auth", `{"driver_id": "D-1", "cp_id": "CP-001", "authorized": false, "reason": "busy"}`)
	if status := driver.wait(patience); status != 1 {
		t.Errorf("a driver who was refused ends with status %d", status)
	}
	if text := driver.output(); strings.Contains(text, "granted") || !strings.Contains(text, "busy") {
		t.Errorf("the driver took an old grant for its answer:\n%s", text)
	}
}

func TestSessionsAreStoredAndTicketsSent(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.auth", "ev.supply.start", "ev.supply.ticket")
	w.referencePoint(c, "CP-001", "0.3")
	s := w.supply("D-1", "CP-001")
	s.begins(c)
	s.done("2", "0.6", "FINISHED")
	ticket := s.ticket()
	c.kill()
	c.start()
	var stored struct {
		Status string         `json:"status"`
		Ticket map[string]any `json:"ticket"`
	}
	eventually(t, "the session is there after a restart", func() bool { return c.get("/sessions/"+s.session, &stored) })
	if stored.Status != "CLOSED" || stored.Ticket["ticket_id"] != ticket["ticket_id"] || stored.Ticket["total_eur"] != 0.6 {
		t.Errorf("stored is %+v, sent was %v", stored, ticket)
	}
	if tickets := c.tickets(); len(tickets) != 1 {
		t.Errorf("%d tickets are stored", len(tickets))
	}
}

// In binary floats each of these amounts is a micro-euro less, or the sum is not itself.
func TestMoneyAndEnergyAreExact(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.auth", "ev.supply.start", "ev.supply.ticket")
	for i, test := range []struct {
		price, sent string // as they are sent
		energy      domain.MilliwattHours
		amount      domain.MicroEuros
		kwh, eur    string // as the ticket has them
	}{
		{"0.3", "0.000065", 65, 20, "0.000065", "0.00002"},
		{"0.25", "0.000498", 498, 125, "0.000498", "0.000125"},
		{"0.093721", "51.5", 51_500_000, 4_826_632, "51.5", "4.826632"},
		{"0.3", "0.30000000000000004", 300_000, 90_000, "0.3", "0.09"},
		{"0.1", "1e-6", 1, 0, "0.000001", "0"},
		{"1000", "9000", 9_000_000_000, 9_000_000_000_000, "9000", "9000000"},
	} {
		cp := fmt.Sprintf("CP-%d", i)
		w.referencePoint(c, cp, test.price)
		s := w.supply("D-1", cp)
		s.telemetry("7.2", "0.000000")
		s.done(test.sent, "0", "FINISHED")
		s.ticket()
		sent := w.hears("ev.supply.ticket", map[string]any{"session_id": s.session})
		for _, text := range []string{`"total_kwh":` + test.kwh + ",", `"total_eur":` + test.eur + ","} {
			if !strings.Contains(string(sent.Value), text) {
				t.Errorf("%s kWh at %s EUR/kWh: no %s in %s", test.sent, test.price, text, sent.Value)
			}
		}
		bill := c.tickets()[eventlog.Stream("session-"+s.session)]
		if bill.Energy != test.energy || bill.Amount != test.amount {
			t.Errorf("%s kWh at %s EUR/kWh: stored %d mWh, %d µEUR", test.sent, test.price, bill.Energy, bill.Amount)
		}
		eventually(t, "the page has "+test.eur, func() bool {
			response, err := http.Get("http://" + c.pages + "/sessions/" + s.session)
			if err != nil {
				return false
			}
			defer response.Body.Close()
			page, err := io.ReadAll(response.Body)
			return err == nil && strings.Contains(string(page), `"total_eur": `+test.eur+",")
		})
	}
}
