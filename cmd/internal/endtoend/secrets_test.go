package endtoend

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"evcharging/domain/session"
)

const (
	secretOne = "correct-horse-battery-staple"
	secretTwo = "Tr0ub4dor&3"
)

// registration is one with a proof, made here once more from the contract's words.
func registration(secret, id, location, price string, at time.Time) string {
	text := at.UTC().Format(time.RFC3339Nano)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s\n%s\n%s\n%s", id, location, price, text)
	return fmt.Sprintf(`{"id":%q,"location":%q,"price_eur_kwh":%s,"at":%q,"proof":"%x"}`, id, location, price, text, mac.Sum(nil))
}

func TestOnlyPointsWithASecretAreLetIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.central("--secrets", w.file("secrets", "# the points' secrets\nCP-001 "+secretOne+"\n\nCP-002 "+secretTwo+"\n"))
	wire := w.wiretap(c.port)
	listening := *c
	listening.port = wire.port
	w.listen("ev.register", "ev.supply.ticket", "ev.supply.start")
	one := w.file("secret-one", secretOne+"\n")
	monitor := func(id string, more ...string) *process {
		return w.run("ev-cp-m", append([]string{
			"--id", id, "--engine-host", "127.0.0.1", "--engine-port", "1", "--central-host", "127.0.0.1", "--central-port", wire.port,
		}, more...)...)
	}
	var all []*process
	for _, test := range []struct {
		monitor *process
		says    string
	}{
		{monitor("CP-002", "--secret-file", one), "ev-cp-m: Central denies the point: the secret is not that of this point\n"},
		{monitor("CP-002"), "give it with --secret-file\n"},
		{monitor("CP-003", "--secret-file", one), "ev-cp-m: Central denies the point: Central does not know this point\n"},
		{monitor("CP-003"), "ev-cp-m: Central denies the point: Central does not know this point\n"},
	} {
		if status := test.monitor.wait(patience); status != 1 || !strings.HasSuffix(test.monitor.output(), test.says) {
			t.Errorf("%s: status %d, it says %s", test.monitor.name, status, test.monitor.output())
		}
		all = append(all, test.monitor)
	}
	if sent := w.all("ev.register", nil); len(sent) != 0 {
		t.Errorf("who was denied has registered: %s", sent[0].Value)
	}

	p := w.engine("CP-001", "--speed", "20")
	p.central = &listening
	p.startMonitor("--secret-file", one)
	c.shows("CP-001", "ACTIVATED")
	driver := w.run("ev-driver", "--driver-id", "D-001", "--cp", "CP-001")
	driver.says("supplying")
	first := w.hears("ev.register", map[string]any{"id": "CP-001"})

	// Whoever has no secret changes nothing, whatever is sent.
	now := time.Now()
	forged := registration("guessed", "CP-001", "Alicante", "0.01", now)
	refused := map[string]string{
		"none":        `{"id":"CP-001","location":"Alicante","price_eur_kwh":0.01}`,
		"empty":       fmt.Sprintf(`{"id":"CP-001","location":"Alicante","price_eur_kwh":0.01,"at":%q,"proof":""}`, now.UTC().Format(time.RFC3339Nano)),
		"forged":      forged,
		"another's":   registration(secretTwo, "CP-001", "Alicante", "0.01", now),
		"other price": strings.Replace(string(first.Value), `"price_eur_kwh":0.3`, `"price_eur_kwh":0.01`, 1),
		"other place": strings.Replace(string(first.Value), "Alicante", "Albacete", 1),
		"late":        registration(secretOne, "CP-001", "Alicante", "0.01", now.Add(-6*time.Minute)),
		"early":       registration(secretOne, "CP-001", "Alicante", "0.01", now.Add(6*time.Minute)),
		"no time":     strings.Replace(registration(secretOne, "CP-001", "Alicante", "0.01", now), `"at"`, `"when"`, 1),
		"not in file": registration(secretOne, "CP-003", "Alicante", "0.3", now),
	}

	for _, value := range refused {
		w.send("ev.register", value)
	}
	w.send("ev.health", `{"id":"CP-003","status":"OK"}`)
	w.consumed("ev.register", "ev.health")
	if p := c.shown("CP-001"); p["price"] != 0.3 || p["location"] != "Alicante" || p["state"] != "SUPPLYING" {
		t.Errorf("somebody without the secret made the point %v", p)
	}
	if p := c.shown("CP-003"); p != nil {
		t.Errorf("a point that is not in the file is there: %v", p)
	}

	// Whoever has it may change the price; the session that runs keeps its own.
	second := registration(secretOne, "CP-001", "Alicante", "0.5", time.Now())
	w.send("ev.register", second)
	eventually(t, "the new price", func() bool { return c.shown("CP-001")["price"] == 0.5 })
	// Then what was proved before proves nothing any more.
	w.send("ev.register", string(first.Value))
	refused["replayed"] = string(first.Value)
	w.consumed("ev.register")
	if p := c.shown("CP-001"); p["price"] != 0.5 {
		t.Errorf("a replayed registration made the point %v", p)
	}
	letters := map[string]string{}
	for _, r := range w.read("ev.register.dlq") {
		letters[string(r.Value)] = r.Headers["dlq_error"]
	}
	for name, value := range refused {
		if reason, ok := letters[value]; !ok || !strings.Contains(reason, "proof") {
			t.Errorf("%s: in the dead-letter topic: %t, reason %q", name, ok, reason)
		}
		delete(letters, value)
	}
	for value, reason := range letters {
		t.Errorf("this is refused too: %s (%s)", value, reason)
	}
	if unknown := w.read("ev.health.dlq"); len(unknown) != 1 || !strings.Contains(string(unknown[0].Value), "CP-003") {
		t.Errorf("the health of a point that is not in the file: %v", unknown)
	}
	p.engine.types("unplug")
	if status := driver.wait(patience); status != 0 {
		t.Errorf("the driver ended with %d", status)
	}
	if bill := events[session.TicketIssued](c); len(bill) != 1 || bill[0].Price != 300_000 {
		t.Errorf("the session did not keep its price: %+v", bill)
	}

	var printed strings.Builder
	for _, page := range []string{"/points", "/sessions", "/log"} {
		printed.WriteString(body(t, "http://"+c.pages+page))
	}
	p.monitor.stop()
	p.engine.stop()
	c.stop()
	for _, p := range append(all, p.monitor, p.engine, driver, c.process) {
		printed.WriteString(p.output())
	}
	w.keepsSecret(secretOne, wire.heard(), printed.String())
	w.keepsSecret(secretTwo, wire.heard(), printed.String())
	if !strings.Contains(wire.heard(), "HELLO CP-001\n") || !strings.Contains(wire.heard(), "PROOF ") {
		t.Errorf("the wire was not tapped: %q", wire.heard())
	}
}

