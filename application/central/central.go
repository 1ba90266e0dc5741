package central

import (
	"fmt"
	"strings"
	"time"

	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// Central holds what all lanes share. It has no state of its own and is safe for use
// from several goroutines as far as its ports are.
type Central struct {
	Log       eventlog.Log
	Codec     Codec
	Publisher Publisher
	Signs     SignsOfLife
	Listening Listening
	Ignored   Ignored
	// Readings is nil where nobody wants to know.
	Readings Readings
	// Secrets is nil in an open network.
	Secrets Secrets
	// Patience says how long sessions wait.
	Patience session.Patience
	// Lease is for how long a sign of life counts where its Monitor gives a lease; 0: for as
	// long as the Monitor says.
	Lease time.Duration
	// Shared tells that other Centrals may hear the points, too: a lease then has passed 5 s
	// later, see hearsay.
	Shared bool
	// DefaultPrice is that of a registration without one.
	DefaultPrice domain.MicroEurosPerKWh
	// NewID makes a UUIDv7 for a commit decided at an instant.
	NewID NewID
}

// PointStream is the stream of a point.
func PointStream(id domain.PointID) eventlog.Stream { return eventlog.Stream("point-" + string(id)) }

// SessionStream is the stream of a session.
func SessionStream(id domain.SessionID) eventlog.Stream {
	return eventlog.Stream("session-" + string(id))
}

// stream is an aggregate and where its stream stands.
type stream struct {
	name    eventlog.Stream
	head    eventlog.Head
	lastAt  domain.UnixMillis
	point   *chargingpoint.Point
	session *session.Session
}

// decided is how many of the aggregate's events are not stored.
func (s *stream) decided() int {
	if s.point != nil {
		return len(s.point.Pending())
	}
	return len(s.session.Pending())
}

// pending are the aggregate's events that are not stored.
func (s *stream) pending() []any {
	events := make([]any, 0, s.decided())
	if s.point != nil {
		for _, e := range s.point.Pending() {
			events = append(events, e)
		}
	} else {
		for _, e := range s.session.Pending() {
			events = append(events, e)
		}
	}
	return events
}

func (s *stream) stored() {
	if s.point != nil {
		s.point.Stored()
	} else {
		s.session.Stored()
	}
}

// fold applies a part's events, as decoded.
func (s *stream) fold(at domain.UnixMillis, events []any) error {
	for _, event := range events {
		var err error
		switch e := event.(type) {
		case chargingpoint.Event:
			if s.point == nil {
				return fmt.Errorf("%w: %T in %s", eventlog.ErrDamaged, event, s.name)
			}
			err = s.point.Apply(at, e)
		case session.Event:
			if s.session == nil {
				return fmt.Errorf("%w: %T in %s", eventlog.ErrDamaged, event, s.name)
			}
			err = s.session.Apply(at, e)
		default:
			return fmt.Errorf("%w: %T in %s", eventlog.ErrDamaged, event, s.name)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", eventlog.ErrDamaged, s.name, err)
		}
	}
	return nil
}

// sessionOf is the session of a stream's name; ok is false where it is a point's.
func sessionOf(name eventlog.Stream) (domain.SessionID, bool) {
	id, ok := strings.CutPrefix(string(name), "session-")
	return domain.SessionID(id), ok
}

// pointOf is the point of a stream's name.
func pointOf(name eventlog.Stream) domain.PointID {
	return domain.PointID(strings.TrimPrefix(string(name), "point-"))
}
