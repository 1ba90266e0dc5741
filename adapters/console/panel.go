package console

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textinput"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"evcharging/application/network"
	"evcharging/domain"
)

// refreshEvery is how often the panel looks for what has changed.
const refreshEvery = 100 * time.Millisecond

// panel is the program in the terminal: what is typed, what is looked at, and the last frame.
type panel struct {
	ctx      context.Context
	source   Source
	commands registry
	bound    []Key
	input    textinput.Model
	screen   screen
	window   network.Window
	history  history
	offered  *completion
	typing   *string // the filter that stood before one was typed; nil: none is being typed
	running  []*run
	calls    sync.WaitGroup
	dark     bool
	profile  colorprofile.Profile

	seen   uint64 // Source.Changed of the last look
	second domain.UnixMillis
	frame  string // the last frame; empty: it is to be drawn anew
}

// run is a command that runs.
type run struct {
	line        string
	done, total atomic.Int64
}

type (
	refreshMsg  struct{}
	finishedMsg struct {
		run   *run
		reply string
		err   error
	}
)

func newPanel(ctx context.Context, source Source, commands []Command, keys []Key, zone *time.Location) *panel {
	p := &panel{
		ctx: ctx, source: source, commands: newRegistry(commands), bound: keys, dark: true, profile: colorprofile.TrueColor,
		screen: screen{zone: zone, offer: "Tab completes · ↑ ↓ history · PgUp PgDn scroll · /text filters · help · quit"}, input: textinput.New(),
	}
	if len(keys) > 0 {
		p.screen.offer = "PgUp PgDn scroll · /text filters"
		for _, k := range slices.Backward(keys) {
			if k.Help != "" {
				p.screen.offer = k.Help + " · " + p.screen.offer
			}
		}
	}
	p.input.Prompt = " › "
	p.input.CharLimit = 512
	p.input.SetVirtualCursor(false)
	p.input.KeyMap.Paste = key.NewBinding(key.WithDisabled()) // the terminal's own paste is enough
	p.input.Focus()
	p.restyle()
	return p
}

func (c Console) runPanel(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	p := newPanel(ctx, c.Source, c.Commands, c.Keys, time.Local)
	options := []tea.ProgramOption{
		tea.WithContext(ctx), tea.WithInput(c.In), tea.WithOutput(c.Out), tea.WithEnvironment(c.Environ),
		tea.WithoutSignalHandler(), tea.WithFPS(30),
	}
	if c.getenv("NO_COLOR") != "" {
		options = append(options, tea.WithColorProfile(colorprofile.ASCII))
	}
	_, err := tea.NewProgram(p, options...).Run()
	ended := ctx.Err() != nil
	cancel()
	p.calls.Wait()
	if ended && errors.Is(err, tea.ErrProgramKilled) {
		return nil
	}
	return err
}

// Init begins to look.
func (p *panel) Init() tea.Cmd {
	return tea.Batch(refreshLater(), tea.RequestBackgroundColor)
}

func refreshLater() tea.Cmd {
	return tea.Tick(refreshEvery, func(time.Time) tea.Msg { return refreshMsg{} })
}

// Update takes what happened.
func (p *panel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case refreshMsg:
		p.refresh()
		return p, refreshLater()
	case tea.WindowSizeMsg:
		p.screen.width, p.screen.height = msg.Width, msg.Height
		p.input.SetWidth(max(1, msg.Width-5))
		p.look()
	case tea.BackgroundColorMsg:
		p.dark = msg.IsDark()
		p.restyle()
	case tea.ColorProfileMsg:
		p.profile = msg.Profile
		p.restyle()
	case finishedMsg:
		return p, p.finish(msg)
	case tea.MouseWheelMsg:
		switch msg.Button {
		case tea.MouseWheelUp:
			p.scroll(-1)
		case tea.MouseWheelDown:
			p.scroll(1)
		}
	case tea.KeyPressMsg:
		return p, p.press(msg)
	default:
		return p, p.edit(msg)
	}
	return p, nil
}

// View is the frame.
func (p *panel) View() tea.View {
	if p.frame == "" {
		p.screen.prompt = p.input.View()
		p.screen.hint = p.hint()
		p.frame = p.screen.render()
	}
	v := tea.NewView(p.frame)
	v.AltScreen = true
	v.MouseMode = tea.MouseModeCellMotion
	v.WindowTitle = "EVCharging " + clean(p.screen.status.Network)
	if v.Cursor = p.input.Cursor(); v.Cursor != nil {
		v.Cursor.Y, v.Cursor.Color = p.screen.height-1, nil // the terminal's own colour
	}
	return v
}

