package engine

import (
	"context"
	"fmt"
	"io"
	"strings"

	"evcharging/adapters/console"
	"evcharging/application/engine"
	"evcharging/application/network"
	"evcharging/domain"
)

// Run is ev-cp-e: an Engine and the lines that are typed to it, until ctx ends, somebody
// quits, or the Engine can't go on. The end of in ends nothing.
func Run(ctx context.Context, c Config, in io.Reader, out io.Writer) error {
	n, err := Start(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	typed := make(chan error, 1)
	go func() { typed <- n.converse(ctx, in, out) }()
	select {
	case <-ctx.Done():
	case <-n.Ended():
	case err := <-typed:
		if err == nil {
			break
		}
		// Nobody reads what is printed: a point supplies all the same.
		n.logger.Warn("what is typed is not answered any more", "error", err)
		select {
		case <-ctx.Done():
		case <-n.Ended():
		}
	}
	return n.Close()
}

// converse carries out what is typed, a line each. It returns nil when ctx ends or
// somebody quits, else why nothing can be printed.
func (n *Node) converse(ctx context.Context, in io.Reader, out io.Writer) error {
	// Without a TERM it is plain lines, in a terminal too.
	return console.Console{Source: nothing{}, Commands: n.commands(), In: in, Out: out}.Run(ctx)
}

// nothing is what an Engine's console shows by itself: what happens is in the log.
type nothing struct{}

func (nothing) Changed() uint64                          { return 0 }
func (nothing) Snapshot(network.Window) network.Snapshot { return network.Snapshot{} }
func (nothing) Status() console.Status                   { return console.Status{} }

func (n *Node) commands() []console.Command {
	simple := func(name, help string, do func()) console.Command {
		return console.Command{Name: name, Help: help, Run: func(context.Context, console.Call) (string, error) {
			do()
			return "", nil
		}}
	}
	return []console.Command{
		simple("k", "breaks the point: its Monitor is answered KO, a running supply ends", n.Break),
		simple("r", "mends it", n.Mend),
		simple("plug", "plugs the car in", n.Plug),
		simple("unplug", "unplugs it: a running supply ends", n.Unplug),
		{
			Name: "request", Args: []console.Arg{{Name: "DRIVER"}}, Help: "asks Central for a supply to a driver who stands here",
			Run: func(_ context.Context, call console.Call) (string, error) {
				driver := domain.DriverID(call.Args[0])
				if err := domain.CheckID(driver); err != nil {
					return "", err
				}
				n.Request(driver)
				return "", nil
			},
		},
		{
			Name: "status", Help: "says how the point stands",
			Run: func(context.Context, console.Call) (string, error) { return describe(n.Status()), nil },
		},
	}
}

// describe is a status in a line.
func describe(s engine.Status) string {
	words := []string{string(s.Point)}
	switch {
	case s.Broken:
		words = append(words, "broken")
	case s.Supplying:
		words = append(words, fmt.Sprintf("supplying %s kW to %s: %s kWh, %s EUR (session %s)", s.Power, s.Session.Driver, s.Energy, s.Amount, s.Session.ID))
	case s.Session != nil:
		words = append(words, fmt.Sprintf("waiting for %s to plug in (session %s)", s.Session.Driver, s.Session.ID))
	case s.OutOfService:
		words = append(words, "out of order")
	default:
		words = append(words, "free")
	}
	if s.Plugged && !s.Supplying {
		words = append(words, "a car is plugged in")
	}
	if !s.LinkUp {
		words = append(words, "Kafka is away")
	}
	if s.Unreported > 0 {
		words = append(words, fmt.Sprintf("%d final reports wait for Kafka", s.Unreported))
	}
	return strings.Join(words, ", ")
}
