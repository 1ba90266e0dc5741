package chargingpoint_test

import (
	"testing"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

func occupy(now domain.UnixMillis, r chargingpoint.Request, grant *chargingpoint.Grant) func(*point) error {
	return func(p *point) (err error) {
		*grant, err = p.Occupy(now, r)
		return err
	}
}

func TestOccupy(t *testing.T) {
	operator := at(noon, chargingpoint.PriceSet{Price: 200_000, By: "op"})
	lastOrder := func(number domain.Order) past {
		return at(noon, chargingpoint.ReturnedToService{RecordedAt: noon, Order: number, ValidUntil: noon + day})
	}
	const now = noon + hour
	for name, test := range map[string]struct {
		history []past
		price   domain.MicroEurosPerKWh
		order   domain.Order
	}{
		"at the point's price":                    {[]past{ready}, 300_000, domain.Order(now)},
		"at the operator's price":                 {[]past{ready, operator}, 200_000, domain.Order(now)},
		"at the point's price, handed back":       {[]past{ready, operator, at(noon, chargingpoint.PriceHandedBack{By: "op"})}, 300_000, domain.Order(now)},
		"the order is newer than one of this ms":  {[]past{ready, lastOrder(domain.Order(now))}, 300_000, domain.Order(now) + 1},
		"the order is newer than one of tomorrow": {[]past{ready, lastOrder(domain.Order(now + day))}, 300_000, domain.Order(now+day) + 1},
		"again, once it is released":              {[]past{busy, at(noon+1, released)}, 300_000, domain.Order(now)},
		"again, once it is mended":                {[]past{ready, at(noon+1, faulted), at(noon+2, healthy)}, 300_000, domain.Order(now)},
		"again, once it is connected":             {[]past{ready, at(noon+1, disconnected), at(noon+2, connected)}, 300_000, domain.Order(now)},
		"again, once it is in service":            {[]past{ready, at(noon+1, out), at(noon+2, back)}, 300_000, domain.Order(now)},
	} {
		t.Run(name, func(t *testing.T) {
			var grant chargingpoint.Grant
			given(t, test.history...).
				When(now, occupy(now, chargingpoint.Request{Session: "S-9", Driver: "D-9", SentAt: now - second, Heard: true}, &grant)).
				Then(chargingpoint.PointOccupied{Session: "S-9", Driver: "D-9", Order: test.order, ValidUntil: now + 30*second})
			if want := (chargingpoint.Grant{Order: test.order, ValidUntil: now + 30*second, Price: test.price}); grant != want {
				t.Errorf("granted %+v, want %+v", grant, want)
			}
		})
	}
}

// The refusals in the order in which they are looked at: each row mends what the row before
// was refused for, and no more.
func TestOccupyRefusesInOrder(t *testing.T) {
	const now = noon + hour
	const fresh, stale = now - second, now - 30*second - 1
	unheard := chargingpoint.Request{Session: "S-9", Driver: "D-9", SentAt: fresh}
	heard := chargingpoint.Request{Session: "S-9", Driver: "D-9", SentAt: fresh, Heard: true}
	mended := at(noon+1, healthy)
	stopped := at(now-second, chargingpoint.StopOrdered{Session: "S-1", Cause: "KO", Order: 7, ValidUntil: now + day, HoldUntil: now + 1})
	for _, test := range []struct {
		name    string
		history []past
		request chargingpoint.Request
		want    chargingpoint.Refusal
	}{
		{"all is wrong", nil, chargingpoint.Request{SentAt: stale}, chargingpoint.RefusedExpired},
		{"not registered", nil, unheard, chargingpoint.RefusedUnknown},
		{"not registered, though healthy", []past{at(noon, connected, healthy)}, heard, chargingpoint.RefusedUnknown},
		{"never heard of", []past{at(noon, registered, out, occupied)}, heard, chargingpoint.RefusedDisconnected},
		{"connected, health never reported", []past{at(noon, registered, out, occupied, connected)}, heard, chargingpoint.RefusedDisconnected},
		{"lost", []past{at(noon, registered, out, occupied, connected, faulted, disconnected)}, heard, chargingpoint.RefusedDisconnected},
		{"not heard since Central listens", []past{at(noon, registered, out, occupied, connected, faulted)}, unheard, chargingpoint.RefusedDisconnected},
		{"broken", []past{at(noon, registered, out, occupied, connected, faulted)}, heard, chargingpoint.RefusedBroken},
		{"out of order", []past{at(noon, registered, out, occupied, connected, faulted), mended}, heard, chargingpoint.RefusedOutOfOrder},
		{"occupied", []past{at(noon, registered, out, occupied, connected, faulted), mended, at(noon+2, back)}, heard, chargingpoint.RefusedOccupied},
		{"held after a stop", []past{busy, stopped, at(now-second, released)}, heard, chargingpoint.RefusedOccupied},
	} {
		t.Run(test.name, func(t *testing.T) {
			var grant chargingpoint.Grant
			var refusal chargingpoint.Refusal
			given(t, test.history...).When(now, occupy(now, test.request, &grant)).ThenErrorAs(&refusal)
			if refusal != test.want || grant != (chargingpoint.Grant{}) {
				t.Errorf("refused as %s with %+v, want %s", refusal, grant, test.want)
			}
			if got, want := refusal.Error(), "the supply was refused: "+string(test.want); got != want {
				t.Errorf("it says %q, want %q", got, want)
			}
		})
	}
}

func TestOccupyRefusesOldRequests(t *testing.T) {
	const now = noon + hour
	for name, test := range map[string]struct {
		sentAt domain.UnixMillis
		want   error
	}{
		"30 s old":                 {now - 30*second, nil},
		"more than 30 s old":       {now - 30*second - 1, chargingpoint.RefusedExpired},
		"an hour old":              {now - hour, chargingpoint.RefusedExpired},
		"of 1970":                  {1, chargingpoint.RefusedExpired},
		"no age can be judged":     {0, nil},
		"ahead of Central's clock": {now + minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var grant chargingpoint.Grant
			s := given(t, ready).When(now, occupy(now, chargingpoint.Request{Session: "S-9", Driver: "D-9", SentAt: test.sentAt, Heard: true}, &grant))
			if test.want != nil {
				s.ThenError(test.want)
				return
			}
			s.Then(chargingpoint.PointOccupied{Session: "S-9", Driver: "D-9", Order: domain.Order(now), ValidUntil: now + 30*second})
		})
	}
}

