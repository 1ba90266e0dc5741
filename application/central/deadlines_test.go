package central_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// Deadlines: each row of the table, and when silence counts.

func TestALeaseThatRanOutDisconnectsThePoint(t *testing.T) {
	t.Run("and ends its supply in the same turn", func(t *testing.T) {
		w := supplying(t)
		w.given(seconds(10), sample(dans, 2, 2, seconds(10)))
		w.when(seconds(16), leaseDeadline()).
			stores(
				ofPoint(
					chargingpoint.PointDisconnected{LastHeard: seconds(1), Lease: lease},
					stopOrdered(seconds(16), "DISCONNECTED")),
				ofSession(dans, session.EndDecided{Cause: session.CauseDisconnected, Due: seconds(76)})).
			sends(stopAt(seconds(16), "DISCONNECTED"), state(chargingpoint.Disconnected, seconds(16), 6))
		w.when(seconds(17), request(eva, "r-2")).sends(refusalOf(eva, "r-2", chargingpoint.RefusedDisconnected))
		w.when(seconds(18), done(dans, 3, message.DoneStopped, seconds(18))).sends(
			w.ticket(message.Ticket{StartedAt: seconds(3), EndedAt: seconds(18), Energy: 3_000, Reason: "DISCONNECTED"}),
			state(chargingpoint.Disconnected, seconds(18), 7))
	})
	t.Run("not a millisecond before", func(t *testing.T) {
		w := free(t)
		w.when(seconds(16)-1, leaseDeadline()).ignores(chargingpoint.ErrDeadlineGone)
	})
	t.Run("not where the point was heard meanwhile", func(t *testing.T) {
		w := free(t)
		w.when(seconds(6), health(message.HealthOK)).counts(chargingpoint.ErrUnchanged)
		w.when(seconds(16), leaseDeadline()).ignores(chargingpoint.ErrDeadlineGone)
	})
	t.Run("5 s later where another Central may have heard it", func(t *testing.T) {
		w := free(t)
		w.central.Shared = true
		w.when(seconds(21)-1, leaseDeadline()).ignores(chargingpoint.ErrDeadlineGone)
		w.when(seconds(21), leaseDeadline()).
			stores(ofPoint(chargingpoint.PointDisconnected{LastHeard: seconds(1), Lease: lease}))
	})
	t.Run("once", func(t *testing.T) {
		w := free(t)
		w.given(seconds(16), leaseDeadline())
		w.when(seconds(17), leaseDeadline()).ignores(chargingpoint.ErrDeadlineGone)
	})
	t.Run("and grants nothing more, also before the deadline is noticed", func(t *testing.T) {
		w := free(t)
		w.when(seconds(16), request(dan, danRequest)).sends(refusalOf(dan, danRequest, chargingpoint.RefusedDisconnected))
	})
}

func TestAPointWithoutALeaseNeverGoesGreyBySilence(t *testing.T) {
	w := newWorld(t)
	w.given(seconds(0), registration(cheap))
	silent := health(message.HealthOK)
	silent.LeaseSeconds = 0
	w.given(seconds(1), silent)
	w.when(at(time.Hour), leaseDeadline()).ignores(chargingpoint.ErrDeadlineGone)
	w.restart(at(2 * time.Hour))
	w.when(at(3*time.Hour), request(dan, danRequest)).sends(
		startAt(at(3*time.Hour)), grantOf(dan, danRequest), state(chargingpoint.Supplying, at(3*time.Hour), 4))
}

func TestAnAuthorizationThatNobodyTakesUpExpires(t *testing.T) {
	w := granted(t)
	w.when(seconds(62), deadline(dans, session.TakeUp, seconds(62))).
		stores(
			ofPoint(stopOrdered(seconds(62), "EXPIRED"), chargingpoint.PointReleased{Session: dans}),
			ofSession(dans,
				session.EndDecided{Cause: session.CauseExpired, Due: seconds(62)},
				session.TicketIssued{
					Ticket: ticketID(), StartedAt: seconds(2), EndedAt: seconds(62), Price: cheap, Reason: "EXPIRED",
				})).
		sends(
			stopAt(seconds(62), "EXPIRED"),
			w.ticket(message.Ticket{StartedAt: seconds(2), EndedAt: seconds(62), Reason: "EXPIRED"}),
			state(chargingpoint.Activated, seconds(62), 6))
	t.Run("and what it supplied all the same is billed by a revision", func(t *testing.T) {
		w.when(seconds(70), done(dans, 4, message.DoneStopped, seconds(69))).sends(
			w.ticket(message.Ticket{
				StartedAt: seconds(2), EndedAt: seconds(69), Energy: 4_000, Reason: "EXPIRED", Revision: 1,
				Revised: message.Revised{Difference: 1_200, Reason: "STOP_BY_CENTRAL"},
			}))
	})
}

