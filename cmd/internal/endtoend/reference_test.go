package endtoend

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// beyondALease is longer than the lease of our Monitors by default.
const beyondALease = 17 * time.Second

// The reference's Monitor, Engine and Driver, played with only their fields and with others
// that nobody knows, on topics as they are made by somebody else, drive our Central through
// everything that they know.
func TestTheReferencesProgramsDriveOurCentral(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	c := w.central()
	w.listen("ev.supply.auth", "ev.supply.start", "ev.commands", "ev.supply.ticket")
	w.hasBrokersTime(referenceTopics...)

	w.send("ev.register", `{"id": "CP-001", "location": "Calle Mayor", "price_eur_kwh": 0.25, "type": "register", "extra": {"a": [1, null]}}`)
	w.send("ev.health", `{"id": "CP-001", "status": "OK", "ts": 1700000000.123}`)
	c.shows("CP-001", "ACTIVATED")
	if p := c.shown("CP-001"); p["location"] != "Calle Mayor" || p["price"] != 0.25 {
		t.Errorf("the point is shown as %v", p)
	}

	// Broken and mended while free. A recovery comes as OK and then RECOVERED.
	w.health("CP-001", "KO")
	c.shows("CP-001", "BROKEN")
	w.request("D-0", "CP-001")
	w.hears("ev.supply.auth", map[string]any{"driver_id": "D-0", "authorized": false, "reason": "BROKEN"})
	w.health("CP-001", "OK")
	w.health("CP-001", "RECOVERED")
	c.shows("CP-001", "ACTIVATED")

	// A supply to its end.
	first := w.supply("D-1", "CP-001")
	answer := w.hears("ev.supply.auth", map[string]any{"driver_id": "D-1"})
	if answer.fields()["authorized"] != true || answer.fields()["cp_id"] != "CP-001" || !answer.At.Before(first.start().At.Add(time.Second)) {
		t.Errorf("the answer is %s", answer.Value)
	}
	if price := first.start().fields()["price"]; price != 0.25 {
		t.Errorf("the price is %v", price)
	}
	for i, euros := range []string{"0.0005", "0.001", "0.0015"} {
		first.telemetry("7.2", euros)
		eventually(t, "the panel has the sample", func() bool {
			var s map[string]any
			return c.get("/sessions/"+first.session, &s) && s["kw"] == 7.2 && s["total_kwh"] == []float64{0.002, 0.004, 0.006}[i]
		})
	}
	first.done("0.0064", "0.0016", "FINISHED")
	if bill := first.ticket(); bill["total_kwh"] != 0.0064 || bill["total_eur"] != 0.0016 || bill["reason"] != "FINISHED" {
		t.Errorf("the first supply was billed %v", bill)
	}
	c.shows("CP-001", "ACTIVATED")

	// Stopped and resumed by an operator.
	second := w.supply("D-2", "CP-001")
	second.begins(c)
	w.succeeds("ev-central", "stop", "CP-001")
	out := w.hears("ev.commands", map[string]any{"cp_id": "CP-001", "cmd": "OUT_OF_ORDER"})
	stop := w.hears("ev.commands", map[string]any{"cp_id": "CP-001", "cmd": "STOP_SUPPLY"})
	if out.fields()["order"] != stop.fields()["order"] || stop.Offset < out.Offset {
		t.Errorf("a stop is %s, then %s", out.Value, stop.Value)
	}
	second.done("0.001", "0.00025", "STOP_BY_CENTRAL")
	if bill := second.ticket(); bill["total_kwh"] != 0.001 || bill["reason"] != "STOP_BY_CENTRAL" {
		t.Errorf("the second supply was billed %v", bill)
	}
	c.shows("CP-001", "OUT_OF_ORDER")
	w.request("D-3", "CP-001")
	w.hears("ev.supply.auth", map[string]any{"driver_id": "D-3", "authorized": false, "reason": "OUT_OF_ORDER"})
	w.succeeds("ev-central", "resume", "CP-001")
	w.hears("ev.commands", map[string]any{"cp_id": "CP-001", "cmd": "RESUME"})
	c.shows("CP-001", "ACTIVATED")

	// Started by an operator, ended by a fault. After a stop the point is held for a while.
	eventually(t, "an operator starts a supply", func() bool { return w.call("ev-central", "start", "CP-001", "D-4").status == 0 })
	commanded := w.hears("ev.commands", map[string]any{"cp_id": "CP-001", "cmd": "START_SUPPLY"}).fields()
	start := w.hears("ev.supply.start", map[string]any{"cp_id": "CP-001", "driver_id": "D-4"}).fields()
	for _, field := range []string{"session_id", "driver_id", "price", "order", "valid_until"} {
		if commanded[field] == nil || commanded[field] != start[field] {
			t.Errorf("a commanded start has the %s %v and %v", field, commanded[field], start[field])
		}
	}
	third := supply{w, start["session_id"].(string), "CP-001", "D-4"}
	third.begins(c)
	w.health("CP-001", "KO")
	c.shows("CP-001", "BROKEN")
	w.hears("ev.commands", map[string]any{"cmd": "STOP_SUPPLY", "session_id": third.session, "reason": "KO"})
	third.done("0.002", "0.0005", "KO")
	if bill := third.ticket(); bill["total_kwh"] != 0.002 || bill["reason"] != "KO" {
		t.Errorf("the third supply was billed %v", bill)
	}
	w.health("CP-001", "RECOVERED")
	c.shows("CP-001", "ACTIVATED")

	// The Monitor speaks only of changes, so its point never goes grey by silence, in a supply
	// or not, over a restart of Central either.
	w.referencePoint(c, "CP-002", "0.25")
	var long supply
	eventually(t, "the point is granted again", func() bool {
		w.request("D-5", "CP-001")
		answers := w.all("ev.supply.auth", map[string]any{"driver_id": "D-5", "authorized": true})
		return len(answers) > 0
	})
	long = supply{w, w.hears("ev.supply.start", map[string]any{"driver_id": "D-5"}).fields()["session_id"].(string), "CP-001", "D-5"}
	began, samples := time.Now(), 0
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for restarted := false; time.Since(began) < beyondALease; <-beat.C {
		samples++
		long.telemetry("7.2", fmt.Sprintf("%.4f", 0.0005*float64(samples)))
		if !restarted && samples == 4 {
			c.stop()
			c.start()
			restarted = true
		}
		if state := c.shown("CP-002")["state"]; state != "ACTIVATED" {
			t.Fatalf("%s after its last word the free point is %v", time.Since(began), state)
		}
	}
	long.done("0.05", "0.0125", "FINISHED")
	if bill := long.ticket(); bill["total_kwh"] != 0.05 || bill["reason"] != "FINISHED" {
		t.Errorf("the long supply was billed %v", bill)
	}
	if n := len(c.tickets()); n != 4 {
		t.Errorf("%d tickets for four supplies", n)
	}

	// What the reference's programs read are numbers, texts and truths, no null.
	for _, topic := range []string{"ev.supply.auth", "ev.supply.start", "ev.commands"} {
		for _, r := range w.all(topic, nil) {
			for name, value := range r.fields() {
				_, isText := value.(string)
				figure := name == "price" || name == "order"
				if value == nil || figure && isText {
					t.Errorf("%s: a program of the reference dies of this %s: %s", topic, name, r.Value)
				}
			}
		}
	}
}

