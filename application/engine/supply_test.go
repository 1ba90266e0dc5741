package engine_test

import (
	"testing"

	"evcharging/application/engine"
	"evcharging/application/message"
	"evcharging/domain"
)

func TestGivenABatteryWhenItIsFullThenTheSupplyFinishes(t *testing.T) {
	p := newPoint(t)
	p.settings.Curve = engine.Curve{Battery: 100_000, MaxPower: 36_000}
	p.start()
	p.receive(start(session, 1))
	p.seconds(8)
	if power := p.samples()[8].Power; power != 36_000 {
		t.Fatalf("at four fifths: %s kW", power)
	}
	p.seconds(1)
	if power := p.samples()[9].Power; power != 18_000 {
		t.Fatalf("at nine tenths: %s kW", power)
	}
	p.seconds(60)
	p.expectDones(done(session, 100_000, 30_000, message.DoneFinished))
	if p.engine.Status().Session != nil {
		t.Fatal("the point is not free")
	}
}

func TestCurve(t *testing.T) {
	for name, given := range map[string]struct {
		curve   engine.Curve
		charged domain.MilliwattHours
		want    domain.Watts
	}{
		"empty":                     {engine.Curve{Battery: 1000, MaxPower: 100}, 0, 100},
		"at the knee":               {engine.Curve{Battery: 1000, MaxPower: 100}, 800, 100},
		"half of the rest":          {engine.Curve{Battery: 1000, MaxPower: 100}, 900, 50},
		"nearly full":               {engine.Curve{Battery: 1000, MaxPower: 100}, 999, 5},
		"full":                      {engine.Curve{Battery: 1000, MaxPower: 100}, 1000, 0},
		"one watt never becomes 0":  {engine.Curve{Battery: 1000, MaxPower: 1}, 999, 1},
		"the smallest battery":      {engine.Curve{Battery: 1, MaxPower: 7}, 0, 7},
		"the limits of the figures": {engine.Curve{Battery: domain.MaxEnergy, MaxPower: domain.MaxPower}, domain.MaxEnergy - domain.MaxEnergy/10, domain.MaxPower / 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := given.curve.Power(given.charged); got != given.want {
				t.Fatalf("%d W, not %d W", got, given.want)
			}
		})
	}
}

// A fault of the reference: money and energy in binary floats. A tenth of a second at
// 0.1 kW is 2.7̅ mWh: what is less than a milliwatt-hour is carried.
func TestEnergyAndMoneyAreExactIntegers(t *testing.T) {
	p := newPoint(t)
	p.settings.Curve.MaxPower = 100
	p.start()
	p.receive(start(session, 1))
	for range 36_000 {
		p.now += 100
		p.step(engine.Break{})
		p.step(engine.Mend{})
		if p.engine.Status().Session == nil {
			p.receive(start(domain.SessionID("s-"+p.now.String()), 0))
		}
	}
	// Each of the 36,000 sessions has 2 mWh: what is carried belongs to its session.
	for _, d := range p.dones() {
		if d.Energy != 2 || d.Amount != 1 {
			t.Fatalf("done: %+v", d)
		}
	}
	one := newPoint(t)
	one.settings.Curve.MaxPower = 100
	one.start()
	one.receive(start(session, 1))
	for range 36_000 {
		one.now += 100
		one.step(engine.Sent{})
	}
	one.receive(stop(session, 2))
	one.expectDones(done(session, 100_000, 30_000, message.DoneStopped))
}

func TestGivenSpeedThenOnlyEnergyIsQuickened(t *testing.T) {
	p := newPoint(t)
	p.settings.Speed = 60
	p.start()
	p.receive(start(session, 1))
	p.seconds(2)
	got := p.samples()
	if len(got) != 3 || *got[2].Energy != 120*aSecond || got[2].Power != 36_000 || got[2].At != began.Add(2e9) {
		t.Fatalf("samples: %+v", got)
	}
}

func TestGivenAMachineThatSleptOrAClockThatWasSetThenNoSupplyIsInvented(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.now += 3_600_000
	p.step(engine.Tick{})
	p.now -= 7_200_000
	p.step(engine.Tick{})
	p.seconds(1)
	p.receive(stop("", 2))
	p.expectDones(done(session, 6*aSecond, 6*itsCost, message.DoneStopped))
}

