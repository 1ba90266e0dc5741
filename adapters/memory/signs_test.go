package memory_test

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain"
)

func TestTheSignThatWasReportedLaterStays(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, then central.Sign
		stays       int
	}{
		{"reported later", central.Sign{HeardAt: 5, ReportedAt: 1}, central.Sign{HeardAt: 6, ReportedAt: 2}, 2},
		{"reported later, heard before", central.Sign{HeardAt: 6, ReportedAt: 1}, central.Sign{HeardAt: 5, ReportedAt: 2}, 2},
		{"reported earlier", central.Sign{HeardAt: 5, ReportedAt: 2}, central.Sign{HeardAt: 6, ReportedAt: 1}, 1},
		{"reported at once, heard later", central.Sign{HeardAt: 5, ReportedAt: 2}, central.Sign{HeardAt: 6, ReportedAt: 2}, 2},
		{"reported at once, heard before", central.Sign{HeardAt: 6, ReportedAt: 2}, central.Sign{HeardAt: 5, ReportedAt: 2}, 1},
		{"reported later, and heard by nobody", central.Sign{HeardAt: 5, ReportedAt: 2}, central.Sign{ReportedAt: 3}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var s memory.Signs
			for _, sign := range []central.Sign{c.first, c.then} {
				if err := s.Heard(t.Context(), "CP-1", sign); err != nil {
					t.Fatal(err)
				}
			}
			want := c.first
			if c.stays == 2 {
				want = c.then
			}
			if got, err := s.Last(t.Context(), "CP-1"); err != nil || got != want {
				t.Errorf("%+v (%v) stays, want %+v", got, err, want)
			}
		})
	}
}

func TestNobodyIsHeardAtFirst(t *testing.T) {
	var s memory.Signs
	if got, err := s.Last(t.Context(), "CP-1"); err != nil || got != (central.Sign{}) {
		t.Errorf("%+v (%v)", got, err)
	}
}

func TestListening(t *testing.T) {
	var l memory.Listening
	hear := func(now, recordedAt domain.UnixMillis) time.Duration {
		return l.Hear(now, message.Source{Topic: "ev.health", Timestamp: recordedAt, Trusted: true})
	}
	since := func(want domain.UnixMillis) {
		t.Helper()
		if got := l.Since(); got != want {
			t.Errorf("listening since %d, want %d", got, want)
		}
	}
	since(0)
	hear(10_000, 9_000)
	since(0)
	l.Deaf(20_000)
	since(20_000)
	if late := hear(30_000, 20_000); late != 10*time.Second {
		t.Errorf("late by %s", late)
	}
	since(30_000)
	hear(31_000, 31_000)
	since(30_000)
	hear(7_000, 31_000) // our own clock was set back
	since(7_000)
}

func TestIgnoredCountsByRule(t *testing.T) {
	one, two := errors.New("one"), errors.New("two")
	var i memory.Ignored
	i.Count(one)
	counts := i.Counts()
	i.Count(two)
	i.Count(one)
	if got := i.Counts(); !maps.Equal(got, map[string]int{"one": 2, "two": 1}) || len(counts) != 1 {
		t.Errorf("%v, before it %v", got, counts)
	}
}

func TestSideBySide(t *testing.T) {
	var (
		signs     memory.Signs
		listening memory.Listening
		ignored   memory.Ignored
		all       sync.WaitGroup
	)
	rule := errors.New("a rule")
	for i := range 8 {
		all.Go(func() {
			point := domain.PointID(fmt.Sprint("CP-", i%3))
			for n := range domain.UnixMillis(200) {
				if err := signs.Heard(t.Context(), point, central.Sign{HeardAt: n, ReportedAt: n}); err != nil {
					t.Error(err)
				}
				listening.Hear(n, message.Source{Partition: int32(i), Timestamp: n})
				listening.Deaf(n)
				listening.Since()
				ignored.Count(rule)
			}
		})
	}
	all.Wait()
	if last, _ := signs.Last(t.Context(), "CP-0"); last.HeardAt != 199 {
		t.Errorf("last heard %d", last.HeardAt)
	}
	if n := ignored.Counts()["a rule"]; n != 1600 {
		t.Errorf("counted %d", n)
	}
}
