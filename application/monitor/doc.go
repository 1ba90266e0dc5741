// Package monitor watches over one charging point: a state machine that registers
// the point, asks its Engine each second how it is, and is the point's sign of life at
// Central.
//
// It is pure. Step takes an input and the time and says in an Outcome what is to
// be done. It starts nothing, waits for nothing and has no clock; wiring around it has
// the ticker, the sockets and the broker.
//
// # What it says, and when
//
// First it asks Central's authentication, and once a lease from then on. A denial ends it;
// where nobody can be asked it says so, goes on, and asks again with growing pauses. It registers the point at its start
// and every RegisterEvery again, so that a Central with an emptied log soon knows it.
// It tells the health of the Engine when that changes, at once, and renews it every
// third of the lease. A recovery is told as RECOVERED, anything later as OK.
//
// What is sent is made up at that moment: after an outage that is what is true now, not
// what was missed. One batch is on its way at a time; a failed one is tried again with
// growing pauses, none longer than a third of the lease. Each change of the Engine, of
// the broker and of Central's authentication is one notice, however often it is met.
package monitor
