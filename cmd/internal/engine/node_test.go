package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evcharging/adapters/broker"
	"evcharging/adapters/journal"
	"evcharging/adapters/kafka"
	"evcharging/adapters/tcp"
	application "evcharging/application/engine"
	"evcharging/application/message"
	"evcharging/cmd/internal/engine"
	"evcharging/domain"
)

const (
	cp1     = domain.PointID("CP-001")
	session = domain.SessionID("s-1")
	driver  = domain.DriverID("D-7")

	// within bounds everything that a test waits for.
	within = 30 * time.Second
)

// Processes of their own, to be killed or frozen: this test binary, with one of these in
// its environment.
const (
	// anEngine is the address of its broker; aJournal its journal's folder.
	anEngine = "ENGINE_TEST_ENGINE"
	aJournal = "ENGINE_TEST_JOURNAL"
	aBroker  = "ENGINE_TEST_BROKER"
)

func TestMain(m *testing.M) {
	switch address := os.Getenv(anEngine); {
	case address != "":
		if err := engine.Run(context.Background(), config(address, os.Getenv(aJournal)), os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	case os.Getenv(aBroker) != "":
		b, err := broker.Start(broker.Config{Addr: "127.0.0.1:0"})
		if err != nil {
			panic(err)
		}
		fmt.Println(b.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	goleak.VerifyTestMain(m,
		// sarama's producer remembers for ten seconds that a broker did not answer.
		goleak.IgnoreAnyFunction("github.com/eapache/go-resiliency/breaker.(*Breaker).timer"))
}

func config(address, journal string) engine.Config {
	return engine.Config{
		Settings: application.Settings{
			Point: cp1, Speed: 100, Curve: application.Curve{Battery: 40_000_000, MaxPower: 36_000},
		},
		Journal: journal, Listen: "127.0.0.1:0",
		Kafka:  kafka.Config{Brokers: []string{address}},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// network is a broker and what an Engine says over it.
type network struct {
	t *testing.T
	*kafka.Transport
	address string

	mu      sync.Mutex
	heard   []message.Message
	changed chan struct{}
}

func startBroker(t *testing.T, address, dir string) *broker.Broker {
	t.Helper()
	b, err := broker.Start(broker.Config{Addr: address, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func newNetwork(t *testing.T, address string) *network {
	t.Helper()
	transport, err := kafka.Connect(t.Context(), kafka.Config{Brokers: []string{address}})
	if err != nil {
		t.Fatal(err)
	}
	if err := transport.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := &network{t: t, Transport: transport, address: address, changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	var reading sync.WaitGroup
	topics := transport.Topics()
	ready := make(chan struct{})
	reading.Go(func() {
		err := transport.Follow(ctx, []string{topics.Telemetry, topics.Done, topics.Request}, 0, func() { close(ready) }, func(_ context.Context, r message.Received) {
			n.mu.Lock()
			n.heard = append(n.heard, r.Message)
			n.mu.Unlock()
			select {
			case n.changed <- struct{}{}:
			default:
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		reading.Wait()
		_ = transport.Close()
	})
	await(t, ready)
	return n
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(within):
		t.Fatal("it takes too long")
	}
}

// until waits until what was heard is as wanted, and gives it.
func (n *network) until(what string, wanted func([]message.Message) bool) []message.Message {
	n.t.Helper()
	late := time.After(within)
	for {
		n.mu.Lock()
		heard := slices.Clone(n.heard)
		n.mu.Unlock()
		if wanted(heard) {
			return heard
		}
		select {
		case <-n.changed:
		case <-late:
			n.t.Fatalf("never heard %s: %+v", what, heard)
		}
	}
}

func only[M message.Message](all []message.Message) []M {
	var ms []M
	for _, m := range all {
		if m, ok := m.(M); ok {
			ms = append(ms, m)
		}
	}
	return ms
}

// sample waits for so many samples, and gives the last.
func (n *network) sample(count int) message.MeterValue {
	n.t.Helper()
	samples := only[message.MeterValue](n.until("samples", func(heard []message.Message) bool {
		return len(only[message.MeterValue](heard)) >= count
	}))
	return samples[len(samples)-1]
}

// done waits for the session's done.
func (n *network) done(s domain.SessionID) message.Done {
	n.t.Helper()
	var done message.Done
	n.until("a done of "+string(s), func(heard []message.Message) bool {
		for _, d := range only[message.Done](heard) {
			if d.Session == s {
				done = d
				return true
			}
		}
		return false
	})
	return done
}

func (n *network) order(kind message.OrderKind, number domain.Order) {
	n.t.Helper()
	price := domain.MicroEurosPerKWh(300_000)
	now := domain.At(time.Now())
	o := message.Order{Kind: kind, Point: cp1, Session: session, Driver: driver, Number: number, ValidUntil: now.Add(30 * time.Second)}
	if kind == message.OrderStart {
		o.Price = &price
	}
	elsewhere := o
	elsewhere.Point = "CP-002"
	if err := n.Send(n.t.Context(), elsewhere, o); err != nil {
		n.t.Fatal(err)
	}
}

func start(t *testing.T, c engine.Config) *engine.Node {
	t.Helper()
	n, err := engine.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func startReady(t *testing.T, c engine.Config) *engine.Node {
	t.Helper()
	n := start(t, c)
	await(t, n.Ready())
	return n
}

func expectBeat(t *testing.T, n *engine.Node, want bool) {
	t.Helper()
	h := tcp.NewHeartbeat(n.Addr())
	defer h.Close()
	if healthy, err := h.Beat(t.Context()); err != nil || healthy != want {
		t.Fatalf("heartbeat: %v, %v", healthy, err)
	}
}

func TestASupplyOverKafka(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, startBroker(t, "127.0.0.1:0", "").Addr())
	e := startReady(t, config(n.address, t.TempDir()))
	expectBeat(t, e, true)
	n.order(message.OrderStart, 1)
	s := n.sample(3)
	if s.Session != session || s.Driver != driver || s.Power != 36_000 || *s.Energy == 0 || s.Amount != domain.Cost(*s.Energy, 300_000) {
		t.Fatalf("sample: %+v", s)
	}
	n.order(message.OrderOutOfOrder, 2)
	d := n.done(session)
	if d.Reason != message.DoneStopped || d.Energy < *s.Energy || d.Amount != domain.Cost(d.Energy, 300_000) {
		t.Fatalf("done: %+v after %+v", d, s)
	}
	if status := e.Status(); !status.OutOfService || status.Session != nil {
		t.Fatalf("status: %+v", status)
	}
	expectBeat(t, e, true)
	e.Break()
	expectBeat(t, e, false)
	e.Mend()
	expectBeat(t, e, true)
	n.order(message.OrderStart, 1)
	n.until("its done again", func(heard []message.Message) bool {
		dones := only[message.Done](heard)
		return len(dones) == 2 && dones[0] == dones[1]
	})
}

func TestGivenAnEngineThatIsAskedToStopInASupplyThenItsDoneIsSentBeforeItEnds(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, startBroker(t, "127.0.0.1:0", "").Addr())
	e := startReady(t, config(n.address, t.TempDir()))
	n.order(message.OrderStart, 1)
	s := n.sample(2)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if d := n.done(session); d.Reason != message.DoneFault || d.Energy < *s.Energy {
		t.Fatalf("done: %+v", d)
	}
	if _, err := tcp.NewHeartbeat(e.Addr()).Beat(t.Context()); err == nil {
		t.Fatal("it still answers")
	}
}

func TestGivenAnEngineThatIsKilledInASupplyWhenItComesBackThenItReportsWhatItHadSupplied(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, startBroker(t, "127.0.0.1:0", "").Addr())
	dir := t.TempDir()
	child, in, out := process(t, anEngine+"="+n.address, aJournal+"="+dir)
	_, _ = io.WriteString(in, "status\n")
	if !out.Scan() {
		t.Fatal("it does not start")
	}
	if _, _, err := journal.Open(dir, cp1); !errors.Is(err, journal.ErrInUse) {
		t.Fatalf("its journal: %v", err)
	}
	n.order(message.OrderStart, 1)
	n.sample(4)
	if err := child.Kill(); err != nil {
		t.Fatal(err)
	}
	_, _ = child.Wait()
	last := n.sample(4)
	startReady(t, config(n.address, dir))
	d := n.done(session)
	// What was stored and not yet sent when it was killed is reported too.
	if d.Reason != message.DoneRecovered || d.Energy < *last.Energy || d.Seq <= last.Seq || d.At < last.At {
		t.Fatalf("done: %+v after %+v", d, last)
	}
	// The start, read again, is answered, not obeyed.
	n.order(message.OrderStart, 1)
	n.until("its done again", func(heard []message.Message) bool { return len(only[message.Done](heard)) >= 2 })
	for _, again := range only[message.Done](n.until("all", func([]message.Message) bool { return true })) {
		if again != d {
			t.Fatalf("two final reports: %+v and %+v", d, again)
		}
	}
}

// process starts this binary with variables.
func process(t *testing.T, variables ...string) (*os.Process, io.Writer, *bufio.Scanner) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), variables...)
	child.Stderr = os.Stderr
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	return child.Process, in, bufio.NewScanner(out)
}

func TestGivenABrokerThatHangsThenTheEngineStopsWithinItsTime(t *testing.T) {
	t.Parallel()
	child, _, out := process(t, aBroker+"=1")
	if !out.Scan() {
		t.Fatal("the broker does not start")
	}
	n := newNetwork(t, out.Text())
	t.Cleanup(func() { _ = child.Signal(syscall.SIGCONT) })
	e := startReady(t, config(n.address, t.TempDir()))
	n.order(message.OrderStart, 1)
	n.sample(2)
	if err := child.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Fatalf("took %v", took)
	}
}

func TestGivenABrokerThatIsAwayThenTheEngineAnswersItsMonitorAndReportsLater(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startBroker(t, "127.0.0.1:0", dir)
	n := newNetwork(t, first.Addr())
	e := startReady(t, config(n.address, t.TempDir()))
	n.order(message.OrderStart, 1)
	n.sample(2)
	_ = first.Close()
	expectBeat(t, e, true)
	e.Unplug()
	status := e.Status()
	for late := time.After(within); status.Session != nil; status = e.Status() {
		select {
		case <-late:
			t.Fatalf("status: %+v", status)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if status.Unreported != 1 {
		t.Fatalf("status: %+v", status)
	}
	startBroker(t, n.address, dir)
	if d := n.done(session); d.Reason != message.DoneUnplugged {
		t.Fatalf("done: %+v", d)
	}
	n.order(message.OrderStart, 2)
}

func TestGivenABrokerThatIsAwayWhenTheEngineIsStoppedThenItsDoneWaitsForItsReturn(t *testing.T) {
	t.Parallel()
	brokerDir, dir := t.TempDir(), t.TempDir()
	first := startBroker(t, "127.0.0.1:0", brokerDir)
	n := newNetwork(t, first.Addr())
	e := startReady(t, config(n.address, dir))
	n.order(message.OrderStart, 1)
	last := n.sample(2)
	_ = first.Close()
	began := time.Now()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Fatalf("took %v", took)
	}
	startBroker(t, n.address, brokerDir)
	start(t, config(n.address, dir))
	if d := n.done(session); d.Reason != message.DoneFault || d.Energy < *last.Energy {
		t.Fatalf("done: %+v after %+v", d, last)
	}
}

func TestGivenNoBrokerAtAllThenTheEngineIsUpAndStopsWithinItsTime(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	_ = listener.Close()
	e := start(t, config(nobody, t.TempDir()))
	expectBeat(t, e, true)
	began := time.Now()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Fatalf("took %v", took)
	}
}

func TestGivenAnEngineThatStartsLateThenItKnowsThatItsPointIsOutOfOrderAndObeysNoOldStart(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, startBroker(t, "127.0.0.1:0", "").Addr())
	price := domain.MicroEurosPerKWh(300_000)
	err := n.Send(t.Context(),
		message.Order{Kind: message.OrderStart, Point: cp1, Session: session, Driver: driver, Price: &price, Number: 1, ValidUntil: domain.At(time.Now()) - 1},
		message.Order{Kind: message.OrderOutOfOrder, Point: cp1, Number: 2, ValidUntil: domain.At(time.Now()).Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	e := startReady(t, config(n.address, t.TempDir()))
	if d := n.done(session); d.Reason != message.DoneRefused || d.Energy != 0 {
		t.Fatalf("done: %+v", d)
	}
	late := time.After(within)
	for !e.Status().OutOfService {
		select {
		case <-late:
			t.Fatalf("status: %+v", e.Status())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, startBroker(t, "127.0.0.1:0", "").Addr())
	c := config(n.address, t.TempDir())
	var log lines
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	in, typing := io.Pipe()
	var out lines
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(t.Context(), c, in, &out) }()
	enter := func(line string) {
		t.Helper()
		if _, err := io.WriteString(typing, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	enter("help")
	out.await(t, "request DRIVER")
	enter("status")
	out.await(t, "CP-001, free")
	enter("k")
	log.await(t, "the point is broken")
	enter("status")
	out.await(t, "CP-001, broken")
	enter("r")
	log.await(t, "the point works again")
	enter("nonsense")
	out.await(t, "not a command")
	enter("request D 7")
	out.await(t, "typed like this: request DRIVER")
	enter("request D/7")
	out.await(t, "error: an id is")
	enter("request D-7")
	requests := only[message.Request](n.until("a request", func(heard []message.Message) bool { return len(only[message.Request](heard)) > 0 }))
	if r := requests[0]; r.Driver != driver || r.Point != cp1 || r.Origin != message.OriginPoint || len(r.ID) != 36 {
		t.Fatalf("request: %+v", r)
	}
	if err := n.Send(t.Context(), message.Answer{Driver: driver, Point: cp1, Request: requests[0].ID, Reason: "OCCUPIED"}); err != nil {
		t.Fatal(err)
	}
	log.await(t, "refused the supply to D-7: OCCUPIED")
	enter("quit")
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(within):
		t.Fatal("quit does not end it")
	}
	_ = typing.Close()
}

func TestGivenAnInputThatEndsThenTheEngineGoesOn(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, startBroker(t, "127.0.0.1:0", "").Addr())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx, config(n.address, t.TempDir()), strings.NewReader(""), io.Discard) }()
	n.order(message.OrderStart, 1)
	n.sample(2)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	n.done(session)
}

func TestGivenAPortOrAJournalThatIsTakenThenItSaysSo(t *testing.T) {
	t.Parallel()
	n := startBroker(t, "127.0.0.1:0", "").Addr()
	c := config(n, t.TempDir())
	e := start(t, c)
	if _, err := engine.Start(c); !errors.Is(err, journal.ErrInUse) {
		t.Fatalf("error: %v", err)
	}
	c.Journal, c.Listen = t.TempDir(), e.Addr()
	if _, err := engine.Start(c); err == nil || !strings.Contains(err.Error(), "can't listen on "+e.Addr()) {
		t.Fatalf("error: %v", err)
	}
	// Its journal is free again.
	c.Listen = "127.0.0.1:0"
	start(t, c)
}

// lines is what a program has written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// await waits until so much was written, and forgets it.
func (l *lines) await(t *testing.T, words string) {
	t.Helper()
	late := time.After(within)
	for {
		l.mu.Lock()
		text := l.text.String()
		_, after, found := strings.Cut(text, words)
		if found {
			l.text.Reset()
			l.text.WriteString(after)
		}
		l.mu.Unlock()
		if found {
			return
		}
		select {
		case <-late:
			t.Fatalf("never said %q: %s", words, text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
