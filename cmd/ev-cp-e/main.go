// Command ev-cp-e is a charging point's Engine: it obeys Central's orders, supplies
// (simulated), reports every second and answers its Monitor's heartbeat.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"

	"evcharging/adapters/kafka"
	application "evcharging/application/engine"
	"evcharging/cmd/internal/engine"
	"evcharging/cmd/internal/health"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

func main() {
	os.Exit(program.Main("ev-cp-e",
		"A charging point: obeys Central's orders, supplies (simulated), reports every second, answers its Monitor's heartbeat. Commands are typed, one a line; help lists them.",
		&commandLine{}, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

type commandLine struct {
	program.Common
	Supply supply `cmd:"" default:"withargs"`
	Health check  `cmd:"" help:"Ask a running Engine whether it is ready; exit with 1 where it is not."`
}

type supply struct {
	ID      domain.PointID `name:"id" required:"" placeholder:"ID" help:"The charging point's id."`
	Host    string         `env:"CP_ENGINE_HOST" default:"0.0.0.0" placeholder:"HOST" help:"Address to listen on for the Monitor's heartbeat."`
	Port    int            `env:"CP_ENGINE_PORT" default:"7100" max:"65535" placeholder:"PORT" help:"Port to listen on for it; 0 takes any that is free."`
	Journal string         `env:"CP_ENGINE_JOURNAL" default:"evcharging-journal" type:"path" placeholder:"DIR" help:"Folder of the journal, a file for each point: what was supplied outlives a kill there. It is made where it is missing."`
	Plug    string         `enum:"auto,manual" default:"auto" placeholder:"auto|manual" help:"Whether a granted supply starts at once (auto) or once a driver has typed plug (manual)."`
	Battery energy         `default:"40" placeholder:"KWH" help:"What each simulated battery takes until it is full, in kWh."`
	Power   power          `default:"22" placeholder:"KW" help:"The most that the point supplies, in kW; it falls when the battery is nearly full."`
	Speed   int            `default:"1" min:"1" max:"10000" placeholder:"TIMES" help:"How many times as fast as the clock the simulated battery is charged; reports stay one a second."`
	web
}

// Run is the Engine's role.
func (s *supply) Run(ctx context.Context, p *program.Process, line *commandLine) error {
	broker, err := line.KafkaConfig(kafka.Engine, "ev-cp-e."+string(s.ID), p.Logger)
	if err != nil {
		return err
	}
	return engine.Run(ctx, engine.Config{
		Settings: application.Settings{
			Point:      s.ID,
			Curve:      application.Curve{Battery: domain.MilliwattHours(s.Battery), MaxPower: domain.Watts(s.Power)},
			Speed:      s.Speed,
			ManualPlug: s.Plug == "manual",
		},
		Journal: s.Journal,
		Listen:  net.JoinHostPort(s.Host, strconv.Itoa(s.Port)),
		HTTP:    s.HTTP.Listen(),
		Kafka:   broker,
		Logger:  p.Logger,
	}, p.Stdin, p.Stdout)
}

type web struct {
	HTTP health.Address `name:"http" env:"CP_ENGINE_HTTP" default:"off" placeholder:"HOST:PORT" help:"Address of /livez, /readyz and /metrics; 'off' for none."`
}

type check struct {
	web
	health.Check
}

// Run asks an Engine how it is.
func (c *check) Run(ctx context.Context, p *program.Process) error { return c.Ask(ctx, p, c.HTTP) }

type energy domain.MilliwattHours

// UnmarshalText reads a number of kWh.
func (e *energy) UnmarshalText(text []byte) error {
	parsed, err := domain.ParseKWh(string(text))
	if err == nil && parsed == 0 {
		err = domain.ErrOutOfRange
	}
	if err != nil {
		return fmt.Errorf("%w (a battery takes more than 0 and at most %s kWh)", err, domain.MaxEnergy)
	}
	*e = energy(parsed)
	return nil
}

type power domain.Watts

// UnmarshalText reads a number of kW.
func (w *power) UnmarshalText(text []byte) error {
	parsed, err := domain.ParseKW(string(text))
	if err == nil && parsed == 0 {
		err = domain.ErrOutOfRange
	}
	if err != nil {
		return fmt.Errorf("%w (a point supplies more than 0 and at most %s kW)", err, domain.MaxPower)
	}
	*w = power(parsed)
	return nil
}
