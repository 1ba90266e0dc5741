package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"evcharging/adapters/console"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// WatchConfig says what is played, and how fast.
type WatchConfig struct {
	// PastConfig names the log; its At is where the play begins, 0 where the log does.
	PastConfig
	// To is where it ends; 0: at the end of the log.
	To domain.UnixMillis
	// Speed is how many seconds of the log pass in one.
	Speed int
}

// ErrNothingToWatch tells of a period that the log has nothing of.
var ErrNothingToWatch = errors.New("there is nothing to watch")

// Watch plays a log: on a terminal in the panel, with keys to pause, to step and for the
// speed, until somebody quits; otherwise each of the panel's messages is a line, at its time,
// until the end. The end of ctx ends either, which is no error.
func Watch(ctx context.Context, p *program.Process, c WatchConfig) error {
	if err := checkPeriod(c.At, c.To); err != nil {
		return err
	}
	return lookBack(ctx, p, c.PastConfig, func(l *lookedBack) error {
		player, err := l.cue(ctx, c)
		if err != nil {
			return err
		}
		screen := console.Console{Source: player, Keys: player.keys(), In: p.Stdin, Out: p.Stdout, Environ: os.Environ()}
		if !screen.IsTerminal() {
			return ended(ctx, player.play(ctx, l.tell))
		}
		l.quiet = true // nothing else may write to the terminal
		playing, stop := context.WithCancel(ctx)
		played := make(chan error, 1)
		go func() { played <- player.play(playing, func(network.Message) error { return nil }) }()
		err = screen.Run(ctx)
		stop()
		return errors.Join(err, ended(playing, <-played))
	})
}

// ended is nil where an error came of ctx's end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// tell prints a message as a line, as the console does.
func (l *lookedBack) tell(m network.Message) error {
	_, err := fmt.Fprintln(l.Stdout, console.Line(m))
	return err
}

// cue reads the log up to where the play begins.
func (l *lookedBack) cue(ctx context.Context, c WatchConfig) (*player, error) {
	fromBegin := l.At == 0
	if fromBegin {
		l.past.At = 1 // before everything: the first commit is the first that is played
	}
	var replay *audit.Replay
	span, err := l.whole(ctx, func() (span audit.Span, err error) {
		replay, span, err = l.past.Replay(ctx)
		if fromBegin && errors.Is(err, audit.ErrNotBegun) {
			err = nil
		}
		return span, err
	})
	switch {
	case err != nil:
		return nil, err
	case span.Later == 0:
		return nil, fmt.Errorf("%w: the event log ends at %s", ErrNothingToWatch, program.FormatInstant(span.End))
	case c.To != 0 && c.To < span.Begin:
		return nil, fmt.Errorf("%w: the event log begins at %s", ErrNothingToWatch, program.FormatInstant(span.Begin))
	}
	from := l.past.At
	if fromBegin {
		from = span.Begin
	}
	return &player{
		replay: replay, ahead: audit.NewAhead(l.past.Log, span.Later, l.past.At), damaged: &l.damaged,
		to: c.To, speed: c.Speed, now: from, reached: from, pressed: make(chan struct{}, 1),
	}, nil
}

// The slowest and the fastest play.
const (
	slowest = 1
	fastest = 86_400
)

// player plays a log: its clock goes so many times as fast as time does, and what was decided
// until then is shown. It is a console.Source.
type player struct {
	ahead   *audit.Ahead
	to      domain.UnixMillis
	pressed chan struct{} // tells play that something was pressed

	mu      sync.Mutex
	replay  *audit.Replay
	damaged *[]string
	// next is what comes next; nil while it is read, and at the end.
	next   *eventlog.Commit
	speed  int
	paused bool
	over   bool
	// now is the play's time at the instant began; what is shown has reached another.
	now     domain.UnixMillis
	began   time.Time
	reached domain.UnixMillis
	// told is the Seq of the last message that was told, pressings how often something was changed.
	told      uint64
	pressings uint64
}

// play plays until the end of the log, or of the period, or of ctx. Each message goes to tell,
// which is called by this goroutine.
func (p *player) play(ctx context.Context, tell func(network.Message) error) error {
	p.mu.Lock()
	p.told = newest(p.replay.Network())
	p.began = time.Now()
	p.mu.Unlock()
	for {
		c, ok, err := p.ahead.Next(ctx)
		if damage, damaged := errors.AsType[*eventlog.DamagedError](err); damaged {
			p.mu.Lock()
			p.replay.Miss(damage)
			p.mu.Unlock()
			continue
		}
		if err != nil {
			return err
		}
		if !ok || p.to != 0 && c.At > p.to {
			return p.end(ctx, ok)
		}
		if err := p.await(ctx, &c); err != nil {
			return err
		}
		p.mu.Lock()
		if p.next == &c {
			p.take()
		}
		messages := p.replay.Network().Messages(p.told)
		p.told += uint64(len(messages))
		p.mu.Unlock()
		for _, m := range messages {
			if err := tell(m); err != nil {
				return err
			}
		}
	}
}

