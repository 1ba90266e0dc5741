package domaintest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"evcharging/domain"
	"evcharging/domain/domaintest"
)

// tank is the smallest aggregate: it can be filled, and be wrong in each way that the kit
// is there to see.
type tank struct {
	domain.Recorder[any]
	litres int
	label  *string
	calls  int // transient
}

type (
	filled  struct{ Litres int }
	renamed struct{ Label string }
	emptied struct{}
)

var errFull = errors.New("full")

func (k *tank) Apply(_ domain.UnixMillis, event any) error {
	switch e := event.(type) {
	case filled:
		k.litres += e.Litres
	case renamed:
		k.label = &e.Label
	case emptied:
		k.litres = 0
	default:
		return fmt.Errorf("unknown event %T", event)
	}
	return nil
}

func (k *tank) fill(litres int) error {
	k.calls++
	if k.litres+litres > 100 {
		return errFull
	}
	k.Record(0, filled{litres}, k.Apply)
	return nil
}

var tanks = domaintest.Kit[*tank, any]{New: func() *tank { return &tank{} }, Transient: []string{"calls"}}

func past(events ...any) domaintest.Past[any] { return domaintest.Past[any]{At: 1, Events: events} }

func TestScenarioPasses(t *testing.T) {
	tanks.Given(t, past(filled{10}, renamed{"water"}), past(emptied{}, filled{90})).
		When(2, func(k *tank) error { return k.fill(10) }).Then(filled{10}).
		When(3, func(k *tank) error { return k.fill(1) }).ThenError(errFull).
		When(4, func(*tank) error { return nil }).Then().
		When(5, func(*tank) error { return &fs.PathError{Op: "fill"} }).ThenErrorAs(new(*fs.PathError))
}

func TestHistoryHasGivenAndDecided(t *testing.T) {
	s := tanks.Given(t, past(filled{1})).
		When(2, func(k *tank) error { return k.fill(2) }).Then(filled{2}).
		When(3, func(*tank) error { return nil }).Then() // nothing happened
	if got, want := fmt.Sprint(s.History()), "[{1970-01-01T00:00:00.001Z [{1}]} {1970-01-01T00:00:00.002Z [{2}]}]"; got != want {
		t.Errorf("history %s, want %s", got, want)
	}
}

// recorder is a test that remembers what it would have failed with.
type recorder struct {
	failures []string
	cleanups []func()
}

func (*recorder) Helper()                     {}
func (r *recorder) Cleanup(f func())          { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(f string, a ...any) { r.failures = append(r.failures, fmt.Sprintf(f, a...)) }
func (r *recorder) Fatalf(f string, a ...any) { r.Errorf(f, a...); panic(r) }

var _ domaintest.TB = testing.TB(nil)

func TestScenarioFails(t *testing.T) {
	type scenario = domaintest.Scenario[*tank, any]
	for name, test := range map[string]struct {
		given []domaintest.Past[any]
		run   func(s *scenario)
		want  string
	}{
		"an event is missing": {
			run: func(s *scenario) {
				s.When(2, func(k *tank) error { return k.fill(1) }).Then(filled{1}, emptied{})
			},
			want: "event 2 is missing: domaintest_test.emptied{}",
		},
		"an event was not expected": {
			run:  func(s *scenario) { s.When(2, func(k *tank) error { return k.fill(1) }).Then() },
			want: "event 1 was not expected: domaintest_test.filled{Litres:1}",
		},
		"an event's field differs": {
			run:  func(s *scenario) { s.When(2, func(k *tank) error { return k.fill(1) }).Then(filled{2}) },
			want: "event 1 is not as expected:\n  Litres: got 1, want 2",
		},
		"an event's type differs": {
			run:  func(s *scenario) { s.When(2, func(k *tank) error { return k.fill(1) }).Then(emptied{}) },
			want: "event 1 is not as expected:\n  got  domaintest_test.filled{Litres:1}\n  want domaintest_test.emptied{}",
		},
		"an error instead of events": {
			run:  func(s *scenario) { s.When(2, func(k *tank) error { return k.fill(101) }).Then(filled{101}) },
			want: "the command failed: full; want\n  1. domaintest_test.filled{Litres:101}",
		},
		"an error instead of nothing": {
			run:  func(s *scenario) { s.When(2, func(k *tank) error { return k.fill(101) }).Then() },
			want: "the command failed: full; want no events",
		},
		"events instead of an error": {
			run:  func(s *scenario) { s.When(2, func(k *tank) error { return k.fill(1) }).ThenError(errFull) },
			want: "the command gave <nil> and\n  1. domaintest_test.filled{Litres:1}\nwant the error: full",
		},
		"another error": {
			run:  func(s *scenario) { s.When(2, func(*tank) error { return errors.ErrUnsupported }).ThenError(errFull) },
			want: "the command gave unsupported operation and no events\nwant the error: full",
		},
		"an error of another type": {
			run: func(s *scenario) {
				s.When(2, func(*tank) error { return errFull }).ThenErrorAs(new(*fs.PathError))
			},
			want: "the command gave full and no events\nwant an error that is a **fs.PathError",
		},
		"a refusal that records": {
			run: func(s *scenario) {
				s.When(2, func(k *tank) error {
					k.Record(2, filled{1}, k.Apply)
					return errFull
				}).ThenError(errFull)
			},
			want: "the command failed (full) and recorded all the same:\n  1. domaintest_test.filled{Litres:1}",
		},
		"a command that changes what no event says": {
			run: func(s *scenario) {
				s.When(2, func(k *tank) error { k.litres = 7; return nil }).Then()
			},
			want: "the live aggregate (got) is not what its events give (want):\n  litres: got 7, want 0",
		},
		"a change behind a pointer": {
			given: []domaintest.Past[any]{past(renamed{"water"})},
			run: func(s *scenario) {
				s.When(2, func(k *tank) error { *k.label = "wine"; return errFull }).ThenError(errFull)
			},
			want: `the live aggregate (got) is not what its events give (want):` + "\n" + `  label: got "wine", want "water"`,
		},
		"a pointer that goes": {
			given: []domaintest.Past[any]{past(renamed{"water"})},
			run: func(s *scenario) {
				s.When(2, func(k *tank) error { k.label = nil; return errFull }).ThenError(errFull)
			},
			want: "  label: got (*string)(nil), want (*string)(0x",
		},
		"a given event that can't be applied": {
			given: []domaintest.Past[any]{past("what?")},
			run:   func(*scenario) {},
			want:  "apply stringwhat?: unknown event string",
		},
		"a When that is not judged": {
			run:  func(s *scenario) { s.When(2, func(*tank) error { return nil }) },
			want: "a When without a Then: the last command was not judged",
		},
		"two Whens and one Then": {
			run: func(s *scenario) {
				s.When(2, func(*tank) error { return nil }).When(3, func(*tank) error { return nil })
			},
			want: "a When without a Then: the command before was not judged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			func() {
				defer func() {
					if p := recover(); p != nil && p != r {
						panic(p)
					}
					for _, f := range r.cleanups {
						f()
					}
				}()
				test.run(tanks.Given(r, test.given...))
			}()
			if len(r.failures) == 0 || !strings.Contains(r.failures[0], test.want) {
				t.Errorf("failed with %q\nwant             %q", r.failures, test.want)
			}
		})
	}
}
