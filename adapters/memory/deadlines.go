package memory

import (
	"context"
	"strings"
	"sync"
	"time"

	"evcharging/application/central"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// Deadlines is central.DeadlineIndex in memory: a projection of what is stored, told by
// Apply. Leases are looked up in the signs of life.
type Deadlines struct {
	signs central.SignsOfLife

	mu       sync.Mutex
	sessions map[domain.SessionID]central.Deadline
	leases   map[domain.PointID]time.Duration // of the points that are connected and give one
	prices   map[domain.PointID]chargingpoint.Schedule
}

var _ central.DeadlineIndex = (*Deadlines)(nil)

// NewDeadlines is an empty index.
func NewDeadlines(signs central.SignsOfLife) *Deadlines {
	return &Deadlines{
		signs:    signs,
		sessions: map[domain.SessionID]central.Deadline{},
		leases:   map[domain.PointID]time.Duration{},
		prices:   map[domain.PointID]chargingpoint.Schedule{},
	}
}

// Apply takes stored parts, each stream's in order.
func (d *Deadlines) Apply(parts []central.Part) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, part := range parts {
		if id, isSession := strings.CutPrefix(string(part.Stream), "session-"); isSession {
			d.session(domain.SessionID(id), part)
			continue
		}
		d.point(domain.PointID(strings.TrimPrefix(string(part.Stream), "point-")), part)
	}
}

func (d *Deadlines) session(id domain.SessionID, part central.Part) {
	next, changed := central.SessionDeadline(part)
	switch {
	case !changed:
	case next.Kind == "":
		delete(d.sessions, id)
	default:
		if next.Point == "" {
			next.Point = d.sessions[id].Point
		}
		d.sessions[id] = next
	}
}

func (d *Deadlines) point(id domain.PointID, part central.Part) {
	for _, event := range part.Events {
		d.price(id, part.At, event)
		lease := time.Duration(0)
		switch e := event.(type) {
		case chargingpoint.PointConnected:
			lease = e.Lease
		case chargingpoint.LeaseChanged:
			lease = e.Lease
		case chargingpoint.PointDisconnected:
		default:
			continue
		}
		if lease == 0 {
			delete(d.leases, id)
		} else {
			d.leases[id] = lease
		}
	}
}

func (d *Deadlines) price(id domain.PointID, at domain.UnixMillis, event any) {
	e, ok := event.(chargingpoint.Event)
	if !ok {
		return
	}
	if next := d.prices[id].After(at, e); next != nil {
		d.prices[id] = next
	} else {
		delete(d.prices, id)
	}
}

// Due is central.DeadlineIndex's.
func (d *Deadlines) Due(ctx context.Context, now, listeningSince domain.UnixMillis) ([]central.Deadline, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var due []central.Deadline
	for _, s := range d.sessions {
		if max(s.Since, listeningSince)+(s.Due-s.Since) <= now {
			due = append(due, s)
		}
	}
	for point, schedule := range d.prices {
		for _, c := range schedule {
			if c.From <= now {
				due = append(due, central.Deadline{Point: point, Kind: central.DeadlinePrice, Since: c.DecidedAt, Due: c.From})
			}
		}
	}
	for point, lease := range d.leases {
		last, err := d.signs.Last(ctx, point)
		if err != nil {
			return nil, err
		}
		since := max(last.HeardAt, listeningSince)
		if until := since.Add(lease); until <= now {
			due = append(due, central.Deadline{Point: point, Kind: central.DeadlineLease, Since: since, Due: until})
		}
	}
	return due, nil
}
