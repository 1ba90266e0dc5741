package kafka

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"evcharging/application/message"
)

// joining is a member of a group, as it comes to one.
type joining struct {
	*kgo.Client
	request *kmsg.JoinGroupRequest
}

// newMember is a member that the group's coordinator knows by its id, and that has not joined.
func newMember(t *testing.T, addr, group, id string) joining {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ClientID(id))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.ProtocolType = group, "consumer"
	r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = int32(sessionTime.Milliseconds()), int32(rebalanceTime.Milliseconds())
	metadata := kmsg.NewConsumerMemberMetadata()
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", metadata.AppendTo(nil)
	r.Protocols = append(r.Protocols, protocol)
	m := joining{client, r}
	r.MemberID = m.join(t.Context(), t).MemberID
	return m
}

func (m joining) join(ctx context.Context, t *testing.T) *kmsg.JoinGroupResponse {
	response, err := m.request.RequestWith(ctx, m.Client)
	if err != nil && ctx.Err() == nil {
		t.Error(err)
	}
	return response
}

// A member that dies while it waits to join must not keep those that come later from the
// group for long: the broker may hold its place for as long as a rebalance may take.
func TestAMemberThatDiedWhileItJoinedGivesItsPlaceUp(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topics := tr.Topics().CentralReads()
	for _, topic := range topics {
		group := "g." + topic
		first := newMember(t, addr, group, "first")
		joined := first.join(t.Context(), t)
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Group, sync.MemberID, sync.Generation = group, first.request.MemberID, joined.Generation
		if _, err := sync.RequestWith(t.Context(), first.Client); err != nil {
			t.Fatal(err)
		}
		second := newMember(t, addr, group, "second")
		ctx, die := context.WithCancel(t.Context())
		died := make(chan struct{})
		go func() {
			defer close(died)
			second.join(ctx, t)
		}()
		await(t, "the second waits to join", func() bool {
			clients, err := tr.Members(t.Context(), "g", topic)
			return err == nil && len(clients) == 2
		})
		die()
		<-died
		second.Close()
		// The one that the second waited for leaves: the broker answers the dead.
		leave := kmsg.NewPtrLeaveGroupRequest()
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = first.request.MemberID
		leave.Group, leave.MemberID, leave.Members = group, first.request.MemberID, append(leave.Members, member)
		if _, err := leave.RequestWith(t.Context(), first.Client); err != nil {
			t.Fatal(err)
		}
	}

	if !tr.Listens() {
		t.Error("who has no group has nothing to wait for")
	}
	inGroup(t, tr, "g", topics, func(context.Context, message.Received) error { return nil })
	await(t, "the groups are waited for", func() bool { return !tr.Listens() })
	await(t, "all topics are read", tr.Listens)
}