// keepsSecret fails the test where a secret, plainly or only encoded, is in any record of
// any topic, in any file of the world but those that hold secrets, on the wire or in what was printed.
func (w *world) keepsSecret(secret, wire, printed string) {
	w.t.Helper()
	look := func(where string, text []byte) {
		w.t.Helper()
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))} {
			if bytes.Contains(text, []byte(form)) {
				w.t.Errorf("a secret is in %s", where)
			}
		}
	}
	look("what is said on the wire", []byte(wire))
	look("what was printed", []byte(printed))
	metadata, err := w.client.Metadata(context.Background(), &kafka.MetadataRequest{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, topic := range metadata.Topics {
		if topic.Internal || strings.HasPrefix(topic.Name, "__") {
			continue
		}
		for _, r := range w.read(topic.Name) {
			look("a record of "+topic.Name, fmt.Appendf(nil, "%s %s %v", r.Key, r.Value, r.Headers))
		}
	}
	err = filepath.WalkDir(w.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), "secret") {
			return err
		}
		text, err := os.ReadFile(path)
		look("the file "+path, text)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func body(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tap is a port that hands on to another what is said, both ways, and keeps it.
type tap struct {
	port string
	mu   sync.Mutex
	said bytes.Buffer
}

func (w *world) wiretap(port string) *tap {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	tapped := &tap{}
	_, tapped.port, _ = net.SplitHostPort(listener.Addr().String())
	var serving sync.WaitGroup
	w.t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
			if err != nil {
				client.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				serving.Go(func() {
					// Whoever hangs up ends both.
					_, _ = io.Copy(io.MultiWriter(way[1], tapped), way[0])
					way[0].Close()
					way[1].Close()
				})
			}
		}
	})
	return tapped
}

// Write keeps what is said.
func (t *tap) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said.Write(text)
}

func (t *tap) heard() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said.String()
}

// commitLines are the lines of a log between its header and its trailer.
func commitLines(t *testing.T, log string) string {
	t.Helper()
	lines := strings.SplitAfter(log, "\n")
	if len(lines) < 3 || !strings.HasPrefix(lines[0], `{"format":"evcharging log 1"`) || !strings.HasPrefix(lines[len(lines)-2], `{"commits":`) {
		t.Fatalf("the log has no header, or no trailer:\n%.500s", log)
	}
	return strings.Join(lines[1:len(lines)-2], "")
}
