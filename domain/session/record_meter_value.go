package session

import (
	"time"

	"evcharging/domain"
)

// ReportGrace is how long after a session's end its samples may still be on their way.
const ReportGrace = 2 * time.Second

// MeterValue is a sample as it came: running totals.
type MeterValue struct {
	Point  domain.PointID
	Driver domain.DriverID
	// Seq is 0 where the sample has none.
	Seq int64
	// Energy is nil where the sample has none: Amount divided by the session's price then.
	Energy *domain.MilliwattHours
	Power  domain.Watts
	Amount domain.MicroEuros
	At     domain.UnixMillis
	Source Source
}

// RecordMeterValue takes a sample: SupplyStarted with the first, MeterValueRecorded.
// A sample is newer if its Seq is greater, without Seq if it is another record whose
// Kafka timestamp is not earlier. ErrNotNewer, ErrRunsBackwards and ErrClosed where it is ignored;
// ErrUnknownSession, ErrForeignPoint, ErrForeignDriver and domain.ErrOutOfRange where it is refused.
func (s *Session) RecordMeterValue(now domain.UnixMillis, v MeterValue, patience Patience) error {
	if err := s.guardReport(v.Point, v.Driver); err != nil {
		return err
	}
	if s.status == Closed {
		return ErrClosed
	}
	energy, measured := domain.MilliwattHours(0), s.measured
	if v.Energy != nil {
		energy, measured = *v.Energy, max(s.measured, *v.Energy)
	} else {
		var err error
		if energy, err = domain.EnergyFor(v.Amount, s.price); err != nil {
			return err
		}
	}
	if s.last != nil {
		switch {
		case !s.newer(v):
			s.uncounted.NotNewer++
			return ErrNotNewer
		case energy < s.last.Energy:
			s.uncounted.RunsBackwards++
			return ErrRunsBackwards
		}
	}
	recorded := MeterValueRecorded{
		Seq: v.Seq, Energy: energy, Measured: measured, Power: v.Power, AmountReported: v.Amount,
		At: s.reportTime(v.At, v.Source.Timestamp), Source: v.Source,
	}
	if s.last == nil {
		s.record(now, SupplyStarted{At: recorded.At})
	}
	if s.status == Supplying {
		recorded.Due = now.Add(patience.Silence)
	}
	s.record(now, recorded)
	return nil
}

func (s *Session) newer(v MeterValue) bool {
	if v.Seq != 0 && s.last.Seq != 0 {
		return v.Seq > s.last.Seq
	}
	repeated := v.Source == s.last.Source // the same record, redelivered
	return !repeated && v.Source.Timestamp >= s.last.Source.Timestamp
}

// GoesOn tells whether a sample of this age shows an Engine that goes on supplying
// after the session's end (decided, or done), so that it must be told again to stop.
func (s *Session) GoesOn(recordedAt domain.UnixMillis) bool {
	return s.endedAt != 0 && recordedAt.Sub(s.endedAt) > ReportGrace
}
