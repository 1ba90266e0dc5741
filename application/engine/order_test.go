package engine_test

import (
	"testing"
	"time"

	"evcharging/application/engine"
	"evcharging/application/message"
	"evcharging/domain"
)

func TestFencing(t *testing.T) {
	for name, given := range map[string]struct {
		orders []message.Order
		want   domain.SessionID
	}{
		"a start that is older than a stop is not obeyed":           {[]message.Order{order(message.OrderStop, 9), start(session, 8)}, ""},
		"a start with the number of a stop is not obeyed":           {[]message.Order{order(message.OrderStop, 9), start(session, 9)}, ""},
		"a stop that is older than the start does not end it":       {[]message.Order{start(session, 8), stop(session, 7)}, session},
		"out of order that is older than the start does not end it": {[]message.Order{start(session, 8), order(message.OrderOutOfOrder, 7)}, session},
		"a newer stop ends it":                                      {[]message.Order{start(session, 8), stop(session, 9)}, ""},
		"a stop without a number ends it":                           {[]message.Order{start(session, 8), stop(session, 0)}, ""},
		"a stop that names nobody ends it":                          {[]message.Order{start(session, 8), order(message.OrderStop, 9)}, ""},
		"a stop that names another session does not end it":         {[]message.Order{start(session, 8), stop(other, 9)}, session},
		"a start without a number is obeyed":                        {[]message.Order{order(message.OrderStop, 9), start(session, 0)}, session},
		"resume ends nothing":                                       {[]message.Order{start(session, 8), order(message.OrderResume, 9)}, session},
		"an order for another point does nothing":                   {[]message.Order{start(session, 8), {Kind: message.OrderStop, Point: "CP-002", Number: 9}}, session},
		"a repeat of the running start moves the fence":             {[]message.Order{start(session, 8), start(session, 10), stop(session, 9)}, session},
		"a refused start moves the fence":                           {[]message.Order{{Kind: message.OrderStart, Point: cp1, Session: other, Driver: driver, Number: 8}, start(session, 7)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPoint(t)
			for _, o := range given.orders {
				p.receive(o)
			}
			var runs domain.SessionID
			if s := p.engine.Status().Session; s != nil {
				runs = s.ID
			}
			if runs != given.want {
				t.Fatalf("%q has the point, not %q", runs, given.want)
			}
		})
	}
}

func TestAge(t *testing.T) {
	const late = engine.MaxOrderAge + time.Millisecond
	until := func(d time.Duration) domain.UnixMillis { return began.Add(d) }
	for name, given := range map[string]struct {
		kind       message.OrderKind
		age        time.Duration
		untrusted  bool
		validUntil domain.UnixMillis
		obeyed     bool
	}{
		"a start of now":                                       {kind: message.OrderStart, obeyed: true},
		"a start of 30 s ago":                                  {kind: message.OrderStart, age: engine.MaxOrderAge, obeyed: true},
		"a start of more than 30 s ago":                        {kind: message.OrderStart, age: late},
		"an old record that is still valid":                    {kind: message.OrderStart, age: time.Hour, validUntil: until(0), obeyed: true},
		"a fresh record that is no longer valid":               {kind: message.OrderStart, validUntil: until(-time.Millisecond)},
		"a stop of more than 30 s ago":                         {kind: message.OrderStop, age: late},
		"a stop that is valid for a day":                       {kind: message.OrderStop, age: time.Hour, validUntil: until(time.Hour), obeyed: true},
		"a stop that is no longer valid":                       {kind: message.OrderStop, validUntil: until(-time.Millisecond)},
		"a sender's clock that says an hour before the Engine": {kind: message.OrderStart, age: time.Hour, untrusted: true},
		"a sender's clock from 1970":                           {kind: message.OrderStart, age: time.Duration(began-1) * time.Millisecond, untrusted: true, obeyed: true},
		"a sender's clock from next year":                      {kind: message.OrderStart, age: -365 * 24 * time.Hour, untrusted: true, obeyed: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPoint(t)
			o := start(other, 2)
			if given.kind == message.OrderStop {
				p.receive(start(session, 1))
				o = stop(session, 2)
			}
			o.ValidUntil = given.validUntil
			p.step(engine.OrderReceived{Order: o, Timestamp: p.now.Add(-given.age), Trusted: !given.untrusted})
			runs := p.engine.Status().Session
			switch given.kind {
			case message.OrderStart:
				if (runs != nil) != given.obeyed {
					t.Fatalf("runs: %v", runs)
				}
				if !given.obeyed {
					p.expectDones(done(other, 0, 0, message.DoneRefused))
				}
			case message.OrderStop:
				if (runs == nil) != given.obeyed {
					t.Fatalf("runs: %v", runs)
				}
			}
		})
	}
}

