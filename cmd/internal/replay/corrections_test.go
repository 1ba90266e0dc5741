package replay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evcharging/adapters/jsonl"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// The log that an earlier version wrote has two corrections.
const (
	firstCorrected  = `session 6a7a75f6-fd5d-543c-a18b-6acd20a9d530 at CP-1 of D-7, revision 1: 0.004 kWh, 0.0012 EUR before, 0.006 kWh, 0.0018 EUR after: 0.0006 EUR more, for a late RECOVERED`
	secondCorrected = `session 058d1531-4fa9-5067-9634-6a5bacde21ee at CP-1 of D-7, revision 1: 2 kWh, 0.9 EUR before, 2.5 kWh, 1.125 EUR after: 0.225 EUR more, for a late RECOVERED`
	firstAt         = domain.UnixMillis(1_800_000_021_000)
	secondAt        = domain.UnixMillis(1_800_000_121_000)
)

func TestCorrections(t *testing.T) {
	file := filepath.Join(oldLogs, "v2.jsonl")
	first, second := fmt.Sprintf("%s  %s\n", firstAt, firstCorrected), fmt.Sprintf("%s  %s\n", secondAt, secondCorrected)
	for name, c := range map[string]struct {
		config CorrectionsConfig
		want   string
	}{
		"all":                 {CorrectionsConfig{}, first + second + "2 corrections, 0.2256 EUR\n"},
		"from an instant on":  {CorrectionsConfig{From: firstAt + 1}, second + "1 correction, 0.225 EUR\n"},
		"before an instant":   {CorrectionsConfig{To: secondAt}, first + "1 correction, 0.0006 EUR\n"},
		"of an empty period":  {CorrectionsConfig{From: firstAt + 1, To: secondAt}, "0 corrections, 0 EUR\n"},
		"for programs, empty": {CorrectionsConfig{From: secondAt + 1, JSON: true}, ""},
		"for programs": {
			CorrectionsConfig{From: secondAt, JSON: true},
			`{"at":"2027-01-15T08:02:01.000Z","session_id":"058d1531-4fa9-5067-9634-6a5bacde21ee","cp_id":"CP-1","driver_id":"D-7","revision":1,` +
				`"kwh_before":2,"kwh_after":2.5,"eur_before":0.9,"eur_after":1.125,"eur_difference":0.225,"reason":"RECOVERED",` +
				`"topic":"ev.supply.done","partition":0,"offset":7,"reported_at":"2027-01-15T08:02:01.000Z"}` + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Source = file
			printed, err := run(t, "", func(p *program.Process) error { return Corrections(t.Context(), p, c.config) })
			if err != nil || printed != c.want {
				t.Errorf("%v, it prints\n%swant\n%s", err, printed, c.want)
			}
		})
	}
	if _, err := run(t, "", func(p *program.Process) error {
		return Corrections(t.Context(), p, CorrectionsConfig{Source: filepath.Join(t.TempDir(), "none")})
	}); !errors.Is(err, ErrNoLog) {
		t.Errorf("of no log: %v", err)
	}
}

func TestCorrectionsOfALogThatCannotAllBeRead(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(oldLogs, "v2.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	// A program of tomorrow wrote an event that this one does not know; its chain is right.
	newer := rechained(t, strings.Replace(string(text), `{"type":"TicketRevised","v":1`, `{"type":"TicketRevised","v":9`, 1))
	printed, err := run(t, newer, func(p *program.Process) error {
		return Corrections(t.Context(), p, CorrectionsConfig{Source: "-"})
	})
	if want := fmt.Sprintf("%s  %s\n1 correction, 0.225 EUR\n", secondAt, secondCorrected); !errors.Is(err, ErrIncomplete) || printed != want {
		t.Errorf("%v, it prints\n%swant\n%s", err, printed, want)
	}
}

// rechained are the lines of a log whose parts' texts were changed, their chains made anew.
func rechained(t *testing.T, text string) string {
	t.Helper()
	heads := map[eventlog.Stream]eventlog.Hash{}
	var out strings.Builder
	for line := range strings.Lines(text) {
		c, err := jsonl.Decode([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Parts {
			p := &c.Parts[i]
			p.Prev = heads[p.Stream]
			p.Hash = p.Sum()
			heads[p.Stream] = p.Hash
		}
		again, err := jsonl.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(again)
	}
	return out.String()
}
