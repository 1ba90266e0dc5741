package domain

import (
	"errors"
	"fmt"
	"regexp"
)

type (
	// PointID names a charging point.
	PointID string
	// DriverID names a driver.
	DriverID string
	// SessionID names a session: one request for a supply and all that follows. Central decides it.
	SessionID string
	// RequestID names a driver's request; empty where the request came without one.
	RequestID string
	// TicketID names a session's ticket. Central decides it.
	TicketID string
)

// Order is the number of an order to a point. It grows with every order; 0 is none.
type Order int64

// ErrID tells of an identifier that is not 1 to 64 characters of [A-Za-z0-9._:-].
var ErrID = errors.New("an id is 1 to 64 characters of A-Z, a-z, 0-9, '.', '_', ':' and '-'")

var idForm = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

// CheckID is nil where id has the form that the contract asks of every identifier, else ErrID.
func CheckID[T ~string](id T) error {
	if !idForm.MatchString(string(id)) {
		return fmt.Errorf("%w: %q", ErrID, clip(string(id)))
	}
	return nil
}
