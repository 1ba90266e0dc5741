// Package kafka carries the messages of the network over Kafka: what a record looks like,
// and how it is sent, read and acknowledged.
//
// # The wire
//
// wire.go holds a description of each record of the contract, a function a row of its
// table. The same description reads and writes, so both can't disagree; fields.go does
// what a description says, one member of a JSON object at a time. What the reference's
// programs know is required and always written; what is ours is optional. An optional
// member that is null is absent (many programs write null for none); a required one that is
// null is unreadable. Figures are read from their decimal text and written as exact JSON
// numbers; there is no float. A whole number may have a fraction of zeros (15.0).
//
// A record that is not what the contract says is ErrUnreadable, with the field and the
// reason. A message that nobody could read is not sent: ErrUnsendable.
//
// # A record on its way in (Group)
//
//	sarama's claim of a partition
//	   │ group.go, laned.ConsumeClaim: decode, take a place in the tracker, choose a lane by point
//	   ├─▶ lane 0 ─▶ Watermill's own reader ─▶ process ─▶ work ─▶ handle
//	   ├─▶ lane 1 ─▶ …                           (one record a lane, retried with growing pauses)
//	   └─▶ lane 15
//	                                              └─▶ finish: the tracker marks what lies before
//	                                                  the first record that is not done
//
// Watermill's subscriber has one record of a partition in work at a time. Its Tracer is the
// one place where that can be changed without changing it: there, its reader of a partition
// is run once for each lane, with a session that marks nothing. Marking is the claim's: it
// moves the partition's offset up to the first record that is not done (tracker.go), so the
// acknowledgement is the last thing that happens to a record. The claim's window bounds how
// far the others may get ahead of a record that is stuck.
//
// When a partition is taken away, or the program stops, no further record is begun, those
// that are being retried are given up, those in work have 6 s (then their context ends, and
// 1 s later they are left behind, and what they do is not marked), and the last offset is
// committed, in half a second: a broker that hangs is left without. The next owner begins
// there: a record comes again rather than never.
//
// Offsets are committed once a second, for requests and control records at each
// acknowledgement, where acknowledgements that come while a commit is under way share the
// next. A group is named group.topic, one for each topic.
//
// Unreadable and rejected records go to <topic>.dlq (send.go) before they are acknowledged.
//
// # A record on its way in without a group (Follow, Read)
//
// follow.go reads all partitions on sarama itself, from positions that are fixed before
// ready is called, and survives brokers, topics and partitions that come and go. read.go
// reads a topic up to its end of that moment, and decodes dead letters.
//
// # A record on its way out (Send)
//
// One batch through sarama's producer: acknowledged by all replicas, idempotent, one request
// open at a time, which keeps the order. Keys are the contract's: the point's id, on topics
// for drivers the driver's. Headers: a UUID where Watermill's clients look for it, and the
// content type. link.go replaces client and producer when the producer has given up, for it
// would refuse a topic for ten seconds after the broker is back.
//
// # Topics
//
// EnsureTopics creates what is missing and amends what somebody else made. It is not left to
// the broker: sarama is told never to have a topic created by asking for it. The broker sets
// the records' time (LogAppendTime); where it may not, Source.Trusted is false. That is read
// from the topics' settings, at the start, once a minute and whenever the broker comes back.
// Records that were stored before a topic was amended keep their senders' time, though they
// are trusted then.
//
// # The broker's state
//
// watch.go pings once a second over a connection of its own, says each change in one line and
// tells whoever watches. ready.go says, for health checks, whether all that is needed is
// there. clock.go compares clocks: of the first record sent, and of records
// that are followed. Everything that sarama and Watermill say besides is a debug line.
//
// # Security
//
// Every connection is made by the dialer of connection.go, which begins TLS, so that a
// handshake that fails says why; the user is sarama's part (security.go). A broker that is
// spoken to in the wrong way only closes the connection: probe.go finds out what it would
// rather hear. What no repetition mends (ErrDenied, ErrTLS, ErrRefused) ends Connect at once;
// later it is said once and tried again. permissions.go asks at the start whether the broker
// permits what the program's role needs, and says what readers are denied later.
//
// # Sarama, what to know
//
//   - A fetch that waits holds up every other request on its connection, commits too. So what
//     sends, asks and pings has other connections than what reads, and topics whose records
//     are committed one by one are fetched with short waits.
//   - Offsets that were marked are flushed at the end of a session only with AutoCommit; the
//     claim makes its last commit itself.
//   - After three failures its producer refuses a topic for ten seconds (see link.go).
package kafka
