package replay

import (
	"errors"
	"strings"
	"testing"

	"evcharging/cmd/internal/program"
)

func TestAPeriodEndsBehindItsBegin(t *testing.T) {
	for name, do := range map[string]func(*program.Process) error{
		"watch": func(p *program.Process) error {
			return Watch(t.Context(), p, WatchConfig{PastConfig: PastConfig{Source: "none", At: 5}, To: 5, Speed: 1})
		},
		"corrections": func(p *program.Process) error {
			return Corrections(t.Context(), p, CorrectionsConfig{Source: "none", From: 5, To: 4})
		},
		"what-if": func(p *program.Process) error {
			return WhatIf(t.Context(), p, WhatIfConfig{Source: "none", Prices: "none", From: 5, To: 5})
		},
	} {
		_, err := run(t, "", do)
		if !errors.Is(err, ErrPeriod) || !strings.HasSuffix(err.Error(), "--to has to be later than --from") {
			t.Errorf("%s: it says %v", name, err)
		}
	}
	for _, c := range []CorrectionsConfig{{From: 5}, {To: 5}, {From: 4, To: 5}, {}} {
		if err := checkPeriod(c.From, c.To); err != nil {
			t.Errorf("from %d to %d: %v", c.From, c.To, err)
		}
	}
}
