package domain_test

import (
	"errors"
	"slices"
	"testing"

	"evcharging/domain"
)

func TestRecorderKeepsWhatWasAppliedUntilStored(t *testing.T) {
	var r domain.Recorder[string]
	var applied []string
	apply := func(_ domain.UnixMillis, event string) error { applied = append(applied, event); return nil }
	r.Record(1, "a", apply)
	r.Record(2, "b", apply)
	if want := []string{"a", "b"}; !slices.Equal(r.Pending(), want) || !slices.Equal(applied, want) {
		t.Errorf("pending %q, applied %q", r.Pending(), applied)
	}
	r.Stored()
	if len(r.Pending()) != 0 {
		t.Errorf("pending after Stored: %q", r.Pending())
	}
	r.Record(3, "c", apply)
	if want := []string{"c"}; !slices.Equal(r.Pending(), want) {
		t.Errorf("pending %q, want %q", r.Pending(), want)
	}
}

func TestRecorderPanicsOnAnEventThatItsAggregateDoesNotKnow(t *testing.T) {
	unknown := errors.New("unknown")
	var r domain.Recorder[string]
	defer func() {
		if recover() != unknown || len(r.Pending()) != 0 { //nolint:errorlint // the very value is asked for
			t.Errorf("it went on, with %q pending", r.Pending())
		}
	}()
	r.Record(1, "a", func(domain.UnixMillis, string) error { return unknown })
}
