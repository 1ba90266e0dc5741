package endtoend

import (
	"errors"
	"net"
	"sync"
	"testing"

	"evcharging/adapters/broker"
)

// embedded is a broker in the tests' process. Kill is stop: it keeps nothing back.
type embedded struct {
	config broker.Config
	broker *broker.Broker
	gate   *gate // nil where it can't hang
}

// newEmbedded starts a broker until the test ends.
func newEmbedded(t *testing.T, config broker.Config) *embedded {
	t.Helper()
	b := &embedded{config: config}
	if err := b.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Error("close the broker:", err)
		}
	})
	return b
}

func (b *embedded) address() string { return b.broker.Addr() }

func (b *embedded) start() (err error) {
	started, err := broker.Start(b.config)
	if err == nil {
		b.broker = started
	}
	return err
}

func (b *embedded) stop() error { return b.broker.Close() }
func (b *embedded) kill() error { return b.stop() }

var errNoGate = errors.New("this embedded broker has no gate: see newHangingWorld")

func (b *embedded) pause() error {
	if b.gate == nil {
		return errNoGate
	}
	b.gate.shut()
	return nil
}

func (b *embedded) resume() error {
	if b.gate == nil {
		return errNoGate
	}
	b.gate.reopen()
	return nil
}

// gate stands before a broker. While it is shut, connections are taken and nothing comes
// through: the broker hangs.
type gate struct {
	listener net.Listener
	to       string
	pipes    sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed while the gate is open
	conns map[net.Conn]bool
}

// newGate opens a gate at an address, before a broker at another.
func newGate(t *testing.T, at, to string) *gate {
	t.Helper()
	listener, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{listener: listener, to: to, open: make(chan struct{}), conns: map[net.Conn]bool{}}
	close(g.open)
	g.pipes.Go(g.serve)
	t.Cleanup(g.close)
	return g
}

func (g *gate) serve() {
	for {
		from, err := g.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", g.to)
		if err != nil {
			from.Close()
			continue
		}
		g.mu.Lock()
		g.conns[from], g.conns[to] = true, true
		g.mu.Unlock()
		g.pipes.Go(func() { g.pipe(from, to) })
		g.pipes.Go(func() { g.pipe(to, from) })
	}
}

// pipe carries one direction of a connection.
func (g *gate) pipe(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		g.mu.Lock()
		open := g.open
		g.mu.Unlock()
		<-open
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// shut has the broker hang.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// reopen has it answer again, all that was sent meanwhile too.
func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) close() {
	g.listener.Close()
	g.mu.Lock()
	for conn := range g.conns {
		conn.Close()
	}
	select {
	case <-g.open:
	default:
		close(g.open)
	}
	g.mu.Unlock()
	g.pipes.Wait()
}
