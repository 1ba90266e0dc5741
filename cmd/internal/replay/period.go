package replay

import (
	"errors"

	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// ErrPeriod tells of a period that ends before it begins.
var ErrPeriod = errors.New("--to has to be later than --from")

// checkPeriod is ErrPeriod, as one of usage, where nothing is between two instants; a to of 0 is
// without end.
func checkPeriod(from, to domain.UnixMillis) error {
	if to != 0 && to <= from {
		return program.UsageError(ErrPeriod)
	}
	return nil
}
