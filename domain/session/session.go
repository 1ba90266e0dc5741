package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"evcharging/domain"
)

// Status is where a session stands.
type Status string

// The statuses. None is that of a session that does not exist.
const (
	None       Status = ""
	Refused    Status = "REFUSED"
	Authorized Status = "AUTHORIZED"
	Supplying  Status = "SUPPLYING"
	Ending     Status = "ENDING"
	Closed     Status = "CLOSED"
)

// Cause is why Central ended a session.
type Cause string

// The causes. Their texts are a ticket's reasons.
const (
	CauseFault        Cause = "KO"
	CauseDisconnected Cause = "DISCONNECTED"
	CauseStopped      Cause = "STOP_BY_CENTRAL"
	CauseExpired      Cause = "EXPIRED"
)

// DeadlineKind is what a session waits for.
type DeadlineKind string

// The deadlines of a session.
const (
	// TakeUp: a granted session waits for its first report.
	TakeUp DeadlineKind = "take-up"
	// Silence: a running session waits for its next report.
	Silence DeadlineKind = "silence"
	// FinalReport: a session whose end was decided waits for its done.
	FinalReport DeadlineKind = "final-report"
)

// Deadline is what a session waits for, since when and until when. The zero Deadline is none.
type Deadline struct {
	Kind  DeadlineKind
	Since domain.UnixMillis
	Due   domain.UnixMillis
}

// Patience says how long a session waits. It is the network's, not the session's.
type Patience struct{ TakeUp, Silence, FinalReport time.Duration }

// DefaultPatience is that of behaviour.md.
var DefaultPatience = Patience{TakeUp: time.Minute, Silence: time.Minute, FinalReport: time.Minute}

// Request is who asked for what.
type Request struct {
	Point  domain.PointID
	Driver domain.DriverID
	// ID is empty where the request came without one.
	ID domain.RequestID
	// Origin is driver, cp or operator.
	Origin string
}

// Reading is a session's last sample.
type Reading struct {
	Seq    int64
	Energy domain.MilliwattHours
	Power  domain.Watts
	Amount domain.MicroEuros
	At     domain.UnixMillis
	Source Source
}

// Source is where a report came from, and the Kafka timestamp that it has.
type Source struct {
	Topic     string
	Partition int32
	Offset    int64
	Timestamp domain.UnixMillis
}

// Ticket is the bill of a session as it stands.
type Ticket struct {
	ID        domain.TicketID
	Revision  int
	StartedAt domain.UnixMillis
	EndedAt   domain.UnixMillis
	Energy    domain.MilliwattHours
	Price     domain.MicroEurosPerKWh
	Amount    domain.MicroEuros
	Reason    string
}

// Revision is what a final report that came late changed in a ticket: what was billed
// before stays readable.
type Revision struct {
	Before, After Ticket
	// Reason is the late report's; the ticket keeps its own.
	Reason string
	// At is when it was decided.
	At domain.UnixMillis
}

// Difference is what is owed beyond what was billed before.
func (r Revision) Difference() domain.MicroEuros { return r.After.Amount - r.Before.Amount }

// Ignored counts what a session ignored, by rule, since its lifecycle event before.
type Ignored struct{ NotNewer, RunsBackwards int }

func (i Ignored) add(j Ignored) Ignored {
	return Ignored{i.NotNewer + j.NotNewer, i.RunsBackwards + j.RunsBackwards}
}

// Session is the aggregate. It is not safe for use from several goroutines.
type Session struct {
	domain.Recorder[Event]

	id         domain.SessionID
	status     Status
	request    Request
	refusal    string
	price      domain.MicroEurosPerKWh
	order      domain.Order
	validUntil domain.UnixMillis
	grantedAt  domain.UnixMillis
	startedAt  domain.UnixMillis
	endedAt    domain.UnixMillis // when the end was decided, or the done taken in
	last       *Reading
	measured   domain.MilliwattHours // the greatest energy that a sample named itself
	cause      Cause
	deadline   Deadline
	ticket     *Ticket
	revisions  []Revision
	ignored    Ignored // up to the last lifecycle event
	uncounted  Ignored // since then: not in the log before the next one
	updatedAt  domain.UnixMillis
}