func TestASilentSupplyIsEnded(t *testing.T) {
	w := supplying(t)
	w.when(seconds(63), deadline(dans, session.Silence, seconds(63))).
		stores(
			ofPoint(stopOrdered(seconds(63), "DISCONNECTED")),
			ofSession(dans, session.EndDecided{Cause: session.CauseDisconnected, Due: seconds(123)})).
		sends(stopAt(seconds(63), "DISCONNECTED"), state(chargingpoint.Supplying, seconds(63), 5))
}

func TestASessionClosesOnItsLastReportWhereNoDoneComes(t *testing.T) {
	given := func(t *testing.T) *world {
		w := supplying(t)
		w.given(seconds(4), sample(dans, 2, 2, seconds(4)))
		w.given(seconds(5), sample(dans, 3, 7, seconds(5)))
		w.given(seconds(6), health(message.HealthKO))
		return w
	}
	closes := func(w *world) {
		w.Helper()
		w.when(seconds(66), deadline(dans, session.FinalReport, seconds(66))).
			stores(
				ofPoint(chargingpoint.PointReleased{Session: dans}),
				ofSession(dans, session.TicketIssued{
					Ticket: ticketID(), StartedAt: seconds(3), EndedAt: seconds(5), Energy: 7_000, Price: cheap, Amount: 2_100, Reason: "KO",
				})).
			sends(
				w.ticket(message.Ticket{StartedAt: seconds(3), EndedAt: seconds(5), Energy: 7_000, Reason: "KO"}),
				state(chargingpoint.Broken, seconds(66), 7))
	}
	t.Run("", func(t *testing.T) { closes(given(t)) })
	// The log gives a stream's lifecycle without the samples before it.
	t.Run("of a Central that was restarted meanwhile", func(t *testing.T) {
		w := given(t)
		w.lane = w.central.Lane()
		closes(w)
	})
	t.Run("of a Central that was restarted after a sample that came late", func(t *testing.T) {
		w := given(t)
		w.given(seconds(7), sample(dans, 4, 8, seconds(6)))
		w.lane = w.central.Lane()
		w.when(seconds(66), deadline(dans, session.FinalReport, seconds(66)))
		w.judged = true
		if bill := sent[message.Ticket](w); bill.Energy != 8_000 {
			t.Errorf("billed %s kWh", bill.Energy)
		}
	})
}

func TestADeadlineThatDoesNotStandIsIgnored(t *testing.T) {
	for name, c := range map[string]message.Control{
		"another due":       deadline(dans, session.Silence, seconds(62)),
		"another kind":      deadline(dans, session.FinalReport, seconds(63)),
		"no such session":   deadline("none", session.Silence, seconds(63)),
		"an unknown kind":   deadline(dans, "coffee", seconds(63)),
		"kind and due of 0": deadline(dans, "", 0),
	} {
		t.Run(name, func(t *testing.T) {
			w := supplying(t)
			w.when(seconds(90), c).ignores(session.ErrDeadlineGone)
		})
	}
	t.Run("a report came meanwhile", func(t *testing.T) {
		w := supplying(t)
		w.given(seconds(60), sample(dans, 2, 2, seconds(60)))
		w.when(seconds(63), deadline(dans, session.Silence, seconds(63))).ignores(session.ErrDeadlineGone)
	})
	t.Run("the session is closed", func(t *testing.T) {
		w := closed(t)
		w.when(seconds(63), deadline(dans, session.Silence, seconds(63))).ignores(session.ErrDeadlineGone)
	})
}

func TestADeadlineOfAnotherPointsSessionIsRejected(t *testing.T) {
	w := supplying(t)
	c := deadline(dans, session.Silence, seconds(63))
	c.Point = cp2
	w.when(seconds(63), c).rejects(session.ErrForeignPoint)
}

