package endtoend

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// checks runs a program's subcommand health: its exit status and what it prints.
func (w *world) checks(name, at string, args ...string) (status int, says string) {
	w.t.Helper()
	p := w.launch(name, append([]string{"health", "--http", at}, args...)...)
	return p.wait(10 * time.Second), p.output()
}

// healthy waits until a program's check says that it is ready.
func (w *world) healthy(name, at string) {
	w.t.Helper()
	eventually(w.t, name+" is ready", func() bool {
		if !w.answers(at, "/readyz", http.StatusOK, "ready\n") { // a process for each look is too dear
			return false
		}
		status, says := w.checks(name, at)
		return status == 0 && says == "ready\n"
	})
}

// unhealthy waits until a program's check fails with a reason; the program must be alive.
func (w *world) unhealthy(name, at, reason string) {
	w.t.Helper()
	eventually(w.t, name+" is not ready: "+reason, func() bool {
		if !w.answers(at, "/readyz", http.StatusServiceUnavailable, reason) {
			return false
		}
		status, says := w.checks(name, at)
		return status == 1 && strings.Contains(says, "not ready") && strings.Contains(says, reason)
	})
	if status, says := w.checks(name, at, "--live"); status != 0 || says != "alive\n" {
		w.t.Errorf("%s is not alive: %d, %s", name, status, says)
	}
}

// answers tells whether a page answers with a status and a text.
func (w *world) answers(at, page string, status int, text string) bool {
	is, says, err := ask(at, page)
	return err == nil && is == status && strings.Contains(says, text)
}

// page is what answers for a page: its status and text.
func (w *world) page(at, page string) (status int, text string) {
	w.t.Helper()
	status, text, err := ask(at, page)
	must(w.t, err)
	return status, text
}

