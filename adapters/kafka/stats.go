package kafka

import "sync/atomic"

// TopicStats counts what became of a topic's records since Connect.
type TopicStats struct {
	// Sent are the records that the broker has acknowledged.
	Sent uint64
	// Received are the records that came, repeats after a rebalance too.
	Received uint64
	// Acked are those of Group that are done, dead letters too.
	Acked uint64
	// Retried is how often a record of Group was tried again.
	Retried uint64
	// DeadLettered are the records that went to the dead-letter topic.
	DeadLettered uint64
	// Skipped are the unreadable records that Follow passed over.
	Skipped uint64
	// InFlight are the records of Group between reception and acknowledgement: the windows.
	InFlight int64
}

type counters struct {
	sent, received, acked, retried, deadLettered, skipped atomic.Uint64
	inFlight                                              atomic.Int64
}

// Stats are the counters of every topic, by its name. They don't belong to one instant.
func (t *Transport) Stats() map[string]TopicStats {
	all := make(map[string]TopicStats, len(t.stats))
	for name, c := range t.stats {
		all[name] = TopicStats{
			Sent: c.sent.Load(), Received: c.received.Load(), Acked: c.acked.Load(), Retried: c.retried.Load(),
			DeadLettered: c.deadLettered.Load(), Skipped: c.skipped.Load(), InFlight: c.inFlight.Load(),
		}
	}
	return all
}
