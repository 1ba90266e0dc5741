package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"evcharging/adapters/console"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/message"
	"evcharging/application/network"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// hour is a log of an hour: a point comes each minute, and is healthy 300 ms later.
func hour(t *testing.T) audit.Log {
	t.Helper()
	log := memory.NewLog()
	n := audittest.New(t, log, eventjson.Codec{})
	for i := range 60 {
		point := domain.PointID(fmt.Sprintf("CP-%02d", i))
		location, price := "Alcoy", domain.MicroEurosPerKWh(300_000)
		n.Take(message.Registration{Point: point, Location: &location, Price: &price})
		n.Wait(300 * time.Millisecond)
		n.Take(message.Health{Point: point, Status: message.HealthOK, LeaseSeconds: 15})
		n.Wait(time.Minute - 300*time.Millisecond)
	}
	return log
}

// minute is an instant of the hour.
func minute(m int) domain.UnixMillis {
	return audittest.Begin.Add(time.Duration(m) * time.Minute)
}

func cued(t *testing.T, log audit.Log, c WatchConfig) (*player, error) {
	t.Helper()
	l := &lookedBack{Process: &program.Process{Stdout: io.Discard, Stderr: io.Discard, Logger: quiet}, PastConfig: c.PastConfig}
	l.past = audit.Past{Log: log, Codec: eventjson.Codec{}, At: c.At, Damaged: func(err error) { t.Error(err) }}
	return l.cue(t.Context(), c)
}

// running is a player that plays, and what it tells: how long after the beginning.
type running struct {
	*player
	t     *testing.T
	keys  map[string]func() string
	stop  context.CancelFunc
	ended chan error
	told  []string
}

func play(t *testing.T, c WatchConfig) *running {
	t.Helper()
	p, err := cued(t, hour(t), c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &running{player: p, t: t, keys: map[string]func() string{}, stop: stop, ended: make(chan error, 1)}
	for _, k := range p.keys() {
		for _, name := range k.Names {
			r.keys[name] = k.Run
		}
	}
	began := time.Now()
	go func() {
		r.ended <- p.play(ctx, func(m network.Message) error {
			id, _, _ := strings.Cut(m.Text, " ")
			r.told = append(r.told, fmt.Sprintf("%s %s", id, time.Since(began)))
			return nil
		})
	}()
	synctest.Wait()
	return r
}

func (r *running) press(keys ...string) (reply string) {
	for _, k := range keys {
		reply = r.keys[k]()
		synctest.Wait()
	}
	return reply
}

func (r *running) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// shows checks the clock, what is said of the play, and how many points there are.
func (r *running) shows(at domain.UnixMillis, how string, points int) {
	r.t.Helper()
	status, view := r.Status(), r.Snapshot(network.Window{Points: 100})
	if status.Now != at || !strings.HasSuffix(status.Network, "  "+how) || view.Counts.Total() != points {
		r.t.Errorf("at %s, %q, %d points; want %s, %q, %d", status.Now, status.Network, view.Counts.Total(), at, how, points)
	}
}

func TestAnHourIsPlayedInAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := play(t, WatchConfig{Speed: 60})
		r.shows(minute(0), "60×", 1)
		r.after(500 * time.Millisecond)
		r.shows(minute(0).Add(30*time.Second), "60×", 1)
		r.after(500 * time.Millisecond)
		r.shows(minute(1), "60×", 2)
		r.after(58*time.Second + 5*time.Millisecond)
		r.shows(minute(59).Add(300*time.Millisecond), "the end", 60)
		if err := <-r.ended; err != nil {
			t.Fatal(err)
		}
		// Each is registered at its minute, which is a second, and connected 5 ms later.
		var want []string
		for i := range 60 {
			at := time.Duration(i) * time.Second
			want = append(want, fmt.Sprintf("CP-%02d %s", i, at), fmt.Sprintf("CP-%02d %s", i, at+5*time.Millisecond))
		}
		if !slices.Equal(r.told, want) {
			t.Errorf("it tells %q", r.told)
		}
		r.after(time.Hour)
		r.shows(minute(59).Add(300*time.Millisecond), "the end", 60)
		if said := r.press("n"); said != "nothing comes after this" {
			t.Errorf("a step says %q", said)
		}
	})
}

func TestAPeriodIsPlayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := play(t, WatchConfig{PastConfig: PastConfig{At: minute(10).Add(30 * time.Second)}, To: minute(12).Add(30 * time.Second), Speed: 1})
		r.shows(minute(10).Add(30*time.Second), "1×", 11)
		r.after(29*time.Second + 999*time.Millisecond)
		r.shows(minute(11)-1, "1×", 11)
		r.after(time.Millisecond)
		r.shows(minute(11), "1×", 12)
		r.after(90*time.Second - time.Millisecond)
		r.shows(minute(12).Add(30*time.Second)-1, "1×", 13)
		r.after(time.Millisecond)
		r.shows(minute(12).Add(30*time.Second), "the end", 13)
		if err := <-r.ended; err != nil || len(r.told) != 4 {
			t.Errorf("%v, it tells %q", err, r.told)
		}
	})
}

