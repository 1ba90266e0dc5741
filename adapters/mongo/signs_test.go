package mongo

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"evcharging/application/central"
	"evcharging/application/central/centraltest"
	"evcharging/domain"
)

func TestSigns(t *testing.T) {
	s := connect(t, database(t))
	centraltest.RunSigns(t, func(t *testing.T) central.SignsOfLife {
		must(t, s.db.Collection(signsCollection).Drop(t.Context()))
		return s.Signs()
	})
}

// The rule holds for what several Centrals write, too.
func TestSignsOfSeveralCentrals(t *testing.T) {
	s := connect(t, database(t))
	centraltest.RunSigns(t, func(t *testing.T) central.SignsOfLife {
		must(t, s.db.Collection(signsCollection).Drop(t.Context()))
		return &several{all: []*Signs{s.Signs(), s.Signs(), s.Signs()}}
	})
}

// several are the signs of Centrals that take turns, and write what they heard at once.
type several struct {
	mu   sync.Mutex
	all  []*Signs
	next int
}

func (s *several) one() *Signs {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.all[s.next%len(s.all)]
}

func (s *several) Heard(ctx context.Context, point domain.PointID, sign central.Sign) error {
	g := s.one()
	if err := g.Heard(ctx, point, sign); err != nil {
		return err
	}
	return g.flush(ctx)
}

func (s *several) Last(ctx context.Context, point domain.PointID) (central.Sign, error) {
	return s.one().Last(ctx, point)
}

// listener notes what it is handed.
type listener struct {
	mu    sync.Mutex
	heard []string
}

func (l *listener) hear(point domain.PointID, sign central.Sign) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, fmt.Sprint(point, " ", int64(sign.HeardAt-begin)))
}

func (l *listener) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.heard)
}

// sharing runs signs until the test ends or stop is called.
func sharing(t *testing.T, g *Signs, l *listener) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx, l.hear) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// eventually waits for a condition, with a deadline.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func at(seconds int) central.Sign {
	t := begin.Add(time.Duration(seconds) * time.Second)
	return central.Sign{HeardAt: t, ReportedAt: t - 5}
}

func TestWhatOthersHeardIsHandedOver(t *testing.T) {
	s := connect(t, database(t))
	hear := func(g *Signs, point domain.PointID, seconds int) {
		t.Helper()
		must(t, g.Heard(t.Context(), point, at(seconds)))
	}
	before := s.Signs()
	hear(before, "CP-1", -86_400)
	hear(before, "CP-9", -86_400)

	one, other := s.Signs(), s.Signs()
	var toOne, toOther listener
	stop := sharing(t, one, &toOne)
	sharing(t, other, &toOther)
	third, seconds := s.Signs(), 0
	eventually(t, "both have begun", func() bool {
		seconds += 10
		hear(third, "CP-8", seconds)
		return len(toOne.all()) > 0 && len(toOther.all()) > 0
	})
	hear(one, "CP-1", 0) // the first after a silence: others may decide on it at once
	if last, err := other.Last(t.Context(), "CP-1"); err != nil || last != at(0) {
		t.Errorf("the other one reads %+v, %v", last, err)
	}
	hear(one, "CP-1", 5) // a renewal: within a second
	hear(other, "CP-2", 6)
	hear(other, "CP-1", 3) // not newer
	has := func(l *listener, text string) bool { return slices.Contains(l.all(), text) }
	eventually(t, "each has what the other heard", func() bool { return has(&toOther, "CP-1 5000") && has(&toOne, "CP-2 6000") })
	hear(one, "CP-3", 7)
	hear(one, "CP-3", 8)
	stop() // what was queued is written
	if last, err := other.Last(t.Context(), "CP-3"); err != nil || last != at(8) {
		t.Errorf("after its last flush %+v, %v", last, err)
	}
	for _, l := range []*listener{&toOne, &toOther} {
		for _, text := range l.all() {
			if strings.HasPrefix(text, "CP-9") || text == "CP-1 -86400000" {
				t.Errorf("yesterday's is handed over: %s", text)
			}
		}
	}
	if has(&toOne, "CP-1 5000") || has(&toOne, "CP-1 0") || has(&toOther, "CP-2 6000") {
		t.Error("somebody is handed what it heard itself")
	}
	for _, l := range []*listener{&toOne, &toOther} {
		if all := l.all(); len(slices.Compact(slices.Sorted(slices.Values(all)))) != len(all) {
			t.Errorf("something is handed over twice: %v", all)
		}
	}
}

func TestSignsWaitWhileMongoIsAway(t *testing.T) {
	away := connect(t, database(t))
	must(t, away.Close())
	g := away.Signs()
	must(t, g.Heard(t.Context(), "CP-1", at(0))) // it may be lost
	if _, err := g.Last(t.Context(), "CP-1"); err == nil {
		t.Error("a decision would stand on nothing")
	}
	if err := g.flush(t.Context()); err == nil {
		t.Error("it is not away")
	}
	g.store = connect(t, database(t)) // it is back
	must(t, g.flush(t.Context()))
	if last, err := g.store.Signs().Last(t.Context(), "CP-1"); err != nil || last != at(0) || len(g.queue) > 0 {
		t.Errorf("what waited is %+v, %v; %d wait", last, err, len(g.queue))
	}
}

func TestAnOutageOfSignsIsSaidOnce(t *testing.T) {
	var lines collector
	g := (&Store{logger: slog.New(slog.NewTextHandler(&lines, nil))}).Signs()
	for _, err := range []error{nil, errAway, errAway, nil, nil} {
		g.answers(t.Context(), err)
	}
	if lines.count("wait for MongoDB") != 1 || lines.count("shared again") != 1 || len(lines.lines) != 2 {
		t.Errorf("said was %q", lines.lines)
	}
}
