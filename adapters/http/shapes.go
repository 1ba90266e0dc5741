package http

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// point is a point as the pages show it. Its price is null where it can't be read.
type point struct {
	ID        domain.PointID           `json:"id"`
	Location  string                   `json:"location"`
	Price     *domain.MicroEurosPerKWh `json:"price"`
	PriceSet  bool                     `json:"price_set_by_operator,omitzero"`
	State     chargingpoint.State      `json:"state"`
	NotHeard  bool                     `json:"not_heard_since_start,omitzero"`
	Since     domain.UnixMillis        `json:"since,omitzero"`
	UpdatedAt domain.UnixMillis        `json:"updated_at,omitzero"`
	Supply    *supply                  `json:"supply,omitempty"`
}

// supply is a session as the pages show it.
type supply struct {
	ID        domain.SessionID        `json:"id"`
	Point     domain.PointID          `json:"cp_id"`
	Driver    domain.DriverID         `json:"driver_id"`
	Status    session.Status          `json:"status"`
	Price     domain.MicroEurosPerKWh `json:"price"`
	Power     domain.Watts            `json:"kw"`
	Energy    domain.MilliwattHours   `json:"total_kwh"`
	Amount    domain.MicroEuros       `json:"total_eur"`
	GrantedAt domain.UnixMillis       `json:"granted_at,omitzero"`
	StartedAt domain.UnixMillis       `json:"started_at,omitzero"`
	UpdatedAt domain.UnixMillis       `json:"updated_at,omitzero"`
	Refusal   string                  `json:"refusal,omitzero"`
	Cause     session.Cause           `json:"cause,omitzero"`
	Ticket    *ticket                 `json:"ticket,omitempty"`
	Revisions []revision              `json:"revisions,omitempty"`
}

// ticket is a ticket as the pages show it.
type ticket struct {
	ID        domain.TicketID         `json:"ticket_id"`
	Revision  int                     `json:"revision"`
	StartedAt domain.UnixMillis       `json:"started_at"`
	EndedAt   domain.UnixMillis       `json:"ended_at"`
	Energy    domain.MilliwattHours   `json:"total_kwh"`
	Price     domain.MicroEurosPerKWh `json:"price"`
	Amount    domain.MicroEuros       `json:"total_eur"`
	Reason    string                  `json:"reason"`
}

// revision is what a late final report changed in a ticket, as the pages show it.
type revision struct {
	RevisedAt  domain.UnixMillis `json:"revised_at"`
	Reason     string            `json:"reason"`
	Before     ticket            `json:"before"`
	After      ticket            `json:"after"`
	Difference domain.MicroEuros `json:"eur_difference"`
}

// priceChange is a change of a point's price as the pages show it.
type priceChange struct {
	Kind       network.PriceKind        `json:"kind"`
	By         string                   `json:"by,omitzero"`
	DecidedAt  domain.UnixMillis        `json:"decided_at"`
	From       domain.UnixMillis        `json:"from"`
	Price      *domain.MicroEurosPerKWh `json:"price"`
	ReplacedAt domain.UnixMillis        `json:"replaced_at,omitzero"`
	Covered    bool                     `json:"covered,omitzero"`
}

func priceChangeOf(c network.PriceChange) priceChange {
	shown := priceChange{Kind: c.Kind, By: c.By, DecidedAt: c.DecidedAt, From: c.From, ReplacedAt: c.ReplacedAt, Covered: c.Covered}
	if c.Kind != network.PriceAuto {
		shown.Price = &c.Price
	}
	return shown
}

func (c priceChange) read() network.PriceChange {
	read := network.PriceChange{Kind: c.Kind, By: c.By, DecidedAt: c.DecidedAt, From: c.From, ReplacedAt: c.ReplacedAt, Covered: c.Covered}
	if c.Price != nil {
		read.Price = *c.Price
	}
	return read
}

