package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/lucasb-eyer/go-colorful"

	"evcharging/application/network"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

func TestFrames(t *testing.T) {
	ids := func() []string { return []string{"CP-001", "CP-002", "CP-003", "all"} }
	stop := Command{Name: "stop", Args: []Arg{{Name: "CP|all", Values: ids}}, Help: "ends what is supplied, and takes out of order"}
	for _, c := range []struct {
		name          string
		width, height int
		panel         func(width, height int) *panel
	}{
		{"80x24", 80, 24, func(w, h int) *panel { return open(aDay(t), w, h) }},
		{"120x40", 120, 40, func(w, h int) *panel { return open(aDay(t), w, h) }},
		{"empty", 80, 24, func(w, h int) *panel { return open(newFake(t), w, h) }},
		{"filter", 80, 24, func(w, h int) *panel {
			p := open(aDay(t), w, h)
			p.keys("'/sevilla", "enter")
			return p
		}},
		{"nothing passes", 80, 24, func(w, h int) *panel {
			p := open(aDay(t), w, h)
			p.keys("'/atlantis")
			return p
		}},
		{"thousand points scrolled", 80, 24, func(w, h int) *panel {
			p := open(many(t, 1000), w, h)
			p.keys("pgdown", "pgdown", "pgdown", "shift+down")
			return p
		}},
		{"thousand points at the end", 120, 40, func(w, h int) *panel {
			p := open(many(t, 1000), w, h)
			p.keys("end")
			return p
		}},
		{"long texts", 80, 24, func(w, h int) *panel {
			id := strings.Repeat("0123456789ABCDEF", 4)
			f := newFake(t).
				point("C-"+id[:62], "東京都千代田区丸の内一丁目九番一号 東京駅 八重洲口 地下駐車場", 999_999_999).
				point("D-"+id[:62], strings.Repeat("ñandú ", 40), 300_000).
				point("E-"+id[:62], "👩‍👩‍👧‍👦 familia 🇪🇸 ⚡️ é ẹ́", 0)
			f.supplying("D-"+id[:62], id, 10_000_000, 9_000_000_000)
			f.status.Network, f.status.Broker = strings.Repeat("network ", 20), strings.Repeat("broker-", 20)+":9092"
			f.status.Warnings = []string{strings.Repeat("the broker is away ", 10)}
			return open(f, w, h)
		}},
		{"warnings", 80, 24, func(w, h int) *panel {
			f := aDay(t)
			f.status.Warnings, f.status.DeadLetters = []string{"the broker is away since 11:58:03", "the store is away"}, 3
			return open(f, w, h)
		}},
		{"unreadable", 80, 24, func(w, h int) *panel {
			f := aDay(t)
			f.CannotRead("point-CP-002", f.now)
			f.CannotRead("point-CP-010", f.now)
			f.CannotRead("session-s-CP-001", f.now)
			f.apply("point-CP-008", chargingpoint.PointOccupied{Session: "s-lost", Driver: "D-50"}).CannotRead("session-s-lost", f.now)
			f.status.Warnings = []string{"2 points can't be read: CP-002, CP-010"}
			return open(f, w, h)
		}},
		{"completion", 80, 24, func(w, h int) *panel {
			p := open(aDay(t), w, h, stop)
			p.keys("'stop c", "tab", "tab", "tab")
			return p
		}},
		{"progress", 80, 24, func(w, h int) *panel {
			p := open(aDay(t), w, h, stop)
			r := &run{line: "stop all"}
			r.done.Store(120)
			r.total.Store(200)
			p.running = []*run{r}
			return p
		}},
		{"help", 80, 24, func(w, h int) *panel { return open(aDay(t), w, h, stop).carry("help") }},
		{"narrow", 52, 18, func(w, h int) *panel { return open(aDay(t), w, h) }},
		{"too small", 24, 6, func(w, h int) *panel { return open(aDay(t), w, h) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			golden(t, strings.ReplaceAll(c.name, " ", "_"), trimmed(c.panel(c.width, c.height).text()))
		})
	}
}

