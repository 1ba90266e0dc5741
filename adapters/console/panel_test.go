package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"go.uber.org/goleak"

	"evcharging/application/network"
	"evcharging/domain/chargingpoint"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nothing is a command that replies.
func nothing(reply string) func(context.Context, Call) (string, error) {
	return func(context.Context, Call) (string, error) { return reply, nil }
}

// records is a command that keeps how it was called.
func records(name string, calls *[]string, args ...Arg) Command {
	return Command{Name: name, Args: args, Help: "records", Run: func(_ context.Context, c Call) (string, error) {
		*calls = append(*calls, name+"("+strings.Join(c.Args, ",")+")")
		return name + " done", nil
	}}
}

func points(ids ...string) Arg { return Arg{Name: "CP", Values: func() []string { return ids }} }

func TestACommandIsCarriedOut(t *testing.T) {
	var calls []string
	start := records("start", &calls, points(), Arg{Name: "DRIVER"})
	price := records("price", &calls, points(), Arg{Name: "EUR", Optional: true})
	for _, c := range []struct{ line, call, hint string }{
		{"start CP-1 D-7", "start(CP-1,D-7)", " start done"},
		{"  start   CP-1\tD-7 ", "start(CP-1,D-7)", " start done"},
		{"price CP-1", "price(CP-1)", " price done"},
		{"start CP-1", "", " ✗ start is typed like this: start CP DRIVER"},
		{"price CP-1 1 2", "", " ✗ price is typed like this: price CP [EUR]"},
		{"Start CP-1 D-7", "", ` ✗ "Start" is not a command; help lists them`},
		{"", "", " Tab completes · ↑ ↓ history · PgUp PgDn scroll · /text filters · help · quit"},
	} {
		calls = nil
		p := open(newFake(t), 100, 24, start, price).carry(c.line)
		if got := strings.Join(calls, ""); got != c.call || p.line(-2) != c.hint || p.input.Value() != "" {
			t.Errorf("%q calls %q and says %q", c.line, got, p.line(-2))
		}
	}
}

func TestAnErrorIsSaid(t *testing.T) {
	fails := Command{Name: "stop", Run: func(context.Context, Call) (string, error) { return "x", errors.New("there is no point CP-9") }}
	if p := open(newFake(t), 80, 24, fails).carry("stop"); p.line(-2) != " ✗ there is no point CP-9" {
		t.Fatalf("it says %q", p.line(-2))
	}
}

func TestAReplyStaysUntilSomethingIsTyped(t *testing.T) {
	p := open(newFake(t), 80, 24, Command{Name: "stop", Run: nothing("CP-1 is out of order")}).carry("stop")
	p.Update(refreshMsg{})
	if p.line(-2) != " CP-1 is out of order" {
		t.Fatalf("it says %q", p.line(-2))
	}
	p.keys("'s")
	if strings.Contains(p.line(-2), "out of order") {
		t.Fatalf("it still says %q", p.line(-2))
	}
}

func TestWhatIsTypedIsExplained(t *testing.T) {
	p := open(newFake(t), 80, 24, Command{Name: "stop", Args: []Arg{{Name: "CP|all"}}, Help: "takes out of order"})
	p.keys("'stop ")
	if p.line(-2) != " stop CP|all   takes out of order" {
		t.Fatalf("it says %q", p.line(-2))
	}
}

func TestCommandsRunSideBySideAndShowTheirProgress(t *testing.T) {
	// given a command that says how far it is and waits
	told, release := make(chan struct{}), make(chan struct{})
	stop := Command{Name: "stop", Run: func(_ context.Context, c Call) (string, error) {
		c.Progress(30, 200)
		close(told)
		<-release
		return "all stopped", nil
	}}
	p := open(newFake(t), 80, 24, stop, Command{Name: "other", Run: nothing("other done")})
	slow := p.keys("'stop", "enter")
	<-told
	p.Update(refreshMsg{})
	if want := " stop … ███░░░░░░░░░░░░░░░░░ 30 of 200"; p.line(-2) != want {
		t.Fatalf("it shows %q", p.line(-2))
	}
	// when another is carried out meanwhile
	quick := p.keys("'other", "enter")
	if !strings.Contains(p.line(-2), "other … (and 1 more)") {
		t.Fatalf("it shows %q", p.line(-2))
	}
	p.Update(quick())
	if !strings.HasPrefix(p.line(-2), " stop … ███") {
		t.Fatalf("it shows %q", p.line(-2))
	}
	// then the first ends too
	close(release)
	p.Update(slow())
	if p.line(-2) != " all stopped" || len(p.running) != 0 {
		t.Fatalf("it shows %q", p.line(-2))
	}
}

