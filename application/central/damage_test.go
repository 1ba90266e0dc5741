package central_test

import (
	"context"
	"errors"
	"testing"

	"evcharging/adapters/eventjson"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// damagePoint makes the stream of the point unreadable, for a lane that has kept nothing.
func (w *world) damagePoint() {
	w.lane = w.central.Lane()
	w.central.Codec = damaged{log: w.log, stream: central.PointStream(cp1)}
}

// Whoever asks for a supply is told, whatever can be read of the point.
func TestARequestForAPointThatCannotBeReadIsRefused(t *testing.T) {
	// given
	w := free(t)
	w.damagePoint()
	asked := w.record(seconds(5), request(dan, danRequest))
	// when
	w.whenReceived(seconds(5), asked).
		// then it is on record, in the session's own stream, and answered
		stores(ofSession(dans, session.SupplyRefused{
			Point: cp1, Driver: dan, Request: danRequest, Origin: "driver", Reason: "UNREADABLE",
		})).
		sends(refusalOf(dan, danRequest, chargingpoint.RefusedUnreadable))
	// and when the record comes again, or the request, mended or not, it has the same answer
	w.whenReceived(seconds(6), asked).storesNothing().sends(refusalOf(dan, danRequest, chargingpoint.RefusedUnreadable))
	w.central.Codec = eventjson.Codec{}
	w.when(seconds(7), request(dan, danRequest)).storesNothing().sends(refusalOf(dan, danRequest, chargingpoint.RefusedUnreadable))
	w.when(seconds(8), request(dan, "r-2"))
	if a := sent[message.Answer](w); !a.Authorized {
		t.Errorf("mended, it answers %+v", a)
	}
}

func TestWhoAsksForAPointThatCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		now  int
		m    message.Message
		want chargingpoint.Refusal
		none bool
	}{
		"an operator":                   {5, message.Control{ID: "r-9", Point: cp1, Action: message.ActionStart, Driver: dan, By: "ops"}, chargingpoint.RefusedUnreadable, false},
		"a driver that has left":        {40, request(dan, "r-9"), chargingpoint.RefusedExpired, false},
		"a driver without a request id": {5, request(dan, ""), chargingpoint.RefusedUnreadable, false},
		"one without an id that left":   {40, request(dan, ""), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			// given
			w := free(t)
			w.damagePoint()
			// when
			w.whenReceived(seconds(c.now), w.record(seconds(5), c.m))
			// then
			if c.none {
				w.sendsNothing()
				return
			}
			if a := sent[message.Answer](w); a.Authorized || a.Reason != string(c.want) {
				t.Errorf("answered %+v, want a refusal as %s", a, c.want)
			}
		})
	}
}

// What else comes for it can't be acted on, and what was granted can't be closed: its bill waits
// for the point to be readable, with what was reported.
func TestWhatComesForAPointThatCannotBeReadIsADeadLetter(t *testing.T) {
	for name, m := range map[string]message.Message{
		"a registration": registration(cheap),
		"a report":       health(message.HealthOK),
		"a stop":         control("c-1", message.ActionStop),
		"a done":         done(dans, 5, message.DoneFinished, seconds(6)),
		"a deadline":     deadline(dans, session.Silence, seconds(63)),
	} {
		t.Run(name, func(t *testing.T) {
			w := supplying(t)
			w.damagePoint()
			w.when(seconds(64), m).rejects(eventlog.ErrDamaged)
			if w.listening.Since() != 0 {
				t.Error("a damaged stream is no outage")
			}
		})
	}
}

// The session's own stream is whole, and its energy goes on being recorded.
func TestASupplyAtAPointThatCannotBeReadGoesOnBeingMetered(t *testing.T) {
	w := supplying(t)
	w.damagePoint()
	w.when(seconds(5), sample(dans, 2, 2, seconds(5))).countsNothing()
	if len(w.outcome.commits) != 1 {
		t.Errorf("stored %v", w.outcome.commits)
	}
	// and it is billed once the point can be read again
	w.central.Codec, w.lane = eventjson.Codec{}, w.central.Lane()
	w.when(seconds(6), done(dans, 2, message.DoneFinished, seconds(6)))
	if ticket := sent[message.Ticket](w); ticket.Energy != 2*kWh/1000 {
		t.Errorf("billed %+v", ticket)
	}
}