// start is the order that started the supply.
func (s supply) start() record {
	s.w.t.Helper()
	return s.w.hears("ev.supply.start", map[string]any{"session_id": s.session})
}

// succeeds runs a program that must end with status 0, and gives what it printed.
func (w *world) succeeds(name string, args ...string) string {
	w.t.Helper()
	r := w.call(name, args...)
	if r.status != 0 {
		w.t.Errorf("%s %v ended with %d: %s", name, args, r.status, r.stderr)
	}
	return r.stdout
}

// hasBrokersTime fails the test unless topics have one partition, as they were made, and
// the broker's time.
func (w *world) hasBrokersTime(topics ...string) {
	w.t.Helper()
	var resources []kafka.DescribeConfigRequestResource
	for _, topic := range topics {
		resources = append(resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"message.timestamp.type"},
		})
	}
	configs, err := w.client.DescribeConfigs(context.Background(), &kafka.DescribeConfigsRequest{Resources: resources})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range configs.Resources {
		for _, e := range r.ConfigEntries {
			if e.ConfigName == "message.timestamp.type" && e.ConfigValue != "LogAppendTime" {
				w.t.Errorf("the topic %s has the time of %s", r.ResourceName, e.ConfigValue)
			}
		}
	}
	metadata, err := w.client.Metadata(context.Background(), &kafka.MetadataRequest{Topics: topics})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, topic := range metadata.Topics {
		if len(topic.Partitions) != 1 {
			w.t.Errorf("the topic %s has %d partitions", topic.Name, len(topic.Partitions))
		}
	}
}

