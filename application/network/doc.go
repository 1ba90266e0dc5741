// Package network is the read model of the network: the points as they are shown,
// the open sessions, the tail of the closed ones, and the messages that people
// read. It is a fold of decoded events and decides nothing. Central's panel, its
// HTTP pages and, over the events of another day, a look back are all fed by it.
package network
