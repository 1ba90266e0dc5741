package central_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// The faults of the reference that Central decides about (the end of behaviour.md).

func TestABusyPointIsNotGrantedAgain(t *testing.T) {
	w := granted(t)
	w.when(seconds(3), request(eva, "r-2")).sends(refusalOf(eva, "r-2", chargingpoint.RefusedOccupied))
	w.given(seconds(4), sample(dans, 1, 1, seconds(4)))
	w.when(seconds(5), request(dan, "r-3")).sends(refusalOf(dan, "r-3", chargingpoint.RefusedOccupied))
	t.Run("nor while the done is awaited", func(t *testing.T) {
		w.given(seconds(6), health(message.HealthKO))
		w.given(seconds(7), health(message.HealthOK))
		w.when(seconds(12), request(eva, "r-4")).sends(refusalOf(eva, "r-4", chargingpoint.RefusedOccupied))
	})
}

func TestOfManyThatAskAtOnceOneIsGranted(t *testing.T) {
	for round := range 10 {
		w := free(t)
		var mu sync.Mutex
		granted, refusals := 0, map[string]int{}
		w.central.Publisher = publish(func(messages []message.Message) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range messages {
				if a, ok := m.(message.Answer); ok && a.Authorized {
					granted++
				} else if ok {
					refusals[a.Reason]++
				}
			}
		})
		// Four Centrals, for lanes of different Centrals know nothing of each other.
		var all sync.WaitGroup
		records := make(chan message.Received, 200)
		for i := range cap(records) {
			records <- w.record(seconds(2), request(domain.DriverID(fmt.Sprint("D-", i)), "r"))
		}
		close(records)
		for range 4 {
			lane := w.central.Lane()
			all.Go(func() {
				for r := range records {
					if err := lane.Take(t.Context(), seconds(2), r); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if granted != 1 || refusals["OCCUPIED"] != 199 {
			t.Fatalf("round %d: %d granted, refused %v", round, granted, refusals)
		}
	}
}

func TestAStopFollowedByAStartWithinASecond(t *testing.T) {
	w := supplying(t)
	w.given(seconds(5), control("c-1", message.ActionStop))
	w.given(seconds(5).Add(200*time.Millisecond), done(dans, 4, message.DoneStopped, seconds(5)))
	w.given(seconds(5).Add(300*time.Millisecond), control("c-2", message.ActionResume))
	// The stop may still be on its way to the Engine: the point is held for 2 s after it.
	w.when(seconds(5).Add(900*time.Millisecond), request(eva, "r-2")).sends(refusalOf(eva, "r-2", chargingpoint.RefusedOccupied))
	w.when(seconds(7), request(eva, "r-3"))
	w.judged = true
	start := sent[message.Order](w)
	if start.Kind != message.OrderStart || start.Number <= domain.Order(seconds(5)) {
		t.Errorf("sent\n%s", describe(w.outcome.messages))
	}
	t.Run("and what is reported of the one before meters nothing twice", func(t *testing.T) {
		w.when(seconds(8), sample(dans, 9, 9, seconds(8))).ignores(session.ErrClosed)
		evas := session.IDFor(cp1, eva, "r-3")
		w.given(seconds(9), func() message.Message { m := sample(evas, 1, 1, seconds(9)); m.Driver = eva; return m }())
		w.when(seconds(20), func() message.Message {
			m := done(evas, 2, message.DoneFinished, seconds(20))
			m.Driver = eva
			return m
		}())
		w.judged = true
		if bill := sent[message.Ticket](w); bill.Session != evas || bill.Energy != 2_000 {
			t.Errorf("billed %+v", bill)
		}
	})
}

func TestTwoReportsOfDoneForOneSession(t *testing.T) {
	w := supplying(t)
	w.given(seconds(5), health(message.HealthKO))
	w.given(seconds(6), done(dans, 4, message.DoneFault, seconds(5)))
	w.given(seconds(7), health(message.HealthRecovered))
	w.given(seconds(8), control("c-1", message.ActionStop))
	w.when(seconds(9), done(dans, 4, message.DoneStopped, seconds(9))).ignores(session.ErrClosed)
	w.when(seconds(10), done(dans, 4, message.DoneRecovered, seconds(5))).ignores(session.ErrClosed)
}

func TestReRegisteringUnderARunningSessionDoesNotChangeItsPrice(t *testing.T) {
	w := supplying(t)
	w.given(seconds(4), registration(999_000))
	w.when(seconds(8), done(dans, 1000, message.DoneFinished, seconds(8)))
	w.judged = true
	if bill := sent[message.Ticket](w); bill.Price != cheap || bill.Amount != 300_000 {
		t.Errorf("billed %s EUR at %s EUR/kWh", bill.Amount, bill.Price)
	}
	w.when(seconds(9), request(eva, "r-2"))
	w.judged = true
	if a := sent[message.Answer](w); !a.Authorized || *a.Price != 999_000 {
		t.Errorf("the next session: %+v", a)
	}
}

func TestRequestsOfAnHourAgoWhenCentralComesBack(t *testing.T) {
	back := at(time.Hour)
	t.Run("are refused, and the refusal is on record", func(t *testing.T) {
		w := free(t)
		w.restart(back)
		w.whenReceived(back, w.record(seconds(2), request(dan, danRequest))).
			stores(ofSession(dans, session.SupplyRefused{
				Point: cp1, Driver: dan, Request: danRequest, Origin: "driver", Reason: "EXPIRED",
			})).
			sends(refusalOf(dan, danRequest, chargingpoint.RefusedExpired))
	})
	t.Run("without an id nobody is told: its driver would take it for the answer to its next one", func(t *testing.T) {
		w := free(t)
		w.restart(back)
		old := w.record(seconds(2), request(dan, ""))
		w.whenReceived(back, old).sendsNothing().countsNothing()
		if len(w.outcome.commits) != 1 {
			t.Error("it is not on record")
		}
		w.whenReceived(back, old).storesNothing().sendsNothing()
	})
	t.Run("of thirty seconds ago are not", func(t *testing.T) {
		w := free(t)
		w.when(seconds(30), health(message.HealthOK)).counts(chargingpoint.ErrUnchanged)
		w.whenReceived(seconds(32), w.record(seconds(2), request(dan, danRequest))).sends(
			startAt(seconds(32)), grantOf(dan, danRequest), state(chargingpoint.Supplying, seconds(32), 4))
	})
	t.Run("whatever else stands against them", func(t *testing.T) {
		w := newWorld(t)
		w.whenReceived(back, w.record(seconds(2), request(dan, danRequest))).sends(refusalOf(dan, danRequest, chargingpoint.RefusedExpired))
	})
}

func TestADriverNeverGetsAnOldGrantForItsNewRequest(t *testing.T) {
	w := closed(t)
	// The supply is over, and its grant says of which request it was.
	w.when(seconds(9), request(dan, danRequest)).
		counts(session.ErrAlreadyAnswered).storesNothing().sends(grantOf(dan, danRequest))
	w.when(seconds(11), request(dan, "r-2"))
	w.judged = true
	if a := sent[message.Answer](w); a.Request != "r-2" || a.Session == dans {
		t.Errorf("answered %+v", a)
	}
}

func TestEachRequestWithoutAnIDIsASessionOfItsOwn(t *testing.T) {
	w := free(t)
	first := w.record(seconds(2), request(dan, ""))
	w.whenReceived(seconds(2), first)
	w.judged = true
	order := sent[message.Order](w)
	t.Run("redelivered, the same one", func(t *testing.T) {
		w.whenReceived(seconds(3), first).storesNothing()
		if again := sent[message.Order](w); again.Session != order.Session || again.Number != order.Number {
			t.Errorf("started %+v, then %+v", order, again)
		}
	})
	w.given(seconds(4), done(order.Session, 0, message.DoneFinished, seconds(4)))
	w.when(seconds(5), request(dan, ""))
	w.judged = true
	if next := sent[message.Order](w); next.Session == order.Session {
		t.Error("the next request made the same session")
	}
}

func TestSessionsAreStoredAndTicketsSent(t *testing.T) {
	w := closed(t)
	parts, err := w.central.Restore(t.Context(), central.SessionStream(dans))
	if err != nil {
		t.Fatal(err)
	}
	s := session.New(dans)
	for _, p := range parts {
		for _, e := range p.Events {
			if err := s.Apply(p.At, e.(session.Event)); err != nil {
				t.Fatal(err)
			}
		}
	}
	bill, ok := s.Ticket()
	if !ok || bill.Energy != 5_000 || bill.Amount != 1_500 || s.Request().Driver != dan {
		t.Errorf("stored %+v of %+v", bill, s.Request())
	}
	if m := sent[message.Ticket](w); m.Energy != bill.Energy || m.Amount != bill.Amount || m.ID != bill.ID || len(m.Digest) != 64 {
		t.Errorf("sent %+v", m)
	}
}

func TestAStartOfABrokenPointDoesNotLeaveTheDriverWaiting(t *testing.T) {
	w := granted(t)
	// The Engine can't obey: its done has zeros.
	w.when(seconds(3), done(dans, 0, message.DoneRefused, seconds(3))).sends(
		w.ticket(message.Ticket{StartedAt: seconds(2), EndedAt: seconds(3), Reason: "REFUSED"}),
		state(chargingpoint.Activated, seconds(3), 5))
}

func TestOutOfOrderOutlivesARecovery(t *testing.T) {
	w := free(t)
	w.given(seconds(3), control("c-1", message.ActionStop))
	w.given(seconds(4), health(message.HealthKO))
	w.when(seconds(5), health(message.HealthRecovered)).sends(state(chargingpoint.OutOfOrder, seconds(5), 6))
}

func TestATicketsReasonIsTheCauseThatCameFirst(t *testing.T) {
	for _, c := range []struct {
		name string
		ends func(w *world)
		want string
	}{
		{"the done's where Central did not end it", func(*world) {}, "UNPLUGGED"},
		{"a fault, then a stop", func(w *world) {
			w.given(seconds(5), health(message.HealthKO))
			w.given(seconds(6), control("c-1", message.ActionStop))
		}, "KO"},
		{"a stop, then a fault", func(w *world) {
			w.given(seconds(5), control("c-1", message.ActionStop))
			w.given(seconds(6), health(message.HealthKO))
		}, "STOP_BY_CENTRAL"},
		{"a lost lease, then a fault", func(w *world) {
			w.given(seconds(16), leaseDeadline())
			w.given(seconds(17), health(message.HealthKO))
		}, "DISCONNECTED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := supplying(t)
			c.ends(w)
			w.when(seconds(20), done(dans, 5, message.DoneUnplugged, seconds(20)))
			w.judged = true
			if bill := sent[message.Ticket](w); bill.Reason != c.want {
				t.Errorf("the ticket says %s, want %s", bill.Reason, c.want)
			}
		})
	}
}

func TestEnergyWithoutAFigureIsComputedFromTheAmountAndBilledOnlyWithoutADone(t *testing.T) {
	amount := func(seq int64, m domain.MicroEuros) message.MeterValue {
		v := sample(dans, seq, 0, 0)
		v.Energy, v.Amount = nil, m
		return v
	}
	t.Run("with a done", func(t *testing.T) {
		w := granted(t)
		w.given(seconds(3), amount(1, 3*euro))
		w.when(seconds(5), done(dans, 9_000, message.DoneFinished, 0))
		w.judged = true
		if bill := sent[message.Ticket](w); bill.Energy != 9*kWh {
			t.Errorf("billed %s kWh", bill.Energy)
		}
	})
	t.Run("without", func(t *testing.T) {
		w := granted(t)
		w.given(seconds(3), amount(1, 3*euro))
		w.given(seconds(4), health(message.HealthKO))
		w.when(seconds(64), deadline(dans, session.FinalReport, seconds(64)))
		w.judged = true
		if bill := sent[message.Ticket](w); bill.Energy != 10*kWh || bill.Amount != 3*euro {
			t.Errorf("billed %s kWh, %s EUR", bill.Energy, bill.Amount)
		}
	})
}
