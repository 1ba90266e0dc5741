package console

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"evcharging/application/network"
)

func TestStills(t *testing.T) {
	all := network.Window{Points: 1_000, Sessions: 1_000, Messages: 5}
	for name, c := range map[string]struct {
		of    *fake
		width int
		still Still
	}{
		"80":    {aDay(t), 80, Still{Note: "as the event log has it"}},
		"100":   {aDay(t), 100, Still{Status: Status{Network: "2025-11-23", Now: noon, Warnings: []string{"point-CP-9 is damaged"}}}},
		"empty": {newFake(t), 80, Still{}},
		"many":  {many(t, 40), 120, Still{}},
	} {
		t.Run(name, func(t *testing.T) {
			c.still.View = c.of.Snapshot(all)
			if c.still.Status.Now == 0 {
				c.still.Status = c.of.status
			}
			text := ansi.Strip(c.still.draw(c.width, time.UTC))
			golden(t, "still_"+name, text+"\n")
			for line := range strings.SplitSeq(text, "\n") {
				if ansi.StringWidth(line) > c.width {
					t.Errorf("wider than %d: %q", c.width, line)
				}
			}
		})
	}
}

func TestAStillInAFileHasNoColours(t *testing.T) {
	f := aDay(t)
	var out bytes.Buffer
	if err := (Still{View: f.Snapshot(network.Window{Points: 10}), Status: f.status}).Write(&out, []string{"TERM=xterm-256color"}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); text != ansi.Strip(text) || !strings.Contains(text, "CP-001") {
		t.Errorf("%q", text)
	}
}
