package endtoend

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"evcharging/domain/session"
)

// centralReads are the topics that have a dead-letter topic.
var centralReads = []string{"ev.register", "ev.health", "ev.supply.request", "ev.supply.telemetry", "ev.supply.done", "ev.control"}

// input is a record that somebody sends. It is understood and acted on, answered or
// ignored where reason is empty; else it must come to the dead-letter topic with a reason
// that says so.
type input struct{ topic, value, reason string }

func TestExactlyWhatIsUnreadableOrImpossibleIsInTheDeadLetterTopics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.makeTopics(3, centralReads...)
	w.makeTopics(1, "ev.supply.auth", "ev.supply.start", "ev.supply.ticket")
	c := w.central()
	w.listen("ev.supply.auth", "ev.supply.start", "ev.supply.ticket")
	// The work that goes on meanwhile: a real point and a real driver.
	w.point(c, "CP-REAL", "--power", "20", "--battery", "0.03")
	driver := w.run("ev-driver", "--driver-id", "D-REAL", "--cp", "CP-REAL")
	driver.says("supplying")
	// And what the bad input is about: a supply that runs, one that is over, one that was refused.
	w.referencePoint(c, "CP-A", "0.3")
	w.referencePoint(c, "CP-B", "0.3")
	w.referencePoint(c, "CP-C", "0.3")
	running, over, late := w.supply("D-A", "CP-A"), w.supply("D-B", "CP-B"), w.supply("D-C", "CP-C")
	over.done("2", "0.6", "FINISHED")
	over.ticket()
	sample := func(s supply, more string) string {
		return fmt.Sprintf(`{"session_id":%q,"cp_id":%q,"driver_id":%q,%s}`, s.session, s.cp, s.driver, more)
	}
	for _, s := range []supply{running, late} {
		w.send("ev.supply.telemetry", sample(s, `"kw":7,"euros":0.3,"kwh":1,"seq":5,"at":"1970-01-01T00:00:00Z"`))
		c.has(s.session, "SUPPLYING")
	}
	w.send("ev.supply.request", `{"driver_id":"D-A","cp_id":"CP-A","request_id":"r-1"}`)
	w.hears("ev.supply.auth", map[string]any{"request_id": "r-1", "reason": "OCCUPIED"})

	elsewhere, stranger := running, running
	elsewhere.cp, stranger.driver = "CP-B", "D-B"
	unknown := supply{session: "S-0", cp: "CP-A", driver: "D-A"}
	long := strings.Repeat("x", 65)
	inputs := []input{
		{"ev.register", `{"id":"CP-X","price_eur_kwh":0.2,"firmware":{"deep":[[1,{"x":null}]]}}`, ""},
		{"ev.register", `{"id":"CP-A","location":"Alicante","price_eur_kwh":0.3,"at":"1970-01-01T00:00:00Z"}`, ""},
		{"ev.register", ``, "it is empty"},
		{"ev.register", `register me`, "it is not JSON"},
		{"ev.register", `{"id":"CP-X"`, "it is not JSON"},
		{"ev.register", "\xef\xbb\xbf" + `{"id":"CP-X"}`, "it is not JSON"},
		{"ev.register", `{"id":"CP-X"} {"id":"CP-Y"}`, "more after the JSON object"},
		{"ev.register", `{"id":"CP-X","id":"CP-Y"}`, "duplicate"},
		{"ev.register", `[{"id":"CP-X"}]`, "an array where an object is expected"},
		{"ev.register", `null`, "null where an object is expected"},
		{"ev.register", `{}`, `"id" is missing`},
		{"ev.register", `{"id":null}`, `"id" is null`},
		{"ev.register", `{"id":7}`, `"id" is a number where a text is expected`},
		{"ev.register", `{"id":"a b"}`, `"id" is not an id`},
		{"ev.register", `{"id":"` + long + `"}`, `"id" is not an id`},
		{"ev.register", `{"id":"CP-X","price_eur_kwh":-0.01}`, `"price_eur_kwh" can't be taken: out of range`},
		{"ev.register", `{"id":"CP-X","price_eur_kwh":1000.01}`, `"price_eur_kwh" can't be taken: out of range`},
		{"ev.register", `{"id":"CP-X","price_eur_kwh":1e999999999}`, `"price_eur_kwh" can't be taken: out of range`},
		{"ev.register", `{"id":"CP-X","price_eur_kwh":"0.3"}`, `"price_eur_kwh" is a text where a number is expected`},
		{"ev.register", `{"id":"CP-X","price_eur_kwh":NaN}`, "it is not JSON"},
		{"ev.register", `{"id":"CP-X","location":"` + strings.Repeat("x", 257) + `"}`, `"location" is longer than 256 bytes`},
		{"ev.register", `{"id":"CP-X","location":"\u0007"}`, `"location" has control characters`},
		{"ev.register", `{"id":"CP-X","location":"` + "\xff" + `"}`, "UTF-8"},
		{"ev.register", `{"id":"CP-X","at":"yesterday"}`, `"at" is not a time`},
		{"ev.register", `{"id":"CP-X","` + strings.Repeat("x", 900_000), "it is not JSON"},

		{"ev.health", `{"id":"CP-A","status":"OK"}`, ""},
		{"ev.health", `{"id":"CP-NEW","status":"OK"}`, ""},
		{"ev.health", `{"id":"CP-A"}`, `"status" is missing`},
		{"ev.health", `{"id":"CP-A","status":"FINE"}`, `"status" is "FINE", none of OK, KO, RECOVERED`},
		{"ev.health", `{"id":"CP-A","status":"OK","lease_seconds":2}`, `"lease_seconds" is out of range: 2 is not between 3 and 3600`},
		{"ev.health", `{"id":"CP-A","status":"OK","lease_seconds":3601}`, `"lease_seconds" is out of range`},
		{"ev.health", `{"id":"CP-A","status":"OK","lease_seconds":15.5}`, `"lease_seconds" is not a whole number`},

		{"ev.supply.request", `{"driver_id":"D-A","cp_id":"CP-A","request_id":"r-1"}`, ""},
		{"ev.supply.request", `{"driver_id":"D-A","cp_id":"CP-NOBODY"}`, ""},
		{"ev.supply.request", `{"cp_id":"CP-A"}`, `"driver_id" is missing`},
		{"ev.supply.request", `{"driver_id":"D-A","cp_id":"Charging Point"}`, `"cp_id" is not an id`},
		{"ev.supply.request", `{"driver_id":"D-A","cp_id":"CP-A","request_id":"` + long + `"}`, `"request_id" is not an id`},
		{"ev.supply.request", `{"driver_id":"D-A","cp_id":"CP-A","origin":"moon"}`, `"origin" is "moon"`},

		{"ev.supply.telemetry", sample(late, `"kw":7,"euros":0.3,"kwh":1,"seq":5`), ""},   // repeated
		{"ev.supply.telemetry", sample(late, `"kw":7,"euros":0.2,"kwh":0.7,"seq":4`), ""}, // late, out of order
		{"ev.supply.telemetry", sample(late, `"kw":7,"euros":0.2,"kwh":0.7,"seq":6`), ""}, // runs backwards
		{"ev.supply.telemetry", sample(over, `"kw":7,"euros":3,"kwh":10,"seq":9`), ""},    // of a closed session
		{"ev.supply.telemetry", sample(running, `"euros":0.3`), `"kw" is missing`},
		{"ev.supply.telemetry", sample(running, `"kw":null,"euros":0.3`), `"kw" is null`},
		{"ev.supply.telemetry", sample(running, `"kw":-1,"euros":0.3`), `"kw" can't be taken: out of range`},
		{"ev.supply.telemetry", sample(running, `"kw":10000.1,"euros":0.3`), `"kw" can't be taken: out of range`},
		{"ev.supply.telemetry", sample(running, `"kw":7,"euros":-0.01`), `"euros" can't be taken: out of range`},
		{"ev.supply.telemetry", sample(running, `"kw":7,"euros":9000000.1`), `"euros" can't be taken: out of range`},
		{"ev.supply.telemetry", sample(running, `"kw":7,"euros":0.3,"kwh":9000.1`), `"kwh" can't be taken: out of range`},
		{"ev.supply.telemetry", sample(running, `"kw":7,"euros":0.3,"seq":-1`), `"seq" is out of range`},
		{"ev.supply.telemetry", sample(running, `"kw":7,"euros":0.3,"seq":9007199254740992`), `"seq" is out of range`},
		{"ev.supply.telemetry", sample(running, `"kw":7,"euros":0.3,"at":1`), `"at" is a number where a text is expected`},
		{"ev.supply.telemetry", sample(running, `"kw":7,"euros":9000000`), "out of range"}, // 30 GWh
		{"ev.supply.telemetry", sample(unknown, `"kw":7,"euros":0.3`), "session"},
		{"ev.supply.telemetry", sample(elsewhere, `"kw":7,"euros":0.3`), "point"},
		{"ev.supply.telemetry", sample(stranger, `"kw":7,"euros":0.3`), "driver"},

		{"ev.supply.done", sample(over, `"total_kwh":2,"total_eur":0.6,"reason":"FINISHED"`), ""}, // repeated
		{"ev.supply.done", sample(over, `"total_kwh":1,"total_eur":0.3,"reason":"KO"`), ""},       // late, and less
		{"ev.supply.done", sample(running, `"total_kwh":1,"reason":"FINISHED"`), `"total_eur" is missing`},
		{"ev.supply.done", sample(running, `"total_kwh":-1,"total_eur":0.3,"reason":"FINISHED"`), `"total_kwh" can't be taken: out of range`},
		{"ev.supply.done", sample(running, `"total_kwh":1,"total_eur":0.3,"reason":"BORED"`), `"reason" is "BORED"`},
		{"ev.supply.done", sample(unknown, `"total_kwh":1,"total_eur":0.3,"reason":"FINISHED"`), "session"},
		{"ev.supply.done", sample(elsewhere, `"total_kwh":1,"total_eur":0.3,"reason":"FINISHED"`), "point"},
		{"ev.supply.done", sample(stranger, `"total_kwh":1,"total_eur":0.3,"reason":"FINISHED"`), "driver"},

		{"ev.control", `{"id":"c-1","cp_id":"CP-B","action":"resume"}`, ""}, // true already
		{"ev.control", `{"id":"c-2","cp_id":"CP-B","action":"deadline","kind":"lease","due_at":"2026-01-01T00:00:00Z"}`, ""},
		{"ev.control", fmt.Sprintf(`{"id":"c-3","cp_id":"CP-B","action":"deadline","kind":"silence","due_at":"2026-01-01T00:00:00Z","session_id":%q}`, over.session), ""},
		{"ev.control", `{"id":"c-4","cp_id":"CP-A","action":"dance"}`, `"action" is "dance"`},
		{"ev.control", `{"cp_id":"CP-A","action":"stop"}`, `"id" is missing`},
		{"ev.control", `{"id":"c-5","cp_id":"CP-A","action":"start"}`, `"driver_id" is missing`},
		{"ev.control", `{"id":"c-6","cp_id":"CP-NOBODY","action":"stop"}`, "no such point is registered"},
		{"ev.control", `{"id":"c-7","cp_id":"CP-A","action":"price","price":-1}`, `"price" can't be taken: out of range`},
		{"ev.control", `{"id":"c-8","cp_id":"CP-A","action":"price","price":1,"from":"2999-01-01T00:00:00Z"}`, ""},
		{"ev.control", `{"id":"c-9","cp_id":"CP-A","action":"deadline","kind":"silence","due_at":"2026-01-01T00:00:00Z"}`, "lacks what its action needs"},
	}
	var messages []*kgo.Record
	want := map[string]map[string]string{}
	for _, topic := range centralReads { // a null is no empty value
		inputs = append(inputs, input{topic, tombstone, "it has no value"})
		want[topic] = map[string]string{}
	}
	for i, in := range inputs {
		if in.reason != "" {
			want[in.topic][in.value] = in.reason
		}
		m := &kgo.Record{Topic: in.topic, Value: []byte(in.value)}
		if in.value == tombstone {
			m.Value = nil
		}
		if i%2 == 0 {
			m.Key, m.Headers = []byte("a key"), []kgo.RecordHeader{{Key: "trace", Value: []byte("a header")}}
		}
		messages = append(messages, m)
	}
	w.produce(messages...)
	w.consumed(centralReads...)

	for _, topic := range centralReads {
		came := w.read(topic)
		for _, letter := range w.read(topic + ".dlq") {
			reason, ok := want[topic][text(letter)]
			if !ok {
				t.Errorf("%s: this is neither unreadable nor impossible, or it is there twice: %q", topic, clip(text(letter)))
				continue
			}
			delete(want[topic], text(letter))
			if !strings.Contains(letter.Headers["dlq_error"], reason) {
				t.Errorf("%s: %s: the reason is %q, want %q", topic, clip(text(letter)), letter.Headers["dlq_error"], reason)
			}
			isOneOf(t, letter, topic, came)
		}
		for value := range want[topic] {
			t.Errorf("%s: it is not in the dead-letter topic: %s", topic, clip(value))
		}
	}

	// What else was going on is not touched by any of it.
	if status := driver.wait(patience); status != 0 {
		t.Errorf("the real driver ended with %d", status)
	}
	running.done("1.5", "0.45", "FINISHED")
	if ticket := running.ticket(); ticket["total_kwh"] != 1.5 || ticket["total_eur"] != 0.45 {
		t.Errorf("the running supply was billed %v", ticket)
	}
	late.done("1.25", "0.375", "FINISHED")
	if ticket := late.ticket(); ticket["total_kwh"] != 1.25 {
		t.Errorf("the supply with late and repeated samples was billed %v", ticket)
	}
	if started, _ := time.Parse(time.RFC3339, running.ticket()["started_at"].(string)); time.Since(started) > time.Hour {
		t.Errorf("a clock from 1970 is on the ticket: %s", started)
	}
	if ticket := over.ticket(); ticket["total_kwh"] != 2.0 {
		t.Errorf("the supply that was over was billed %v", ticket)
	}
	if n := len(w.all("ev.supply.ticket", nil)); n != 4 {
		t.Errorf("%d tickets for four supplies", n)
	}
	w.hears("ev.supply.auth", map[string]any{"cp_id": "CP-NOBODY", "authorized": false, "reason": "UNKNOWN_POINT"})
	answers := w.all("ev.supply.auth", map[string]any{"request_id": "r-1"})
	if len(answers) != 2 || !bytes.Equal(answers[0].Value, answers[1].Value) {
		t.Errorf("a repeated request has %d answers, or other ones", len(answers))
	}
	for _, e := range events[session.SupplyEnded](c) {
		if e.EnergyReported == 1_250_000 && (e.Ignored.NotNewer != 2 || e.Ignored.RunsBackwards != 1) {
			t.Errorf("ignored were %+v", e.Ignored)
		}
	}
}

