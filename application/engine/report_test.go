package engine_test

import (
	"slices"
	"strings"
	"testing"

	"evcharging/application/engine"
	"evcharging/application/message"
	"evcharging/domain"
)

func TestGivenABrokerThatWasAwayWhenItComesBackThenOnlyTheNewestSampleIsSent(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.take()
	p.away = true
	p.step(engine.Link{})
	p.seconds(30)
	p.away = false
	p.step(engine.Link{Up: true})
	got := p.samples()
	if len(got) != 1 || got[0].Seq != 31 || *got[0].Energy != 30*aSecond {
		t.Fatalf("samples: %+v", got)
	}
}

func TestGivenABrokerThatIsAwayThenADoneIsRetriedWithGrowingPausesUntilItHasIt(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.seconds(2)
	p.take()
	p.away = true
	p.receive(stop(session, 2))
	var tries []int
	for second := range 30 {
		before := p.batches
		p.seconds(1)
		if p.batches > before {
			tries = append(tries, second+1)
		}
	}
	if want := []int{1, 3, 7, 12, 17, 22, 27}; !slices.Equal(tries, want) {
		t.Fatalf("tried after %v s, not %v s", tries, want)
	}
	if s := p.engine.Status(); s.Unreported != 1 || p.engine.Idle() {
		t.Fatalf("status: %+v", s)
	}
	p.killAndRestart()
	p.away = false
	p.seconds(6)
	p.expectDones(done(session, 2*aSecond, 2*itsCost, message.DoneStopped))
	p.killAndRestart()
	p.seconds(6)
	p.expectDones(done(session, 2*aSecond, 2*itsCost, message.DoneStopped))
	if !p.engine.Idle() {
		t.Fatal("it is still to be reported")
	}
}

func TestGivenABrokerThatNeverAnswersThenOneBatchIsOnItsWay(t *testing.T) {
	p := newPoint(t)
	p.slow = true
	p.receive(start(session, 1))
	p.seconds(10)
	p.step(engine.Unplug{})
	if p.batches != 1 {
		t.Fatalf("%d batches", p.batches)
	}
	p.slow = false
	p.step(engine.Sent{Batch: 99})
	p.step(engine.Sent{Batch: 1})
	p.expectDones(done(session, 10*aSecond, 10*itsCost, message.DoneUnplugged))
	if n := len(p.samples()); n != 0 {
		t.Fatalf("%d samples after the totals", n)
	}
}

func TestGivenAClockThatIsPutBackDuringAPauseThenReportsGoOn(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.take()
	p.away = true
	p.seconds(3)
	p.away = false
	p.now -= 3_600_000
	p.seconds(1)
	if len(p.samples()) != 1 {
		t.Fatalf("sent: %+v", p.sent)
	}
}

func TestGivenAnOutageThenItIsSaidOnceAndItsEndOnce(t *testing.T) {
	p := newPoint(t)
	p.receive(start(session, 1))
	p.said = nil
	p.away = true
	p.step(engine.Link{})
	p.seconds(60)
	p.away = false
	p.step(engine.Link{Up: true})
	p.step(engine.Link{Up: true})
	p.seconds(10)
	if len(p.said) > 0 {
		t.Fatalf("whoever knows of the outage has said it; said again: %q", p.said)
	}
	p.away = true // and the broker answers all the same
	p.seconds(60)
	p.away = false
	p.seconds(10)
	want := []string{"reports can't be sent, they wait in the journal and are tried again: the broker is away", "reports are sent again"}
	if !slices.Equal(p.said, want) {
		t.Fatalf("said: %q", p.said)
	}
	p.away = true
	p.seconds(1)
	p.away = false
	p.take()
	p.seconds(1)
	if len(p.samples()) != 1 {
		t.Fatal("the first pause of an outage is not a second")
	}
	if !slices.Equal(p.said, want) {
		t.Fatalf("a hiccup is said: %q", p.said)
	}
}

func TestGivenASlowBrokerWhenItHasASampleThenTheNewerOneIsSent(t *testing.T) {
	p := newPoint(t)
	p.slow = true
	p.receive(start(session, 1))
	p.seconds(3)
	p.slow = false
	p.step(engine.Sent{Batch: 1})
	if got := p.samples(); len(got) != 1 || got[0].Seq != 4 {
		t.Fatalf("samples: %+v", got)
	}
}

func TestGivenAStartThatIsRepeatedDuringAnOutageThenItsDoneIsSentOnce(t *testing.T) {
	p := newPoint(t)
	p.away = true
	p.receive(start(session, 1))
	p.step(engine.Unplug{})
	p.receive(start(session, 1))
	p.receive(start(session, 1))
	p.away = false
	p.seconds(5)
	p.expectDones(done(session, 0, 0, message.DoneUnplugged))
}

