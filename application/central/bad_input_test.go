package central_test

import (
	"testing"
	"time"

	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// Bad input, as far as Central decides about it. What can't be read at all is the wire's.

func TestWhatIsImpossibleIsRejected(t *testing.T) {
	foreign := func(m message.MeterValue) message.MeterValue { m.Point = cp2; return m }
	another := func(m message.MeterValue) message.MeterValue { m.Driver = eva; return m }
	energyless := func(m message.MeterValue, amount domain.MicroEuros) message.MeterValue {
		m.Energy, m.Amount = nil, amount
		return m
	}
	for _, c := range []struct {
		name   string
		given  func(testing.TB) *world
		m      message.Message
		reason error
	}{
		{"a stop of an unknown point", asNewWorld, control("c-1", message.ActionStop), chargingpoint.ErrUnknownPoint},
		{"a resume of an unknown point", asNewWorld, control("c-1", message.ActionResume), chargingpoint.ErrUnknownPoint},
		{"a price of an unknown point", asNewWorld, control("c-1", message.ActionPrice), chargingpoint.ErrUnknownPoint},
		{"a sample of an unknown session", free, sample(dans, 1, 1, 0), session.ErrUnknownSession},
		{"a done of an unknown session", free, done(dans, 1, message.DoneFinished, 0), session.ErrUnknownSession},
		{"a sample of a refused session", refused, sample(dans, 1, 1, 0), session.ErrUnknownSession},
		{"a done of a refused session", refused, done(dans, 1, message.DoneFinished, 0), session.ErrUnknownSession},
		{"a sample of another point's session", supplying, foreign(sample(dans, 2, 2, 0)), session.ErrForeignPoint},
		{"a done of another point's session", supplying, message.Done{Session: dans, Point: cp2, Driver: dan}, session.ErrForeignPoint},
		{"a sample of another driver's session", supplying, another(sample(dans, 2, 2, 0)), session.ErrForeignDriver},
		{"a done of another driver's session", supplying, message.Done{Session: dans, Point: cp1, Driver: eva}, session.ErrForeignDriver},
		{"a done of another point's closed session", closed, message.Done{Session: dans, Point: cp2, Driver: dan}, session.ErrForeignPoint},
		{"an amount that no point can have metered", supplying, energyless(sample(dans, 2, 2, 0), 9_000*euro), domain.ErrOutOfRange},
		{"an unknown action", free, control("c-1", "dance"), central.ErrUnknownAction},
		{"a start without a driver", free, control("c-1", message.ActionStart), central.ErrIncomplete},
		{"a start without an id", free, message.Control{Point: cp1, Action: message.ActionStart, Driver: dan}, central.ErrIncomplete},
		{"a deadline without a session", free, deadline("", session.Silence, 1), central.ErrIncomplete},
		{"a message that Central does not read", free, message.Ticket{}, central.ErrUnknownAction},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := c.given(t)
			w.when(seconds(9), c.m).rejects(c.reason)
			w.when(seconds(9), registration(cheap+1)) // the other work goes on
			w.judged = true
			if w.outcome.err != nil || len(w.outcome.commits) != 1 {
				t.Errorf("a registration after it: %v, %d commits", w.outcome.err, len(w.outcome.commits))
			}
		})
	}
}

func asNewWorld(t testing.TB) *world { return newWorld(t) }

// refused is a point that was never reported healthy: dan asks and is refused.
func refused(t testing.TB) *world {
	w := newWorld(t)
	w.given(seconds(0), registration(cheap))
	w.given(seconds(1), request(dan, danRequest))
	return w
}

func TestATotalThatRunsBackwardsIsIgnored(t *testing.T) {
	w := supplying(t)
	w.given(seconds(4), sample(dans, 2, 9, seconds(4)))
	w.when(seconds(5), sample(dans, 3, 8, seconds(5))).ignores(session.ErrRunsBackwards)
	w.when(seconds(6), done(dans, 5, message.DoneFinished, seconds(6)))
	w.judged = true
	if bill := sent[message.Ticket](w); bill.Energy != 9_000 {
		t.Errorf("billed %s kWh, not the greatest that was reported", bill.Energy)
	}
}

