package driver

import (
	"time"

	"evcharging/application/message"
	"evcharging/domain"
)

// Event is what a driver is shown. The set is closed.
type Event interface{ event() }

// Line says which line of the run an event is about.
type Line struct {
	// Number counts from 1; Of is how many lines the run has.
	Number, Of int
	Point      domain.PointID
}

// Continued tells that a run that was cut off goes on. Supplies are those that concluded;
// Open is nil where no request is open.
type Continued struct {
	Of       int
	Supplies []Supply
	Open     *Open
}

// Asked tells that the supply is asked for. Again: the request may have been sent before.
type Asked struct {
	Line
	Request domain.RequestID
	Again   bool
}

// SendFailed tells, once a request, that it could not be sent; it is tried again with
// growing pauses.
type SendFailed struct {
	Line
	Err error
}

// CentralQuiet tells that no answer has come for SilentAfter.
type CentralQuiet struct {
	Line
	// GivesUpIn is how long the driver goes on waiting.
	GivesUpIn time.Duration
}

// Granted tells that Central granted the supply.
type Granted struct {
	Line
	// Session is empty and Price nil where the answer has none.
	Session domain.SessionID
	Price   *domain.MicroEurosPerKWh
	At      domain.UnixMillis
}

// Supplying is the point's latest report. First: it is the first that is shown, or the
// first live one.
type Supplying struct {
	Line
	Power domain.Watts
	// Energy is nil where it isn't known.
	Energy *domain.MilliwattHours
	Amount domain.MicroEuros
	First  bool
}

// Missed is what the point had reported by the time that a run that was cut off goes on.
type Missed struct {
	Line
	// Reports counts those of the whole supply.
	Reports int
	Power   domain.Watts
	Energy  *domain.MilliwattHours
	Amount  domain.MicroEuros
	At      domain.UnixMillis
}

// PointQuiet tells that the point has reported nothing for QuietAfter. Begun tells whether
// it had reported before.
type PointQuiet struct {
	Line
	Begun bool
}

// Ended tells that the point reported the end of the supply; the ticket is awaited.
type Ended struct {
	Line
	Done message.Done
}

// Concluded tells that the line is done with. Ticket is nil where there is none. NextIn is how long
// until the next is asked for; negative where it was the last.
type Concluded struct {
	Line
	Supply Supply
	Ticket *message.Ticket
	NextIn time.Duration
}

// Corrected tells what came for a line that had concluded: a ticket where there was none,
// a revision of the ticket, or an answer after all. Before and After differ at least
// in the ticket or the session. Ticket is nil where an answer came.
type Corrected struct {
	Line
	Before, After Supply
	Ticket        *message.Ticket
}

// BrokerLost tells that the broker can't be reached.
type BrokerLost struct{ Reason string }

// BrokerFound tells that the broker can be reached again.
type BrokerFound struct{}

// Finished tells that the run is complete.
type Finished struct{ Supplies []Supply }

func (Continued) event()    {}
func (Asked) event()        {}
func (SendFailed) event()   {}
func (CentralQuiet) event() {}
func (Granted) event()      {}
func (Supplying) event()    {}
func (Missed) event()       {}
func (PointQuiet) event()   {}
func (Ended) event()        {}
func (Concluded) event()    {}
func (Corrected) event()    {}
func (BrokerLost) event()   {}
func (BrokerFound) event()  {}
func (Finished) event()     {}
