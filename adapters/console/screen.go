package console

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"evcharging/application/network"
	"evcharging/domain/session"
)

// screen is all that a frame shows. Its rendering is a function of it and of
// nothing else.
type screen struct {
	width, height int
	status        Status
	view          network.Snapshot
	filter        string
	page          *page // stands in place of the points; nil: none
	hint          hint
	// offer is the hint where there is nothing else to say.
	offer string
	// prompt is the command line, rendered.
	prompt string
	look   look
	zone   *time.Location
}

// page is a reply of many lines.
type page struct {
	title string
	lines []string
	// first is the first line seen, left the first column.
	first, left int
}

// widest is the width of the widest line.
func (p *page) widest() int {
	widest := 0
	for _, line := range p.lines {
		widest = max(widest, ansi.StringWidth(line))
	}
	return widest
}

// hint is the line above the command line: the first of its parts that there is.
type hint struct {
	choices []string // what Tab offers
	chosen  int      // -1: none yet
	// running is the command that tells its progress; busy is how many run.
	running     string
	busy        int
	done, total int
	reply       string
	failed      bool
	usage       string
}

// The smallest terminal that has room for a panel.
const (
	leastWidth  = minTile
	leastHeight = 9
)

// layout says where things are in a terminal.
type layout struct {
	columns, tile int // tiles side by side, and how wide
	rows          int // of tiles
	body          int // lines of the points, or of a page
	sessions      int // lines of sessions
	messages      int // lines of messages
	beside        bool
	small         bool // there is no room for a panel
}

// arrange divides a terminal: points first, then messages, then sessions.
func arrange(width, height, warnings, points int) layout {
	l := layout{columns: max(1, (width+1)/(minTile+1))}
	l.tile = min((width+1)/l.columns-1, maxTile)
	if l.small = width < leastWidth || height < leastHeight; l.small {
		return l
	}
	room := height - 5 - min(warnings, 1) // header, counts, rule, hint, command line
	wanted := max(1, (points+l.columns-1)/l.columns) * tileHeight
	l.body = min(wanted, max(tileHeight, room*3/4/tileHeight*tileHeight))
	rest := room - l.body
	switch {
	case width >= 110 && rest >= 3:
		l.beside, l.sessions, l.messages = true, rest-1, rest-1
	case rest >= 6:
		l.sessions = (rest - 2) * 2 / 5
		l.messages = rest - 2 - l.sessions
	case rest >= 3:
		l.messages = rest - 1
	default:
		l.body = room
	}
	l.rows = l.body / tileHeight
	return l
}

// layout is how the screen is divided.
func (s *screen) layout() layout {
	return arrange(s.width, s.height, len(s.notices()), s.view.Counts.Total())
}

// render draws the frame: height lines, none wider than width.
func (s *screen) render() string {
	if s.width < 1 || s.height < 1 {
		return ""
	}
	l := s.layout()
	if l.small {
		return s.renderSmall()
	}
	lines := make([]string, 0, s.height)
	lines = append(lines, s.header(), s.counts())
	lines = append(lines, s.noticeLines()...)
	if s.page != nil {
		lines = append(lines, s.pageLines(l.body)...)
	} else {
		lines = append(lines, s.rule("points", s.position(l), s.width))
		lines = append(lines, s.tiles(l)...)
	}
	if l.messages > 0 {
		lines = append(lines, s.lower(l)...)
	}
	for len(lines) < s.height-2 {
		lines = append(lines, "")
	}
	return strings.Join(append(lines, s.hintLine(), s.prompt), "\n")
}

// renderSmall says what there is in as many words as there is room for.
func (s *screen) renderSmall() string {
	c := s.view.Counts
	text := fmt.Sprintf("EVCharging: %d points, %d supplying, %d broken. Enlarge the terminal to %d×%d",
		c.Total(), c.Supplying, c.Broken, leastWidth, leastHeight)
	lines := strings.Split(ansi.Wrap(text, s.width, ""), "\n")
	if s.height == 1 {
		return cut("Enlarge the terminal", s.width)
	}
	lines = lines[:min(len(lines), s.height-1)]
	for len(lines) < s.height-1 {
		lines = append(lines, "")
	}
	return strings.Join(append(lines, ansi.Truncate(s.prompt, s.width, "")), "\n")
}

