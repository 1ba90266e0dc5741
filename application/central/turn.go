package central

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// NewID makes a commit's id: a UUIDv7 of the instant at which it was decided. Safe for use
// from several goroutines.
type NewID func(at domain.UnixMillis) uuid.UUID

// ErrContended tells that other Centrals wrote to the same streams again and again: the
// message is tried once more later.
var ErrContended = errors.New("other Centrals keep writing to the same charging point")

// attempts is how often a turn is decided anew before the message is handed back.
const attempts = 50

// turn is one decision about one message.
type turn struct {
	*Central
	lane *Lane
	// clock is the hearer's. now is the turn's time: the later of it and the last of the
	// streams that the turn touches.
	clock, now domain.UnixMillis
	// late is by how much the message comes late.
	late     time.Duration
	received message.Received
	point    *stream
	session  *stream
	// again gives messages that no event asks for: an answer that is given again.
	again func() []message.Message
	// asked is the id of the operator's record that the point's state answers, changed or
	// not; refusal says why it was not carried out.
	asked, refusal string
	// heard is called once the turn is stored.
	heard func() error
	// telling tells that what the turn decided is stored.
	telling bool
}

// Take takes one turn: it returns nil when everything that the message causes is stored
// and sent. *message.RejectedError where the message can never be acted on; any other
// error means that it must come again. now is the hearer's clock.
func (l *Lane) Take(ctx context.Context, now domain.UnixMillis, received message.Received) error {
	c := l.central
	var late time.Duration
	if received.Source.Trusted {
		late = c.Listening.Hear(now, received.Source)
	}
	at := now
	again := false
	for range attempts {
		t := &turn{Central: c, lane: l, clock: now, now: at, late: late, received: received}
		err := t.take(ctx)
		if err == nil {
			return nil
		}
		var later *laterError
		var conflict *eventlog.ConflictError
		var stale *staleError
		var rejected *message.RejectedError
		if !errors.As(err, &rejected) || len(t.writers()) > 0 {
			l.forget(t.point, t.session)
		}
		switch {
		case errors.As(err, &later):
			at = later.at
		case errors.As(err, &conflict):
			l.seen[conflict.Stream] = conflict.Actual // another Central wrote: decide again on what it wrote
		case errors.As(err, &stale):
			l.seen[stale.stream] = stale.version
		case errors.Is(err, errStale):
		case rejected != nil:
			return err
		case errors.Is(err, eventlog.ErrDamaged) && !t.telling && !again:
			again = true // perhaps on what the lane had kept: once more on what can be read
		case errors.Is(err, eventlog.ErrDamaged) && !t.telling:
			return &message.RejectedError{Reason: err}
		default:
			if ctx.Err() == nil {
				c.Listening.Deaf(now)
			}
			return err
		}
	}
	return fmt.Errorf("%w: %s", ErrContended, received.Source.Topic)
}

// errStale tells that a stream which the turn only read is not as the lane had kept it.
var errStale = errors.New("the stream has changed")

// staleError is errStale with the version that the stream is at.
type staleError struct {
	stream  eventlog.Stream
	version eventlog.Version
}

func (e *staleError) Error() string { return errStale.Error() }

// laterError tells that a stream that was loaded after something was decided is ahead of
// the clock: decide again at its time, so that time never runs backwards within a stream.
type laterError struct{ at domain.UnixMillis }

func (e *laterError) Error() string { return "the stream is ahead of the clock" }

// use makes a loaded stream part of the turn.
func (t *turn) use(s *stream) error {
	if s.lastAt > t.now {
		for _, other := range t.streams() {
			if other.decided() > 0 {
				return &laterError{s.lastAt}
			}
		}
		t.now = s.lastAt
	}
	return nil
}

