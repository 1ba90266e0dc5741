package kafka

import (
	"errors"
	"fmt"

	"evcharging/application/message"
	"evcharging/domain/chargingpoint"
)

// record tells the records of the contract apart: one for each topic.
type record int

const (
	register record = iota
	health
	commands
	request
	auth
	start
	telemetry
	done
	ticket
	state
	control
	checkpoint
	records // how many there are
)

var (
	// ErrUnreadable tells of a record that is not what the contract says of its topic;
	// the sentence around it says which field and why.
	ErrUnreadable = errors.New("the record is unreadable")
	// ErrUnsendable tells of a message that would be unreadable for whoever received it:
	// a fault of the program, which no repetition mends.
	ErrUnsendable = errors.New("the message can't be sent")
)

// decode reads a record of a topic. Unknown members are ignored. The error is ErrUnreadable.
func decode(r record, value []byte) (message.Message, error) {
	switch r {
	case register:
		return read(value, registrationFields)
	case health:
		return read(value, healthFields)
	case commands:
		return read(value, commandFields)
	case request:
		return read(value, requestFields)
	case auth:
		return read(value, answerFields)
	case start:
		return read(value, startFields)
	case telemetry:
		return read(value, meterValueFields)
	case done:
		return read(value, doneFields)
	case ticket:
		return read(value, ticketFields)
	case state:
		return read(value, pointStateFields)
	case control:
		return read(value, controlFields)
	case checkpoint:
		return message.Checkpoint{Text: value}, nil // who has signed it, it says itself
	}
	return nil, fmt.Errorf("%w: nothing is known of its topic", ErrUnreadable)
}

// encoded is a message as a record of a topic.
type encoded struct {
	record     record
	key, value []byte
}

// encode appends the records that carry a message: one, or two for a start that an
// operator commanded. The error is ErrUnsendable.
func encode(to []encoded, m message.Message) ([]encoded, error) {
	var err error
	add := func(r record, key string, value []byte, e error) {
		err = errors.Join(err, e)
		to = append(to, encoded{record: r, key: []byte(key), value: value})
	}
	switch m := m.(type) {
	case message.Registration:
		value, e := write(&m, registrationFields)
		add(register, string(m.Point), value, e)
	case message.Health:
		value, e := write(&m, healthFields)
		add(health, string(m.Point), value, e)
	case message.Order:
		if m.Kind == message.OrderStart {
			value, e := write(&m, startFields)
			add(start, string(m.Point), value, e)
		}
		if m.Kind != message.OrderStart || m.Commanded {
			value, e := write(&m, commandFields)
			add(commands, string(m.Point), value, e)
		}
	case message.Request:
		value, e := write(&m, requestFields)
		add(request, string(m.Point), value, e)
	case message.Answer:
		value, e := write(&m, answerFields)
		add(auth, string(m.Driver), value, e)
	case message.MeterValue:
		value, e := write(&m, meterValueFields)
		add(telemetry, string(m.Point), value, e)
	case message.Done:
		value, e := write(&m, doneFields)
		add(done, string(m.Point), value, e)
	case message.Ticket:
		value, e := write(&m, ticketFields)
		add(ticket, string(m.Driver), value, e)
	case message.PointState:
		value, e := write(&m, pointStateFields)
		add(state, string(m.Point), value, e)
	case message.Control:
		value, e := write(&m, controlFields)
		add(control, string(m.Point), value, e)
	case message.Checkpoint:
		add(checkpoint, m.Key, m.Text, nil)
	default:
		err = fmt.Errorf("%w: no topic carries a %T", ErrUnsendable, m)
	}
	return to, err
}

// read decodes a record by its description.
func read[M message.Message](value []byte, describe func(*fields, *M)) (message.Message, error) {
	if value == nil {
		return nil, fmt.Errorf("%w: it has no value", ErrUnreadable)
	}
	var (
		room [16]member
		m    M
	)
	f := fields{in: room[:0]}
	if err := f.parse(value); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if describe(&f, &m); f.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, f.err)
	}
	return m, nil
}

// write encodes a message by its description.
func write[M message.Message](m *M, describe func(*fields, *M)) ([]byte, error) {
	f := fields{writing: true, out: make([]byte, 0, 256)}
	if describe(&f, m); f.err != nil {
		return nil, fmt.Errorf("%w: %T: %w", ErrUnsendable, *m, f.err)
	}
	return append(f.out, '}'), nil
}

// The descriptions: the contract's table, a function a row, members in the order in
// which they are written. What the reference needs is required and comes first, what is
// ours is optional.

func registrationFields(f *fields, m *message.Registration) {
	identifier(f, "id", &m.Point, required)
	f.textOrNone("location", &m.Location)
	figureAsSent(f, "price_eur_kwh", &m.Price, &m.PriceText, eurosPerKWh)
	f.timeAsSent("at", &m.At, optional)
	f.text("proof", &m.Proof, optional)
}

func healthFields(f *fields, m *message.Health) {
	identifier(f, "id", &m.Point, required)
	enum(f, "status", &m.Status, required, message.HealthOK, message.HealthKO, message.HealthRecovered)
	whole(f, "lease_seconds", &m.LeaseSeconds, optional, 3, 3600)
}

func commandFields(f *fields, m *message.Order) {
	identifier(f, "cp_id", &m.Point, required)
	enum(f, "cmd", &m.Kind, required,
		message.OrderStart, message.OrderStop, message.OrderOutOfOrder, message.OrderResume)
	identifier(f, "session_id", &m.Session, optional)
	identifier(f, "driver_id", &m.Driver, optional)
	figureOrNone(f, "price", &m.Price, eurosPerKWh, optional)
	f.text("reason", &m.Reason, optional)
	fence(f, m)
	m.Commanded = true
}