func TestSilenceCountsOnlyWhileItCouldHaveBeenHeard(t *testing.T) {
	outages := map[string]func(w *world){
		"Central was away": func(w *world) {
			w.restart(seconds(63))
			// What was reported meanwhile, and before: nobody is heard by it now.
		},
		"the broker was away": func(w *world) { w.listening.Deaf(seconds(63)) },
		"records come late": func(w *world) {
			w.whenReceived(seconds(63), w.record(seconds(57), registration(cheap)))
			w.judged = true
		},
		"the store refused": func(w *world) {
			log := w.central.Log
			w.central.Log = failing{log}
			w.when(seconds(63), health(message.HealthKO))
			w.judged = true
			if !errors.Is(w.outcome.err, errAway) {
				w.Fatalf("the record: %v", w.outcome.err)
			}
			w.central.Log = log
		},
		"the broker took nothing": func(w *world) {
			w.central.Publisher = failingPublisher{}
			w.when(seconds(63), control("c-9", message.ActionResume))
			w.judged = true
			if !errors.Is(w.outcome.err, errAway) {
				w.Fatalf("the record: %v", w.outcome.err)
			}
			w.central.Publisher = w
		},
	}
	for name, outage := range outages {
		t.Run("a report is not late: "+name, func(t *testing.T) {
			w := supplying(t)
			outage(w)
			w.when(seconds(123)-1, deadline(dans, session.Silence, seconds(63))).ignores(session.ErrDeadlineGone)
			w.when(seconds(123), deadline(dans, session.Silence, seconds(63))).
				stores(
					ofPoint(stopOrdered(seconds(123), "DISCONNECTED")),
					ofSession(dans, session.EndDecided{Cause: session.CauseDisconnected, Due: seconds(183)}))
		})
		t.Run("a lease has not run out: "+name, func(t *testing.T) {
			w := free(t)
			outage(w)
			w.when(seconds(78)-1, leaseDeadline()).ignores(chargingpoint.ErrDeadlineGone)
			w.when(seconds(78), leaseDeadline())
			w.judged = true
			if len(w.outcome.commits) != 1 {
				t.Error("the lease ran out 15 s after the outage")
			}
		})
	}
}

var errAway = errors.New("the store is away")

// failing is a log whose store is away.
type failing struct{ eventlog.Log }

func (f failing) Append(context.Context, eventlog.Commit) error { return errAway }

// failingPublisher is a broker that is away.
type failingPublisher struct{}

func (failingPublisher) Publish(context.Context, central.Publication) error { return errAway }

func TestARestartedCentralGrantsNothingBeforeItHearsThePoint(t *testing.T) {
	w := free(t)
	w.restart(seconds(10))
	w.when(seconds(11), request(dan, danRequest)).sends(refusalOf(dan, danRequest, chargingpoint.RefusedDisconnected))
	w.when(seconds(12), health(message.HealthOK)).ignores(chargingpoint.ErrUnchanged) // a restart stores nothing
	w.when(seconds(13), request(eva, "r-2"))
	w.judged = true
	if a := sent[message.Answer](w); !a.Authorized {
		t.Errorf("refused %s after the point was heard", a.Reason)
	}
}

func TestAReportWhoseLeaseHasRunOutIsNoSignOfLife(t *testing.T) {
	w := free(t)
	w.restart(at(time.Hour))
	w.whenReceived(at(time.Hour), w.record(seconds(6), health(message.HealthOK))).ignores(chargingpoint.ErrUnchanged)
	w.when(at(time.Hour+time.Second), request(dan, danRequest)).sends(refusalOf(dan, danRequest, chargingpoint.RefusedDisconnected))
	// One that is late, and whose lease has not run out, is.
	w.whenReceived(at(time.Hour+2*time.Second), w.record(at(time.Hour-8*time.Second), health(message.HealthOK))).
		ignores(chargingpoint.ErrUnchanged)
	w.when(at(time.Hour+4*time.Second), request(eva, "r-2"))
	w.judged = true
	if a := sent[message.Answer](w); !a.Authorized {
		t.Errorf("refused %s though the lease stands", a.Reason)
	}
}

