package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// hangs is how long a broker may owe an answer before nothing is asked of it any more.
const hangs = time.Second

// Away is why no broker answers; nil where one does.
func (t *Transport) Away() error {
	t.watch.mu.Lock()
	down := t.watch.down
	t.watch.mu.Unlock()
	if down != nil {
		return down
	}
	if owed := t.Unanswered(); owed >= hangs {
		return fmt.Errorf("%w: the broker has not answered for %s", ErrUnreachable, owed.Round(time.Second))
	}
	return nil
}

// Ready is nil where a broker answers, topics exist and every Group is being read; else each
// line of the error is a reason. It asks the broker, and returns when ctx ends.
func (t *Transport) Ready(ctx context.Context, topics ...string) error {
	if err := t.Away(); err != nil {
		return err
	}
	var reasons []error
	if denied := t.refused(); len(denied) > 0 {
		reasons = append(reasons, t.deniedTo(listed(denied)))
	} else if !t.Listens() {
		reasons = append(reasons, errors.New("the consumer groups have not come together yet"))
	}
	var there []string
	err := t.ask(ctx, func(client sarama.Client, _ sarama.ClusterAdmin) (err error) {
		if err = client.RefreshMetadata(); err == nil {
			there, err = client.Topics()
		}
		return t.explain("", err)
	})
	if err != nil {
		return errors.Join(append(reasons, err)...)
	}
	for _, topic := range topics {
		if !slices.Contains(there, topic) {
			reasons = append(reasons, fmt.Errorf("the topic %s does not exist: Central creates it when it starts", topic))
		}
	}
	return errors.Join(reasons...)
}
