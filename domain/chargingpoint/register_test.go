package chargingpoint_test

import (
	"testing"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

func register(now domain.UnixMillis, location string, price domain.MicroEurosPerKWh, recordedAt domain.UnixMillis, proof chargingpoint.Proof) func(*point) error {
	return func(p *point) error { return p.Register(now, location, price, recordedAt, proof) }
}

var open chargingpoint.Proof // an open network asks for none

func TestRegister(t *testing.T) {
	s := given(t).
		When(noon+5, register(noon+5, "Plaza Mayor 1", 300_000, noon, open)).
		Then(chargingpoint.PointRegistered{Location: "Plaza Mayor 1", Price: 300_000, RecordedAt: noon})
	if !s.Live.Known() || s.Live.Price() != 300_000 || s.Live.UpdatedAt() != noon+5 {
		t.Errorf("after it: known %t, price %s, updated at %s", s.Live.Known(), s.Live.Price(), s.Live.UpdatedAt())
	}
}

func TestRegisterAnew(t *testing.T) {
	for name, test := range map[string]struct {
		location   string
		price      domain.MicroEurosPerKWh
		recordedAt domain.UnixMillis
		want       error
	}{
		"another location":                {"Plaza Mayor 2", 300_000, noon + 1, nil},
		"another price":                   {"Plaza Mayor 1", 450_000, noon + 1, nil},
		"at the same instant, later read": {"Plaza Mayor 1", 450_000, noon, nil},
		"the same, redelivered":           {"Plaza Mayor 1", 300_000, noon, chargingpoint.ErrUnchanged},
		"the same, a minute later":        {"Plaza Mayor 1", 300_000, noon + minute, chargingpoint.ErrUnchanged},
		"another, but older":              {"Plaza Mayor 1", 450_000, noon - 1, chargingpoint.ErrNotLater},
		"the same, but older":             {"Plaza Mayor 1", 300_000, noon - 1, chargingpoint.ErrNotLater},
		"another, by a clock from 1970":   {"Plaza Mayor 1", 450_000, 1, chargingpoint.ErrNotLater},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, ready).When(noon+hour, register(noon+hour, test.location, test.price, test.recordedAt, open))
			if test.want != nil {
				s.ThenError(test.want)
				return
			}
			s.Then(chargingpoint.PointRegistered{Location: test.location, Price: test.price, RecordedAt: test.recordedAt})
		})
	}
}

// Anyone's registration used to end or reprice a running session.
func TestRegisterInASessionChangesNothingOfIt(t *testing.T) {
	s := given(t, busy).
		When(noon+minute, register(noon+minute, "Plaza Mayor 1", 900_000, noon+minute, open)).
		Then(chargingpoint.PointRegistered{Location: "Plaza Mayor 1", Price: 900_000, RecordedAt: noon + minute})
	if s.Live.State() != chargingpoint.Supplying {
		t.Errorf("the point is %s", s.Live.State())
	}
	if o, _ := s.Live.Occupied(); o.Session != "S-1" {
		t.Errorf("the point is %+v's", o)
	}
}

func TestRegisterWithProof(t *testing.T) {
	proof := func(at domain.UnixMillis) chargingpoint.Proof {
		return chargingpoint.Proof{Required: true, Valid: true, At: at}
	}
	invalid := chargingpoint.Proof{Required: true, At: noon + minute}
	proven := registered
	proven.ProofAt = noon - second
	before := []past{at(noon, proven)}
	for name, test := range map[string]struct {
		history []past
		price   domain.MicroEurosPerKWh
		proof   chargingpoint.Proof
		want    error
		proofAt domain.UnixMillis
	}{
		"the first":                         {nil, 300_000, proof(noon + minute), nil, noon + minute},
		"none":                              {nil, 300_000, chargingpoint.Proof{Required: true}, chargingpoint.ErrProof, 0},
		"wrong":                             {nil, 300_000, invalid, chargingpoint.ErrProof, 0},
		"wrong, and nothing new":            {before, 300_000, invalid, chargingpoint.ErrProof, 0},
		"five minutes old":                  {nil, 300_000, proof(noon - 4*minute), nil, noon - 4*minute},
		"more than five minutes old":        {nil, 300_000, proof(noon - 4*minute - 1), chargingpoint.ErrProof, 0},
		"five minutes ahead":                {nil, 300_000, proof(noon + 6*minute), nil, noon + 6*minute},
		"more than five minutes ahead":      {nil, 300_000, proof(noon + 6*minute + 1), chargingpoint.ErrProof, 0},
		"of 1970":                           {nil, 300_000, proof(1), chargingpoint.ErrProof, 0},
		"of the year 2610":                  {nil, 300_000, proof(noon + minute + 18_446_744_073_710), chargingpoint.ErrProof, 0},
		"later than the last":               {before, 450_000, proof(noon), nil, noon},
		"used already, for something else":  {before, 450_000, proof(noon - second), chargingpoint.ErrProof, 0},
		"earlier than the last":             {before, 450_000, proof(noon - 2*second), chargingpoint.ErrProof, 0},
		"used already, and nothing new":     {before, 300_000, proof(noon - second), chargingpoint.ErrUnchanged, 0},
		"the first that the point needed":   {[]past{ready}, 450_000, proof(noon), nil, noon},
		"given where none is asked for":     {before, 450_000, chargingpoint.Proof{At: noon + minute, Valid: true}, nil, 0},
		"wrong where none is asked for too": {before, 450_000, chargingpoint.Proof{At: 1}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := given(t, test.history...).When(noon+minute, register(noon+minute, "Plaza Mayor 1", test.price, noon+minute, test.proof))
			if test.want != nil {
				s.ThenError(test.want)
				return
			}
			s.Then(chargingpoint.PointRegistered{Location: "Plaza Mayor 1", Price: test.price, RecordedAt: noon + minute, ProofAt: test.proofAt})
		})
	}
}

// It was true once: a late record is no attack.
func TestRegisterLateWithAnOldProofIsIgnored(t *testing.T) {
	proven := registered
	proven.ProofAt = noon
	given(t, at(noon, proven)).
		When(noon+second, register(noon+second, "Plaza Mayor 2", 300_000, noon-minute, chargingpoint.Proof{Required: true, Valid: true, At: noon - minute})).
		ThenError(chargingpoint.ErrNotLater)
}
