package driver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"evcharging/adapters/checkpoint"
	"evcharging/adapters/kafka"
	"evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/cmd/internal/health"
	"evcharging/domain"
)

// tick is how often a Driver looks at the clock.
const tick = 100 * time.Millisecond

// Network is what a Driver needs of a network. *kafka.Transport is one; its documentation
// is the contract.
type Network interface {
	Send(ctx context.Context, ms ...message.Message) error
	Follow(ctx context.Context, topics []string, from domain.UnixMillis, ready func(), handle func(context.Context, message.Received)) error
	Watch(ctx context.Context, change func(up bool, err error))
	Ready(ctx context.Context, topics ...string) error
	Topics() kafka.Topics
}

// Config is what a Driver needs.
type Config struct {
	ID domain.DriverID
	// Points are asked for one after another, at least one.
	Points []domain.PointID
	// NextDelay is how long it waits after a supply has concluded.
	NextDelay time.Duration
	// Checkpoint is the path of the file that keeps the run's place while it is not
	// complete; where it is empty a run that is killed is forgotten.
	Checkpoint string
	// HTTP is the host:port of health and metrics; empty: none.
	HTTP string
	// Network is used where it is not nil; else Kafka says to which one to connect.
	Network Network
	Kafka   kafka.Config
	// Show, where not nil, is given every event, one at a time and in order.
	Show func(now domain.UnixMillis, event driver.Event)
}

// UnservedError says that a run is complete and that not every supply was had.
type UnservedError struct{ Unserved, Of int }

func (e *UnservedError) Error() string {
	if e.Of == 1 {
		return "the supply was refused or failed"
	}
	return fmt.Sprintf("%d of %d supplies were refused or failed", e.Unserved, e.Of)
}

// Run is a Driver from the first line of its list, or from where the checkpoint says, to
// the last. It returns nil when every supply was had, *UnservedError when the run is
// complete otherwise, ctx's error when ctx ended before that, and any other error where
// the run can't begin or go on; after the last two it goes on from its checkpoint.
func Run(ctx context.Context, c Config) error {
	at := driver.Checkpoint{Driver: c.ID, Points: c.Points}
	file, err := c.openCheckpoint(&at)
	if err != nil {
		return err
	}
	if file != nil {
		defer file.Close()
	}
	var state state
	server, err := health.Serve(c.HTTP, "ev-driver", &state.pulse, state.asks)
	if err != nil {
		return err
	}
	defer server.Close()
	if c.Network == nil {
		transport, err := kafka.Connect(ctx, c.Kafka)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		defer transport.Close()
		c.Network = transport
	}
	state.network.Store(&c.Network)
	return c.run(ctx, &state, at, file)
}

// state is what health asks of a run.
type state struct {
	pulse   health.Pulse
	network atomic.Pointer[Network] // nil before it is reached
	begun   atomic.Bool             // nothing that is answered from now on is missed
}

// asks is nil where a request can be sent and its answer heard; else each line of the error
// is a reason.
func (s *state) asks(ctx context.Context) error {
	network := s.network.Load()
	if network == nil {
		return health.ErrNoBroker
	}
	if err := (*network).Ready(ctx, followed((*network).Topics())...); err != nil {
		return err
	}
	if !s.begun.Load() {
		return errors.New("answers are not heard yet")
	}
	return nil
}

// openCheckpoint opens the file that keeps the run's place, where there is one, and
// takes the place from it.
func (c Config) openCheckpoint(at *driver.Checkpoint) (*checkpoint.File, error) {
	if c.Checkpoint == "" {
		return nil, nil
	}
	file, kept, found, err := checkpoint.Open(c.Checkpoint)
	if err != nil || !found {
		return file, err
	}
	if kept.Driver != c.ID {
		err = fmt.Errorf("it is that of the driver %s", kept.Driver)
	} else {
		kept, err = kept.Continue(c.Points)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the run can't go on from %s: %w; restore the list, or remove that file to begin anew", c.Checkpoint, err), file.Close())
	}
	*at = kept
	return file, nil
}

// run is the loop around the state machine: what happens goes in, what is asked for is
// done, one at a time.
func (c Config) run(ctx context.Context, state *state, at driver.Checkpoint, file *checkpoint.File) error {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()

	inputs, broken := make(chan driver.Input), make(chan error, 1)
	put := func(in driver.Input) {
		select {
		case inputs <- in:
		case <-ctx.Done():
		}
	}
	tasks.Go(func() {
		if err := c.follow(ctx, state, at.From(), put); err != nil && ctx.Err() == nil {
			broken <- err
		}
	})
	tasks.Go(func() { c.watch(ctx, put) })
	clock := time.NewTicker(tick)
	defer clock.Stop()

	machine := driver.New(at, c.NextDelay, func() domain.RequestID { return domain.RequestID(uuid.NewString()) })
	for {
		state.pulse.Beat()
		var in driver.Input
		select {
		case in = <-inputs:
		case <-clock.C:
			in = driver.Tick{}
		case err := <-broken:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		now := domain.At(time.Now())
		out := machine.Step(in, now)
		if out.Keep != nil && file != nil {
			if err := file.Keep(*out.Keep); err != nil {
				return err
			}
		}
		if request := out.Send; request != nil {
			tasks.Go(func() {
				err := c.Network.Send(ctx, *request)
				put(driver.Sent{Request: request.ID, Err: err})
			})
		}
		if c.Show != nil {
			for _, event := range out.Events {
				c.Show(now, event)
			}
		}
		if out.Finished {
			return finish(machine.Supplies(), file)
		}
	}
}

// follow puts in what the network says about this driver, and that it begins when nothing
// that comes from then on will be missed.
func (c Config) follow(ctx context.Context, state *state, from domain.UnixMillis, put func(driver.Input)) error {
	if from == 0 {
		from = domain.At(time.Now())
	}
	return c.Network.Follow(ctx, followed(c.Network.Topics()), from,
		func() {
			state.begun.Store(true)
			put(driver.Begin{})
		},
		func(_ context.Context, r message.Received) {
			if isOf(r.Message, c.ID) {
				put(driver.Received{Received: r})
			}
		})
}

func (c Config) watch(ctx context.Context, put func(driver.Input)) {
	c.Network.Watch(ctx, func(up bool, err error) {
		link := driver.Link{Up: up}
		if err != nil {
			link.Reason = err.Error()
		}
		put(link)
	})
}

// finish ends a run that is complete.
func finish(supplies []driver.Supply, file *checkpoint.File) error {
	if file != nil {
		if err := file.Remove(); err != nil {
			return err
		}
	}
	if _, _, unserved := driver.Totals(supplies); unserved > 0 {
		return &UnservedError{unserved, len(supplies)}
	}
	return nil
}

// isOf tells whether a record is about a driver.
func isOf(m message.Message, id domain.DriverID) bool {
	switch m := m.(type) {
	case message.Request:
		return m.Driver == id
	case message.Answer:
		return m.Driver == id
	case message.MeterValue:
		return m.Driver == id
	case message.Done:
		return m.Driver == id
	case message.Ticket:
		return m.Driver == id
	}
	return false
}