// statesShown are tiles of all that a point may show.
func statesShown(t *testing.T) *screen {
	f := newFake(t)
	for i, events := range [][]any{
		nil,
		{chargingpoint.TakenOutOfService{}},
		{chargingpoint.FaultReported{}},
		{chargingpoint.PointDisconnected{}},
		{chargingpoint.PriceSet{Price: 120_000}},
	} {
		id := fmt.Sprintf("CP-%d", i)
		f.point(id, "Sevilla, Plaza Nueva", 300_000).apply("point-"+id, events...)
	}
	f.point("CP-5", "granted", 300_000).granted("CP-5", "D-5")
	f.point("CP-6", "supplying", 300_000).supplying("CP-6", "D-6", 22_000, 5_500_000)
	f.point("CP-7", "ending", 300_000).supplying("CP-7", "D-7", 22_000, 5_500_000).
		apply("session-s-CP-7", session.EndDecided{Cause: session.CauseStopped})
	f.point("CP-8", "broken while supplying", 300_000).supplying("CP-8", "D-8", 22_000, 5_500_000).
		apply("point-CP-8", chargingpoint.FaultReported{})
	f.apply("point-CP-9", chargingpoint.PointRegistered{Location: "not heard since start", Price: 300_000},
		chargingpoint.PointConnected{Lease: 15 * time.Second}, chargingpoint.FaultCleared{})
	f.ago(30*24*time.Hour).point("CP-A", "out of order for long", 300_000).apply("point-CP-A", chargingpoint.TakenOutOfService{})
	f.CannotRead("point-CP-B", f.now)
	p := open(f, 80, 60)
	return &p.screen
}

func TestEachStateHasItsColourGlyphAndWord(t *testing.T) {
	for _, c := range []struct {
		name    string
		dark    bool
		profile colorprofile.Profile
	}{
		{"states_dark", true, colorprofile.TrueColor},
		{"states_light", false, colorprofile.TrueColor},
		{"states_16_colours", true, colorprofile.ANSI},
		{"states_no_colour", true, colorprofile.ASCII},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := statesShown(t)
			s.look = newLook(coloursFor(c.dark, c.profile))
			var out bytes.Buffer
			w := colorprofile.Writer{Forward: &out, Profile: c.profile} // as bubbletea writes
			if _, err := w.WriteString(strings.Join(s.tiles(s.layout()), "\n")); err != nil {
				t.Fatal(err)
			}
			golden(t, c.name, visible(out.String()))
			if c.profile == colorprofile.ASCII && regexp.MustCompile(`\x1b\[[0-9;:]*(3[0-9]|4[0-9]|9[0-7])[;:m]`).MatchString(out.String()) {
				t.Error("there is colour in it")
			}
		})
	}
}

func TestStatesDifferWithoutColours(t *testing.T) {
	glyphs, words := map[string]bool{}, map[string]bool{}
	for _, s := range stateOrder {
		glyphs[signs[s].glyph], words[signs[s].word] = true, true
		if ansi.GraphemeWidth.StringWidth(signs[s].glyph) != 1 || ansi.WcWidth.StringWidth(signs[s].glyph) != 1 {
			t.Errorf("the glyph of %s is not one cell wide", s)
		}
	}
	if glyphs[signs[network.Unreadable].glyph] || words[signs[network.Unreadable].word] {
		t.Error("a point that can't be read looks like another")
	}
	if len(stateOrder) != 5 || len(glyphs) != 5 || len(words) != 5 {
		t.Fatalf("glyphs %v and words %v are not five", glyphs, words)
	}
	if signs[chargingpoint.OutOfOrder].word != "Out of Order" {
		t.Error("out of order is not worded as agreed")
	}
}

func TestStatesDifferInLightness(t *testing.T) {
	for _, dark := range []bool{true, false} {
		c := coloursFor(dark, colorprofile.TrueColor)
		background := 0.0
		if !dark {
			background = 1
		}
		lightness := map[chargingpoint.State]float64{}
		for s, colour := range c.states {
			made, _ := colorful.MakeColor(colour)
			lightness[s], _, _ = made.Lab()
			if d := lightness[s] - background; d*d < 0.38*0.38 {
				t.Errorf("dark %v: %s is hard to read: lightness %.2f", dark, s, lightness[s])
			}
			for other, l := range lightness {
				if d := lightness[s] - l; other != s && d*d < 0.06*0.06 {
					t.Errorf("dark %v: %s and %s are alike: lightness %.2f and %.2f", dark, s, other, lightness[s], l)
				}
			}
		}
	}
}

