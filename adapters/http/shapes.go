package http

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"evcharging/application/network"
	"evcharging/domain"
)

// Point is a point as the pages show it. Figures are exact decimals: EUR/kWh, kW, kWh, EUR.
type Point struct {
	ID        domain.PointID `json:"id"`
	Location  string         `json:"location"`
	Price     jsontext.Value `json:"price"`
	State     string         `json:"state"`
	NotHeard  bool           `json:"not_heard_since_start,omitzero"`
	UpdatedAt string         `json:"updated_at"`
	Version   uint64         `json:"version"`
	Supply    *Session       `json:"supply,omitempty"`
}

// Session is a session as the pages show it.
type Session struct {
	ID        domain.SessionID `json:"id"`
	Point     domain.PointID   `json:"cp_id"`
	Driver    domain.DriverID  `json:"driver_id"`
	Status    string           `json:"status"`
	Price     jsontext.Value   `json:"price"`
	Power     jsontext.Value   `json:"kw"`
	Energy    jsontext.Value   `json:"total_kwh"`
	Amount    jsontext.Value   `json:"total_eur"`
	GrantedAt string           `json:"granted_at"`
	StartedAt string           `json:"started_at,omitzero"`
	Cause     string           `json:"cause,omitzero"`
	Ticket    *Ticket          `json:"ticket,omitempty"`
}

// Ticket is a ticket as the pages show it.
type Ticket struct {
	ID        domain.TicketID `json:"ticket_id"`
	Revision  int             `json:"revision"`
	StartedAt string          `json:"started_at"`
	EndedAt   string          `json:"ended_at"`
	Energy    jsontext.Value  `json:"total_kwh"`
	Price     jsontext.Value  `json:"price"`
	Amount    jsontext.Value  `json:"total_eur"`
	Reason    string          `json:"reason"`
}

func pointOf(p network.Point) Point {
	shown := Point{
		ID: p.ID, Location: p.Location, Price: exact(p.Price), State: string(p.State), NotHeard: p.NotHeard,
		UpdatedAt: instant(p.UpdatedAt), Version: uint64(p.Version),
	}
	if p.Supply != nil {
		s := sessionOf(*p.Supply)
		shown.Supply = &s
	}
	return shown
}

func sessionOf(s network.Session) Session {
	shown := Session{
		ID: s.ID, Point: s.Point, Driver: s.Driver, Status: string(s.Status), Price: exact(s.Price),
		Power: exact(s.Power), Energy: exact(s.Energy), Amount: exact(s.Amount),
		GrantedAt: instant(s.GrantedAt), StartedAt: instant(s.StartedAt), Cause: string(s.Cause),
	}
	if t := s.Ticket; t != nil {
		shown.Ticket = &Ticket{
			ID: t.ID, Revision: t.Revision, StartedAt: instant(t.StartedAt), EndedAt: instant(t.EndedAt),
			Energy: exact(t.Energy), Price: exact(t.Price), Amount: exact(t.Amount), Reason: t.Reason,
		}
	}
	return shown
}

// exact is a figure as a JSON number with all its decimals.
func exact(figure interface{ String() string }) jsontext.Value {
	return jsontext.Value(figure.String())
}

func instant(t domain.UnixMillis) string {
	if t == 0 {
		return ""
	}
	return t.Time().Format(time.RFC3339Nano)
}
