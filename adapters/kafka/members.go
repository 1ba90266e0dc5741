package kafka

import (
	"context"
	"time"

	"github.com/IBM/sarama"
)

// membersEvery is how often WaitForNoMembers looks, membersLeave how long it waits: a
// member that was killed is dropped after its session's timeout.
const (
	membersEvery = 500 * time.Millisecond
	membersLeave = 15 * time.Second
)

// Members is how many live members the consumer group of a topic has, see Group.
func (t *Transport) Members(ctx context.Context, group, topic string) (members int, err error) {
	err = t.ask(ctx, func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		described, err := admin.DescribeConsumerGroups([]string{group + "." + topic})
		if err != nil {
			return t.explain("", err)
		}
		for _, d := range described {
			members += len(d.Members)
		}
		return nil
	})
	return members, err
}

// WaitForNoMembers waits until the consumer group of a topic has no members, at most
// until those that were killed must have been dropped. Its error is that of ctx, or of asking.
func (t *Transport) WaitForNoMembers(ctx context.Context, group, topic string) error {
	tick := time.NewTicker(membersEvery)
	defer tick.Stop()
	for begun := time.Now(); time.Since(begun) < membersLeave; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if members, err := t.Members(ctx, group, topic); err != nil || members == 0 {
			return err
		}
	}
	return nil
}