// inTurn is the instant that is as long before the turn's time as another is before the
// hearer's clock: what somebody heard is judged by the clock of whoever heard it, also
// where the streams are ahead of it. Instants that are not known stay so.
func (t *turn) inTurn(clock domain.UnixMillis) domain.UnixMillis {
	if clock == 0 {
		return 0
	}
	return clock + t.now - t.clock
}

func (t *turn) loadPoint(ctx context.Context, id domain.PointID) (err error) {
	if t.point, err = t.lane.load(ctx, PointStream(id)); err != nil {
		return err
	}
	return t.use(t.point)
}

func (t *turn) loadSession(ctx context.Context, id domain.SessionID) (err error) {
	if t.session, err = t.lane.load(ctx, SessionStream(id)); err != nil {
		return err
	}
	return t.use(t.session)
}

// loadOccupant loads the session that holds the turn's point, if one does.
func (t *turn) loadOccupant(ctx context.Context) error {
	occupancy, ok := t.point.point.Occupied()
	if !ok || t.session != nil {
		return nil
	}
	return t.loadSession(ctx, occupancy.Session)
}

// streams are those that the turn has loaded.
func (t *turn) streams() []*stream {
	all := make([]*stream, 0, 2)
	if t.point != nil {
		all = append(all, t.point)
	}
	if t.session != nil {
		all = append(all, t.session)
	}
	return all
}

func (t *turn) take(ctx context.Context) error {
	v, err := t.decide(ctx)
	if err != nil {
		return err
	}
	if err := t.followPolicies(ctx); err != nil {
		return err
	}
	if err := t.readAgain(ctx); err != nil {
		return err
	}
	writers := t.writers()
	if v.refused || len(writers) == 0 {
		return t.finishEarlier(ctx, v)
	}
	commit, parts, err := t.commit(writers)
	if err != nil {
		return err
	}
	if err := t.Log.Append(ctx, commit); err != nil {
		var stored *eventlog.CauseStoredError
		if errors.As(err, &stored) {
			return t.redeliver(ctx, stored.Stored)
		}
		return fmt.Errorf("append to the event log: %w", err)
	}
	for i, s := range writers {
		s.stored()
		s.head.Version, s.head.Hash, s.lastAt = commit.Parts[i].Last(), commit.Parts[i].Hash, commit.At
	}
	return t.finish(ctx, v, parts)
}

// writers are the streams that the turn writes to.
func (t *turn) writers() []*stream {
	writers := make([]*stream, 0, 2)
	for _, s := range t.streams() {
		if s.decided() > 0 {
			writers = append(writers, s)
		}
	}
	return writers
}

// readAgain proves right what was decided about a stream that the commit doesn't write:
// the append proves only what it writes.
func (t *turn) readAgain(ctx context.Context) error {
	for _, s := range t.streams() {
		if s.decided() > 0 {
			continue
		}
		head, err := t.Log.Head(ctx, s.name)
		if err != nil {
			return fmt.Errorf("read the end of %s: %w", s.name, err)
		}
		if head.Version != s.head.Version || head.Hash != s.head.Hash {
			return &staleError{s.name, head.Version}
		}
	}
	return nil
}

// commit is the turn's commit, and its parts as they are told.
func (t *turn) commit(writers []*stream) (eventlog.Commit, []Part, error) {
	commit := eventlog.Commit{ID: t.NewID(t.now), At: t.now, Parts: make([]eventlog.Part, len(writers))}
	parts := make([]Part, len(writers))
	for i, s := range writers {
		parts[i] = Part{Stream: s.name, Version: s.head.Version + 1, At: commit.At, Events: s.pending()}
	}
	envelope := Envelope{Commit: commit.ID, At: commit.At}
	if !sampleAlone(parts) {
		// Totals only grow, so a sample needs no cause: repeated, it is not newer.
		commit.Cause = causeOf(t.received.Source)
		envelope.Cause, envelope.CausedAt = commit.Cause, t.received.Source.Timestamp
	}
	for i, s := range writers {
		envelope.Events = parts[i].Events
		body, err := t.Codec.Encode(envelope)
		if err != nil {
			return eventlog.Commit{}, nil, err
		}
		stored := eventlog.Part{
			Stream: s.name, Version: parts[i].Version, Events: len(parts[i].Events),
			Kind: KindOf(parts[i].Events), Prev: s.head.Hash, Body: body,
		}
		stored.Hash = stored.Sum()
		commit.Parts[i], parts[i].Hash = stored, stored.Hash
	}
	return commit, parts, nil
}

