package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"evcharging/adapters/broker"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/jsonl"
	"evcharging/application/eventlog"
	"evcharging/domain/session"
)

// patience is how long anything may take that should happen at once: on a busy machine, too.
const patience = time.Minute

var binaries string

func TestMain(m *testing.M) {
	// The tests wait more than they work: more of them at a time than there are processors.
	flag.Parse()
	if atOnce := flag.Lookup("test.parallel"); atOnce.Value.String() == atOnce.DefValue {
		_ = flag.Set(atOnce.Name, map[bool]string{false: "8", true: "5"}[realServers()]) // servers of their own, too
	}
	os.Exit(func() int {
		var err error
		if realServers() {
			if err := openServers(); err != nil {
				fmt.Fprintln(os.Stderr, "real servers:", err)
				return 1
			}
			defer closeServers()
		}
		if binaries, err = os.MkdirTemp("", "evcharging-bin-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(binaries) }()
		build := exec.Command("go", "build", "-o", binaries, "evcharging/cmd/...")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "build the programs:", err)
			return 1
		}
		return m.Run()
	}())
}

// world is a broker and what runs on it. Everything ends with its test.
type world struct {
	t      *testing.T
	dir    string
	broker server
	kafka  string
	client *kafka.Client
	// writer sends what a foreign client sends; it tries again over what passes.
	writer *kgo.Client
	// database has the log of the world's Centrals; nil until one needs it, and where they embed theirs.
	database server

	mu    sync.Mutex
	heard []record
	// told is called with each record that is heard.
	told func(record)
}

// record is what was read from a topic, as a foreign client sees it.
type record struct {
	Topic     string
	Partition int
	Offset    int64
	Key       string
	Headers   map[string]string
	Value     []byte
	At        time.Time
}

// fields are the record's JSON members.
func (r record) fields() map[string]any {
	var fields map[string]any
	_ = json.Unmarshal(r.Value, &fields)
	return fields
}

func (r record) has(want map[string]any) bool {
	fields := r.fields()
	for name, value := range want {
		if fields[name] != value {
			return false
		}
	}
	return true
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	if realServers() {
		w.use(borrowBroker(t))
	} else {
		w.use(newEmbedded(t, broker.Config{Addr: "127.0.0.1:" + freePort(t), Dir: filepath.Join(w.dir, "broker")}))
	}
	return w
}

// use has the world run on a broker.
func (w *world) use(b server) {
	w.broker, w.kafka = b, b.address()
	connections := &kafka.Transport{MetadataTTL: 100 * time.Millisecond}
	w.t.Cleanup(connections.CloseIdleConnections)
	w.client = &kafka.Client{Addr: kafka.TCP(w.kafka), Timeout: 10 * time.Second, Transport: connections}
	var err error
	w.writer, err = kgo.NewClient(
		kgo.SeedBrokers(w.kafka), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.ProducerLinger(0),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(-1),
	)
	must(w.t, err)
	w.t.Cleanup(w.writer.Close)
}

// log are the flags that say where Centrals keep their log.
func (w *world) log() []string {
	w.t.Helper()
	if !logInMongo() {
		return []string{"--log", filepath.Join(w.dir, "log")}
	}
	if w.database == nil {
		database := newExternal(w.t, "mongo")
		w.t.Cleanup(database.discard)
		w.database = database
	}
	return []string{"--mongo", "mongodb://" + w.database.address()}
}

// stopBroker stops the broker; what it has acknowledged is kept.
func (w *world) stopBroker() {
	w.t.Helper()
	must(w.t, w.broker.stop())
}

// restartBroker starts the broker again where it was.
func (w *world) restartBroker() {
	w.t.Helper()
	w.starts(w.broker)
}

// starts starts a server again where it was.
func (w *world) starts(s server) {
	w.t.Helper()
	eventually(w.t, "the port of "+s.address()+" is free again", func() bool {
		err := s.start()
		if !errors.Is(err, broker.ErrPortTaken) {
			must(w.t, err)
		}
		return err == nil
	})
}

// pauseBroker has the broker hang until resumeBroker.
func (w *world) pauseBroker() {
	w.t.Helper()
	must(w.t, w.broker.pause())
}

func (w *world) resumeBroker() {
	w.t.Helper()
	must(w.t, w.broker.resume())
}

// process is one of the programs.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	mu   sync.Mutex
	text bytes.Buffer
	over chan struct{}
	err  error
}

// run starts a program that joins the world's broker.
func (w *world) run(name string, args ...string) *process {
	w.t.Helper()
	return w.launch(name, append(args, "--kafka", w.kafka)...)
}

// launch starts a program with its working folder in the world's.
func (w *world) launch(name string, args ...string) *process {
	w.t.Helper()
	p := &process{t: w.t, name: name + " " + strings.Join(args, " "), over: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(binaries, name), args...)
	p.cmd.Dir = w.dir
	p.cmd.Env = append(os.Environ(), "NO_COLOR=1")
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.over)
	}()
	w.t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.over
		if w.t.Failed() {
			w.t.Logf("--- %s\n%s", p.name, p.output())
		}
	})
	return p
}

