package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"evcharging/application/eventlog"
	"evcharging/domain/session"
)

// Remains is what can be had back of a stream of which something is damaged.
type Remains struct {
	Stream eventlog.Stream
	// Whole is the version up to which the stream is as it was written; 0: its beginning is not.
	Whole eventlog.Version
	// State is that of the point or the session then; empty where nothing is whole.
	State string
	// Behind are the parts that can be read behind it, each as it was written by its own hash,
	// and unproved by what is before them.
	Behind []Versions
	// Bill is the last bill that is said there, in words; empty where none is.
	Bill string
}

// Versions are those from the one to the other.
type Versions struct{ From, To eventlog.Version }

// String is what remains as a line.
func (r Remains) String() string {
	text := string(r.Stream) + ": nothing at its beginning"
	if r.Whole > 0 {
		text = fmt.Sprintf("%s: versions 1 to %d are whole, up to there it is %s", r.Stream, r.Whole, r.State)
	}
	if len(r.Behind) == 0 {
		return text + "; nothing can be read behind that"
	}
	ranges := make([]string, len(r.Behind))
	for i, b := range r.Behind {
		ranges[i] = fmt.Sprintf("%d to %d", b.From, b.To)
	}
	text += fmt.Sprintf("; versions %s can be read, and do not prove what was before them", strings.Join(ranges, ", "))
	if r.Bill != "" {
		text += "; there is " + r.Bill
	}
	return text
}

// remaining are those of the streams of which something can't be read as it was written, in
// order of their names. Of the others everything can be had.
func (v *verifier) remaining() []Remains {
	all := slices.Clone(v.remains)
	for _, c := range v.chains {
		if c.broken || v.concerned[c.stream] {
			all = append(all, c.remaining())
		}
	}
	for stream, lost := range v.concerned {
		known := slices.ContainsFunc(all, func(r Remains) bool { return r.Stream == stream })
		if _, forgotten := v.forgotten[short(stream)]; lost && !known && !forgotten {
			all = append(all, Remains{Stream: stream})
		}
	}
	slices.SortFunc(all, func(a, b Remains) int { return strings.Compare(string(a.Stream), string(b.Stream)) })
	return all
}

func (c *chain) remaining() Remains {
	r := Remains{Stream: c.stream, Whole: c.whole, Behind: c.behind, Bill: c.bill}
	switch {
	case c.whole == 0:
	case c.session != nil:
		r.State = string(c.session.Status())
	default:
		r.State = string(c.point.State())
	}
	return r
}

// keep takes note of a part that is as it was written, by its own hash.
func (c *chain) keep(p eventlog.Part, events []any) {
	if !c.broken {
		c.whole = p.Last()
		return
	}
	if n := len(c.behind); n > 0 && c.behind[n-1].To+1 == p.Version {
		c.behind[n-1].To = p.Last()
	} else {
		c.behind = append(c.behind, Versions{p.Version, p.Last()})
	}
	for _, event := range events {
		switch e := event.(type) {
		case session.TicketIssued:
			c.bill = fmt.Sprintf("ticket %s: %s kWh, %s EUR, %s", e.Ticket, e.Energy, e.Amount, e.Reason)
		case session.TicketRevised:
			c.bill = fmt.Sprintf("revision %d of its ticket: %s kWh, %s EUR, %s", e.Revision, e.EnergyAfter, e.AmountAfter, e.Reason)
		}
	}
}

// isLost tells whether a finding is that something can't be read.
func (f Finding) isLost() bool { return errors.Is(f.Reason, eventlog.ErrDamaged) }
