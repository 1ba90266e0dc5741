package chargingpoint_test

import (
	"testing"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

func TestOrderStop(t *testing.T) {
	const now = noon + minute
	stop := func(p *point) error { p.OrderStop(now, "S-1", "DISCONNECTED"); return nil }
	want := func(number domain.Order) chargingpoint.StopOrdered {
		return chargingpoint.StopOrdered{
			Session: "S-1", Cause: "DISCONNECTED", Order: number, ValidUntil: now + day, HoldUntil: now + 2*second,
		}
	}
	given(t, busy).When(now, stop).Then(want(domain.Order(now)))

	// the number is newer than that of the start, though the clock says otherwise
	ahead := occupied
	ahead.Order = domain.Order(now + hour)
	given(t, at(noon, registered, connected, healthy, ahead)).When(now, stop).Then(want(domain.Order(now+hour) + 1))
}

func TestOrderStopAgain(t *testing.T) {
	const (
		stop = noon + minute
		now  = stop + 10*second
	)
	var (
		stopped = func(instant domain.UnixMillis) past {
			return at(instant, chargingpoint.StopOrdered{
				Session: "S-1", Cause: "KO", Order: 7, ValidUntil: instant + day, HoldUntil: instant + 2*second,
			})
		}
		outAt = func(instant domain.UnixMillis, session domain.SessionID) past {
			e := chargingpoint.TakenOutOfService{RecordedAt: instant, By: "op", Order: 7, ValidUntil: instant + day, Session: session}
			if session != "" {
				e.HoldUntil = instant + 2*second
			}
			return at(instant, e)
		}
		free  = at(stop+1, released)
		other = func(instant domain.UnixMillis) past {
			return at(instant, chargingpoint.PointOccupied{Session: "S-2", Driver: "D-2", Order: 8, ValidUntil: instant + 30*second})
		}
		otherGone = at(now-1, chargingpoint.PointReleased{Session: "S-2"})
	)
	for name, test := range map[string]struct {
		history []past
		want    error
	}{
		"it was never told to stop":                      {[]past{busy, free}, nil},
		"it was told 10 s ago":                           {[]past{busy, stopped(stop), free}, nil},
		"it was told less than 10 s ago":                 {[]past{busy, stopped(stop + 1), free}, chargingpoint.ErrStopRecent},
		"its done is awaited, told 10 s ago":             {[]past{busy, stopped(stop)}, nil},
		"its done is awaited, told less than 10 s ago":   {[]past{busy, stopped(stop + 1)}, chargingpoint.ErrStopRecent},
		"out of order in it 10 s ago":                    {[]past{busy, outAt(stop, "S-1")}, nil},
		"out of order in it less than 10 s ago":          {[]past{busy, outAt(stop+1, "S-1")}, chargingpoint.ErrStopRecent},
		"out of order, which stopped nothing":            {[]past{busy, free, outAt(stop+2, "")}, nil},
		"told, then resumed, less than 10 s ago":         {[]past{busy, outAt(stop+1, "S-1"), free, at(stop+2, back)}, chargingpoint.ErrStopRecent},
		"another session runs there":                     {[]past{busy, stopped(stop), free, other(stop + 3*second)}, chargingpoint.ErrNotOccupiedBy},
		"another ran there since, told 10 s ago":         {[]past{busy, stopped(stop), free, other(stop + 3*second), otherGone}, nil},
		"another ran there since, told less than 10 ago": {[]past{busy, stopped(stop + 1), free, other(stop + 3*second), otherGone}, chargingpoint.ErrStopRecent},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, test.history...).
				When(now, func(p *point) error { return p.OrderStopAgain(now, "S-1", "CLOSED") })
			if test.want != nil {
				s.ThenError(test.want)
				return
			}
			s.Then(chargingpoint.StopOrdered{
				Session: "S-1", Cause: "CLOSED", Order: domain.Order(now), ValidUntil: now + day, HoldUntil: now + 2*second,
			})
		})
	}
}