func TestTabCompletes(t *testing.T) {
	var calls []string
	stop := records("stop", &calls, points("CP-001", "CP-002", "EV-1", "all"))
	start := records("start", &calls, points("CP-001", "CP-002"), Arg{Name: "DRIVER", Values: func() []string { return []string{"D-7"} }})
	resume := records("resume", &calls, points("CP-001"))
	for _, c := range []struct {
		name, typed string
		keys        []string
		line        string
		cursor      int
		choices     string
	}{
		{"a command", "r", []string{"tab"}, "resume ", 7, ""},
		{"what commands have in common", "s", []string{"tab"}, "st", 2, "stop start"},
		{"all commands", "", []string{"tab"}, "", 0, "stop start resume help quit"},
		{"an argument", "stop e", []string{"tab"}, "stop EV-1 ", 10, ""},
		{"what arguments have in common", "stop c", []string{"tab"}, "stop CP-00", 10, "CP-001 CP-002"},
		{"the first choice", "stop c", []string{"tab", "tab"}, "stop CP-001", 11, "CP-001 CP-002"},
		{"the second choice", "stop c", []string{"tab", "tab", "tab"}, "stop CP-002", 11, "CP-001 CP-002"},
		{"round the end", "stop c", []string{"tab", "tab", "tab", "tab"}, "stop CP-001", 11, "CP-001 CP-002"},
		{"back", "stop c", []string{"tab", "shift+tab"}, "stop CP-002", 11, "CP-001 CP-002"},
		{"a key ends it", "stop c", []string{"tab", "tab", "'x"}, "stop CP-001x", 12, ""},
		{"the second argument", "start CP-001 ", []string{"tab"}, "start CP-001 D-7 ", 17, ""},
		{"beyond the arguments", "stop CP-001 ", []string{"tab"}, "stop CP-001 ", 12, ""},
		{"nothing fits", "stop zz", []string{"tab"}, "stop zz", 7, ""},
		{"an unknown command", "foo c", []string{"tab"}, "foo c", 5, ""},
		{"in the middle", "res CP-001", []string{"home", "right", "right", "right", "tab"}, "resume CP-001", 6, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := open(newFake(t), 80, 24, stop, start, resume)
			p.keys(append([]string{"'" + c.typed}, c.keys...)...)
			choices := ""
			if p.offered != nil {
				choices = strings.Join(p.offered.choices, " ")
			}
			if p.input.Value() != c.line || p.input.Position() != c.cursor || choices != c.choices {
				t.Fatalf("the line is %q, the cursor at %d, the choices %q", p.input.Value(), p.input.Position(), choices)
			}
		})
	}
}

func TestTheChosenOneOfManyChoicesIsInSight(t *testing.T) {
	var ids []string
	for i := range 500 {
		ids = append(ids, fmt.Sprintf("CP-%03d", i))
	}
	p := open(newFake(t), 80, 24, Command{Name: "stop", Args: []Arg{points(ids...)}})
	p.keys("'stop ", "tab", "tab", "shift+tab")
	if got := p.line(-2); !strings.HasSuffix(got, "CP-498  CP-499") {
		t.Fatalf("at the end it shows %q", got)
	}
	p.keys("tab")
	if got := p.line(-2); !strings.HasPrefix(got, " CP-000  CP-001") || !strings.HasSuffix(got, "more") {
		t.Fatalf("at the beginning it shows %q", got)
	}
}

func TestArrowsGoThroughTheHistory(t *testing.T) {
	var calls []string
	p := open(newFake(t), 80, 24, records("a", &calls), records("b", &calls))
	p.carry("a").carry("b").carry("b").carry("nonsense")
	p.keys("'dra", "'ft")
	var seen []string
	for _, key := range []string{"up", "up", "up", "up", "down", "down", "down", "down"} {
		p.keys(key)
		seen = append(seen, p.input.Value())
	}
	if want := []string{"nonsense", "b", "a", "a", "b", "nonsense", "draft", "draft"}; !slices.Equal(seen, want) {
		t.Fatalf("the arrows show %q, want %q", seen, want)
	}
	for i := range 3 * historyLimit {
		p.history.add(fmt.Sprint(i))
	}
	if len(p.history.lines) != historyLimit || p.history.lines[0] != fmt.Sprint(2*historyLimit) {
		t.Fatalf("%d lines are remembered, from %s on", len(p.history.lines), p.history.lines[0])
	}
}