func (s *screen) header() string {
	left := " EVCharging"
	name := cut(clean(s.status.Network), max(0, s.width/3))
	end := s.status.Now.Time().In(s.zone).Format(time.TimeOnly) + " "
	if s.width >= 60 {
		end = network.KW(s.view.Power, 1) + " kW   " + end
	}
	free := s.width - len(left) - 2 - ansi.StringWidth(name) - len(end)
	if free < 0 {
		return s.look.strong.Render(fit(left, s.width))
	}
	broker := ""
	if s.status.Broker != "" && free > 20 {
		broker = cut("broker "+clean(s.status.Broker), free-4) + "   "
	}
	free -= ansi.StringWidth(broker)
	return s.look.strong.Render(left) + "  " + s.look.accent.Render(name) + blank(free) + s.look.dim.Render(broker) + end
}

// counts tells how many points are in each state, in words where they fit.
func (s *screen) counts() string {
	number := map[string]int{
		"SUPPLYING": s.view.Counts.Supplying, "ACTIVATED": s.view.Counts.Activated, "Out of Order": s.view.Counts.OutOfOrder,
		"BROKEN": s.view.Counts.Broken, "DISCONNECTED": s.view.Counts.Disconnected, "UNREADABLE": s.view.Counts.Unreadable,
	}
	order := stateOrder
	if s.view.Counts.Unreadable > 0 {
		order = append(slices.Clone(order), network.Unreadable)
	}
	for _, form := range []struct {
		gap  string
		word func(sign) string
	}{
		{"   ", func(m sign) string { return " " + m.word }},
		{"  ", func(m sign) string { return " " + m.word }},
		{"  ", func(m sign) string { return " " + m.short }},
		{" ", func(sign) string { return "" }},
	} {
		var b strings.Builder
		width := 1
		b.WriteByte(' ')
		for i, state := range order {
			mark := signs[state]
			text := mark.glyph + " " + strconv.Itoa(number[mark.word]) + form.word(mark)
			if i > 0 {
				b.WriteString(form.gap)
				width += len(form.gap)
			}
			width += ansi.StringWidth(text)
			if number[mark.word] == 0 {
				b.WriteString(s.look.dim.Render(text))
			} else {
				b.WriteString(s.look.state[state].Render(text))
			}
		}
		if width <= s.width {
			return b.String()
		}
	}
	return cut(fmt.Sprintf(" %d points", s.view.Counts.Total()), s.width)
}

// notices are what somebody must know before anything else.
func (s *screen) notices() []string {
	var out []string
	for _, w := range s.status.Warnings {
		out = append(out, clean(w))
	}
	switch n := s.status.DeadLetters; {
	case n == 1:
		out = append(out, "1 dead letter")
	case n > 1:
		out = append(out, strconv.FormatUint(n, 10)+" dead letters")
	}
	return out
}

// noticeLines is the line of the notices, where there are any.
func (s *screen) noticeLines() []string {
	notices := s.notices()
	if len(notices) == 0 {
		return nil
	}
	return []string{" " + s.look.levels[network.Alert].Render(cut("! "+strings.Join(notices, " · "), s.width-1))}
}

// rule is a line with a title at the left and a remark at the right.
func (s *screen) rule(title, remark string, width int) string {
	title = cut(title, width-6)
	remark = cut(remark, max(0, width-8-ansi.StringWidth(title)))
	line := width - 4 - ansi.StringWidth(title)
	if remark != "" {
		line -= ansi.StringWidth(remark) + 4
	}
	out := s.look.dim.Render("── ") + s.look.accent.Render(title) + s.look.dim.Render(" "+strings.Repeat("─", max(0, line)))
	if remark != "" {
		out += s.look.dim.Render(" " + remark + " ──")
	}
	return out
}

