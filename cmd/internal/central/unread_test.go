package central

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/kafka"
	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
	"evcharging/application/message"
	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// torn is a log of which streams can't be read behind a version, as long as they are in it.
type torn struct {
	eventlog.Log
	behind map[eventlog.Stream]eventlog.Version
}

func (l torn) damage(s eventlog.Stream) error {
	if v, ok := l.behind[s]; ok {
		return &eventlog.DamagedError{Where: "here", Stream: s, Reason: errors.New("something is missing behind version " + string('0'+rune(v)))}
	}
	return nil
}

func (l torn) Rehydrate(ctx context.Context, s eventlog.Stream) ([]eventlog.Commit, error) {
	if err := l.damage(s); err != nil {
		return nil, err
	}
	return l.Log.Rehydrate(ctx, s)
}

func (l torn) Read(ctx context.Context, s eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		for c, err := range l.Log.Read(ctx, s, from) {
			if damage := l.damage(s); damage != nil && err == nil && c.Parts[0].Version > l.behind[s] {
				yield(eventlog.Commit{}, damage)
				return
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// happened appends events to a stream.
func happened(t *testing.T, log eventlog.Log, b *eventlogtest.Builder, stream eventlog.Stream, events ...any) {
	t.Helper()
	for _, e := range events {
		body, err := eventjson.Codec{}.Encode(central.Envelope{At: 1_000, Events: []any{e}})
		if err == nil {
			d := eventlogtest.Lifecycle(stream)
			d.Body, d.Events, d.Kind = string(body), 1, central.KindOf([]any{e})
			err = log.Append(t.Context(), b.Commit(b.Cause(), d))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// stored is a log with two points, each of which supplies.
func stored(t *testing.T, log eventlog.Log) {
	t.Helper()
	b := eventlogtest.NewBuilder("ev.register")
	for _, id := range []string{"1", "2"} {
		happened(t, log, b, eventlog.Stream("point-CP-"+id),
			chargingpoint.PointRegistered{Location: "Place " + id, Price: 300_000},
			chargingpoint.PointConnected{Lease: 15 * time.Second}, chargingpoint.FaultCleared{},
			chargingpoint.PointOccupied{Session: domain.SessionID("s-" + id), Driver: "D-1"})
		happened(t, log, b, eventlog.Stream("session-s-"+id),
			session.SupplyAuthorized{Point: domain.PointID("CP-" + id), Driver: "D-1", Due: 2_000})
	}
}

func filled(t *testing.T, log eventlog.Log) (f *feed, said *[]error) {
	t.Helper()
	f, said = newFeed(&central.Central{Log: log, Codec: eventjson.Codec{}}, memory.NewDeadlines(&memory.Signs{})), &[]error{}
	f.damaged = func(err error) { *said = append(*said, err) }
	if err := f.restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f, said
}

func states(f *feed) (all []string) {
	for _, p := range f.Points() {
		all = append(all, string(p.ID)+" "+string(p.State))
	}
	open, _ := f.Sessions()
	for _, s := range open {
		all = append(all, string(s.ID)+" "+string(s.Status))
	}
	return all
}

func TestWhatCannotBeReadAtTheStartIsShown(t *testing.T) {
	// given
	log := torn{memory.NewLog(), map[eventlog.Stream]eventlog.Version{"point-CP-2": 1, "session-s-1": 0}}
	stored(t, log.Log)
	// when
	f, said := filled(t, log)
	// then
	if got, want := states(f), []string{"CP-1 DISCONNECTED", "CP-2 UNREADABLE", "s-1 UNREADABLE", "s-2 AUTHORIZED"}; !slices.Equal(got, want) {
		t.Errorf("shown are %v, want %v", got, want)
	}
	if p := f.Points()[1]; p.Location != "Place 2" {
		t.Errorf("shown is %+v", p)
	}
	if got, want := f.warnings(), []string{"1 point can't be read: CP-2", "1 session can't be read: s-1"}; !slices.Equal(got, want) {
		t.Errorf("warned is of %v, want %v", got, want)
	}
	if _, _, err := f.Session(t.Context(), "s-1"); !errors.Is(err, eventlog.ErrDamaged) {
		t.Errorf("the session is asked for: %v", err)
	}
	// and nobody is asked to pass a deadline that can't be passed
	if due, err := f.Due(t.Context(), 1_000_000_000, 0); err != nil || len(due) != 0 {
		t.Errorf("due are %v, %v", due, err)
	}
	// and when it is filled again, nothing is said twice
	if err := f.restore(t.Context()); err != nil || len(*said) != 2 {
		t.Errorf("said is %v, %v", *said, err)
	}
	// and when it is mended and read again, it is as if nothing had been
	clear(log.behind)
	f.Note(t.Context(), "point-CP-2", nil)
	if err := f.restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := states(f), []string{"CP-1 DISCONNECTED", "CP-2 DISCONNECTED", "s-1 AUTHORIZED", "s-2 AUTHORIZED"}; !slices.Equal(got, want) || f.warnings() != nil {
		t.Errorf("shown are %v, want %v; warned is of %v", got, want, f.warnings())
	}
	if due, err := f.Due(t.Context(), 1_000_000_000, 0); err != nil || len(due) != 4 {
		t.Errorf("due are %v, %v", due, err)
	}
}

func TestWhatCannotBeReadWhileCentralRunsIsShown(t *testing.T) {
	for name, notice := range map[string]func(*testing.T, *feed, error){
		"a turn reads it": func(t *testing.T, f *feed, damage error) { f.Note(t.Context(), "point-CP-2", damage) },
		"a part is missing": func(t *testing.T, f *feed, _ error) {
			part := central.Part{Stream: "point-CP-2", Version: 9, At: 2_000, Events: []any{chargingpoint.FaultReported{}}}
			if err := f.handle(t.Context(), central.Publication{Parts: []central.Part{part}}); err != nil {
				t.Error(err)
			}
		},
		"another Central's commit says nothing": func(t *testing.T, f *feed, _ error) {
			part := eventlog.Part{Stream: "point-CP-2", Version: 5, Events: 1, Kind: eventlog.Lifecycle, Body: []byte("?")}
			if err := f.follow(t.Context(), eventlog.Commit{Parts: []eventlog.Part{part}}); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			// given
			log := torn{memory.NewLog(), map[eventlog.Stream]eventlog.Version{}}
			stored(t, log.Log)
			f, said := filled(t, log)
			// when
			log.behind["point-CP-2"] = 1
			notice(t, f, log.damage("point-CP-2"))
			notice(t, f, log.damage("point-CP-2"))
			// then
			if got, want := states(f), []string{"CP-1 DISCONNECTED", "CP-2 UNREADABLE", "s-1 AUTHORIZED", "s-2 AUTHORIZED"}; !slices.Equal(got, want) || len(*said) != 1 {
				t.Errorf("shown are %v, want %v; said is %v", got, want, *said)
			}
		})
	}
}

// What is closed waits for nothing.
func TestAClosedSessionThatCannotBeReadIsNotShownAsOpen(t *testing.T) {
	log := torn{memory.NewLog(), map[eventlog.Stream]eventlog.Version{"session-old": 0}}
	b := eventlogtest.NewBuilder("ev.register")
	happened(t, log.Log, b, "session-old", session.SupplyAuthorized{Point: "CP-1", Driver: "D-1"}, session.TicketIssued{Ticket: "T-1"})
	f, said := filled(t, log)
	f.Note(t.Context(), "session-old", log.damage("session-old"))
	part := central.Part{Stream: "session-old", Version: 3, At: 2_000, Events: []any{session.TicketRevised{Revision: 1}}}
	if err := f.handle(t.Context(), central.Publication{Parts: []central.Part{part}}); err != nil {
		t.Error(err)
	}
	if got := states(f); len(got) != 0 || f.warnings() != nil || len(*said) != 2 {
		t.Errorf("shown are %v, warned is of %v, said is %v", got, f.warnings(), *said)
	}
}

func TestWhatIsPublishedOfAPointThatCannotBeRead(t *testing.T) {
	// given
	log := torn{memory.NewLog(), map[eventlog.Stream]eventlog.Version{"point-CP-2": 1}}
	stored(t, log.Log)
	f, _ := filled(t, log)
	f.network.Heard("CP-1", 1)
	for name, c := range map[string]struct {
		told map[domain.PointID]bool
		want string
	}{
		"told as it was before":     {map[domain.PointID]bool{}, "CP-2 UNREADABLE 0"},
		"told as it is":             {map[domain.PointID]bool{"CP-2": true}, ""},
		"the other one was mended":  {map[domain.PointID]bool{"CP-2": true, "CP-1": true}, "CP-1 SUPPLYING 4"},
		"one that nobody has known": {map[domain.PointID]bool{"CP-2": true, "CP-9": true}, ""},
	} {
		// when
		var got []string
		for _, s := range f.toldOtherwise(c.told) {
			got = append(got, strings.TrimSpace(string(s.Point)+" "+s.State+" "+string('0'+rune(s.Version))))
		}
		// then
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: it tells %v, want %s", name, got, c.want)
		}
	}
	// one that was not heard since the start is told once it is known whether it is connected
	clear(log.behind)
	f.Note(t.Context(), "point-CP-2", nil)
	told := map[domain.PointID]bool{"CP-2": true}
	if states := f.toldOtherwise(told); len(states) != 0 {
		t.Errorf("it tells %v", states)
	}
	f.network.Heard("CP-2", 1)
	if states := f.toldOtherwise(told); len(states) != 1 || states[0].State != "SUPPLYING" || states[0].Price != 300_000 {
		t.Errorf("it tells %+v", states)
	}
}

// The folder of a log in which a byte of a point's first event was changed.
func TestAPointThatCannotBeReadInAFolderIsRefusedAndShown(t *testing.T) {
	// given
	dir := t.TempDir()
	log, err := bbolt.Open(dir, bbolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stored(t, log)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	changed := 0
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if text := []byte("Place 2"); err == nil && bytes.Contains(content, text) {
			changed++
			return os.WriteFile(path, bytes.ReplaceAll(content, text, []byte("Place 3")), 0o600)
		}
		return err
	})
	if changed == 0 {
		t.Fatal("the event was not found")
	}
	if log, err = bbolt.Open(dir, bbolt.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	// when
	m, topics := newMeasured(), kafka.DefaultTopics()
	m.feed.central.Log, m.feed.damaged = log, func(error) {}
	if err := m.feed.restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	// then
	if got := states(m.feed); !slices.Contains(got, "CP-1 DISCONNECTED") || !slices.Contains(got, "CP-2 UNREADABLE") {
		t.Errorf("shown are %v", got)
	}
	if got := m.series(t); got["points{UNREADABLE}"] != 1 || got["points{DISCONNECTED}"] != 1 {
		t.Errorf("counted %v unreadable", got["points{UNREADABLE}"])
	}
	if err := m.take(t.Context(), m.next(topics.Request, message.Request{Driver: "D-2", Point: "CP-2", ID: "R-1"})); err != nil {
		t.Errorf("a request is not answered: %v", err)
	}
	var rejected *message.RejectedError
	if err := m.take(t.Context(), m.next(topics.Health, healthy("CP-2"))); !errors.As(err, &rejected) {
		t.Errorf("a report: %v", err)
	}
	messages := m.feed.Snapshot(network.Window{Messages: 1}).Messages
	if len(messages) != 1 || messages[0].Text != "D-2 refused at CP-2: UNREADABLE" {
		t.Errorf("it says %v", messages)
	}
}
