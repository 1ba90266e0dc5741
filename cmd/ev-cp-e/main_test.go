package main

import (
	"bytes"
	"strings"
	"testing"

	"evcharging/cmd/internal/program"
)

// line runs a command line and gives its exit status and what it printed.
func line(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var stdout, stderr bytes.Buffer
	status = program.Main("ev-cp-e", "A charging point.", &commandLine{}, args, strings.NewReader(""), &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

func TestGivenABadFlagThenItSaysWhatIsWrongAndExitsWith2(t *testing.T) {
	for name, given := range map[string]struct {
		args  []string
		words string
	}{
		"no id":                   {nil, "--id"},
		"an impossible id":        {[]string{"--id", "CP 1"}, "an id is 1 to 64 characters"},
		"a port beyond":           {[]string{"--id", "CP-001", "--port", "70000"}, "--port"},
		"an empty battery":        {[]string{"--id", "CP-001", "--battery", "0"}, "more than 0 and at most 9000 kWh"},
		"a battery of words":      {[]string{"--id", "CP-001", "--battery", "big"}, "at most 9000 kWh"},
		"a power beyond":          {[]string{"--id", "CP-001", "--power", "10001"}, "at most 10000 kW"},
		"no power":                {[]string{"--id", "CP-001", "--power", "0"}, "at most 10000 kW"},
		"a speed beyond":          {[]string{"--id", "CP-001", "--speed", "10001"}, "--speed"},
		"a plug of another kind":  {[]string{"--id", "CP-001", "--plug", "maybe"}, "--plug"},
		"a broker without a port": {[]string{"--id", "CP-001", "--kafka", "nowhere"}, "--kafka"},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, errs := line(t, given.args...)
			if status != program.StatusUsage || !strings.Contains(errs, given.words) || strings.Count(errs, "\n") != 1 {
				t.Fatalf("status %d: %s", status, errs)
			}
		})
	}
}

func TestGivenHelpThenEachFlagHasItsUnitAndDefault(t *testing.T) {
	status, out, _ := line(t, "--help")
	words := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{
		"$CP_ENGINE_HOST", "default 7100, $CP_ENGINE_PORT", "default evcharging-journal", "in kWh (default 40)", "in kW; it falls",
		"default auto", "$KAFKA_BOOTSTRAP_SERVERS",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("help has no %q: %s", want, out)
		}
	}
	if status != program.StatusOK {
		t.Fatalf("status %d", status)
	}
}

func TestGivenAPortThatIsTakenThenItSaysSoAndExitsWith1(t *testing.T) {
	status, _, errs := line(t, "--id", "CP-001", "--kafka", "127.0.0.1:1", "--host", "192.0.2.1", "--port", "7100")
	if status != program.StatusFailure || !strings.Contains(errs, "can't listen on 192.0.2.1:7100") {
		t.Fatalf("status %d: %s", status, errs)
	}
}