func TestAPlayIsPausedAndStepped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := play(t, WatchConfig{Speed: 60})
		r.after(1500 * time.Millisecond)
		r.press("space")
		r.shows(minute(1).Add(30*time.Second), "60×, paused", 2)
		r.after(time.Hour)
		r.shows(minute(1).Add(30*time.Second), "60×, paused", 2)
		if said, want := r.press("n"), "  PointRegistered of point-CP-02"; !strings.HasSuffix(said, want) {
			t.Errorf("a step says %q, want %q", said, want)
		}
		r.shows(minute(2), "60×, paused", 3)
		if said, want := r.press("right"), "  PointConnected, FaultCleared of point-CP-02"; !strings.HasSuffix(said, want) {
			t.Errorf("a step says %q, want %q", said, want)
		}
		r.shows(minute(2).Add(300*time.Millisecond), "60×, paused", 3)
		r.press("space")
		r.after(995 * time.Millisecond)
		r.shows(minute(3), "60×", 4)
		// A step while it plays pauses it.
		r.after(100 * time.Millisecond)
		r.press("n")
		r.shows(minute(4), "60×, paused", 5)
		if got, want := r.told[len(r.told)-1], "CP-04 1h0m2.595s"; got != want {
			t.Errorf("told last was %q, want %q", got, want)
		}
		r.stop()
		if err := <-r.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("it ends with %v", err)
		}
	})
}

func TestTheSpeedOfAPlay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := play(t, WatchConfig{Speed: 60})
		r.after(250 * time.Millisecond)
		r.press("+")
		r.shows(minute(0).Add(15*time.Second), "120×", 1)
		r.after(250 * time.Millisecond)
		r.shows(minute(0).Add(45*time.Second), "120×", 1)
		r.press("-", "-", "-", "-")
		r.shows(minute(0).Add(45*time.Second), "7×", 1)
		r.after(time.Second)
		r.shows(minute(0).Add(52*time.Second), "7×", 1)
		r.press("-", "-", "-", "-")
		r.shows(minute(0).Add(52*time.Second), "1×", 1)
		for range 20 {
			r.press("=")
		}
		r.shows(minute(0).Add(52*time.Second), "86400×", 1)
		r.after(40 * time.Millisecond)
		r.shows(minute(58).Add(28*time.Second), "86400×", 59)
		r.after(time.Second)
		r.shows(minute(59).Add(300*time.Millisecond), "the end", 60)
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
	})
}

func TestWhatCannotBeWatched(t *testing.T) {
	for name, c := range map[string]struct {
		config WatchConfig
		want   error
		says   string
	}{
		"from the end":                    {WatchConfig{PastConfig: PastConfig{At: minute(59).Add(time.Second)}}, ErrNothingToWatch, "ends at"},
		"before the log":                  {WatchConfig{PastConfig: PastConfig{At: minute(0) - 1}}, audit.ErrNotBegun, "its first event is of"},
		"to before it":                    {WatchConfig{To: minute(0) - 1}, ErrNothingToWatch, "begins at"},
		"of an empty log":                 {WatchConfig{}, audit.ErrNothing, ""},
		"from an instant of an empty log": {WatchConfig{PastConfig: PastConfig{At: 1}}, audit.ErrNothing, ""},
	} {
		log := hour(t)
		if errors.Is(c.want, audit.ErrNothing) {
			log = memory.NewLog()
		}
		if _, err := cued(t, log, c.config); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWatchWithoutATerminalTellsLines(t *testing.T) {
	file := filepath.Join(oldLogs, "v2.jsonl")
	config := WatchConfig{PastConfig: PastConfig{Source: file, At: firstAt - 1}, To: firstAt, Speed: fastest}
	printed, err := run(t, "", func(p *program.Process) error { return Watch(t.Context(), p, config) })
	if want := console.Line(network.Message{
		At: firstAt, Level: network.Warning, Text: "ticket D-7 at CP-1 corrected: 0.006 kWh, 0.0018 EUR, 0.0006 EUR more, for a late RECOVERED",
	}) + "\n"; err != nil || printed != want {
		t.Errorf("%v, it prints\n%swant\n%s", err, printed, want)
	}
	// Whoever stops it has seen what he wanted.
	ctx, stop := context.WithCancel(t.Context())
	config.To, config.Speed = 0, 1
	_, err = run(t, "", func(p *program.Process) error {
		p.Stdout = writer(func() { stop() })
		return Watch(ctx, p, config)
	})
	if err != nil {
		t.Errorf("stopped, it says %v", err)
	}
}

// writer does something at each line.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}
