package session_test

import (
	"testing"
	"time"

	"evcharging/domain"
	"evcharging/domain/session"
)

func end(now domain.UnixMillis, cause session.Cause) func(*session.Session) error {
	return func(s *session.Session) error { return s.End(now, cause, session.DefaultPatience) }
}

func TestEnd(t *testing.T) {
	const now = noon + minute
	for _, cause := range []session.Cause{session.CauseFault, session.CauseDisconnected, session.CauseStopped} {
		for name, test := range map[string]struct {
			history []past
			want    error
		}{
			"granted":         {[]past{granted}, nil},
			"supplying":       {[]past{granted, supplying}, nil},
			"ending already":  {[]past{granted, supplying, at(noon+2*second, session.EndDecided{Cause: session.CauseExpired})}, session.ErrAlreadyEnding},
			"closed":          {[]past{granted, supplying, closed}, session.ErrClosed},
			"never granted":   {[]past{at(noon, refused)}, session.ErrUnknownSession},
			"never heard of":  {nil, session.ErrUnknownSession},
			"closed at zeros": {[]past{granted, closed}, session.ErrClosed},
		} {
			t.Run(string(cause)+", "+name, func(t *testing.T) {
				s := given(t, test.history...).When(now, end(now, cause))
				if test.want != nil {
					s.ThenError(test.want)
					return
				}
				s.Then(session.EndDecided{Cause: cause, Due: now + minute})
				if s.Live.Cause() != cause || !s.Live.Open() {
					t.Errorf("cause %s, open %t", s.Live.Cause(), s.Live.Open())
				}
			})
		}
	}
}

func TestEndWaitsAsLongAsTheNetworkDoes(t *testing.T) {
	now := noon + minute
	given(t, granted, supplying).
		When(now, func(s *session.Session) error {
			return s.End(now, session.CauseStopped, session.Patience{FinalReport: 5 * time.Second})
		}).
		Then(session.EndDecided{Cause: session.CauseStopped, Due: now + 5*second})
}