// tombstone stands for a null in a table of texts.
const tombstone = "\x00null"

// text is a record's value, a null as tombstone.
func text(r record) string {
	if r.Value == nil {
		return tombstone
	}
	return string(r.Value)
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// isOneOf fails the test unless a dead letter is, byte for byte, the record that its headers name.
func isOneOf(t *testing.T, letter record, topic string, came []record) {
	t.Helper()
	headers := maps.Clone(letter.Headers)
	maps.DeleteFunc(headers, func(name, _ string) bool { return strings.HasPrefix(name, "dlq_") })
	for _, was := range came {
		if letter.Headers["dlq_topic"] != topic || letter.Headers["dlq_partition"] != strconv.Itoa(was.Partition) ||
			letter.Headers["dlq_offset"] != strconv.FormatInt(was.Offset, 10) {
			continue
		}
		if text(was) != text(letter) || was.Key != letter.Key || !maps.Equal(was.Headers, headers) {
			t.Errorf("a dead letter of %s is not as it came: %q, %q, %v instead of %q, %q, %v", topic,
				letter.Key, clip(text(letter)), headers, was.Key, clip(text(was)), was.Headers)
		}
		return
	}
	t.Errorf("the record that a dead letter of %s names is not there: %v", topic, letter.Headers)
}

func TestBadTCPClientsDelayNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	p := w.point(c, "CP-001")
	disturb(t, c.port, "HELLO CP-0")
	disturb(t, p.port, "PI")
	for range 10 {
		if answer, took := exchange(t, c.port, "HELLO CP-002\n", 3); answer != "OK\n" || took > time.Second {
			t.Errorf("port 7000 answers %q after %s", answer, took)
		}
		if answer, took := exchange(t, p.port, "PING", 2); answer != "OK" || took > time.Second {
			t.Errorf("port 7100 answers %q after %s", answer, took)
		}
	}
	for say, want := range map[string]string{
		"HELLO CP-001":                       "OK\n", // the end of file ends a line
		"HELLO CP-001\r\n":                   "OK\n",
		"HELLO \n":                           "DENIED say HELLO and the id of a charging point\n",
		"GET / HTTP/1.1\r\n":                 "DENIED say HELLO and the id of a charging point\n",
		"\xff\xfe\n":                         "DENIED say HELLO and the id of a charging point\n",
		"HELLO " + strings.Repeat("x", 1000): "DENIED a line is at most 256 bytes\n",
		"HELLO " + strings.Repeat("x", 65) + "\n": "DENIED say HELLO and the id of a charging point\n",
	} {
		if answer := w.say(c.port, say); answer != want {
			t.Errorf("%q is answered %q, want %q", clip(say), answer, want)
		}
	}
	// A Monitor that comes now is served at once.
	w.point(c, "CP-002")
	if shown := c.shown("CP-001"); shown["state"] != "ACTIVATED" {
		t.Errorf("the point is %v", shown)
	}
}

