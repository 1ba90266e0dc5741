package chargingpoint

import (
	"time"

	"evcharging/domain"
)

// ProofTolerance is how far a proof's time may lie from its record's.
const ProofTolerance = 5 * time.Minute

// Proof is what is known of a registration's proof.
type Proof struct {
	// Required tells that Central knows a secret for the point.
	Required bool
	// Valid tells that the proof was made with it.
	Valid bool
	// At is the time that it was made for.
	At domain.UnixMillis
}

// Register takes what the point says of itself. It records PointRegistered where
// that is new. ErrProof where the proof is missing, wrong, too far from the
// record's time, or not later than the last one accepted; ErrNotLater where a
// later registration is known; ErrUnchanged where it says nothing new.
func (p *Point) Register(now domain.UnixMillis, location string, price domain.MicroEurosPerKWh, recordedAt domain.UnixMillis, proof Proof) error {
	if proof.Required {
		distance := proof.At.Sub(recordedAt).Abs()
		if !proof.Valid || distance > ProofTolerance {
			return ErrProof
		}
	}
	if r := p.registration; r != nil {
		switch {
		case recordedAt < r.RecordedAt:
			return ErrNotLater
		case r.Location == location && r.Price == price:
			return ErrUnchanged
		case proof.Required && proof.At <= r.ProofAt:
			return ErrProof
		}
	}
	proofAt := proof.At
	if !proof.Required {
		proofAt = 0
	}
	p.record(now, PointRegistered{Location: location, Price: price, RecordedAt: recordedAt, ProofAt: proofAt})
	return nil
}
