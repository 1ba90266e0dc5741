package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// Step is an event, and what caused it.
type Step struct {
	At      domain.UnixMillis
	Stream  eventlog.Stream
	Version eventlog.Version
	// Event is its name, Said what it says, in words. Event is empty where samples were moved to
	// an archive, as Said says; then there is neither time nor message.
	Event, Said string
	// Message is the record that its commit came of; that of a sample which has none is the
	// sample's. Its Timestamp is when it arrived at the broker.
	Message session.Source
	// Inside is what made the event follow where the message did not ask for it itself.
	Inside Inside
	// Holds tells that what the event says still holds: it led to the state.
	Holds bool
}

// Inside is a cause within Central. The zero Inside is none.
type Inside struct {
	// Rule is deadline or policy: one that passed, or what follows from another event.
	Rule string
	// Why says which, in words.
	Why string
}

// The rules of an Inside.
const (
	ByDeadline = "deadline"
	ByPolicy   = "policy"
)

func deadline(format string, args ...any) Inside {
	return Inside{ByDeadline, fmt.Sprintf(format, args...)}
}

func policy(format string, args ...any) Inside { return Inside{ByPolicy, fmt.Sprintf(format, args...)} }

// WhySession is all events of a session until the instant, in order, and what caused each.
// Of its samples the last holds. ErrNoSession where there was none.
func (p Past) WhySession(ctx context.Context, id domain.SessionID) ([]Step, error) {
	w := &sessionSteps{accounting: accounting{Account: Account{Session: id}, state: session.New(id)}}
	stream := central.SessionStream(id)
	began := domain.UnixMillis(0)
	var missed error
	for c, err := range p.stream(ctx, stream) {
		if archived, ok := errors.AsType[*eventlog.ArchivedError](err); ok {
			w.steps = append(w.steps, Step{Stream: stream, Version: archived.From, Said: archived.Error()})
			if w.Version, missed = archived.To, err; archived.Missing != nil {
				p.Damaged(err)
			}
			continue
		}
		if err == nil && !p.has(c) {
			began = c.At
			break
		}
		var text central.Envelope
		if err == nil {
			if text, err = p.Codec.Decode(c.Parts[0].Body); err != nil {
				err = fmt.Errorf("%w: %s at version %d: %w", eventlog.ErrDamaged, stream, c.Parts[0].Version, err)
			} else {
				err = w.part(c, text)
			}
		}
		if errors.Is(err, eventlog.ErrDamaged) {
			p.Damaged(err)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s from the event log: %w", stream, err)
		}
	}
	switch {
	case len(w.steps) == 0 && began != 0:
		return nil, fmt.Errorf("%w at that time: %s begins at %s", ErrNoSession, id, began)
	case len(w.steps) == 0:
		return nil, fmt.Errorf("%w: %s", ErrNoSession, id)
	case w.sample != 0:
		w.steps[w.sample-1].Holds = true
	}
	if missed != nil && w.state.Open() {
		p.Damaged(missed)
	}
	return w.steps, p.whyEnded(ctx, w)
}

// sessionSteps are the steps of a session so far.
type sessionSteps struct {
	accounting
	steps []Step
	// sample is 1 more than the index of the last sample; 0: there is none.
	sample int
	// ended is 1 more than the index of the step that decided the end where a point may have,
	// commit which one that was.
	ended  int
	commit eventlog.Commit
}

// part takes in a part.
func (w *sessionSteps) part(c eventlog.Commit, text central.Envelope) error {
	version := c.Parts[0].Version
	if version != w.Version+1 {
		return missing(c.Parts[0].Stream, w.Version, version)
	}
	before := w.state.Deadline()
	if err := w.take(c, text); err != nil {
		return fmt.Errorf("%w: %w", eventlog.ErrDamaged, err)
	}
	in := w.Inputs[len(w.Inputs)-1]
	for i, event := range text.Events {
		step := Step{
			At: c.At, Stream: c.Parts[0].Stream, Version: version + eventlog.Version(i), Event: nameOf(event), Said: in.Said[i],
			Message: in.Source, Inside: insideSession(c.At, text.Events[:i], event, before), Holds: true,
		}
		switch e := event.(type) {
		case session.MeterValueRecorded:
			step.Holds = false
			w.sample = len(w.steps) + 1
		case session.EndDecided:
			if e.Cause != session.CauseExpired {
				w.ended, w.commit = len(w.steps)+1, c
			}
		}
		w.steps = append(w.steps, step)
	}
	return nil
}