// Facts that make an input do nothing.
var (
	ErrAlreadyAnswered = errors.New("the request was answered already")
	ErrNotNewer        = errors.New("a newer sample is known")
	ErrRunsBackwards   = errors.New("the sample has less energy than the one before")
	ErrClosed          = errors.New("the session is closed")
	ErrAlreadyEnding   = errors.New("the session's end was decided already")
	ErrDeadlineGone    = errors.New("the deadline does not stand any more")
)

// Facts that make an input impossible.
var (
	ErrUnknownSession = errors.New("no such session was granted by Central")
	ErrForeignPoint   = errors.New("the session is another point's")
	ErrForeignDriver  = errors.New("the session is another driver's")
	errUnknownEvent   = errors.New("unknown event of a session")
	errNoTicket       = errors.New("a ticket is revised that was never issued")
)

// sessions is the namespace of derived ids; its value is part of the log's format.
var sessions = uuid.MustParse("6f0d2b8e-54f1-5a0c-9d53-2f1c6a7be0a4")

// IDFor is the id of the session that a request with an id makes: a UUIDv5 of
// driver, point and request, so that the same request makes the same session.
func IDFor(point domain.PointID, driver domain.DriverID, request domain.RequestID) domain.SessionID {
	return derive("request", string(driver), string(point), string(request))
}

// IDForCause is the id of the session that a request without an id makes: a UUIDv5 of
// driver, point and the record that brought it.
func IDForCause(point domain.PointID, driver domain.DriverID, cause string) domain.SessionID {
	return derive("cause", string(driver), string(point), cause)
}

// TicketFor is the id of a session's ticket: a UUIDv5 of the session's.
func TicketFor(id domain.SessionID) domain.TicketID {
	return domain.TicketID(uuid.NewSHA1(sessions, []byte("ticket\n"+string(id))).String())
}

func derive(kind string, texts ...string) domain.SessionID {
	name := kind
	for _, t := range texts {
		name += "\n" + t // no id contains a line feed
	}
	return domain.SessionID(uuid.NewSHA1(sessions, []byte(name)).String())
}

// New is a session that does not exist yet.
func New(id domain.SessionID) *Session { return &Session{id: id} }

// ID is the session's id.
func (s *Session) ID() domain.SessionID { return s.id }

// Status is where the session stands.
func (s *Session) Status() Status { return s.status }

// Open tells whether the session was granted and is not closed: it holds its point.
func (s *Session) Open() bool {
	return s.status == Authorized || s.status == Supplying || s.status == Ending
}

// Request is who asked for what.
func (s *Session) Request() Request { return s.request }

// Refusal is why the request was refused; empty where it was not.
func (s *Session) Refusal() string { return s.refusal }

// Price is the price of the grant. It never changes.
func (s *Session) Price() domain.MicroEurosPerKWh { return s.price }

// Start is the order that starts the supply, and until when it counts.
func (s *Session) Start() (domain.Order, domain.UnixMillis) { return s.order, s.validUntil }

// GrantedAt is when the session was granted.
func (s *Session) GrantedAt() domain.UnixMillis { return s.grantedAt }

// StartedAt is when the first report came, by the report's own time; 0 before it.
func (s *Session) StartedAt() domain.UnixMillis { return s.startedAt }

// Last is the last sample; ok is false before the first.
func (s *Session) Last() (r Reading, ok bool) {
	if s.last == nil {
		return Reading{}, false
	}
	return *s.last, true
}

// Cause is why Central ended the session; empty where it did not.
func (s *Session) Cause() Cause { return s.cause }

// Deadline is what the session waits for.
func (s *Session) Deadline() Deadline { return s.deadline }

// Ticket is the bill as it stands; ok is false before there is one.
func (s *Session) Ticket() (t Ticket, ok bool) {
	if s.ticket == nil {
		return Ticket{}, false
	}
	return *s.ticket, true
}

