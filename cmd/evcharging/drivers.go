package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"evcharging/adapters/console"
	"evcharging/adapters/kafka"
	application "evcharging/application/driver"
	"evcharging/cmd/internal/central"
	"evcharging/cmd/internal/driver"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// How long a simulated driver stays away between two supplies.
const (
	shortestAway = time.Second
	longestAway  = 8 * time.Second
)

// drivers come, charge and go.
type drivers struct {
	node      *central.Node
	transport *kafka.Transport
	shared    *driver.Shared
	logger    *slog.Logger
	ctx       context.Context
	stop      context.CancelFunc
	running   sync.WaitGroup
}

func newDrivers(ctx context.Context, config kafka.Config, node *central.Node, logger *slog.Logger) (*drivers, error) {
	transport, err := kafka.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	d := &drivers{node: node, transport: transport, shared: driver.Share(transport), logger: logger}
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d, nil
}

// start lets so many drivers come.
func (d *drivers) start(n int) {
	for i := range n {
		id := domain.DriverID(fmt.Sprintf("D-%03d", i+1))
		d.running.Go(func() { d.come(id) })
	}
}

// come is the life of a driver: away for a while, then at a point that is free.
func (d *drivers) come(id domain.DriverID) {
	for d.away() {
		point, ok := d.freePoint()
		if !ok {
			continue
		}
		err := d.charge(id, point, nil)
		var unserved *driver.UnservedError
		if err != nil && !errors.As(err, &unserved) && d.ctx.Err() == nil {
			d.logger.Error("a driver is lost", "driver", id, "error", err)
		}
	}
}

func (d *drivers) charge(id domain.DriverID, point domain.PointID, show func(domain.UnixMillis, application.Event)) error {
	return driver.Run(d.ctx, driver.Config{ID: id, Points: []domain.PointID{point}, Network: d.shared, Show: show})
}

// away waits; false where the network ends meanwhile.
func (d *drivers) away() bool {
	timer := time.NewTimer(shortestAway + rand.N(longestAway-shortestAway))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.ctx.Done():
		return false
	}
}

func (d *drivers) freePoint() (domain.PointID, bool) {
	var free []domain.PointID
	for _, p := range d.node.Points() {
		if p.State == chargingpoint.Activated {
			free = append(free, p.ID)
		}
	}
	if len(free) == 0 {
		return "", false
	}
	return free[rand.N(len(free))], true
}

// commands are what somebody types to be a driver.
func (d *drivers) commands() []console.Command {
	return []console.Command{{
		Name: "ask",
		Args: []console.Arg{{Name: "POINT", Values: d.pointIDs}, {Name: "DRIVER"}},
		Help: "asks for a supply as a driver",
		Run:  d.ask,
	}}
}

// ask is a driver who asks once; it answers when Central has, and goes on behind.
func (d *drivers) ask(ctx context.Context, call console.Call) (string, error) {
	point, id := domain.PointID(call.Args[0]), domain.DriverID(call.Args[1])
	if err := errors.Join(domain.CheckID(point), domain.CheckID(id)); err != nil {
		return "", err
	}
	answered := make(chan error, 1)
	answer := func(err error) {
		select {
		case answered <- err:
		default: // only the first counts
		}
	}
	d.running.Go(func() {
		answer(d.charge(id, point, func(_ domain.UnixMillis, e application.Event) {
			switch e := e.(type) {
			case application.Granted:
				answer(nil)
			case application.Concluded:
				if !e.Supply.OK() {
					answer(fmt.Errorf("%s was refused at %s: %s", id, point, e.Supply.Reason))
				}
			}
		}))
	})
	select {
	case err := <-answered:
		return fmt.Sprintf("%s may supply %s", point, id), err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (d *drivers) pointIDs() []string {
	var ids []string
	for _, p := range d.node.Points() {
		ids = append(ids, string(p.ID))
	}
	return ids
}

// Close sends the drivers home. What they supply goes on.
func (d *drivers) Close() error {
	d.stop()
	d.running.Wait()
	d.shared.Close()
	return d.transport.Close()
}