// position says which of the points are seen.
func (s *screen) position(l layout) string {
	var parts []string
	if s.filter != "" {
		parts = append(parts, fmt.Sprintf("/%s: %d of %d", clean(s.filter), s.view.Matched, s.view.Counts.Total()))
	}
	if s.view.Matched > l.rows*l.columns {
		arrows := ""
		if s.view.First > 0 {
			arrows += "↑"
		}
		if s.view.First+len(s.view.Points) < s.view.Matched {
			arrows += "↓"
		}
		parts = append(parts, fmt.Sprintf("%d–%d of %d %s", s.view.First+1, s.view.First+len(s.view.Points), s.view.Matched, arrows))
	}
	return strings.Join(parts, " · ")
}

func (s *screen) tiles(l layout) []string {
	lines := make([]string, 0, l.body)
	for row := range l.rows {
		first := row * l.columns
		if first >= len(s.view.Points) {
			break
		}
		var drawn [tileHeight]strings.Builder
		for i, p := range s.view.Points[first:min(first+l.columns, len(s.view.Points))] {
			for j, line := range s.tile(p, l.tile) {
				if i > 0 {
					drawn[j].WriteByte(' ')
				}
				drawn[j].WriteString(line)
			}
		}
		for j := range drawn {
			lines = append(lines, drawn[j].String())
		}
	}
	if len(s.view.Points) == 0 {
		text := " No points yet. A point appears here once its Monitor has registered it."
		if s.view.Counts.Total() > 0 {
			text = " No point passes the filter. Esc shows all."
		}
		lines = append(lines, "", s.look.dim.Render(cut(text, s.width)))
	}
	for len(lines) < l.body {
		lines = append(lines, "")
	}
	return lines
}

func (s *screen) pageLines(body int) []string {
	p := s.page
	remark := "Esc closes"
	if p.widest() >= s.width {
		remark = "← → · " + remark
	}
	if len(p.lines) > body {
		remark = fmt.Sprintf("%d–%d of %d · PgUp PgDn · ", p.first+1, min(p.first+body, len(p.lines)), len(p.lines)) + remark
	}
	lines := []string{s.rule(clean(p.title), remark, s.width)}
	for _, line := range p.lines[p.first:min(p.first+body, len(p.lines))] {
		lines = append(lines, " "+cut(ansi.TruncateLeft(line, p.left, ""), s.width-1))
	}
	for len(lines) < body+1 {
		lines = append(lines, "")
	}
	return lines
}

// lower is what stands below the points: sessions and messages, side by side where
// there is room.
func (s *screen) lower(l layout) []string {
	if l.beside {
		left := (s.width - 1) / 2
		sessions, messages := s.sessionLines(l.sessions, left), s.messageLines(l.messages, s.width-1-left)
		for i := range sessions {
			sessions[i] += blank(left-ansi.StringWidth(sessions[i])+1) + messages[i]
		}
		return sessions
	}
	var lines []string
	if l.sessions > 0 {
		lines = s.sessionLines(l.sessions, s.width)
	}
	return append(lines, s.messageLines(l.messages, s.width)...)
}

func (s *screen) sessionLines(count, width int) []string {
	remark := ""
	if s.view.Open > count {
		remark = fmt.Sprintf("the newest %d of %d", count, s.view.Open)
	}
	lines := []string{s.rule("requests in progress", remark, width)}
	for _, supply := range s.view.Sessions[:min(count, len(s.view.Sessions))] {
		lines = append(lines, s.sessionLine(supply, width))
	}
	if len(s.view.Sessions) == 0 {
		lines = append(lines, s.look.dim.Render(cut(" none", width)))
	}
	for len(lines) < count+1 {
		lines = append(lines, "")
	}
	return lines
}

