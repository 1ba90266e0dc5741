package audit_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/session"
)

// corrected is what Corrections gives of a log, and the errors among it.
func corrected(t *testing.T, log audit.Log, from, to domain.UnixMillis) (all []audit.Correction, errs []error) {
	t.Helper()
	for c, err := range audit.Corrections(t.Context(), log, eventjson.Codec{}, from, to) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, c)
	}
	return all, errs
}

func TestCorrections(t *testing.T) {
	log := memory.NewLog()
	n := audittest.New(t, log, eventjson.Codec{})
	supplies := audittest.Endings(n)
	got, errs := corrected(t, log, 0, 0)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	bySession := map[domain.SessionID][]audit.Correction{}
	for i, c := range got {
		bySession[c.Session] = append(bySession[c.Session], c)
		if i > 0 && c.At < got[i-1].At {
			t.Errorf("%+v comes after %+v", c, got[i-1])
		}
	}
	total := 0
	for _, s := range supplies {
		corrections := bySession[s.Session]
		if len(corrections) != s.Revisions {
			t.Errorf("%s: %d corrections, want %d", s.Name, len(corrections), s.Revisions)
			continue
		}
		total += s.Revisions
		whole := n.Restore(s.Session)
		for i, revision := range whole.Revisions() {
			want := audit.Correction{
				At: revision.At, Session: s.Session, Point: whole.Request().Point, Driver: whole.Request().Driver, Revision: i + 1,
				EnergyBefore: revision.Before.Energy, EnergyAfter: revision.After.Energy,
				AmountBefore: revision.Before.Amount, AmountAfter: revision.After.Amount, Difference: revision.Difference(),
				Reason: revision.Reason, Source: corrections[i].Source,
			}
			if c := corrections[i]; c != want || c.Source.Topic != "ev.supply.done" || c.Source.Offset == 0 {
				t.Errorf("%s: correction %d is\n%+v, want\n%+v", s.Name, i+1, c, want)
			}
		}
		if last := len(corrections); last > 0 && corrections[last-1].AmountAfter.String() != s.Amount {
			t.Errorf("%s: in the end it is %s EUR, by hand %s", s.Name, corrections[last-1].AmountAfter, s.Amount)
		}
	}
	if total == 0 || total != len(got) {
		t.Errorf("%d corrections, want %d", len(got), total)
	}
}

func TestCorrectionsOfAPeriod(t *testing.T) {
	h, supplies := everyEnding(t)
	all, _ := corrected(t, h, 0, 0)
	if len(all) < 2 {
		t.Fatalf("%d corrections of %d supplies", len(all), len(supplies))
	}
	for _, period := range []struct{ from, to domain.UnixMillis }{
		{all[0].At, 0}, {all[0].At + 1, 0}, {0, all[1].At}, {0, all[1].At + 1}, {all[0].At, all[0].At + 1}, {all[1].At, all[0].At}, {0, 1},
	} {
		var want []audit.Correction
		for _, c := range all {
			if c.At >= period.from && (period.to == 0 || c.At < period.to) {
				want = append(want, c)
			}
		}
		got, errs := corrected(t, h, period.from, period.to)
		if len(got) != len(want) || len(errs) > 0 {
			t.Errorf("from %s to %s: %d corrections (%v), want %d", period.from, period.to, len(got), errs, len(want))
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("from %s to %s: %+v, want %+v", period.from, period.to, got[i], want[i])
			}
		}
	}
}

func TestCorrectionsGoOnBehindDamage(t *testing.T) {
	// One session is corrected twice, then another once.
	given := func(t *testing.T) (h *history, twice, once domain.SessionID) {
		log := memory.NewLog()
		n := audittest.New(t, log, eventjson.Codec{})
		for _, s := range audittest.Endings(n) {
			switch {
			case s.Revisions == 2:
				twice = s.Session
			case s.Name == "finished":
				once = s.Session
			}
		}
		r := n.Restore(once).Request()
		n.Wait(time.Hour)
		n.Take(message.Done{Session: once, Point: r.Point, Driver: r.Driver, Energy: 7_000_000, Reason: message.DoneRecovered, At: n.Now})
		return copyOf(t, log), twice, once
	}
	for name, c := range map[string]struct {
		damage func(h *history, twice domain.SessionID)
		// Of the session that was corrected twice, want says which corrections are told.
		want []int
		errs int
	}{
		"nothing": {func(*history, domain.SessionID) {}, []int{1, 2}, 0},
		"a commit that the store can't read": {func(h *history, twice domain.SessionID) {
			i, _ := find[session.TicketRevised](h, central.SessionStream(twice), 0)
			p := eventlog.Position(i + 1)
			h.unreadable[p] = &eventlog.DamagedError{Where: "the test", Position: p, Reason: errors.New("a bit is wrong")}
		}, []int{2}, 1},
		"a part that says nothing": {func(h *history, twice domain.SessionID) {
			i, j := find[session.TicketRevised](h, central.SessionStream(twice), 1)
			h.commits[i].Parts[j].Body = []byte("{}")
		}, []int{1}, 1},
		"a session that does not begin with its grant": {func(h *history, twice domain.SessionID) {
			i, j := find[session.SupplyAuthorized](h, central.SessionStream(twice), 0)
			h.commits[i].Parts[j].Stream = "session-other"
		}, nil, 2},
		"a grant that can't be read": {func(h *history, twice domain.SessionID) {
			i, j := find[session.SupplyAuthorized](h, central.SessionStream(twice), 0)
			h.commits[i].Parts[j].Body = []byte("{}")
		}, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			h, twice, once := given(t)
			c.damage(h, twice)
			all, errs := corrected(t, h, 0, 0)
			var got []int
			for i, a := range all {
				if a.Session == twice {
					got = append(got, a.Revision)
				} else if a.Session != once || i != len(all)-1 {
					t.Errorf("%+v", a)
				}
			}
			if !slices.Equal(got, c.want) || len(all) != len(c.want)+1 || len(errs) != c.errs {
				t.Errorf("corrections %v of the first, %d in all, and %v", got, len(all), errs)
			}
			for _, err := range errs {
				if !errors.Is(err, eventlog.ErrDamaged) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	t.Run("but not behind a store that is away", func(t *testing.T) {
		h, _, _ := given(t)
		for name, log := range map[string]audit.Log{"all": away{history: h, all: true}, "a stream": away{history: h}} {
			if all, errs := corrected(t, log, 0, 0); len(all) > 0 || len(errs) != 1 || !errors.Is(errs[0], errAway) {
				t.Errorf("%s: %+v, %v", name, all, errs)
			}
		}
	})
	t.Run("and end where nobody wants more", func(t *testing.T) {
		h, _, _ := given(t)
		for c, err := range audit.Corrections(t.Context(), h, eventjson.Codec{}, 0, 0) {
			if err != nil || c.Revision != 1 {
				t.Errorf("%+v, %v", c, err)
			}
			break
		}
	})
}

var errAway = errors.New("the store is away")

// away is a log whose store goes away where it is read.
type away struct {
	*history
	all bool
}

func (a away) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	if !a.all {
		return a.history.All(ctx, from)
	}
	return func(yield func(eventlog.Positioned, error) bool) { yield(eventlog.Positioned{}, errAway) }
}

func (a away) Read(context.Context, eventlog.Stream, eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) { yield(eventlog.Commit{}, errAway) }
}
