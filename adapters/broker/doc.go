// Package broker is a Kafka broker inside the process: kfake of franz-go, durable in a
// folder, for a first look at the network, for development and for tests.
//
// What kfake leaves out and the network needs is added here:
//
//   - It describes topics as message.timestamp.type=LogAppendTime, but stamps nothing:
//     stamp.go rewrites each batch that is produced to such a topic before kfake stores
//     it. A producer's response carries no time, as it would from Apache Kafka.
//   - It serves what arrives on its socket unseen, and a request of an unknown kind ends
//     the process: guard.go closes such a connection.
//   - It listens on 127.0.0.1 only and tells clients its listener's address: listen.go
//     binds any address and tells the advertised one.
//
// A record that was acknowledged is in the folder, synced (SyncWrites); so are topics,
// committed offsets and groups. Topics are created by request only, never by asking for
// one that is not there, because kfake would forget such a topic when it is killed.
package broker
