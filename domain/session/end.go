package session

import "evcharging/domain"

// End ends a granted or running session for a cause: EndDecided. The first final
// report closes it, or the final-report deadline. ErrAlreadyEnding where an earlier cause
// stands, ErrClosed where it is closed, ErrUnknownSession where it was never granted.
func (s *Session) End(now domain.UnixMillis, cause Cause, patience Patience) error {
	switch s.status {
	case None, Refused:
		return ErrUnknownSession
	case Closed:
		return ErrClosed
	case Ending:
		return ErrAlreadyEnding
	case Authorized, Supplying:
	}
	s.record(now, EndDecided{Cause: cause, Due: now.Add(patience.FinalReport), Ignored: s.uncounted})
	return nil
}
