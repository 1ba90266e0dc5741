package driver

import (
	"evcharging/application/message"
	"evcharging/domain"
)

// Input is what can happen to a Driver. The set is closed.
type Input interface{ input() }

// Begin comes once: whatever is sent from now on will be heard. Nothing is sent before it.
type Begin struct{}

// Received is a record as it came: of the topics of requests, answers, telemetry, dones
// and tickets, from the Checkpoint's From on. Those of others are ignored.
type Received struct{ message.Received }

// Sent tells how it went with the sending of a request. Err is nil where the broker has it.
type Sent struct {
	Request domain.RequestID
	Err     error
}

// Link tells that the broker was lost or reached. Reason says why it was lost.
type Link struct {
	Up     bool
	Reason string
}

// Tick comes several times a second.
type Tick struct{}

func (Begin) input()    {}
func (Received) input() {}
func (Sent) input()     {}
func (Link) input()     {}
func (Tick) input()     {}

// Outcome is what a step asks for, to be done in the order of its fields.
type Outcome struct {
	// Keep, where not nil, must be durable before anything else of the Outcome is done.
	Keep *Checkpoint
	// Send, where not nil, is to be sent. How it went comes back as Sent; until then no
	// step asks to send the same request again.
	Send *message.Request
	// Events are for whoever looks on.
	Events []Event
	// Finished tells that the run is complete: when the events have been shown, its
	// checkpoint can go. No further input does anything.
	Finished bool
}
