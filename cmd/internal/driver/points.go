package driver

import (
	"context"
	"fmt"
	"time"

	"evcharging/adapters/kafka"
	"evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/application/network"
)

// pointsWithin is how long the broker may take to tell of the points.
const pointsWithin = 10 * time.Second

// Points is the table of the points of a network as Central last published them: the free
// ones, or all. A broker that is away is waited for, ten seconds at most.
func Points(ctx context.Context, c kafka.Config, all bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pointsWithin)
	defer cancel()
	transport, err := kafka.Connect(ctx, c)
	if err != nil {
		return "", err
	}
	defer transport.Close()
	var directory driver.Directory
	err = transport.Read(ctx, transport.Topics().State, func(r message.Received) {
		if state, ok := r.Message.(message.PointState); ok {
			directory.Add(state)
		}
	})
	if err != nil {
		return "", err
	}
	return describe(&directory, all), nil
}

func describe(directory *driver.Directory, all bool) string {
	known, shown := directory.All(), directory.Free()
	if all {
		shown = known
	}
	switch {
	case len(known) == 0:
		return "Central has published no point yet.\n"
	case len(shown) == 0:
		return fmt.Sprintf("None of %d points is free; --all lists them.\n", len(known))
	}
	rows := [][]string{{"POINT", "LOCATION", "EUR/KWH", "STATE"}}
	for _, s := range shown {
		price := s.Price.String()
		if s.State == network.Unreadable {
			price = ""
		}
		rows = append(rows, []string{string(s.Point), s.Location, price, s.State})
	}
	return table(rows, 2)
}
