package session

import "evcharging/domain"

// Done is an Engine's final report as it came.
type Done struct {
	Point  domain.PointID
	Driver domain.DriverID
	Energy domain.MilliwattHours
	Amount domain.MicroEuros
	Reason string
	At     domain.UnixMillis
	Source Source
}

// ReportDone takes a final report. It closes an open session: SupplyEnded and
// TicketIssued, on the greatest energy that was reported. A closed session's ticket is
// revised where the report has more than was billed, else ErrClosed.
// ErrUnknownSession, ErrForeignPoint and ErrForeignDriver where it is refused.
func (s *Session) ReportDone(now domain.UnixMillis, d Done) error {
	if err := s.guardReport(d.Point, d.Driver); err != nil {
		return err
	}
	at := s.reportTime(d.At, d.Source.Timestamp)
	if s.status == Closed {
		return s.revise(now, d, at)
	}
	s.record(now, SupplyEnded{
		Reason: d.Reason, EnergyReported: d.Energy, AmountReported: d.Amount, At: at, Source: d.Source, Ignored: s.uncounted,
	})
	reason := d.Reason
	if s.cause != "" {
		reason = string(s.cause)
	}
	// An energy that was computed from an amount counts only where no final report comes.
	s.issue(now, max(s.measured, d.Energy), reason, at)
	return nil
}

func (s *Session) revise(now domain.UnixMillis, d Done, at domain.UnixMillis) error {
	if d.Energy <= s.ticket.Energy {
		return ErrClosed
	}
	amount := domain.Cost(d.Energy, s.price)
	s.record(now, TicketRevised{
		Revision:     s.ticket.Revision + 1,
		EnergyBefore: s.ticket.Energy, EnergyAfter: d.Energy,
		AmountBefore: s.ticket.Amount, AmountAfter: amount, AmountDifference: amount - s.ticket.Amount,
		Reason: d.Reason, EndedAt: max(at, s.ticket.EndedAt), Source: d.Source,
	})
	return nil
}

// issue closes the session with its ticket.
func (s *Session) issue(now domain.UnixMillis, energy domain.MilliwattHours, reason string, endedAt domain.UnixMillis) {
	startedAt := s.startedAt
	if s.last == nil {
		startedAt = s.grantedAt
	}
	s.record(now, TicketIssued{
		Ticket:    TicketFor(s.id),
		StartedAt: startedAt, EndedAt: max(startedAt, endedAt),
		Energy: energy, Price: s.price, Amount: domain.Cost(energy, s.price), Reason: reason, Ignored: s.uncounted,
	})
}
