package central

import (
	"context"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
)

// Envelope is what a part's text says.
type Envelope struct {
	Commit uuid.UUID
	At     domain.UnixMillis
	// Cause is zero where the commit has none.
	Cause eventlog.Cause
	// CausedAt is the Kafka timestamp of the record that is the cause; 0 where there is none.
	CausedAt domain.UnixMillis
	// Events are all of one aggregate: chargingpoint.Event or session.Event.
	Events []any
}

// Codec turns a part into its canonical text and back. Safe for use from several
// goroutines.
type Codec interface {
	// Encode gives the text: the same bytes for the same envelope, always. It fails on an
	// event that it does not know.
	Encode(e Envelope) ([]byte, error)
	// Decode reads a text that any version of the project has written. Its error
	// says what can't be understood.
	Decode(body []byte) (Envelope, error)
}

// Publisher tells the world what a turn decided. Safe for use from several goroutines.
type Publisher interface {
	// Publish returns nil only when everything is durable or sent: each message with the
	// broker, each projection stored that may not lag. Any error fails the turn; what was
	// published in part is published again.
	Publish(ctx context.Context, p Publication) error
}

// Publication is what one turn tells.
type Publication struct {
	// Messages go to the other programs, in this order.
	Messages []message.Message
	// Parts are what the turn stored, decoded; none where it stored nothing.
	Parts []Part
	// SampleAlone tells that Parts hold nothing but a sample: projections of it may lag.
	SampleAlone bool
}

// Part is a stored part, decoded.
type Part struct {
	Stream eventlog.Stream
	// Version is that of the first event.
	Version eventlog.Version
	At      domain.UnixMillis
	Hash    eventlog.Hash
	// Events are shared: nobody changes them.
	Events []any
}

// Sign is a point's last sign of life.
type Sign struct {
	// HeardAt is when somebody of this network heard it, by the hearer's clock; 0: nobody has.
	HeardAt domain.UnixMillis
	// ReportedAt is the Kafka timestamp of the report.
	ReportedAt domain.UnixMillis
}

// Newer tells whether the sign stays where it and another are known: it was reported later,
// or at the same time and heard later.
func (s Sign) Newer(than Sign) bool {
	return s.ReportedAt > than.ReportedAt || s.ReportedAt == than.ReportedAt && s.HeardAt > than.HeardAt
}

// SignsOfLife remembers when each point was last heard. It is no history: it may be
// empty after a restart. Safe for use from several goroutines.
type SignsOfLife interface {
	// Heard notes a sign; of two the newer one stays.
	Heard(ctx context.Context, point domain.PointID, s Sign) error
	// Last is the last sign, zero where there is none.
	Last(ctx context.Context, point domain.PointID) (Sign, error)
}

// Secrets knows the points' secrets. Safe for use from several goroutines.
type Secrets interface {
	// Secret is the point's; ok is false where the point is not known.
	Secret(point domain.PointID) (secret string, ok bool)
}

// Readings is told how each stream was read that a turn needed and its lane had not kept. Safe
// for use from several goroutines.
type Readings interface {
	// Note is told a stream and eventlog.ErrDamaged where it can't be read; nil where it can.
	Note(ctx context.Context, stream eventlog.Stream, damage error)
}

// Ignored counts inputs that did nothing, by the rule that says so. Safe for use from
// several goroutines.
type Ignored interface {
	Count(rule error)
}
