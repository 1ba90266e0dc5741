// Package message holds what the programs of the network say to each other over
// Kafka, in the domain's values. The wire's texts, topics and keys are the
// business of the adapter that carries them.
//
// An optional field that was absent is nil, or empty where no present value is.
package message

import "evcharging/domain"

// Message is any record of the contract. The set is closed.
type Message interface {
	// about is the point that the message is about.
	about() domain.PointID
}

// PointOf is the point that a message is about, or that it comes from.
func PointOf(m Message) domain.PointID { return m.about() }

// Received is a record as it came, decoded.
type Received struct {
	Source Source
	// Message is one of this package's, by value.
	Message Message
}

// Source tells where a record came from and when.
type Source struct {
	Topic     string
	Partition int32
	Offset    int64
	// Timestamp is the record's Kafka timestamp.
	Timestamp domain.UnixMillis
	// Trusted tells that the broker set Timestamp (LogAppendTime). A sender's own clock
	// orders records, but no age is judged by it.
	Trusted bool
	// Digest is 8 bytes of SHA-256 over the record's timestamp (8 bytes big-endian), and
	// key and value, each after its length (8 bytes big-endian; a null has length 2^64-1).
	Digest [8]byte
}

// Registration is what a Monitor says of its point (ev.register).
type Registration struct {
	Point domain.PointID
	// Location and Price are nil where the record has none.
	Location *string
	Price    *domain.MicroEurosPerKWh
	// PriceText is the price as it was sent, At the time as it was sent: what Proof was made over.
	PriceText string
	At        string
	Proof     string
}

// HealthStatus is what a Monitor says of its Engine.
type HealthStatus string

// The health statuses.
const (
	HealthOK        HealthStatus = "OK"
	HealthKO        HealthStatus = "KO"
	HealthRecovered HealthStatus = "RECOVERED"
)

// Health is a Monitor's report, and its sign of life (ev.health).
type Health struct {
	Point  domain.PointID
	Status HealthStatus
	// LeaseSeconds is for how long the report is a sign of life; 0: it gives no lease.
	LeaseSeconds int
}

// OrderKind is what an Engine is told to do.
type OrderKind string

// The orders.
const (
	OrderStart      OrderKind = "START_SUPPLY"
	OrderStop       OrderKind = "STOP_SUPPLY"
	OrderOutOfOrder OrderKind = "OUT_OF_ORDER"
	OrderResume     OrderKind = "RESUME"
)

// Order is an order of Central to an Engine. On the wire a start goes out on
// ev.supply.start, all others on ev.commands; a start that an operator commanded
// on both. An Engine that receives either gets it as this one type.
type Order struct {
	Kind  OrderKind
	Point domain.PointID
	// Session, Driver and Price are those of a start. A stop may name the session it ends.
	Session domain.SessionID
	Driver  domain.DriverID
	Price   *domain.MicroEurosPerKWh
	Reason  string
	// Number fences orders; 0 where the record has none.
	Number domain.Order
	// ValidUntil is 0 where the record has none.
	ValidUntil domain.UnixMillis
	// Commanded asks for START_SUPPLY on ev.commands beside ev.supply.start. It is not on
	// the wire; an order that was received on ev.commands has it set.
	Commanded bool
}

// Origin tells who asked for a supply.
type Origin string

// The origins of a request.
const (
	OriginDriver   Origin = "driver"
	OriginPoint    Origin = "cp"
	OriginOperator Origin = "operator"
)

// Request asks for a supply (ev.supply.request).
type Request struct {
	Driver domain.DriverID
	Point  domain.PointID
	// ID is empty where the record has none.
	ID     domain.RequestID
	Origin Origin
}

// Answer is Central's answer to a request (ev.supply.auth).
type Answer struct {
	Driver     domain.DriverID
	Point      domain.PointID
	Authorized bool
	Reason     string
	Request    domain.RequestID
	Session    domain.SessionID
	Price      *domain.MicroEurosPerKWh
}

// MeterValue is a sample of a running supply (ev.supply.telemetry). Its figures are
// running totals.
type MeterValue struct {
	Session domain.SessionID
	Point   domain.PointID
	Driver  domain.DriverID
	Power   domain.Watts
	Amount  domain.MicroEuros
	// Energy is nil where the record has none: Amount divided by the session's price then.
	Energy *domain.MilliwattHours
	// Seq is 0 where the record has none.
	Seq int64
	At  domain.UnixMillis
}

// DoneReason is why an Engine ended a supply.
type DoneReason string

// The reasons of a done. A ticket may have two more, see Ticket.
const (
	DoneFinished  DoneReason = "FINISHED"
	DoneStopped   DoneReason = "STOP_BY_CENTRAL"
	DoneFault     DoneReason = "KO"
	DoneUnplugged DoneReason = "UNPLUGGED"
	DoneRecovered DoneReason = "RECOVERED"
	DoneRefused   DoneReason = "REFUSED"
)

