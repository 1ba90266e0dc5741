package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evcharging/adapters/tcp"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// line runs a command line and gives its exit status and what it printed.
func line(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var stdout, stderr bytes.Buffer
	status = program.Main("ev-cp-m", "Watches over a charging point.", &commandLine{}, args, strings.NewReader(""), &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

// full is a command line as the reference has it, and more.
func full(more ...string) []string {
	return append([]string{
		"--id", "CP-001", "--engine-host", "127.0.0.1", "--engine-port", "1", "--central-host", "127.0.0.1", "--central-port", "1",
		"--kafka", "127.0.0.1:1",
	}, more...)
}

func TestGivenABadFlagThenItSaysWhatIsWrongAndExitsWith2(t *testing.T) {
	empty, two := filepath.Join(t.TempDir(), "empty"), filepath.Join(t.TempDir(), "two")
	for path, text := range map[string]string{empty: "\n", two: "CP-001 a\nCP-002 b\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, given := range map[string]struct {
		args  []string
		words string
	}{
		"nothing":                      {nil, "--engine-host"},
		"no Engine":                    {full()[6:], "--engine-host"},
		"an impossible id":             {full("--id", "CP 1"), "an id is 1 to 64 characters"},
		"no port":                      {full("--engine-port", "0"), "--engine-port"},
		"a price beyond":               {full("--price", "1001"), "--price"},
		"a negative price":             {full("--price=-1"), "--price"},
		"a location of two lines":      {full("--location", "La\nVila"), "--location"},
		"a location that is too long":  {full("--location", strings.Repeat("x", 257)), "at most 256 bytes"},
		"a lease that is too short":    {full("--lease", "2s"), "--lease"},
		"a lease that is too long":     {full("--lease", "2h"), "--lease"},
		"a secret file that is not":    {full("--secret-file", "nowhere"), "--secret-file"},
		"an empty secret":              {full("--secret-file", empty), "should hold one line"},
		"a secrets file of many lines": {full("--secret-file", two), "should hold one line"},
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
		"--engine-host", "--engine-port", "--central-host", "--central-port", "default Unknown",
		"in EUR per kWh (default 0.30, $DEFAULT_PRICE_EUR_KWH)", "$CP_SECRET_FILE", "default 15s",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("help has no %q: %s", want, out)
		}
	}
	if status != program.StatusOK {
		t.Fatalf("status %d", status)
	}
}

type secrets map[domain.PointID]string

func (s secrets) Secret(p domain.PointID) (string, bool) {
	secret, ok := s[p]
	return secret, ok
}

func TestGivenACentralThatDeniesThePointThenItExitsWith1(t *testing.T) {
	central, err := tcp.ServeAuthentication("127.0.0.1:0", secrets{"CP-001": "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	defer central.Close()
	_, port, _ := strings.Cut(central.Addr(), ":")
	wrong := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(wrong, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for words, args := range map[string][]string{
		"Central denies the point: the secret is not that of this point": {"--secret-file", wrong},
		"give it with --secret-file":                                     nil,
	} {
		status, _, errs := line(t, full(append(args, "--central-port", port)...)...)
		if status != program.StatusFailure || !strings.Contains(errs, "ev-cp-m: ") || !strings.Contains(errs, words) || strings.Contains(errs, "s3cret") {
			t.Fatalf("status %d: %s", status, errs)
		}
	}
}
