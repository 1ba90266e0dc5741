package engine

import (
	"evcharging/application/message"
	"evcharging/domain"
)

// Input is what can happen to an Engine. The set is closed.
type Input interface{ input() }

// OrderReceived is an order of Central as it came.
type OrderReceived struct {
	Order message.Order
	// Timestamp is the record's Kafka timestamp, Trusted whether the broker set it.
	Timestamp domain.UnixMillis
	Trusted   bool
}

// Tick comes once a second.
type Tick struct{}

// Break simulates a fault: the Engine answers KO, and a supply ends.
type Break struct{}

// Mend ends the simulated fault.
type Mend struct{}

// Plug is a driver who plugs in.
type Plug struct{}

// Unplug is a driver who unplugs: a running supply ends.
type Unplug struct{}

// RequestSupply is a driver who asks for a supply at the point itself.
type RequestSupply struct {
	Driver domain.DriverID
	// ID is a new random UUID.
	ID domain.RequestID
}

// AnswerReceived is an answer of Central to some request.
type AnswerReceived struct{ Answer message.Answer }

// Sent tells how it went with the Batch of that number. Err is nil where the broker
// has all of it.
type Sent struct {
	Batch int
	Err   error
}

// Link tells that the broker was reached or lost.
type Link struct{ Up bool }

// Shutdown asks the Engine to end: a supply ends, and no start is obeyed any more.
type Shutdown struct{}

func (OrderReceived) input()  {}
func (Tick) input()           {}
func (Break) input()          {}
func (Mend) input()           {}
func (Plug) input()           {}
func (Unplug) input()         {}
func (RequestSupply) input()  {}
func (AnswerReceived) input() {}
func (Sent) input()           {}
func (Link) input()           {}
func (Shutdown) input()       {}

// Outcome is what a step asks for.
type Outcome struct {
	// Record is to be stored before anything else is done. Where that fails the Engine
	// must end at once: it would supply what nobody bills.
	Record Record
	// Send is nil where nothing is to be sent now. Its result comes back as Sent; until
	// then no step asks to send anything.
	Send *Batch
	// Notices are for whoever looks on.
	Notices []Notice
}

// Batch is what to send in one go, in this order.
type Batch struct {
	Number   int
	Messages []message.Message
}

// Notice is one sentence for whoever looks on.
type Notice struct {
	Warning bool
	Text    string
}