// insideSession is what inside made an event of a session follow that was decided at an
// instant, of those before it in its part and the deadline that stood before them.
func insideSession(at domain.UnixMillis, earlier []any, event any, stood session.Deadline) Inside {
	switch e := event.(type) {
	case session.EndDecided:
		switch e.Cause {
		case session.CauseExpired:
			return passed(stood)
		case session.CauseDisconnected:
			if stood.Kind == session.Silence && at >= stood.Due {
				return passed(stood)
			}
			return policy("a point that disconnects ends what it supplies")
		case session.CauseFault:
			return policy("a point that breaks ends what it supplies")
		case session.CauseStopped:
			return policy("a point that is taken out of order ends what it supplies")
		}
	case session.TicketIssued:
		if len(earlier) == 0 {
			return passed(stood)
		}
		if _, expired := earlier[len(earlier)-1].(session.EndDecided); expired {
			return policy("a grant that expires is billed at once")
		}
		return policy("the final report closes the session")
	}
	return Inside{}
}

// passed is a session's deadline that has passed.
func passed(d session.Deadline) Inside {
	switch d.Kind {
	case session.TakeUp:
		return deadline("%s: nothing was reported from the grant at %s until %s", d.Kind, d.Since, d.Due)
	case session.Silence:
		return deadline("%s: nothing was reported from %s until %s", d.Kind, d.Since, d.Due)
	case session.FinalReport:
		return deadline("%s: the end was decided at %s, and no final report came until %s", d.Kind, d.Since, d.Due)
	}
	return Inside{}
}