// refresh looks again where something has changed.
func (p *panel) refresh() {
	if second := p.source.Status().Now / 1000; p.source.Changed() != p.seen || second != p.second {
		p.look()
	}
	if len(p.running) > 0 {
		p.frame = ""
	}
}

// look takes in what is seen through the window, which it keeps within the points.
func (p *panel) look() {
	p.frame = ""
	s := &p.screen
	p.seen, s.status = p.source.Changed(), p.source.Status()
	p.second = s.status.Now / 1000
	p.window.Filter = s.filter
	if s.width < 1 || s.height < 1 {
		s.view = p.source.Snapshot(p.window)
		return
	}
	for range 3 {
		l := s.layout()
		w := p.window
		w.Points, w.Sessions, w.Messages = l.rows*l.columns, l.sessions, l.messages
		w.First -= w.First % l.columns
		s.view = p.source.Snapshot(w)
		last := max(0, (s.view.Matched+l.columns-1)/l.columns-l.rows) * l.columns
		if w.First = min(w.First, last); w == p.window && s.layout() == l {
			return
		}
		p.window = w
	}
}

// press takes a key.
func (p *panel) press(msg tea.KeyPressMsg) tea.Cmd {
	name := msg.String()
	if name == "tab" || name == "shift+tab" {
		p.complete(name == "shift+tab")
		return nil
	}
	p.offered, p.frame = nil, ""
	if p.input.Value() == "" && p.screen.page == nil {
		if i := slices.IndexFunc(p.bound, func(k Key) bool { return slices.Contains(k.Names, name) }); i >= 0 {
			return p.act(p.bound[i])
		}
	}
	switch name {
	case "ctrl+c":
		return tea.Quit
	case "ctrl+z":
		return tea.Suspend
	case "enter":
		return p.enter()
	case "esc":
		p.escape()
	case "up":
		p.recall(p.history.up(p.input.Value()))
	case "down":
		p.recall(p.history.down())
	case "pgup", "pgdown":
		rows := p.screen.layout().rows
		if p.screen.page != nil {
			rows = p.screen.layout().body
		}
		if name == "pgup" {
			rows = -rows
		}
		p.scroll(rows)
	case "shift+up":
		p.scroll(-1)
	case "shift+down":
		p.scroll(1)
	default:
		if p.input.Value() != "" || !p.move(name) {
			return p.edit(msg)
		}
	}
	return nil
}

// act does what a key does, and shows what it has changed.
func (p *panel) act(k Key) tea.Cmd {
	if k.Run == nil {
		return tea.Quit
	}
	p.screen.hint.reply, p.screen.hint.failed = k.Run(), false
	p.look()
	return nil
}

// move takes a key that moves the cursor in a command line, and what is seen where
// that is empty; it tells whether the key was one.
func (p *panel) move(name string) bool {
	switch name {
	case "home":
		p.scroll(-1 << 20)
	case "end":
		p.scroll(1 << 20)
	case "left":
		p.shift(-8)
	case "right":
		p.shift(8)
	default:
		return false
	}
	return true
}

// shift moves a page sideways, by columns.
func (p *panel) shift(columns int) {
	if page := p.screen.page; page != nil {
		page.left = max(0, min(page.left+columns, page.widest()-p.screen.width+1))
	}
}

// edit hands a message to the command line. A line that begins with a slash filters as it is typed.
func (p *panel) edit(msg tea.Msg) tea.Cmd {
	before := p.input.Value()
	var cmd tea.Cmd
	p.input, cmd = p.input.Update(msg)
	line := clean(p.input.Value())
	if line != p.input.Value() { // pasted
		p.input.SetValue(line)
		p.input.CursorEnd()
	}
	if line == before {
		p.frame = ""
		return cmd
	}
	text, filtering := strings.CutPrefix(line, "/")
	switch {
	case filtering:
		if p.typing == nil {
			stood := p.screen.filter
			p.typing = &stood
		}
		p.setFilter(text)
	case p.typing != nil:
		p.setFilter(*p.typing)
		p.typing = nil
	default:
		p.screen.hint.reply = ""
	}
	p.frame = ""
	return cmd
}

func (p *panel) setFilter(text string) {
	p.screen.filter = strings.TrimSpace(text)
	p.window.First = 0
	p.look()
}

