package domain

import (
	"math"
	"time"
)

// UnixMillis is an instant: milliseconds since 1970 in UTC. Zero means "not known".
type UnixMillis int64

// At is the instant of a time, cut to the millisecond.
func At(t time.Time) UnixMillis { return UnixMillis(t.UnixMilli()) }

// Add is the instant d later, d cut to the millisecond.
func (t UnixMillis) Add(d time.Duration) UnixMillis { return t + UnixMillis(d.Milliseconds()) }

// Sub is the time from u to t. Instants that are further apart than a Duration holds
// (292 years: somebody's clock is wrong) are as far apart as it can say.
func (t UnixMillis) Sub(u UnixMillis) time.Duration {
	const most = math.MaxInt64 / int64(time.Millisecond)
	apart := int64(t) - int64(u)
	switch {
	case t >= u && (apart < 0 || apart > most):
		return math.MaxInt64
	case t < u && (apart > 0 || apart < -most):
		return math.MinInt64
	}
	return time.Duration(apart) * time.Millisecond
}

// Time is the instant in UTC.
func (t UnixMillis) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// String is the instant in RFC 3339 with milliseconds, or "-" where it is not known.
func (t UnixMillis) String() string {
	if t == 0 {
		return "-"
	}
	return t.Time().Format("2006-01-02T15:04:05.000Z07:00")
}