func (s *screen) sessionLine(supply network.Session, width int) string {
	ending := ""
	if supply.GrantedAt != 0 {
		ending = right(age(s.status.Now.Sub(supply.GrantedAt)), 8)
	}
	if supply.Status != session.Authorized && supply.Status != network.Unreadable && width >= 50 {
		ending = right(network.KWh(supply.Energy, 3)+" kWh", 11) + right(" "+network.EUR(supply.Amount)+" EUR", 12) + " " + ending
	}
	if supply.Status == session.Supplying && width >= 70 {
		ending = right(network.KW(supply.Power, 1)+" kW", 9) + "  " + ending
	}
	what := ""
	switch supply.Status {
	case session.Authorized:
		what = "  waits to charge"
	case session.Ending:
		what = "  ending: " + string(supply.Cause)
	case network.Unreadable:
		what = "  can't be read"
	}
	state := stateOrder[0]
	glyph := s.look.state[state].Render(signs[state].glyph)
	left := clean(string(supply.Driver)) + " at " + clean(string(supply.Point))
	cells := max(0, width-ansi.StringWidth(ending)-4)
	left, what = cut(left, cells), cut(what, max(0, cells-ansi.StringWidth(left)))
	return " " + glyph + " " + left + s.look.dim.Render(what) + blank(cells-ansi.StringWidth(left)-ansi.StringWidth(what)) + " " + ending
}

// age is a time span as people read it.
func age(d time.Duration) string {
	d = max(d, 0)
	if d >= 100*time.Hour {
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	}
	if d >= time.Hour {
		return fmt.Sprintf("%d:%02d:%02d", d/time.Hour, d/time.Minute%60, d/time.Second%60)
	}
	return fmt.Sprintf("%d:%02d", d/time.Minute, d/time.Second%60)
}

func (s *screen) messageLines(count, width int) []string {
	lines := []string{s.rule("messages", "", width)}
	messages := s.view.Messages
	for _, m := range messages[max(0, len(messages)-count):] {
		text := cut(clean(m.Text), width-11)
		lines = append(lines, " "+s.look.dim.Render(fit(s.clock(m.At), 8))+"  "+s.look.levels[m.Level].Render(text))
	}
	for len(lines) < count+1 {
		lines = append(lines, "")
	}
	return lines
}

func (s *screen) hintLine() string {
	h, width := s.hint, s.width-1
	switch {
	case len(h.choices) > 0:
		return " " + s.choices(width)
	case h.busy > 0:
		return " " + s.progress(width)
	case h.reply != "" && h.failed:
		return " " + s.look.levels[network.Alert].Render(cut("✗ "+clean(h.reply), width))
	case h.reply != "":
		return " " + s.look.accent.Render(cut(clean(h.reply), width))
	case h.usage != "":
		return " " + s.look.dim.Render(cut(clean(h.usage), width))
	}
	return " " + s.look.dim.Render(cut(s.offer, width))
}

// choices shows what Tab offers, around the chosen one.
func (s *screen) choices(width int) string {
	h := s.hint
	first := max(h.chosen, 0)
	for used := 0; first > 0; first-- { // as many before the chosen one as leave it in sight
		if used += len(h.choices[first-1]) + 2; used > width/2 {
			break
		}
	}
	var b strings.Builder
	for i := first; i < len(h.choices); i++ {
		text := clean(h.choices[i])
		more := ""
		if i < len(h.choices)-1 {
			more = fmt.Sprintf("  … %d more", len(h.choices)-i)
		}
		if i > first && ansi.StringWidth(text)+2+ansi.StringWidth(more) > width {
			b.WriteString(s.look.dim.Render(cut(more, width)))
			break
		}
		if i > first {
			b.WriteString("  ")
			width -= 2
		}
		text = cut(text, width)
		width -= ansi.StringWidth(text)
		if i == h.chosen {
			text = s.look.pick.Render(text)
		}
		b.WriteString(text)
	}
	return b.String()
}

func (s *screen) progress(width int) string {
	h := s.hint
	text := clean(h.running) + " …"
	if h.busy > 1 {
		text = fmt.Sprintf("%s (and %d more)", text, h.busy-1)
	}
	if h.total <= 0 {
		return s.look.accent.Render(cut(text, width))
	}
	const bar = 20
	done := min(max(h.done, 0), h.total)
	figures := fmt.Sprintf(" %d of %d", done, h.total)
	text = cut(text, max(0, width-bar-1-len(figures)))
	filled := done * bar / h.total
	return s.look.accent.Render(text+" "+strings.Repeat("█", filled)) + s.look.dim.Render(strings.Repeat("░", bar-filled)) + cut(figures, width-bar-1-ansi.StringWidth(text))
}
