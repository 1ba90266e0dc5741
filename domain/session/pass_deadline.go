package session

import "evcharging/domain"

// PassDeadline does what a deadline that has passed asks for: an authorization
// expires with a ticket of zeros, a silent session is ended as disconnected, a
// session whose final report did not come is billed on the last report.
// ErrDeadlineGone where not exactly this deadline stands, or where its whole length
// has not passed since somebody has been listening.
func (s *Session) PassDeadline(now domain.UnixMillis, kind DeadlineKind, due, listeningSince domain.UnixMillis, patience Patience) error {
	d := s.deadline
	if d.Kind == "" || d.Kind != kind || d.Due != due || now < d.DueWhenHeard(listeningSince) {
		return ErrDeadlineGone
	}
	switch kind {
	case TakeUp:
		s.record(now, EndDecided{Cause: CauseExpired, Due: now, Ignored: s.uncounted})
		s.issue(now, 0, string(CauseExpired), now)
	case Silence:
		return s.End(now, CauseDisconnected, patience)
	case FinalReport:
		// Nothing was reported: nothing was supplied, and it ended when Central decided so.
		energy, endedAt := domain.MilliwattHours(0), s.endedAt
		if s.last != nil {
			energy, endedAt = s.last.Energy, s.last.At
		}
		s.issue(now, energy, string(s.cause), endedAt)
	}
	return nil
}

// DueWhenHeard is when the deadline passes for somebody who has been listening since
// an instant: silence counts only while it could have been heard.
func (d Deadline) DueWhenHeard(listeningSince domain.UnixMillis) domain.UnixMillis {
	return max(d.Since, listeningSince) + (d.Due - d.Since)
}
