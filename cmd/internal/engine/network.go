package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"evcharging/adapters/kafka"
	"evcharging/application/engine"
	"evcharging/application/message"
	"evcharging/cmd/internal/health"
	"evcharging/domain"
)

const (
	// sendTimeout is how long a batch may take before newer reports take its place.
	sendTimeout = 5 * time.Second
	// closeTimeout is how long readers and the connection to Kafka may take to end.
	closeTimeout = 2 * time.Second
)

// Network is what an Engine needs of a network. *kafka.Transport is one; its documentation
// is the contract.
type Network interface {
	Send(ctx context.Context, ms ...message.Message) error
	Follow(ctx context.Context, topics []string, from domain.UnixMillis, ready func(), handle func(context.Context, message.Received)) error
	Watch(ctx context.Context, change func(up bool, err error))
	Ready(ctx context.Context, topics ...string) error
	Topics() kafka.Topics
}

func (n *Node) send(ctx context.Context, messages []message.Message) error {
	network := n.connected()
	if network == nil {
		return kafka.ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return network.Send(ctx, messages...)
}

// hears is nil where every order that is sent is heard; else each line of the error is a reason.
func (n *Node) hears(ctx context.Context) error {
	network := n.connected()
	if network == nil {
		return health.ErrNoBroker
	}
	topics := network.Topics()
	if err := network.Ready(ctx, topics.Start, topics.Commands, topics.Telemetry, topics.Done); err != nil {
		return err
	}
	select {
	case <-n.ready:
		return nil
	default:
		return errors.New("orders are not heard yet")
	}
}

// connected is the network, nil before it was reached.
func (n *Node) connected() Network {
	if network := n.network.Load(); network != nil {
		return *network
	}
	return nil
}

// connect reaches the network and hears its orders until ctx ends.
func (n *Node) connect(ctx context.Context, failed chan<- error) {
	network := n.config.Network
	if network == nil {
		transport, err := kafka.Connect(ctx, n.config.Kafka)
		if err != nil {
			if ctx.Err() == nil {
				failed <- err
			}
			return
		}
		network = transport
	}
	n.network.Store(&network)
	n.put(ctx, engine.Link{Up: true})
	n.tasks.Go(func() {
		network.Watch(ctx, func(up bool, _ error) { n.put(ctx, engine.Link{Up: up}) })
	})
	follow := func(topic string, back time.Duration, ready func()) {
		err := network.Follow(ctx, []string{topic}, now().Add(-back), ready, func(_ context.Context, r message.Received) {
			if in := n.inputOf(r); in != nil {
				n.put(ctx, in)
			}
		})
		if err != nil && ctx.Err() == nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	var left atomic.Int32
	left.Store(2)
	ready := func() {
		if left.Add(-1) == 0 {
			close(n.ready)
		}
	}
	topics := network.Topics()
	n.tasks.Go(func() { follow(topics.Start, engine.StartsBack, ready) })
	n.tasks.Go(func() { follow(topics.Commands, engine.CommandsBack, ready) })
	// Who never asks at the point need not read what all drivers are answered.
	n.tasks.Go(func() {
		select {
		case <-n.asking:
			follow(topics.Auth, 0, func() { close(n.listening) })
		case <-ctx.Done():
		}
	})
}

// inputOf is what a record means to this point, nil where it means nothing.
func (n *Node) inputOf(r message.Received) engine.Input {
	switch m := r.Message.(type) {
	case message.Order:
		if m.Point == n.config.Point {
			return engine.OrderReceived{Order: m, Timestamp: r.Source.Timestamp, Trusted: r.Source.Trusted}
		}
	case message.Answer:
		if m.Point == n.config.Point {
			return engine.AnswerReceived{Answer: m}
		}
	}
	return nil
}

// disconnect waits for readers and senders, and ends the connection that connect made.
// Where a broker that hangs holds them up they are left to end by themselves: nothing
// hears them any more.
func (n *Node) disconnect() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		n.tasks.Wait()
		if transport, ok := n.connected().(*kafka.Transport); ok && n.config.Network == nil {
			if err := transport.Close(); err != nil {
				n.logger.Debug("the connection to Kafka did not end well", "error", err)
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
