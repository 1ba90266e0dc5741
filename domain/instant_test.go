package domain_test

import (
	"math"
	"testing"
	"time"

	"evcharging/domain"
)

func TestInstant(t *testing.T) {
	noon := time.Date(2026, 3, 1, 13, 0, 0, 123_999_999, time.FixedZone("CET", 3600))
	at := domain.At(noon)
	if at != 1_772_366_400_123 {
		t.Errorf("the instant is %d, cut to the millisecond it is 1772366400123", at)
	}
	if got, want := at.Time(), time.Date(2026, 3, 1, 12, 0, 0, 123_000_000, time.UTC); !got.Equal(want) || got.Location() != time.UTC {
		t.Errorf("the time is %s, want %s", got, want)
	}
	for instant, want := range map[domain.UnixMillis]string{
		at: "2026-03-01T12:00:00.123Z",
		0:  "-",
		1:  "1970-01-01T00:00:00.001Z",
		-1: "1969-12-31T23:59:59.999Z",
	} {
		if got := instant.String(); got != want {
			t.Errorf("%d is %s, want %s", instant, got, want)
		}
	}
	if got := at.Add(1500*time.Millisecond + 999*time.Microsecond); got != at+1500 {
		t.Errorf("1.500999 s later is %d, want %d", got, at+1500)
	}
}

func TestInstantSub(t *testing.T) {
	const century = 100 * 365 * 24 * 3_600_000
	for _, test := range []struct {
		t, u domain.UnixMillis
		want time.Duration
	}{
		{5_000, 3_000, 2 * time.Second},
		{3_000, 5_000, -2 * time.Second},
		{7, 7, 0},
		{century, 0, century * time.Millisecond},
		{math.MaxInt64 / 1_000_000, 0, math.MaxInt64 / 1_000_000 * time.Millisecond},
		{math.MaxInt64/1_000_000 + 1, 0, math.MaxInt64},
		{-math.MaxInt64 / 1_000_000, 0, -math.MaxInt64 / 1_000_000 * time.Millisecond},
		{-math.MaxInt64/1_000_000 - 1, 0, math.MinInt64},
		// 2^64 ns: what wraps around to nothing
		{18_446_744_073_710, 0, math.MaxInt64},
		{0, 18_446_744_073_710, math.MinInt64},
		{math.MaxInt64, math.MinInt64, math.MaxInt64},
		{math.MinInt64, math.MaxInt64, math.MinInt64},
		{math.MaxInt64, -1, math.MaxInt64},
		{math.MinInt64, 1, math.MinInt64},
	} {
		if got := test.t.Sub(test.u); got != test.want {
			t.Errorf("from %d to %d: got %d ns, want %d ns", test.u, test.t, got, test.want)
		}
	}
}
