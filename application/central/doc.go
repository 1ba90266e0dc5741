// Package central is what Central does: one inbound message is one turn, one turn is
// at most one commit of the event log.
//
// A turn (Lane.Take) loads the aggregates that it touches, lets the domain decide,
// follows the policies until none is left, appends one commit, and publishes what the
// commit tells the world. It is acknowledged by returning nil, last of all: a crash
// anywhere means that the message comes again, and that finishes the turn. See turn.go
// for the order of things, policies.go for what follows from what, publish.go for
// what is sent, listening.go for when silence counts.
//
// Nothing here starts a goroutine, takes a lock or reads a clock. A Lane takes one turn
// at a time; who calls keeps each point in one lane.
package central