// finishEarlier finishes a turn that decides nothing: it may have been stored before a
// crash, and not published.
func (t *turn) finishEarlier(ctx context.Context, v verdict) error {
	stored, ok, err := t.Log.ByCause(ctx, causeOf(t.received.Source))
	switch {
	case err != nil:
		return fmt.Errorf("look a cause up in the event log: %w", err)
	case ok:
		return t.redeliver(ctx, stored)
	case v.refused:
		return &message.RejectedError{Reason: v.rule}
	}
	return t.finish(ctx, v, nil)
}

// finish is the end of a turn that came for the first time.
func (t *turn) finish(ctx context.Context, v verdict, parts []Part) error {
	for _, s := range t.streams() {
		t.lane.keep(s)
	}
	if err := t.tell(ctx, parts); err != nil {
		return err
	}
	if v.rule != nil {
		t.Ignored.Count(v.rule)
	}
	return nil
}

// redeliver publishes what is still true of a turn that was stored earlier, on streams
// read afresh.
func (t *turn) redeliver(ctx context.Context, stored eventlog.Commit) error {
	t.lane.forget(t.point, t.session)
	t.point, t.session = nil, nil
	// What was stored gives the answer, and what was stored was not refused.
	t.again, t.refusal = nil, ""
	parts := make([]Part, len(stored.Parts))
	for i, p := range stored.Parts {
		var err error
		if parts[i], err = t.Decode(p); err != nil {
			return err
		}
		fresh := emptyStream(p.Stream)
		if err := t.rehydrate(ctx, fresh); err != nil {
			return err
		}
		if fresh.point != nil {
			t.point = fresh
		} else {
			t.session = fresh
		}
	}
	return t.tell(ctx, parts)
}

// tell notes the sign of life that the turn was and publishes what it tells the world: whoever
// asks for a point that it shows as ready finds that it was heard.
func (t *turn) tell(ctx context.Context, parts []Part) error {
	t.telling = true
	if t.heard != nil {
		if err := t.heard(); err != nil {
			return err
		}
	}
	p := Publication{Messages: t.messages(parts), Parts: parts, SampleAlone: len(parts) > 0 && sampleAlone(parts)}
	if len(p.Messages) > 0 || len(p.Parts) > 0 {
		if err := t.Publisher.Publish(ctx, p); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	return nil
}

// sampleAlone tells whether parts hold samples and nothing else.
func sampleAlone(parts []Part) bool {
	for _, p := range parts {
		if KindOf(p.Events) != eventlog.Sample {
			return false
		}
	}
	return true
}

// KindOf says what a part with these events is.
func KindOf(events []any) eventlog.Kind {
	kind := eventlog.Sample
	for _, e := range events {
		switch e.(type) {
		case session.MeterValueRecorded:
		case session.SupplyRefused, session.TicketIssued, session.TicketRevised:
			return eventlog.Closing
		default:
			kind = eventlog.Lifecycle
		}
	}
	return kind
}

func causeOf(s message.Source) eventlog.Cause {
	return eventlog.Cause{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset, Digest: s.Digest}
}

// emptyStream is the empty aggregate of a stream's name.
func emptyStream(name eventlog.Stream) *stream {
	if id, ok := sessionOf(name); ok {
		return &stream{name: name, session: session.New(id)}
	}
	return &stream{name: name, point: chargingpoint.New(pointOf(name))}
}
