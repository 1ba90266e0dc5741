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

// timeForms are how an instant may be typed: RFC 3339, also without its seconds, and
// without a zone; or a day.
var timeForms = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly}

// ParseInstant reads an instant as people type it; one without a zone is of this machine's.
// ErrNoTime where it is none.
func ParseInstant(text string) (domain.UnixMillis, error) {
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, strings.ToUpper(text), time.Local); err == nil {
			return domain.At(t), nil
		}
	}
	return 0, fmt.Errorf("%w: %q", ErrNoTime, text)
}

// FormatInstant is an instant for people, in this machine's zone, to the second.
func FormatInstant(t domain.UnixMillis) string {
	return t.Time().Local().Format("2006-01-02 15:04:05 MST")
}
