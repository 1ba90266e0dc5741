package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"evcharging/adapters/broker"
	"evcharging/adapters/kafka"
	"evcharging/application/message"
	"evcharging/domain"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ev-driver": main})
}

// TestScripts runs the program itself, on a broker with a Central and points that answer
// by the point's id: CP-001 and CP-002 supply for a moment, CP-LONG for longer, CP-NEVER
// without end; all others are refused. $BROKER is its address.
func TestScripts(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			b, err := broker.Start(broker.Config{Addr: "127.0.0.1:0"})
			if err != nil {
				return err
			}
			env.Defer(func() { _ = b.Close() })
			env.Setenv("BROKER", b.Addr())
			c, err := startCentral(b.Addr())
			if err != nil {
				return err
			}
			env.Defer(c.stop)
			env.Values["central"] = c
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "until": until, "asked": asked,
		},
	})
}

// exits N PROGRAM ARGS... expects an exit status.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	status := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		status = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(status) != args[0] {
		ts.Fatalf("it exited with %d, not %s", status, args[0])
	}
}

// until FILE TEXT waits until the file has the text; ! until FILE until there is none.
func until(ts *testscript.TestScript, neg bool, args []string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if neg && errors.Is(err, os.ErrNotExist) || !neg && strings.Contains(string(text), args[1]) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("%s is still %q, %v", args[0], text, err)
		}
	}
}

// asked N expects that so many requests have ever been made.
func asked(ts *testscript.TestScript, _ bool, args []string) {
	c := ts.Value("central").(*central)
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := fmt.Sprint(len(c.known)); got != args[0] {
		ts.Fatalf("%s requests were made, not %s", got, args[0])
	}
}

// central answers and supplies.
type central struct {
	transport *kafka.Transport
	ctx       context.Context
	cancel    context.CancelFunc
	tasks     sync.WaitGroup

	mu    sync.Mutex
	known map[domain.RequestID]bool
}

func startCentral(addr string) (*central, error) {
	ctx, cancel := context.WithCancel(context.Background())
	transport, err := kafka.Connect(ctx, kafka.Config{Brokers: []string{addr}})
	if err != nil {
		cancel()
		return nil, err
	}
	c := &central{transport: transport, ctx: ctx, cancel: cancel, known: map[domain.RequestID]bool{}}
	if err := transport.EnsureTopics(ctx); err != nil {
		c.stop()
		return nil, err
	}
	ready := make(chan struct{})
	c.tasks.Go(func() {
		_ = transport.Follow(ctx, []string{transport.Topics().Request}, 0, func() { close(ready) },
			func(_ context.Context, r message.Received) {
				if m, ok := r.Message.(message.Request); ok && c.isNew(m.ID) {
					c.tasks.Go(func() { c.answer(m) })
				}
			})
	})
	<-ready
	c.send(
		message.PointState{Point: "CP-002", Location: "Elche", Price: 250_000, State: "BROKEN", Version: 3},
		message.PointState{Point: "CP-001", Location: "Alicante", Price: 300_000, State: "SUPPLYING", Version: 1},
		message.PointState{Point: "CP-001", Location: "Alicante", Price: 300_000, State: "ACTIVATED", Version: 2},
	)
	return c, nil
}

func (c *central) stop() {
	c.cancel()
	c.tasks.Wait()
	_ = c.transport.Close()
}

func (c *central) isNew(id domain.RequestID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.known[id]
	c.known[id] = true
	return !known
}

// send sends; the end of the context is no failure, and no other is expected.
func (c *central) send(ms ...message.Message) {
	if err := c.transport.Send(c.ctx, ms...); err != nil && c.ctx.Err() == nil {
		panic(err)
	}
}

func (c *central) answer(r message.Request) {
	const price domain.MicroEurosPerKWh = 301_234
	samples := map[domain.PointID]int{"CP-001": 3, "CP-002": 3, "CP-LONG": 30, "CP-NEVER": 1 << 30}[r.Point]
	if samples == 0 {
		c.send(message.Answer{Driver: r.Driver, Point: r.Point, Request: r.ID, Reason: "OCCUPIED"})
		return
	}
	session, at := domain.SessionID("S-"+r.ID), price
	c.send(message.Answer{Driver: r.Driver, Point: r.Point, Request: r.ID, Authorized: true, Session: session, Price: &at})
	tick := time.NewTicker(60 * time.Millisecond)
	defer tick.Stop()
	var energy domain.MilliwattHours
	for seq := 1; seq <= samples; seq++ {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
		energy += 1_111
		sent := energy
		c.send(message.MeterValue{
			Session: session, Point: r.Point, Driver: r.Driver, Power: 7_321, Energy: &sent,
			Amount: domain.Cost(energy, price), Seq: int64(seq), At: domain.At(time.Now()),
		})
	}
	end := domain.At(time.Now())
	c.send(message.Done{
		Session: session, Point: r.Point, Driver: r.Driver, Energy: energy, Amount: domain.Cost(energy, price),
		Reason: message.DoneFinished, Seq: int64(samples), At: end,
	})
	c.send(message.Ticket{
		ID: "T-" + domain.TicketID(r.ID), Session: session, Driver: r.Driver, Point: r.Point, StartedAt: end, EndedAt: end,
		Energy: energy, Price: price, Amount: domain.Cost(energy, price), Reason: "FINISHED", Digest: strings.Repeat("ab", 32),
	})
}