// Two drivers who ask at the same instant get one grant and one refusal.
func TestOccupyTwiceAtTheSameInstant(t *testing.T) {
	var grant chargingpoint.Grant
	s := given(t, ready).
		When(noon+second, occupy(noon+second, chargingpoint.Request{Session: "S-1", Driver: "D-1", Heard: true}, &grant)).
		Then(chargingpoint.PointOccupied{Session: "S-1", Driver: "D-1", Order: domain.Order(noon + second), ValidUntil: noon + 31*second}).
		When(noon+second, occupy(noon+second, chargingpoint.Request{Session: "S-2", Driver: "D-2", Heard: true}, &grant)).
		ThenError(chargingpoint.RefusedOccupied)
	if o, _ := s.Live.Occupied(); o.Session != "S-1" || o.Driver != "D-1" {
		t.Errorf("the point is %+v's", o)
	}
}

func TestOccupyIsHeldForTwoSecondsAfterAStop(t *testing.T) {
	const stop = noon + minute
	history := []past{
		busy,
		at(stop, chargingpoint.StopOrdered{Session: "S-1", Cause: "KO", Order: 7, ValidUntil: stop + day, HoldUntil: stop + 2*second}),
		at(stop+1, released),
	}
	ask := chargingpoint.Request{Session: "S-9", Driver: "D-9", Heard: true}
	var grant chargingpoint.Grant
	given(t, history...).
		When(stop+2*second-1, occupy(stop+2*second-1, ask, &grant)).
		ThenError(chargingpoint.RefusedOccupied).
		When(stop+2*second, occupy(stop+2*second, ask, &grant)).
		Then(chargingpoint.PointOccupied{Session: "S-9", Driver: "D-9", Order: domain.Order(stop + 2*second), ValidUntil: stop + 32*second})
}

func TestRelease(t *testing.T) {
	release := func(session domain.SessionID) func(*point) error {
		return func(p *point) error { return p.Release(noon+minute, session) }
	}
	given(t, busy).When(noon+minute, release("S-2")).ThenError(chargingpoint.ErrNotOccupiedBy)
	given(t, ready).When(noon+minute, release("S-1")).ThenError(chargingpoint.ErrNotOccupiedBy)
	s := given(t, busy).
		When(noon+minute, release("S-1")).Then(chargingpoint.PointReleased{Session: "S-1"}).
		When(noon+minute, release("S-1")).ThenError(chargingpoint.ErrNotOccupiedBy)
	if s.Live.State() != chargingpoint.Activated {
		t.Errorf("the point is %s", s.Live.State())
	}
}
