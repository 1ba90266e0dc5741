package central

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// NewID makes a commit's id: a UUIDv7 of the instant at which it was decided.
type NewID func(at domain.UnixMillis) uuid.UUID

// ErrContended tells that other Centrals wrote to the same streams again and again: the
// message is tried once more later.
var ErrContended = errors.New("other Centrals keep writing to the same charging point")

// attempts is how often a turn is decided anew before the message is handed back.
const attempts = 50

// deafAfter is how old a record may be when it is read before silence stops counting.
const deafAfter = 5_000 // ms

// turn is one decision about one message.
type turn struct {
	*Central
	lane     *Lane
	now      domain.UnixMillis
	received message.Received
	point    *stream
	session  *stream
	// reply gives messages that no event asks for, on the streams as they are then: an
	// answer given again, a state that an operator waits for.
	reply func() []message.Message
	// heard is called once the turn is stored and published.
	heard func() error
}

// Take takes one turn: it returns nil when everything that the message causes is stored
// and sent. *message.RejectedError where the message can never be acted on; any other
// error means that it must come again. now is the hearer's clock.
func (l *Lane) Take(ctx context.Context, now domain.UnixMillis, received message.Received) error {
	c := l.central
	if received.Source.Trusted && now-received.Source.Timestamp > deafAfter {
		c.Listening.Deaf(now)
	}
	for range attempts {
		t := &turn{Central: c, lane: l, now: now, received: received}
		err := t.take(ctx)
		var later *laterError
		var conflict *eventlog.ConflictError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &later):
			now = later.at
		case errors.As(err, &conflict), errors.Is(err, errStale):
			// Another Central wrote: decide again on what it wrote.
		default:
			var rejected *message.RejectedError
			if !errors.As(err, &rejected) && !errors.Is(err, eventlog.ErrDamaged) && ctx.Err() == nil {
				c.Listening.Deaf(now)
			}
			l.forget(t.point, t.session)
			if errors.Is(err, eventlog.ErrDamaged) {
				return &message.RejectedError{Reason: err}
			}
			return err
		}
		l.forget(t.point, t.session)
	}
	return fmt.Errorf("%w: %s", ErrContended, received.Source.Topic)
}

// errStale tells that a stream which the turn only read is not as the lane had kept it.
var errStale = errors.New("the stream has changed")

// laterError tells that a stream that was loaded after something was decided is ahead of
// the clock: decide again at its time, so that time never runs backwards within a stream.
type laterError struct{ at domain.UnixMillis }

func (e *laterError) Error() string { return "the stream is ahead of the clock" }

// use makes a loaded stream part of the turn.
func (t *turn) use(s *stream) error {
	if s.lastAt > t.now {
		if len(t.pending()) > 0 {
			return &laterError{s.lastAt}
		}
		t.now = s.lastAt
	}
	return nil
}

func (t *turn) loadPoint(ctx context.Context, id domain.PointID) (err error) {
	if t.point, err = t.lane.loadPoint(ctx, id); err != nil {
		return err
	}
	return t.use(t.point)
}