func TestAClockThatIsSetBackStopsNothing(t *testing.T) {
	w := free(t)
	// Until here Central's clock was an hour ahead, and so are the streams.
	back := func(s int) domain.UnixMillis { return seconds(s).Add(-time.Hour) }
	w.whenReceived(back(10), w.record(back(10), health(message.HealthOK))).counts(chargingpoint.ErrNotLater)
	w.whenReceived(back(10), w.record(seconds(10), health(message.HealthOK))).ignores(chargingpoint.ErrUnchanged)
	w.when(back(11), request(dan, danRequest))
	w.judged = true
	if a := sent[message.Answer](w); !a.Authorized {
		t.Fatalf("sent\n%s", describe(w.outcome.messages))
	}
	if c := w.outcome.commits[0]; c.At != seconds(1) {
		t.Errorf("decided at %s, before what its stream says", c.At)
	}
	// Nor does it make a lease run out.
	w.when(back(12), leaseDeadline()).ignores(chargingpoint.ErrDeadlineGone)
	w.when(back(25), leaseDeadline())
	w.judged = true
	if len(w.outcome.commits) != 1 {
		t.Error("the lease has run out by the clock that heard it")
	}
}

func TestAPointThatComesBackIsConnectedAgain(t *testing.T) {
	w := free(t)
	w.given(seconds(16), leaseDeadline())
	w.when(seconds(20), health(message.HealthOK)).
		stores(ofPoint(chargingpoint.PointConnected{Lease: lease, ReportedAt: seconds(20)})).
		sends(state(chargingpoint.Activated, seconds(20), 5))
}

// The index, and who posts what it finds.

type poster struct {
	err    error
	posted []message.Control
}

func (p *poster) Post(_ context.Context, controls []message.Control) error {
	if p.err == nil {
		p.posted = append(p.posted, controls...)
	}
	return p.err
}

// ticks lets the watch look at an instant, and gives what it posted without its ids.
func ticks(t *testing.T, w *world, watch *central.Watch, p *poster, now domain.UnixMillis) []message.Control {
	t.Helper()
	p.posted = nil
	if err := watch.Tick(w.Context(), now); err != nil {
		t.Fatal(err)
	}
	for i := range p.posted {
		if p.posted[i].ID == "" {
			t.Error("a deadline without an id")
		}
		p.posted[i].ID = ""
	}
	return p.posted
}

func TestTheWatchPostsWhatIsDue(t *testing.T) {
	session1 := func(kind session.DeadlineKind, due domain.UnixMillis) message.Control {
		return deadline(dans, kind, due)
	}
	leaseDue := func(due domain.UnixMillis) message.Control {
		c := leaseDeadline()
		c.DueAt = due
		return c
	}
	for _, c := range []struct {
		name  string
		given func(testing.TB) *world
		now   domain.UnixMillis
		want  []message.Control
	}{
		{"nothing of a free point that is heard", free, seconds(15), nil},
		{"a lease", free, seconds(16), []message.Control{leaseDue(seconds(16))}},
		{"no take-up before its time", granted, seconds(15), nil},
		{"a take-up", granted, seconds(62), []message.Control{leaseDue(seconds(16)), session1(session.TakeUp, seconds(62))}},
		{"a silence", supplying, seconds(63), []message.Control{leaseDue(seconds(16)), session1(session.Silence, seconds(63))}},
		{"a final report", func(t testing.TB) *world {
			w := supplying(t)
			w.given(seconds(5), health(message.HealthKO))
			return w
		}, seconds(65), []message.Control{leaseDue(seconds(20)), session1(session.FinalReport, seconds(65))}},
		{"nothing of a closed session", closed, seconds(15), nil},
		{"nothing of a point that is disconnected", func(t testing.TB) *world {
			w := free(t)
			w.given(seconds(16), leaseDeadline())
			return w
		}, at(time.Hour), nil},
		{"nothing before it could have been heard", func(t testing.TB) *world {
			w := supplying(t)
			w.listening.Deaf(seconds(60))
			return w
		}, seconds(74), nil},
		{"what could have been heard", func(t testing.TB) *world {
			w := supplying(t)
			w.listening.Deaf(seconds(60))
			return w
		}, seconds(120), []message.Control{leaseDue(seconds(75)), session1(session.Silence, seconds(63))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, p := c.given(t), &poster{}
			watch := &central.Watch{Index: w.deadlines, Listening: w.listening, Poster: p}
			got := ticks(t, w, watch, p, c.now)
			slices.SortFunc(got, func(a, b message.Control) int { return len(a.Session) - len(b.Session) })
			if !slices.Equal(got, c.want) {
				t.Errorf("posted\n%swant\n%s", describe(got), describe(c.want))
			}
		})
	}
}

