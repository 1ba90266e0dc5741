package endtoend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What the reference's programs do, played by a client that is not ours: their records
// have no key, no headers, and only the reference's fields.

// referenceTopics are the topics that the reference knows.
var referenceTopics = []string{
	"ev.register", "ev.health", "ev.commands", "ev.supply.request",
	"ev.supply.auth", "ev.supply.start", "ev.supply.telemetry", "ev.supply.done",
}

// newReferenceWorld is a world whose topics somebody else has made: one partition each,
// and a record's time is its sender's.
func newReferenceWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.makeTopics(1, referenceTopics...)
	return w
}

// makeTopics makes topics with so many partitions each, and nothing else said of them.
func (w *world) makeTopics(partitions int, names ...string) {
	w.t.Helper()
	wanted := make([]kafka.TopicConfig, len(names))
	for i, name := range names {
		wanted[i] = kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1}
	}
	// The client's first look for the broker may come too soon on a busy machine.
	eventually(w.t, "the topics are made", func() bool {
		made, err := w.client.CreateTopics(w.t.Context(), &kafka.CreateTopicsRequest{Topics: wanted})
		if err != nil {
			return false
		}
		for _, err := range made.Errors {
			if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
				return false
			}
		}
		return true
	})
}

// timestamps sets who stamps a topic's records: LogAppendTime or CreateTime.
func (w *world) timestamps(topic, who string) {
	w.t.Helper()
	answer, err := w.client.IncrementalAlterConfigs(context.Background(), &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "message.timestamp.type", Value: who, ConfigOperation: kafka.ConfigOperationSet}},
		}},
	})
	if err == nil {
		err = answer.Resources[0].Error
	}
	if err != nil {
		w.t.Fatal("alter the topic:", err)
	}
	// A broker may take a while until it does so. What is sent to see it is nothing to anybody.
	eventually(w.t, topic+" has the time of "+who, func() bool {
		now := time.Now()
		w.produce(&kgo.Record{Topic: topic, Value: []byte("a try"), Timestamp: now.Add(-time.Hour)})
		since, err := w.client.ListOffsets(w.t.Context(), &kafka.ListOffsetsRequest{
			Topics: map[string][]kafka.OffsetRequest{topic: {kafka.TimeOffsetOf(0, now)}},
		})
		if err != nil {
			return false
		}
		found := false
		for offset := range since.Topics[topic][0].Offsets {
			found = found || offset >= 0
		}
		return found == (who == "LogAppendTime")
	})
}

// referencePoint registers a point as the reference's Monitor does, and waits until it is free.
func (w *world) referencePoint(c *central, cp, price string) {
	w.t.Helper()
	w.send("ev.register", fmt.Sprintf(`{"id": %q, "location": "Alicante", "price_eur_kwh": %s}`, cp, price))
	w.health(cp, "OK")
	c.shows(cp, "ACTIVATED")
}

func (w *world) health(cp, status string) {
	w.t.Helper()
	w.send("ev.health", fmt.Sprintf(`{"id": %q, "status": %q}`, cp, status))
}

func (w *world) request(driver, cp string) {
	w.t.Helper()
	w.send("ev.supply.request", fmt.Sprintf(`{"driver_id": %q, "cp_id": %q}`, driver, cp))
}

// supply is a session as an Engine of the reference has it.
type supply struct {
	w                   *world
	session, cp, driver string
}

// supply asks for a supply and gives the one that Central starts.
func (w *world) supply(driver, cp string) supply {
	w.t.Helper()
	before := len(w.all("ev.supply.start", map[string]any{"cp_id": cp}))
	w.request(driver, cp)
	start := w.nth("ev.supply.start", map[string]any{"cp_id": cp}, before+1).fields()
	session, _ := start["session_id"].(string)
	if session == "" || start["driver_id"] != driver {
		w.t.Fatalf("%s asked for a supply, and this was started: %v", driver, start)
	}
	return supply{w, session, cp, driver}
}

