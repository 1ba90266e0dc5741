package central

import (
	"context"
	"time"
)

const (
	// slowAnswer is how long the broker may take to answer a ping, and how often it is looked;
	// slowStore is how long a MongoDB may take to answer anything.
	slowAnswer = 500 * time.Millisecond
	slowStore  = time.Second
	// unreadEvery is how often the groups' progress is asked for, unreadFor how long a record
	// may wait: it is committed once a second.
	unreadEvery = time.Second
	unreadFor   = 2500 * time.Millisecond
)

// watchSilence is deaf for as long as the broker hangs, or does not hand out yet what
// others have sent, or the store hangs.
func (n *Node) watchSilence(ctx context.Context) {
	tick := time.NewTicker(slowAnswer)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n.transport.Unanswered() >= slowAnswer || !n.transport.Listens() ||
				n.store.shared != nil && n.store.shared.Unanswered() >= slowStore {
				n.listening.Deaf(now())
			}
		}
	}
}

// watchUnread is deaf for as long as records wait unread in anybody's partitions: those of
// a Central that died are read by nobody until the broker has noticed. Before that a lease
// has not passed, see central.Central's Shared.
func (n *Node) watchUnread(ctx context.Context) {
	type partition struct {
		topic  string
		number int32
	}
	type mark struct {
		offset int64
		at     time.Time
	}
	topics := n.transport.Topics()
	marks := map[partition]mark{}
	tick := time.NewTicker(unreadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		waits := false
		for _, topic := range []string{topics.Health, topics.Telemetry, topics.Done} {
			left, err := n.transport.Backlog(ctx, group, topic)
			if err != nil {
				continue // the watch of the broker has noticed
			}
			at := time.Now()
			for p := range marks {
				if _, unread := left[p.number]; p.topic == topic && !unread {
					delete(marks, p)
				}
			}
			for number, unread := range left {
				p := partition{topic, number}
				if m, marked := marks[p]; !marked || unread.First > m.offset {
					marks[p] = mark{unread.Last, at}
				} else if at.Sub(m.at) >= unreadFor {
					waits = true
				}
			}
		}
		if waits {
			n.listening.Deaf(now())
			n.warn("unread", "reports wait unread: silence does not count")
		} else {
			n.warn("unread", "")
		}
	}
}
