package memory_test

import (
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/central/centraltest"
	"evcharging/application/message"
	"evcharging/domain"
)

func TestSigns(t *testing.T) {
	centraltest.RunSigns(t, func(*testing.T) central.SignsOfLife { return &memory.Signs{} })
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
		listening memory.Listening
		ignored   memory.Ignored
		all       sync.WaitGroup
	)
	rule := errors.New("a rule")
	for i := range 8 {
		all.Go(func() {
			for n := range domain.UnixMillis(200) {
				listening.Hear(n, message.Source{Partition: int32(i), Timestamp: n})
				listening.Deaf(n)
				listening.Since()
				ignored.Count(rule)
			}
		})
	}
	all.Wait()
	if n := ignored.Counts()["a rule"]; n != 1600 {
		t.Errorf("counted %d", n)
	}
}