// escape takes back the last thing that is in the way.
func (p *panel) escape() {
	switch {
	case p.typing != nil:
		p.setFilter(*p.typing)
		p.typing = nil
		p.input.Reset()
	case p.input.Value() != "":
		p.input.Reset()
	case p.screen.page != nil:
		p.screen.page = nil
	case p.screen.filter != "":
		p.setFilter("")
	default:
		p.screen.hint.reply = ""
	}
}

func (p *panel) recall(line string, ok bool) {
	if ok {
		p.input.SetValue(line)
		p.input.CursorEnd()
	}
}

// scroll moves by rows of tiles, or by lines of a page.
func (p *panel) scroll(rows int) {
	p.frame = ""
	l := p.screen.layout()
	if page := p.screen.page; page != nil {
		page.first = max(0, min(page.first+rows, len(page.lines)-l.body))
		return
	}
	p.window.First = max(0, p.window.First+rows*l.columns)
	p.look()
}

// complete takes a Tab: the first completes as far as it is sure, those that follow
// go through what is left to choose.
func (p *panel) complete(back bool) {
	p.frame = ""
	line, cursor := p.input.Value(), p.input.Position()
	switch {
	case p.offered == nil:
		line, cursor, p.offered = startCompletion(p.commands, line, cursor)
	case back:
		line, cursor = p.offered.turn(-1)
	default:
		line, cursor = p.offered.turn(1)
	}
	p.input.SetValue(line)
	p.input.SetCursor(cursor)
}

// enter carries out the line.
func (p *panel) enter() tea.Cmd {
	line := strings.TrimSpace(p.input.Value())
	p.input.Reset()
	p.history.add(line)
	p.screen.hint.reply, p.screen.page = "", nil
	if strings.HasPrefix(line, "/") {
		p.typing = nil
		p.setFilter(line[1:])
		return nil
	}
	command, args, err := p.commands.parse(line)
	if err != nil {
		p.screen.hint.reply, p.screen.hint.failed = err.Error(), true
		return nil
	}
	if command.Run == nil {
		return nil
	}
	r := &run{line: line}
	p.running = append(p.running, r)
	finished := make(chan finishedMsg, 1)
	p.calls.Go(func() { // not in the tea.Cmd, which is dropped where the program ends first
		reply, err := command.Run(p.ctx, Call{Args: args, Progress: func(done, total int) {
			r.done.Store(int64(done))
			r.total.Store(int64(total))
		}})
		finished <- finishedMsg{r, reply, err}
	})
	return func() tea.Msg { return <-finished }
}

// finish shows what a command replied.
func (p *panel) finish(msg finishedMsg) tea.Cmd {
	p.frame = ""
	for i, r := range p.running {
		if r == msg.run {
			p.running = append(p.running[:i], p.running[i+1:]...)
			break
		}
	}
	if errors.Is(msg.err, errQuit) {
		return tea.Quit
	}
	h := &p.screen.hint
	h.reply, h.failed = strings.TrimRight(msg.reply, "\n"), false
	if msg.err != nil {
		h.reply, h.failed = msg.err.Error(), true
		return nil
	}
	if strings.Contains(h.reply, "\n") {
		lines := strings.Split(h.reply, "\n")
		for i := range lines {
			lines[i] = clean(lines[i])
		}
		p.screen.page, h.reply = &page{title: msg.run.line, lines: lines}, ""
	}
	return nil
}

// hint is what stands above the command line now.
func (p *panel) hint() hint {
	h := hint{reply: p.screen.hint.reply, failed: p.screen.hint.failed, busy: len(p.running)}
	if p.offered != nil {
		h.choices, h.chosen = p.offered.choices, p.offered.chosen
	}
	if h.busy > 0 {
		newest := p.running[h.busy-1]
		h.running, h.done, h.total = newest.line, int(newest.done.Load()), int(newest.total.Load())
	}
	if words := strings.Fields(p.input.Value()); len(words) > 0 {
		if c, ok := p.commands.find(words[0]); ok {
			h.usage = c.usage() + "   " + c.Help
		}
	}
	return h
}

// restyle takes in the terminal's colours.
func (p *panel) restyle() {
	p.frame = ""
	p.screen.look = newLook(coloursFor(p.dark, p.profile))
	styles := textinput.DefaultStyles(p.dark)
	styles.Focused.Prompt = p.screen.look.accent
	styles.Focused.Text = p.screen.look.plain
	p.input.SetStyles(styles)
}
