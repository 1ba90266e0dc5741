package driver

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// lineEvery is how often a running supply is written where there is no line to redraw.
const lineEvery = 10 * time.Second

// Screen shows a Driver's events as lines. It may be used from several goroutines.
type Screen struct {
	out io.Writer
	// live: the line of the running supply is redrawn in place.
	live, coloured bool
	// place is the file that keeps the run's place, empty where none does.
	place string

	mu       sync.Mutex
	drawn    bool
	written  domain.UnixMillis
	followed bool
}

// NewScreen writes to out. live says that out is a terminal, coloured that it may have
// colours; place is the file that keeps the run's place, empty where none does.
func NewScreen(out io.Writer, live, coloured bool, place string) *Screen {
	return &Screen{out: out, live: live, coloured: coloured, place: place}
}

// Log is where lines of a log go that share the screen's terminal.
func (s *Screen) Log(out io.Writer) io.Writer { return logWriter{s, out} }

type logWriter struct {
	screen *Screen
	out    io.Writer
}

func (w logWriter) Write(line []byte) (int, error) {
	w.screen.mu.Lock()
	defer w.screen.mu.Unlock()
	w.screen.erase()
	return w.out.Write(line)
}

const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	plain  = ""
)

// Show shows an event. The broker's coming and going is left to the log, which says it.
func (s *Screen) Show(now domain.UnixMillis, event driver.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := event.(type) {
	case driver.Continued:
		s.followed = true
		s.line(now, plain, "%s", s.continued(e))
	case driver.Asked:
		again := "asking for a supply"
		if e.Again {
			again = "asking once more, for the request may not have been sent"
		}
		s.about(now, e.Line, plain, "%s (request %s)", again, e.Request)
	case driver.SendFailed:
		s.about(now, e.Line, yellow, "the request can't be sent, trying again: %s", e.Err)
	case driver.CentralQuiet:
		s.about(now, e.Line, yellow, "Central does not answer; waiting %s more", e.GivesUpIn.Round(time.Second))
	case driver.Granted:
		s.about(now, e.Line, green, "granted%s", granted(e))
	case driver.Supplying:
		if text := "supplying " + figures(e.Power, e.Energy, e.Amount); s.live {
			s.redraw(now, e.Line, text)
		} else if e.First || now.Sub(s.written) >= lineEvery {
			s.written = now
			s.about(now, e.Line, plain, "%s", text)
		}
	case driver.Missed:
		s.about(now, e.Line, plain, "meanwhile, at %s: %s", clock(e.At), figures(e.Power, e.Energy, e.Amount))
	case driver.PointQuiet:
		text := "the point has not begun; plug in if it waits for that"
		if e.Begun {
			text = "the point does not report any more"
		}
		s.about(now, e.Line, yellow, "%s", text)
	case driver.Ended:
		s.about(now, e.Line, plain, "ended, %s: %s kWh, %s EUR; waiting for the ticket", e.Done.Reason, e.Done.Energy, e.Done.Amount)
	case driver.Concluded:
		s.concluded(now, e)
	case driver.Corrected:
		s.about(now, e.Line, yellow, "%s", corrected(e))
	case driver.Finished:
		if s.followed || len(e.Supplies) > 1 {
			s.erase()
			fmt.Fprint(s.out, Summary(e.Supplies))
		}
	}
}

// Stopped says that the run was stopped before it was complete.
func (s *Screen) Stopped(now domain.UnixMillis) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line(now, plain, "stopped; a supply that runs goes on, and the same command goes on from here")
}

func (s *Screen) continued(e driver.Continued) string {
	text := fmt.Sprintf("going on where this was cut off, %d of %d concluded", len(e.Supplies), e.Of)
	if e.Open != nil {
		text += ", request " + string(e.Open.Request) + " open"
	}
	if s.place != "" {
		text += "; remove " + s.place + " to begin anew"
	}
	return text
}

func granted(e driver.Granted) string {
	var text strings.Builder
	if e.Price != nil {
		fmt.Fprintf(&text, " at %s EUR/kWh", e.Price)
	}
	if e.Session != "" {
		fmt.Fprintf(&text, ", session %s", e.Session)
	}
	return text.String()
}

func (s *Screen) concluded(now domain.UnixMillis, e driver.Concluded) {
	colour := green
	if !e.Supply.OK() {
		colour = red
	}
	switch t := e.Ticket; {
	case t != nil:
		before := ""
		if t.Revised.Reason != "" {
			before = fmt.Sprintf("; before it %s kWh, %s EUR (%s)", t.Revised.EnergyBefore, t.Revised.AmountBefore, difference(t.Revised.Difference))
		}
		s.about(now, e.Line, colour, "ticket %s%s: %s kWh at %s EUR/kWh, %s EUR, %s, from %s to %s%s%s", t.ID, revision(t.Revision),
			t.Energy, t.Price, t.Amount, t.Reason, clock(t.StartedAt), clock(t.EndedAt), late(*t), before)
	case e.Supply.Verdict == driver.Refused:
		s.about(now, e.Line, colour, "refused: %s", reason(e.Supply.Reason))
	case e.Supply.Verdict == driver.NotServed:
		s.about(now, e.Line, colour, "not served: %s", reason(e.Supply.Reason))
	case e.Supply.Reason == driver.PointSilent:
		s.about(now, e.Line, colour, "given up: %s; last reported: %s kWh, %s EUR", reason(e.Supply.Reason), e.Supply.Energy, e.Supply.Amount)
	default:
		s.about(now, e.Line, colour, "no ticket has come; as the point reported it: %s kWh, %s EUR, %s", e.Supply.Energy, e.Supply.Amount, e.Supply.Reason)
	}
	if e.NextIn > 0 {
		s.line(now, plain, "the next in %s", e.NextIn)
	}
}

