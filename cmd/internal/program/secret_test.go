package program_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evcharging/cmd/internal/program"
)

const theSecret = "horse battery staple"

// vault is a binary with every kind of secret.
type vault struct {
	program.Common
	Open open `cmd:"" default:"withargs"`
}

type open struct {
	program.Mongo
	run func(*program.Process, *vault) error
}

func (o *open) Run(_ context.Context, p *program.Process, c *vault) error {
	if err := o.Check(); err != nil {
		return err
	}
	if o.run != nil {
		return o.run(p, c)
	}
	_, err := fmt.Fprintf(p.Stdout, "kafka %q mongo %q %q\n", c.Password.Reveal(), o.URI.Reveal(), o.Password.Reveal())
	return err
}

// inVault gives a test a folder of its own with a file, an environment without the variables
// of secrets, and .env.
func inVault(t *testing.T, env map[string]string, dotenv string) {
	t.Helper()
	inFolder(t, dotenv)
	for _, name := range []string{
		"KAFKA_TLS", "KAFKA_CA", "KAFKA_CERT", "KAFKA_KEY", "KAFKA_USERNAME", "KAFKA_PASSWORD", "KAFKA_MECHANISM",
		"MONGO_URI", "MONGO_USERNAME", "MONGO_PASSWORD",
	} {
		t.Setenv(name, "")
		t.Setenv(name+"_FILE", "")
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	for name, text := range map[string]string{
		"secret": theSecret + "\n", "windows": theSecret + "\r\n", "bare": theSecret, "empty": " \n", "two": "a\nb\n",
		"uri": "mongodb://127.0.0.1:1/db\n", "no-uri": theSecret,
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASecretComesFromAFlagAVariableOrAFile(t *testing.T) {
	kafka := func(password string) string { return fmt.Sprintf("kafka %q mongo \"\" \"\"\n", password) }
	for name, test := range map[string]struct {
		env    map[string]string
		dotenv string
		args   []string
		want   string
	}{
		"none":                        {want: kafka("")},
		"a flag":                      {args: []string{"--kafka-password", theSecret}, want: kafka(theSecret)},
		"spaces belong to it":         {args: []string{"--kafka-password", " x "}, want: kafka(" x ")},
		"a variable":                  {env: map[string]string{"KAFKA_PASSWORD": theSecret}, want: kafka(theSecret)},
		"a file":                      {env: map[string]string{"KAFKA_PASSWORD_FILE": "secret"}, want: kafka(theSecret)},
		"a file from Windows":         {env: map[string]string{"KAFKA_PASSWORD_FILE": "windows"}, want: kafka(theSecret)},
		"a file without a line's end": {env: map[string]string{"KAFKA_PASSWORD_FILE": "bare"}, want: kafka(theSecret)},
		"a file that .env names":      {dotenv: "KAFKA_PASSWORD_FILE=secret\n", want: kafka(theSecret)},
		"the environment's, not .env's": {
			env: map[string]string{"KAFKA_PASSWORD_FILE": "secret"}, dotenv: "KAFKA_PASSWORD_FILE=nowhere\n", want: kafka(theSecret),
		},
		"a flag, whatever the variables": {
			env: map[string]string{"KAFKA_PASSWORD_FILE": "nowhere", "KAFKA_PASSWORD": "x"}, args: []string{"--kafka-password=y"}, want: kafka("y"),
		},
		"MongoDB's": {
			env:  map[string]string{"MONGO_URI_FILE": "uri", "MONGO_PASSWORD_FILE": "secret", "MONGO_USERNAME": "u"},
			want: fmt.Sprintf("kafka \"\" mongo %q %q\n", "mongodb://127.0.0.1:1/db", theSecret),
		},
	} {
		t.Run(name, func(t *testing.T) {
			inVault(t, test.env, test.dotenv)
			if got, want := run(&vault{}, test.args...), (outcome{0, test.want, ""}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestASecretThatCannotBeHad(t *testing.T) {
	for name, test := range map[string]struct {
		env    map[string]string
		dotenv string
		args   []string
		want   string
	}{
		"both": {
			env:  map[string]string{"KAFKA_PASSWORD": theSecret, "KAFKA_PASSWORD_FILE": "secret"},
			want: "--kafka-password: KAFKA_PASSWORD in the environment and KAFKA_PASSWORD_FILE in the environment are both set: set one of them",
		},
		"both, in two places": {
			env: map[string]string{"MONGO_URI": "mongodb://u:" + theSecret + "@h"}, dotenv: "MONGO_URI_FILE=uri\n",
			want: "--mongo: MONGO_URI in the environment and MONGO_URI_FILE in .env are both set: set one of them",
		},
		"no file":         {env: map[string]string{"KAFKA_PASSWORD_FILE": "nowhere"}, want: "--kafka-password: KAFKA_PASSWORD_FILE in the environment: open nowhere: no such file or directory"},
		"an empty file":   {env: map[string]string{"KAFKA_PASSWORD_FILE": "empty"}, want: "KAFKA_PASSWORD_FILE in the environment: empty should hold one line, the secret"},
		"two lines":       {env: map[string]string{"KAFKA_PASSWORD_FILE": "two"}, want: "KAFKA_PASSWORD_FILE in the environment: two should hold one line, the secret"},
		"no URI":          {args: []string{"--mongo", theSecret}, want: "--mongo: a MongoDB's URI begins with mongodb:// or mongodb+srv://"},
		"a file's no URI": {env: map[string]string{"MONGO_URI_FILE": "no-uri"}, want: "--mongo: MONGO_URI_FILE in the environment: a MongoDB's URI begins with"},
		"a user for no MongoDB": {
			args: []string{"--mongo-username=u", "--mongo-password", theSecret},
			want: "--mongo-username and --mongo-password are of no use without --mongo",
		},
		"a user without a password": {
			args: []string{"--mongo", "mongodb://u:" + theSecret + "@h", "--mongo-username=u"},
			want: "--mongo-username and --mongo-password (MONGO_PASSWORD, MONGO_PASSWORD_FILE) go together",
		},
		"a flag's name misspelt": {args: []string{"--kafka-pasword=" + theSecret}, want: "unknown flag --kafka-pasword"},
		"a flag too much":        {args: []string{"--kafka-password", theSecret, "--kafka=x"}, want: `--kafka: "x" has no port`},
	} {
		t.Run(name, func(t *testing.T) {
			inVault(t, test.env, test.dotenv)
			got := run(&vault{}, test.args...)
			if got.status != program.StatusUsage || !strings.Contains(got.stderr, test.want) || strings.Count(got.stderr, "\n") != 1 {
				t.Errorf("got %+v, want %s", got, test.want)
			}
			if strings.Contains(got.stderr+got.stdout, "staple") {
				t.Errorf("it says the secret: %+v", got)
			}
		})
	}
}

// Whatever prints a command line, or a part of it, prints no secret.
func TestNothingShowsASecret(t *testing.T) {
	inVault(t, map[string]string{"KAFKA_PASSWORD": theSecret, "MONGO_URI": "mongodb://user:" + theSecret + "@db.example/net"}, "")
	line := &vault{}
	line.Open.run = func(p *program.Process, c *vault) error {
		text, err := json.Marshal(c.KafkaSecurity)
		p.Logger.Info("all", "line", c.Open.Mongo, "kafka", c.KafkaSecurity, "password", c.Password, "uri", c.Open.URI)
		slog.New(slog.NewJSONHandler(p.Stdout, nil)).Info("all", "kafka", c.KafkaSecurity, "mongo", c.Open.Mongo)
		fmt.Fprintf(p.Stdout, "%v %+v %#v %#v %s %q %x %v %s\n", c.KafkaSecurity, c.Open.Mongo, c.Open.Mongo, c.KafkaSecurity, c.Password, c.Open.URI, c.Password, &c.Password, text)
		return err
	}
	got := run(line)
	help := run(&vault{}, "--help")
	if all := got.stdout + got.stderr + help.stdout + help.stderr; strings.Contains(all, "staple") || strings.Contains(all, fmt.Sprintf("%x", "staple")) || !strings.Contains(all, "(secret)") {
		t.Errorf("it shows\n%s", all)
	}
	if strings.Count(got.stdout, `"Password":"(secret)"`) != 2 || !strings.Contains(got.stdout, `"URI":"mongodb://db.example/net"`) {
		t.Errorf("as JSON it is\n%s", got.stdout)
	}
	if !strings.Contains(got.stderr, "uri=mongodb://db.example/net") {
		t.Errorf("it does not say where the MongoDB is:\n%s", got.stderr)
	}
	if words := strings.Join(strings.Fields(help.stdout), " "); !strings.Contains(words, "($KAFKA_PASSWORD, $KAFKA_PASSWORD_FILE)") || !strings.Contains(words, "($KAFKA_USERNAME)") {
		t.Errorf("help is\n%s", help.stdout)
	}
}

func TestWhereAMongoDBIs(t *testing.T) {
	for uri, want := range map[string]string{
		"":                                   "",
		"mongodb://h":                        "mongodb://h",
		"mongodb://u:p@a:1,b:2/net?tls=true": "mongodb://a:1,b:2/net",
		"mongodb+srv://u@h/net":              "mongodb+srv://h/net",
		"mongodb://u:p/@:?@h/net":            "mongodb://...",
		"mongodb://u:p@h/?appName=p@q":       "mongodb://...",
		"mongodb://u:p@w@h:1":                "mongodb://h:1",
	} {
		inVault(t, map[string]string{"MONGO_URI": uri}, "")
		line := &vault{}
		line.Open.run = func(_ *program.Process, c *vault) error {
			if got := c.Open.URI.String(); got != want {
				t.Errorf("%s is shown as %s, want %s", uri, got, want)
			}
			if got := c.Open.URI.Reveal(); got != uri {
				t.Errorf("%s is %s", uri, got)
			}
			return nil
		}
		if got := run(line); got.status != 0 {
			t.Errorf("%s: got %+v", uri, got)
		}
	}
}

func TestReadSecret(t *testing.T) {
	inVault(t, nil, "")
	if got, err := program.ReadSecret("windows"); got != theSecret || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := program.ReadSecret(filepath.Join("nowhere", "x")); err == nil || !strings.Contains(err.Error(), filepath.Join("nowhere", "x")) {
		t.Errorf("the error is %v", err)
	}
}
