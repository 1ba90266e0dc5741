package chargingpoint_test

import (
	"testing"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

func takeOut(now, recordedAt domain.UnixMillis) func(*point) error {
	return func(p *point) error { return p.TakeOutOfService(now, recordedAt, "op") }
}

func putBack(now, recordedAt domain.UnixMillis) func(*point) error {
	return func(p *point) error { return p.ReturnToService(now, recordedAt, "op") }
}

func TestTakeOutOfService(t *testing.T) {
	const now = noon + minute
	free := chargingpoint.TakenOutOfService{RecordedAt: now - 5, By: "op", Order: domain.Order(now), ValidUntil: now + day}
	ends := free
	ends.Session, ends.HoldUntil = "S-1", now+2*second
	for name, test := range map[string]struct {
		history    []past
		recordedAt domain.UnixMillis
		want       chargingpoint.Event
		err        error
	}{
		"a free point":                      {[]past{ready}, now - 5, free, nil},
		"a point that supplies":             {[]past{busy}, now - 5, ends, nil},
		"a broken point":                    {[]past{ready, at(noon+1, faulted)}, now - 5, free, nil},
		"a point out of reach":              {[]past{ready, at(noon+1, disconnected)}, now - 5, free, nil},
		"a point never heard of":            {[]past{at(noon, registered)}, now - 5, free, nil},
		"again, after a resume":             {[]past{ready, at(noon, out, back)}, now - 5, free, nil},
		"an unknown point":                  {nil, now - 5, nil, chargingpoint.ErrUnknownPoint},
		"out already":                       {[]past{ready, at(noon, out)}, now - 5, nil, chargingpoint.ErrUnchanged},
		"older than the resume":             {[]past{ready, at(noon, out, back)}, noon - 1, nil, chargingpoint.ErrNotLater},
		"older than the stop that holds":    {[]past{ready, at(noon, out)}, noon - 1, nil, chargingpoint.ErrNotLater},
		"by a clock from 1970, after a one": {[]past{ready, at(noon, out, back)}, 1, nil, chargingpoint.ErrNotLater},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, test.history...).When(now, takeOut(now, test.recordedAt))
			if test.err != nil {
				s.ThenError(test.err)
				return
			}
			s.Then(test.want)
			if !s.Live.Service().Out {
				t.Error("the point is in service")
			}
		})
	}
}

func TestReturnToService(t *testing.T) {
	const now = noon + minute
	resumed := chargingpoint.ReturnedToService{RecordedAt: now - 5, By: "op", Order: domain.Order(now), ValidUntil: now + day}
	for name, test := range map[string]struct {
		history    []past
		recordedAt domain.UnixMillis
		want       chargingpoint.Event
		err        error
	}{
		"a stopped point":                {[]past{ready, at(noon, out)}, now - 5, resumed, nil},
		"an unknown point":               {nil, now - 5, nil, chargingpoint.ErrUnknownPoint},
		"never stopped":                  {[]past{ready}, now - 5, nil, chargingpoint.ErrUnchanged},
		"in service already":             {[]past{ready, at(noon, out, back)}, now - 5, nil, chargingpoint.ErrUnchanged},
		"a point that supplies":          {[]past{busy}, now - 5, nil, chargingpoint.ErrUnchanged},
		"older than the stop":            {[]past{ready, at(noon, out)}, noon - 1, nil, chargingpoint.ErrNotLater},
		"older than the resume":          {[]past{ready, at(noon, out, back)}, noon - 1, nil, chargingpoint.ErrNotLater},
		"by a clock from 1970":           {[]past{ready, at(noon, out)}, 1, nil, chargingpoint.ErrNotLater},
		"of the stop's instant":          {[]past{ready, at(noon, out)}, noon, chargingpoint.ReturnedToService{RecordedAt: noon, By: "op", Order: domain.Order(now), ValidUntil: now + day}, nil},
		"a session still awaits its end": {[]past{busy, at(noon, out)}, now - 5, resumed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, test.history...).When(now, putBack(now, test.recordedAt))
			if test.err != nil {
				s.ThenError(test.err)
				return
			}
			s.Then(test.want)
			if s.Live.Service().Out {
				t.Error("the point is out of service")
			}
		})
	}
}

// A resume ends no hold: the Engine of the reference meters twice when a start follows a
// stop at once.
func TestReturnToServiceKeepsTheHold(t *testing.T) {
	const stop = noon + minute
	var grant chargingpoint.Grant
	given(t, busy).
		When(stop, takeOut(stop, stop)).
		Then(chargingpoint.TakenOutOfService{
			RecordedAt: stop, By: "op", Order: domain.Order(stop), ValidUntil: stop + day, Session: "S-1", HoldUntil: stop + 2*second,
		}).
		When(stop+1, func(p *point) error { return p.Release(stop+1, "S-1") }).Then(released).
		When(stop+2, putBack(stop+2, stop+2)).
		Then(chargingpoint.ReturnedToService{RecordedAt: stop + 2, By: "op", Order: domain.Order(stop + 2), ValidUntil: stop + 2 + day}).
		When(stop+3, occupy(stop+3, chargingpoint.Request{Session: "S-2", Driver: "D-2", Heard: true}, &grant)).
		ThenError(chargingpoint.RefusedOccupied)
}

// Out of order is kept across a loss of contact, a fault, a registration.
func TestOutOfServiceStays(t *testing.T) {
	anew := registered
	anew.Price = 500_000
	p := given(t, ready, at(noon+1, out), at(noon+2, disconnected, connected, faulted, healthy, anew)).Live
	if p.State() != chargingpoint.OutOfOrder {
		t.Errorf("the point is %s", p.State())
	}
}
