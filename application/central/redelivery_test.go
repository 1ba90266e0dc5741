package central_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// A redelivered turn publishes what is still true, and decides nothing anew.

func TestARedeliveredGrant(t *testing.T) {
	given := func(t *testing.T) (*world, message.Received) {
		w := free(t)
		r := w.given(seconds(2), request(dan, danRequest))
		return w, r
	}
	t.Run("is sent again as it was", func(t *testing.T) {
		w, r := given(t)
		w.whenReceived(seconds(4), r).storesNothing().countsNothing().
			sends(startAt(seconds(2)), grantOf(dan, danRequest), state(chargingpoint.Supplying, seconds(2), 4))
	})
	t.Run("by another Central", func(t *testing.T) {
		w, r := given(t)
		w.restart(seconds(3))
		w.whenReceived(seconds(4), r).storesNothing().countsNothing().
			sends(startAt(seconds(2)), grantOf(dan, danRequest), state(chargingpoint.Supplying, seconds(2), 4))
	})
	t.Run("without the start when it is no longer valid", func(t *testing.T) {
		w, r := given(t)
		w.whenReceived(seconds(32)+1, r).storesNothing().
			sends(grantOf(dan, danRequest), state(chargingpoint.Supplying, seconds(2), 4))
	})
	t.Run("without the start once a report of its session is stored", func(t *testing.T) {
		w, r := given(t)
		w.given(seconds(3), sample(dans, 1, 1, seconds(3)))
		w.whenReceived(seconds(4), r).storesNothing().
			sends(grantOf(dan, danRequest), state(chargingpoint.Supplying, seconds(2), 4))
	})
	t.Run("without the start after a newer order", func(t *testing.T) {
		w, r := given(t)
		w.given(seconds(3), control("c-1", message.ActionStop))
		w.whenReceived(seconds(4), r).storesNothing().
			sends(grantOf(dan, danRequest), state(chargingpoint.OutOfOrder, seconds(3), 5))
	})
	t.Run("when its session is closed, too: its driver may not have been told", func(t *testing.T) {
		w, r := given(t)
		w.given(seconds(3), done(dans, 0, message.DoneRefused, seconds(3)))
		w.whenReceived(seconds(4), r).storesNothing().
			sends(grantOf(dan, danRequest), state(chargingpoint.Activated, seconds(3), 5))
	})
	t.Run("but not where the request has no id: its driver would take it for the answer to its next one", func(t *testing.T) {
		w := free(t)
		r := w.record(seconds(2), request(dan, ""))
		w.whenReceived(seconds(2), r)
		w.judged = true
		w.given(seconds(3), done(sent[message.Order](w).Session, 0, message.DoneRefused, seconds(3)))
		w.whenReceived(seconds(4), r).storesNothing().sends(state(chargingpoint.Activated, seconds(3), 5))
	})
}

func TestARedeliveredRefusalStaysOne(t *testing.T) {
	w := granted(t)
	r := w.given(seconds(3), request(eva, "r-2"))
	w.given(seconds(4), done(dans, 0, message.DoneFinished, seconds(4)))
	w.whenReceived(seconds(9), r).storesNothing().countsNothing().sends(refusalOf(eva, "r-2", chargingpoint.RefusedOccupied))
}

func TestARedeliveredStop(t *testing.T) {
	t.Run("is ordered again", func(t *testing.T) {
		w := supplying(t)
		r := w.given(seconds(5), control("c-1", message.ActionStop))
		w.whenReceived(seconds(6), r).storesNothing().countsNothing().sends(
			orderAt(seconds(5), message.OrderOutOfOrder), stopAt(seconds(5), "STOP_BY_CENTRAL"),
			answering(state(chargingpoint.OutOfOrder, seconds(5), 5), "c-1", ""))
	})
	for name, resumedAt := range map[string]domain.UnixMillis{"after a resume": seconds(6), "after a resume at the same instant": seconds(5)} {
		t.Run("is answered as carried out, but not ordered again "+name, func(t *testing.T) {
			w := supplying(t)
			r := w.given(seconds(5), control("c-1", message.ActionStop))
			w.given(resumedAt, control("c-2", message.ActionResume))
			w.whenReceived(seconds(7), r).storesNothing().countsNothing().sends(
				answering(state(chargingpoint.Supplying, resumedAt, 6), "c-1", ""))
		})
	}
	t.Run("is not ordered again a day later", func(t *testing.T) {
		w := free(t)
		r := w.given(seconds(5), control("c-1", message.ActionStop))
		w.whenReceived(seconds(6).Add(24*time.Hour), r).storesNothing().sends(
			answering(state(chargingpoint.OutOfOrder, seconds(5), 4), "c-1", ""))
	})
}