func TestAClockFrom1970(t *testing.T) {
	for name, clock := range map[string]domain.UnixMillis{"1970": 1_000, "tomorrow": at(24 * time.Hour)} {
		t.Run(name, func(t *testing.T) {
			w := granted(t)
			w.when(seconds(4), sample(dans, 1, 2, clock)).stores(ofSession(dans,
				session.SupplyStarted{At: seconds(4)},
				session.MeterValueRecorded{
					Seq: 1, Energy: 2_000, Measured: 2_000, Power: 7_000, AmountReported: 600, At: seconds(4), Source: w.source(), Due: seconds(64),
				}))
			w.when(seconds(8), done(dans, 5, message.DoneFinished, clock)).sends(
				w.ticket(message.Ticket{StartedAt: seconds(4), EndedAt: seconds(8), Energy: 5_000, Reason: "FINISHED"}),
				state(chargingpoint.Activated, seconds(8), 5))
		})
	}
	t.Run("of a sender on a topic that the broker does not stamp", func(t *testing.T) {
		w := free(t)
		received := w.record(1_000, request(dan, danRequest))
		received.Source.Trusted = false
		w.whenReceived(seconds(2), received).sends(
			startAt(seconds(2)), grantOf(dan, danRequest), state(chargingpoint.Supplying, seconds(2), 4))
		if w.listening.Since() != 0 {
			t.Error("its age was judged")
		}
	})
}

func TestReportsOutOfOrder(t *testing.T) {
	t.Run("without numbers, by their Kafka timestamps", func(t *testing.T) {
		w := granted(t)
		w.given(seconds(4), sample(dans, 0, 2, 0))
		w.given(seconds(6), sample(dans, 0, 4, 0))
		w.whenReceived(seconds(7), w.record(seconds(5), sample(dans, 0, 3, 0))).ignores(session.ErrNotNewer)
		w.whenReceived(seconds(7), w.record(seconds(6), sample(dans, 0, 5, 0))).sendsNothing().countsNothing()
	})
	t.Run("a fault that is older than the recovery", func(t *testing.T) {
		w := supplying(t)
		w.when(seconds(6), health(message.HealthOK)).counts(chargingpoint.ErrUnchanged)
		w.whenReceived(seconds(7), w.record(seconds(5), health(message.HealthKO))).ignores(chargingpoint.ErrNotLater)
	})
	t.Run("of health in several partitions", func(t *testing.T) {
		w := supplying(t)
		w.given(seconds(6), health(message.HealthKO))
		other := w.record(seconds(5), health(message.HealthOK))
		other.Source.Partition = 1
		w.whenReceived(seconds(7), other).ignores(chargingpoint.ErrNotLater)
	})
	t.Run("a done before its samples", func(t *testing.T) {
		w := granted(t)
		w.given(seconds(4), done(dans, 3, message.DoneFinished, seconds(4)))
		w.when(seconds(5), sample(dans, 1, 1, seconds(3))).ignores(session.ErrClosed)
	})
}

// A network with secrets.

type secrets map[domain.PointID]string

func (s secrets) Secret(point domain.PointID) (string, bool) {
	secret, ok := s[point]
	return secret, ok
}

func secured(t testing.TB) *world {
	w := newWorld(t)
	w.central.Secrets = secrets{cp1: "s3cret"}
	return w
}

// proved is a registration as it is sent, with a proof made at an instant.
func proved(secret, priceText string, at domain.UnixMillis) message.Registration {
	location, sent := "Alcoy", at.Time().Format(time.RFC3339)
	price, err := domain.ParsePrice(priceText)
	if err != nil {
		panic(err)
	}
	return message.Registration{
		Point: cp1, Location: &location, Price: &price, PriceText: priceText, At: sent,
		Proof: message.RegistrationProof(secret, cp1, location, priceText, sent),
	}
}

