package program_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// commandLine is a binary with a role and a command, as the real ones are.
type commandLine struct {
	program.Common
	Serve serve `cmd:"" default:"withargs"`
	Stop  stop  `cmd:"" help:"Stop a point."`
}

type serve struct {
	ID    domain.PointID          `required:"" placeholder:"ID" help:"The point's id."`
	Price domain.MicroEurosPerKWh `env:"TEST_PRICE" default:"0.30" placeholder:"EUR" help:"Price in EUR per kWh."`
	Port  int                     `env:"TEST_PORT" default:"7000" min:"1" max:"65535" help:"Port to listen on."`
	Lease time.Duration           `env:"TEST_LEASE" default:"15s" min:"3s" max:"1h" placeholder:"SECONDS" help:"How long a report is a sign of life, in seconds."`

	run func(context.Context, *program.Process) error
}

func (s *serve) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	if s.run != nil {
		return s.run(ctx, p)
	}
	_, err := fmt.Fprintln(p.Stdout, "serve", s.ID, s.Price, s.Port, s.Lease, c.Kafka, c.LogLevel)
	return err
}

type stop struct {
	Point domain.PointID `arg:"" help:"The point."`
	By    string         `default:"operator" help:"Who stops it."`
}

func (s *stop) Run(p *program.Process, c *commandLine) error {
	_, err := fmt.Fprintln(p.Stdout, "stop", s.Point, s.By, c.Kafka)
	return err
}

type outcome struct {
	status         int
	stdout, stderr string
}

func run(line any, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	status := program.Main("ev-test", "Tests the network.", line, args, strings.NewReader(""), &stdout, &stderr)
	return outcome{status, stdout.String(), stderr.String()}
}

