package network

import (
	"strings"
	"time"

	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// Point is a charging point as it is shown: a copy that nobody changes.
type Point struct {
	ID domain.PointID
	// Registered is false where only its health was reported so far, as far as is known.
	Registered bool
	Location   string
	// Price is what a supply granted now would cost; PriceSet tells that an operator set it.
	Price    domain.MicroEurosPerKWh
	PriceSet bool
	// State is what is shown: DISCONNECTED, too, where NotHeard; Unreadable where what the point
	// is can't be read, and then nothing is shown but where it is, as far as that is known.
	State chargingpoint.State
	// Since is when State became so, UpdatedAt when the point changed last.
	Since     domain.UnixMillis
	UpdatedAt domain.UnixMillis
	// Version is that of the point's stream.
	Version eventlog.Version
	// Lease is for how long a sign of life counts; 0: it never runs out.
	Lease time.Duration
	// NotHeard tells that the log has the point connected, but that it was not heard
	// since Central started: nothing is granted on what it said before.
	NotHeard bool
	// Supply is the session that holds the point; nil where none does.
	Supply *Session
}

// point is what is kept of a point.
type point struct {
	*chargingpoint.Point
	version eventlog.Version
	heard   bool
	// unreadable tells that the log has more of it, which can't be read; listed that it is shown.
	unreadable, listed bool
	state              chargingpoint.State // as counted
	since              domain.UnixMillis
	text               string // what a filter looks at: id and location, in lower case
}

func (p *point) notHeard() bool {
	connected, lease := p.Connected()
	return connected && lease != 0 && !p.heard
}

func (p *point) shown() chargingpoint.State {
	switch {
	case p.unreadable:
		return Unreadable
	case p.notHeard():
		return chargingpoint.Disconnected
	}
	return p.State()
}

// matches tells whether each of the words, in lower case, is in the point's id,
// location or state or in the id of the driver that it supplies.
func (p *point) matches(words []string) bool {
	for _, w := range words {
		if strings.Contains(p.text, w) || strings.Contains(lowerStates[p.state], w) {
			continue
		}
		o, ok := p.Occupied()
		if !ok || !strings.Contains(strings.ToLower(string(o.Driver)), w) {
			return false
		}
	}
	return true
}

// lowerStates are the states as a filter may name them.
var lowerStates = map[chargingpoint.State]string{
	chargingpoint.Disconnected: "disconnected",
	chargingpoint.Broken:       "broken",
	chargingpoint.OutOfOrder:   "out_of_order out of order",
	chargingpoint.Supplying:    "supplying",
	chargingpoint.Activated:    "activated",
	Unreadable:                 "unreadable",
}

// show copies what is shown of a point.
func (n *Network) show(p *point) Point {
	r, registered := p.Registered()
	if p.unreadable {
		return Point{ID: p.ID(), Registered: registered, Location: r.Location, State: p.state, Since: p.since}
	}
	_, lease := p.Connected()
	out := Point{
		ID: p.ID(), Registered: registered, Location: r.Location, State: p.state, Since: p.since,
		Price: p.Price(), PriceSet: p.PriceChange().Set,
		UpdatedAt: p.UpdatedAt(), Version: p.version, Lease: lease, NotHeard: p.notHeard(),
	}
	if o, ok := p.Occupied(); ok {
		supply := Session{ID: o.Session, Point: p.ID(), Driver: o.Driver}
		if s := n.sessions[o.Session]; s != nil {
			supply = n.showSession(s)
		}
		out.Supply = &supply
	}
	return out
}