// Its Monitor is heard all the while: nothing ends for a silence that was none.
func TestAPointThatCannotBeReadIsNotTakenForSilent(t *testing.T) {
	// given
	w := supplying(t)
	w.damagePoint()
	w.when(seconds(20), health(message.HealthOK)).rejects(eventlog.ErrDamaged)
	// when it can be read again, and its lease is looked at
	w.central.Codec = eventjson.Codec{}
	w.when(seconds(21), leaseDeadline()).
		// then
		ignores(chargingpoint.ErrDeadlineGone)
}

// A grant that is on record is the answer, whatever has become of its point since.
func TestAGrantIsGivenAgainThoughItsPointCannotBeRead(t *testing.T) {
	w := granted(t)
	w.damagePoint()
	w.when(seconds(5), request(dan, danRequest)).storesNothing().sends(grantOf(dan, danRequest))
}

// lost is a log that loses a stream, and notices it at an append.
type lost struct {
	eventlog.Log
	stream eventlog.Stream
}

func (l lost) error() error {
	return &eventlog.DamagedError{Where: "here", Stream: l.stream, Reason: errors.New("a part is missing")}
}

func (l lost) Append(ctx context.Context, c eventlog.Commit) error {
	for _, p := range c.Parts {
		if p.Stream == l.stream {
			return l.error()
		}
	}
	return l.Log.Append(ctx, c)
}

func (l lost) Rehydrate(ctx context.Context, s eventlog.Stream) ([]eventlog.Commit, error) {
	if s == l.stream {
		return nil, l.error()
	}
	return l.Log.Rehydrate(ctx, s)
}

func TestDamageThatIsNoticedAtAnAppendIsAnsweredToo(t *testing.T) {
	// given a point that the lane has kept
	w := free(t)
	w.central.Log = lost{w.log, central.PointStream(cp1)}
	// when
	w.when(seconds(5), request(dan, danRequest)).
		// then
		sends(refusalOf(dan, danRequest, chargingpoint.RefusedUnreadable))
}

// cut is a log that has lost the end of a stream, and knows where it was.
type cut struct {
	eventlog.Log
	stream eventlog.Stream
}

func (l cut) Rehydrate(ctx context.Context, s eventlog.Stream) ([]eventlog.Commit, error) {
	commits, err := l.Log.Rehydrate(ctx, s)
	if s == l.stream && err == nil {
		commits = commits[:len(commits)-1]
	}
	return commits, err
}

func TestAStreamThatHasLostItsEndIsDamaged(t *testing.T) {
	for name, past := range map[string][]message.Message{
		"that is only read": {health(message.HealthKO), health(message.HealthRecovered)},
		"that is written":   {health(message.HealthKO)},
	} {
		t.Run(name, func(t *testing.T) {
			// given
			w := free(t)
			for i, given := range past {
				w.given(seconds(2+i), given)
			}
			w.central.Log, w.lane = cut{w.log, central.PointStream(cp1)}, w.central.Lane()
			// when, then
			for i, id := range []string{"r-1", "r-2"} {
				id := domain.RequestID(id)
				w.when(seconds(5+i), request(dan, id)).sends(refusalOf(dan, id, chargingpoint.RefusedUnreadable))
			}
			w.when(seconds(8), health(message.HealthKO)).rejects(eventlog.ErrDamaged)
			// and when its end is found again
			w.central.Log = w.log
			w.given(seconds(9), control("c-1", message.ActionStop))
		})
	}
}

// readings are the notes that a Central makes.
type readings struct {
	notes   []error
	streams []eventlog.Stream
}

func (r *readings) Note(_ context.Context, s eventlog.Stream, damage error) {
	r.streams, r.notes = append(r.streams, s), append(r.notes, damage)
}

func TestWhatIsReadIsNoted(t *testing.T) {
	// given
	w := free(t)
	noted := &readings{}
	w.central.Readings = noted
	w.damagePoint()
	// when a point is read that is damaged, and after it was mended
	w.when(seconds(5), health(message.HealthKO)).rejects(eventlog.ErrDamaged)
	w.central.Codec = eventjson.Codec{}
	w.given(seconds(6), health(message.HealthKO))
	// and once more from what the lane has kept
	w.given(seconds(7), health(message.HealthRecovered))
	// then
	n := len(noted.notes)
	if n < 2 || !errors.Is(noted.notes[0], eventlog.ErrDamaged) || noted.notes[n-1] != nil || noted.notes[n-2] == nil {
		t.Errorf("noted %v of %v", noted.notes, noted.streams)
	}
}
