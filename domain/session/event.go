package session

import "evcharging/domain"

// Event is something that happened in a session. The set is closed.
type Event interface{ sessionEvent() }

type (
	// SupplyAuthorized grants the request, at a price that never changes.
	SupplyAuthorized struct {
		Point      domain.PointID
		Driver     domain.DriverID
		Request    domain.RequestID
		Origin     string
		Price      domain.MicroEurosPerKWh
		Order      domain.Order
		ValidUntil domain.UnixMillis
		// Due is when the take-up deadline passes.
		Due domain.UnixMillis
	}
	// SupplyRefused refuses the request. It is the only event of its stream.
	SupplyRefused struct {
		Point   domain.PointID
		Driver  domain.DriverID
		Request domain.RequestID
		Origin  string
		Reason  string
		// Silent tells that nobody waits for the answer: it is on record only.
		Silent bool
	}
	// SupplyStarted says that the first sample came. At is the report's own time.
	SupplyStarted struct{ At domain.UnixMillis }
	// MeterValueRecorded is a sample, with running totals. The last one stands for all before it.
	MeterValueRecorded struct {
		Seq    int64 // 0: the report had none
		Energy domain.MilliwattHours
		// Measured is the greatest energy that a sample of the session named itself;
		// Energy is greater where this sample's was computed from its amount.
		Measured       domain.MilliwattHours
		Power          domain.Watts
		AmountReported domain.MicroEuros
		At             domain.UnixMillis
		Source         Source
		// Due is when the silence deadline passes; 0 where the session is ending.
		Due domain.UnixMillis
	}
	// EndDecided says that Central ended the session and waits for the final report until Due.
	EndDecided struct {
		Cause   Cause
		Due     domain.UnixMillis
		Ignored Ignored
	}
	// SupplyEnded is the first final report.
	SupplyEnded struct {
		Reason         string
		EnergyReported domain.MilliwattHours
		AmountReported domain.MicroEuros
		At             domain.UnixMillis
		Source         Source
		Ignored        Ignored
	}
	// TicketIssued closes the session and bills it.
	TicketIssued struct {
		Ticket    domain.TicketID
		StartedAt domain.UnixMillis
		EndedAt   domain.UnixMillis
		Energy    domain.MilliwattHours
		Price     domain.MicroEurosPerKWh
		Amount    domain.MicroEuros
		Reason    string
		Ignored   Ignored
	}
	// TicketRevised bills a final report that came after the close with more than was billed.
	TicketRevised struct {
		Revision         int
		EnergyBefore     domain.MilliwattHours
		EnergyAfter      domain.MilliwattHours
		AmountBefore     domain.MicroEuros
		AmountAfter      domain.MicroEuros
		AmountDifference domain.MicroEuros
		Reason           string
		EndedAt          domain.UnixMillis
		Source           Source
	}
)

func (SupplyAuthorized) sessionEvent()   {}
func (SupplyRefused) sessionEvent()      {}
func (SupplyStarted) sessionEvent()      {}
func (MeterValueRecorded) sessionEvent() {}
func (EndDecided) sessionEvent()         {}
func (SupplyEnded) sessionEvent()        {}
func (TicketIssued) sessionEvent()       {}
func (TicketRevised) sessionEvent()      {}
