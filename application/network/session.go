package network

import (
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Session is a supply as it is shown, from its grant on: a copy that nobody changes.
type Session struct {
	ID      domain.SessionID
	Point   domain.PointID
	Driver  domain.DriverID
	Request domain.RequestID
	Origin  string
	// Status is Unreadable where what the session is can't be read, and then all but ID is what
	// was known before.
	Status session.Status
	Price  domain.MicroEurosPerKWh
	// Power is that of the last sample, 0 unless it is supplying. Energy and Amount are those of the last
	// sample, Amount computed from Energy; once there is a ticket, the ticket's.
	Power  domain.Watts
	Energy domain.MilliwattHours
	Amount domain.MicroEuros
	// GrantedAt is when the request was granted, StartedAt when the first report came (0
	// before it), ReportedAt when the last sample was taken (0 before it).
	GrantedAt  domain.UnixMillis
	StartedAt  domain.UnixMillis
	ReportedAt domain.UnixMillis
	// Refusal is why the request was refused; empty where it was granted, as all of a Network's.
	Refusal string
	// Cause is why Central ended the session; empty where it did not.
	Cause session.Cause
	// Ticket is the bill as it stands; nil before there is one.
	Ticket *session.Ticket
	// Revisions are what changed the ticket since it was issued, in order.
	Revisions []session.Revision
	// Version is that of the session's stream, UpdatedAt when it changed last.
	Version   eventlog.Version
	UpdatedAt domain.UnixMillis
}

// AskedAt is when the request was answered: granted, or refused.
func (s Session) AskedAt() domain.UnixMillis {
	if s.Refusal != "" {
		return s.UpdatedAt
	}
	return s.GrantedAt
}

// ShowSession is a session as it is shown, whose stream is at a version; also one that was
// refused.
func ShowSession(s *session.Session, version eventlog.Version) Session {
	return (&record{Session: s, version: version}).show()
}

// record is what is kept of a session.
type record struct {
	*session.Session
	version eventlog.Version
	// unreadable tells that the log has more of it, which can't be read.
	unreadable bool
}

// power is what the session draws now, as far as its last sample says.
func (r *record) power() domain.Watts {
	if last, ok := r.Last(); ok && r.Status() == session.Supplying && !r.unreadable {
		return last.Power
	}
	return 0
}

// show copies what is shown of a session.
func (r *record) show() Session {
	request := r.Request()
	s := Session{
		ID: r.ID(), Point: request.Point, Driver: request.Driver, Request: request.ID, Origin: request.Origin,
		Status: r.Status(), Price: r.Price(), Power: r.power(),
		GrantedAt: r.GrantedAt(), StartedAt: r.StartedAt(), Refusal: r.Refusal(), Cause: r.Cause(),
		Version: r.version, UpdatedAt: r.UpdatedAt(),
	}
	if last, ok := r.Last(); ok {
		s.Energy, s.Amount, s.ReportedAt = last.Energy, domain.Cost(last.Energy, s.Price), last.At
	}
	if t, ok := r.Ticket(); ok {
		s.Energy, s.Amount, s.Ticket = t.Energy, t.Amount, &t
		s.Revisions = r.Revisions()
	}
	if r.unreadable {
		s.Status = Unreadable
	}
	return s
}

// earlier orders open sessions: by their grant, then by id.
func earlier(a, b *record) int {
	switch {
	case a.GrantedAt() != b.GrantedAt():
		return int(a.GrantedAt() - b.GrantedAt())
	case a.ID() < b.ID():
		return -1
	case a.ID() > b.ID():
		return 1
	}
	return 0
}

// tail remembers the ids of the newest sessions that are over.
type tail struct {
	limit int
	ids   []domain.SessionID // a ring once it is full
	next  int
}

// add remembers an id; gone is the one that it forgets for it, empty where none.
func (t *tail) add(id domain.SessionID) (gone domain.SessionID) {
	if len(t.ids) < t.limit {
		t.ids = append(t.ids, id)
		return ""
	}
	gone, t.ids[t.next] = t.ids[t.next], id
	t.next = (t.next + 1) % t.limit
	return gone
}

// newest gives up to limit ids, the newest first.
func (t *tail) newest(limit int) []domain.SessionID {
	limit = max(0, min(limit, len(t.ids)))
	out := make([]domain.SessionID, limit)
	for i := range out {
		out[i] = t.ids[(t.next+len(t.ids)-1-i)%len(t.ids)]
	}
	return out
}