func TestGivenAnEngineThatHasRunForAnHourWhenAnUntrustedOrderOfNowComesThenItIsObeyed(t *testing.T) {
	p := newPoint(t)
	p.seconds(3600)
	p.step(engine.OrderReceived{Order: start(session, 0), Timestamp: p.now.Add(-time.Minute)})
	if p.engine.Status().Session == nil {
		t.Fatal("a sender's clock that is a minute slow silences its orders")
	}
}

func TestEngineStartedLateIgnoresAnOldStart(t *testing.T) {
	p := newPoint(t)
	p.step(engine.OrderReceived{Order: start(session, 0), Timestamp: p.now.Add(-10 * time.Minute), Trusted: true})
	p.seconds(5)
	p.expectDones(done(session, 0, 0, message.DoneRefused))
	if len(p.samples()) != 0 {
		t.Fatal("yesterday's start was obeyed")
	}
}

func TestRepeatedStart(t *testing.T) {
	t.Run("while its session runs it is ignored", func(t *testing.T) {
		p := newPoint(t)
		p.receive(start(session, 1))
		p.seconds(2)
		p.receive(start(session, 1))
		p.receive(start(session, 0))
		p.seconds(1)
		got := p.samples()
		if len(p.dones()) != 0 || len(got) != 4 || *got[3].Energy != 3*aSecond {
			t.Fatalf("sent: %+v", p.sent)
		}
	})
	t.Run("for a session that has ended its done comes again, the same", func(t *testing.T) {
		p := newPoint(t)
		p.receive(start(session, 1))
		p.seconds(2)
		p.step(engine.Unplug{})
		p.seconds(100)
		p.receive(start(session, 1))
		p.receive(stop(session, 2))
		p.killAndRestart()
		p.receive(start(session, 3))
		want := done(session, 2*aSecond, 2*itsCost, message.DoneUnplugged)
		want.Seq, want.At = 4, began.Add(2*time.Second)
		p.expectDones(want, want, want, want)
	})
	t.Run("a start that was answered and is read again from the past is not answered anew", func(t *testing.T) {
		p := newPoint(t)
		p.receive(start(session, 1))
		p.seconds(40)
		p.receive(stop(session, 2))
		p.killAndRestart()
		p.step(engine.OrderReceived{Order: start(session, 1), Timestamp: began, Trusted: true})
		p.expectDones(done(session, 40*aSecond, 40*itsCost, message.DoneStopped))
	})
}

// A fault of the reference: the second start loses the first session and meters the second twice.
func TestSecondStartEndsTheFirstSessionAndMetersTheSecondOnce(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.seconds(2)
	p.receive(start(other, 2))
	p.expectDones(done(session, 2*aSecond, 2*itsCost, message.DoneStopped))
	p.take()
	p.seconds(3)
	got := p.samples()
	if len(got) != 3 || got[2].Session != other || *got[2].Energy != 3*aSecond {
		t.Fatalf("samples: %+v", got)
	}
	i := len(p.journal) - 1
	for p.journal[i].Opened == nil {
		i--
	}
	if r := p.journal[i]; len(r.Ended) != 1 || r.Ended[0].Session != session || r.Opened.ID != other {
		t.Fatalf("not one record: %+v", r)
	}
}

// A fault of the reference: a stop followed by a start within a second meters twice.
func TestStopFollowedByAStartWithinASecondMetersOnce(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.seconds(2)
	p.now += 100
	p.receive(stop(session, 2))
	p.now += 100
	p.receive(start(other, 3))
	p.now += 800
	p.take()
	p.step(engine.Tick{})
	p.seconds(2)
	got := p.samples()
	if len(got) != 3 || *got[2].Energy != 2*aSecond+aSecond*8/10 {
		t.Fatalf("samples: %+v", got)
	}
}

// A fault of the reference: two reports of done for one session after a fault, a
// recovery and a stop.
func TestOneSessionHasOneDoneAfterAFaultARecoveryAndAStop(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.seconds(2)
	p.step(engine.Break{})
	p.seconds(2)
	p.step(engine.Mend{})
	p.seconds(2)
	want := done(session, 2*aSecond, 2*itsCost, message.DoneFault)
	p.expectDones(want)
	p.receive(stop("", 2))
	p.expectDones(want)
	p.receive(stop(session, 3))
	// Asked for again by name it is the same report, to the byte.
	if got := p.dones(); len(got) != 2 || got[0] != got[1] {
		t.Fatalf("dones: %+v", got)
	}
}