func (s supply) telemetry(kw, euros string) {
	s.w.t.Helper()
	s.w.send("ev.supply.telemetry", fmt.Sprintf(`{"session_id": %q, "cp_id": %q, "driver_id": %q, "kw": %s, "euros": %s}`, s.session, s.cp, s.driver, kw, euros))
}

func (s supply) done(kwh, eur, reason string) {
	s.w.t.Helper()
	s.w.send("ev.supply.done", fmt.Sprintf(`{"session_id": %q, "cp_id": %q, "driver_id": %q, "total_kwh": %s, "total_eur": %s, "reason": %q}`, s.session, s.cp, s.driver, kwh, eur, reason))
}

// begins sends a first sample and waits until Central has it.
func (s supply) begins(c *central) {
	s.w.t.Helper()
	s.telemetry("7.2", "0.0001")
	c.has(s.session, "SUPPLYING")
}

// ticket is the bill that Central sends for the supply.
func (s supply) ticket() map[string]any {
	s.w.t.Helper()
	return s.w.hears("ev.supply.ticket", map[string]any{"session_id": s.session}).fields()
}

// has waits until Central's pages have a session in a status.
func (c *central) has(session, status string) {
	c.w.t.Helper()
	eventually(c.w.t, session+" is "+status, func() bool {
		var s map[string]any
		return c.get("/sessions/"+session, &s) && s["status"] == status
	})
}

// events are those of one kind in the log, in its order.
func events[E any](c *central) []E {
	c.w.t.Helper()
	var all []E
	for _, e := range c.log() {
		if e, ok := e.Event.(E); ok {
			all = append(all, e)
		}
	}
	return all
}

// nth waits for the nth record of a topic that has the fields.
func (w *world) nth(topic string, want map[string]any, n int) record {
	w.t.Helper()
	var found []record
	eventually(w.t, fmt.Sprintf("record %d of %s with %v", n, topic, want), func() bool {
		found = w.all(topic, want)
		return len(found) >= n
	})
	return found[n-1]
}

// order sends an order to an Engine, as the reference's Central does.
func (w *world) order(cp, cmd string) {
	w.t.Helper()
	w.send("ev.commands", fmt.Sprintf(`{"cp_id": %q, "cmd": %q}`, cp, cmd))
}

func (w *world) startOrder(session, cp, driver, price string) {
	w.t.Helper()
	w.send("ev.supply.start", fmt.Sprintf(`{"session_id": %q, "cp_id": %q, "driver_id": %q, "price": %s}`, session, cp, driver, price))
}

// engine starts an Engine alone: nobody watches it, and its Central is the test.
func (w *world) engine(id string, args ...string) *point {
	w.t.Helper()
	p := &point{w: w, id: id, port: freePort(w.t), engineArgs: args}
	p.startEngine()
	p.engine.says("the Engine is up")
	return p
}

// consumed waits until Central has acknowledged every record of a topic.
func (w *world) consumed(topics ...string) {
	w.t.Helper()
	for _, topic := range topics {
		eventually(w.t, "Central has acknowledged all of "+topic, func() bool { return w.lag(topic) == 0 })
	}
}

// lag is how many records of a topic Central has not acknowledged; -1 where nobody can say.
func (w *world) lag(topic string) int64 {
	ctx := context.Background()
	metadata, err := w.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil || len(metadata.Topics) != 1 || metadata.Topics[0].Error != nil {
		return -1
	}
	var ids []int
	var ends []kafka.OffsetRequest
	for _, p := range metadata.Topics[0].Partitions {
		ids, ends = append(ids, p.ID), append(ends, kafka.LastOffsetOf(p.ID))
	}
	listed, err := w.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ends}})
	if err != nil {
		return -1
	}
	committed, err := w.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: "ev-central." + topic, Topics: map[string][]int{topic: ids}})
	if err != nil {
		return -1
	}
	at := map[int]int64{}
	for _, p := range committed.Topics[topic] {
		at[p.Partition] = max(p.CommittedOffset, 0)
	}
	var lag int64
	for _, p := range listed.Topics[topic] {
		lag += p.LastOffset - at[p.Partition]
	}
	return lag
}