func startFields(f *fields, m *message.Order) {
	identifier(f, "session_id", &m.Session, required)
	identifier(f, "cp_id", &m.Point, required)
	identifier(f, "driver_id", &m.Driver, required)
	figureOrNone(f, "price", &m.Price, eurosPerKWh, required)
	fence(f, m)
	m.Kind = message.OrderStart
}

func fence(f *fields, m *message.Order) {
	counter(f, "order", &m.Number, optional)
	f.instant("valid_until", &m.ValidUntil, optional)
}

func requestFields(f *fields, m *message.Request) {
	identifier(f, "driver_id", &m.Driver, required)
	identifier(f, "cp_id", &m.Point, required)
	identifier(f, "request_id", &m.ID, optional)
	enum(f, "origin", &m.Origin, optional, message.OriginDriver, message.OriginPoint, message.OriginOperator)
}

func answerFields(f *fields, m *message.Answer) {
	identifier(f, "driver_id", &m.Driver, required)
	identifier(f, "cp_id", &m.Point, required)
	f.boolean("authorized", &m.Authorized)
	f.text("reason", &m.Reason, presence(!m.Authorized))
	identifier(f, "request_id", &m.Request, optional)
	identifier(f, "session_id", &m.Session, optional)
	figureOrNone(f, "price", &m.Price, eurosPerKWh, optional)
}

func meterValueFields(f *fields, m *message.MeterValue) {
	identifier(f, "session_id", &m.Session, required)
	identifier(f, "cp_id", &m.Point, required)
	identifier(f, "driver_id", &m.Driver, required)
	figure(f, "kw", &m.Power, kilowatts)
	figure(f, "euros", &m.Amount, euros)
	figureOrNone(f, "kwh", &m.Energy, kilowattHours, optional)
	counter(f, "seq", &m.Seq, optional)
	f.instant("at", &m.At, optional)
}

func doneFields(f *fields, m *message.Done) {
	identifier(f, "session_id", &m.Session, required)
	identifier(f, "cp_id", &m.Point, required)
	identifier(f, "driver_id", &m.Driver, required)
	figure(f, "total_kwh", &m.Energy, kilowattHours)
	figure(f, "total_eur", &m.Amount, euros)
	enum(f, "reason", &m.Reason, required, doneReasons...)
	counter(f, "seq", &m.Seq, optional)
	f.instant("at", &m.At, optional)
}

var (
	doneReasons = []message.DoneReason{
		message.DoneFinished, message.DoneStopped, message.DoneFault,
		message.DoneUnplugged, message.DoneRecovered, message.DoneRefused,
	}
	ticketReasons = []string{
		string(message.DoneFinished), string(message.DoneStopped), string(message.DoneFault),
		string(message.DoneUnplugged), string(message.DoneRecovered), string(message.DoneRefused),
		"EXPIRED", "DISCONNECTED",
	}
	states = []string{
		string(chargingpoint.Activated), string(chargingpoint.Supplying), string(chargingpoint.OutOfOrder),
		string(chargingpoint.Broken), string(chargingpoint.Disconnected), "UNREADABLE",
	}
)

func ticketFields(f *fields, m *message.Ticket) {
	identifier(f, "ticket_id", &m.ID, required)
	identifier(f, "session_id", &m.Session, required)
	identifier(f, "driver_id", &m.Driver, required)
	identifier(f, "cp_id", &m.Point, required)
	f.instant("started_at", &m.StartedAt, optional)
	f.instant("ended_at", &m.EndedAt, optional)
	figure(f, "total_kwh", &m.Energy, kilowattHours)
	figure(f, "price", &m.Price, eurosPerKWh)
	figure(f, "total_eur", &m.Amount, euros)
	enum(f, "reason", &m.Reason, required, ticketReasons...)
	counter(f, "revision", &m.Revision, required)
	f.text("digest", &m.Digest, optional)
	enum(f, "revision_reason", &m.Revised.Reason, optional, ticketReasons...)
	if m.Revised.Reason != "" {
		figure(f, "kwh_before", &m.Revised.EnergyBefore, kilowattHours)
		figure(f, "eur_before", &m.Revised.AmountBefore, euros)
		figure(f, "eur_difference", &m.Revised.Difference, euros)
	}
}

func pointStateFields(f *fields, m *message.PointState) {
	// Whoever asked for something of a point that nobody knows is answered too.
	unknown := f.has("refusal") || m.Refusal != ""
	identifier(f, "id", &m.Point, required)
	f.text("location", &m.Location, required)
	figure(f, "price", &m.Price, eurosPerKWh)
	enum(f, "state", &m.State, presence(!unknown), states...)
	f.instant("updated_at", &m.UpdatedAt, optional)
	counter(f, "version", &m.Version, required)
	identifier(f, "control_id", &m.Control, optional)
	f.text("refusal", &m.Refusal, optional)
}

func controlFields(f *fields, m *message.Control) {
	identifier(f, "id", &m.ID, required)
	identifier(f, "cp_id", &m.Point, required)
	enum(f, "action", &m.Action, required, message.Actions...)
	deadline := presence(m.Action == message.ActionDeadline)
	identifier(f, "driver_id", &m.Driver, presence(m.Action == message.ActionStart))
	figureOrNone(f, "price", &m.Price, eurosPerKWh, optional)
	f.instant("from", &m.From, optional)
	identifier(f, "session_id", &m.Session, optional)
	identifier(f, "kind", &m.Kind, deadline)
	f.instant("due_at", &m.DueAt, deadline)
	f.text("by", &m.By, optional)
}