func TestBadUsageIsOneSentenceAndStatus2(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.file("secrets", "CP-001 a\nnonsense\n")
	w.file("two-lines", "a\nb\n")
	w.file("points", "CP-001\nnot a point\n")
	engine := []string{"--id", "CP-001"}
	monitor := []string{"--id", "CP-001", "--engine-host", "h", "--engine-port", "1", "--central-host", "h", "--central-port", "1"}
	driver := []string{"--driver-id", "D-001"}
	with := func(args []string, more ...string) []string { return append(slices.Clone(args), more...) }
	for _, test := range []struct {
		program   string
		args      []string
		variables []string
		says      string
	}{
		{"ev-central", []string{"--colour"}, nil, "--colour"},
		{"ev-central", []string{"--port", "70000"}, nil, "70000 is not between 0 and 65535"},
		{"ev-central", []string{"--port", "http"}, nil, `"http" is no whole number`},
		{"ev-central", []string{"--kafka", "localhost"}, nil, `"localhost" has no port`},
		{"ev-central", []string{"--kafka", ""}, nil, "there is no address"},
		{"ev-central", []string{"--take-up", "0s"}, nil, "not between"},
		{"ev-central", []string{"--take-up", "soon"}, nil, `"soon" is no number of seconds`},
		{"ev-central", []string{"--default-price", "cheap"}, nil, "a price is EUR per kWh"},
		{"ev-central", []string{"--default-price", "1000.01"}, nil, "0 to 1000"},
		{"ev-central", []string{"--http", "7080"}, nil, "--http"},
		{"ev-central", []string{"--secrets", "nowhere"}, nil, "nowhere"},
		{"ev-central", []string{"--secrets", "secrets"}, nil, "line 2 of secrets"},
		{"ev-central", []string{"--log-level", "LOUD"}, nil, `"LOUD" is none of`},
		{"ev-central", nil, []string{"CENTRAL_PORT=x"}, "CENTRAL_PORT in the environment"},
		{"ev-central", nil, []string{"KAFKA_BOOTSTRAP_SERVERS=here"}, "KAFKA_BOOTSTRAP_SERVERS in the environment"},
		{"ev-central", nil, []string{"DEFAULT_PRICE_EUR_KWH=-1"}, "DEFAULT_PRICE_EUR_KWH in the environment"},
		{"ev-central", nil, []string{"LOG_LEVEL=loud"}, "LOG_LEVEL in the environment"},
		{"ev-central", []string{"dance"}, nil, "dance"},
		{"ev-central", []string{"stop"}, nil, "<point>"},
		{"ev-central", []string{"stop", "a b"}, nil, "an id is"},
		{"ev-central", []string{"start", "CP-001"}, nil, "<driver>"},
		{"ev-central", []string{"start", "CP-001", "a b"}, nil, "an id is"},
		{"ev-central", []string{"price", "CP-001", "free"}, nil, "a price is a number of EUR per kWh, or auto"},
		{"ev-central", []string{"points", "--http", "here"}, nil, "--http"},
		{"ev-cp-e", nil, nil, "--id"},
		{"ev-cp-e", with(engine, "--port", "-1"), nil, "-1"},
		{"ev-cp-e", with(engine, "--plug", "maybe"), nil, "--plug"},
		{"ev-cp-e", with(engine, "--battery", "0"), nil, "a battery takes"},
		{"ev-cp-e", with(engine, "--power", "NaN"), nil, "a point supplies"},
		{"ev-cp-e", with(engine, "--speed", "0"), nil, "not between 1 and 10000"},
		{"ev-cp-e", engine, []string{"CP_ENGINE_PORT=many"}, "CP_ENGINE_PORT in the environment"},
		{"ev-cp-m", nil, nil, "--id"},
		{"ev-cp-m", []string{"--id", "CP-001"}, nil, "--engine-host"},
		{"ev-cp-m", with(monitor, "--lease", "2"), nil, "not between 3s and 1h0m0s"},
		{"ev-cp-m", with(monitor, "--price=-0.1"), nil, "a price is EUR per kWh"},
		{"ev-cp-m", with(monitor, "--location", "a\nb"), nil, "without control characters"},
		{"ev-cp-m", with(monitor, "--secret-file", "nowhere"), nil, "nowhere"},
		{"ev-cp-m", with(monitor, "--secret-file", "two-lines"), nil, "one line"},
		{"ev-cp-m", monitor, []string{"DEFAULT_PRICE_EUR_KWH=dear"}, "DEFAULT_PRICE_EUR_KWH in the environment"},
		{"ev-driver", nil, nil, "--driver-id"},
		{"ev-driver", driver, nil, "--cp"},
		{"ev-driver", with(driver, "--cp", "CP-001", "--file", "points"), nil, "--file"},
		{"ev-driver", with(driver, "--cp", "no point"), nil, "an id is"},
		{"ev-driver", with(driver, "--file", "nowhere"), nil, "nowhere"},
		{"ev-driver", with(driver, "--file", "points"), nil, "line 2"},
		{"ev-driver", with(driver, "--cp", "CP-001"), []string{"DRIVER_NEXT_DELAY_SEC=-4"}, "DRIVER_NEXT_DELAY_SEC in the environment"},
		{"evcharging", []string{"--points=-1"}, nil, "not between 0 and 1000"},
		{"evcharging", []string{"--points", "-1"}, nil, `expected a value but got "-1"`},
		{"evcharging", []string{"--speed", "0"}, nil, "not between 1 and 3600"},
		{"evcharging", []string{"--host", "a:b"}, nil, "--host"},
		{"evcharging", nil, []string{"LOG_LEVEL=7"}, "LOG_LEVEL in the environment"},
	} {
		t.Run(test.program+" "+strings.Join(append(test.args, test.variables...), " "), func(t *testing.T) {
			w.callWith(test.variables, test.program, test.args...).isSentence(t, test.program, 2, test.says)
		})
	}
	t.Run(".env", func(t *testing.T) {
		w.file(".env", "LOG_LEVEL=loud\n")
		for _, program := range []string{"ev-central", "ev-cp-e", "ev-cp-m", "ev-driver", "evcharging"} {
			w.callWith(nil, program, map[string][]string{"ev-cp-e": engine, "ev-cp-m": monitor, "ev-driver": with(driver, "--cp", "CP-001")}[program]...).
				isSentence(t, program, 2, "LOG_LEVEL in .env")
		}
	})
}

