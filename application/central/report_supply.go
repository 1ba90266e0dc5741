package central

import (
	"context"

	"evcharging/application/message"
	"evcharging/domain/session"
)

// recordMeterValue takes a sample of a running supply. A supply that goes on after its end
// is ordered again to stop.
func (t *turn) recordMeterValue(ctx context.Context, m message.MeterValue) (verdict, error) {
	if err := t.loadSession(ctx, m.Session); err != nil {
		return verdict{}, err
	}
	recordedAt := t.received.Source.Timestamp
	if !t.received.Source.Trusted {
		recordedAt = t.clock // a sender's clock may be from 1970
	}
	goesOn := t.session.session.GoesOn(recordedAt)
	if goesOn {
		if err := t.loadPoint(ctx, m.Point); err != nil {
			return verdict{}, err
		}
	}
	v, err := judge(t.session.session.RecordMeterValue(t.now, session.MeterValue{
		Point: m.Point, Driver: m.Driver, Seq: m.Seq, Energy: m.Energy, Power: m.Power, Amount: m.Amount,
		At: m.At, Source: t.source(),
	}, t.Patience))
	if err != nil || v.refused || !goesOn {
		return v, err
	}
	// Whether it is time for another order says nothing about the sample.
	_, err = judge(t.point.point.OrderStopAgain(t.now, m.Session, stopCause(t.session.session)))
	return v, err
}

// reportDone takes an Engine's final report.
func (t *turn) reportDone(ctx context.Context, m message.Done) (verdict, error) {
	if err := t.loadSession(ctx, m.Session); err != nil {
		return verdict{}, err
	}
	if t.session.session.Open() {
		if err := t.loadPoint(ctx, m.Point); err != nil {
			return verdict{}, err
		}
	}
	return judge(t.session.session.ReportDone(t.now, session.Done{
		Point: m.Point, Driver: m.Driver, Energy: m.Energy, Amount: m.Amount, Reason: string(m.Reason),
		At: m.At, Source: t.source(),
	}))
}

func (t *turn) source() session.Source {
	s := t.received.Source
	return session.Source{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset, Timestamp: s.Timestamp}
}

// stopCause is why a session that has ended is to be stopped.
func stopCause(s *session.Session) string {
	if c := s.Cause(); c != "" {
		return string(c)
	}
	return "CLOSED"
}
