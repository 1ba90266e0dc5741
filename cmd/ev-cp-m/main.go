// Command ev-cp-m is a charging point's Monitor: it authenticates and registers the
// point, checks its Engine every second, tells Central of faults and recoveries, and is the
// point's sign of life.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"evcharging/adapters/kafka"
	application "evcharging/application/monitor"
	"evcharging/cmd/internal/health"
	"evcharging/cmd/internal/monitor"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

func main() {
	os.Exit(program.Main("ev-cp-m",
		"Watches over a charging point: authenticates and registers it, checks its Engine every second, tells Central of faults and recoveries, and is its sign of life.",
		&commandLine{}, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

type commandLine struct {
	program.Common
	Watch  watch `cmd:"" default:"withargs"`
	Health check `cmd:"" help:"Ask a running Monitor whether it is ready; exit with 1 where it is not."`
}

type watch struct {
	ID          domain.PointID          `name:"id" required:"" placeholder:"ID" help:"The charging point's id."`
	EngineHost  string                  `required:"" placeholder:"HOST" help:"The Engine's host."`
	EnginePort  int                     `required:"" min:"1" max:"65535" placeholder:"PORT" help:"The port of its heartbeat."`
	CentralHost string                  `required:"" placeholder:"HOST" help:"Central's host."`
	CentralPort int                     `required:"" min:"1" max:"65535" placeholder:"PORT" help:"The port of its authentication."`
	Location    location                `default:"Unknown" placeholder:"TEXT" help:"Where the point stands."`
	Price       domain.MicroEurosPerKWh `env:"DEFAULT_PRICE_EUR_KWH" default:"0.30" placeholder:"EUR" help:"The point's price in EUR per kWh."`
	SecretFile  string                  `env:"CP_SECRET_FILE" type:"path" placeholder:"FILE" help:"File that holds the point's secret and nothing else; for a network that asks for one."`
	Lease       time.Duration           `default:"15s" min:"3s" max:"1h" placeholder:"DURATION" help:"How long after the last sign of life Central takes the point for dead, in seconds; it is renewed every third of it."`
	web
}

// Run is the Monitor's role.
func (w *watch) Run(ctx context.Context, p *program.Process, line *commandLine) error {
	secret, err := readSecret(w.SecretFile)
	if err != nil {
		return program.UsageError(fmt.Errorf("--secret-file: %w", err))
	}
	broker, err := line.KafkaConfig(kafka.Monitor, "ev-cp-m."+string(w.ID), p.Logger)
	if err != nil {
		return err
	}
	return monitor.Run(ctx, monitor.Config{
		Settings: application.Settings{
			Point: w.ID, Location: string(w.Location), Price: w.Price, Secret: secret, Lease: w.Lease.Truncate(time.Second),
		},
		Engine:  net.JoinHostPort(w.EngineHost, strconv.Itoa(w.EnginePort)),
		Central: net.JoinHostPort(w.CentralHost, strconv.Itoa(w.CentralPort)),
		HTTP:    w.HTTP.Listen(),
		Kafka:   broker,
		Logger:  p.Logger,
	})
}

type web struct {
	HTTP health.Address `name:"http" env:"CP_MONITOR_HTTP" default:"off" placeholder:"HOST:PORT" help:"Address of /livez, /readyz and /metrics; 'off' for none."`
}

type check struct {
	web
	health.Check
}

// Run asks a Monitor how it is.
func (c *check) Run(ctx context.Context, p *program.Process) error { return c.Ask(ctx, p, c.HTTP) }

type location string

// UnmarshalText takes what the wire takes.
func (l *location) UnmarshalText(text []byte) error {
	control := func(r rune) bool { return unicode.IsControl(r) }
	if len(text) > 256 || !utf8.Valid(text) || bytes.ContainsFunc(text, control) {
		return errors.New("a location is at most 256 bytes of text without control characters")
	}
	*l = location(text)
	return nil
}

// readSecret reads the point's secret. Without a file there is none.
func readSecret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	secret, err := program.ReadSecret(path)
	return strings.TrimSpace(secret), err // it is a word
}