func TestARegistrationNeedsAProofWhereCentralHasASecret(t *testing.T) {
	t.Run("valid, over the price as it was sent", func(t *testing.T) {
		for _, text := range []string{"0.3", "0.30", "3e-1"} {
			w := secured(t)
			w.when(seconds(1), proved("s3cret", text, seconds(0))).stores(ofPoint(chargingpoint.PointRegistered{
				Location: "Alcoy", Price: cheap, RecordedAt: seconds(1), ProofAt: seconds(0),
			}))
		}
	})
	t.Run("over another text of the same price", func(t *testing.T) {
		w := secured(t)
		m := proved("s3cret", "0.30", seconds(0))
		m.PriceText = "0.3"
		w.when(seconds(1), m).rejects(chargingpoint.ErrProof)
	})
	t.Run("wrong", func(t *testing.T) {
		w := secured(t)
		w.when(seconds(1), proved("guess", "0.3", seconds(0))).rejects(chargingpoint.ErrProof)
	})
	t.Run("missing", func(t *testing.T) {
		w := secured(t)
		w.when(seconds(1), registration(cheap)).rejects(chargingpoint.ErrProof)
	})
	t.Run("of a point that Central does not know", func(t *testing.T) {
		w := secured(t)
		m := proved("", "0.3", seconds(0))
		m.Point = cp2
		m.Proof = message.RegistrationProof("", cp2, "Alcoy", "0.3", m.At)
		w.when(seconds(1), m).rejects(chargingpoint.ErrProof)
	})
	t.Run("replayed, to change the point back", func(t *testing.T) {
		w := secured(t)
		old := proved("s3cret", "0.3", seconds(0))
		w.given(seconds(1), old)
		w.given(seconds(60), proved("s3cret", "0.5", seconds(60)))
		w.when(seconds(61), old).rejects(chargingpoint.ErrProof)
	})
	t.Run("not later than the last one accepted", func(t *testing.T) {
		w := secured(t)
		w.given(seconds(1), proved("s3cret", "0.3", seconds(0)))
		w.when(seconds(2), proved("s3cret", "0.5", seconds(0))).rejects(chargingpoint.ErrProof)
	})
	t.Run("repeated without a change", func(t *testing.T) {
		w := secured(t)
		m := proved("s3cret", "0.3", seconds(0))
		w.given(seconds(1), m)
		w.when(seconds(2), m).ignores(chargingpoint.ErrUnchanged)
	})
	for name, distance := range map[string]time.Duration{"before": -1, "after": 1} {
		t.Run("made more than five minutes "+name+" its record", func(t *testing.T) {
			w := secured(t)
			w.when(seconds(600), proved("s3cret", "0.3", seconds(600).Add(distance*301*time.Second))).rejects(chargingpoint.ErrProof)
			w.when(seconds(600), proved("s3cret", "0.3", seconds(600).Add(distance*300*time.Second))).
				stores(ofPoint(chargingpoint.PointRegistered{
					Location: "Alcoy", Price: cheap, RecordedAt: seconds(600), ProofAt: seconds(600).Add(distance * 300 * time.Second),
				}))
		})
	}
	t.Run("at a time that is none", func(t *testing.T) {
		w := secured(t)
		m := proved("s3cret", "0.3", seconds(0))
		m.At = "noon"
		m.Proof = message.RegistrationProof("s3cret", cp1, "Alcoy", "0.3", "noon")
		w.when(seconds(1), m).rejects(chargingpoint.ErrProof)
	})
}

func TestHealthOfAPointWithoutASecretIsRejected(t *testing.T) {
	w := secured(t)
	stranger := health(message.HealthOK)
	stranger.Point = cp2
	w.when(seconds(1), stranger).rejects(chargingpoint.ErrUnknownPoint)
	w.when(seconds(1), health(message.HealthOK)).
		stores(ofPoint(
			chargingpoint.PointConnected{Lease: lease, ReportedAt: seconds(1)},
			chargingpoint.FaultCleared{ReportedAt: seconds(1)},
		)).
		sends().countsNothing()
}