func (t *turn) loadSession(ctx context.Context, id domain.SessionID) (err error) {
	if t.session, err = t.lane.loadSession(ctx, id); err != nil {
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

func (t *turn) streams() []*stream {
	var all []*stream
	if t.point != nil {
		all = append(all, t.point)
	}
	if t.session != nil {
		all = append(all, t.session)
	}
	return all
}

func (t *turn) pending() []any {
	var events []any
	for _, s := range t.streams() {
		events = append(events, s.pending()...)
	}
	return events
}

func (t *turn) take(ctx context.Context) error {
	ignored, err := t.decide(ctx)
	if err != nil {
		return err
	}
	if err := t.followPolicies(ctx); err != nil {
		return err
	}
	if err := t.readAgain(ctx); err != nil {
		return err
	}
	switch {
	case ignored.refused:
		return &message.RejectedError{Reason: ignored.rule}
	case ignored.rule != nil:
		t.Ignored.Count(ignored.rule)
	}
	commit, events, err := t.commit()
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return t.finishEarlier(ctx)
	}
	if err := t.Log.Append(ctx, commit); err != nil {
		var stored *eventlog.CauseStoredError
		if errors.As(err, &stored) {
			return t.redeliver(ctx, stored.Stored)
		}
		return fmt.Errorf("append to the event log: %w", err)
	}
	parts := make([]Part, len(commit.Parts))
	for i, p := range commit.Parts {
		parts[i] = Part{Stream: p.Stream, Version: p.Version, At: commit.At, Hash: p.Hash, Events: events[i]}
	}
	for i, s := range t.writers() {
		s.stored()
		s.head.Version, s.head.Hash, s.lastAt = commit.Parts[i].Last(), commit.Parts[i].Hash, commit.At
	}
	for _, s := range t.streams() {
		t.lane.keep(s)
	}
	return t.tell(ctx, parts)
}

// writers are the streams that the turn writes to.
func (t *turn) writers() []*stream {
	var writers []*stream
	for _, s := range t.streams() {
		if len(s.pending()) > 0 {
			writers = append(writers, s)
		}
	}
	return writers
}

// readAgain proves right what was decided about a stream that the commit doesn't write:
// the append proves only what it writes.
func (t *turn) readAgain(ctx context.Context) error {
	for _, s := range t.streams() {
		if len(s.pending()) > 0 {
			continue
		}
		head, err := t.Log.Head(ctx, s.name)
		if err != nil {
			return fmt.Errorf("read the end of %s: %w", s.name, err)
		}
		if head.Version != s.head.Version {
			return errStale
		}
	}
	return nil
}

// commit is the turn's commit and its events, part by part; without parts where the turn decided nothing.
func (t *turn) commit() (eventlog.Commit, [][]any, error) {
	writers := t.writers()
	if len(writers) == 0 {
		return eventlog.Commit{}, nil, nil
	}
	commit := eventlog.Commit{ID: t.NewID(t.now), At: t.now}
	events := make([][]any, len(writers))
	sampleAlone := true
	for i, s := range writers {
		events[i] = s.pending()
		sampleAlone = sampleAlone && kindOf(events[i]) == eventlog.Sample
	}
	envelope := Envelope{Commit: commit.ID, At: commit.At}
	if !sampleAlone {
		// Totals only grow, so a sample needs no cause: repeated, it is not newer.
		commit.Cause = causeOf(t.received.Source)
		envelope.Cause, envelope.CausedAt = commit.Cause, t.received.Source.Timestamp
	}
	for i, s := range writers {
		envelope.Events = events[i]
		body, err := t.Codec.Encode(envelope)
		if err != nil {
			return eventlog.Commit{}, nil, err
		}
		part := eventlog.Part{
			Stream: s.name, Version: s.head.Version + 1, Events: len(events[i]),
			Kind: kindOf(events[i]), Prev: s.head.Hash, Body: body,
		}
		part.Hash = part.Sum()
		commit.Parts = append(commit.Parts, part)
	}
	return commit, events, nil
}

// finishEarlier finishes a turn that decides nothing: it may have been stored before a
// crash, and not published.
func (t *turn) finishEarlier(ctx context.Context) error {
	stored, ok, err := t.Log.ByCause(ctx, causeOf(t.received.Source))
	if err != nil {
		return fmt.Errorf("look a cause up in the event log: %w", err)
	}
	if ok {
		return t.redeliver(ctx, stored)
	}
	for _, s := range t.streams() {
		t.lane.keep(s)
	}
	return t.tell(ctx, nil)
}

// redeliver publishes what is still true of a turn that was stored earlier, on streams
// read afresh.
func (t *turn) redeliver(ctx context.Context, stored eventlog.Commit) error {
	t.lane.forget(t.point, t.session)
	t.point, t.session = nil, nil
	if m, control := t.received.Message.(message.Control); !control || m.Action == message.ActionStart {
		t.reply = nil // the stored events give the answer
	}
	parts := make([]Part, len(stored.Parts))
	for i, p := range stored.Parts {
		envelope, err := t.Codec.Decode(p.Body)
		if err != nil {
			return &message.RejectedError{Reason: fmt.Errorf("%w: %s: %w", eventlog.ErrDamaged, p.Stream, err)}
		}
		parts[i] = Part{Stream: p.Stream, Version: p.Version, At: envelope.At, Hash: p.Hash, Events: envelope.Events}
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

// tell publishes what the turn tells the world and notes the sign of life that it was.
func (t *turn) tell(ctx context.Context, parts []Part) error {
	p := Publication{Parts: parts, SampleAlone: len(parts) > 0}
	for _, part := range parts {
		p.SampleAlone = p.SampleAlone && kindOf(part.Events) == eventlog.Sample
	}
	p.Messages = t.messages(parts)
	if t.reply != nil {
		p.Messages = append(p.Messages, t.reply()...)
	}
	if len(p.Messages) > 0 || len(p.Parts) > 0 {
		if err := t.Publisher.Publish(ctx, p); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	if t.heard != nil {
		return t.heard()
	}
	return nil
}

// kindOf says what a part with these events is.
func kindOf(events []any) eventlog.Kind {
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
