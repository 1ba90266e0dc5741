package driver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"evcharging/adapters/checkpoint"
	application "evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/cmd/internal/driver"
	"evcharging/domain"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC
	goleak.VerifyTestMain(m)
}

const price domain.MicroEurosPerKWh = 300_000

// supply is a Central that grants, and a point that supplies 2 Wh a second for so long.
func supply(seconds int) func(*network, message.Request) {
	return func(n *network, r message.Request) {
		session := domain.SessionID("S-" + r.ID)
		at := price
		n.after(100*time.Millisecond, message.Answer{Driver: r.Driver, Point: r.Point, Request: r.ID, Authorized: true, Session: session, Price: &at})
		for i := 1; i <= seconds; i++ {
			energy := domain.MilliwattHours(i) * 2_000
			n.after(time.Duration(i)*time.Second, message.MeterValue{
				Session: session, Point: r.Point, Driver: r.Driver, Power: 7_200, Energy: &energy, Amount: domain.Cost(energy, price), Seq: int64(i),
			})
		}
		energy := domain.MilliwattHours(seconds)*2_000 + 1
		end := time.Duration(seconds)*time.Second + 300*time.Millisecond
		n.after(end, message.Done{Session: session, Point: r.Point, Driver: r.Driver, Energy: energy, Amount: domain.Cost(energy, price), Reason: message.DoneFinished})
		n.after(end+300*time.Millisecond, message.Ticket{
			ID: domain.TicketID("T-" + r.Point), Session: session, Driver: r.Driver, Point: r.Point, Energy: energy, Price: price,
			Amount: domain.Cost(energy, price), Reason: "FINISHED",
		})
	}
}

func refuse(reason string) func(*network, message.Request) {
	return func(n *network, r message.Request) {
		n.after(100*time.Millisecond, message.Answer{Driver: r.Driver, Point: r.Point, Request: r.ID, Reason: reason})
	}
}

// screen is what somebody sees, without the time of day.
type screen struct {
	*driver.Screen
	text *bytes.Buffer
}

func newScreen(live bool, place string) screen {
	var text bytes.Buffer
	return screen{driver.NewScreen(&text, live, false, place), &text}
}

// lines are without the time of day, and with R for each request id.
func (s screen) lines(ids ...domain.RequestID) []string {
	var lines []string
	for line := range strings.Lines(s.text.String()) {
		line = strings.TrimRight(line, "\n")
		if len(line) > 9 && line[2] == ':' {
			line = line[9:]
		}
		for _, id := range ids {
			line = strings.ReplaceAll(line, string(id), "R")
		}
		lines = append(lines, line)
	}
	return lines
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestARunFromItsListToItsSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(func(n *network, r message.Request) {
			if r.Point == "CP-2" {
				refuse("OCCUPIED")(n, r)
				return
			}
			supply(12)(n, r)
		})
		file := filepath.Join(t.TempDir(), "list@D-1.checkpoint")
		s := newScreen(false, file)
		begun := time.Now()
		err := driver.Run(t.Context(), driver.Config{
			ID: "D-1", Points: []domain.PointID{"CP-1", "CP-2"}, NextDelay: 4 * time.Second, Checkpoint: file, Network: n, Show: s.Show,
		})
		unserved, ok := errors.AsType[*driver.UnservedError](err)
		if !ok || *unserved != (driver.UnservedError{Unserved: 1, Of: 2}) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(begun).Round(time.Second); took != 17*time.Second {
			t.Errorf("it took %s", took)
		}
		same(t, s.lines(n.requests()...),
			"CP-1 (1 of 2): asking for a supply (request R)",
			"CP-1 (1 of 2): granted at 0.3 EUR/kWh, session S-R",
			"CP-1 (1 of 2): supplying 7.2 kW, 0.002 kWh, 0.0006 EUR",
			"CP-1 (1 of 2): supplying 7.2 kW, 0.022 kWh, 0.0066 EUR",
			"CP-1 (1 of 2): ended, FINISHED: 0.024001 kWh, 0.0072 EUR; waiting for the ticket",
			"CP-1 (1 of 2): ticket T-CP-1: 0.024001 kWh at 0.3 EUR/kWh, 0.0072 EUR, FINISHED, from - to -",
			"the next in 4s",
			"CP-2 (2 of 2): asking for a supply (request R)",
			"CP-2 (2 of 2): refused: the point is occupied",
			"   POINT  OUTCOME             KWH     EUR  REASON",
			"1  CP-1   served         0.024001  0.0072  FINISHED",
			"2  CP-2   refused               0       0  OCCUPIED",
			"          1 of 2 served  0.024001  0.0072",
		)
		if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the checkpoint is left: %v", err)
		}
	})
}

func TestOneSupplyHasNoSummary(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, s := newNetwork(supply(1)), newScreen(true, "")
		if err := driver.Run(t.Context(), driver.Config{ID: "D-1", Points: []domain.PointID{"CP-1"}, Network: n, Show: s.Show}); err != nil {
			t.Fatal(err)
		}
		same(t, s.lines(n.requests()...),
			"CP-1: asking for a supply (request R)",
			"CP-1: granted at 0.3 EUR/kWh, session S-R",
			"\r\x1b[K00:00:01 CP-1: supplying 7.2 kW, 0.002 kWh, 0.0006 EUR\r\x1b[K00:00:01 CP-1: ended, FINISHED: 0.002001 kWh, 0.0006 EUR; waiting for the ticket",
			"CP-1: ticket T-CP-1: 0.002001 kWh at 0.3 EUR/kWh, 0.0006 EUR, FINISHED, from - to -",
		)
	})
}

func TestARunThatWasCutOffGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(supply(30))
		file := filepath.Join(t.TempDir(), "CP-1@D-1.checkpoint")
		config := driver.Config{ID: "D-1", Points: []domain.PointID{"CP-1"}, Checkpoint: file, Network: n}
		// The first life ends in the supply.
		ctx, cancel := context.WithTimeout(t.Context(), 5500*time.Millisecond)
		defer cancel()
		if err := driver.Run(ctx, config); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		// The second sees what happens meanwhile, and ends in it, too.
		<-time.After(10 * time.Second)
		s := newScreen(false, "the-place")
		config.Show = s.Show
		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := driver.Run(ctx, config); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		s.Stopped(domain.At(time.Now()))
		ids := n.requests()
		same(t, s.lines(ids...),
			"going on where this was cut off, 0 of 1 concluded, request R open; remove the-place to begin anew",
			"CP-1: meanwhile, at 00:00:15: 7.2 kW, 0.03 kWh, 0.009 EUR",
			"CP-1: supplying 7.2 kW, 0.032 kWh, 0.0096 EUR",
			"stopped; a supply that runs goes on, and the same command goes on from here",
		)
		// The third comes when all is over.
		<-time.After(time.Hour)
		s = newScreen(false, "")
		config.Show = s.Show
		if err := driver.Run(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		same(t, s.lines(ids...),
			"going on where this was cut off, 0 of 1 concluded, request R open",
			"CP-1: meanwhile, at 00:00:30: 7.2 kW, 0.06 kWh, 0.018 EUR",
			"CP-1: ended, FINISHED: 0.060001 kWh, 0.018 EUR; waiting for the ticket",
			"CP-1: ticket T-CP-1: 0.060001 kWh at 0.3 EUR/kWh, 0.018 EUR, FINISHED, from - to -",
			"   POINT  OUTCOME             KWH    EUR  REASON",
			"1  CP-1   served         0.060001  0.018  FINISHED",
			"          1 of 1 served  0.060001  0.018",
		)
		if len(n.requests()) != 1 {
			t.Errorf("it asked %v", n.requests())
		}
	})
}

func TestTheBrokerIsAwayWhenTheNextIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(refuse("BROKEN"))
		var events []string
		begun := time.Now()
		time.AfterFunc(time.Second, func() { n.turn(errAway) })
		time.AfterFunc(30*time.Second, func() { n.turn(nil) })
		err := driver.Run(t.Context(), driver.Config{
			ID: "D-1", Points: []domain.PointID{"CP-1", "CP-2"}, NextDelay: 4 * time.Second, Network: n,
			Show: func(_ domain.UnixMillis, e application.Event) {
				events = append(events, fmt.Sprintf("%.0f %s", time.Since(begun).Seconds(), strings.TrimPrefix(fmt.Sprintf("%T", e), "driver.")))
			},
		})
		if _, ok := errors.AsType[*driver.UnservedError](err); !ok {
			t.Errorf("got %v", err)
		}
		same(t, events, "0 Asked", "0 Concluded", "1 BrokerLost", "30 BrokerFound", "30 Asked", "30 Concluded", "30 Finished")
	})
}

func TestARunThatCannotBegin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list@D-1.checkpoint")
	config := driver.Config{ID: "D-1", Points: []domain.PointID{"CP-1", "CP-2"}, Checkpoint: file, Network: newNetwork(refuse("BROKEN"))}
	keep := func(c application.Checkpoint) {
		f, _, _, err := checkpoint.Open(file)
		if err == nil {
			err = errors.Join(f.Keep(c), f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fails := func(text string) {
		t.Helper()
		if err := driver.Run(t.Context(), config); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
	keep(application.Checkpoint{Driver: "D-1", Points: []domain.PointID{"CP-3"}, Open: &application.Open{Request: "R"}})
	fails("point 1 of the list is CP-1 now, but CP-3 has been asked for; restore the list, or remove that file to begin anew")
	keep(application.Checkpoint{Driver: "D-2", Points: []domain.PointID{"CP-1"}})
	fails("it is that of the driver D-2")
	f, _, _, err := checkpoint.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fails("another ev-driver is at work on this list for this driver")
}

// A checkpoint that can't be kept stops a run before its request is sent.
func TestNothingIsSentThatIsNotKept(t *testing.T) {
	n := newNetwork(refuse("BROKEN"))
	file := filepath.Join(t.TempDir(), "x.checkpoint")
	if err := os.Mkdir(file+".next", 0o700); err != nil {
		t.Fatal(err)
	}
	err := driver.Run(t.Context(), driver.Config{ID: "D-1", Points: []domain.PointID{"CP-1"}, Checkpoint: file, Network: n})
	if err == nil || !strings.Contains(err.Error(), "can't be written") || len(n.requests()) > 0 {
		t.Errorf("got %v, and it asked %v", err, n.requests())
	}
}