// A Central of the reference, played with only its fields and with others that nobody
// knows, drives our Engine, Monitor and Driver. It has no tickets and no numbers of orders.
func TestTheReferencesCentralDrivesOurPrograms(t *testing.T) {
	t.Parallel()
	w := newReferenceWorld(t)
	w.listen(referenceTopics...)
	p := w.engine("CP-001", "--speed", "10")
	p.central = &central{w: w, port: acknowledge(t)}
	p.startMonitor("--price", "0.25")

	registration := w.hears("ev.register", map[string]any{"id": "CP-001"}).fields()
	if registration["location"] != "Alicante" || registration["price_eur_kwh"] != 0.25 {
		t.Errorf("registered is %v", registration)
	}
	w.hears("ev.health", map[string]any{"id": "CP-001", "status": "OK"})

	list := w.file("requests.txt", "# what I need\nCP-001\n\nCP-001 # again\n")
	driver := w.run("ev-driver", "--driver-id", "D-1", "--file", list, "--next-delay", "0")
	request := w.hears("ev.supply.request", nil).fields()
	if request["driver_id"] != "D-1" || request["cp_id"] != "CP-001" {
		t.Errorf("asked is %v", request)
	}
	w.send("ev.supply.auth", `{"driver_id": "D-1", "cp_id": "CP-001", "authorized": true, "queue": [], "reason": null}`)
	w.send("ev.supply.start", `{"session_id": "12", "cp_id": "CP-001", "driver_id": "D-1", "price": 0.25, "requested_at": 1.5}`)
	driver.says("granted")
	driver.says("supplying")
	for i := range 3 {
		sample := w.nth("ev.supply.telemetry", map[string]any{"session_id": "12", "cp_id": "CP-001", "driver_id": "D-1"}, i+1)
		var figures struct{ KW, Euros json.Number }
		if err := json.Unmarshal(sample.Value, &figures); err != nil || figures.KW != "22" {
			t.Errorf("a sample is %s (%v)", sample.Value, err)
		}
	}
	w.send("ev.commands", `{"cp_id": "CP-001", "cmd": "STOP_SUPPLY", "why": "because"}`)
	done := w.hears("ev.supply.done", map[string]any{"session_id": "12", "reason": "STOP_BY_CENTRAL"})
	driver.says("STOP_BY_CENTRAL")
	driver.says("no ticket has come; as the point reported it")
	kwh, eur := done.fields()["total_kwh"], done.fields()["total_eur"]
	if text := driver.output(); !strings.Contains(text, fmt.Sprintf("%v kWh, %v EUR", kwh, eur)) {
		t.Errorf("the driver was not told %v kWh and %v EUR:\n%s", kwh, eur, text)
	}
	if waited := time.Since(done.At); waited < 10*time.Second {
		t.Errorf("the done was taken for the ticket after %s", waited)
	}

	w.nth("ev.supply.request", nil, 2)
	w.send("ev.supply.auth", `{"driver_id": "D-1", "cp_id": "CP-001", "authorized": false, "reason": "ocupado"}`)
	if status := driver.wait(patience); status != 1 {
		t.Errorf("a driver with one refusal ends with %d", status)
	}
	for _, line := range []string{"refused: ocupado", "1 of 2 served"} {
		if !strings.Contains(driver.output(), line) {
			t.Errorf("the driver does not say %q:\n%s", line, driver.output())
		}
	}

	// Commands without a number are obeyed, what is not known is passed over.
	w.order("CP-001", "OUT_OF_ORDER")
	p.engine.says("out of order")
	w.send("ev.commands", `{"cp_id": "CP-001", "cmd": "DANCE"}`)
	w.send("ev.commands", `not for anybody`)
	w.order("CP-001", "RESUME")
	p.engine.says("in service again")
	w.send("ev.commands", `{"cp_id": "CP-001", "cmd": "START_SUPPLY", "session_id": "13", "driver_id": "D-2", "price": 0.5}`)
	w.nth("ev.supply.telemetry", map[string]any{"session_id": "13", "driver_id": "D-2"}, 2)

	p.engine.types("k")
	w.hears("ev.health", map[string]any{"id": "CP-001", "status": "KO"})
	w.hears("ev.supply.done", map[string]any{"session_id": "13", "reason": "KO"})
	p.engine.types("r")
	w.hears("ev.health", map[string]any{"id": "CP-001", "status": "RECOVERED"})
	p.monitor.stop()
	p.engine.stop()
}

// acknowledge is a port that answers ACK to anything and closes, as the reference's
// Central does.
func acknowledge(t *testing.T) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil {
				_, _ = conn.Write([]byte("ACK"))
			}
			conn.Close()
		}
	})
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port
}
