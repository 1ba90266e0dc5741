package eventjson

import (
	"time"

	"evcharging/domain"
	"evcharging/domain/session"
)

// The shapes of the events' data, one for each version that was ever written. The
// order of the fields is the order of the text. A conversion between a shape and its
// event compiles only while both have the same fields.

type pointRegistered1 struct {
	Location   string                  `json:"location"`
	Price      domain.MicroEurosPerKWh `json:"price"`
	RecordedAt domain.UnixMillis       `json:"recorded_at"`
	ProofAt    domain.UnixMillis       `json:"proof_at,omitzero"`
}

type priceSet1 struct {
	Price domain.MicroEurosPerKWh `json:"price"`
	By    string                  `json:"by,omitzero"`
}

type priceSet2 struct {
	Price domain.MicroEurosPerKWh `json:"price"`
	By    string                  `json:"by,omitzero"`
	From  domain.UnixMillis       `json:"from,omitzero"`
}

type priceHandedBack1 struct {
	By string `json:"by,omitzero"`
}

type priceHandedBack2 struct {
	By   string            `json:"by,omitzero"`
	From domain.UnixMillis `json:"from,omitzero"`
}

type priceTookEffect1 struct {
	From domain.UnixMillis `json:"from"`
}

type pointConnected1 struct {
	Lease      time.Duration     `json:"lease"`
	ReportedAt domain.UnixMillis `json:"reported_at"`
}

type leaseChanged1 struct {
	Lease time.Duration `json:"lease"`
}

type pointDisconnected1 struct {
	LastHeard domain.UnixMillis `json:"last_heard"`
	Lease     time.Duration     `json:"lease"`
}

type faultReported1 struct {
	ReportedAt domain.UnixMillis `json:"reported_at"`
}

type faultCleared1 struct {
	ReportedAt domain.UnixMillis `json:"reported_at"`
}

type takenOutOfService1 struct {
	RecordedAt domain.UnixMillis `json:"recorded_at"`
	By         string            `json:"by,omitzero"`
	Order      domain.Order      `json:"order"`
	ValidUntil domain.UnixMillis `json:"valid_until"`
	Session    domain.SessionID  `json:"session,omitzero"`
	HoldUntil  domain.UnixMillis `json:"hold_until,omitzero"`
}

type returnedToService1 struct {
	RecordedAt domain.UnixMillis `json:"recorded_at"`
	By         string            `json:"by,omitzero"`
	Order      domain.Order      `json:"order"`
	ValidUntil domain.UnixMillis `json:"valid_until"`
}

type pointOccupied1 struct {
	Session    domain.SessionID  `json:"session"`
	Driver     domain.DriverID   `json:"driver"`
	Order      domain.Order      `json:"order"`
	ValidUntil domain.UnixMillis `json:"valid_until"`
}

type stopOrdered1 struct {
	Session    domain.SessionID  `json:"session"`
	Cause      string            `json:"cause"`
	Order      domain.Order      `json:"order"`
	ValidUntil domain.UnixMillis `json:"valid_until"`
	HoldUntil  domain.UnixMillis `json:"hold_until"`
}

type pointReleased1 struct {
	Session domain.SessionID `json:"session"`
}

type supplyAuthorized1 struct {
	Point      domain.PointID          `json:"point"`
	Driver     domain.DriverID         `json:"driver"`
	Request    domain.RequestID        `json:"request,omitzero"`
	Origin     string                  `json:"origin"`
	Price      domain.MicroEurosPerKWh `json:"price"`
	Order      domain.Order            `json:"order"`
	ValidUntil domain.UnixMillis       `json:"valid_until"`
	Due        domain.UnixMillis       `json:"due"`
}

type supplyRefused1 struct {
	Point   domain.PointID   `json:"point"`
	Driver  domain.DriverID  `json:"driver"`
	Request domain.RequestID `json:"request,omitzero"`
	Origin  string           `json:"origin"`
	Reason  string           `json:"reason"`
	Silent  bool             `json:"silent,omitzero"`
}

type supplyStarted1 struct {
	At domain.UnixMillis `json:"at"`
}

type meterValueRecorded1 struct {
	Seq            int64                 `json:"seq,omitzero"`
	Energy         domain.MilliwattHours `json:"energy"`
	Measured       domain.MilliwattHours `json:"measured"`
	Power          domain.Watts          `json:"power"`
	AmountReported domain.MicroEuros     `json:"amount_reported"`
	At             domain.UnixMillis     `json:"at"`
	Source         session.Source        `json:"source"`
	Due            domain.UnixMillis     `json:"due,omitzero"`
}

type endDecided1 struct {
	Cause   session.Cause     `json:"cause"`
	Due     domain.UnixMillis `json:"due"`
	Ignored session.Ignored   `json:"ignored,omitzero"`
}

type supplyEnded1 struct {
	Reason         string                `json:"reason"`
	EnergyReported domain.MilliwattHours `json:"energy_reported"`
	AmountReported domain.MicroEuros     `json:"amount_reported"`
	At             domain.UnixMillis     `json:"at"`
	Source         session.Source        `json:"source"`
	Ignored        session.Ignored       `json:"ignored,omitzero"`
}

type ticketIssued1 struct {
	Ticket    domain.TicketID         `json:"ticket"`
	StartedAt domain.UnixMillis       `json:"started_at"`
	EndedAt   domain.UnixMillis       `json:"ended_at"`
	Energy    domain.MilliwattHours   `json:"energy"`
	Price     domain.MicroEurosPerKWh `json:"price"`
	Amount    domain.MicroEuros       `json:"amount"`
	Reason    string                  `json:"reason"`
	Ignored   session.Ignored         `json:"ignored,omitzero"`
}

type ticketRevised1 struct {
	Revision         int                   `json:"revision"`
	EnergyBefore     domain.MilliwattHours `json:"energy_before"`
	EnergyAfter      domain.MilliwattHours `json:"energy_after"`
	AmountBefore     domain.MicroEuros     `json:"amount_before"`
	AmountAfter      domain.MicroEuros     `json:"amount_after"`
	AmountDifference domain.MicroEuros     `json:"amount_difference"`
	Reason           string                `json:"reason"`
	EndedAt          domain.UnixMillis     `json:"ended_at"`
	Source           session.Source        `json:"source"`
}

// The values inside events that have no shape of their own.

type source struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	Timestamp domain.UnixMillis `json:"timestamp"`
}

type ignored struct {
	NotNewer      int `json:"not_newer,omitzero"`
	RunsBackwards int `json:"runs_backwards,omitzero"`
}
