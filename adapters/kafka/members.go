package kafka

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// membersEvery is how often WaitForMembersToLeave looks, membersLeave how long it waits: a
// member that was killed is dropped after its session's timeout, after a rebalance's too where it
// was killed in one.
const (
	membersEvery = 500 * time.Millisecond
	membersLeave = sessionTime + rebalanceTime + 4*time.Second
)

// Members are the client ids of the live members of the consumer groups of topics, see
// Group; each once, in no particular order.
func (t *Transport) Members(ctx context.Context, group string, topics ...string) (clients []string, err error) {
	groups := make([]string, len(topics))
	for i, topic := range topics {
		groups[i] = group + "." + topic
	}
	err = t.ask(ctx, func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		described, err := admin.DescribeConsumerGroups(groups)
		if err != nil {
			return t.explain("the groups "+strings.Join(groups, ", "), err)
		}
		for _, d := range described {
			if !errors.Is(d.Err, sarama.ErrNoError) && !errors.Is(d.Err, sarama.ErrGroupIDNotFound) {
				return t.explain("the group "+d.GroupId, d.Err)
			}
			for _, m := range d.Members {
				if !slices.Contains(clients, m.ClientId) {
					clients = append(clients, m.ClientId)
				}
			}
		}
		return nil
	})
	return clients, err
}

// WaitForMembersToLeave waits until the consumer groups of topics have no members but those
// of a client id, at most until others that were killed must have been dropped, and gives the
// client ids of those that stayed. Its error is that of ctx, or of asking.
func (t *Transport) WaitForMembersToLeave(ctx context.Context, group, but string, topics ...string) (stayed []string, err error) {
	tick := time.NewTicker(membersEvery)
	defer tick.Stop()
	for begun := time.Now(); ; {
		clients, err := t.Members(ctx, group, topics...)
		stayed = slices.DeleteFunc(clients, func(id string) bool { return id == but })
		if err != nil || len(stayed) == 0 || time.Since(begun) >= membersLeave {
			return stayed, err
		}
		select {
		case <-ctx.Done():
			return stayed, ctx.Err()
		case <-tick.C:
		}
	}
}

// Unread are the records of a partition from the offset First on, to Last.
type Unread struct{ First, Last int64 }

// Backlog gives, by partition, the records of a topic that its consumer group has not
// committed; a partition without any is left out.
func (t *Transport) Backlog(ctx context.Context, group, topic string) (map[int32]Unread, error) {
	left, err := t.unread(ctx, topic)
	if err != nil || len(left) == 0 {
		return nil, err
	}
	var partitions []int32
	for p := range left {
		partitions = append(partitions, p)
	}
	err = t.ask(ctx, func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		committed, err := admin.ListConsumerGroupOffsets(group+"."+topic, map[string][]int32{topic: partitions})
		if errors.Is(err, sarama.ErrGroupIDNotFound) { // some brokers say so of a group that never was
			return nil
		}
		if err != nil {
			return t.explain("the group "+group+"."+topic, err)
		}
		for p, all := range left {
			block := committed.GetBlock(topic, p)
			switch {
			case block == nil || block.Offset <= all.First:
			case block.Offset > all.Last:
				delete(left, p)
			default:
				left[p] = Unread{block.Offset, all.Last}
			}
		}
		return nil
	})
	return left, err
}
