package driver

import (
	"evcharging/application/message"
	"evcharging/domain"
)

// reports are what points reported for this driver: records of one session travel on
// different topics, and may come before the answer does.
type reports map[domain.SessionID]*report

// maxReports bounds them; more sessions at a time are not one driver's.
const maxReports = 256

type report struct {
	point domain.PointID
	// source is that of the record with the latest Kafka timestamp.
	source  message.Source
	heardAt domain.UnixMillis

	sample   *message.MeterValue
	sampleAt domain.UnixMillis
	samples  int
	done     *message.Done
	ticket   *message.Ticket
}

// of is the report of a session, of which a record came now. Where there are too many,
// the one that was silent longest gives way.
func (r reports) of(session domain.SessionID, point domain.PointID, source message.Source, now domain.UnixMillis) *report {
	if r[session] == nil {
		if len(r) == maxReports {
			var oldest domain.SessionID
			for id, x := range r {
				if oldest == "" || x.heardAt < r[oldest].heardAt || x.heardAt == r[oldest].heardAt && id < oldest {
					oldest = id
				}
			}
			delete(r, oldest)
		}
		r[session] = &report{point: point}
	}
	x := r[session]
	x.heardAt = now
	if source.Timestamp >= x.source.Timestamp {
		x.source = source
	}
	return x
}

func (s *step) receive(in message.Received) {
	switch m := in.Message.(type) {
	case message.Request:
		s.readBack(m, in.Source)
	case message.Answer:
		s.answered(m, in.Source)
	case message.MeterValue:
		if m.Driver == s.at.Driver && s.lineWith(m.Session) < 0 {
			s.heard.of(m.Session, m.Point, in.Source, s.now).sampled(m, in.Source.Timestamp)
			s.show()
		}
	case message.Done:
		if m.Driver == s.at.Driver && s.lineWith(m.Session) < 0 {
			if x := s.heard.of(m.Session, m.Point, in.Source, s.now); x.done == nil {
				x.done = &m
			}
			s.show()
		}
	case message.Ticket:
		if m.Driver == s.at.Driver {
			s.ticketed(m, in.Source)
		}
	}
}

// sampled takes a sample, unless it is not newer than the last or has less energy.
func (x *report) sampled(m message.MeterValue, at domain.UnixMillis) {
	if last := x.sample; last != nil {
		newer := at >= x.sampleAt
		if m.Seq != 0 && last.Seq != 0 {
			newer = m.Seq > last.Seq
		}
		if !newer || m.Amount < last.Amount || m.Energy != nil && last.Energy != nil && *m.Energy < *last.Energy {
			return
		}
	}
	x.sample, x.sampleAt = &m, at
	x.samples++
}

func (s *step) ticketed(ticket message.Ticket, source message.Source) {
	if i := s.lineWith(ticket.Session); i >= 0 {
		before := s.at.Supplies[i]
		if before.Ticket == "" || ticket.Revision > before.Revision {
			after := billed(ticket)
			after.Point, after.Request = before.Point, before.Request
			s.correct(i, after, &ticket)
		}
		return
	}
	x := s.heard.of(ticket.Session, ticket.Point, source, s.now)
	if x.ticket == nil || ticket.Revision > x.ticket.Revision {
		x.ticket = &ticket
	}
	s.show()
}

// billed is a supply as its ticket has it.
func billed(t message.Ticket) Supply {
	return Supply{
		Point: t.Point, Session: t.Session, Verdict: verdict(t.Reason),
		Energy: t.Energy, Amount: t.Amount, Reason: t.Reason, Ticket: t.ID, Revision: t.Revision,
	}
}

// current is what the point reported of the open request's session; nil while that is
// unknown. A grant without a session is bound to the latest that can be its own.
func (s *step) current() *report {
	open := s.at.Open
	if open == nil || !open.Granted {
		return nil
	}
	if open.Session == "" {
		for id, x := range s.heard {
			if x.point != s.point() || !s.notBeforeRequest(x.source) {
				continue
			}
			if best := s.heard[open.Session]; best == nil || x.source.Timestamp > best.source.Timestamp ||
				x.source.Timestamp == best.source.Timestamp && id < open.Session {
				open.Session = id
			}
		}
		if open.Session == "" {
			return nil
		}
		s.keep()
	}
	return s.heard[open.Session]
}

// show shows what is new of the open supply, and concludes it with its ticket.
func (s *step) show() {
	x := s.current()
	if x == nil {
		return
	}
	if x.heardAt > s.wait.since && !s.wait.ended {
		s.wait.since, s.wait.told = x.heardAt, false
	}
	if m := x.sample; m != nil && m != s.wait.seen && !s.wait.ended {
		first := s.wait.seen == nil || s.wait.missed != nil
		s.wait.seen = m
		if s.wait.back && x.sampleAt < s.begunAt {
			s.wait.missed = &Missed{s.line(), x.samples, m.Power, s.energy(m), m.Amount, x.sampleAt}
		} else {
			s.tellMissed()
			s.tell(Supplying{s.line(), m.Power, s.energy(m), m.Amount, first})
		}
	}
	if x.done != nil && !s.wait.ended {
		s.tellMissed()
		s.wait.ended, s.wait.since = true, s.now
		s.tell(Ended{s.line(), *x.done})
	}
	if x.ticket != nil {
		s.tellMissed()
		s.conclude(billed(*x.ticket), x.ticket)
	}
}

// tellMissed shows what is summed up.
func (s *step) tellMissed() {
	if s.wait.missed != nil {
		s.tell(*s.wait.missed)
		s.wait.missed = nil
	}
}

// energy is that of a sample, from its amount where it has none and the price is known.
func (s *step) energy(m *message.MeterValue) *domain.MilliwattHours {
	if m.Energy != nil || s.at.Open.Price == nil {
		return m.Energy
	}
	energy, err := domain.EnergyFor(m.Amount, *s.at.Open.Price)
	if err != nil {
		return nil
	}
	return &energy
}

// awaitEnd takes a done for the ticket when that stays away, and gives up on a silent point.
func (s *step) awaitEnd() {
	s.show()
	if s.at.Open == nil {
		return
	}
	x := s.current()
	if x != nil && s.now.Sub(x.heardAt) >= idle {
		s.tellMissed()
	}
	waited := s.waited(s.wait.since)
	switch {
	case x != nil && x.done != nil && waited >= TicketWait:
		s.conclude(Supply{
			Verdict: verdict(string(x.done.Reason)),
			Energy:  x.done.Energy, Amount: x.done.Amount, Reason: string(x.done.Reason),
		}, nil)
	case waited >= LostAfter:
		lost := Supply{Verdict: Failed, Reason: PointSilent}
		if x != nil && x.sample != nil {
			lost.Amount = x.sample.Amount
			if energy := s.energy(x.sample); energy != nil {
				lost.Energy = *energy
			}
		}
		s.conclude(lost, nil)
	case waited >= QuietAfter && !s.wait.told && (x == nil || x.done == nil):
		s.wait.told = true
		s.tell(PointQuiet{s.line(), x != nil && x.sample != nil})
	}
}
