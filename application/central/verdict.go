package central

import (
	"errors"
	"slices"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// verdict says that an input did nothing, and by which rule. The zero verdict is that of
// an input that did something.
type verdict struct {
	rule error
	// refused tells that the input was impossible: it goes to the dead-letter topic.
	refused bool
}

// The rules, as the table in package session has them.
var (
	ignoredRules = []error{
		chargingpoint.ErrNotLater, chargingpoint.ErrUnchanged, chargingpoint.ErrDeadlineGone,
		chargingpoint.ErrNotOccupiedBy, chargingpoint.ErrStopRecent,
		session.ErrNotNewer, session.ErrRunsBackwards, session.ErrClosed, session.ErrAlreadyEnding,
		session.ErrDeadlineGone, session.ErrAlreadyAnswered,
	}
	refusedRules = []error{
		chargingpoint.ErrProof, chargingpoint.ErrUnknownPoint, chargingpoint.ErrScheduleFull,
		session.ErrUnknownSession, session.ErrForeignPoint, session.ErrForeignDriver,
		domain.ErrOutOfRange, domain.ErrID, ErrUnknownAction, ErrIncomplete,
	}
)

// Rules are the rules by which an input is ignored, and those by which a record is refused:
// what Ignored counts is one of the first, a message.RejectedError one of the second or
// eventlog.ErrDamaged.
func Rules() (ignored, refused []error) {
	return slices.Clone(ignoredRules), slices.Clone(refusedRules)
}

// judge turns a command's error into a verdict; an error that is no rule's is handed back.
func judge(err error) (verdict, error) {
	if err == nil {
		return verdict{}, nil
	}
	for _, rule := range refusedRules {
		if errors.Is(err, rule) {
			return verdict{rule: err, refused: true}, nil
		}
	}
	for _, rule := range ignoredRules {
		if errors.Is(err, rule) {
			return verdict{rule: rule}, nil
		}
	}
	return verdict{}, err
}