func TestWhoWaitsForTheBrokerSaysSoOnceAndCanBeStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const said = "Kafka can't be reached at"
	for _, program := range [][]string{
		{"ev-central", "--host", "127.0.0.1", "--port", "0", "--http", "off", "--log", "log"},
		{"ev-cp-e", "--id", "CP-001", "--host", "127.0.0.1", "--port", "0"},
		{"ev-cp-m", "--id", "CP-001", "--engine-host", "127.0.0.1", "--engine-port", "1", "--central-host", "127.0.0.1", "--central-port", "1"},
		{"ev-driver", "--driver-id", "D-001", "--cp", "CP-001"},
	} {
		t.Run(program[0], func(t *testing.T) {
			t.Parallel()
			noBroker, tried := hangUp(t)
			p := (&world{t: t, dir: w.dir}).launch(program[0], append(program[1:], "--kafka", noBroker)...)
			eventually(t, "it has tried several times", func() bool { return tried() > 6 })
			// Why may change from one time to the next: each reason is said once.
			lines := map[string]bool{}
			for line := range strings.Lines(p.output()) {
				_, why, isOne := strings.Cut(line, said)
				if isOne && lines[why] {
					t.Errorf("it repeats itself:\n%s", p.output())
				}
				lines[why] = true
			}
			p.says(said)
			p.stop()
		})
	}
}

// hangUp is an address where everybody who calls is hung up on; tried counts them.
func hangUp(t *testing.T) (address string, tried func() int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
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
			calls.Add(1)
			conn.Close()
		}
	})
	return listener.Addr().String(), calls.Load
}
