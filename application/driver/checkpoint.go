package driver

import (
	"fmt"
	"slices"

	"evcharging/application/message"
	"evcharging/domain"
)

// Checkpoint is where a run is: what must survive a kill.
type Checkpoint struct {
	Driver domain.DriverID
	// Points are the run's lines.
	Points []domain.PointID
	// Supplies are how the first lines went, one each.
	Supplies []Supply
	// Open is the request of the line after those, nil before it is asked for.
	Open *Open
	// NextAt is when that line may be asked for.
	NextAt domain.UnixMillis
}

// Open is a request that has not concluded.
type Open struct {
	Request domain.RequestID
	// AskedAt is this machine's time before the request was sent.
	AskedAt domain.UnixMillis
	// Sent tells that the broker has the request; otherwise it may have it.
	Sent    bool
	Granted bool
	// Session is empty while no session is known for the grant.
	Session domain.SessionID
	// Price is nil where the grant has none.
	Price *domain.MicroEurosPerKWh
}

// Verdict is how a line of a run went.
type Verdict string

// The verdicts.
const (
	// Served is a supply that ended well: full, unplugged, or stopped by Central.
	Served Verdict = "served"
	// Refused is a request that Central refused.
	Refused Verdict = "refused"
	// Failed is a supply that was granted and ended badly: a fault, a point that did not
	// start or fell silent.
	Failed Verdict = "failed"
	// NotServed is a request that Central did not answer.
	NotServed Verdict = "not served"
)

// Reasons that a driver finds itself, beside those of refusals and tickets.
const (
	// CentralSilent: no answer came.
	CentralSilent = "CENTRAL_SILENT"
	// PointSilent: a grant, and then no report, no end and no ticket.
	PointSilent = "POINT_SILENT"
)

// Supply is how one line of a run went.
type Supply struct {
	Point   domain.PointID
	Request domain.RequestID
	// Session is empty where none is known.
	Session domain.SessionID
	Verdict Verdict
	// Energy and Amount are the ticket's, or the done's where no ticket has come, or the last
	// sample's where neither has; zero where there was no supply.
	Energy domain.MilliwattHours
	Amount domain.MicroEuros
	// Reason is the ticket's, the refusal's, CentralSilent or PointSilent.
	Reason string
	// Ticket is empty while no ticket has come.
	Ticket   domain.TicketID
	Revision int
}

// OK tells whether the driver got what it asked for.
func (s Supply) OK() bool { return s.Verdict == Served }

// Totals adds up supplies.
func Totals(supplies []Supply) (energy domain.MilliwattHours, amount domain.MicroEuros, failed int) {
	for _, s := range supplies {
		energy += s.Energy
		amount += s.Amount
		if !s.OK() {
			failed++
		}
	}
	return energy, amount, failed
}

// verdict is what a reason of a done or a ticket means for the driver.
func verdict(reason string) Verdict {
	switch message.DoneReason(reason) {
	case message.DoneFinished, message.DoneUnplugged, message.DoneStopped:
		return Served
	}
	return Failed
}

// ListChangedError says that a list is not the one that a run was begun with.
type ListChangedError struct {
	// Line counts the list's points from 1.
	Line int
	// Was is what the run had there; Is is empty where the list ends before it.
	Was, Is domain.PointID
}

func (e *ListChangedError) Error() string {
	if e.Is == "" {
		return fmt.Sprintf("the list ends before point %d, which was %s and has been asked for", e.Line, e.Was)
	}
	return fmt.Sprintf("point %d of the list is %s now, but %s has been asked for", e.Line, e.Is, e.Was)
}

// Continue is the checkpoint with the lines of a list as it is now. Lines that have not
// been asked for may have changed; of the others it returns a *ListChangedError.
func (c Checkpoint) Continue(points []domain.PointID) (Checkpoint, error) {
	asked := len(c.Supplies)
	if c.Open != nil {
		asked++
	}
	for i, was := range c.Points[:asked] {
		if i >= len(points) {
			return Checkpoint{}, &ListChangedError{i + 1, was, ""}
		}
		if points[i] != was {
			return Checkpoint{}, &ListChangedError{i + 1, was, points[i]}
		}
	}
	c.Points = slices.Clone(points)
	return c, nil
}

// From is the instant from which the records of the network tell what the run does not
// know yet; zero where it needs none of the past.
func (c Checkpoint) From() domain.UnixMillis {
	if c.Open == nil {
		return 0
	}
	return c.Open.AskedAt.Add(-lookBack)
}

// clone is a copy that shares nothing that changes.
func (c Checkpoint) clone() *Checkpoint {
	c.Supplies = slices.Clone(c.Supplies)
	if c.Open != nil {
		open := *c.Open
		c.Open = &open
	}
	return &c
}
