package monitor

import (
	"time"

	"evcharging/domain"
)

// authentication is what is known of Central's word on the point.
type authentication struct {
	asking bool
	// asked tells that Central let the point in, or that nobody could be asked: before that
	// nothing is sent.
	asked    bool
	accepted bool
	lost     bool
	pause    time.Duration
	retryAt  domain.UnixMillis
}

func (a *authentication) due(now domain.UnixMillis, longestPause time.Duration) bool {
	return !a.asking && !a.accepted && passed(now, a.retryAt, longestPause)
}

func (m *Monitor) authenticate() {
	m.authentication.asking, m.out.Authenticate = true, true
}

func (m *Monitor) authenticated(in Authenticated, now domain.UnixMillis) {
	a := &m.authentication
	a.asking, a.asked = false, in.Result != Denied
	switch in.Result {
	case Accepted:
		a.accepted = true
		m.say("Central lets the point in")
	case Denied:
		m.out.Denied = in.Err
	case Unreachable:
		if !a.lost {
			m.warn("%v; registering all the same, and asking again", in.Err)
		}
		a.lost = true
		a.pause = pause(a.pause, m.longestPause())
		a.retryAt = now.Add(a.pause)
	}
}