// A fault of the reference: out of order is ignored by the Engine.
func TestOutOfOrderEndsTheRunningSupply(t *testing.T) {
	for name, orders := range map[string][]message.Order{
		"alone":                          {order(message.OrderOutOfOrder, 2)},
		"and then a stop of that number": {order(message.OrderOutOfOrder, 2), stop(session, 2)},
		"after a stop of that number":    {stop(session, 2), order(message.OrderOutOfOrder, 2)},
		"without a number":               {order(message.OrderOutOfOrder, 0)},
		"naming its session":             {{Kind: message.OrderOutOfOrder, Point: cp1, Session: session, Number: 2}},
		"naming another session":         {{Kind: message.OrderOutOfOrder, Point: cp1, Session: other, Number: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPoint(t)
			p.receive(start(session, 1))
			p.seconds(1)
			for _, o := range orders {
				p.receive(o)
			}
			p.expectDones(done(session, aSecond, itsCost, message.DoneStopped))
			if s := p.engine.Status(); !s.OutOfService || !p.engine.Healthy() {
				t.Fatalf("out of service and healthy, but: %+v", s)
			}
			p.killAndRestart()
			if !p.engine.Status().OutOfService {
				t.Fatal("a restart puts it into service")
			}
		})
	}
}

func TestGivenAPointOutOfServiceWhenANewerOrderComesThenItIsTheWholeTruth(t *testing.T) {
	for name, given := range map[string]struct {
		then         message.Order
		outOfService bool
	}{
		"resume":      {order(message.OrderResume, 3), false},
		"a start":     {start(session, 3), false},
		"an old one":  {start(session, 1), true},
		"only a stop": {stop(session, 3), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPoint(t)
			p.receive(order(message.OrderOutOfOrder, 2))
			p.receive(given.then)
			if got := p.engine.Status().OutOfService; got != given.outOfService {
				t.Fatalf("out of service: %v", got)
			}
		})
	}
}

// A fault of the reference: a start is accepted while broken, with the driver left waiting.
func TestStartWhileBrokenIsRefusedAloud(t *testing.T) {
	p := newPoint(t)
	p.step(engine.Break{})
	if p.engine.Healthy() {
		t.Fatal("a broken point is healthy")
	}
	p.receive(start(session, 1))
	p.expectDones(done(session, 0, 0, message.DoneRefused))
	p.step(engine.Mend{})
	p.seconds(3)
	if !p.engine.Healthy() || len(p.samples()) != 0 {
		t.Fatal("the refused start was obeyed later")
	}
}

func TestRefusals(t *testing.T) {
	priceless := start(session, 7)
	priceless.Price = nil
	for name, given := range map[string]struct {
		before []message.Order
		start  message.Order
	}{
		"no price":            {nil, priceless},
		"not newer":           {[]message.Order{order(message.OrderResume, 8)}, start(session, 7)},
		"not newer, equal":    {[]message.Order{order(message.OrderResume, 7)}, start(session, 7)},
		"overtaken by a stop": {[]message.Order{order(message.OrderStop, 8)}, start(session, 7)},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPoint(t)
			for _, o := range given.before {
				p.receive(o)
			}
			p.receive(given.start)
			p.expectDones(done(session, 0, 0, message.DoneRefused))
			if r := p.journal[len(p.journal)-2]; len(r.Ended) != 1 || !r.Durable() {
				t.Fatalf("the refusal is not stored: %+v", p.journal)
			}
		})
	}
}

func TestGivenAStopForASessionThatNeverRanThenZerosAreReportedAndItsLateStartIsNotObeyed(t *testing.T) {
	p := newPoint(t)
	p.receive(stop(session, 2))
	p.receive(start(session, 1))
	p.receive(start(session, 0))
	zeros := done(session, 0, 0, message.DoneStopped)
	p.expectDones(zeros, zeros, zeros)
	if p.engine.Status().Session != nil {
		t.Fatal("the start that was stopped on its way runs")
	}
}

func TestGivenAnEngineWithoutItsJournalWhenItReadsStopsOfYesterdayThenItAnswersNone(t *testing.T) {
	p := newPoint(t)
	o := stop(session, 2)
	o.ValidUntil = p.now.Add(time.Hour)
	p.step(engine.OrderReceived{Order: o, Timestamp: p.now.Add(-time.Hour), Trusted: true})
	p.expectDones()
	// It counts all the same: a start before it is not obeyed.
	p.receive(start(other, 1))
	p.expectDones(done(other, 0, 0, message.DoneRefused))
}

func TestGivenAStartThatNamesNobodyThenItIsIgnoredAloud(t *testing.T) {
	p := newPoint(t)
	p.receive(message.Order{Kind: message.OrderStart, Point: cp1})
	p.expectSaid("ignored a start")
	if len(p.sent) != 0 || p.engine.Status().Session != nil {
		t.Fatalf("sent: %+v", p.sent)
	}
}

func TestGivenAStopOfAnUnknownSessionWithoutItsDriverThenItIsSaid(t *testing.T) {
	p := newPoint(t)
	p.receive(message.Order{Kind: message.OrderStop, Point: cp1, Session: session})
	p.expectSaid("never ran here")
	p.expectDones()
}
