package http

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/application/network"
)

// MarshalPoints is points as JSON, as the page /points has them.
func MarshalPoints(points []network.Point) (jsontext.Value, error) { return marshal(pointsOf(points)) }

// MarshalSessions is sessions as JSON, as the page /sessions has them.
func MarshalSessions(sessions []network.Session) (jsontext.Value, error) {
	return marshal(suppliesOf(sessions))
}

// MarshalPrices is the changes of a price as JSON, as the page /points/ID/prices has them.
func MarshalPrices(changes []network.PriceChange) (jsontext.Value, error) {
	return marshal(priceChangesOf(changes))
}

func marshal(shown any) (jsontext.Value, error) { return json.Marshal(shown, figures) }

func pointsOf(points []network.Point) []point {
	all := make([]point, len(points))
	for i, p := range points {
		all[i] = pointOf(p)
	}
	return all
}

func suppliesOf(sessions []network.Session) []supply {
	all := make([]supply, len(sessions))
	for i, s := range sessions {
		all[i] = supplyOf(s)
	}
	return all
}

func priceChangesOf(changes []network.PriceChange) []priceChange {
	all := make([]priceChange, len(changes))
	for i, c := range changes {
		all[i] = priceChangeOf(c)
	}
	return all
}
