// ev-central governs the network: it registers and authenticates charging points,
// authorizes supplies, watches state, stops and resumes points, bills, and keeps the
// event log. Its subcommands do, from any machine, what an operator does at its panel.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"evcharging/adapters/console"
	"evcharging/adapters/http"
	"evcharging/adapters/kafka"
	"evcharging/adapters/mongo"
	"evcharging/adapters/notary"
	"evcharging/application/message"
	"evcharging/cmd/internal/central"
	"evcharging/cmd/internal/health"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
	"evcharging/domain/session"
)

type commandLine struct {
	program.Common
	Serve    serve    `cmd:"" default:"withargs"`
	Stop     stop     `cmd:"" help:"Take a point, or all, out of order: what it supplies ends and is billed."`
	Resume   resume   `cmd:"" help:"Let a point, or all, supply again."`
	Start    start    `cmd:"" help:"Start a supply at a point for a driver."`
	Price    price    `cmd:"" help:"Set the price of a point, or of all, over the point's own: now, or from a time on."`
	Prices   prices   `cmd:"" help:"List the changes of a point's price: who made them, when, and what is to come."`
	Points   points   `cmd:"" help:"List the points, as a Central's pages have them."`
	Sessions sessions `cmd:"" help:"List the open sessions, and those that closed last."`
	Ticket   ticket   `cmd:"" help:"Show a session's bill."`
	Key      key      `cmd:"" help:"Print the public part of the key that signs checkpoints: what an auditor needs."`
	Health   check    `cmd:"" help:"Ask a running Central whether it is ready; exit with 1 where it is not."`
}

func main() {
	os.Exit(program.Main("ev-central",
		"Governs a network of charging points: registers and authenticates them, grants supplies, watches, stops and resumes, bills, and keeps the event log.",
		&commandLine{}, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

type serve struct {
	Host string `env:"CENTRAL_HOST" default:"0.0.0.0" placeholder:"HOST" help:"Address to listen on for the authentication of Monitors."`
	Port int    `env:"CENTRAL_PORT" default:"7000" max:"65535" placeholder:"PORT" help:"Port to listen on for it."`
	Log  string `placeholder:"DIR" help:"Folder of the embedded event log; it is made where it is missing. Without it the log is in the MongoDB, and without that in evcharging-data."`
	program.Mongo
	HTTP health.Address `name:"http" env:"CENTRAL_HTTP" default:"127.0.0.1:7080" placeholder:"HOST:PORT" help:"Address of the pages /points, /sessions and /log, to be read only, and of /livez, /readyz and /metrics; 'off' for none."`
	signing
	Secrets      string                  `placeholder:"FILE" help:"File of lines 'id secret': only these points are let in. Without it the network is open."`
	Lease        time.Duration           `default:"0s" max:"1h" placeholder:"DURATION" help:"How long a Monitor's sign of life counts, where it gives a lease; 0s: as long as the Monitor says; else from 3s to 1h."`
	TakeUp       time.Duration           `default:"60s" min:"1s" placeholder:"DURATION" help:"How long a granted supply may take to begin, plugging in included."`
	Silence      time.Duration           `default:"60s" min:"5s" placeholder:"DURATION" help:"How long a running supply may be without a report before it ends as DISCONNECTED."`
	FinalReport  time.Duration           `default:"60s" min:"1s" placeholder:"DURATION" help:"How long Central waits for the final report of a supply that it ended."`
	DefaultPrice domain.MicroEurosPerKWh `env:"DEFAULT_PRICE_EUR_KWH" default:"0.30" placeholder:"EUR" help:"Price in EUR per kWh of a point that registers without one."`
}

// defaultLog is the folder of the embedded log where none is named.
const defaultLog = "evcharging-data"

// signing says where checkpoints of the event log are kept, and what signs them.
type signing struct {
	Checkpoints string `env:"CENTRAL_CHECKPOINTS" placeholder:"DIR" predictor:"file" help:"Folder where a signed checkpoint of the event log is kept once a minute; where none is named, that of the embedded log with -checkpoints behind its name, and none for a log in MongoDB. 'off' for none."`
	SigningKey  string `name:"signing-key" env:"CENTRAL_SIGNING_KEY_FILE" placeholder:"FILE" predictor:"file" help:"File of the key that signs them; it is made where it is missing. Without it signing.key in that folder."`
}

// folder is where checkpoints are kept; empty: nowhere.
func (s signing) folder(log string) string {
	switch {
	case s.Checkpoints == "off":
		return ""
	case s.Checkpoints == "" && log != "":
		return filepath.Clean(log) + "-checkpoints"
	}
	return s.Checkpoints
}

// shortestLease is the contract's.
const shortestLease = 3 * time.Second

// Run is Central's role.
func (s *serve) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	broker, err := c.KafkaConfig(kafka.Central, "ev-central", p.Logger)
	if err != nil {
		return err
	}
	config := central.Config{
		Kafka:       broker,
		LogDir:      s.Log,
		Mongo:       mongo.Config{URI: s.URI.Reveal(), Username: s.Username, Password: s.Password.Reveal()},
		Listen:      net.JoinHostPort(s.Host, strconv.Itoa(s.Port)),
		HTTP:        s.HTTP.Listen(),
		SecretsFile: s.Secrets,
		Patience:    session.Patience{TakeUp: s.TakeUp, Silence: s.Silence, FinalReport: s.FinalReport}, Lease: s.Lease, DefaultPrice: s.DefaultPrice,
	}
	if s.Lease != 0 && s.Lease < shortestLease {
		return program.UsageError(fmt.Errorf("--lease: %s is shorter than the shortest lease, %s", s.Lease, shortestLease))
	}
	if err := s.Check(); err != nil {
		return err
	}
	if config.Mongo.URI == "" && config.LogDir == "" {
		config.LogDir = defaultLog
	}
	config.Checkpoints, config.SigningKey = s.folder(config.LogDir), s.SigningKey
	return central.Run(ctx, p, config, c.LogLevel)
}

type target struct {
	Point string `arg:"" help:"The point's id, or 'all' for every point that is registered now."`
}

type stop struct{ target }

// Run takes points out of order.
func (s *stop) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	return s.ask(ctx, p, c, message.Control{Action: message.ActionStop})
}

type resume struct{ target }

// Run lets points supply again.
func (r *resume) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	return r.ask(ctx, p, c, message.Control{Action: message.ActionResume})
}