func ask(at, page string) (status int, text string, err error) {
	client := http.Client{Timeout: 10 * time.Second} // what Prometheus waits
	response, err := client.Get("http://" + at + page)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// scraped is the value of a series, such as evcharging_ready; -1 where there is none.
func (w *world) scraped(at, series string) float64 {
	w.t.Helper()
	status, text := w.page(at, "/metrics")
	if status != http.StatusOK {
		w.t.Fatalf("/metrics answers %d: %s", status, text)
	}
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (.*)$`).FindStringSubmatch(text)
	if line == nil {
		return -1
	}
	value, err := strconv.ParseFloat(line[1], 64)
	if err != nil {
		w.t.Fatal(err)
	}
	return value
}

func TestCentralsHealthBeforeWhileAndAfterTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stopBroker()
	c := &central{w: w, port: freePort(t), pages: "127.0.0.1:" + freePort(t), args: w.log()}
	if status, says := w.checks("ev-central", c.pages); status != 1 || !strings.Contains(says, "nobody answers at "+c.pages) {
		t.Errorf("before the start: %d, %s", status, says)
	}

	c.spawn()
	w.unhealthy("ev-central", c.pages, "waiting for the broker")
	for _, page := range []string{"/points", "/sessions", "/log"} {
		if status, text := w.page(c.pages, page); status != http.StatusServiceUnavailable {
			t.Errorf("%s answers %d before there is anything to show: %s", page, status, text)
		}
	}
	if ready := w.scraped(c.pages, "evcharging_ready"); ready != 0 {
		t.Errorf("evcharging_ready is %v while it waits for the broker", ready)
	}

	w.restartBroker()
	w.healthy("ev-central", c.pages)
	if status, text := w.page(c.pages, "/points"); status != http.StatusOK {
		t.Errorf("/points answers %d: %s", status, text)
	}
	w.point(c, "CP-001")
	eventually(t, "the point is measured", func() bool {
		return w.scraped(c.pages, `evcharging_points{state="ACTIVATED"}`) == 1 && w.scraped(c.pages, "evcharging_ready") == 1 &&
			w.scraped(c.pages, `evcharging_turns_total{result="committed",topic="ev.register"}`) == 1 &&
			w.scraped(c.pages, `evcharging_consumer_lag_records{topic="ev.register"}`) == 0
	})
	w.send("ev.register", "no JSON")
	eventually(t, "the dead letter is measured", func() bool {
		return w.scraped(c.pages, `evcharging_dead_letters_total{reason="unreadable",topic="ev.register"}`) == 1
	})

	w.stopBroker()
	w.unhealthy("ev-central", c.pages, "can't be reached")
	if up := w.scraped(c.pages, "evcharging_broker_up"); up != 0 {
		t.Errorf("evcharging_broker_up is %v without a broker", up)
	}
	w.restartBroker()
	w.healthy("ev-central", c.pages)
	if up := w.scraped(c.pages, "evcharging_broker_up"); up != 1 {
		t.Errorf("evcharging_broker_up is %v with a broker", up)
	}
	c.stop()
}

// A broker that takes connections and answers nothing must hold up neither a check nor a
// scrape.
func TestHealthAnswersWhileTheBrokerHangs(t *testing.T) {
	t.Parallel()
	w := newHangingWorld(t)
	c := w.central()
	w.healthy("ev-central", c.pages)
	w.pauseBroker()
	w.unhealthy("ev-central", c.pages, "")
	for range 3 {
		began := time.Now()
		if up := w.scraped(c.pages, "evcharging_broker_up"); up != 0 {
			t.Errorf("evcharging_broker_up is %v while the broker hangs", up)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a scrape took %s", took)
		}
	}
	w.resumeBroker()
	w.healthy("ev-central", c.pages)
}

func TestThePointsAndTheDriversHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central()
	engine, monitor, driver := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	p := &point{w: w, id: "CP-001", port: freePort(t), engineArgs: []string{"--http", engine}, central: c}
	p.startEngine()
	p.startMonitor("--http", monitor)
	c.shows("CP-001", "ACTIVATED")
	w.run("ev-driver", "--driver-id", "D-1", "--cp", "CP-001", "--http", driver)
	programs := map[string]string{"ev-cp-e": engine, "ev-cp-m": monitor, "ev-driver": driver}
	for name, at := range programs {
		w.healthy(name, at)
		if ready := w.scraped(at, "evcharging_ready"); ready != 1 {
			t.Errorf("evcharging_ready of %s is %v", name, ready)
		}
		if status, _ := w.page(at, "/points"); status != http.StatusNotFound {
			t.Errorf("%s answers %d for /points", name, status)
		}
	}
	w.stopBroker()
	for name, at := range programs {
		w.unhealthy(name, at, "can't be reached")
	}
	w.restartBroker()
	for name, at := range programs {
		w.healthy(name, at)
	}
}

func TestCentralsHealthBeforeWhileAndAfterTheDatabaseIsAway(t *testing.T) {
	needsMongo(t)
	t.Parallel()
	w := newWorld(t)
	c := &central{w: w, port: freePort(t), pages: "127.0.0.1:" + freePort(t), args: w.log()}
	must(t, w.database.stop())
	c.spawn()
	w.unhealthy("ev-central", c.pages, "waiting for the event log")
	w.starts(w.database)
	w.healthy("ev-central", c.pages)
	must(t, w.database.stop())
	w.unhealthy("ev-central", c.pages, "the event log's store does not answer")
	if up := w.scraped(c.pages, "evcharging_store_up"); up != 0 {
		t.Errorf("evcharging_store_up is %v without a database", up)
	}
	w.starts(w.database)
	w.healthy("ev-central", c.pages)
	if up := w.scraped(c.pages, "evcharging_store_up"); up != 1 {
		t.Errorf("evcharging_store_up is %v with a database", up)
	}
	if delay := w.scraped(c.pages, "evcharging_projection_delay_seconds"); delay < 0 {
		t.Error("the delay of the documents is not measured")
	}

	must(t, w.database.pause())
	w.unhealthy("ev-central", c.pages, "the event log's store does not answer")
	must(t, w.database.resume())
	w.healthy("ev-central", c.pages)
}
