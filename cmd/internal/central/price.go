package central

import (
	"errors"
	"fmt"
	"strings"

	"evcharging/application/message"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

var (
	errPriceTyped = errors.New("a price that counts later is typed like this: price CP-001 0.42 from 2026-12-01T00:00")
	// ErrPassed tells of a price that is to count from an instant that has passed: nothing that
	// was granted since would change.
	ErrPassed = errors.New("has passed: leave the time out for a price that counts at once")
)

// PriceControl is the record that asks for a price, as it was typed: EUR per kWh, or auto for
// the point's own; and from when it counts, 0 for at once. ErrPassed, and errors that say
// what a price is.
func PriceControl(price string, from, now domain.UnixMillis) (message.Control, error) {
	c := message.Control{Action: message.ActionPrice, From: from}
	if !strings.EqualFold(price, "auto") {
		eur, err := domain.ParsePrice(price)
		if err != nil {
			return c, fmt.Errorf("a price is a number of EUR per kWh, or auto: %w", err)
		}
		c.Price = &eur
	}
	if from != 0 && from <= now {
		return c, fmt.Errorf("%s %w", program.FormatInstant(from), ErrPassed)
	}
	return c, nil
}
