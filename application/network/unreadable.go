package network

import (
	"slices"
	"strings"

	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Unreadable is shown as the state of a point, and as the status of an open session, whose
// stream can't be read: what it is now is not known.
const Unreadable = "UNREADABLE"

// CannotRead says that what a stream has can't be read, since an instant: its point, or its
// session, which is open, is shown as Unreadable, also where nothing is known of it but the id.
func (n *Network) CannotRead(stream eventlog.Stream, at domain.UnixMillis) {
	if id, ok := strings.CutPrefix(string(stream), "point-"); ok {
		p := n.point(domain.PointID(id))
		p.unreadable = true
		n.list(p, at)
		n.recount(p, at)
		return
	}
	id := domain.SessionID(strings.TrimPrefix(string(stream), "session-"))
	r := n.sessions[id]
	if r == nil {
		r = &record{Session: session.New(id)}
		n.sessions[id] = r
		n.addOpen(r)
	}
	if r.Open() || r.version == 0 {
		n.power -= r.power()
		r.unreadable = true
		n.changed++
	}
}

// CanRead takes CannotRead back, at an instant. What the stream has is to be applied behind it.
func (n *Network) CanRead(stream eventlog.Stream, at domain.UnixMillis) {
	if id, ok := strings.CutPrefix(string(stream), "point-"); ok {
		if p := n.points[domain.PointID(id)]; p != nil && p.unreadable {
			p.unreadable = false
			n.recount(p, at)
			n.unlist(p)
		}
		return
	}
	id := domain.SessionID(strings.TrimPrefix(string(stream), "session-"))
	r := n.sessions[id]
	if r == nil || !r.unreadable {
		return
	}
	r.unreadable = false
	n.power += r.power()
	if r.version == 0 { // it stood for one that is not known
		n.removeOpen(r)
		delete(n.sessions, id)
	}
	n.changed++
}

// Unreadable are the points and the open sessions that can't be read.
func (n *Network) Unreadable() (points []domain.PointID, sessions []domain.SessionID) {
	if n.counts.Unreadable > 0 {
		for _, p := range n.listed {
			if p.unreadable {
				points = append(points, p.ID())
			}
		}
	}
	for _, r := range n.open {
		if r.unreadable {
			sessions = append(sessions, r.ID())
		}
	}
	return points, sessions
}

// list lists a point, unless it is listed.
func (n *Network) list(p *point, at domain.UnixMillis) {
	if p.listed {
		return
	}
	i, _ := slices.BinarySearchFunc(n.listed, p, byID)
	n.listed = slices.Insert(n.listed, i, p)
	p.listed, p.state, p.since = true, p.shown(), at
	if p.text == "" {
		p.text = strings.ToLower(string(p.ID()))
	}
	n.counts.add(p.state, 1)
}

// unlist takes a point from the list that has not registered.
func (n *Network) unlist(p *point) {
	if !p.listed || p.Known() {
		return
	}
	i, _ := slices.BinarySearchFunc(n.listed, p, byID)
	n.listed = slices.Delete(n.listed, i, i+1)
	n.counts.add(p.state, -1)
	p.listed = false
}

func byID(a, b *point) int { return strings.Compare(string(a.ID()), string(b.ID())) }

// addOpen and removeOpen keep the open sessions in their order.
func (n *Network) addOpen(r *record) {
	i, _ := slices.BinarySearchFunc(n.open, r, earlier)
	n.open = slices.Insert(n.open, i, r)
}

func (n *Network) removeOpen(r *record) {
	if i, found := slices.BinarySearchFunc(n.open, r, earlier); found {
		n.open = slices.Delete(n.open, i, i+1)
	}
}

// showSession copies what is shown of a session. Of one that can't be read its point knows
// whom it supplies.
func (n *Network) showSession(r *record) Session {
	s := r.show()
	if !r.unreadable || s.Point != "" {
		return s
	}
	for _, p := range n.listed {
		if o, ok := p.Occupied(); ok && o.Session == s.ID {
			s.Point, s.Driver = p.ID(), o.Driver
		}
	}
	return s
}
