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
	asked bool
	last  Authentication
	pause time.Duration
	askAt domain.UnixMillis
}

// authenticate asks Central where that is due: also one that let the point in, to say
// when it can't be reached.
func (m *Monitor) authenticate(now domain.UnixMillis) {
	a := &m.authentication
	if !a.asking && passed(now, a.askAt, m.settings.Lease) {
		a.asking, m.out.Authenticate = true, true
	}
}

func (m *Monitor) authenticated(in Authenticated, now domain.UnixMillis) {
	a := &m.authentication
	first := !a.asked
	before := a.last
	a.asking, a.asked, a.last = false, in.Result != Denied, in.Result
	switch in.Result {
	case Accepted:
		if first {
			m.say("Central lets the point in")
		} else if before == Unreachable {
			m.say("Central is reached, and lets the point in")
		}
		a.pause = 0
		a.askAt = now.Add(m.settings.Lease)
	case Denied:
		m.out.Denied = in.Err
	case Unreachable:
		if first {
			m.warn("%v; registering all the same, and asking again", in.Err)
		} else if before != Unreachable {
			m.warn("%v; asking again", in.Err)
		}
		a.pause = pause(a.pause, m.longestPause())
		a.askAt = now.Add(a.pause)
	}
}