// Done is an Engine's final report of a session (ev.supply.done).
type Done struct {
	Session domain.SessionID
	Point   domain.PointID
	Driver  domain.DriverID
	Energy  domain.MilliwattHours
	Amount  domain.MicroEuros
	Reason  DoneReason
	Seq     int64
	At      domain.UnixMillis
}

// Ticket is the bill of a session (ev.supply.ticket).
type Ticket struct {
	ID        domain.TicketID
	Session   domain.SessionID
	Driver    domain.DriverID
	Point     domain.PointID
	StartedAt domain.UnixMillis
	EndedAt   domain.UnixMillis
	Energy    domain.MilliwattHours
	Price     domain.MicroEurosPerKWh
	Amount    domain.MicroEuros
	// Reason is a DoneReason's text, EXPIRED or DISCONNECTED.
	Reason   string
	Revision int
	// Digest is the hex hash of the log's part that issued it.
	Digest string
	// Revised is what the revision changed; zero where Revision is 0 or the record does not say.
	Revised Revised
}

// Revised says what a revision changed in a ticket, and why.
type Revised struct {
	EnergyBefore domain.MilliwattHours
	AmountBefore domain.MicroEuros
	// Difference is what is owed beyond AmountBefore.
	Difference domain.MicroEuros
	// Reason is that of the final report that came late, a DoneReason's text.
	Reason string
}

// PointState is the public state of a point (ev.cp.state). It never names a driver.
type PointState struct {
	Point    domain.PointID
	Location string
	Price    domain.MicroEurosPerKWh
	// State is a chargingpoint.State's text, or UNREADABLE where Central can't read the point.
	State     string
	UpdatedAt domain.UnixMillis
	// Version is that of the point's stream; 0 where it can't be read.
	Version int64
	// Control is the id of the operator's record that this publication answers; empty otherwise.
	Control string
	// Refusal says why that record was refused; empty where it was carried out.
	Refusal string
}

// Action is what a control record asks of a point.
type Action string

// The actions of a control record.
const (
	ActionStop     Action = "stop"
	ActionResume   Action = "resume"
	ActionStart    Action = "start"
	ActionPrice    Action = "price"
	ActionDeadline Action = "deadline"
)

// Actions are all actions.
var Actions = []Action{ActionStop, ActionResume, ActionStart, ActionPrice, ActionDeadline}

// Control is what an operator or a deadline asks of a point (ev.control).
type Control struct {
	// ID is a UUID. That of a start is the request's id too.
	ID     string
	Point  domain.PointID
	Action Action
	// Driver is that of a start.
	Driver domain.DriverID
	// Price is nil for an action price that hands the price back to registrations.
	Price *domain.MicroEurosPerKWh
	// From is from when a price counts; 0: at once.
	From domain.UnixMillis
	// Session, Kind and DueAt say exactly which deadline has passed.
	Session domain.SessionID
	Kind    string
	DueAt   domain.UnixMillis
	// By names who asked.
	By string
}

// Checkpoint is a checkpoint of the event log as a Central has signed it (ev.checkpoint).
type Checkpoint struct {
	// Key names the key that has signed it: a Central's own.
	Key string
	// Text is the checkpoint with the heads that it adds, as it is kept in a file.
	Text []byte
}

// DeadLetter is a record that could not be acted on, as its dead-letter topic has it.
type DeadLetter struct {
	// Topic is where the record came from.
	Topic  string
	Reason string
	// Message is the record, decoded; nil where it can't be.
	Message Message
}

func (m Registration) about() domain.PointID { return m.Point }
func (m Health) about() domain.PointID       { return m.Point }
func (m Order) about() domain.PointID        { return m.Point }
func (m Request) about() domain.PointID      { return m.Point }
func (m Answer) about() domain.PointID       { return m.Point }
func (m MeterValue) about() domain.PointID   { return m.Point }
func (m Done) about() domain.PointID         { return m.Point }
func (m Ticket) about() domain.PointID       { return m.Point }
func (m PointState) about() domain.PointID   { return m.Point }
func (m Control) about() domain.PointID      { return m.Point }
func (m Checkpoint) about() domain.PointID   { return "" }

func (m DeadLetter) about() domain.PointID {
	if m.Message == nil {
		return ""
	}
	return PointOf(m.Message)
}

// RejectedError says that a record can't be acted on, now or ever: it goes to the
// dead-letter topic with the reason, and is acknowledged.
type RejectedError struct{ Reason error }

func (e *RejectedError) Error() string { return "rejected: " + e.Reason.Error() }

// Unwrap is the reason.
func (e *RejectedError) Unwrap() error { return e.Reason }
