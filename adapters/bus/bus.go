package bus

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"evcharging/application/central"
)

// Topic is a kind of publication that handlers subscribe to.
type Topic string

// The topics.
const (
	// Messages has the publications that tell other programs something.
	Messages Topic = "messages"
	// Lifecycle has those that stored more than a sample.
	Lifecycle Topic = "lifecycle"
	// Samples has those that stored a sample alone.
	Samples Topic = "samples"
)

// Handler is a port that is told. Handle returns nil when what it was told is durable or
// sent; it is called from many goroutines.
type Handler struct {
	Name   string
	Topics []Topic
	Handle func(ctx context.Context, p central.Publication) error
}

// Bus is central.Publisher over Watermill's router.
type Bus struct {
	pubSub *pubSub
	router *message.Router
	topics map[Topic]bool
	stop   context.CancelFunc
	ended  chan struct{}
}

var _ central.Publisher = (*Bus)(nil)

// carrier is what travels with a message: the publication is a value of this process, so it
// is handed over as it is. It brings a handler's error back.
type carrier struct {
	publication central.Publication
	mu          sync.Mutex
	err         error
}

type carrierKey struct{}

// Start starts a bus with its handlers. It is ready when it returns.
func Start(handlers ...Handler) (*Bus, error) {
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, err
	}
	b := &Bus{pubSub: newPubSub(), router: router, topics: map[Topic]bool{}, ended: make(chan struct{})}
	for _, h := range handlers {
		for _, topic := range h.Topics {
			b.topics[topic] = true
			router.AddConsumerHandler(h.Name+"-"+string(topic), string(topic), b.pubSub, report(h.Handle))
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	failed := make(chan error, 1)
	go func() {
		defer close(b.ended)
		failed <- router.Run(ctx)
	}()
	select {
	case <-router.Running():
		return b, nil
	case err := <-failed:
		stop()
		return nil, errors.Join(err, b.pubSub.Close())
	}
}

// report runs a handler and leaves its error where Publish finds it: Watermill's Nack has none.
func report(handle func(context.Context, central.Publication) error) message.NoPublishHandlerFunc {
	return func(m *message.Message) error {
		c := m.Context().Value(carrierKey{}).(*carrier)
		err := handle(m.Context(), c.publication)
		if err != nil {
			c.mu.Lock()
			c.err = errors.Join(c.err, err)
			c.mu.Unlock()
		}
		return err
	}
}

// Publish is central.Publisher's: first what was stored, then the messages, so that what
// others are told can be looked up. A topic that no handler was given for is passed over.
func (b *Bus) Publish(ctx context.Context, p central.Publication) error {
	if len(p.Parts) > 0 {
		topic := Lifecycle
		if p.SampleAlone {
			topic = Samples
		}
		if err := b.publish(ctx, topic, p); err != nil {
			return err
		}
	}
	if len(p.Messages) == 0 {
		return nil
	}
	return b.publish(ctx, Messages, p)
}

func (b *Bus) publish(ctx context.Context, topic Topic, p central.Publication) error {
	if !b.topics[topic] {
		return nil
	}
	c := &carrier{publication: p}
	m := message.NewMessage("", nil)
	m.SetContext(context.WithValue(ctx, carrierKey{}, c))
	err := b.pubSub.Publish(string(topic), m)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return err
}

// Close ends the bus and waits for its handlers. Stop what publishes first.
func (b *Bus) Close() error {
	err := b.router.Close()
	b.stop()
	<-b.ended
	return errors.Join(err, b.pubSub.Close())
}