func TestScrolling(t *testing.T) {
	for _, c := range []struct {
		name  string
		msgs  []tea.Msg
		first int
	}{
		{"a row down", []tea.Msg{keyNamed("shift+down")}, 3},
		{"a row down and up", []tea.Msg{keyNamed("shift+down"), keyNamed("shift+up")}, 0},
		{"above the beginning", []tea.Msg{keyNamed("shift+up"), keyNamed("pgup")}, 0},
		{"a page down", []tea.Msg{keyNamed("pgdown")}, 9},
		{"pages down and up", []tea.Msg{keyNamed("pgdown"), keyNamed("pgdown"), keyNamed("pgup")}, 9},
		{"the wheel", []tea.Msg{tea.MouseWheelMsg{Button: tea.MouseWheelDown}, tea.MouseWheelMsg{Button: tea.MouseWheelDown}, tea.MouseWheelMsg{Button: tea.MouseWheelUp}}, 3},
		{"to the end", []tea.Msg{keyNamed("end")}, 993},
		{"beyond the end", []tea.Msg{keyNamed("end"), keyNamed("pgdown")}, 993},
		{"to the end and back", []tea.Msg{keyNamed("end"), keyNamed("home")}, 0},
		{"another size keeps to whole rows", []tea.Msg{keyNamed("pgdown"), tea.WindowSizeMsg{Width: 110, Height: 40}}, 8},
		{"a higher terminal at the end", []tea.Msg{keyNamed("end"), tea.WindowSizeMsg{Width: 80, Height: 60}}, 1000 - 10*3 + 2},
		{"a filter begins at its beginning", []tea.Msg{keyNamed("end"), keyNamed("/"), tea.KeyPressMsg{Code: '/', Text: "/"}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := open(many(t, 1000), 80, 24)
			for _, m := range c.msgs {
				p.Update(m)
			}
			if p.screen.view.First != c.first || len(p.screen.view.Points) == 0 {
				t.Fatalf("the first of %d points seen is number %d, want %d", len(p.screen.view.Points), p.screen.view.First, c.first)
			}
		})
	}
}

func TestHomeAndEndBelongToALineThatIsTyped(t *testing.T) {
	p := open(many(t, 1000), 80, 24)
	p.keys("'stop", "home")
	if p.input.Position() != 0 || p.screen.view.First != 0 {
		t.Fatalf("the cursor is at %d, the first point number %d", p.input.Position(), p.screen.view.First)
	}
	p.keys("end")
	if p.input.Position() != 4 || p.screen.view.First != 0 {
		t.Fatalf("the cursor is at %d, the first point number %d", p.input.Position(), p.screen.view.First)
	}
}

func TestAFilterShowsAsItIsTyped(t *testing.T) {
	p := open(aDay(t), 80, 24)
	matched := func() int { return p.screen.view.Matched }
	p.keys("'/sev")
	if matched() != 2 {
		t.Fatalf("typed, %d points pass", matched())
	}
	p.keys("enter")
	if matched() != 2 || p.input.Value() != "" {
		t.Fatalf("entered, %d points pass", matched())
	}
	p.keys("'/broken")
	if matched() != 1 {
		t.Fatalf("another typed, %d points pass", matched())
	}
	p.keys("esc")
	if matched() != 2 || p.input.Value() != "" {
		t.Fatalf("given up, the first stands: %d points pass", matched())
	}
	p.keys("'/x", "backspace", "backspace")
	if matched() != 2 {
		t.Fatalf("deleted, the first stands: %d points pass", matched())
	}
	p.keys("esc")
	if matched() != 9 {
		t.Fatalf("Esc shows all: %d points pass", matched())
	}
	p.keys("'/sev", "enter", "'/broken", "esc", "esc")
	if matched() != 9 {
		t.Fatalf("Esc gives up, Esc again shows all: %d points pass", matched())
	}
	p.keys("'/sev", "enter", "'/", "enter")
	if matched() != 9 {
		t.Fatalf("an empty filter shows all: %d points pass", matched())
	}
}

func TestALongReplyIsAPage(t *testing.T) {
	var reply strings.Builder
	for i := range 50 {
		fmt.Fprintf(&reply, "line %d %s\n", i, strings.Repeat("=", 100)+"!")
	}
	p := open(aDay(t), 80, 24, Command{Name: "points", Run: nothing(reply.String())}).carry("points")
	if !strings.Contains(p.line(2), "── points ──") || !strings.Contains(p.line(2), "1–12 of 50 · PgUp PgDn · ← → · Esc closes") || !strings.HasPrefix(p.line(3), " line 0 =") {
		t.Fatalf("the page is\n%s", p.text())
	}
	p.keys("pgdown", "shift+down")
	if !strings.HasPrefix(p.line(3), " line 13 =") {
		t.Fatalf("scrolled it is\n%s", p.text())
	}
	p.keys("end")
	if !strings.HasPrefix(p.line(14), " line 49 =") {
		t.Fatalf("at its end it is\n%s", p.text())
	}
	for range 20 {
		p.keys("right")
	}
	if !strings.HasSuffix(p.line(14), "=!") {
		t.Fatalf("at its right it is\n%s", p.text())
	}
	p.keys("home", "esc")
	if !strings.Contains(p.line(3), "CP-001") {
		t.Fatalf("closed it is\n%s", p.text())
	}
}