// Revisions are what changed the ticket since it was issued, in order: the Before of the
// first is the ticket as it was issued. Nobody changes them.
func (s *Session) Revisions() []Revision { return s.revisions }

// Ignored counts what the session ignored, by rule, as far as the log knows.
func (s *Session) Ignored() Ignored { return s.ignored }

// UpdatedAt is when the session changed last.
func (s *Session) UpdatedAt() domain.UnixMillis { return s.updatedAt }

// Apply folds an event that was decided at an instant. It only assigns, and fails on
// an event that it does not know, and on a revision of no ticket. All samples but the
// last may be left out.
func (s *Session) Apply(at domain.UnixMillis, event Event) error {
	switch e := event.(type) {
	case SupplyAuthorized:
		s.status = Authorized
		s.request = Request{Point: e.Point, Driver: e.Driver, ID: e.Request, Origin: e.Origin}
		s.price, s.order, s.validUntil, s.grantedAt = e.Price, e.Order, e.ValidUntil, at
		s.deadline = Deadline{TakeUp, at, e.Due}
	case SupplyRefused:
		s.status = Refused
		s.request = Request{Point: e.Point, Driver: e.Driver, ID: e.Request, Origin: e.Origin}
		s.refusal = e.Reason
	case SupplyStarted:
		s.startedAt = e.At
		if s.status == Authorized {
			s.status = Supplying
		}
	case MeterValueRecorded:
		s.last = &Reading{Seq: e.Seq, Energy: e.Energy, Power: e.Power, Amount: e.AmountReported, At: e.At, Source: e.Source}
		s.measured = e.Measured
		if s.status == Supplying {
			s.deadline = Deadline{Silence, at, e.Due}
		}
	case EndDecided:
		s.status, s.cause, s.endedAt = Ending, e.Cause, at
		s.deadline = Deadline{FinalReport, at, e.Due}
		s.ignored, s.uncounted = s.ignored.add(e.Ignored), Ignored{}
	case SupplyEnded:
		if s.endedAt == 0 {
			s.endedAt = at
		}
		s.ignored, s.uncounted = s.ignored.add(e.Ignored), Ignored{}
	case TicketIssued:
		s.status, s.deadline = Closed, Deadline{}
		s.ticket = &Ticket{
			ID: e.Ticket, StartedAt: e.StartedAt, EndedAt: e.EndedAt,
			Energy: e.Energy, Price: e.Price, Amount: e.Amount, Reason: e.Reason,
		}
		s.ignored, s.uncounted = s.ignored.add(e.Ignored), Ignored{}
	case TicketRevised:
		if s.ticket == nil {
			return errNoTicket
		}
		revised := *s.ticket
		revised.Revision, revised.Energy, revised.Amount = e.Revision, e.EnergyAfter, e.AmountAfter
		revised.EndedAt = e.EndedAt
		s.revisions = append(s.revisions, Revision{Before: *s.ticket, After: revised, Reason: e.Reason, At: at})
		s.ticket = &revised
	default:
		return fmt.Errorf("%w: %T", errUnknownEvent, event)
	}
	s.updatedAt = at
	return nil
}

func (s *Session) record(now domain.UnixMillis, event Event) { s.Record(now, event, s.Apply) }

// guardReport is nil where a report may be this session's.
func (s *Session) guardReport(point domain.PointID, driver domain.DriverID) error {
	switch {
	case s.status == None || s.status == Refused:
		return ErrUnknownSession
	case s.request.Point != point:
		return ErrForeignPoint
	case s.request.Driver != driver:
		return ErrForeignDriver
	}
	return nil
}

// reportTime is the report's own time where it can be true: between the grant and the
// record's timestamp; else that timestamp. Where not even that can be true, since the
// sender's clock made it, it is the grant's time.
func (s *Session) reportTime(at, recordedAt domain.UnixMillis) domain.UnixMillis {
	if at < s.grantedAt || at > recordedAt {
		return max(recordedAt, s.grantedAt)
	}
	return at
}