type price struct {
	target
	Price string            `arg:"" name:"eur" help:"EUR per kWh for supplies granted from now on, or 'auto': the point's own."`
	From  domain.UnixMillis `placeholder:"TIME" help:"From when it counts, if not from now on: RFC 3339, or a time of this machine such as 2026-12-01T00:00. It replaces what was scheduled for that time or later."`
}

// Run sets prices.
func (s *price) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	control, err := central.PriceControl(s.Price, s.From, domain.At(time.Now()))
	if err != nil {
		return program.UsageError(err)
	}
	return s.ask(ctx, p, c, control)
}

type start struct {
	Point  domain.PointID  `arg:"" help:"The point's id."`
	Driver domain.DriverID `arg:"" help:"The driver's id."`
}

// Run starts a supply.
func (s *start) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	return ask(ctx, p, c, string(s.Point), message.Control{Action: message.ActionStart, Driver: s.Driver})
}

func (t target) ask(ctx context.Context, p *program.Process, c *commandLine, control message.Control) error {
	return ask(ctx, p, c, t.Point, control)
}

func ask(ctx context.Context, p *program.Process, c *commandLine, point string, control message.Control) error {
	broker, err := c.KafkaConfig(kafka.Operator, "ev-central-operator", p.Logger)
	if err != nil {
		return err
	}
	return central.Ask(ctx, p, broker, point, control)
}

type pages struct {
	HTTP health.Address `name:"http" env:"CENTRAL_HTTP" default:"127.0.0.1:7080" placeholder:"HOST:PORT" help:"Address of a running Central's pages."`
}

func (p pages) client() http.Client { return http.Client{Address: string(p.HTTP)} }

type check struct {
	pages
	health.Check
}

// Run asks a Central how it is.
func (c *check) Run(ctx context.Context, p *program.Process) error { return c.Ask(ctx, p, c.HTTP) }

type points struct{ pages }

// Run lists the points.
func (s *points) Run(ctx context.Context, p *program.Process) error {
	points, err := s.client().Points(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, console.Points(points))
	return nil
}

type prices struct {
	pages
	Point domain.PointID `arg:"" help:"The point's id."`
}

// Run lists the changes of a point's price.
func (s *prices) Run(ctx context.Context, p *program.Process) error {
	changes, err := s.client().Prices(ctx, s.Point)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, console.Prices(changes))
	return nil
}

type sessions struct{ pages }

// Run lists sessions.
func (s *sessions) Run(ctx context.Context, p *program.Process) error {
	sessions, err := s.client().Sessions(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, console.Sessions(sessions))
	return nil
}

type ticket struct {
	pages
	Session string `arg:"" help:"The session's id."`
}

// Run shows a bill.
func (s *ticket) Run(ctx context.Context, p *program.Process) error {
	session, err := s.client().Session(ctx, domain.SessionID(s.Session))
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, console.Ticket(session))
	return nil
}

type key struct{ signing }

// Run prints a key.
func (k *key) Run(p *program.Process) error {
	file := k.SigningKey
	if file == "" {
		file = filepath.Join(k.folder(defaultLog), notary.KeyName)
	}
	loaded, err := notary.LoadKey(file)
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, loaded.Public())
	return nil
}