func TestARedeliveredResumeIsNotOrderedAgainAfterAStart(t *testing.T) {
	w := free(t)
	w.given(seconds(3), control("c-1", message.ActionStop))
	r := w.given(seconds(4), control("c-2", message.ActionResume))
	w.given(seconds(5), request(dan, danRequest))
	w.whenReceived(seconds(6), r).storesNothing().sends(answering(state(chargingpoint.Supplying, seconds(5), 6), "c-2", ""))
}

func TestARedeliveredPriceIsNotSetAgain(t *testing.T) {
	w := free(t)
	price := domain.MicroEurosPerKWh(500_000)
	set := control("c-1", message.ActionPrice)
	set.Price = &price
	r := w.given(seconds(2), set)
	w.given(seconds(3), control("c-2", message.ActionPrice))
	w.whenReceived(seconds(4), r).storesNothing().sends(answering(state(chargingpoint.Activated, seconds(3), 5), "c-1", ""))
}

func TestARedeliveredDoneSendsTheTicketAsItWas(t *testing.T) {
	w := supplying(t)
	r := w.given(seconds(8), done(dans, 5, message.DoneFinished, seconds(8)))
	want := w.ticket(message.Ticket{StartedAt: seconds(3), EndedAt: seconds(8), Energy: 5_000, Reason: "FINISHED"})
	w.whenReceived(seconds(9), r).storesNothing().countsNothing().sends(want, state(chargingpoint.Activated, seconds(8), 5))
	t.Run("also after a revision", func(t *testing.T) {
		w.given(seconds(10), done(dans, 7, message.DoneRecovered, seconds(9)))
		w.whenReceived(seconds(11), r).storesNothing().countsNothing().sends(want, state(chargingpoint.Activated, seconds(8), 5))
	})
}

func TestARedeliveredDeadlineIsFinished(t *testing.T) {
	w := granted(t)
	r := w.given(seconds(62), deadline(dans, session.TakeUp, seconds(62)))
	w.listening.Deaf(seconds(63)) // the first try did not reach the broker
	w.whenReceived(seconds(63), r).storesNothing().countsNothing().sends(
		stopAt(seconds(62), "EXPIRED"),
		w.ticket(message.Ticket{StartedAt: seconds(2), EndedAt: seconds(62), Reason: "EXPIRED"}),
		state(chargingpoint.Activated, seconds(62), 6))
}

func TestARedeliveredSampleIsNotNewer(t *testing.T) {
	for name, seq := range map[string]int64{"with a number": 2, "without": 0} {
		t.Run(name, func(t *testing.T) {
			w := supplying(t)
			r := w.given(seconds(4), sample(dans, seq, 2, seconds(4)))
			w.whenReceived(seconds(5), r).ignores(session.ErrNotNewer)
		})
	}
}

// What was stored can't be refused afterwards, whatever has changed.

func TestARedeliveredRegistrationIsNotRejected(t *testing.T) {
	w := secured(t)
	r := w.given(seconds(1), proved("s3cret", "0.3", seconds(0)))
	second := proved("s3cret", "0.5", seconds(1))
	w.given(seconds(1), second) // within the same millisecond of Kafka's
	w.whenReceived(seconds(2), r).storesNothing().countsNothing()
	if w.judged = true; w.outcome.err != nil {
		t.Errorf("a registration that was stored is rejected: %v", w.outcome.err)
	}
	t.Run("also when its secret was changed", func(t *testing.T) {
		w.central.Secrets = secrets{cp1: "another"}
		w.whenReceived(seconds(2), r).storesNothing().countsNothing()
		if w.judged = true; w.outcome.err != nil {
			t.Errorf("a registration that was stored is rejected: %v", w.outcome.err)
		}
	})
}

// Counts.

func TestWhatIsIgnoredIsCountedOnce(t *testing.T) {
	t.Run("where the broker fails meanwhile", func(t *testing.T) {
		w := granted(t)
		w.central.Publisher = failingPublisher{}
		again := w.record(seconds(3), request(dan, danRequest))
		for range 3 {
			w.whenReceived(seconds(3), again)
			w.judged = true
			if !errors.Is(w.outcome.err, errAway) {
				t.Fatalf("the record: %v", w.outcome.err)
			}
			w.countsNothing()
		}
		w.central.Publisher = w
		w.whenReceived(seconds(4), again).counts(session.ErrAlreadyAnswered).sends(grantOf(dan, danRequest))
	})
	t.Run("where another Central wrote meanwhile", func(t *testing.T) {
		w := closed(t)
		w.given(seconds(11), health(message.HealthKO)) // the lane keeps the point
		other := w.central.Lane()
		r := w.record(seconds(12), health(message.HealthOK))
		w.lane, other = other, w.lane
		w.whenReceived(seconds(12), r)
		w.judged = true
		w.lane = other
		w.when(seconds(13), sample(dans, 9, 9, seconds(13))).counts(session.ErrClosed)
	})
}

