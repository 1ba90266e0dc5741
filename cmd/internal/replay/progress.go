package replay

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"evcharging/cmd/internal/program"
)

// every is how often progress is told where there is no terminal.
const every = 2 * time.Second

// progress tells how far a step has come: a bar on a terminal, JSON lines otherwise.
type progress struct {
	step  string
	of    int64 // 0: not known
	done  atomic.Int64
	began time.Time
	bar   *mpb.Bar
	bars  *mpb.Progress
	out   io.Writer
	stop  chan struct{}
	told  chan struct{}
}

// begin begins a step of so many commits.
func begin(out io.Writer, step string, of int64) *progress {
	p := &progress{step: step, of: of, began: time.Now(), out: out, stop: make(chan struct{}), told: make(chan struct{})}
	if program.IsTerminal(out) {
		p.bars = mpb.NewWithContext(context.Background(), mpb.WithOutput(out), mpb.WithAutoRefresh(), mpb.WithWidth(40))
		builder, counted := mpb.BarFillerBuilder(mpb.BarStyle()), decor.CountersNoUnit("%d of %d commits")
		if of == 0 {
			builder, counted = mpb.SpinnerStyle(), decor.CurrentNoUnit("%d commits")
		}
		p.bar = p.bars.New(of, builder,
			mpb.PrependDecorators(decor.Name(step+" ")),
			mpb.AppendDecorators(counted, decor.AverageSpeed(0, "  %.0f/s"), decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 6}), "")))
		close(p.told)
		return p
	}
	go p.tell()
	return p
}

// took counts a commit. It may be called from any number of goroutines.
func (p *progress) took() {
	p.done.Add(1)
	if p.bar != nil {
		p.bar.Increment()
	}
}

// came says how many commits it is so far.
func (p *progress) came(n int64) {
	p.done.Store(n)
	if p.bar != nil {
		p.bar.SetCurrent(n)
	}
}

// end ends the step; complete says that it came to its end.
func (p *progress) end(complete bool) {
	if p.bar != nil {
		if complete {
			p.bar.SetTotal(-1, true)
		} else {
			p.bar.Abort(false)
		}
		p.bars.Wait()
		return
	}
	close(p.stop)
	<-p.told
}

func (p *progress) tell() {
	defer close(p.told)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			p.line()
			return
		case <-tick.C:
			p.line()
		}
	}
}

// line tells the step so far.
func (p *progress) line() {
	done, took := p.done.Load(), time.Since(p.began)
	l := line{Step: p.step, Commits: done, Of: p.of, Seconds: int64(took.Seconds())}
	l.Rate = int64(float64(done) / max(took.Seconds(), 0.001))
	if done > 0 && p.of > done {
		l.Left = int64(float64(p.of-done) / float64(done) * took.Seconds())
	}
	fmt.Fprintln(p.out, l)
}
