package domaintest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"evcharging/domain"
)

// Aggregate is what the kit needs of an aggregate; E is its sealed event interface.
type Aggregate[E any] interface {
	Apply(at domain.UnixMillis, event E) error
	Pending() []E
	Stored()
}

// TB is what the kit needs of a test: *testing.T, *testing.F and *rapid.T have it.
type TB interface {
	Helper()
	Cleanup(f func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Kit tests one kind of aggregate. It has no state of its own.
type Kit[A Aggregate[E], E any] struct {
	// New is an aggregate without events.
	New func() A
	// Transient names fields that commands set and no event does: they are no part of the
	// state that a replay must give.
	Transient []string
}

// Past is what was decided at an instant.
type Past[E any] struct {
	At     domain.UnixMillis
	Events []E
}

// Scenario is one test's aggregate and all that has happened to it.
type Scenario[A Aggregate[E], E any] struct {
	// Live is the aggregate, for what a test asks beyond its events.
	Live A

	t       TB
	kit     Kit[A, E]
	history []Past[E]
	events  []E   // of the last command
	err     error // of the last command
	judged  bool  // the last command has had its Then
}

// Fold is a fresh aggregate that was given events, without any command. It fails the
// test where an event can't be applied.
func (k Kit[A, E]) Fold(t TB, history ...Past[E]) A {
	t.Helper()
	aggregate := k.New()
	for _, past := range history {
		for _, event := range past.Events {
			if err := aggregate.Apply(past.At, event); err != nil {
				t.Fatalf("apply %s: %v", describe(event), err)
			}
		}
	}
	return aggregate
}

// Given starts a scenario with what has happened before.
func (k Kit[A, E]) Given(t TB, history ...Past[E]) *Scenario[A, E] {
	t.Helper()
	return &Scenario[A, E]{t: t, kit: k, history: slices.Clone(history), Live: k.Fold(t, history...), judged: true}
}

// When carries a command out at an instant. It may be called again after a Then, on what
// the earlier commands left.
func (s *Scenario[A, E]) When(now domain.UnixMillis, command func(A) error) *Scenario[A, E] {
	s.t.Helper()
	if !s.judged {
		s.t.Fatalf("a When without a Then: the command before was not judged")
	}
	s.judged = false
	s.t.Cleanup(func() {
		if !s.judged {
			s.t.Errorf("a When without a Then: the last command was not judged")
		}
	})
	s.err = command(s.Live)
	s.events = slices.Clone(s.Live.Pending())
	s.Live.Stored()
	if len(s.events) > 0 {
		s.history = append(s.history, Past[E]{now, s.events})
	}
	if s.err != nil && len(s.events) > 0 {
		s.t.Errorf("the command failed (%v) and recorded all the same:%s", s.err, list(s.events))
	}
	s.kit.Same(s.t, s.Live, s.kit.Fold(s.t, s.history...))
	return s
}

// Then holds the command to these events, in this order, and to no error. Without events
// it is held to having done nothing.
func (s *Scenario[A, E]) Then(want ...E) *Scenario[A, E] {
	s.t.Helper()
	s.judged = true
	if s.err != nil {
		s.t.Errorf("the command failed: %v; want%s", s.err, list(want))
		return s
	}
	for i := range max(len(want), len(s.events)) {
		switch {
		case i >= len(s.events):
			s.t.Errorf("event %d is missing: %s", i+1, describe(want[i]))
		case i >= len(want):
			s.t.Errorf("event %d was not expected: %s", i+1, describe(s.events[i]))
		default:
			if difference := differ(s.events[i], want[i]); difference != "" {
				s.t.Errorf("event %d is not as expected:%s", i+1, difference)
			}
		}
	}
	return s
}

// ThenError holds the command to an error that is target (errors.Is).
func (s *Scenario[A, E]) ThenError(target error) *Scenario[A, E] {
	s.t.Helper()
	s.judged = true
	if !errors.Is(s.err, target) {
		s.t.Errorf("the command gave %v and%s\nwant the error: %v", s.err, list(s.events), target)
	}
	return s
}

// ThenErrorAs holds the command to an error that target, a pointer to an error's type,
// can hold (errors.As), and sets it.
func (s *Scenario[A, E]) ThenErrorAs(target any) *Scenario[A, E] {
	s.t.Helper()
	s.judged = true
	if !errors.As(s.err, target) {
		s.t.Errorf("the command gave %v and%s\nwant an error that is a %T", s.err, list(s.events), target)
	}
	return s
}

// History is all that has happened: what was given and what was decided.
func (s *Scenario[A, E]) History() []Past[E] { return slices.Clone(s.history) }

// Same fails the test where two aggregates have not the same state: all fields, but
// those that are transient and what is recorded and not stored.
func (k Kit[A, E]) Same(t TB, live, replayed A) {
	t.Helper()
	if difference := differ(live, replayed, append([]string{"Recorder"}, k.Transient...)...); difference != "" {
		t.Errorf("the live aggregate (got) is not what its events give (want):%s", difference)
	}
}

// differ tells which fields of two values are not the same; empty where all are.
func differ(got, want any, except ...string) string {
	if reflect.TypeOf(got) != reflect.TypeOf(want) {
		return fmt.Sprintf("\n  got  %s\n  want %s", describe(got), describe(want))
	}
	var text strings.Builder
	compare(&text, "", reflect.ValueOf(got), reflect.ValueOf(want), except)
	return text.String()
}

func compare(text *strings.Builder, name string, got, want reflect.Value, except []string) {
	switch {
	case got.Kind() == reflect.Pointer && !got.IsNil() && !want.IsNil():
		compare(text, name, got.Elem(), want.Elem(), except)
	case got.Kind() == reflect.Struct && got.NumField() > 0:
		for i := range got.NumField() {
			if field := got.Type().Field(i).Name; !slices.Contains(except, field) {
				compare(text, strings.TrimPrefix(name+"."+field, "."), got.Field(i), want.Field(i), nil)
			}
		}
	default:
		if g, w := fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want); g != w {
			fmt.Fprintf(text, "\n  %s: got %s, want %s", name, g, w)
		}
	}
}

func list[E any](events []E) string {
	if len(events) == 0 {
		return " no events"
	}
	var text strings.Builder
	for i, event := range events {
		fmt.Fprintf(&text, "\n  %d. %s", i+1, describe(event))
	}
	return text.String()
}

func describe(event any) string { return fmt.Sprintf("%T%+v", event, event) }