// Two Centrals write to one log.

// twoCentrals are two lanes that keep aggregates over one log.
func twoCentrals(w *world) (first, second *central.Lane) { return w.lane, w.central.Lane() }

func TestACentralThatMissedAChangeDoesNotRefuseForEver(t *testing.T) {
	w := granted(t)
	w.given(seconds(3), request(eva, "r-2")) // refused: the lane keeps the point as occupied
	first, second := twoCentrals(w)
	w.lane = second
	w.given(seconds(4), done(dans, 0, message.DoneFinished, seconds(4)))
	w.lane = first
	w.when(seconds(5), request(eva, "r-3"))
	w.judged = true
	if a := sent[message.Answer](w); !a.Authorized {
		t.Errorf("sent\n%s", describe(w.outcome.messages))
	}
}

func TestACentralThatMissedAChangeDoesNotIgnoreForEver(t *testing.T) {
	w := supplying(t)
	first, second := twoCentrals(w)
	w.lane = second
	w.given(seconds(4), sample(dans, 2, 2, seconds(4)))
	w.given(seconds(5), health(message.HealthKO))
	w.lane = first
	t.Run("a recovery", func(t *testing.T) {
		w.when(seconds(6), health(message.HealthOK)).sends(state(chargingpoint.Supplying, seconds(6), 7))
	})
	t.Run("a deadline", func(t *testing.T) {
		w.when(seconds(65), deadline(dans, session.FinalReport, seconds(65)))
		w.judged = true
		if bill := sent[message.Ticket](w); bill.Energy != 2_000 {
			t.Errorf("sent\n%s", describe(w.outcome.messages))
		}
	})
}

func TestAConflictDecidesAgain(t *testing.T) {
	w := supplying(t)
	first, second := twoCentrals(w)
	w.lane = second
	w.given(seconds(4), sample(dans, 2, 5, seconds(4)))
	w.lane = first
	w.when(seconds(5), sample(dans, 3, 4, seconds(5))).ignores(session.ErrRunsBackwards)
	w.when(seconds(6), sample(dans, 4, 6, seconds(6))).countsNothing()
	if v := w.outcome.commits[0].Parts[0].Version; v != 5 {
		t.Errorf("stored at version %d", v)
	}
}

func TestATurnThatIsContendedForEverComesAgain(t *testing.T) {
	w := free(t)
	w.central.Log = contended{w.log}
	w.when(seconds(5), health(message.HealthKO))
	w.judged = true
	if !errors.Is(w.outcome.err, central.ErrContended) {
		t.Errorf("the record: %v", w.outcome.err)
	}
	if w.listening.Since() != 0 {
		t.Error("a contended stream is no outage")
	}
}

type contended struct{ eventlog.Log }

func (contended) Append(_ context.Context, c eventlog.Commit) error {
	return &eventlog.ConflictError{Stream: c.Parts[0].Stream}
}

// Damage.

// damaged is a codec that can't read the parts of a stream.
type damaged struct {
	eventjson.Codec
	log    eventlog.Log
	stream eventlog.Stream
}

func (d damaged) Decode(body []byte) (central.Envelope, error) {
	for c, err := range d.log.Read(context.Background(), d.stream, 0) {
		if err == nil && string(c.Parts[0].Body) == string(body) {
			return central.Envelope{}, eventjson.ErrUnknownEvent
		}
	}
	return d.Codec.Decode(body)
}

func TestAStreamThatCannotBeReadStopsNobodyElse(t *testing.T) {
	w := supplying(t)
	w.lane = w.central.Lane()
	w.central.Codec = damaged{log: w.log, stream: central.SessionStream(dans)}
	w.when(seconds(4), sample(dans, 2, 2, seconds(4))).rejects(eventlog.ErrDamaged)
	w.when(seconds(4), done(dans, 2, message.DoneFinished, seconds(4))).rejects(eventlog.ErrDamaged)
	w.when(seconds(5), request(eva, "r-2")).sends(refusalOf(eva, "r-2", chargingpoint.RefusedOccupied))
	other := registration(cheap)
	other.Point = cp2
	w.given(seconds(6), other)
	if w.listening.Since() != 0 {
		t.Error("a damaged stream is no outage")
	}
}

// swapped is a codec that reads an event of the other aggregate.
type swapped struct{ eventjson.Codec }

func (s swapped) Decode(body []byte) (central.Envelope, error) {
	e, err := s.Codec.Decode(body)
	for i, event := range e.Events {
		switch event.(type) {
		case chargingpoint.Event:
			e.Events[i] = session.SupplyStarted{}
		case session.Event:
			e.Events[i] = chargingpoint.PointReleased{}
		}
	}
	return e, err
}