func TestQuitting(t *testing.T) {
	p := open(newFake(t), 80, 24)
	if cmd := p.keys("ctrl+c"); cmd == nil || cmd() != (tea.QuitMsg{}) {
		t.Error("ctrl+c doesn't quit")
	}
	cmd := p.keys("'quit", "enter")
	if _, cmd = p.Update(cmd()); cmd == nil || cmd() != (tea.QuitMsg{}) {
		t.Error("quit doesn't quit")
	}
}

func TestLooksAreAsRareAsChanges(t *testing.T) {
	f := aDay(t)
	p := open(f, 80, 24)
	p.View()
	// given that nothing changes
	f.looks = 0
	frame := p.frame
	for range 10 {
		p.Update(refreshMsg{})
	}
	if f.looks != 0 || p.frame != frame {
		t.Fatalf("without a change it looked %d times", f.looks)
	}
	// when a thousand things change
	for range 1000 {
		f.apply("point-CP-001", chargingpoint.FaultReported{}, chargingpoint.FaultCleared{})
	}
	f.apply("point-CP-002", chargingpoint.FaultReported{})
	p.Update(refreshMsg{})
	// then it looks once
	if f.looks != 1 || !strings.Contains(p.text(), "✗ 2 BROKEN") {
		t.Fatalf("it looked %d times:\n%s", f.looks, p.text())
	}
	// and the clock goes on, a second at a time
	f.status.Now += 999
	p.Update(refreshMsg{})
	f.status.Now++
	p.Update(refreshMsg{})
	if f.looks != 2 || !strings.HasSuffix(p.line(0), "12:00:01") {
		t.Fatalf("it looked %d times and shows %q", f.looks, p.line(0))
	}
	// a warning shows and goes
	f.status.Warnings, f.changed = []string{"the broker is away"}, 1
	p.Update(refreshMsg{})
	if p.line(2) != " ! the broker is away" {
		t.Fatalf("it shows %q", p.line(2))
	}
}

func TestALightTerminalHasItsOwnColours(t *testing.T) {
	p := open(aDay(t), 80, 24)
	dark := p.View().Content
	p.Update(tea.BackgroundColorMsg{Color: coloursFor(true, 0).dim})
	light := p.View().Content
	if dark == light || p.dark {
		t.Fatal("the frame is the same on a light background")
	}
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0:00", 0: "0:00", 59 * time.Second: "0:59", 61 * time.Second: "1:01", time.Hour: "1:00:00",
		26*time.Hour + 3*time.Minute: "26:03:00", 100 * time.Hour: "4 d",
	} {
		if got := age(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

// locked is a source for a console that runs.
type locked struct {
	source chan *fake
}

func lock(f *fake) locked {
	l := locked{make(chan *fake, 1)}
	l.source <- f
	return l
}

func (l locked) do(what func(*fake)) {
	f := <-l.source
	defer func() { l.source <- f }()
	what(f)
}

func (l locked) Changed() (n uint64) { l.do(func(f *fake) { n = f.Changed() }); return n }
func (l locked) Status() (s Status)  { l.do(func(f *fake) { s = f.Status() }); return s }
func (l locked) Snapshot(w network.Window) (s network.Snapshot) {
	l.do(func(f *fake) { s = f.Snapshot(w) })
	return s
}

func TestThePanelRunsAndEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(typed io.Writer, cancel func())
	}{
		{"quit", func(typed io.Writer, _ func()) { enter(t, typed, "quit\r") }},
		{"ctrl+c", func(typed io.Writer, _ func()) { enter(t, typed, "\x03") }},
		{"the program ends", func(_ io.Writer, cancel func()) { cancel() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			in, typed := io.Pipe()
			defer typed.Close()
			running, ended := make(chan struct{}), make(chan struct{})
			wait := Command{Name: "wait", Run: func(ctx context.Context, _ Call) (string, error) {
				close(running)
				<-ctx.Done()
				close(ended)
				return "", ctx.Err()
			}}
			result := make(chan error, 1)
			go func() {
				result <- Console{Source: lock(aDay(t)), Commands: []Command{wait}, In: in, Out: io.Discard}.runPanel(ctx)
			}()
			enter(t, typed, "wait\r")
			<-running
			c.end(typed, cancel)
			if err := <-result; err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			default:
				t.Fatal("it ended before the command that ran")
			}
		})
	}
}
