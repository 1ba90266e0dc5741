package monitor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"evcharging/adapters/kafka"
	"evcharging/adapters/tcp"
	"evcharging/application/message"
	"evcharging/application/monitor"
	"evcharging/cmd/internal/health"
	"evcharging/domain"
)

// closeTimeout is how long the connection to Kafka may take to end.
const closeTimeout = 2 * time.Second

// Network is what a Monitor needs of a network. *kafka.Transport is one; its documentation
// is the contract.
type Network interface {
	Send(ctx context.Context, ms ...message.Message) error
	Watch(ctx context.Context, change func(up bool, err error))
	Ready(ctx context.Context, topics ...string) error
	Topics() kafka.Topics
}

// Config is what a Monitor needs.
type Config struct {
	monitor.Settings
	// Engine is the host:port of the Engine's heartbeat, Central that of Central's
	// authentication.
	Engine, Central string
	// HTTP is the host:port of health and metrics; empty: none.
	HTTP string
	// Network is used where it is not nil; else Kafka says to which one to connect.
	Network Network
	Kafka   kafka.Config
	Logger  *slog.Logger
}

// Run is a Monitor until ctx ends; then it returns nil. *tcp.DeniedError or
// tcp.ErrNoSecret says that Central does not let the point in; any other error is one of
// the configuration of Kafka, or says that the port of HTTP can't be had.
func Run(ctx context.Context, c Config) error {
	r := &runner{Config: c, inputs: make(chan monitor.Input), heartbeat: tcp.NewHeartbeat(c.Engine)}
	server, err := health.Serve(c.HTTP, "ev-cp-m", &r.pulse, r.tells)
	if err != nil {
		return err
	}
	err = errors.Join(r.run(ctx), server.Close())
	r.disconnect()
	c.Logger.Info("the Monitor has ended", "point", c.Point)
	return err
}

type runner struct {
	Config
	inputs    chan monitor.Input
	heartbeat *tcp.Heartbeat
	network   atomic.Pointer[Network]
	pulse     health.Pulse
	tasks     sync.WaitGroup
}

// run is the loop around the state machine: what happens goes in, what is asked for is
// done, one at a time.
func (r *runner) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	r.Logger.Info("the Monitor is up", "point", r.Point, "engine", r.Engine, "central", r.Central)
	failed := make(chan error, 1)
	r.tasks.Go(func() { r.connect(ctx, failed) })
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	machine, out := monitor.New(r.Settings, now())
	for {
		r.pulse.Beat()
		r.perform(ctx, out)
		if out.Denied != nil {
			return out.Denied
		}
		var in monitor.Input
		select {
		case in = <-r.inputs:
		case <-clock.C:
			in = monitor.Tick{}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
		out = machine.Step(in, now())
	}
}

func now() domain.UnixMillis { return domain.At(time.Now()) }

// put hands an input to the machine. It is dropped where the Monitor ends.
func (r *runner) put(ctx context.Context, in monitor.Input) {
	select {
	case r.inputs <- in:
	case <-ctx.Done():
	}
}

// perform does what a step asks for.
func (r *runner) perform(ctx context.Context, out monitor.Outcome) {
	for _, notice := range out.Notices {
		level := slog.LevelInfo
		if notice.Warning {
			level = slog.LevelWarn
		}
		r.Logger.Log(ctx, level, notice.Text)
	}
	if out.Authenticate {
		r.tasks.Go(func() { r.put(ctx, r.authenticate(ctx)) })
	}
	if out.Beat {
		r.tasks.Go(func() { r.put(ctx, r.beat(ctx)) })
	}
	if messages := out.Send; messages != nil {
		r.tasks.Go(func() { r.put(ctx, monitor.Sent{Err: r.send(ctx, messages)}) })
	}
}

func (r *runner) authenticate(ctx context.Context) monitor.Authenticated {
	err := tcp.Authenticate(ctx, r.Central, r.Point, r.Secret)
	var denial *tcp.DeniedError
	switch {
	case err == nil:
		return monitor.Authenticated{Result: monitor.Accepted}
	case errors.As(err, &denial), errors.Is(err, tcp.ErrNoSecret):
		return monitor.Authenticated{Result: monitor.Denied, Err: err}
	}
	return monitor.Authenticated{Result: monitor.Unreachable, Err: err}
}

// beat asks the Engine. The machine asks for one beat at a time.
func (r *runner) beat(ctx context.Context) monitor.Beaten {
	healthy, err := r.heartbeat.Beat(ctx)
	switch {
	case err != nil:
		return monitor.Beaten{Condition: monitor.Down, Reason: err.Error()}
	case healthy:
		return monitor.Beaten{Condition: monitor.Healthy}
	}
	return monitor.Beaten{Condition: monitor.Faulty}
}

// send gives up after a third of the lease: what is true by then is told instead.
func (r *runner) send(ctx context.Context, messages []message.Message) error {
	network := r.connected()
	if network == nil {
		return kafka.ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(ctx, r.Lease/3)
	defer cancel()
	return network.Send(ctx, messages...)
}

// tells is nil where Central can be told of the point; else each line of the error is a reason.
func (r *runner) tells(ctx context.Context) error {
	network := r.connected()
	if network == nil {
		return health.ErrNoBroker
	}
	topics := network.Topics()
	return network.Ready(ctx, topics.Register, topics.Health)
}

// connected is the network, nil before it was reached.
func (r *runner) connected() Network {
	if network := r.network.Load(); network != nil {
		return *network
	}
	return nil
}

// connect reaches the network and watches it until ctx ends.
func (r *runner) connect(ctx context.Context, failed chan<- error) {
	network := r.Network
	if network == nil {
		transport, err := kafka.Connect(ctx, r.Kafka)
		if err != nil {
			if ctx.Err() == nil {
				failed <- err
			}
			return
		}
		network = transport
	}
	r.network.Store(&network)
	r.put(ctx, monitor.Link{Up: true})
	network.Watch(ctx, func(up bool, _ error) { r.put(ctx, monitor.Link{Up: up}) })
}

// disconnect waits for what is on its way, and ends the connection that connect made.
// Where a broker that hangs holds them up they are left to end by themselves: nothing
// hears them any more.
func (r *runner) disconnect() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.tasks.Wait()
		r.heartbeat.Close()
		if transport, ok := r.connected().(*kafka.Transport); ok && r.Network == nil {
			if err := transport.Close(); err != nil {
				r.Logger.Debug("the connection to Kafka did not end well", "error", err)
			}
		}
	}()
	late := time.NewTimer(closeTimeout)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
	}
}
