package driver

import (
	"cmp"
	"maps"
	"slices"

	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// Directory are the points of the network as Central last published them. The zero
// Directory is empty. It is not safe for use from several goroutines.
type Directory struct {
	latest map[domain.PointID]message.PointState
}

// Add takes a publication, unless a newer one of its point is known. One without a version is
// of a point that Central can't read: it stands until the next.
func (d *Directory) Add(state message.PointState) {
	if known, ok := d.latest[state.Point]; ok && known.Version > state.Version && state.Version != 0 {
		return
	}
	if d.latest == nil {
		d.latest = map[domain.PointID]message.PointState{}
	}
	d.latest[state.Point] = state
}

// All are the points, by id.
func (d *Directory) All() []message.PointState {
	return slices.SortedFunc(maps.Values(d.latest), func(a, b message.PointState) int {
		return cmp.Compare(a.Point, b.Point)
	})
}

// Free are the points where a driver may ask for a supply, by id.
func (d *Directory) Free() []message.PointState {
	return slices.DeleteFunc(d.All(), func(s message.PointState) bool {
		return s.State != string(chargingpoint.Activated)
	})
}