// whyEnded finds what happened to the point that the end of a session followed from, where
// it followed from that: it is in the same commit.
func (p Past) whyEnded(ctx context.Context, w *sessionSteps) error {
	if w.ended == 0 {
		return nil
	}
	step := &w.steps[w.ended-1]
	point := w.state.Request().Point
	for c, err := range p.Log.Read(ctx, central.PointStream(point), 1) {
		if errors.Is(err, eventlog.ErrDamaged) {
			p.Damaged(err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s from the event log: %w", central.PointStream(point), err)
		}
		if c.At > w.commit.At {
			return nil
		}
		if c.ID != w.commit.ID {
			continue
		}
		part, err := (&central.Central{Codec: p.Codec}).Decode(c.Parts[0])
		if err != nil {
			p.Damaged(err)
			return nil
		}
		for i, event := range part.Events {
			name := fmt.Sprintf("%s, version %d of %s", nameOf(event), part.Version+eventlog.Version(i), point)
			switch e := event.(type) {
			case chargingpoint.PointDisconnected:
				step.Inside = policy("a point that disconnects ends what it supplies (%s); deadline %s", name, leaseOf(e))
			case chargingpoint.FaultReported, chargingpoint.TakenOutOfService:
				step.Inside.Why += " (" + name + ")"
			}
		}
		return nil
	}
	return nil
}

func leaseOf(e chargingpoint.PointDisconnected) string {
	return fmt.Sprintf("%s: its Monitor was heard last at %s, and its lease is %s", central.DeadlineLease, e.LastHeard, e.Lease)
}

// WhyPoint is all events of a point until the instant, in order, and what caused each. Those
// hold that no later one has made a thing of the past. ErrNoPoint where there were none.
func (p Past) WhyPoint(ctx context.Context, id domain.PointID) ([]Step, error) {
	w := pointSteps{point: chargingpoint.New(id), holds: map[string][]int{}}
	stream := central.PointStream(id)
	version := eventlog.Version(0)
	for c, err := range p.Log.Read(ctx, stream, 1) {
		if err == nil && !p.has(c) {
			break
		}
		var text central.Envelope
		if err == nil {
			part := c.Parts[0]
			if text, err = p.Codec.Decode(part.Body); err != nil {
				err = fmt.Errorf("%w: %s at version %d: %w", eventlog.ErrDamaged, stream, part.Version, err)
			} else if part.Version != version+1 {
				err = missing(stream, version, part.Version)
			} else {
				err = w.part(c, text)
				version = part.Last()
			}
		}
		if errors.Is(err, eventlog.ErrDamaged) {
			p.Damaged(err)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read %s from the event log: %w", stream, err)
		}
	}
	if len(w.steps) == 0 {
		return nil, fmt.Errorf("%w at that time: %s", ErrNoPoint, id)
	}
	for _, indices := range w.holds {
		for _, i := range indices {
			w.steps[i].Holds = true
		}
	}
	return w.steps, nil
}

// pointSteps are the steps of a point so far.
type pointSteps struct {
	point *chargingpoint.Point
	steps []Step
	// holds are the indices of the steps that made a fact of the point what it is.
	holds map[string][]int
	// scheduled are the indices of operators' words about the price, by when they count.
	scheduled map[domain.UnixMillis]int
	// stopped is the session that a stop was ordered for last.
	stopped domain.SessionID
}

func (w *pointSteps) part(c eventlog.Commit, text central.Envelope) error {
	for i, any := range text.Events {
		event, ok := any.(chargingpoint.Event)
		if !ok {
			return fmt.Errorf("%w: %s at version %d: %T is no event of a point", eventlog.ErrDamaged, c.Parts[0].Stream, c.Parts[0].Version, any)
		}
		w.steps = append(w.steps, Step{
			At: c.At, Stream: c.Parts[0].Stream, Version: c.Parts[0].Version + eventlog.Version(i),
			Event: nameOf(event), Said: saidOfPoint(event), Inside: w.inside(event),
			Message: session.Source{Topic: c.Cause.Topic, Partition: c.Cause.Partition, Offset: c.Cause.Offset, Timestamp: text.CausedAt},
		})
		w.settle(c.At, event)
		if err := w.point.Apply(c.At, event); err != nil {
			return fmt.Errorf("%w: %s: %w", eventlog.ErrDamaged, c.Parts[0].Stream, err)
		}
	}
	return nil
}

// settle notes which fact the last step has settled.
func (w *pointSteps) settle(at domain.UnixMillis, event chargingpoint.Event) {
	last := len(w.steps) - 1
	settles := func(fact string, steps ...int) { w.holds[fact] = append(steps, last) }
	switch e := event.(type) {
	case chargingpoint.PointRegistered:
		settles("registration")
	case chargingpoint.PriceSet:
		w.price(at, e.From, last)
	case chargingpoint.PriceHandedBack:
		w.price(at, e.From, last)
	case chargingpoint.PriceTookEffect:
		if said, ok := w.scheduled[e.From]; ok {
			settles("price", said)
		} else {
			settles("price")
		}
		w.forgetScheduled(func(from domain.UnixMillis) bool { return from <= e.From })
	case chargingpoint.PointConnected:
		settles("connection")
	case chargingpoint.LeaseChanged:
		w.holds["connection"] = append(w.holds["connection"], last)
	case chargingpoint.PointDisconnected:
		settles("connection")
	case chargingpoint.FaultReported, chargingpoint.FaultCleared:
		settles("health")
	case chargingpoint.TakenOutOfService, chargingpoint.ReturnedToService:
		settles("service")
	case chargingpoint.PointOccupied:
		settles("session")
		delete(w.holds, "stop")
	case chargingpoint.StopOrdered:
		settles("stop")
		w.stopped = e.Session
	case chargingpoint.PointReleased:
		settles("session")
	}
	if e, ok := event.(chargingpoint.TakenOutOfService); ok && e.Session != "" {
		w.stopped = e.Session
	}
}

// price notes an operator's word about the price, which replaces what was said for its
// instant or later.
func (w *pointSteps) price(at, from domain.UnixMillis, step int) {
	if from <= at {
		w.forgetScheduled(func(domain.UnixMillis) bool { return true })
		w.holds["price"] = []int{step}
		return
	}
	w.forgetScheduled(func(earlier domain.UnixMillis) bool { return earlier >= from })
	if w.scheduled == nil {
		w.scheduled = map[domain.UnixMillis]int{}
	}
	w.scheduled[from] = step
	w.holds[scheduledFact(from)] = []int{step}
}

func (w *pointSteps) forgetScheduled(gone func(from domain.UnixMillis) bool) {
	for from := range w.scheduled {
		if gone(from) {
			delete(w.scheduled, from)
			delete(w.holds, scheduledFact(from))
		}
	}
}

func scheduledFact(from domain.UnixMillis) string { return "price from " + from.String() }

// inside is what inside made an event of a point follow, which is as it was before it.
func (w *pointSteps) inside(event chargingpoint.Event) Inside {
	switch e := event.(type) {
	case chargingpoint.PointDisconnected:
		return deadline("%s", leaseOf(e))
	case chargingpoint.PriceTookEffect:
		return deadline("%s: the price that was scheduled for %s counts", central.DeadlinePrice, e.From)
	case chargingpoint.PointOccupied:
		return policy("a request that is granted occupies its point")
	case chargingpoint.PointReleased:
		return policy("session %s is closed: its ticket was issued", e.Session)
	case chargingpoint.StopOrdered:
		occupied, _ := w.point.Occupied()
		if occupied.Session == e.Session && w.stopped != e.Session {
			return policy("the end of session %s was decided", e.Session)
		}
		return policy("session %s had ended, and a sample of it came all the same", e.Session)
	}
	return Inside{}
}

// saidOfPoint is an event of a point in words.
func saidOfPoint(event chargingpoint.Event) string {
	switch e := event.(type) {
	case chargingpoint.PointRegistered:
		return fmt.Sprintf("the point says that it stands at %s and costs %s EUR/kWh", e.Location, e.Price)
	case chargingpoint.PriceSet:
		return fmt.Sprintf("a supply costs %s EUR/kWh from %s on%s", e.Price, whenSaid(e.From), saidBy(e.By))
	case chargingpoint.PriceHandedBack:
		return fmt.Sprintf("a supply costs what the point says from %s on%s", whenSaid(e.From), saidBy(e.By))
	case chargingpoint.PriceTookEffect:
		return fmt.Sprintf("the price that was scheduled for %s counts", e.From)
	case chargingpoint.PointConnected:
		return fmt.Sprintf("its Monitor was heard, with a lease of %s", e.Lease)
	case chargingpoint.LeaseChanged:
		return fmt.Sprintf("its Monitor gives a lease of %s", e.Lease)
	case chargingpoint.PointDisconnected:
		return "its Monitor is silent: the lease ran out"
	case chargingpoint.FaultReported:
		return "its Engine is down or broken"
	case chargingpoint.FaultCleared:
		return "its Engine works"
	case chargingpoint.TakenOutOfService:
		return "taken out of order" + saidBy(e.By)
	case chargingpoint.ReturnedToService:
		return "back in service" + saidBy(e.By)
	case chargingpoint.PointOccupied:
		return fmt.Sprintf("held by session %s of %s", e.Session, e.Driver)
	case chargingpoint.StopOrdered:
		return fmt.Sprintf("ordered to stop session %s: %s", e.Session, e.Cause)
	case chargingpoint.PointReleased:
		return fmt.Sprintf("session %s holds it no more", e.Session)
	}
	return ""
}

func whenSaid(from domain.UnixMillis) string {
	if from == 0 {
		return "then"
	}
	return from.String()
}

func saidBy(who string) string {
	if who == "" {
		return ""
	}
	return ", by " + who
}

// nameOf is an event's name.
func nameOf(event any) string {
	name := fmt.Sprintf("%T", event)
	return name[strings.LastIndexByte(name, '.')+1:]
}
