package notary

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/session"
)

// proofFormat is the format of a proof's file.
const proofFormat = "evcharging proof 1"

// ErrProofFile tells of a file that is no proof, or not written as a proof is.
var ErrProofFile = errors.New("the file is no proof as it was exported")

// proofShape is a proof's file, field by field in their order.
type proofShape struct {
	Format  string           `json:"format"`
	Network uuid.UUID        `json:"network"`
	Session domain.SessionID `json:"session"`
	Bill    billShape        `json:"bill"`
	Parts   []string         `json:"parts"`
	Leaf    int64            `json:"leaf"`
	Path    []string         `json:"path"`
	Note    string           `json:"note"`
}

type billShape struct {
	Ticket    domain.TicketID         `json:"ticket"`
	Revision  int                     `json:"revision"`
	Point     domain.PointID          `json:"point"`
	Driver    domain.DriverID         `json:"driver"`
	StartedAt domain.UnixMillis       `json:"started_at"`
	EndedAt   domain.UnixMillis       `json:"ended_at"`
	Energy    domain.MilliwattHours   `json:"energy_mwh"`
	Price     domain.MicroEurosPerKWh `json:"price_micro_eur_kwh"`
	Amount    domain.MicroEuros       `json:"amount_micro_eur"`
	Reason    string                  `json:"reason"`
	Digest    string                  `json:"digest"`
}

// EncodeProof is a proof's file: the same proof gives the same bytes.
func EncodeProof(p audit.Proof) ([]byte, error) {
	b := p.Bill
	shape := proofShape{
		Format: proofFormat, Network: p.Network, Session: p.Session,
		Bill: billShape{
			b.ID, b.Revision, b.Point, b.Driver, b.StartedAt, b.EndedAt, b.Energy, b.Price, b.Amount, b.Reason,
			hex.EncodeToString(b.Digest[:]),
		},
		Parts: p.Parts, Leaf: p.Leaf, Path: []string{}, Note: p.Note,
	}
	for _, h := range p.Path {
		shape.Path = append(shape.Path, h.String())
	}
	text, err := json.Marshal(shape)
	if err != nil {
		return nil, fmt.Errorf("write a proof: %w", err)
	}
	return append(text, '\n'), nil
}

// DecodeProof reads a proof's file. ErrProofFile where it is none, or differs in any byte
// from what EncodeProof writes.
func DecodeProof(text []byte) (audit.Proof, error) {
	var s proofShape
	if err := json.Unmarshal(text, &s, json.RejectUnknownMembers(true)); err != nil {
		return audit.Proof{}, fmt.Errorf("%w: %w", ErrProofFile, err)
	}
	if s.Format != proofFormat {
		return audit.Proof{}, fmt.Errorf("%w: its format is %q, and not %q", ErrProofFile, s.Format, proofFormat)
	}
	p := audit.Proof{Network: s.Network, Session: s.Session, Parts: s.Parts, Leaf: s.Leaf, Note: s.Note}
	p.Bill = audit.Bill{
		Ticket: session.Ticket{
			ID: s.Bill.Ticket, Revision: s.Bill.Revision, StartedAt: s.Bill.StartedAt, EndedAt: s.Bill.EndedAt,
			Energy: s.Bill.Energy, Price: s.Bill.Price, Amount: s.Bill.Amount, Reason: s.Bill.Reason,
		},
		Point: s.Bill.Point, Driver: s.Bill.Driver,
	}
	digest, err := hex.DecodeString(s.Bill.Digest)
	if err == nil && len(digest) == len(p.Bill.Digest) {
		p.Bill.Digest = eventlog.Hash(digest)
	}
	for _, h := range s.Path {
		hash, err := tlog.ParseHash(h)
		if err != nil {
			return audit.Proof{}, fmt.Errorf("%w: %w", ErrProofFile, err)
		}
		p.Path = append(p.Path, hash)
	}
	again, err := EncodeProof(p)
	if err != nil || !bytes.Equal(again, text) {
		return audit.Proof{}, fmt.Errorf("%w: it was changed, if only in its spaces", ErrProofFile)
	}
	return p, nil
}