// inFolder gives a test a current directory of its own, with these lines in .env,
// and an environment without the variables of the programs.
func inFolder(t *testing.T, dotenv string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range []string{"KAFKA_BOOTSTRAP_SERVERS", "LOG_LEVEL", "TEST_PRICE", "TEST_PORT", "TEST_LEASE", "COMP_LINE"} {
		t.Setenv(name, "")
	}
	if dotenv != "" {
		if err := os.WriteFile(".env", []byte(dotenv), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFlagBeforeEnvironmentBeforeFileBeforeDefault(t *testing.T) {
	const file = "# the network\nKAFKA_BOOTSTRAP_SERVERS=file:9092  # <--- change\nexport TEST_PORT=7002\nLOG_LEVEL=ERROR\n"
	tests := map[string]struct {
		dotenv string
		env    map[string]string
		args   []string
		want   string
	}{
		"defaults":                       {want: "serve CP-1 0.3 7000 15s [127.0.0.1:9092] INFO"},
		".env":                           {dotenv: file, want: "serve CP-1 0.3 7002 15s [file:9092] ERROR"},
		"the environment before .env":    {dotenv: file, env: map[string]string{"KAFKA_BOOTSTRAP_SERVERS": "a:1, b:2", "LOG_LEVEL": "warning"}, want: "serve CP-1 0.3 7002 15s [a:1 b:2] WARN"},
		"a flag before the environment":  {dotenv: file, env: map[string]string{"KAFKA_BOOTSTRAP_SERVERS": "a:1"}, args: []string{"--kafka", "[::1]:9,c:3"}, want: "serve CP-1 0.3 7002 15s [[::1]:9 c:3] ERROR"},
		"a flag before a bad variable":   {env: map[string]string{"TEST_PORT": "no"}, args: []string{"--port=7003"}, want: "serve CP-1 0.3 7003 15s [127.0.0.1:9092] INFO"},
		"an empty variable is none":      {dotenv: file, env: map[string]string{"TEST_PORT": ""}, want: "serve CP-1 0.3 7002 15s [file:9092] ERROR"},
		"seconds are a number":           {env: map[string]string{"TEST_LEASE": "20", "TEST_PRICE": "0"}, want: "serve CP-1 0 7000 20s [127.0.0.1:9092] INFO"},
		"or have a unit":                 {args: []string{"--lease=2m"}, want: "serve CP-1 0.3 7000 2m0s [127.0.0.1:9092] INFO"},
		"the role may be named":          {args: []string{"serve"}, want: "serve CP-1 0.3 7000 15s [127.0.0.1:9092] INFO"},
		"a variable of another's choice": {env: map[string]string{"LOG_LEVEL": "DEBUG"}, want: "serve CP-1 0.3 7000 15s [127.0.0.1:9092] DEBUG"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inFolder(t, test.dotenv)
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			got := run(&commandLine{}, append(test.args, "--id", "CP-1")...)
			if want := (outcome{0, test.want + "\n", ""}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestDotenvLeavesTheEnvironmentAlone(t *testing.T) {
	inFolder(t, "TEST_PORT=7002\n")
	run(&commandLine{}, "--id=CP-1")
	if port := os.Getenv("TEST_PORT"); port != "" {
		t.Errorf("TEST_PORT is %q", port)
	}
}

func TestCommandsBesideTheRole(t *testing.T) {
	inFolder(t, "")
	for _, args := range [][]string{
		{"stop", "CP-1", "--kafka", "a:1"},
		{"--kafka", "a:1", "stop", "CP-1"},
		{"stop", "--by=operator", "--kafka=a:1", "CP-1"},
	} {
		if got, want := run(&commandLine{}, args...), (outcome{0, "stop CP-1 operator [a:1]\n", ""}); got != want {
			t.Errorf("%q: got %+v, want %+v", args, got, want)
		}
	}
}

func TestBadUsageIsOneSentenceAndStatus2(t *testing.T) {
	tests := map[string]struct {
		dotenv string
		env    map[string]string
		args   []string
		want   string
	}{
		"nothing":                   {args: nil, want: "missing flags: --id=ID"},
		"an unknown flag":           {args: []string{"--id=A", "--prot=1"}, want: `unknown flag --prot, did you mean "--port"?`},
		"an unknown word":           {args: []string{"--id=A", "halt"}, want: "unexpected argument halt"},
		"a command without its arg": {args: []string{"stop"}, want: `expected "<point>"`},
		"a bad id":                  {args: []string{"--id=A B"}, want: `--id: an id is 1 to 64 characters of A-Z, a-z, 0-9, '.', '_', ':' and '-': "A B"`},
		"an empty id":               {args: []string{"--id="}, want: `--id: an id is 1 to 64 characters`},
		"a bad argument":            {args: []string{"stop", "ä"}, want: `<point>: an id is 1 to 64 characters`},
		"a price below 0":           {args: []string{"--id=A", "--price=-0.01"}, want: "--price: out of range: -0.01 is negative (a price is EUR per kWh, 0 to 1000)"},
		"an absurd price":           {args: []string{"--id=A", "--price=1000.01"}, want: "--price: out of range: 1000.01 is more than 1000"},
		"a price that is none":      {args: []string{"--id=A", "--price=0,30"}, want: `--price: not a decimal number: "0,30"`},
		"a port of 0":               {args: []string{"--id=A", "--port=0"}, want: "--port: 0 is not between 1 and 65535"},
		"a negative port":           {args: []string{"--id=A", "--port=-1"}, want: "--port: -1 is not between 1 and 65535"},
		"a port too far":            {args: []string{"--id=A", "--port=65536"}, want: "--port: 65536 is not between 1 and 65535"},
		"a port that is none":       {args: []string{"--id=A", "--port=http"}, want: `--port: "http" is no whole number that a program can hold`},
		"a huge port":               {args: []string{"--id=A", "--port=99999999999999999999"}, want: `is no whole number that a program can hold`},
		"a short lease":             {args: []string{"--id=A", "--lease=2"}, want: "--lease: 2s is not between 3s and 1h0m0s"},
		"a lease that is none":      {args: []string{"--id=A", "--lease=soon"}, want: `--lease: "soon" is no number of seconds, nor a length of time such as 90s or 2m`},
		"no port in an address":     {args: []string{"--id=A", "--kafka=broker"}, want: `--kafka: "broker" has no port (an address is host:port)`},
		"no port in one address":    {args: []string{"--id=A", "--kafka=a:1,broker"}, want: `--kafka: "broker" has no port`},
		"no host in an address":     {args: []string{"--id=A", "--kafka=:9092"}, want: `--kafka: ":9092" is no address`},
		"an address's port too big": {args: []string{"--id=A", "--kafka=a:65536"}, want: `--kafka: "a:65536" has no port between 1 and 65535`},
		"no address at all":         {args: []string{"--id=A", "--kafka=,"}, want: "--kafka: there is no address in it"},
		"a bad variable":            {env: map[string]string{"TEST_PORT": "x"}, args: []string{"--id=A"}, want: `--port: TEST_PORT in the environment: "x" is no whole number`},
		"a bad variable in .env":    {dotenv: "KAFKA_BOOTSTRAP_SERVERS=broker", args: []string{"--id=A"}, want: `--kafka: KAFKA_BOOTSTRAP_SERVERS in .env: "broker" has no port`},
		"a bad log level":           {env: map[string]string{"LOG_LEVEL": "LOUD"}, args: []string{"--id=A"}, want: `LOG_LEVEL in the environment: "LOUD" is none of DEBUG, INFO, WARN and ERROR`},
		"a broken .env":             {dotenv: "KAFKA=\"open", args: []string{"--id=A"}, want: ".env can't be read: "},
		"an unknown shell":          {args: []string{"completion", "csh"}, want: `there is no completion for the shell "csh": name bash, zsh or fish`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inFolder(t, test.dotenv)
			for k, v := range test.env {
				t.Setenv(k, v)
			}
			got := run(&commandLine{}, test.args...)
			if got.status != program.StatusUsage || got.stdout != "" {
				t.Errorf("got status %d and output %q", got.status, got.stdout)
			}
			if !strings.HasPrefix(got.stderr, "ev-test: ") || !strings.Contains(got.stderr, test.want) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("it says %q, want one line with %q", got.stderr, test.want)
			}
		})
	}
}

func TestABadVariableOfAnotherCommandIsNobodysBusiness(t *testing.T) {
	inFolder(t, "")
	t.Setenv("TEST_PORT", "x")
	if got := run(&commandLine{}, "stop", "CP-1"); got.status != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestHelp(t *testing.T) {
	inFolder(t, "")
	for _, flag := range []string{"--help", "-h"} {
		got := run(&commandLine{}, flag)
		if got.status != 0 || got.stderr != "" {
			t.Fatalf("got %+v", got)
		}
		for _, want := range []string{
			"Usage: ev-test --id=ID [flags]\n       ev-test <command>\n",
			"Tests the network.",
			"--port=7000", "Port to listen on (default 7000, $TEST_PORT).",
			"Price in EUR per kWh (default 0.30, $TEST_PRICE).",
			"Addresses of the Kafka broker",
			"127.0.0.1:9092, $KAFKA_BOOTSTRAP_SERVERS",
			"$LOG_LEVEL", "--version", "--help",
			"stop <point>", "Stop a point.",
			"completion [<shell>]",
		} {
			if !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), strings.Join(strings.Fields(want), " ")) {
				t.Errorf("%s does not say %q:\n%s", flag, want, got.stdout)
			}
		}
	}
	got := run(&commandLine{}, "stop", "--help")
	if got.status != 0 || !strings.Contains(got.stdout, "Usage: ev-test stop <point>") || !strings.Contains(got.stdout, "Who stops it (default operator).") {
		t.Errorf("got %+v", got)
	}
}

func TestHelpNamesAlternatives(t *testing.T) {
	inFolder(t, "")
	var line struct {
		program.Common
		Ask struct {
			Driver domain.DriverID `required:"" placeholder:"ID"`
			CP     domain.PointID  `required:"" xor:"points" placeholder:"ID"`
			File   string          `required:"" xor:"points" placeholder:"FILE"`
		} `cmd:"" default:"withargs"`
	}
	if got := run(&line, "--help"); !strings.HasPrefix(got.stdout, "Usage: ev-test --driver=ID (--cp=ID | --file=FILE) [flags]\n") {
		t.Errorf("got %+v", got)
	}
	for args, want := range map[string]string{
		"--driver=D":                 "missing flags: --cp=ID or --file=FILE",
		"--driver=D --cp=A --file=f": "--cp and --file can't be used together",
	} {
		if got := run(&line, strings.Fields(args)...); got.status != 2 || !strings.Contains(got.stderr, want) {
			t.Errorf("%s: got %+v", args, got)
		}
	}
}

func TestVersion(t *testing.T) {
	inFolder(t, "")
	got := run(&commandLine{}, "--version")
	if got.status != 0 || !strings.HasPrefix(got.stdout, "ev-test ") || !strings.Contains(got.stdout, " go1.") || strings.Count(got.stdout, "\n") != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestCompletion(t *testing.T) {
	inFolder(t, "")
	for shell, want := range map[string]string{"bash": "complete -C '", "zsh": "bashcompinit", "fish": "complete -f -c ev-test"} {
		if got := run(&commandLine{}, "completion", shell); got.status != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: got %+v", shell, got)
		}
		t.Setenv("SHELL", "/usr/bin/"+shell)
		if got := run(&commandLine{}, "completion"); got.status != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("the shell %s: got %+v", shell, got)
		}
	}
	for line, want := range map[string][]string{
		"ev-test ":           {"completion", "serve", "stop"},
		"ev-test st":         {"stop"},
		"ev-test --p":        {"--port", "--price"},
		"ev-test --log-":     {"--log-level"},
		"ev-test --kafka-m":  {"--kafka-mechanism"},
		"ev-test stop --b":   {"--by"},
		"ev-test completion": {"completion"},
	} {
		t.Setenv("COMP_LINE", line)
		got := run(&commandLine{})
		words := strings.Fields(got.stdout)
		if got.status != 0 || len(words) != len(want) {
			t.Errorf("%q: got %+v, want %q", line, got, want)
		}
		for _, w := range want {
			if !strings.Contains(got.stdout, w+"\n") {
				t.Errorf("%q: %q is not among %q", line, w, words)
			}
		}
	}
}

func TestExitStatuses(t *testing.T) {
	inFolder(t, "")
	broken := errors.New("the disk is full")
	tests := map[string]struct {
		err  error
		want outcome
	}{
		"done":         {nil, outcome{0, "", ""}},
		"failed":       {broken, outcome{1, "", "ev-test: the disk is full\n"}},
		"two failures": {errors.Join(broken, errors.New("so is the other")), outcome{1, "", "ev-test: the disk is full; so is the other\n"}},
		"bad usage":    {fmt.Errorf("can't start: %w", program.UsageError(broken)), outcome{2, "", "ev-test: the disk is full (ev-test --help explains the command line)\n"}},
		"no bad usage": {program.UsageError(nil), outcome{0, "", ""}},
		// Only a signal makes the end of the context a graceful stop.
		"gave up": {context.Canceled, outcome{1, "", "ev-test: context canceled\n"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			line := &commandLine{}
			line.Serve.run = func(context.Context, *program.Process) error { return test.err }
			if got := run(line, "--id=A"); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestASignalStopsGracefully(t *testing.T) {
	inFolder(t, "")
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		line := &commandLine{}
		line.Serve.run = func(ctx context.Context, p *program.Process) error {
			if err := syscall.Kill(os.Getpid(), signal); err != nil {
				return err
			}
			<-ctx.Done()
			fmt.Fprintln(p.Stdout, "stopped")
			return ctx.Err()
		}
		if got, want := run(line, "--id=A"), (outcome{0, "stopped\n", ""}); got != want {
			t.Errorf("%s: got %+v, want %+v", signal, got, want)
		}
	}
}

func TestLogsAtTheLevelAskedFor(t *testing.T) {
	inFolder(t, "")
	line := &commandLine{}
	line.Serve.run = func(_ context.Context, p *program.Process) error {
		p.Logger.Info("quiet")
		p.Logger.Warn("loud", "point", "CP-1")
		return nil
	}
	got := run(line, "--id=A", "--log-level=WARNING")
	if strings.Contains(got.stderr, "quiet") || !strings.Contains(got.stderr, "level=WARN msg=loud point=CP-1") {
		t.Errorf("it logged %q", got.stderr)
	}
}

func TestLinesForPeople(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(program.NewLineHandler(&out, slog.LevelInfo)).With("point", "CP-1").WithGroup("broker")
	logger.Debug("hidden")
	logger.Warn("the broker is away", "address", "a:1")
	logger.Info("it is back", "level", 3)
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 || !strings.HasSuffix(lines[0], ` WARN the broker is away point=CP-1 broker.address=a:1`) || !strings.HasSuffix(lines[1], " INFO it is back point=CP-1 broker.level=3") {
		t.Errorf("it logged %q", out.String())
	}
}