// Write collects what the program prints.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(text)
}

func (p *process) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *process) signal(s syscall.Signal) {
	select {
	case <-p.over:
	default:
		_ = p.cmd.Process.Signal(s)
	}
}

// kill is kill -9.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.over
}

// stop is SIGTERM; the program must end with status 0 in time.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if status := p.wait(12 * time.Second); status != 0 {
		p.t.Errorf("%s stopped with status %d", p.name, status)
	}
}

// wait is the exit status.
func (p *process) wait(atMost time.Duration) int {
	p.t.Helper()
	select {
	case <-p.over:
	case <-time.After(atMost):
		p.t.Fatalf("%s did not end within %s:\n%s", p.name, atMost, p.output())
	}
	return p.cmd.ProcessState.ExitCode()
}

// says waits until the program has printed a text.
func (p *process) says(text string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s prints %q", p.name, text), func() bool { return strings.Contains(p.output(), text) })
}

// types types a line.
func (p *process) types(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// eventually waits for a condition that holds soon.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	within(t, patience, what, holds)
}

// within waits for a condition.
func within(t *testing.T, atMost time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(atMost); ; {
		if holds() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", atMost, what)
		}
		<-tick.C
	}
}

// nextPort goes up from an own place for each test process, so that no two worlds, and no two
// processes of them, are given the same port.
var nextPort atomic.Int64

// freePort is a port that nobody listens on, and that nobody is given for a connection of
// its own while its program is killed and started again: it lies below the system's
// ephemeral ports.
func freePort(t *testing.T) string {
	t.Helper()
	const first, count = 10_000, 10_000
	nextPort.CompareAndSwap(0, int64(os.Getpid())*37)
	for range count {
		port := strconv.Itoa(first + int(nextPort.Add(1)%count))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return ""
}

// central is a Central and where its pages are.
type central struct {
	*process
	w           *world
	port, pages string
	args        []string
}

// central starts a Central on the world's log, with short deadlines where args say so.
func (w *world) central(args ...string) *central {
	w.t.Helper()
	c := &central{w: w, port: freePort(w.t), pages: "127.0.0.1:" + freePort(w.t), args: append(w.log(), args...)}
	c.start()
	return c
}

func (c *central) start() {
	c.w.t.Helper()
	c.spawn()
	c.says("Central is ready")
}

// spawn starts it and does not wait until it is ready.
func (c *central) spawn() {
	c.w.t.Helper()
	c.process = c.w.run("ev-central", append([]string{
		"--host", "127.0.0.1", "--port", c.port, "--http", c.pages,
	}, c.args...)...)
}

// point is an Engine and its Monitor.
type point struct {
	w               *world
	id, port        string
	engine, monitor *process
	engineArgs      []string
	central         *central
}

// point starts an Engine and its Monitor, and waits until Central has the point free.
func (w *world) point(c *central, id string, engineArgs ...string) *point {
	w.t.Helper()
	p := &point{w: w, id: id, port: freePort(w.t), engineArgs: engineArgs, central: c}
	p.startEngine()
	p.startMonitor()
	c.shows(id, "ACTIVATED")
	return p
}

func (p *point) startEngine() {
	p.engine = p.w.run("ev-cp-e", append([]string{
		"--id", p.id, "--host", "127.0.0.1", "--port", p.port, "--journal", filepath.Join(p.w.dir, "journal"),
	}, p.engineArgs...)...)
	p.engine.says("the Engine is up") // else its Monitor begins with a fault
}

func (p *point) startMonitor(args ...string) {
	p.monitor = p.w.run("ev-cp-m", append([]string{
		"--id", p.id, "--engine-host", "127.0.0.1", "--engine-port", p.port,
		"--central-host", "127.0.0.1", "--central-port", p.central.port, "--location", "Alicante",
	}, args...)...)
}

// shown is what Central's pages say of a point; nil where they do not know it.
func (c *central) shown(id string) map[string]any {
	var p map[string]any
	if !c.get("/points/"+id, &p) {
		return nil
	}
	return p
}

// shows waits until a point is shown in a state.
func (c *central) shows(id, state string) {
	c.w.t.Helper()
	eventually(c.w.t, id+" is "+state, func() bool { return c.shown(id)["state"] == state })
}

func (c *central) get(page string, to any) bool {
	response, err := http.Get("http://" + c.pages + page)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK && json.NewDecoder(response.Body).Decode(to) == nil
}

// event is an event of the log and where it stands.
type event struct {
	Stream  eventlog.Stream
	Version eventlog.Version
	Event   any
}

// log is the whole event log of a running Central, its chain checked.
func (c *central) log() []event {
	c.w.t.Helper()
	response, err := http.Get("http://" + c.pages + "/log")
	if err != nil {
		c.w.t.Fatal(err)
	}
	defer response.Body.Close()
	var events []event
	heads := map[eventlog.Stream]eventlog.Part{}
	lines := jsonl.NewReader(response.Body)
	for commit, err := lines.Next(); !errors.Is(err, io.EOF); commit, err = lines.Next() {
		if err == nil {
			err = commit.Check()
		}
		if err != nil {
			c.w.t.Fatal("read the log:", err)
		}
		for _, part := range commit.Parts {
			if before := heads[part.Stream]; part.Prev != before.Hash || before.Events > 0 && part.Version != before.Last()+1 || before.Events == 0 && part.Version != 1 {
				c.w.t.Fatalf("the chain of %s is broken at version %d", part.Stream, part.Version)
			}
			heads[part.Stream] = part
			envelope, err := eventjson.Codec{}.Decode(part.Body)
			if err != nil {
				c.w.t.Fatal(err)
			}
			for i, e := range envelope.Events {
				events = append(events, event{part.Stream, part.Version + eventlog.Version(i), e})
			}
		}
	}
	return events
}

// tickets are the tickets in the log, by session; each must be the only one.
func (c *central) tickets() map[eventlog.Stream]session.TicketIssued {
	c.w.t.Helper()
	tickets := map[eventlog.Stream]session.TicketIssued{}
	for _, e := range c.log() {
		if ticket, ok := e.Event.(session.TicketIssued); ok {
			if _, twice := tickets[e.Stream]; twice {
				c.w.t.Errorf("%s has two tickets", e.Stream)
			}
			tickets[e.Stream] = ticket
		}
	}
	return tickets
}

// send sends what a foreign client sends: a value, no key, no headers.
func (w *world) send(topic string, value string) {
	w.t.Helper()
	w.produce(&kgo.Record{Topic: topic, Value: []byte(value)})
}

func (w *world) produce(records ...*kgo.Record) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(w.t, w.writer.ProduceSync(ctx, records...).FirstErr())
}

