package program

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"evcharging/domain"
)

// ErrNoTime tells of a text that names no instant.
var ErrNoTime = errors.New("a time is like 2026-12-01T00:00, of this machine's zone, or 2026-12-01T00:00:00+01:00")

// ErrBeforeAll tells of an instant before all that a network can have recorded.
var ErrBeforeAll = errors.New("a time is after 1970-01-01T00:00:00Z")

// timeForms are how an instant may be typed: RFC 3339, also without its seconds, and
// without a zone; or a day.
var timeForms = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly}

// ParseInstant reads an instant as people type it; one without a zone is of this machine's.
// ErrNoTime where it is none, ErrBeforeAll where it is not after 1970-01-01T00:00:00Z: that instant stands for
// none that was given.
func ParseInstant(text string) (domain.UnixMillis, error) {
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, strings.ToUpper(text), time.Local); err == nil {
			at := domain.At(t)
			if at <= 0 {
				return 0, fmt.Errorf("%w: %q", ErrBeforeAll, text)
			}
			return at, nil
		}
	}
	return 0, fmt.Errorf("%w: %q", ErrNoTime, text)
}

// FormatInstant is an instant for people, in this machine's zone, to the second.
func FormatInstant(t domain.UnixMillis) string {
	return t.Time().Local().Format("2006-01-02 15:04:05 MST")
}