func revision(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", revision %d", n)
}

// late is why a ticket was revised; empty where it was not.
func late(t message.Ticket) string {
	if t.Revised.Reason == "" {
		return ""
	}
	return ", revised for a late " + t.Revised.Reason
}

// corrected tells what is different.
func corrected(e driver.Corrected) string {
	before, after := e.Before, e.After
	switch {
	case after.Ticket == "" && after.Verdict == driver.Refused:
		return "Central's answer after all: refused, " + reason(after.Reason)
	case after.Ticket == "":
		return fmt.Sprintf("Central's answer after all: granted, session %s", after.Session)
	case before.Ticket == "" && before.Energy == after.Energy && before.Amount == after.Amount && before.Reason == after.Reason:
		return fmt.Sprintf("ticket %s: as the point reported it", after.Ticket)
	}
	why := after.Reason
	if e.Ticket != nil {
		why += late(*e.Ticket)
	}
	return fmt.Sprintf("ticket %s%s: %s kWh (%s), %s EUR (%s), %s", after.Ticket, revision(after.Revision),
		after.Energy, difference(after.Energy-before.Energy), after.Amount, difference(after.Amount-before.Amount), why)
}

func difference[T interface {
	~int64
	String() string
}](n T) string {
	if n >= 0 {
		return "+" + n.String()
	}
	return n.String()
}

func figures(power domain.Watts, energy *domain.MilliwattHours, amount domain.MicroEuros) string {
	if energy == nil {
		return fmt.Sprintf("%s kW, %s EUR", power, amount)
	}
	return fmt.Sprintf("%s kW, %s kWh, %s EUR", power, energy, amount)
}

// reasons say what a reason means to a driver.
var reasons = map[string]string{
	string(chargingpoint.RefusedExpired):      "the request was too old when Central came to it",
	string(chargingpoint.RefusedUnknown):      "Central knows no such point",
	string(chargingpoint.RefusedDisconnected): "the point is disconnected",
	string(chargingpoint.RefusedBroken):       "the point is broken",
	string(chargingpoint.RefusedOutOfOrder):   "the point is out of order",
	string(chargingpoint.RefusedOccupied):     "the point is occupied",
	string(chargingpoint.RefusedUnreadable):   "Central can't read what it knows of the point, until its event log is mended",
	driver.CentralSilent:                      fmt.Sprintf("Central did not answer within %s", driver.GiveUpAfter),
	driver.PointSilent:                        fmt.Sprintf("nothing was heard of the supply for %s", driver.LostAfter),
}

func reason(code string) string {
	switch meaning := reasons[code]; {
	case meaning != "":
		return meaning
	case code != "":
		return code
	}
	return "no reason was given"
}

// about writes a line about a line of the run.
func (s *Screen) about(now domain.UnixMillis, line driver.Line, colour, format string, args ...any) {
	s.line(now, colour, "%s%s", subject(line), fmt.Sprintf(format, args...))
}

func subject(line driver.Line) string {
	if line.Of == 1 {
		return string(line.Point) + ": "
	}
	return fmt.Sprintf("%s (%d of %d): ", line.Point, line.Number, line.Of)
}

func (s *Screen) line(now domain.UnixMillis, colour, format string, args ...any) {
	s.erase()
	text := fmt.Sprintf(format, args...)
	if s.coloured && colour != plain {
		text = colour + text + "\x1b[0m"
	}
	fmt.Fprintf(s.out, "%s %s\n", clock(now), text)
}

// redraw draws the line of the running supply in place of its last one.
func (s *Screen) redraw(now domain.UnixMillis, line driver.Line, text string) {
	fmt.Fprintf(s.out, "\r\x1b[K%s %s%s", clock(now), subject(line), text)
	s.drawn = true
}

func (s *Screen) erase() {
	if s.drawn {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.drawn = false
	}
}

// clock is the time of day here.
func clock(t domain.UnixMillis) string {
	if t == 0 {
		return "-"
	}
	return t.Time().Local().Format(time.TimeOnly)
}

// Summary is the table at the end of a run.
func Summary(supplies []driver.Supply) string {
	rows := [][]string{{"", "POINT", "OUTCOME", "KWH", "EUR", "REASON"}}
	for i, s := range supplies {
		rows = append(rows, []string{fmt.Sprint(i + 1), string(s.Point), string(s.Verdict), s.Energy.String(), s.Amount.String(), s.Reason})
	}
	energy, amount, unserved := driver.Totals(supplies)
	total := fmt.Sprintf("%d of %d served", len(supplies)-unserved, len(supplies))
	return table(append(rows, []string{"", "", total, energy.String(), amount.String(), ""}), 0, 3, 4)
}

// table sets rows in columns, those named flush right.
func table(rows [][]string, right ...int) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	flushRight := make([]bool, len(width))
	for _, i := range right {
		flushRight[i] = true
	}
	var text strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
			if flushRight[i] {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return text.String()
}
