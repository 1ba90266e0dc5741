package network

import (
	"strings"

	"evcharging/domain"
)

// Points are all points that have registered, or can't be read, by id.
func (n *Network) Points() []Point {
	out := make([]Point, len(n.listed))
	for i, p := range n.listed {
		out[i] = n.show(p)
	}
	return out
}

// Point is one of Points; ok is false where there is none of that id.
func (n *Network) Point(id domain.PointID) (p Point, ok bool) {
	kept := n.points[id]
	if kept == nil || !kept.listed {
		return Point{}, false
	}
	return n.show(kept), true
}

// Open are the sessions that were granted and are not closed, the oldest grant first; before
// them those of which only that can be read.
func (n *Network) Open() []Session {
	out := make([]Session, len(n.open))
	for i, r := range n.open {
		out[i] = n.showSession(r)
	}
	return out
}

// Closed are up to limit of the sessions that closed last, the newest first.
func (n *Network) Closed(limit int) []Session {
	ids := n.closed.newest(limit)
	out := make([]Session, len(ids))
	for i, id := range ids {
		out[i] = n.sessions[id].show()
	}
	return out
}

// Session is an open one, or one of those that closed last; ok is false otherwise.
func (n *Network) Session(id domain.SessionID) (s Session, ok bool) {
	r := n.sessions[id]
	if r == nil || r.Refusal() != "" {
		return Session{}, false
	}
	return n.showSession(r), true
}

// Messages are the messages newer than seq that are still kept, oldest first.
func (n *Network) Messages(seq uint64) []Message { return n.messages.after(seq, MessageLimit) }

// Window says what part of the network somebody looks at.
type Window struct {
	// Filter has words; a point is shown where each is in its id, its location, its state or
	// the id of the driver that it supplies. Upper and lower case are the same.
	Filter string
	// First is the index of the first point wanted among those that pass the filter, Points how many.
	First, Points int
	// Sessions is how many open sessions are wanted, the newest grant first; Messages how
	// many messages, the newest, of those whose Seq is greater than After.
	Sessions, Messages int
	After              uint64
}

// Snapshot is what is seen through a Window: copies.
type Snapshot struct {
	// Changed is Network.Changed at the moment.
	Changed uint64
	Counts  Counts
	// Power is what all sessions draw together.
	Power domain.Watts
	// Matched is how many points pass the filter, First the index of the first in Points.
	Matched, First int
	Points         []Point
	// Open is how many sessions are open.
	Open     int
	Sessions []Session
	// Messages has the oldest first.
	Messages []Message
}

// Snapshot is what is seen through a window. Its cost does not grow with the number
// of points, unless there is a filter. From a First beyond the end no point is seen.
func (n *Network) Snapshot(w Window) Snapshot {
	s := Snapshot{
		Changed: n.changed, Counts: n.counts, Power: n.power,
		Open: len(n.open), Messages: n.messages.after(w.After, w.Messages),
	}
	matching := n.listed
	if words := strings.Fields(strings.ToLower(w.Filter)); len(words) > 0 {
		matching = make([]*point, 0, len(n.listed))
		for _, p := range n.listed {
			if p.matches(words) {
				matching = append(matching, p)
			}
		}
	}
	s.Matched = len(matching)
	s.First = max(0, min(w.First, len(matching)))
	for _, p := range matching[s.First:min(s.First+max(w.Points, 0), len(matching))] {
		s.Points = append(s.Points, n.show(p))
	}
	for i := len(n.open) - 1; i >= 0 && len(s.Sessions) < w.Sessions; i-- {
		s.Sessions = append(s.Sessions, n.showSession(n.open[i]))
	}
	return s
}