func TestADeadlineIsPostedAtMostOnceInFiveSeconds(t *testing.T) {
	w, p := granted(t), &poster{}
	watch := &central.Watch{Index: w.deadlines, Listening: w.listening, Poster: p}
	var times []int
	for s := 62; s < 75; s++ {
		for _, c := range ticks(t, w, watch, p, seconds(s)) {
			if c.Kind == string(session.TakeUp) {
				times = append(times, s)
			}
		}
	}
	if !slices.Equal(times, []int{62, 67, 72}) {
		t.Errorf("posted at %v s", times)
	}
}

func TestADeadlineThatTheBrokerDidNotTakeIsPostedAgain(t *testing.T) {
	w, p := granted(t), &poster{err: errAway}
	watch := &central.Watch{Index: w.deadlines, Listening: w.listening, Poster: p}
	if err := watch.Tick(w.Context(), seconds(62)); !errors.Is(err, errAway) {
		t.Fatalf("the tick: %v", err)
	}
	p.err = nil
	if got := ticks(t, w, watch, p, seconds(63)); len(got) != 2 {
		t.Errorf("posted\n%s", describe(got))
	}
}

func TestACentralThatWasSuspendedHeardNobodyMeanwhile(t *testing.T) {
	w, p := free(t), &poster{}
	watch := &central.Watch{Index: w.deadlines, Listening: w.listening, Poster: p}
	// Heard at 1 s with a lease of 15 s, suspended at 5 s, on at 60 s: due 15 s later.
	for _, s := range []int{4, 5, 60} {
		if got := ticks(t, w, watch, p, seconds(s)); len(got) > 0 {
			t.Fatalf("posted at %d s:\n%s", s, describe(got))
		}
	}
	for s := 61; s < 75; s++ {
		if got := ticks(t, w, watch, p, seconds(s)); len(got) > 0 {
			t.Fatalf("posted at %d s:\n%s", s, describe(got))
		}
	}
	if got := ticks(t, w, watch, p, seconds(75)); len(got) != 1 {
		t.Errorf("posted at 75 s:\n%s", describe(got))
	}
}

func TestACentralThatWasSuspendedBeforeItsFirstTickOrInOneHeardNobodyMeanwhile(t *testing.T) {
	for name, suspended := range map[string]func(*central.Watch, *testing.T, *world, *poster){
		"before the first tick": func(watch *central.Watch, _ *testing.T, _ *world, _ *poster) {
			watch.Awake(seconds(1))
		},
		"in a tick": func(watch *central.Watch, t *testing.T, w *world, p *poster) {
			ticks(t, w, watch, p, seconds(5))
			watch.Awake(seconds(60))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := free(t), &poster{}
			watch := &central.Watch{Index: w.deadlines, Listening: w.listening, Poster: p}
			suspended(watch, t, w, p)
			if got := ticks(t, w, watch, p, seconds(60)); len(got) > 0 {
				t.Errorf("posted at 60 s:\n%s", describe(got))
			}
			if since := w.listening.Since(); since != seconds(60) {
				t.Errorf("it has been listening since %s, want 60 s", since)
			}
		})
	}
}

func TestWhatTheWatchPostsIsWhatTheTurnActsOn(t *testing.T) {
	w, p := supplying(t), &poster{}
	w.given(seconds(20), sample(dans, 2, 5, seconds(20)))
	watch := &central.Watch{Index: w.deadlines, Listening: w.listening, Poster: p}
	now := seconds(20)
	for range 300 {
		now = now.Add(time.Second)
		for _, c := range ticks(t, w, watch, p, now) {
			c.ID = "d"
			w.given(now, c)
		}
	}
	var reasons []string
	for _, c := range w.commits() {
		for _, p := range c.Parts {
			for _, e := range decodeAll(t, p) {
				switch e := e.(type) {
				case chargingpoint.PointDisconnected:
					reasons = append(reasons, "disconnected")
				case session.TicketIssued:
					reasons = append(reasons, e.Reason+" "+e.Energy.String())
				}
			}
		}
	}
	if !slices.Equal(reasons, []string{"disconnected", "DISCONNECTED 0.005"}) {
		t.Errorf("%v", reasons)
	}
}