func newest(n *network.Network) uint64 {
	if last := n.Snapshot(network.Window{Messages: 1}).Messages; len(last) > 0 {
		return last[0].Seq
	}
	return 0
}

// await shows what comes next, and waits until the clock has come to it or somebody has
// taken it by a key. Its error is ctx's.
func (p *player) await(ctx context.Context, next *eventlog.Commit) error {
	p.mu.Lock()
	p.next = next
	if p.clock().Sub(next.At) > time.Second*time.Duration(p.speed) {
		p.now, p.began = max(p.reached, next.At), time.Now() // it can't keep up
	}
	p.mu.Unlock()
	for {
		p.mu.Lock()
		taken := p.next != next
		left := p.left(next.At)
		p.mu.Unlock()
		if taken || left == 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(max(left, 0))
		due := timer.C
		if left < 0 {
			due = nil
		}
		select {
		case <-ctx.Done():
		case <-p.pressed:
		case <-due:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// left is how long it takes until the clock comes to an instant; negative where it stands still.
func (p *player) left(until domain.UnixMillis) time.Duration {
	at := p.clock()
	switch {
	case p.paused:
		return -1
	case at >= until:
		return 0
	}
	return max(until.Sub(at)/time.Duration(p.speed), 1)
}

// clock is the play's time.
func (p *player) clock() domain.UnixMillis {
	if p.paused || p.over || p.began.IsZero() {
		return p.now
	}
	passed := min(time.Since(p.began), 24*time.Hour) // so that it can be multiplied
	return p.now.Add(passed * time.Duration(p.speed))
}

// shown is the time that is shown: not beyond what comes next, for that is not shown yet.
func (p *player) shown() domain.UnixMillis {
	if p.next != nil {
		p.reached = max(p.reached, min(p.clock(), p.next.At))
	}
	return p.reached
}

// take takes in what comes next.
func (p *player) take() {
	p.reached = max(p.shown(), p.next.At)
	p.replay.Take(*p.next)
	p.replay.Network() // decodes it
	p.next = nil
}

// set sets the clock to what is shown.
func (p *player) set() { p.now, p.began = p.shown(), time.Now() }

// end is the end of the log, or of the period where the log goes on after it: then time
// passes until there.
func (p *player) end(ctx context.Context, goesOn bool) error {
	if goesOn {
		if err := p.await(ctx, &eventlog.Commit{At: p.to}); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if goesOn {
		p.reached = p.to
	}
	p.over, p.next = true, nil
	p.pressings++
	return nil
}

// keys are what a terminal's keys do.
func (p *player) keys() []console.Key {
	return []console.Key{
		{Names: []string{"space"}, Help: "space pauses", Run: p.press(p.pause)},
		{Names: []string{"right", "n"}, Help: "→ steps", Run: p.press(p.step)},
		{Names: []string{"+", "="}, Help: "+ - speed", Run: p.press(func() string { return p.hurry(2, 1) })},
		{Names: []string{"-"}, Run: p.press(func() string { return p.hurry(1, 2) })},
		{Names: []string{"q"}, Help: "q quits"},
	}
}

// press is what a key does, given what it does to the play.
func (p *player) press(do func() string) func() string {
	return func() string {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.pressings++
		reply := do()
		select {
		case p.pressed <- struct{}{}:
		default: // it was told already
		}
		return reply
	}
}

// pause stops the clock, or lets it go on.
func (p *player) pause() string {
	p.set()
	p.paused = !p.paused
	return ""
}

// step stops the clock at the next event, and says what it was.
func (p *player) step() string {
	if p.over {
		return "nothing comes after this"
	}
	if !p.paused {
		p.pause()
	}
	if p.next == nil || len(p.next.Parts) == 0 {
		return ""
	}
	c := *p.next
	p.take()
	p.set()
	var said []string
	for _, part := range c.Parts {
		said = append(said, fmt.Sprintf("%s of %s", strings.Join(p.replay.Names(part), ", "), part.Stream))
	}
	return c.At.Time().Local().Format("15:04:05.000") + "  " + strings.Join(said, "; ")
}

// hurry changes the speed.
func (p *player) hurry(times, over int) string {
	p.set()
	p.speed = max(slowest, min(fastest, p.speed*times/over))
	return ""
}

// Changed is console.Source's.
func (p *player) Changed() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replay.Network().Changed() + p.pressings + uint64(len(*p.damaged))
}

// Snapshot is console.Source's.
func (p *player) Snapshot(w network.Window) network.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replay.Network().Snapshot(w)
}

// Status is console.Source's.
func (p *player) Status() console.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.shown()
	how := fmt.Sprintf("%d×", p.speed)
	switch {
	case p.over:
		how = "the end"
	case p.paused:
		how += ", paused"
	}
	return console.Status{Network: day(at) + "  " + how, Now: at, Warnings: damagedWarning(*p.damaged)}
}
