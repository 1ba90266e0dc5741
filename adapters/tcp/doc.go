// Package tcp carries the two protocols that are not Kafka: the heartbeat between a
// Monitor and its Engine, and the authentication of a Monitor at Central.
//
// What is said is decided by state machines without a socket: bytes in, bytes out. The
// layer of sockets below them is the same for both servers. It gives each connection its
// own goroutine and a buffer of fixed size, closes who is silent or does not read for
// too long, and where there are too many closes who has been silent longest: a client
// that says nothing, half a word, or a megabyte of anything delays nobody and ends nothing.
package tcp