// taken is a record that was fetched: unlike a reader it tells a null from an empty value.
func (w *world) taken(topic string, partition int, r *kafka.Record) record {
	w.t.Helper()
	bytesOf := func(b kafka.Bytes) []byte {
		if b == nil {
			return nil
		}
		all, err := kafka.ReadAll(b)
		if err != nil {
			w.t.Fatal("read a record:", err)
		}
		return append([]byte{}, all...)
	}
	taken := record{
		Topic: topic, Partition: partition, Offset: r.Offset, At: r.Time, Headers: map[string]string{},
		Key: string(bytesOf(r.Key)), Value: bytesOf(r.Value),
	}
	for _, h := range r.Headers {
		taken.Headers[h.Key] = string(h.Value)
	}
	return taken
}

// result is how a program ended that was waited for.
type result struct {
	stdout, stderr string
	status         int
	took           time.Duration
}

// call runs a program with the world's broker to its end.
func (w *world) call(name string, args ...string) result {
	w.t.Helper()
	return w.callWith(nil, name, append(args, "--kafka", w.kafka)...)
}

// callWith runs a program, with variables in its environment, to its end.
func (w *world) callWith(variables []string, name string, args ...string) result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, name), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = w.dir, &stdout, &stderr
	cmd.Env = append(append(os.Environ(), "NO_COLOR=1"), variables...)
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		w.t.Fatalf("%s %v: %v, %v\n%s%s", name, args, err, ctx.Err(), stdout.String(), stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), time.Since(began)}
}

// isSentence fails the test unless the program said one sentence on its standard error,
// nothing else, with the words, and ended with the status.
func (r result) isSentence(t *testing.T, name string, status int, words ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d", r.status, status)
	}
	if r.stdout != "" {
		t.Errorf("it printed %q", r.stdout)
	}
	if strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, name+": ") {
		t.Errorf("this is not one sentence of %s: %q", name, r.stderr)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("%q does not say %q", r.stderr, w)
		}
	}
}

// dial connects to a port of this machine until the test ends.
func dial(t *testing.T, port string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", port), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// exchange says something on a new connection and gives the answer of so many bytes, and
// how long it took.
func exchange(t *testing.T, port, say string, length int) (answer string, took time.Duration) {
	t.Helper()
	began := time.Now()
	conn := dial(t, port)
	defer conn.Close()
	buffer := make([]byte, length)
	if _, err := io.WriteString(conn, say); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, buffer); err != nil {
		t.Fatalf("said %q to port %s: %v", say, port, err)
	}
	return string(buffer), time.Since(began)
}

// disturb does to a port what no client should: many that are silent, half a word, a
// megabyte, and connections that are reset.
func disturb(t *testing.T, port, half string) {
	t.Helper()
	for range 50 {
		dial(t, port)
	}
	for range 10 {
		conn := dial(t, port)
		if _, err := io.WriteString(conn, half); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		conn := dial(t, port)
		// Where the server has hung up already, writing fails: that is its right.
		_, _ = conn.Write(bytes.Repeat([]byte("x"), 1<<20))
	}
	for range 20 {
		conn := dial(t, port)
		_, _ = io.WriteString(conn, half)
		if err := conn.SetLinger(0); err != nil { // closing resets
			t.Fatal(err)
		}
		conn.Close()
	}
}

// say says something on a new connection, with the end of file behind it, and gives all
// that is answered.
func (w *world) say(port, what string) string {
	w.t.Helper()
	conn := dial(w.t, port)
	defer conn.Close()
	if _, err := io.WriteString(conn, what); err != nil {
		w.t.Fatal(err)
	}
	_ = conn.CloseWrite() // who has been told enough may have hung up
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// file writes a file into the world's folder.
func (w *world) file(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}
