package monitor

import (
	"evcharging/application/message"
)

// Input is what can happen to a Monitor. The set is closed.
type Input interface{ input() }

// Tick comes once a second.
type Tick struct{}

// Condition is what a beat has found.
type Condition int

// The conditions of an Engine.
const (
	// Unknown is before the first beat.
	Unknown Condition = iota
	// Healthy is an answer of OK.
	Healthy
	// Faulty is an answer of KO.
	Faulty
	// Down is no answer.
	Down
)

// Beaten is the result of a beat.
type Beaten struct {
	Condition Condition
	// Reason says why there was no answer.
	Reason string
}

// Authentication is what Central's authentication says.
type Authentication int

// The results of an authentication.
const (
	// Accepted lets the point in.
	Accepted Authentication = iota
	// Denied does not.
	Denied
	// Unreachable is no answer.
	Unreachable
)

// Authenticated is the result of an authentication. Err says why where it was not accepted.
type Authenticated struct {
	Result Authentication
	Err    error
}

// Sent tells how it went with the batch on its way. Err is nil where the broker has all
// of it.
type Sent struct{ Err error }

// Link tells that the broker was reached or lost.
type Link struct{ Up bool }

func (Tick) input()          {}
func (Beaten) input()        {}
func (Authenticated) input() {}
func (Sent) input()          {}
func (Link) input()          {}

// Outcome is what a step asks for.
type Outcome struct {
	// Beat asks for a beat. Its result comes back as Beaten; until then no step asks again.
	Beat bool
	// Authenticate asks Central's authentication, likewise with Authenticated.
	Authenticate bool
	// Send is to be sent in one go, in this order, likewise with Sent.
	Send []message.Message
	// Notices are for whoever looks on.
	Notices []Notice
	// Denied is why the Monitor must end now; nil where it goes on.
	Denied error
}

// Notice is one sentence for whoever looks on.
type Notice struct {
	Warning bool
	Text    string
}
