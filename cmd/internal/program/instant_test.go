package program_test

import (
	"errors"
	"testing"
	"time"

	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

func TestParseInstant(t *testing.T) {
	in := func(zone *time.Location, month time.Month, day, hour, minute, second, millis int) domain.UnixMillis {
		return domain.At(time.Date(2026, month, day, hour, minute, second, millis*1e6, zone))
	}
	for text, want := range map[string]domain.UnixMillis{
		"2026-12-01":                in(time.Local, 12, 1, 0, 0, 0, 0),
		"2026-12-01T07:30":          in(time.Local, 12, 1, 7, 30, 0, 0),
		"2026-12-01t07:30:15":       in(time.Local, 12, 1, 7, 30, 15, 0),
		"2026-12-01T07:30:15.25":    in(time.Local, 12, 1, 7, 30, 15, 250),
		"2026-12-01T00:00:00+01:00": in(time.UTC, 11, 30, 23, 0, 0, 0),
		"2026-12-01T00:00:00.25Z":   in(time.UTC, 12, 1, 0, 0, 0, 250),
		"2026-12-01T00:00z":         in(time.UTC, 12, 1, 0, 0, 0, 0),
		"1970-01-01T00:00:00.001Z":  1,
	} {
		if got, err := program.ParseInstant(text); err != nil || got != want {
			t.Errorf("%s is %s (%v), want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "tomorrow", "2026-13-01", "1.12.2026", "2026-12-01 07:30", "07:30", "2026-12-01T07", "1800000000"} {
		if got, err := program.ParseInstant(text); !errors.Is(err, program.ErrNoTime) {
			t.Errorf("%q is %s (%v)", text, got, err)
		}
	}
	for _, text := range []string{"1970-01-01T00:00:00Z", "1970-01-01T01:00:00+01:00", "1969-12-31T23:59:59.999Z", "1969-06-01", "0001-01-01"} {
		if got, err := program.ParseInstant(text); !errors.Is(err, program.ErrBeforeAll) {
			t.Errorf("%q is %s (%v)", text, got, err)
		}
	}
	noon := time.Date(2026, 12, 1, 12, 0, 0, 999e6, time.Local)
	if got, want := program.FormatInstant(domain.At(noon)), "2026-12-01 12:00:00 "+noon.Format("MST"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
