package mongo

import (
	"encoding/hex"
	"iter"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// The shapes of the documents, field by field in their order: docs/contract.md has them for
// whoever reads them. Figures are numbers with their decimals (kWh, kW, EUR, EUR/kWh) and,
// where sums are made of them, the same once more as the whole number that is exact.
// What is not known or does not exist is null: every document has every field.

// pointShape is a document of charging_points.
type pointShape struct {
	ID           domain.PointID          `bson:"_id"`
	Point        domain.PointID          `bson:"id"`
	Location     string                  `bson:"location"`
	Price        float64                 `bson:"price"`
	PriceEURKWh  float64                 `bson:"price_eur_kwh"`
	PriceExact   domain.MicroEurosPerKWh `bson:"price_micro_eur"`
	PriceSet     bool                    `bson:"price_set_by_operator"`
	PriceBy      *string                 `bson:"price_by"`
	PriceFrom    *bson.DateTime          `bson:"price_from"`
	Scheduled    []priceChange           `bson:"price_scheduled"`
	State        string                  `bson:"state"`
	Since        *bson.DateTime          `bson:"since"`
	Connected    bool                    `bson:"connected"`
	LeaseSeconds float64                 `bson:"lease_seconds"`
	Healthy      *bool                   `bson:"healthy"`
	InService    bool                    `bson:"in_service"`
	Session      *string                 `bson:"session_id"`
	Driver       *string                 `bson:"driver_id"`
	HeldUntil    *bson.DateTime          `bson:"held_until"`
	LastOrder    *orderShape             `bson:"last_order"`
	RegisteredAt *bson.DateTime          `bson:"registered_at"`
	UpdatedAt    *bson.DateTime          `bson:"updated_at"`
	Version      int64                   `bson:"version"`
}

// priceChange is a change of a point's price that is to come; its price is null where the
// point's own counts again.
type priceChange struct {
	From       *bson.DateTime           `bson:"from"`
	Price      *float64                 `bson:"price"`
	PriceExact *domain.MicroEurosPerKWh `bson:"price_micro_eur"`
	By         *string                  `bson:"by"`
	DecidedAt  *bson.DateTime           `bson:"decided_at"`
}

// orderShape is the newest order of a point.
type orderShape struct {
	Order      int64          `bson:"order"`
	Kind       string         `bson:"kind"`
	Session    *string        `bson:"session_id"`
	At         *bson.DateTime `bson:"at"`
	ValidUntil *bson.DateTime `bson:"valid_until"`
}

// sessionShape is a document of sessions.
type sessionShape struct {
	ID          domain.SessionID        `bson:"_id"`
	Session     domain.SessionID        `bson:"id"`
	Driver      domain.DriverID         `bson:"driver_id"`
	Point       domain.PointID          `bson:"cp_id"`
	Request     *string                 `bson:"request_id"`
	Origin      string                  `bson:"origin"`
	Status      string                  `bson:"status"`
	Cause       *string                 `bson:"cause"`
	Price       float64                 `bson:"price"`
	PriceExact  domain.MicroEurosPerKWh `bson:"price_micro_eur"`
	GrantedAt   *bson.DateTime          `bson:"granted_at"`
	StartedAt   *bson.DateTime          `bson:"started_at"`
	EndedAt     *bson.DateTime          `bson:"ended_at"`
	KW          float64                 `bson:"kw"`
	Energy      float64                 `bson:"total_kwh"`
	Amount      float64                 `bson:"total_eur"`
	EnergyExact domain.MilliwattHours   `bson:"total_mwh"`
	AmountExact domain.MicroEuros       `bson:"total_micro_eur"`
	Deadline    *deadlineShape          `bson:"deadline"`
	Ignored     ignoredShape            `bson:"ignored"`
	UpdatedAt   *bson.DateTime          `bson:"updated_at"`
	Version     int64                   `bson:"version"`
	Last        *sample                 `bson:"last"`
	Ticket      *ticketShape            `bson:"ticket"`
	Telemetry   []sample                `bson:"telemetry"`
}

// deadlineShape is what a session waits for.
type deadlineShape struct {
	Kind  string         `bson:"kind"`
	Since *bson.DateTime `bson:"since"`
	Due   *bson.DateTime `bson:"due_at"`
}

// ignoredShape counts the reports of a session that were ignored, by rule.
type ignoredShape struct {
	NotNewer      int64 `bson:"not_newer"`
	RunsBackwards int64 `bson:"runs_backwards"`
}

// sample is a report of a running supply: running totals, euros as it was reported.
type sample struct {
	At    bson.DateTime `bson:"at"`
	Seq   *int64        `bson:"seq"`
	KW    float64       `bson:"kw"`
	KWh   float64       `bson:"kwh"`
	Euros float64       `bson:"euros"`
}

// ticketShape is a session's bill as it stands.
type ticketShape struct {
	ID          domain.TicketID         `bson:"ticket_id"`
	Revision    int64                   `bson:"revision"`
	StartedAt   *bson.DateTime          `bson:"started_at"`
	EndedAt     *bson.DateTime          `bson:"ended_at"`
	Energy      float64                 `bson:"total_kwh"`
	Price       float64                 `bson:"price"`
	Amount      float64                 `bson:"total_eur"`
	EnergyExact domain.MilliwattHours   `bson:"total_mwh"`
	PriceExact  domain.MicroEurosPerKWh `bson:"price_micro_eur"`
	AmountExact domain.MicroEuros       `bson:"total_micro_eur"`
	Reason      string                  `bson:"reason"`
	Digest      string                  `bson:"digest"`
	Revisions   []revision              `bson:"revisions"`
}

// revision is what a late final report changed in a bill.
type revision struct {
	Revision     int64          `bson:"revision"`
	RevisedAt    *bson.DateTime `bson:"revised_at"`
	Reason       string         `bson:"reason"`
	EndedAt      *bson.DateTime `bson:"ended_at"`
	EndedBefore  *bson.DateTime `bson:"ended_at_before"`
	EnergyBefore float64        `bson:"kwh_before"`
	EnergyAfter  float64        `bson:"kwh_after"`
	AmountBefore float64        `bson:"eur_before"`
	AmountAfter  float64        `bson:"eur_after"`
	Difference   float64        `bson:"eur_difference"`
	Digest       string         `bson:"digest"`
}

// driverShape is a document of drivers.
type driverShape struct {
	ID     domain.DriverID `bson:"_id"`
	Driver domain.DriverID `bson:"id"`
	Name   domain.DriverID `bson:"name"`
}

func (f *fold) showPoint() pointShape {
	p := f.point
	r, _ := p.Registered()
	connected, lease := p.Connected()
	changed := p.PriceChange()
	shape := pointShape{
		ID: p.ID(), Point: p.ID(), Location: r.Location,
		Price: micro(p.Price()), PriceEURKWh: micro(p.Price()), PriceExact: p.Price(), PriceSet: changed.Set,
		PriceBy: text(changed.By), PriceFrom: date(changed.From), Scheduled: []priceChange{},
		State: string(p.State()), Since: date(f.since),
		Connected: connected, LeaseSeconds: milli(lease.Milliseconds()), InService: !p.Service().Out,
		HeldUntil: date(p.HeldUntil()), RegisteredAt: date(r.RecordedAt), UpdatedAt: date(p.UpdatedAt()), Version: int64(f.version),
	}
	for _, c := range p.Scheduled() {
		next := priceChange{From: date(c.From), By: text(c.By), DecidedAt: date(c.DecidedAt)}
		if c.Set {
			price := micro(c.Price)
			next.Price, next.PriceExact = &price, &c.Price
		}
		shape.Scheduled = append(shape.Scheduled, next)
	}
	if h := p.Health(); h.Known {
		shape.Healthy = &h.Healthy
	}
	if o, ok := p.Occupied(); ok {
		shape.Session, shape.Driver = text(o.Session), text(o.Driver)
	}
	if o := p.LastOrder(); o.Number != 0 {
		shape.LastOrder = &orderShape{
			Order: int64(o.Number), Kind: string(o.Kind), Session: text(o.Session), At: date(o.At), ValidUntil: date(o.ValidUntil),
		}
	}
	return shape
}

func (f *fold) showSession() sessionShape {
	s := f.session
	r, ignored := s.Request(), s.Ignored()
	shape := sessionShape{
		ID: s.ID(), Session: s.ID(), Driver: r.Driver, Point: r.Point, Request: text(r.ID), Origin: r.Origin,
		Status: string(s.Status()), Cause: text(s.Cause()), Price: micro(s.Price()), PriceExact: s.Price(),
		GrantedAt: date(s.GrantedAt()), StartedAt: date(s.StartedAt()),
		Ignored:   ignoredShape{int64(ignored.NotNewer), int64(ignored.RunsBackwards)},
		UpdatedAt: date(s.UpdatedAt()), Version: int64(f.version),
		Last: f.curve.newest(), Telemetry: f.curve.samples(),
	}
	if last, ok := s.Last(); ok {
		shape.EnergyExact, shape.AmountExact = last.Energy, domain.Cost(last.Energy, s.Price())
		if s.Status() == session.Supplying {
			shape.KW = milli(last.Power)
		}
	}
	if d := s.Deadline(); d.Kind != "" {
		shape.Deadline = &deadlineShape{Kind: string(d.Kind), Since: date(d.Since), Due: date(d.Due)}
	}
	if t, ok := s.Ticket(); ok {
		// A supply without a report began with its grant: the ticket says so.
		shape.StartedAt, shape.EndedAt = date(t.StartedAt), date(t.EndedAt)
		shape.EnergyExact, shape.AmountExact = t.Energy, t.Amount
		shape.Ticket = &ticketShape{
			ID: t.ID, Revision: int64(t.Revision), StartedAt: date(t.StartedAt), EndedAt: date(t.EndedAt),
			Energy: micro(t.Energy), Price: micro(t.Price), Amount: micro(t.Amount),
			EnergyExact: t.Energy, PriceExact: t.Price, AmountExact: t.Amount,
			Reason: t.Reason, Digest: hex.EncodeToString(f.bills[len(f.bills)-1][:]), Revisions: append([]revision{}, f.revisions...),
		}
	}
	shape.Energy, shape.Amount = micro(shape.EnergyExact), micro(shape.AmountExact)
	return shape
}

func sampleOf(e session.MeterValueRecorded) sample {
	s := sample{At: bson.DateTime(e.At), KW: milli(e.Power), KWh: micro(e.Energy), Euros: micro(e.AmountReported)}
	if e.Seq != 0 {
		s.Seq = &e.Seq
	}
	return s
}

func revisionOf(e session.TicketRevised, before session.Ticket, part central.Part) revision {
	return revision{
		Revision: int64(e.Revision), RevisedAt: date(part.At), Reason: e.Reason, EndedAt: date(e.EndedAt), EndedBefore: date(before.EndedAt),
		EnergyBefore: micro(e.EnergyBefore), EnergyAfter: micro(e.EnergyAfter),
		AmountBefore: micro(e.AmountBefore), AmountAfter: micro(e.AmountAfter), Difference: micro(e.AmountDifference),
		Digest: hex.EncodeToString(part.Hash[:]),
	}
}

// Document is a stream's document as text (MongoDB's extended JSON), folded from all of the
// stream's parts in their order; empty where the stream has none. eventlog.ErrDamaged where
// they can't be folded, else the error that the parts end with.
func Document(stream eventlog.Stream, parts iter.Seq2[central.Part, error]) (string, error) {
	f, err := newFold(stream)
	if err != nil {
		return "", err
	}
	for part, err := range parts {
		if err == nil {
			err = f.apply(part)
		}
		if err != nil {
			return "", err
		}
	}
	d, ok, err := f.document()
	if err != nil || !ok {
		return "", err
	}
	text, err := bson.MarshalExtJSONIndent(d.body, false, false, "", "  ")
	return string(text), err
}

// collections are those that have documents; drivers come last, for they are made of sessions.
var collections = []string{pointsCollection, sessionsCollection, driversCollection}

// projection is a document as it is to be stored.
type projection struct {
	collection, id string
	// version is its stream's; 0 where the document is a driver's.
	version int64
	// bills are the digests of the log's bills, of a session's document: the ticket's, then those
	// of its revisions.
	bills []string
	body  bson.Raw
}

// driverDocument is that of a driver who has asked for a supply.
func driverDocument(id domain.DriverID) (projection, error) {
	body, err := bson.Marshal(driverShape{id, id, id})
	return projection{collection: driversCollection, id: string(id), body: body}, err
}

// micro and milli are a number of millionths and of thousandths. Every figure within the
// contract's limits has fewer than 16 digits: what is printed of the number is exact.
func micro[N ~int64](n N) float64 { return float64(n) / 1e6 }

func milli[N ~int64](n N) float64 { return float64(n) / 1e3 }

// date is an instant; nil where it is not known.
func date(t domain.UnixMillis) *bson.DateTime {
	if t == 0 {
		return nil
	}
	d := bson.DateTime(t)
	return &d
}

// text is a text; nil where it is empty.
func text[S ~string](s S) *string {
	if s == "" {
		return nil
	}
	t := string(s)
	return &t
}

// driverStream stands for a driver among streams: there is no stream of one.
func driverStream(id domain.DriverID) eventlog.Stream { return eventlog.Stream("driver-" + id) }

// placeOf is where a stream's document is stored; ok is false where it has none.
func placeOf(stream eventlog.Stream) (collection, id string, ok bool) {
	if id, ok = strings.CutPrefix(string(stream), "point-"); ok {
		return pointsCollection, id, true
	}
	id, ok = strings.CutPrefix(string(stream), "session-")
	return sessionsCollection, id, ok
}
