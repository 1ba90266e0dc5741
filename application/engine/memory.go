package engine

import (
	"slices"

	"evcharging/application/message"
	"evcharging/domain"
)

// MaxRemembered is how many ended sessions stay readable for repeated orders. Those
// whose done the broker does not have are kept beyond that.
const MaxRemembered = 256

// Record is what one step changes in the Memory. It is stored whole or not at all.
// Its parts take effect in the order in which they stand here.
type Record struct {
	// Ended are final reports, refusals among them.
	Ended []message.Done
	// Order is the order that was obeyed or refused.
	Order *TakenOrder
	// Opened is the session that now has the point.
	Opened *Session
	// Sample is the newest of the session that has the point.
	Sample *Sample
	// Reported are sessions whose done the broker has.
	Reported []domain.SessionID
}

// TakenOrder is an order that was obeyed or refused.
type TakenOrder struct {
	// Number is 0 where the order had none.
	Number domain.Order
	Kind   message.OrderKind
}

// Session is a supply that was ordered.
type Session struct {
	ID     domain.SessionID
	Driver domain.DriverID
	Price  domain.MicroEurosPerKWh
	// OpenedAt is when its start was obeyed.
	OpenedAt domain.UnixMillis
}

// Sample is what was measured of a session: running totals.
type Sample struct {
	Seq    int64
	Power  domain.Watts
	Energy domain.MilliwattHours
	At     domain.UnixMillis
}

// IsEmpty tells whether the record changes nothing.
func (r Record) IsEmpty() bool {
	return len(r.Ended) == 0 && r.Order == nil && r.Opened == nil && r.Sample == nil && len(r.Reported) == 0
}

// Durable tells whether the record must survive a loss of power: it holds an order or
// a final report. Any other must survive a kill.
func (r Record) Durable() bool {
	return len(r.Ended) > 0 || r.Order != nil || r.Opened != nil
}

// Memory is what an Engine knows after a kill: the fold of its Records. The zero
// Memory is that of a new Engine.
type Memory struct {
	// Fence is the last order by number, and its kind.
	Fence TakenOrder
	// OutOfService tells that the newest order took the point out of service.
	OutOfService bool
	// Open is the session that has the point, nil where there is none; Last its newest
	// sample, zero where it has none.
	Open *Session
	Last Sample
	// ended holds the final reports, oldest first.
	ended []ended
}

type ended struct {
	done     message.Done
	reported bool
}

// Apply folds a record.
func (m *Memory) Apply(r Record) {
	for _, done := range r.Ended {
		if m.Open != nil && m.Open.ID == done.Session {
			m.Open, m.Last = nil, Sample{}
		}
		m.ended = append(m.ended, ended{done: done})
	}
	if r.Order != nil {
		if r.Order.Number != 0 {
			m.Fence = *r.Order
		}
		switch r.Order.Kind {
		case message.OrderOutOfOrder:
			m.OutOfService = true
		case message.OrderStart, message.OrderResume:
			m.OutOfService = false
		}
	}
	if r.Opened != nil {
		opened := *r.Opened
		m.Open, m.Last = &opened, Sample{}
	}
	if r.Sample != nil {
		m.Last = *r.Sample
	}
	for _, session := range r.Reported {
		if i := m.find(session); i >= 0 {
			m.ended[i].reported = true
		}
	}
	m.forget()
}

// Records is the shortest journal that folds to this memory.
func (m *Memory) Records() []Record {
	var records []Record
	for _, e := range m.ended {
		r := Record{Ended: []message.Done{e.done}}
		if e.reported {
			r.Reported = []domain.SessionID{e.done.Session}
		}
		records = append(records, r)
	}
	if m.Fence.Number != 0 {
		records = append(records, Record{Order: &TakenOrder{m.Fence.Number, m.Fence.Kind}})
	}
	service := message.OrderResume
	if m.OutOfService {
		service = message.OrderOutOfOrder
	}
	last := Record{Order: &TakenOrder{Kind: service}}
	if m.Open != nil {
		opened := *m.Open
		last.Opened = &opened
		if m.Last != (Sample{}) {
			sample := m.Last
			last.Sample = &sample
		}
	}
	return append(records, last)
}

// Done is the final report of a session; ok is false where it is not known.
func (m *Memory) Done(session domain.SessionID) (done message.Done, ok bool) {
	if i := m.find(session); i >= 0 {
		return m.ended[i].done, true
	}
	return message.Done{}, false
}

// Unreported are the sessions whose done the broker does not have, oldest first.
func (m *Memory) Unreported() []domain.SessionID {
	var sessions []domain.SessionID
	for _, e := range m.ended {
		if !e.reported {
			sessions = append(sessions, e.done.Session)
		}
	}
	return sessions
}

// find looks from the newest on: repeats come soon.
func (m *Memory) find(session domain.SessionID) int {
	for i := len(m.ended) - 1; i >= 0; i-- {
		if m.ended[i].done.Session == session {
			return i
		}
	}
	return -1
}

// forget drops the oldest reported sessions beyond MaxRemembered.
func (m *Memory) forget() {
	surplus := len(m.ended) - MaxRemembered
	if surplus <= 0 {
		return
	}
	m.ended = slices.DeleteFunc(m.ended, func(e ended) bool {
		if surplus > 0 && e.reported {
			surplus--
			return true
		}
		return false
	})
}