// listen reads topics from their beginning, with a client that is not ours, until the test
// ends. Over an outage it goes on where it was.
func (w *world) listen(topics ...string) {
	w.t.Helper()
	eventually(w.t, fmt.Sprint("the topics are there: ", topics), func() bool { // the client remembers for a while what is there
		metadata, err := w.client.Metadata(w.t.Context(), &kafka.MetadataRequest{Topics: topics})
		return err == nil && !slices.ContainsFunc(metadata.Topics, func(t kafka.Topic) bool { return t.Error != nil })
	})
	listener, err := kgo.NewClient(
		kgo.SeedBrokers(w.kafka), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(time.Second), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	)
	must(w.t, err)
	var listening sync.WaitGroup
	w.t.Cleanup(func() {
		listener.Close()
		listening.Wait()
	})
	listening.Go(func() {
		for {
			fetches := listener.PollFetches(context.Background())
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(w.hear)
		}
	})
}

func (w *world) hear(m *kgo.Record) {
	r := record{m.Topic, int(m.Partition), m.Offset, string(m.Key), map[string]string{}, m.Value, m.Timestamp}
	for _, h := range m.Headers {
		r.Headers[h.Key] = string(h.Value)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = append(w.heard, r)
	if w.told != nil {
		w.told(r)
	}
}

// all are the records that were heard of a topic and have the fields.
func (w *world) all(topic string, want map[string]any) []record {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []record
	for _, r := range w.heard {
		if r.Topic == topic && r.has(want) {
			all = append(all, r)
		}
	}
	return all
}

// hears waits for a record of a topic that has the fields; the first one.
func (w *world) hears(topic string, want map[string]any) record {
	w.t.Helper()
	var found []record
	eventually(w.t, fmt.Sprintf("a record of %s with %v", topic, want), func() bool {
		found = w.all(topic, want)
		return len(found) > 0
	})
	return found[0]
}

// askAll sends the requests of many drivers in one batch.
func (w *world) askAll(cp string, drivers int) {
	w.t.Helper()
	requests := make([]*kgo.Record, drivers)
	for i := range requests {
		requests[i] = &kgo.Record{Topic: "ev.supply.request", Value: fmt.Appendf(nil, `{"driver_id":"D-%d","cp_id":%q}`, i, cp)}
	}
	w.produce(requests...)
}

// committed waits until a group has committed all that a topic holds now.
func (w *world) committed(group, topic string) {
	w.t.Helper()
	ends := map[int]int64{}
	var partitions []int
	metadata, err := w.client.Metadata(w.t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		w.t.Fatal(err)
	}
	var ask []kafka.OffsetRequest
	for _, p := range metadata.Topics[0].Partitions {
		partitions = append(partitions, p.ID)
		ask = append(ask, kafka.LastOffsetOf(p.ID))
	}
	offsets, err := w.client.ListOffsets(w.t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask}})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range offsets.Topics[topic] {
		ends[p.Partition] = p.LastOffset
	}
	eventually(w.t, group+" has committed all of "+topic, func() bool {
		fetched, err := w.client.OffsetFetch(w.t.Context(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}})
		if err != nil {
			return false
		}
		for _, p := range fetched.Topics[topic] {
			if p.CommittedOffset < ends[p.Partition] && ends[p.Partition] > 0 {
				return false
			}
		}
		return true
	})
}
