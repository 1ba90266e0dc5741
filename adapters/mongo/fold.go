package mongo

import (
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// errGap tells of a part that does not follow the last one folded: parts between them are
// in the log.
var errGap = errors.New("parts of the stream are missing")

// fold is what a stream's parts come to, all of them in order: of a point or of a session.
// The same parts give the same document, byte for byte. It is not safe for use from
// several goroutines.
type fold struct {
	stream eventlog.Stream
	// version is that of the last event folded.
	version eventlog.Version

	point *chargingpoint.Point
	// since is when the point's state became what it is.
	since domain.UnixMillis

	session   *session.Session
	curve     curve
	bills     []eventlog.Hash // of the parts that issued and revised the ticket
	revisions []revision
}

// newFold is the fold of a stream before its first part.
func newFold(stream eventlog.Stream) (*fold, error) {
	if id, ok := strings.CutPrefix(string(stream), "point-"); ok {
		return &fold{stream: stream, point: chargingpoint.New(domain.PointID(id))}, nil
	}
	if id, ok := strings.CutPrefix(string(stream), "session-"); ok {
		return &fold{stream: stream, session: session.New(domain.SessionID(id))}, nil
	}
	return nil, fmt.Errorf("%w: stream %s is neither a point's nor a session's", eventlog.ErrDamaged, stream)
}

// apply folds the stream's next part. One that was folded before is passed over; errGap
// where parts before it are missing, eventlog.ErrDamaged where it can't be folded, and then
// the fold is of no use any more.
func (f *fold) apply(part central.Part) error {
	last := part.Version + eventlog.Version(len(part.Events)) - 1
	switch {
	case last <= f.version:
		return nil
	case part.Version != f.version+1:
		return errGap
	}
	var err error
	if f.point != nil {
		err = f.applyToPoint(part)
	} else {
		err = f.applyToSession(part)
	}
	if err != nil {
		return fmt.Errorf("%w: %s at version %d: %w", eventlog.ErrDamaged, f.stream, part.Version, err)
	}
	f.version = last
	return nil
}

func (f *fold) applyToPoint(part central.Part) error {
	before := f.point.State()
	for _, event := range part.Events {
		e, ok := event.(chargingpoint.Event)
		if !ok {
			return fmt.Errorf("%T is no event of a point", event)
		}
		if err := f.point.Apply(part.At, e); err != nil {
			return err
		}
	}
	if f.version == 0 || f.point.State() != before {
		f.since = part.At
	}
	return nil
}

func (f *fold) applyToSession(part central.Part) error {
	for _, event := range part.Events {
		e, ok := event.(session.Event)
		if !ok {
			return fmt.Errorf("%T is no event of a session", event)
		}
		before, _ := f.session.Ticket()
		if err := f.session.Apply(part.At, e); err != nil {
			return err
		}
		switch e := e.(type) {
		case session.MeterValueRecorded:
			f.curve.add(sampleOf(e))
		case session.TicketIssued:
			f.bills = append(f.bills, part.Hash)
		case session.TicketRevised:
			f.bills = append(f.bills, part.Hash)
			f.revisions = append(f.revisions, revisionOf(e, before, part))
		}
	}
	return nil
}

// closed tells that no part is awaited any more: what may still come is a revision.
func (f *fold) closed() bool { return f.session != nil && !f.session.Open() }

// asker is the driver whose request a part answers; empty where it answers none.
func asker(part central.Part) domain.DriverID {
	for _, event := range part.Events {
		switch e := event.(type) {
		case session.SupplyAuthorized:
			return e.Driver
		case session.SupplyRefused:
			return e.Driver
		}
	}
	return ""
}

// documented tells whether the stream has a document. Once it has, it always will.
func (f *fold) documented() bool {
	if f.point != nil {
		return f.point.Known()
	}
	return f.session.Open() || f.session.Status() == session.Closed
}

// updatedAt is the time of the last part folded that has changed something.
func (f *fold) updatedAt() domain.UnixMillis {
	if f.point != nil {
		return f.point.UpdatedAt()
	}
	return f.session.UpdatedAt()
}

// document is the stream's document; ok is false where it has none: a point that has not
// registered, a request that was refused.
func (f *fold) document() (d projection, ok bool, err error) {
	if !f.documented() {
		return projection{}, false, nil
	}
	var body any
	if f.point != nil {
		d.collection, d.id, body = pointsCollection, string(f.point.ID()), f.showPoint()
	} else {
		d.collection, d.id, body = sessionsCollection, string(f.session.ID()), f.showSession()
		d.bills = f.digests()
	}
	d.version = int64(f.version)
	if d.body, err = bson.Marshal(body); err != nil {
		return projection{}, false, fmt.Errorf("encode the document of %s: %w", f.stream, err)
	}
	return d, true, nil
}

const (
	// wholeCurve is for how long from the first sample on a curve has every sample,
	// curveStep what lies between two of its samples later.
	wholeCurve = 60_000
	curveStep  = 60_000
	// wholeSamples bounds the samples of the first minute: a point whose clock stands still
	// must not make its document grow for ever.
	wholeSamples = 1_000
)

// curve is what a session's document keeps of its samples: each of the first minute, then
// each that comes 60 s or more after the last one taken, and the last. Time is the samples'.
type curve struct {
	taken []sample
	// last is the last sample, where it was not taken.
	last *sample
}

func (c *curve) add(s sample) {
	c.last = nil
	if n := len(c.taken); n > 0 {
		first, latest := c.taken[0].At, c.taken[n-1].At
		whole := s.At-first < wholeCurve && n < wholeSamples
		if !whole && s.At-latest < curveStep {
			c.last = &s
			return
		}
	}
	c.taken = append(c.taken, s)
}

// samples are the curve's, in order; never nil.
func (c *curve) samples() []sample {
	out := make([]sample, len(c.taken), len(c.taken)+1)
	copy(out, c.taken)
	if c.last != nil {
		out = append(out, *c.last)
	}
	return out
}

// newest is the last sample of all; nil before the first.
func (c *curve) newest() *sample {
	switch n := len(c.taken); {
	case c.last != nil:
		return c.last
	case n > 0:
		return &c.taken[n-1]
	}
	return nil
}
