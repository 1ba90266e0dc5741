package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"evcharging/adapters/console"
	"evcharging/adapters/kafka"
	application "evcharging/application/engine"
	supervision "evcharging/application/monitor"
	"evcharging/cmd/internal/central"
	"evcharging/cmd/internal/engine"
	"evcharging/cmd/internal/monitor"
	"evcharging/domain"
)

// A simulated point: where it stands, what it costs, how strong it is.
type site struct {
	location string
	price    domain.MicroEurosPerKWh
	power    domain.Watts
}

// sites are given to the points in turn.
var sites = []site{
	{"Alicante, Luceros", 300_000, 22_000},
	{"Elche, Palmeral", 280_000, 11_000},
	{"Valencia, Estació del Nord", 450_000, 50_000},
	{"Murcia, Catedral", 320_000, 22_000},
	{"Albacete, Altozano", 250_000, 7_400},
	{"Cartagena, Puerto", 390_000, 43_000},
	{"Castelló, Grau", 300_000, 22_000},
	{"Benidorm, Levante", 420_000, 50_000},
}

const (
	// battery is what a simulated car takes: at the default speed about a minute's supply.
	battery domain.MilliwattHours = 18_000_000
	// lease is that of the simulated Monitors.
	lease = 15 * time.Second
	// startTogether is how many points are started at once.
	startTogether = 8
)

// points are the simulated charging points: Engines and Monitors over Kafka and TCP.
type points struct {
	run       run
	node      *central.Node
	logger    *slog.Logger
	transport *kafka.Transport
	ctx       context.Context
	stop      context.CancelFunc
	monitors  sync.WaitGroup

	mu      sync.Mutex
	engines map[string]*engine.Node
	ids     []string
}

func newPoints(ctx context.Context, r run, config kafka.Config, node *central.Node, logger *slog.Logger) (*points, error) {
	transport, err := kafka.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	p := &points{run: r, node: node, logger: logger, transport: transport, engines: map[string]*engine.Node{}}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p, nil
}

// start starts the points, some at a time, until Close.
func (p *points) start() error {
	var some []*engine.Node
	var addresses []string
	for i := range p.run.Points {
		started, err := p.add(i)
		if err != nil {
			return err
		}
		some, addresses = append(some, started), append(addresses, started.Addr())
		if len(some) < startTogether && i < p.run.Points-1 {
			continue
		}
		for _, e := range some {
			select {
			case <-e.Ready():
			case <-e.Ended():
				return e.Close()
			case <-p.ctx.Done():
				return nil
			}
		}
		some = some[:0]
	}
	if len(addresses) > 0 {
		p.logger.Info("the points run", "points", len(addresses), "engines", ports(addresses))
	}
	return nil
}

// add starts an Engine and its Monitor.
func (p *points) add(i int) (*engine.Node, error) {
	id, at := fmt.Sprintf("CP-%03d", i+1), sites[i%len(sites)]
	// What a point has to say of its own work stands on the panel already.
	log := slog.New(faults{p.logger.Handler()}).With("point", id)
	ofEngine := engine.Config{
		Settings: application.Settings{
			Point: domain.PointID(id), Speed: p.run.Speed,
			Curve: application.Curve{Battery: battery, MaxPower: at.power},
		},
		Journal: filepath.Join(p.run.Data, "journal"), Listen: freeAddress(p.run.Host, enginePort+i),
		Network: p.transport, Logger: log,
	}
	started, err := engine.Start(ofEngine)
	if errors.Is(err, syscall.EADDRINUSE) { // somebody was quicker
		ofEngine.Listen = net.JoinHostPort(p.run.Host, "0")
		started, err = engine.Start(ofEngine)
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.ids = append(p.ids, id)
	p.engines[id] = started
	p.mu.Unlock()
	p.monitors.Go(func() {
		if err := monitor.Run(p.ctx, monitor.Config{
			Settings: supervision.Settings{Point: domain.PointID(id), Location: at.location, Price: at.price, Lease: lease},
			Engine:   started.Addr(), Central: p.node.AuthAddr(), Network: p.transport, Logger: log,
		}); err != nil {
			p.logger.Error("a Monitor has ended", "point", id, "error", err)
		}
	})
	return started, nil
}

// commands are what somebody types to break points and mend them.
func (p *points) commands() []console.Command {
	point := []console.Arg{{Name: "POINT", Values: p.started}}
	does := func(name, help, done string, do func(*engine.Node)) console.Command {
		return console.Command{Name: name, Args: point, Help: help, Run: func(_ context.Context, call console.Call) (string, error) {
			p.mu.Lock()
			e, ok := p.engines[call.Args[0]]
			p.mu.Unlock()
			if !ok {
				return "", fmt.Errorf("%s is no point of this process", call.Args[0])
			}
			do(e)
			return call.Args[0] + done, nil
		}}
	}
	return []console.Command{
		does("break", "breaks a simulated point, as k does at its Engine", " is broken", (*engine.Node).Break),
		does("mend", "mends it, as r does", " is mended", (*engine.Node).Mend),
		does("unplug", "a driver unplugs: the supply ends", " is unplugged", (*engine.Node).Unplug),
	}
}

// started are the ids of the points that were started.
func (p *points) started() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ids)
}

// Close ends the Monitors, then the Engines, all at once: each ends what it supplies. start
// must have returned, which stop makes it do.
func (p *points) Close() error {
	p.stop()
	p.monitors.Wait()
	var mu sync.Mutex
	var errs []error
	var ending sync.WaitGroup
	for _, e := range p.engines {
		ending.Go(func() {
			err := e.Close()
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	ending.Wait()
	return errors.Join(append(errs, p.transport.Close())...)
}

// faults passes on what keeps a point from its work.
type faults struct{ slog.Handler }

// Enabled is slog.Handler's.
func (w faults) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && w.Handler.Enabled(ctx, level)
}

// WithAttrs is slog.Handler's.
func (w faults) WithAttrs(attrs []slog.Attr) slog.Handler {
	return faults{w.Handler.WithAttrs(attrs)}
}

// WithGroup is slog.Handler's.
func (w faults) WithGroup(name string) slog.Handler { return faults{w.Handler.WithGroup(name)} }
