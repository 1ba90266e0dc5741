package console

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"evcharging/application/network"
	"evcharging/domain/chargingpoint"
)

// written collects lines.
type written struct {
	mu   sync.Mutex
	text strings.Builder
	err  error
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	return len(b), w.err
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// linesEnd runs a console without a terminal within a bubble of virtual time, and gives what Run returned.
func linesEnd(t *testing.T, f *fake, commands []Command, during func(l locked, typed *io.PipeWriter, out *written)) error {
	t.Helper()
	var err error
	synctest.Test(t, func(t *testing.T) {
		in, typed := io.Pipe()
		out := &written{}
		l := lock(f)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() { result <- Console{Source: l, Commands: commands, In: in, Out: out}.Run(ctx) }()
		synctest.Wait()
		during(l, typed, out)
		_ = typed.Close()
		cancel()
		err = <-result
		synctest.Wait()
	})
	return err
}

// lines is linesEnd where nothing fails.
func lines(t *testing.T, f *fake, commands []Command, during func(l locked, typed *io.PipeWriter, out *written)) {
	t.Helper()
	if err := linesEnd(t, f, commands, during); err != nil {
		t.Error(err)
	}
}

// enter writes to what a console reads.
func enter(t *testing.T, typed io.Writer, text string) {
	if _, err := io.WriteString(typed, text); err != nil {
		t.Errorf("entering %q: %v", text, err)
	}
}

// settle lets a console take in what has changed.
func settle() { time.Sleep(2 * refreshEvery); synctest.Wait() }

func TestMessagesAreLines(t *testing.T) {
	lines(t, aDay(t), nil, func(l locked, _ *io.PipeWriter, out *written) {
		settle()
		if out.String() != "" {
			t.Errorf("messages of before are written: %q", out)
		}
		l.do(func(f *fake) {
			f.ago(0).apply("point-CP-001", chargingpoint.FaultReported{})
			f.Say(noon+1, network.Warning, "the broker\x1b[2J is away")
		})
		settle()
		want := "2025-11-23T12:00:00.000Z alert   CP-001 broken\n2025-11-23T12:00:00.001Z warning the broker[2J is away\n"
		if out.String() != want {
			t.Errorf("written is %q, want %q", out, want)
		}
		l.do(func(f *fake) { f.Say(noon, network.Info, "more") })
		settle()
		if want += "2025-11-23T12:00:00.000Z info    more\n"; out.String() != want {
			t.Errorf("after one more written is %q", out)
		}
	})
}

func TestMessagesThatCameTooFastAreCounted(t *testing.T) {
	lines(t, newFake(t), nil, func(l locked, _ *io.PipeWriter, out *written) {
		l.do(func(f *fake) {
			for range network.MessageLimit + 7 {
				f.Say(noon, network.Info, "x")
			}
		})
		settle()
		if got := out.String(); !strings.HasPrefix(got, "… 7 messages left out\n") || strings.Count(got, "\n") != network.MessageLimit+1 {
			t.Errorf("written is %.80q and %d lines", got, strings.Count(got, "\n"))
		}
	})
}

func TestTheLastMessagesAreWrittenAtTheEnd(t *testing.T) {
	var out *written
	lines(t, newFake(t), nil, func(l locked, _ *io.PipeWriter, o *written) {
		out = o
		l.do(func(f *fake) { f.Say(noon, network.Info, "the end") })
	})
	if !strings.Contains(out.String(), "the end") {
		t.Fatalf("written is %q", out)
	}
}

func TestCommandsAreLinesToo(t *testing.T) {
	var calls []string
	commands := []Command{
		records("stop", &calls, Arg{Name: "CP"}),
		{Name: "fail", Run: func(context.Context, Call) (string, error) { return "", errors.New("there is no point CP-9") }},
		{Name: "list", Run: nothing("one\ntwo\n")},
	}
	lines(t, newFake(t), commands, func(_ locked, typed *io.PipeWriter, out *written) {
		enter(t, typed, "stop CP-1\n\n  \nfail\nfoo\nstop\nlist\nstop CP-2")
		_ = typed.Close()
		settle()
		want := "stop done\nerror: there is no point CP-9\nerror: \"foo\" is not a command; help lists them\n" +
			"error: stop is typed like this: stop CP\none\ntwo\nstop done\n"
		if out.String() != want || strings.Join(calls, " ") != "stop(CP-1) stop(CP-2)" {
			t.Errorf("called are %v, written is %q", calls, out)
		}
	})
}

func TestTheEndOfInputEndsNothing(t *testing.T) {
	lines(t, newFake(t), nil, func(l locked, typed *io.PipeWriter, out *written) {
		_ = typed.Close()
		settle()
		l.do(func(f *fake) { f.Say(noon, network.Info, "still here") })
		settle()
		if !strings.Contains(out.String(), "still here") {
			t.Errorf("written is %q", out)
		}
	})
}

func TestQuitEndsTheLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, typed := io.Pipe()
		defer typed.Close()
		go enter(t, typed, "quit\n")
		if err := (Console{Source: lock(newFake(t)), In: in, Out: io.Discard}).Run(t.Context()); err != nil {
			t.Error(err)
		}
		_ = in.Close()
	})
}

func TestWithoutInputThereAreLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := (Console{Source: lock(newFake(t)), Out: io.Discard}).Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestProgressIsALineASecond(t *testing.T) {
	stop := Command{Name: "stop", Run: func(_ context.Context, c Call) (string, error) {
		for i := range 25 {
			c.Progress(i, 25)
			time.Sleep(100 * time.Millisecond)
		}
		return "25 points stopped", nil
	}}
	lines(t, newFake(t), []Command{stop}, func(_ locked, typed *io.PipeWriter, out *written) {
		enter(t, typed, "stop\n")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if want := "stop: 10 of 25\nstop: 20 of 25\n25 points stopped\n"; out.String() != want {
			t.Errorf("written is %q", out)
		}
	})
}

func TestACommandIsCancelledAndWaitedFor(t *testing.T) {
	ended := false
	wait := Command{Name: "wait", Run: func(ctx context.Context, _ Call) (string, error) {
		<-ctx.Done()
		time.Sleep(time.Second)
		ended = true
		return "", ctx.Err()
	}}
	lines(t, newFake(t), []Command{wait}, func(_ locked, typed *io.PipeWriter, _ *written) {
		enter(t, typed, "wait\n")
		synctest.Wait()
	})
	if !ended {
		t.Fatal("it was not waited for")
	}
}

func TestAWriterThatFailsEndsTheLines(t *testing.T) {
	full := errors.New("the disk is full")
	err := linesEnd(t, newFake(t), nil, func(l locked, _ *io.PipeWriter, out *written) {
		out.err = full
		l.do(func(f *fake) { f.Say(noon, network.Info, "x") })
		settle()
	})
	if !errors.Is(err, full) {
		t.Fatalf("it ends with %v", err)
	}
}

func TestWhatIsNoTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, c := range []Console{{In: r, Out: w}, {In: strings.NewReader(""), Out: w}, {}, {In: r, Out: io.Discard}} {
		c.Environ = []string{"TERM=xterm"}
		if c.IsTerminal() {
			t.Errorf("%T and %T are a terminal", c.In, c.Out)
		}
	}
}

func TestALogIsAmongTheMessages(t *testing.T) {
	var said []string
	log := slog.New(LogHandler(slog.LevelInfo, func(level network.Level, text string) { said = append(said, level.String()+": "+text) }))
	log.Debug("not said")
	log.Info("broker back", "after", 12*time.Second)
	log.With("point", "CP-1").WithGroup("kafka").With("topic", "ev.health").Warn("odd", slog.Group("at", "partition", 3), slog.Attr{})
	log.WithGroup("").Error("store", "err", errors.New("disk full"))
	want := []string{
		"info: broker back after=12s",
		"warning: odd point=CP-1 kafka.topic=ev.health kafka.at.partition=3",
		"alert: store err=disk full",
	}
	if strings.Join(said, "\n") != strings.Join(want, "\n") {
		t.Fatalf("said is\n%s", strings.Join(said, "\n"))
	}
}
