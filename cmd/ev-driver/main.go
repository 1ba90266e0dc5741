// Command ev-driver is a driver: it asks for supplies, one or a file of them, and shows
// every step up to the ticket.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"evcharging/adapters/kafka"
	application "evcharging/application/driver"
	"evcharging/cmd/internal/driver"
	"evcharging/cmd/internal/health"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

func main() {
	os.Exit(program.Main("ev-driver", "Asks for supplies, and shows every step up to the ticket.",
		&commandLine{}, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

type commandLine struct {
	program.Common
	Ask    ask    `cmd:"" default:"withargs"`
	Points points `cmd:"" help:"List the points that are free."`
	Health check  `cmd:"" help:"Ask a running Driver whether it is ready; exit with 1 where it is not."`
}

type ask struct {
	DriverID  domain.DriverID `name:"driver-id" required:"" placeholder:"ID" help:"The driver's id."`
	CP        domain.PointID  `name:"cp" required:"" xor:"points" placeholder:"ID" help:"The charging point to ask for a supply. The run's place is kept in ID@DRIVER.checkpoint in the current folder until it is complete."`
	File      string          `required:"" xor:"points" placeholder:"FILE" predictor:"file" help:"A file of charging points, ids one a line, to ask one after another; blank lines, and what follows a #, are ignored. The run's place is kept in FILE@DRIVER.checkpoint until it is complete."`
	NextDelay time.Duration   `env:"DRIVER_NEXT_DELAY_SEC" default:"4" max:"24h" placeholder:"SECONDS" help:"How long to wait after a supply has concluded before the next is asked for, in seconds."`
	web
}

// Run asks for the supplies.
func (a *ask) Run(ctx context.Context, p *program.Process, line *commandLine) error {
	list, err := a.list()
	if err != nil {
		return program.UsageError(err)
	}
	checkpoint := a.checkpoint()
	live := program.IsTerminal(p.Stdout)
	screen := driver.NewScreen(p.Stdout, live, program.Coloured(p.Stdout), checkpoint)
	logger := p.Logger
	if live && program.IsTerminal(p.Stderr) {
		logger = slog.New(program.NewLineHandler(screen.Log(p.Stderr), line.LogLevel))
	}
	broker, err := line.KafkaConfig(kafka.Driver, "ev-driver."+string(a.DriverID), logger)
	if err != nil {
		return err
	}
	err = driver.Run(ctx, driver.Config{
		ID:         a.DriverID,
		Points:     list,
		NextDelay:  a.NextDelay,
		Checkpoint: checkpoint,
		HTTP:       a.HTTP.Listen(),
		Kafka:      broker,
		Show:       screen.Show,
	})
	if errors.Is(err, context.Canceled) {
		screen.Stopped(domain.At(time.Now()))
	}
	return err
}

// list are the points to ask. Its error is one of usage.
func (a *ask) list() ([]domain.PointID, error) {
	if a.File == "" {
		return []domain.PointID{a.CP}, nil
	}
	f, err := os.Open(a.File)
	if err != nil {
		return nil, fmt.Errorf("--file: %w", err)
	}
	defer f.Close()
	list, err := application.ReadList(f)
	if err != nil {
		return nil, fmt.Errorf("--file %s: %w", a.File, err)
	}
	return list, nil
}

// checkpoint is the file that keeps the run's place. No id has an @, so none is taken
// for another's.
func (a *ask) checkpoint() string {
	list := a.File
	if list == "" {
		list = string(a.CP)
	}
	return filepath.Clean(list) + "@" + string(a.DriverID) + ".checkpoint"
}

type web struct {
	HTTP health.Address `name:"http" env:"DRIVER_HTTP" default:"off" placeholder:"HOST:PORT" help:"Address of /livez, /readyz and /metrics; 'off' for none."`
}

type check struct {
	web
	health.Check
}

// Run asks a Driver how it is.
func (c *check) Run(ctx context.Context, p *program.Process) error { return c.Ask(ctx, p, c.HTTP) }

type points struct {
	All bool `help:"List all points, with their states."`
}

// Run lists the points.
func (l *points) Run(ctx context.Context, p *program.Process, line *commandLine) error {
	broker, err := line.KafkaConfig(kafka.Onlooker, "ev-driver", p.Logger)
	if err != nil {
		return err
	}
	text, err := driver.Points(ctx, broker, l.All)
	if err != nil {
		return err
	}
	_, err = io.WriteString(p.Stdout, text)
	return err
}