func TestAFrameFillsAnyTerminalAndNoMore(t *testing.T) {
	panels := map[string]*panel{
		"a day": open(aDay(t), 80, 24), "many": open(many(t, 100), 80, 24), "empty": open(newFake(t), 80, 24),
		"page": open(aDay(t), 80, 24).carry("help"),
	}
	warned := aDay(t)
	warned.status.Warnings = []string{"the broker is away"}
	panels["warned"] = open(warned, 80, 24)
	panels["warned"].keys("'/cp", "enter")
	for name, p := range panels {
		for width := 1; width <= 240; width += 1 + width/12 {
			for height := 1; height <= 70; height += 1 + height/12 {
				p.Update(tea.WindowSizeMsg{Width: width, Height: height})
				lines := strings.Split(p.View().Content, "\n")
				if len(lines) != height {
					t.Fatalf("%s at %d×%d has %d lines", name, width, height, len(lines))
				}
				for i, l := range lines {
					if w := max(ansi.StringWidth(l), ansi.WcWidth.StringWidth(l)); w > width {
						t.Fatalf("%s at %d×%d: line %d is %d wide: %q", name, width, height, i, w, ansi.Strip(l))
					}
				}
				if c := p.View().Cursor; c == nil || c.X < 0 || c.Y != height-1 {
					t.Fatalf("%s at %d×%d: the cursor is at %+v", name, width, height, c)
				}
			}
		}
	}
}

// hostile has all that could do something to a terminal.
const hostile = "a\x1b]0;pwned\x07\x1b[2J\x1b[31m\u009b31m\u202eevil\u2066\u200d\u200b\x00\x7f\r\nb\tc\xff\u2028\ufeff"

func TestNoTextReachesTheTerminalAsACommand(t *testing.T) {
	f := newFake(t)
	f.point("CP-1"+hostile, hostile, 300_000).supplying("CP-1"+hostile, "D"+hostile, 11_000, 1)
	f.status.Network, f.status.Broker, f.status.Warnings = hostile, hostile, []string{hostile}
	f.Say(noon, network.Info, hostile)
	reply := func(text string) Command {
		return Command{Name: "say", Args: []Arg{{Name: "x", Optional: true, Values: func() []string { return []string{"x" + hostile, "y" + hostile} }}}, Help: hostile, Run: nothing(text)}
	}
	panels := []*panel{
		open(f, 120, 40, reply("")), open(f, 120, 40, reply("")).carry(hostile), open(f, 120, 40, reply(hostile)).carry("say"),
		open(f, 120, 40, reply("")), open(f, 120, 40, reply("")), open(f, 120, 40, reply("")),
		open(f, 120, 40, reply(strings.ReplaceAll(hostile, "\n", ""))).carry("say"),
		open(f, 120, 40, Command{Name: "say", Run: func(context.Context, Call) (string, error) { return "", errors.New(hostile) }}).carry("say"),
	}
	panels[3].keys("'say ", "tab", "tab")
	panels[4].keys("'say ")
	panels[5].keys("'/"+"evil", "enter")
	panels[5].Update(tea.PasteMsg{Content: hostile})
	sgr := regexp.MustCompile(`\x1b\[[0-9;:]*m`)
	for i, p := range panels {
		v := p.View()
		for _, r := range sgr.ReplaceAllString(v.Content, "") + v.WindowTitle {
			if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069) {
				t.Fatalf("panel %d shows %U:\n%q", i, r, v.Content)
			}
		}
		if n := strings.Count(v.Content, "\n"); n != 39 {
			t.Fatalf("panel %d has %d lines", i, n+1)
		}
	}
}

func BenchmarkFrameOfTenThousandPoints(b *testing.B) {
	f := many(b, 10_000)
	for _, filter := range []string{"", "sevilla"} {
		b.Run("filter "+filter, func(b *testing.B) {
			p := open(f, 120, 40)
			p.keys("end")
			p.setFilter(filter)
			b.ReportAllocs()
			for b.Loop() {
				p.look()
				p.View()
			}
		})
	}
}