func TestManualPlug(t *testing.T) {
	t.Run("the supply starts once the driver plugs in", func(t *testing.T) {
		p := newManualPoint(t)
		p.receive(start(session, 1))
		p.seconds(20)
		if len(p.sent) != 0 {
			t.Fatalf("sent before the plug: %+v", p.sent)
		}
		p.step(engine.Plug{})
		p.seconds(2)
		p.step(engine.Unplug{})
		p.expectDones(done(session, 2*aSecond, 2*itsCost, message.DoneUnplugged))
		if n := len(p.samples()); n != 3 {
			t.Fatalf("%d samples", n)
		}
	})
	t.Run("who plugs in first need not plug in again", func(t *testing.T) {
		p := newManualPoint(t)
		p.step(engine.Plug{})
		p.receive(start(session, 1))
		p.seconds(1)
		if n := len(p.samples()); n != 2 {
			t.Fatalf("%d samples", n)
		}
	})
	t.Run("the next driver plugs in a car of their own", func(t *testing.T) {
		p := newManualPoint(t)
		p.step(engine.Plug{})
		p.receive(start(session, 1))
		p.receive(start(other, 2))
		p.take()
		p.seconds(3)
		if len(p.sent) != 0 {
			t.Fatalf("the first car is charged on the second driver's bill: %+v", p.sent)
		}
	})
	t.Run("who never plugs in pays nothing", func(t *testing.T) {
		p := newManualPoint(t)
		p.receive(start(session, 1))
		p.seconds(20)
		p.receive(stop(session, 2))
		p.expectDones(done(session, 0, 0, message.DoneStopped))
	})
	t.Run("a kill while it waits ends the session with zeros", func(t *testing.T) {
		p := newManualPoint(t)
		p.receive(start(session, 1))
		p.killAndRestart()
		p.expectDones(done(session, 0, 0, message.DoneRecovered))
	})
	t.Run("unplugging twice, plugging in twice is said", func(t *testing.T) {
		p := newManualPoint(t)
		p.step(engine.Unplug{})
		p.expectSaid("nothing is plugged in")
		p.step(engine.Plug{})
		p.step(engine.Plug{})
		p.expectSaid("plugged in already")
		p.step(engine.Unplug{})
		p.expectSaid("unplugged")
	})
}

func TestGivenAnEngineThatIsKilledInASupplyWhenItComesBackThenItReportsTheLastStoredSample(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.seconds(5)
	lastAt := p.now
	p.now += 700
	p.killAndRestart()
	p.expectDones(message.Done{
		Session: session, Point: cp1, Driver: driver, Energy: 5 * aSecond, Amount: 5 * itsCost,
		Reason: message.DoneRecovered, Seq: 7, At: lastAt,
	})
	p.take()
	p.killAndRestart()
	p.seconds(2)
	if len(p.sent) != 0 || p.engine.Status().Session != nil {
		t.Fatalf("reported again: %+v", p.sent)
	}
}

func TestGivenAnEngineThatIsAskedToStopInASupplyThenItEndsItWithItsDone(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.seconds(2)
	p.step(engine.Shutdown{})
	p.step(engine.Shutdown{})
	p.expectDones(done(session, 2*aSecond, 2*itsCost, message.DoneFault))
	if p.engine.Healthy() || !p.engine.Idle() {
		t.Fatal("it is not about to end")
	}
	p.take()
	p.receive(start(other, 2))
	p.expectDones(done(other, 0, 0, message.DoneRefused))
}

func TestGivenAnEngineThatIsAskedToStopThenItDoesNotWaitForAnUnsentRequest(t *testing.T) {
	p := newPoint(t)
	p.away = true
	p.step(engine.RequestSupply{Driver: driver, ID: "6f1c"})
	p.step(engine.Shutdown{})
	if !p.engine.Idle() {
		t.Fatal("it waits for the broker")
	}
}

func TestBreakAndMendTwice(t *testing.T) {
	p := newPoint(t)
	p.step(engine.Mend{})
	p.expectSaid("not broken")
	p.step(engine.Break{})
	p.step(engine.Break{})
	p.expectSaid("broken already")
}

func TestStatus(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.seconds(2)
	s := p.engine.Status()
	if s.Session == nil || *s.Session != (engine.Session{ID: session, Driver: driver, Price: price, OpenedAt: began}) ||
		!s.Supplying || s.Power != 36_000 || s.Energy != 2*aSecond || s.Amount != 2*itsCost || !s.LinkUp {
		t.Fatalf("status: %+v", s)
	}
}
