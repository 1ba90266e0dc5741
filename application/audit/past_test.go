package audit_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	shown "evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// everything is a window through which all is seen.
var everything = shown.Window{Points: 1 << 20, Sessions: 1 << 20, Messages: shown.MessageLimit}

// alive registers a point that is healthy.
func alive(n *audittest.Network, id domain.PointID) {
	location, price := "Alcoy", domain.MicroEurosPerKWh(300_000)
	n.Take(message.Registration{Point: id, Location: &location, Price: &price})
	n.Take(message.Health{Point: id, Status: message.HealthOK, LeaseSeconds: 15})
}

func ask(n *audittest.Network, point domain.PointID, driver domain.DriverID) domain.SessionID {
	request := domain.RequestID(fmt.Sprintf("R-%s-%d", driver, n.Now))
	n.Take(message.Request{Driver: driver, Point: point, ID: request, Origin: message.OriginDriver})
	return session.IDFor(point, driver, request)
}

func TestAnInstantHasWhatWasDecidedUntilThen(t *testing.T) {
	// given two Centrals, of whose clocks one is 300 ms behind
	log := memory.NewLog()
	n := audittest.New(t, log, eventjson.Codec{})
	at := func(ms domain.UnixMillis) domain.UnixMillis { return audittest.Begin + ms }
	n.Now = at(1_000)
	alive(n, "CP-1")
	n.Now = at(700)
	alive(n, "CP-2")
	n.Now = at(2_000)
	id := ask(n, "CP-1", "D-1") // one commit of two streams
	n.Now = at(1_700)
	n.Take(message.Control{ID: "c", Point: "CP-2", Action: message.ActionStop, By: "ops"})
	for when, want := range map[domain.UnixMillis]string{
		at(700):   "CP-2 ACTIVATED",
		at(999):   "CP-2 ACTIVATED",
		at(1_000): "CP-1 ACTIVATED, CP-2 ACTIVATED",
		at(1_700): "CP-1 ACTIVATED, CP-2 OUT_OF_ORDER",
		at(1_999): "CP-1 ACTIVATED, CP-2 OUT_OF_ORDER",
		at(2_000): "CP-1 SUPPLYING " + string(id) + ", CP-2 OUT_OF_ORDER",
		at(9_000): "CP-1 SUPPLYING " + string(id) + ", CP-2 OUT_OF_ORDER",
		0:         "CP-1 SUPPLYING " + string(id) + ", CP-2 OUT_OF_ORDER",
	} {
		there, span, err := past(t, log, when).Network(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if span.Begin != at(700) || span.End != at(2_000) {
			t.Errorf("the log is from %s to %s", span.Begin, span.End)
		}
		var points []string
		for _, p := range there.Points() {
			text := fmt.Sprintf("%s %s", p.ID, p.State)
			if p.NotHeard {
				t.Errorf("%s was not heard", p.ID)
			}
			if p.Supply != nil {
				if _, ok := there.Session(p.Supply.ID); !ok {
					t.Errorf("at %s the point has its session, and there is none", when)
				}
				text += " " + string(p.Supply.ID)
			}
			points = append(points, text)
		}
		if got := strings.Join(points, ", "); got != want {
			t.Errorf("at %d ms: %s, want %s", when-audittest.Begin, got, want)
		}
	}
	if _, _, err := past(t, log, at(699)).Network(t.Context()); !errors.Is(err, audit.ErrNotBegun) ||
		!strings.Contains(err.Error(), "2027-01-15T08:00:00.700Z") {
		t.Errorf("before the log: %v", err)
	}
	if _, _, err := past(t, memory.NewLog(), 0).Network(t.Context()); !errors.Is(err, audit.ErrNothing) {
		t.Errorf("of an empty log: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := past(t, log, 0).Network(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// One stream, or the driver's, says of a session what the whole log does.
func TestWhatIsAskedOfIsAsTheWholeHasIt(t *testing.T) {
	h, supplies := everyEnding(t)
	for at := audittest.Begin.Add(500 * time.Millisecond); at < h.commits[len(h.commits)-1].At+1_000; at += 9_000 {
		p := past(t, h, at)
		whole, _, err := p.Network(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, point := range whole.Points() {
			alone, prices, err := p.Point(t.Context(), point.ID)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := alone.Point(point.ID)
			if !reflect.DeepEqual(got, point) || len(prices) != 1 {
				t.Fatalf("at %s: %+v, prices %v, want %+v", at, got, prices, point)
			}
		}
		for name, s := range supplies {
			want, ok := whole.Session(s.Session)
			got, err := p.Session(t.Context(), s.Session)
			if errors.Is(err, audit.ErrNoSession) {
				if ok || len(got.ID) == 0 {
					t.Fatalf("at %s: %s: %v, want %+v", at, name, err, want)
				}
				continue
			}
			if s.Status != session.Refused && (err != nil || !reflect.DeepEqual(got, want)) {
				t.Fatalf("at %s: %s: %v, %+v, want %+v", at, name, err, got, want)
			}
			all, _, err := p.Driver(t.Context(), got.Driver)
			if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], got) {
				t.Fatalf("at %s: %s of %s: %v, %+v, want %+v", at, name, got.Driver, err, all, got)
			}
		}
	}
}

func TestTheSessionsOfADriver(t *testing.T) {
	log := memory.NewLog()
	n := audittest.New(t, log, eventjson.Codec{})
	alive(n, "CP-1")
	alive(n, "CP-2")
	first := ask(n, "CP-2", "D-1")
	n.Wait(time.Second)
	refused := ask(n, "CP-2", "D-1")
	ask(n, "CP-1", "D-2")
	n.Wait(time.Second)
	n.Take(message.Done{Session: first, Point: "CP-2", Driver: "D-1", Reason: message.DoneFinished, At: n.Now})
	second := ask(n, "CP-1", "D-1")
	for at, want := range map[domain.UnixMillis][]string{
		0: {string(first) + " CLOSED", string(refused) + " REFUSED", string(second) + " REFUSED"},
		audittest.Begin.Add(time.Second): {
			string(first) + " AUTHORIZED", string(refused) + " REFUSED",
		},
		audittest.Begin: {string(first) + " AUTHORIZED"},
	} {
		sessions, _, err := past(t, log, at).Driver(t.Context(), "D-1")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range sessions {
			got = append(got, fmt.Sprintf("%s %s", s.ID, s.Status))
			if (s.Status == session.Refused) != (s.Refusal != "") || s.AskedAt() == 0 {
				t.Errorf("%+v", s)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("at %s it has %v, want %v", at, got, want)
		}
	}
	if s, err := past(t, log, 0).Session(t.Context(), refused); err != nil || s.Refusal != string(chargingpoint.RefusedOccupied) || s.AskedAt() != audittest.Begin.Add(time.Second) {
		t.Errorf("the refused request is %+v, %v", s, err)
	}
	if none, _, err := past(t, log, 0).Driver(t.Context(), "D-3"); err != nil || len(none) != 0 {
		t.Errorf("of nobody: %v, %v", none, err)
	}
}

func TestWhatIsDamagedIsShownAsBefore(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(h *history, stream eventlog.Stream)
		says   string
	}{
		"the store can't read it, and does not know whose it is": {func(h *history, stream eventlog.Stream) {
			i, _ := find[session.EndDecided](h, stream, 0)
			h.unreadable[eventlog.Position(i+1)] = &eventlog.DamagedError{Where: "here", Position: eventlog.Position(i + 1), Reason: errors.New("a bit")}
		}, "here at position"},
		"the store can't read it": {func(h *history, stream eventlog.Stream) {
			i, _ := find[session.EndDecided](h, stream, 0)
			h.unreadable[eventlog.Position(i+1)] = &eventlog.DamagedError{Where: "here", Position: eventlog.Position(i + 1), Stream: stream, Reason: errors.New("a bit")}
		}, "a bit"},
		"it is gone": {func(h *history, stream eventlog.Stream) {
			i, _ := find[session.EndDecided](h, stream, 0)
			h.commits = slices.Delete(h.commits, i, i+1)
		}, "parts of the stream are missing: versions 4 to 4"},
		"nobody understands it": {func(h *history, stream eventlog.Stream) {
			i, j := find[session.EndDecided](h, stream, 0)
			h.part(i, j, func(p *eventlog.Part) { p.Body = []byte("{}") })
		}, "at version 4"},
	} {
		t.Run(name, func(t *testing.T) {
			h, supplies := everyEnding(t)
			whole, _, err := past(t, h, 0).Network(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			broken := supplies["ended by a fault"]
			stream := central.SessionStream(broken.Session)
			c.damage(h, stream)
			damaged := func() (audit.Past, *[]string) {
				said := &[]string{}
				return audit.Past{Log: h, Codec: eventjson.Codec{}, Damaged: func(err error) {
					if !errors.Is(err, eventlog.ErrDamaged) {
						t.Errorf("it is no damage: %v", err)
					}
					*said = append(*said, err.Error())
				}}, said
			}
			p, said := damaged()
			there, _, err := p.Network(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := there.Session(broken.Session); !ok || s.Status != session.Supplying {
				t.Errorf("it is shown as %+v", s)
			}
			if len(*said) == 0 || !strings.Contains(strings.Join(*said, "\n"), c.says) {
				t.Errorf("it says %q", *said)
			}
			for i, line := range *said {
				if slices.Contains((*said)[:i], line) {
					t.Errorf("it says it twice: %s", line)
				}
			}
			for name, s := range supplies {
				want, _ := whole.Session(s.Session)
				if got, _ := there.Session(s.Session); s.Session != broken.Session && !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %+v, want %+v", name, got, want)
				}
			}
			p, said = damaged()
			if s, err := p.Session(t.Context(), broken.Session); err != nil || s.Status != session.Supplying || len(*said) == 0 {
				t.Errorf("alone it is %+v, %v, says %q", s, err, *said)
			}
			p, said = damaged()
			if s, _, err := p.Driver(t.Context(), "D-5"); err != nil || len(s) != 1 || s[0].Status != session.Supplying || len(*said) == 0 {
				t.Errorf("its driver has %+v, %v, says %q", s, err, *said)
			}
			p, said = damaged()
			if steps, err := p.WhySession(t.Context(), broken.Session); err != nil || len(steps) != 3 || len(*said) == 0 {
				t.Errorf("why: %v, %v, says %q", steps, err, *said)
			}
		})
	}
}

func TestSamplesInAnArchiveAreMissedWhileTheSessionRan(t *testing.T) {
	h, supplies := everyEnding(t)
	id := supplies["finished"].Session
	stream := central.SessionStream(id)
	want, err := past(t, h, 0).Session(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	i, _ := find[session.MeterValueRecorded](h, stream, 1) // version 4, the second of three
	at := h.commits[i].At
	h.unreadable[eventlog.Position(i+1)] = &eventlog.DamagedError{
		Where: "here", Position: eventlog.Position(i + 1), Stream: stream,
		Reason: &eventlog.ArchivedError{Stream: stream, From: 4, To: 4, Archive: "2027-01.jsonl"},
	}
	for _, c := range []struct {
		at     domain.UnixMillis
		energy domain.MilliwattHours
		said   int
	}{{0, want.Energy, 0}, {at.Add(time.Second), 300_000, 1}, {at, 100_000, 1}} {
		said := 0
		p := audit.Past{Log: h, Codec: eventjson.Codec{}, At: c.at, Damaged: func(err error) {
			if said++; !strings.Contains(err.Error(), "2027-01.jsonl") {
				t.Errorf("it says %v", err)
			}
		}}
		look := func(how string, got shown.Session, ok bool, err error) {
			t.Helper()
			if !ok || err != nil || got.Energy != c.energy || said != c.said || c.said == 0 && !reflect.DeepEqual(got, want) {
				t.Errorf("%s, at %d: %v, %+v, said %d times", how, c.at, err, got, said)
			}
			said = 0
		}
		n, _, err := p.Network(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, ok := n.Session(id)
		look("of the whole", got, ok, err)
		got, err = p.Session(t.Context(), id)
		look("of its stream", got, true, err)
		all, _, err := p.Driver(t.Context(), want.Driver)
		look("of its driver", all[0], true, err)
		steps, err := p.WhySession(t.Context(), id)
		if err != nil || said != c.said || len(steps) < 4 || steps[3].Event != "" || steps[3].Holds || !strings.Contains(steps[3].Said, "2027-01.jsonl") {
			t.Errorf("why, at %d: %v, said %d times, %+v", c.at, err, said, steps)
		}
	}
}

// Of a part that is missing nobody knows when it was decided, unless a later one that is
// there was decided before the instant.
func TestAPartThatIsMissingMayBeOfThePast(t *testing.T) {
	h, supplies := everyEnding(t)
	stream := central.SessionStream(supplies["finished"].Session)
	i, _ := find[session.MeterValueRecorded](h, stream, 1)
	before, after := h.commits[i-1].At, h.commits[i+1].At
	h.commits = slices.Delete(h.commits, i, i+1)
	for at, want := range map[domain.UnixMillis]int{before - 1: 1, before: 1, after: 1, audittest.Begin.Add(500 * time.Millisecond): 0} {
		said := 0
		p := audit.Past{Log: h, Codec: eventjson.Codec{}, At: at, Damaged: func(error) { said++ }}
		if _, _, err := p.Network(t.Context()); err != nil {
			t.Fatal(err)
		}
		if at == before-1 {
			want = 0 // the part before it is of later: what is missing is, too
		}
		if said != want {
			t.Errorf("at %d: said %d times, want %d", at-audittest.Begin, said, want)
		}
	}
}

func TestALogInTheOrderOfTime(t *testing.T) {
	// given many commits whose clocks differ by up to a second
	const many = 20_000
	h := &history{TB: t, unreadable: map[eventlog.Position]*eventlog.DamagedError{}}
	for i := range many {
		ms := domain.UnixMillis(i*7 + (i*7919)%1_000)
		h.commits = append(h.commits, eventlog.Commit{At: audittest.Begin + ms, Cause: eventlog.Cause{Offset: int64(i)}})
	}
	h.unreadable[12_345] = &eventlog.DamagedError{Where: "here", Position: 12_345, Reason: errors.New("a bit")}
	want := slices.Delete(slices.Clone(h.commits), 12_344, 12_345)
	after := audittest.Begin.Add(20 * time.Second)
	want = slices.DeleteFunc(want, func(c eventlog.Commit) bool { return c.At <= after })
	slices.SortStableFunc(want, func(a, b eventlog.Commit) int { return int(a.At - b.At) })
	said := 0
	ahead := audit.NewAhead(h, 1, after)
	next := func() (eventlog.Commit, bool, error) {
		for {
			c, ok, err := ahead.Next(t.Context())
			if !errors.Is(err, eventlog.ErrDamaged) {
				return c, ok, err
			}
			said++
		}
	}
	for i, w := range want {
		c, ok, err := next()
		if err != nil || !ok || c.Cause.Offset != w.Cause.Offset {
			t.Fatalf("commit %d is that of offset %d at %s, %v, %v; want %d at %s", i, c.Cause.Offset, c.At, ok, err, w.Cause.Offset, w.At)
		}
	}
	if _, ok, err := next(); ok || err != nil {
		t.Errorf("it goes on: %v", err)
	}
	if said != 1 {
		t.Errorf("the damage was said %d times", said)
	}
	if _, ok, err := audit.NewAhead(h, 0, 0).Next(t.Context()); ok || err != nil {
		t.Errorf("from nowhere on: %v, %v", ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok, err := audit.NewAhead(memory.NewLog(), 1, 0).Next(ctx); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, %v", ok, err)
	}
}

// A past that is continued comes to be what a later past is.
func TestAReplayGoesOnFromAnInstant(t *testing.T) {
	h, _ := everyEnding(t)
	at := audittest.Begin.Add(5 * time.Minute)
	replay, span, err := past(t, h, at).Replay(t.Context())
	if err != nil || span.Later == 0 || h.commits[span.Later-1].At <= at || h.commits[span.Later-2].At > at {
		t.Fatalf("%v, the first later commit is at %d", err, span.Later)
	}
	compared := 0
	for ahead, reached := audit.NewAhead(h, span.Later, at), at; ; {
		c, ok, err := ahead.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !ok || c.At > reached { // all of an instant was taken in
			want, _, err := past(t, h, reached).Network(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := seen(replay.Network()), seen(want); !reflect.DeepEqual(got, want) {
				t.Fatalf("at %s it shows %+v, want %+v", reached, got.Counts, want.Counts)
			}
			compared++
		}
		if !ok {
			break
		}
		reached = c.At
		replay.Take(c)
	}
	if compared < 20 {
		t.Errorf("only %d instants were compared", compared)
	}
}

// seen is all that a network shows.
func seen(n *shown.Network) shown.Snapshot {
	s := n.Snapshot(everything)
	s.Changed = 0
	s.Sessions = append(s.Sessions, n.Closed(shown.ClosedLimit)...)
	return s
}
