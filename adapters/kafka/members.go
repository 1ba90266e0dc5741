package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
)

// membersEvery is how often WaitForNoMembers looks, membersLeave how long it waits: a
// member that was killed is dropped after its session's timeout, after a rebalance's too where it
// was killed in one.
const (
	membersEvery = 500 * time.Millisecond
	membersLeave = sessionTime + rebalanceTime + 4*time.Second
)

// Members is how many live members the consumer groups of topics have, see Group: that of
// the one which has most.
func (t *Transport) Members(ctx context.Context, group string, topics ...string) (members int, err error) {
	groups := make([]string, len(topics))
	for i, topic := range topics {
		groups[i] = group + "." + topic
	}
	err = t.ask(ctx, func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		described, err := admin.DescribeConsumerGroups(groups)
		if err != nil {
			return t.explain("", err)
		}
		for _, d := range described {
			members = max(members, len(d.Members))
		}
		return nil
	})
	return members, err
}

// WaitForNoMembers waits until the consumer groups of topics have no members, at most
// until those that were killed must have been dropped. Its error is that of ctx, or of asking.
func (t *Transport) WaitForNoMembers(ctx context.Context, group string, topics ...string) error {
	tick := time.NewTicker(membersEvery)
	defer tick.Stop()
	for begun := time.Now(); time.Since(begun) < membersLeave; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if members, err := t.Members(ctx, group, topics...); err != nil || members == 0 {
			return err
		}
	}
	return nil
}

// Backlog gives, by partition, the offset of the last record of a topic that its consumer
// group has not committed; a partition without any is left out.
func (t *Transport) Backlog(ctx context.Context, group, topic string) (map[int32]int64, error) {
	last, err := t.unread(ctx, topic)
	if err != nil || len(last) == 0 {
		return nil, err
	}
	var partitions []int32
	for p := range last {
		partitions = append(partitions, p)
	}
	err = t.ask(ctx, func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		committed, err := admin.ListConsumerGroupOffsets(group+"."+topic, map[string][]int32{topic: partitions})
		if errors.Is(err, sarama.ErrGroupIDNotFound) { // some brokers say so of a group that never was
			return nil
		}
		if err != nil {
			return t.explain("", err)
		}
		for p, offset := range last {
			if block := committed.GetBlock(topic, p); block != nil && block.Offset > offset {
				delete(last, p)
			}
		}
		return nil
	})
	return last, err
}