// figures are JSON numbers with all their decimals (kWh, kW, EUR, EUR/kWh), instants RFC 3339.
var figures = json.JoinOptions(
	json.WithMarshalers(json.JoinMarshalers(
		written[domain.MicroEurosPerKWh](), written[domain.MicroEuros](), written[domain.MilliwattHours](), written[domain.Watts](),
		json.MarshalToFunc(func(e *jsontext.Encoder, t domain.UnixMillis) error {
			return e.WriteToken(jsontext.String(t.Time().Format(time.RFC3339Nano)))
		}),
	)),
	json.WithUnmarshalers(json.JoinUnmarshalers(
		readBy(domain.ParsePrice), readBy(domain.ParseEUR), readBy(domain.ParseKWh), readBy(domain.ParseKW),
		json.UnmarshalFromFunc(func(d *jsontext.Decoder, to *domain.UnixMillis) error {
			var text string
			if err := json.UnmarshalDecode(d, &text); err != nil {
				return err
			}
			t, err := time.Parse(time.RFC3339Nano, text)
			*to = domain.At(t)
			return err
		}),
	)),
)

func written[F interface{ String() string }]() *json.Marshalers {
	return json.MarshalToFunc(func(e *jsontext.Encoder, figure F) error {
		return e.WriteValue(jsontext.Value(figure.String()))
	})
}

func readBy[F any](parse func(string) (F, error)) *json.Unmarshalers {
	return json.UnmarshalFromFunc(func(d *jsontext.Decoder, to *F) (err error) {
		value, err := d.ReadValue()
		if err == nil {
			*to, err = parse(string(value))
		}
		return err
	})
}

func pointOf(p network.Point) point {
	shown := point{
		ID: p.ID, Location: p.Location, PriceSet: p.PriceSet, State: p.State, NotHeard: p.NotHeard,
		Since: p.Since, UpdatedAt: p.UpdatedAt,
	}
	if p.State != network.Unreadable {
		shown.Price = &p.Price
	}
	if p.Supply != nil {
		s := supplyOf(*p.Supply)
		shown.Supply = &s
	}
	return shown
}

func (p point) read() network.Point {
	read := network.Point{
		ID: p.ID, Location: p.Location, PriceSet: p.PriceSet, State: p.State, NotHeard: p.NotHeard,
		Since: p.Since, UpdatedAt: p.UpdatedAt,
	}
	if p.Price != nil {
		read.Price = *p.Price
	}
	if p.Supply != nil {
		s := p.Supply.read()
		read.Supply = &s
	}
	return read
}

func supplyOf(s network.Session) supply {
	shown := supply{
		ID: s.ID, Point: s.Point, Driver: s.Driver, Status: s.Status, Price: s.Price,
		Power: s.Power, Energy: s.Energy, Amount: s.Amount,
		GrantedAt: s.GrantedAt, StartedAt: s.StartedAt, UpdatedAt: s.UpdatedAt, Refusal: s.Refusal, Cause: s.Cause,
	}
	if s.Ticket != nil {
		t := ticketOf(*s.Ticket)
		shown.Ticket = &t
	}
	for _, r := range s.Revisions {
		shown.Revisions = append(shown.Revisions, revision{r.At, r.Reason, ticketOf(r.Before), ticketOf(r.After), r.Difference()})
	}
	return shown
}

func ticketOf(t session.Ticket) ticket {
	return ticket{t.ID, t.Revision, t.StartedAt, t.EndedAt, t.Energy, t.Price, t.Amount, t.Reason}
}

func (t ticket) read() session.Ticket {
	return session.Ticket{
		ID: t.ID, Revision: t.Revision, StartedAt: t.StartedAt, EndedAt: t.EndedAt,
		Energy: t.Energy, Price: t.Price, Amount: t.Amount, Reason: t.Reason,
	}
}

func (s supply) read() network.Session {
	read := network.Session{
		ID: s.ID, Point: s.Point, Driver: s.Driver, Status: s.Status, Price: s.Price,
		Power: s.Power, Energy: s.Energy, Amount: s.Amount,
		GrantedAt: s.GrantedAt, StartedAt: s.StartedAt, UpdatedAt: s.UpdatedAt, Refusal: s.Refusal, Cause: s.Cause,
	}
	if s.Ticket != nil {
		t := s.Ticket.read()
		read.Ticket = &t
	}
	for _, r := range s.Revisions {
		read.Revisions = append(read.Revisions, session.Revision{Before: r.Before.read(), After: r.After.read(), Reason: r.Reason, At: r.RevisedAt})
	}
	return read
}
