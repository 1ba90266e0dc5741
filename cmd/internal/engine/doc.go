// Package engine wires an Engine: its journal, the heartbeat's port, Kafka, the clock,
// and the commands of whoever stands at the point.
//
// An Engine listens and answers from its start, whether Kafka is there or not. Asked to
// stop (Close, SIGTERM, quit) it ends a running supply with KO, so that its driver gets the
// ticket now, and takes a few seconds to hand its final reports to the broker; what could
// not be handed over waits in the journal and is sent when it comes back. Killed, it
// reports the supply as RECOVERED when it comes back, with the totals of its last sample.
package engine
