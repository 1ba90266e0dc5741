package central

import (
	"evcharging/application/eventlog"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// Kept is an aggregate that a lane keeps: Point or Session, and where its stream stands.
type Kept struct {
	Stream  eventlog.Stream
	Head    eventlog.Head
	Point   *chargingpoint.Point
	Session *session.Session
}

// Kept are the aggregates that the lane keeps.
func (l *Lane) Kept() (all []Kept) {
	for _, s := range l.streams {
		all = append(all, Kept{s.name, s.head, s.point, s.session})
	}
	return all
}

// Central is the lane's.
func (l *Lane) Central() *Central { return l.central }
