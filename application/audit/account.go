package audit

import (
	"fmt"
	"strings"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Account is what a session's stream says of it: what came in, what was made of it, and why
// its bill is what it is.
type Account struct {
	Session domain.SessionID
	Request session.Request
	Status  session.Status
	// Refusal is why the request was refused; empty where it was granted.
	Refusal string
	// Price is the grant's, which never changes; PriceAt is when it was fixed.
	Price   domain.MicroEurosPerKWh
	PriceAt domain.UnixMillis
	// Inputs are the records that changed the session, in the order in which they were taken in.
	Inputs []Input
	// Samples is how many of them are samples. Gaps are the numbers that are missing among theirs.
	Samples int
	Gaps    []Gap
	// Ignored is how many samples were ignored, by rule, up to the last event that says so: the
	// close, where there is one.
	Ignored session.Ignored
	// Bill is the bill as it stands; nil where there is none.
	Bill *Bill
	// Revisions are what made the bill what it is after it was issued, in their order.
	Revisions []Revision
	// Version is that of the stream's last event, Digest its last part's hash, which stands for
	// all before it.
	Version eventlog.Version
	Digest  eventlog.Hash
}

// Input is a record that changed a session.
type Input struct {
	Source session.Source
	// At is when Central took it in. Source.Timestamp is when it arrived at the broker.
	At domain.UnixMillis
	// Version is that of the first event that it led to, Said what these are, in words.
	Version eventlog.Version
	Said    []string
	// Sample tells that it is one and no more.
	Sample bool
}

// Gap is a range of numbers that no sample of a session has that was taken.
type Gap struct{ From, To int64 }

func (g Gap) String() string {
	if g.From == g.To {
		return fmt.Sprint(g.From)
	}
	return fmt.Sprintf("%d-%d", g.From, g.To)
}

// Bill is a ticket, as it stands.
type Bill struct {
	session.Ticket
	Point  domain.PointID
	Driver domain.DriverID
	// Digest is the hash of the part that issued it, or revised it last.
	Digest eventlog.Hash
	// From says which report the energy is from.
	From string
}

// Formula is the computation of the amount, with its numbers.
func (b Bill) Formula() string {
	exact := int64(b.Energy) * int64(b.Price) // in millionths of a micro-euro; the contract's limits keep it within 63 bits
	text := fmt.Sprintf("%s kWh × %s EUR/kWh = %s EUR", b.Energy, b.Price, trillionths(exact))
	if exact%1_000_000 != 0 {
		text += fmt.Sprintf(", rounded half up: %s EUR", b.Amount)
	}
	return text
}

// trillionths is a number of them, exact.
func trillionths(n int64) string {
	const one = 1_000_000_000_000
	text := fmt.Sprintf("%d.%012d", n/one, n%one)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// Revision is what a final report that came late changed.
type Revision struct {
	session.TicketRevised
	At     domain.UnixMillis
	Digest eventlog.Hash
}

// accounting is an Account that is being made of a stream.
type accounting struct {
	Account
	state *session.Session
	// last is the last sample; nil before the first.
	last *session.MeterValueRecorded
	seq  int64
	// from says which report the energy of the next ticket is from; empty where it is the last
	// that came.
	from string
}

// accountOf is the account of a session, of commits that hold a part of its stream each and
// were verified, and their texts.
func accountOf(id domain.SessionID, commits []eventlog.Commit, texts []central.Envelope) (Account, error) {
	a := &accounting{Account: Account{Session: id}, state: session.New(id)}
	for i, c := range commits {
		if err := a.take(c, texts[i]); err != nil {
			return Account{}, err
		}
	}
	a.Request, a.Status, a.Refusal, a.Ignored = a.state.Request(), a.state.Status(), a.state.Refusal(), a.state.Ignored()
	if t, ok := a.state.Ticket(); ok {
		a.Bill.Ticket, a.Bill.Point, a.Bill.Driver = t, a.Request.Point, a.Request.Driver
	}
	return a.Account, nil
}

// take takes in a part.
func (a *accounting) take(c eventlog.Commit, text central.Envelope) error {
	p := c.Parts[0]
	in := Input{
		Source: session.Source{Topic: c.Cause.Topic, Partition: c.Cause.Partition, Offset: c.Cause.Offset, Timestamp: text.CausedAt},
		At:     c.At, Version: p.Version, Sample: p.Kind == eventlog.Sample,
	}
	for _, any := range text.Events {
		event, ok := any.(session.Event)
		if !ok {
			return fmt.Errorf("%w: %T", ErrUnreadable, any)
		}
		in.Said = append(in.Said, a.says(event, p.Hash, c.At))
		if s, ok := event.(session.MeterValueRecorded); ok {
			if a.last = &s; c.Cause.IsZero() {
				in.Source = s.Source
			}
			a.count(s.Seq)
		}
		if err := a.state.Apply(c.At, event); err != nil {
			return fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
	}
	a.Inputs = append(a.Inputs, in)
	a.Version, a.Digest = p.Last(), p.Hash
	return nil
}

// count takes in the number of a sample; 0 is none.
func (a *accounting) count(seq int64) {
	a.Samples++
	if seq > a.seq+1 {
		a.Gaps = append(a.Gaps, Gap{a.seq + 1, seq - 1})
	}
	a.seq = max(a.seq, seq)
}

// says is an event in words.
func (a *accounting) says(event session.Event, digest eventlog.Hash, at domain.UnixMillis) string {
	switch e := event.(type) {
	case session.SupplyAuthorized:
		a.Price, a.PriceAt = e.Price, at
		return fmt.Sprintf("granted at %s EUR/kWh: %s asked for a supply at %s", e.Price, e.Driver, e.Point)
	case session.SupplyRefused:
		return fmt.Sprintf("refused as %s: %s asked for a supply at %s", e.Reason, e.Driver, e.Point)
	case session.SupplyStarted:
		return fmt.Sprintf("started at %s", e.At)
	case session.MeterValueRecorded:
		return sampled(e)
	case session.EndDecided:
		if e.Cause == session.CauseExpired {
			a.from = "none: the supply was never taken up"
			return "ended by Central as EXPIRED"
		}
		return fmt.Sprintf("ended by Central as %s; the final report is awaited until %s", e.Cause, e.Due)
	case session.SupplyEnded:
		a.from = "the final report"
		if a.last != nil && a.last.Measured > e.EnergyReported {
			a.from = fmt.Sprintf("the greatest that a sample measured; the final report says %s kWh", e.EnergyReported)
		}
		return fmt.Sprintf("final report: %s kWh, %s", e.EnergyReported, e.Reason)
	case session.TicketIssued:
		if a.from == "" {
			a.from = a.lastReport()
		}
		a.Bill = &Bill{Digest: digest, From: a.from}
		return fmt.Sprintf("ticket %s: %s kWh, %s EUR, %s", e.Ticket, e.Energy, e.Amount, e.Reason)
	case session.TicketRevised:
		a.Revisions = append(a.Revisions, Revision{e, at, digest})
		a.Bill = &Bill{Digest: digest, From: "a final report that came after the close"}
		return fmt.Sprintf("revision %d by a final report, %s: %s kWh instead of %s, %s EUR instead of %s, %s EUR more",
			e.Revision, e.Reason, e.EnergyAfter, e.EnergyBefore, e.AmountAfter, e.AmountBefore, e.AmountDifference)
	}
	return fmt.Sprintf("%T", event)
}

// lastReport is the report that a supply without a final one is billed on, in words.
func (a *accounting) lastReport() string {
	switch {
	case a.last == nil:
		return "none: nothing was reported"
	case a.last.Energy > a.last.Measured:
		return fmt.Sprintf("the last sample, for no final report came: the %s EUR that it reported, divided by the price", a.last.AmountReported)
	}
	return "the last sample, for no final report came"
}

func sampled(e session.MeterValueRecorded) string {
	text := "sample"
	if e.Seq != 0 {
		text += fmt.Sprintf(" %d", e.Seq)
	}
	return text + fmt.Sprintf(": %s kWh, %s kW, %s EUR reported", e.Energy, e.Power, e.AmountReported)
}