func TestGivenADoneThatIsBeingSentWhenItIsAskedForThenItIsSentAgain(t *testing.T) {
	want := done(session, 0, 0, message.DoneUnplugged)
	p := newPoint(t)
	p.receive(start(session, 1))
	p.slow = true
	p.step(engine.Unplug{})
	p.receive(start(session, 1))
	p.receive(start(session, 1))
	p.slow = false
	p.step(engine.Sent{Batch: p.batches})
	p.expectDones(want)
	p.take()

	p.slow = true
	p.receive(start(session, 1))
	p.receive(start(session, 1))
	p.slow = false
	p.step(engine.Sent{Batch: p.batches, Err: errAway})
	p.seconds(5)
	p.expectDones(want)
}

func TestGivenThousandsOfSessionsThenTheMemoryDoesNotGrow(t *testing.T) {
	p := newPoint(t)
	for i := range 4 * engine.MaxRemembered {
		p.receive(start(domain.SessionID("s-"+domain.UnixMillis(i+1).String()), domain.Order(i+1)))
		p.step(engine.Unplug{})
	}
	m := memory(p.journal)
	if n := len(m.Records()); n > engine.MaxRemembered+2 {
		t.Fatalf("%d records", n)
	}
	if _, ok := m.Done(domain.SessionID("s-" + domain.UnixMillis(4*engine.MaxRemembered).String())); !ok {
		t.Fatal("the newest is forgotten")
	}
}

func TestGivenManyUnreportedDonesThenNoneIsForgotten(t *testing.T) {
	p := newPoint(t)
	p.away = true
	var want []domain.SessionID
	for i := range 2 * engine.MaxRemembered {
		s := domain.SessionID("s-" + domain.UnixMillis(i+1).String())
		want = append(want, s)
		p.receive(start(s, domain.Order(i+1)))
		p.step(engine.Unplug{})
	}
	p.killAndRestart()
	p.away = false
	p.seconds(10)
	var got []domain.SessionID
	for _, d := range p.dones() {
		got = append(got, d.Session)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%d dones for %d sessions", len(got), len(want))
	}
}

func TestRequestAtThePoint(t *testing.T) {
	ask := engine.RequestSupply{Driver: driver, ID: "6f1c"}
	t.Run("is sent with origin cp", func(t *testing.T) {
		p := newPoint(t)
		p.step(ask)
		got := only[message.Request](p.sent)
		if len(got) != 1 || got[0] != (message.Request{Driver: driver, Point: cp1, ID: "6f1c", Origin: message.OriginPoint}) {
			t.Fatalf("sent: %+v", p.sent)
		}
	})
	t.Run("its refusal is said", func(t *testing.T) {
		p := newPoint(t)
		p.step(ask)
		p.step(engine.AnswerReceived{Answer: message.Answer{Driver: driver, Point: cp1, Request: "another", Reason: "BROKEN"}})
		p.step(engine.AnswerReceived{Answer: message.Answer{Driver: driver, Point: cp1, Request: "6f1c", Reason: "OCCUPIED"}})
		p.expectSaid("refused the supply to D-7: OCCUPIED")
		if slices.ContainsFunc(p.said, func(s string) bool { return strings.Contains(s, "BROKEN") }) {
			t.Fatal("took the answer to another request")
		}
	})
	t.Run("its grant is said, without a request's id too", func(t *testing.T) {
		p := newPoint(t)
		p.step(ask)
		p.step(engine.AnswerReceived{Answer: message.Answer{Driver: driver, Point: cp1, Authorized: true}})
		p.expectSaid("granted the supply to D-7")
	})
	t.Run("a silent Central is said, and given up", func(t *testing.T) {
		p := newPoint(t)
		p.step(ask)
		p.seconds(6)
		p.expectSaid("not answered the request of D-7 yet")
		p.seconds(55)
		p.expectSaid("not served")
	})
	t.Run("is dropped where it can't be sent for 30 s", func(t *testing.T) {
		p := newPoint(t)
		p.away = true
		p.step(ask)
		p.seconds(31)
		p.expectSaid("dropped")
		p.away = false
		p.seconds(10)
		if len(p.sent) != 0 {
			t.Fatalf("sent: %+v", p.sent)
		}
	})
	t.Run("of an impossible driver is not made", func(t *testing.T) {
		p := newPoint(t)
		p.step(engine.RequestSupply{Driver: "D 7", ID: "6f1c"})
		p.expectSaid("no supply was asked for")
		if len(p.sent) != 0 {
			t.Fatalf("sent: %+v", p.sent)
		}
	})
}
