package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"evcharging/adapters/journal"
	"evcharging/adapters/kafka"
	"evcharging/adapters/tcp"
	"evcharging/application/engine"
	"evcharging/cmd/internal/health"
	"evcharging/domain"
)

// answersTimeout is how long a request waits until its answer can be heard.
const answersTimeout = 5 * time.Second

// Config is what an Engine needs.
type Config struct {
	engine.Settings
	// Journal is the folder of the journal; it is made where there is none.
	Journal string
	// Listen is the host:port of the heartbeat; port 0 takes any that is free.
	Listen string
	// HTTP is the host:port of health and metrics; empty: none.
	HTTP string
	// Network is used where it is not nil; else Kafka says to which one to connect.
	Network Network
	Kafka   kafka.Config
	Logger  *slog.Logger
}

// Node is an Engine that runs. Its methods may be called at the same time.
type Node struct {
	config    Config
	logger    *slog.Logger
	journal   *journal.Journal
	heartbeat *tcp.HeartbeatServer
	health    *health.Server
	pulse     health.Pulse

	inputs  chan engine.Input
	network atomic.Pointer[Network]
	healthy atomic.Bool
	status  atomic.Pointer[engine.Status]

	// asking is closed by the first request, listening once its answer will be heard.
	ask       sync.Once
	asking    chan struct{}
	listening chan struct{}

	tasks    sync.WaitGroup
	stop     context.CancelFunc
	stopping context.Context
	ready    chan struct{}
	ended    chan struct{}
	// err is why the node ended by itself; it may be read once ended is closed.
	err error
}

// Start starts an Engine. When it returns the journal has been read and the heartbeat is
// answered; orders are heard once Ready is closed. The error is one sentence: a journal that
// can't be had, or a port.
func Start(c Config) (*Node, error) {
	file, memory, err := journal.Open(c.Journal, c.Point)
	if err != nil {
		return nil, err
	}
	n := &Node{
		config: c, logger: c.Logger, journal: file,
		inputs: make(chan engine.Input), asking: make(chan struct{}), listening: make(chan struct{}),
		ready: make(chan struct{}), ended: make(chan struct{}),
	}
	machine, first := engine.New(c.Settings, memory, now())
	n.show(machine)
	if n.heartbeat, err = tcp.ServeHeartbeat(c.Listen, n.healthy.Load); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if n.health, err = health.Serve(c.HTTP, "ev-cp-e", &n.pulse, n.hears); err != nil {
		return nil, errors.Join(err, n.heartbeat.Close(), file.Close())
	}
	if lost := file.Damaged(); lost > 0 {
		n.logger.Warn(fmt.Sprintf("the journal %s is damaged: %d of its lines can't be read and are dropped", file.Path(), lost))
	}
	n.logger.Info("the Engine is up", "point", c.Point, "heartbeat", n.Addr(), "journal", file.Path())
	n.stopping, n.stop = context.WithCancel(context.Background())
	go n.run(machine, first)
	return n, nil
}

func now() domain.UnixMillis { return domain.At(time.Now()) }

// Addr is the host:port on which the heartbeat is answered.
func (n *Node) Addr() string { return n.heartbeat.Addr() }

// Ready is closed when every order that is sent from now on will be heard.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Ended is closed when the Engine has ended: after Close, or because it can't go on.
func (n *Node) Ended() <-chan struct{} { return n.ended }

// Status is how the point stands.
func (n *Node) Status() engine.Status { return *n.status.Load() }

// Break simulates a fault: a running supply ends.
func (n *Node) Break() { n.do(engine.Break{}) }

// Mend ends the simulated fault.
func (n *Node) Mend() { n.do(engine.Mend{}) }

// Plug is a driver who plugs in.
func (n *Node) Plug() { n.do(engine.Plug{}) }

// Unplug is a driver who unplugs: a running supply ends.
func (n *Node) Unplug() { n.do(engine.Unplug{}) }

// Request asks Central for a supply to a driver who stands at the point. The answer is logged.
func (n *Node) Request(driver domain.DriverID) {
	n.ask.Do(func() { close(n.asking) })
	patience := time.NewTimer(answersTimeout)
	defer patience.Stop()
	select {
	case <-n.listening:
	case <-patience.C:
	case <-n.ended:
	}
	n.do(engine.RequestSupply{Driver: driver, ID: domain.RequestID(uuid.NewString())})
}

// Close ends the Engine, as the package says, and waits for that. Its error is why the
// Engine ended before that by itself, or the journal's.
func (n *Node) Close() error {
	n.stop()
	<-n.ended
	return n.err
}

// do hands an input to the machine. It is dropped where the Engine has ended.
func (n *Node) do(in engine.Input) {
	select {
	case n.inputs <- in:
	case <-n.ended:
	}
}

// put hands an input to the machine. It is dropped where the Engine ends.
func (n *Node) put(ctx context.Context, in engine.Input) {
	select {
	case n.inputs <- in:
	case <-ctx.Done():
	}
}
