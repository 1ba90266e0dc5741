package central

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"evcharging/application/message"
	"evcharging/domain"
)

var (
	errPriceTyped = errors.New("a price that counts later is typed like this: price CP-001 0.42 from 2026-12-01T00:00")
	// ErrPassed tells of a price that is to count from an instant that has passed: nothing that
	// was granted since would change.
	ErrPassed = errors.New("has passed: leave the time out for a price that counts at once")
	// ErrNoTime tells of a text that names no instant.
	ErrNoTime = errors.New("a time is like 2026-12-01T00:00, here, or 2026-12-01T00:00:00+01:00")
)

// timeForms are how an instant may be typed: RFC 3339, also without its seconds, and without
// a zone for this machine's time.
var timeForms = []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly}

// PriceControl is the record that asks for a price, as it was typed: EUR per kWh, or auto for
// the point's own; and from when it counts, empty for at once. ErrPassed, ErrNoTime, and
// errors that say what a price is.
func PriceControl(price, from string, now domain.UnixMillis) (message.Control, error) {
	c := message.Control{Action: message.ActionPrice}
	if !strings.EqualFold(price, "auto") {
		eur, err := domain.ParsePrice(price)
		if err != nil {
			return c, fmt.Errorf("a price is a number of EUR per kWh, or auto: %w", err)
		}
		c.Price = &eur
	}
	if from == "" {
		return c, nil
	}
	for _, form := range timeForms {
		t, err := time.ParseInLocation(form, strings.ToUpper(from), time.Local)
		if err != nil {
			continue
		}
		if c.From = domain.At(t); c.From <= now {
			return c, fmt.Errorf("%s %w", t.Format("2006-01-02 15:04:05 MST"), ErrPassed)
		}
		return c, nil
	}
	return c, fmt.Errorf("%w: %q", ErrNoTime, from)
}
