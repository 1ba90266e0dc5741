package chargingpoint_test

import (
	"testing"
	"time"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

func TestLoseContact(t *testing.T) {
	noLease := at(noon, registered, chargingpoint.PointConnected{ReportedAt: noon}, healthy)
	longer := at(noon+1, chargingpoint.LeaseChanged{Lease: time.Minute})
	const heard = noon + minute
	for name, test := range map[string]struct {
		history   []past
		now       domain.UnixMillis
		lastHeard domain.UnixMillis
		listening domain.UnixMillis
		lost      bool
	}{
		"the lease has run out":                  {[]past{ready}, heard + 15*second, heard, noon, true},
		"it runs out in a millisecond":           {[]past{ready}, heard + 15*second - 1, heard, noon, false},
		"long ago":                               {[]past{ready}, heard + hour, heard, noon, true},
		"in a session":                           {[]past{busy}, heard + 15*second, heard, noon, true},
		"nobody listened for most of it":         {[]past{ready}, heard + hour, heard, heard + hour - 15*second + 1, false},
		"somebody has listened for all of it":    {[]past{ready}, heard + hour, heard, heard + hour - 15*second, true},
		"never heard, and nobody listened":       {[]past{ready}, heard, 0, heard - 15*second + 1, false},
		"never heard, and somebody has listened": {[]past{ready}, heard, 0, heard - 15*second, true},
		"the lease was made longer":              {[]past{ready, longer}, heard + 15*second, heard, noon, false},
		"the longer lease has run out":           {[]past{ready, longer}, heard + minute, heard, noon, true},
		"a point that gives no lease":            {[]past{noLease}, heard + day, 0, noon, false},
		"a point that is lost already":           {[]past{ready, at(heard, disconnected)}, heard + day, heard, noon, false},
		"a point that nobody has heard of":       {nil, heard + day, 0, noon, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, test.history...).
				When(test.now, func(p *point) error { return p.LoseContact(test.now, test.lastHeard, test.listening) })
			if !test.lost {
				s.ThenError(chargingpoint.ErrDeadlineGone)
				return
			}
			_, lease := s.Live.Connected()
			s.Then(chargingpoint.PointDisconnected{LastHeard: test.lastHeard, Lease: lease})
			if s.Live.State() != chargingpoint.Disconnected {
				t.Errorf("the point is %s", s.Live.State())
			}
		})
	}
}
