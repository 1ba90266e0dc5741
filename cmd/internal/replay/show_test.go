package replay

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"evcharging/application/audit"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// lookBackOn is what a look back on the log that an earlier version wrote prints.
func lookBackOn(t *testing.T, at domain.UnixMillis, json bool, do func(p *program.Process, c PastConfig) error) (string, error) {
	t.Helper()
	zone := time.Local
	time.Local = time.UTC
	defer func() { time.Local = zone }()
	return run(t, "", func(p *program.Process) error {
		return do(p, PastConfig{Source: filepath.Join(oldLogs, "v2.jsonl"), At: at, JSON: json})
	})
}

const corrected = domain.SessionID("6a7a75f6-fd5d-543c-a18b-6acd20a9d530")

func TestALookBack(t *testing.T) {
	commands := map[string]func(p *program.Process, c PastConfig) error{
		"show_points":  func(p *program.Process, c PastConfig) error { return ShowPoints(t.Context(), p, c) },
		"show_point":   func(p *program.Process, c PastConfig) error { return ShowPoint(t.Context(), p, c, "CP-1") },
		"show_session": func(p *program.Process, c PastConfig) error { return ShowSession(t.Context(), p, c, corrected) },
		"show_driver":  func(p *program.Process, c PastConfig) error { return ShowDriver(t.Context(), p, c, "D-7") },
		"why_point":    func(p *program.Process, c PastConfig) error { return WhyPoint(t.Context(), p, c, "CP-1", false) },
		"why_session":  func(p *program.Process, c PastConfig) error { return WhySession(t.Context(), p, c, corrected, false) },
		"why_all":      func(p *program.Process, c PastConfig) error { return WhyPoint(t.Context(), p, c, "CP-1", true) },
	}
	var text strings.Builder
	for _, c := range []struct {
		name string
		at   domain.UnixMillis
		json bool
	}{
		{"show_points", 0, false},
		{"show_points", firstAt, false},
		{"show_points", firstAt, true},
		{"show_point", firstAt, false},
		{"show_point", firstAt, true},
		{"show_session", firstAt - 1, false},
		{"show_session", 0, false},
		{"show_session", firstAt, true},
		{"show_driver", firstAt, false},
		{"show_driver", 0, false},
		{"show_driver", firstAt, true},
		{"why_point", firstAt, false},
		{"why_all", firstAt, false},
		{"why_point", firstAt, true},
		{"why_session", 0, false},
		{"why_session", firstAt, true},
	} {
		printed, err := lookBackOn(t, c.at, c.json, commands[c.name])
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.json {
			var value any
			if err := json.Unmarshal([]byte(printed), &value); err != nil {
				t.Errorf("%s is no JSON: %v", c.name, err)
			}
		}
		text.WriteString("== " + c.name + " " + c.at.String() + "\n" + printed)
	}
	golden := filepath.Join("testdata", "past.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text.String() != string(want) {
		t.Errorf("it prints what is not in %s (-update writes it anew):\n%s", golden, text.String())
	}
}

func TestALookBackOnWhatIsNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		at   domain.UnixMillis
		do   func(p *program.Process, c PastConfig) error
		want error
	}{
		"before the log": {1, func(p *program.Process, c PastConfig) error { return ShowPoints(t.Context(), p, c) }, audit.ErrNotBegun},
		"no point":       {0, func(p *program.Process, c PastConfig) error { return ShowPoint(t.Context(), p, c, "CP-0") }, audit.ErrNoPoint},
		"no session":     {0, func(p *program.Process, c PastConfig) error { return ShowSession(t.Context(), p, c, "S-0") }, audit.ErrNoSession},
		"no session yet": {1, func(p *program.Process, c PastConfig) error { return WhySession(t.Context(), p, c, corrected, true) }, audit.ErrNoSession},
		"no session's id": {0, func(p *program.Process, c PastConfig) error {
			return ShowSession(t.Context(), p, c, "S 0")
		}, domain.ErrID},
		"no log": {0, func(p *program.Process, c PastConfig) error {
			c.Source = filepath.Join(t.TempDir(), "none")
			return ShowPoints(t.Context(), p, c)
		}, ErrNoLog},
	} {
		if printed, err := lookBackOn(t, c.at, false, c.do); !errors.Is(err, c.want) || printed != "" {
			t.Errorf("%s: %v, it prints %q", name, err, printed)
		}
	}
	// Of nobody there is nothing, which is an answer.
	printed, err := lookBackOn(t, firstAt, false, func(p *program.Process, c PastConfig) error { return ShowDriver(t.Context(), p, c, "D-0") })
	if err != nil || printed != "D-0 has asked for nothing until 2027-01-15 08:00:21 UTC\n" {
		t.Errorf("%v, it prints %q", err, printed)
	}
}

func TestALookBackBeyondTheEndSaysSo(t *testing.T) {
	var said strings.Builder
	end, err := lookBackOn(t, 0, false, func(p *program.Process, c PastConfig) error { return ShowPoints(t.Context(), p, c) })
	if err != nil {
		t.Fatal(err)
	}
	later, err := lookBackOn(t, secondAt.Add(1000*time.Hour), false, func(p *program.Process, c PastConfig) error {
		p.Stderr = &said
		return ShowPoints(t.Context(), p, c)
	})
	if err != nil || later != end || !strings.Contains(said.String(), "the event log ends at ") {
		t.Errorf("%v, it says %s, shows\n%s", err, said.String(), later)
	}
}

func TestALookBackOnADamagedLog(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(oldLogs, "v2.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		if strings.Contains(line, "SupplyEnded") && strings.Contains(line, string(corrected)) {
			lines[i] = line[:len(line)/2] + "\n"
		}
	}
	var said strings.Builder
	printed, err := run(t, strings.Join(lines, ""), func(p *program.Process) error {
		p.Stderr = &said
		return ShowPoints(t.Context(), p, PastConfig{Source: "-"})
	})
	if !errors.Is(err, ErrIncomplete) || !strings.Contains(printed, "can't be read") || !strings.Contains(printed, "CP-1") || !strings.Contains(said.String(), " of standard input") {
		t.Errorf("%v, it says %s, shows\n%s", err, said.String(), printed)
	}
}
