package mongo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// following is somebody who follows, until the test ends or it is stopped.
type following struct {
	mu    sync.Mutex
	took  []eventlog.Commit
	begun chan struct{}
	ended chan struct{}
	err   error
	stop  context.CancelFunc
}

func followLog(t *testing.T, l *Log) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := &following{begun: make(chan struct{}), ended: make(chan struct{}), stop: cancel}
	go func() {
		defer close(f.ended)
		f.err = l.Follow(ctx, func() { close(f.begun) }, func(c eventlog.Commit) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.took = append(f.took, c)
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-f.ended
	})
	return f
}

func (f *following) commits() []eventlog.Commit {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]eventlog.Commit(nil), f.took...)
}

// wantFollowed waits until all commits were handed over, each once, in the order of their
// streams.
func wantFollowed(t *testing.T, f *following, want []eventlog.Commit) {
	t.Helper()
	waitUntil(t, func() bool { return len(f.commits()) >= len(want) })
	heads := map[eventlog.Stream]eventlog.Hash{}
	seen := map[string]bool{}
	for _, c := range f.commits() {
		if err := c.Check(); err != nil || seen[c.ID.String()] {
			t.Errorf("commit %s: %v, or handed over twice", c.ID, err)
		}
		seen[c.ID.String()] = true
		for _, p := range c.Parts {
			if before, ok := heads[p.Stream]; ok && p.Prev != before {
				t.Errorf("%s at version %d does not follow the one before it", p.Stream, p.Version)
			}
			heads[p.Stream] = p.Hash
		}
	}
	for _, c := range want {
		if !seen[c.ID.String()] {
			t.Errorf("commit %s was not handed over", c.ID)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d commits were handed over, want %d", len(seen), len(want))
	}
}

func TestFollowHandsOverWhatAnyProcessAppends(t *testing.T) {
	server(t)
	uri := database(t)
	one, two := connect(t, uri), connect(t, uri)
	b := eventlogtest.NewBuilder("ev.health")
	before := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`))
	if err := one.Log().Append(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	f := followLog(t, one.Log())
	<-f.begun
	var want []eventlog.Commit
	for i := range 20 {
		commit := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", fmt.Sprint(i)), eventlogtest.Sample(eventlog.Stream(fmt.Sprint("session-", i%3)), `1`))
		want = append(want, commit)
		if err := []*Store{one, two}[i%2].Log().Append(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	wantFollowed(t, f, want)
	f.stop()
	if <-f.ended; f.err != nil {
		t.Errorf("it ended with %v", f.err)
	}
}

func TestFollowGoesOnOverOutages(t *testing.T) {
	server(t)
	uri := database(t)
	writer := connect(t, uri)
	l := newLine(t, hostOf(t, uri))
	said := &diary{}
	reader := connectWith(t, Config{URI: l.uri(uri), Logger: slog.New(slog.NewTextHandler(said, nil)), patience: 2 * time.Second})
	f := followLog(t, reader.Log())
	<-f.begun
	b := eventlogtest.NewBuilder("ev.health")
	var want []eventlog.Commit
	write := func(n int) {
		t.Helper()
		for range n {
			want = append(want, b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`)))
			if err := writer.Log().Append(t.Context(), want[len(want)-1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, outage := range map[string]struct{ begin, end func() }{
		"gone":    {l.Down, l.Up},
		"hanging": {l.Freeze, l.Thaw},
	} {
		// whatever was handed over before, nothing is missed
		outage.begin()
		write(3)
		waitUntil(t, func() bool { return said.has("trying again") })
		write(3)
		outage.end()
		wantFollowed(t, f, want)
		waitUntil(t, func() bool { return said.has("is followed again") })
		if n := said.lines(); n != 2 {
			t.Errorf("%s: it said %d lines, want two", name, n)
		}
		said.clear()
		write(3)
		wantFollowed(t, f, want)
	}
}

// diary keeps what is said.
type diary struct {
	mu   sync.Mutex
	text strings.Builder
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(p)
}

func (d *diary) has(text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Contains(d.text.String(), text)
}

func (d *diary) lines() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Count(d.text.String(), "\n")
}

func (d *diary) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text.Reset()
}

func TestFollowSaysThatItCanNotGoOn(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	f := followLog(t, s.Log())
	<-f.begun
	if err := s.events.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if <-f.ended; !errors.Is(f.err, ErrLost) {
		t.Errorf("it ended with %v, want ErrLost", f.err)
	}
}

func TestFollowEndsWithTheLog(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	f := followLog(t, s.Log())
	<-f.begun
	if err := s.Log().Close(); err != nil {
		t.Fatal(err)
	}
	if <-f.ended; !errors.Is(f.err, eventlog.ErrClosed) {
		t.Errorf("it ended with %v, want ErrClosed", f.err)
	}
}

func TestFollowLeavesOutWhatIsDamaged(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	f := followLog(t, s.Log())
	<-f.begun
	b := eventlogtest.NewBuilder("ev.health")
	commit := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`))
	if _, err := s.events.InsertOne(t.Context(), map[string]any{"_id": "nonsense", "position": int64(77), "keys": []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Log().Append(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
	wantFollowed(t, f, []eventlog.Commit{commit})
}
