// Package domaintest is the kit with which the domain's rules are tested: given
// events, when a command comes, then exactly these events or this error.
//
//	var points = domaintest.Kit[*chargingpoint.Point, chargingpoint.Event]{
//		New: func() *chargingpoint.Point { return chargingpoint.New("CP-1") },
//	}
//
//	points.Given(t, at(noon, registered), at(noon, occupied)).
//		When(noon+1000, func(p *chargingpoint.Point) error { return p.Release(noon+1000, "S-1") }).
//		Then(chargingpoint.PointReleased{Session: "S-1"})
//
// Each command is held to two rules more, unasked: one that fails records nothing, and
// a fresh aggregate that is given all events so far has the same state as the live one.
// The package is for tests; nothing that is shipped imports it.
package domaintest
