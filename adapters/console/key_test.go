package console

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
)

func TestKeysActWhileNothingIsTyped(t *testing.T) {
	var pressed []string
	presses := func(name string) func() string {
		return func() string { pressed = append(pressed, name); return "it is " + name }
	}
	f := aDay(t)
	p := newPanel(t.Context(), f, nil, []Key{
		{Names: []string{"space"}, Help: "space pauses", Run: presses("paused")},
		{Names: []string{"right", "n"}, Help: "→ steps", Run: func() string {
			f.ago(0).point("CP-010", "new", 300_000)
			return presses("stepped")()
		}},
		{Names: []string{"-"}, Run: presses("slower")},
		{Names: []string{"q"}, Help: "q quits"},
	}, nil)
	p.screen.zone = noon.Time().Location()
	p.Update(tea.WindowSizeMsg{Width: 80, Height: 24})
	if want := " space pauses · → steps · q quits · PgUp PgDn scroll · /text filters"; p.line(-2) != want {
		t.Errorf("it offers %q", p.line(-2))
	}
	if p.keys("' "); p.line(-2) != " it is paused" || p.input.Value() != "" {
		t.Errorf("it says %q", p.line(-2))
	}
	// What a key has changed is seen at once.
	if p.keys("'n"); !strings.Contains(p.text(), "● 3 ACTIVATED") {
		t.Errorf("it shows\n%s", p.text())
	}
	p.keys("right", "'-")
	// Within a word they are letters.
	p.keys("'/cp n")
	if got := strings.Join(pressed, " "); got != "paused stepped stepped slower" || p.input.Value() != "/cp n" {
		t.Errorf("pressed were %q, typed is %q", got, p.input.Value())
	}
	if cmd := p.keys("'q"); p.input.Value() != "/cp nq" || quits(cmd) {
		t.Errorf("typed is %q", p.input.Value())
	}
	if cmd := p.keys("esc", "'q"); !quits(cmd) {
		t.Error("it does not quit")
	}
}

func quits(cmd tea.Cmd) bool {
	if cmd == nil {
		return false
	}
	_, quit := cmd().(tea.QuitMsg)
	return quit
}
