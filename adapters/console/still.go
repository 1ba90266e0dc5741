package console

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/term"

	"evcharging/application/network"
)

// Still is one look at a network, as the panel shows it, to be printed: with all points and
// sessions of the view, however many they are.
type Still struct {
	View   network.Snapshot
	Status Status
	// Note is said below; empty: nothing.
	Note string
}

// Write prints the look: as wide as the terminal that out is, in its own colours; 80 columns
// without colours where it is none. environ is as of os.Environ.
func (s Still) Write(out io.Writer, environ []string) error {
	width := 80
	if file, ok := out.(*os.File); ok && term.IsTerminal(file.Fd()) {
		if columns, _, err := term.GetSize(file.Fd()); err == nil {
			width = max(columns, leastWidth)
		}
	}
	w := colorprofile.NewWriter(out, environ)
	if (Console{Environ: environ}).getenv("NO_COLOR") != "" {
		w.Profile = min(w.Profile, colorprofile.ASCII)
	}
	_, err := fmt.Fprintln(w, s.draw(width, time.Local))
	return err
}

// draw is the look, of a width.
func (s Still) draw(width int, zone *time.Location) string {
	// The terminal's own colours are readable whatever its background is, which is not asked for.
	frame := &screen{width: width, status: s.Status, view: s.View, look: newLook(coloursFor(true, colorprofile.ANSI)), zone: zone}
	l := arrange(width, leastHeight, 0, len(s.View.Points))
	l.rows = (len(s.View.Points) + l.columns - 1) / l.columns
	l.body = l.rows * tileHeight
	lines := append([]string{frame.header(), frame.counts()}, frame.noticeLines()...)
	lines = append(lines, frame.rule("points", "", width))
	lines = append(lines, frame.tiles(l)...)
	lines = append(lines, frame.sessionLines(max(1, len(s.View.Sessions)), width)...)
	lines = append(lines, frame.messageLines(len(s.View.Messages), width)...)
	if s.Note != "" {
		lines = append(lines, " "+frame.look.dim.Render(cut(s.Note, width-1)))
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