func TestAStreamWithEventsOfAnotherKindIsDamaged(t *testing.T) {
	w := supplying(t)
	w.lane, w.central.Codec = w.central.Lane(), swapped{}
	w.when(seconds(4), sample(dans, 2, 2, seconds(4))).rejects(eventlog.ErrDamaged)
	w.when(seconds(4), health(message.HealthKO)).rejects(eventlog.ErrDamaged)
}

func TestSignsOfLifeThatCannotBeReadStopTheTurn(t *testing.T) {
	for name, m := range map[string]message.Message{
		"a report": health(message.HealthKO), "a request": request(dan, danRequest), "a lease": leaseDeadline(),
	} {
		t.Run(name, func(t *testing.T) {
			w := free(t)
			w.central.Signs = signsAway{}
			w.when(seconds(20), m)
			w.judged = true
			if !errors.Is(w.outcome.err, errAway) || len(w.outcome.commits) > 0 {
				t.Errorf("the record: %v, stored %v", w.outcome.err, w.outcome.commits)
			}
			if w.listening.Since() != seconds(20) {
				t.Error("silence counts though nobody could be heard")
			}
		})
	}
}

// Whoever asks at once for a point that is told to be ready must find that it was heard.
func TestAPointIsHeardBeforeItsStateIsTold(t *testing.T) {
	w := newWorld(t)
	w.given(seconds(0), registration(cheap))
	told := false
	w.central.Publisher = publish(func([]message.Message) {
		told = true
		if last, err := w.signs.Last(t.Context(), cp1); err != nil || last.HeardAt != seconds(1) {
			t.Errorf("heard at %s, %v", last.HeardAt, err)
		}
	})
	if err := w.lane.Take(t.Context(), seconds(1), w.record(seconds(1), health(message.HealthOK))); err != nil || !told {
		t.Errorf("told is %t, %v", told, err)
	}
}

type signsAway struct{}

func (signsAway) Heard(context.Context, domain.PointID, central.Sign) error { return errAway }
func (signsAway) Last(context.Context, domain.PointID) (central.Sign, error) {
	return central.Sign{}, errAway
}

func TestALaneThatKeepsTooMuchForgetsIt(t *testing.T) {
	w := newWorld(t)
	for i := range 10_000 {
		m := registration(cheap)
		m.Point = domain.PointID(fmt.Sprint("CP-", i))
		if err := w.lane.Take(t.Context(), seconds(i), w.record(seconds(i), m)); err != nil {
			t.Fatal(err)
		}
	}
	if kept := len(w.lane.Kept()); kept > 5_000 {
		t.Errorf("it keeps %d aggregates", kept)
	}
	w.when(seconds(10_000), func() message.Message { m := registration(cheap); m.Point = "CP-7"; return m }()).
		ignores(chargingpoint.ErrUnchanged)
}

func TestWhatIsStoredIsNotRejectedWhereAProjectionIsDamaged(t *testing.T) {
	w := supplying(t)
	w.central.Publisher = damagedPublisher{}
	r := w.record(seconds(8), done(dans, 5, message.DoneFinished, seconds(8)))
	w.whenReceived(seconds(8), r)
	var rejected *message.RejectedError
	if w.judged = true; w.outcome.err == nil || errors.As(w.outcome.err, &rejected) {
		t.Fatalf("the record: %v: its ticket was never sent", w.outcome.err)
	}
	w.central.Publisher = w
	w.whenReceived(seconds(9), r).storesNothing()
	sent[message.Ticket](w)
}

type damagedPublisher struct{}

func (damagedPublisher) Publish(context.Context, central.Publication) error {
	return &eventlog.DamagedError{Where: "a projection", Reason: errAway}
}

func TestATurnAheadOfTheClockIsDecidedAtItsStreamsTime(t *testing.T) {
	w := free(t)
	first, second := twoCentrals(w)
	w.lane = second
	w.given(seconds(8), request(dan, danRequest))       // by a clock that is ahead
	w.given(seconds(9), sample(dans, 1, 1, seconds(9))) // of the session alone
	w.lane = first                                      // by a clock that is behind
	w.whenReceived(seconds(4), w.record(seconds(5), health(message.HealthKO))).stores(
		ofPoint(chargingpoint.FaultReported{ReportedAt: seconds(5)}, stopOrdered(seconds(9), "KO")),
		ofSession(dans, session.EndDecided{Cause: session.CauseFault, Due: seconds(69)}))
	if at := w.outcome.commits[0].At; at != seconds(9) {
		t.Errorf("decided at %s", at)
	}
}
