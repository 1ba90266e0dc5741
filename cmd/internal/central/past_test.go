package central

import (
	"context"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/domain"
)

// watched is a log whose commits a panel follows, as that of a Central does which shares the
// log with those that write it.
type watched struct {
	eventlog.Log
	testing.TB
	panel *feed
}

func (w *watched) Append(ctx context.Context, c eventlog.Commit) error {
	if err := w.Log.Append(ctx, c); err != nil {
		return err
	}
	if err := w.panel.follow(ctx, c); err != nil {
		w.Error(err)
	}
	return nil
}

// What the panel held at an instant is what the log says of it.
func TestThePastIsWhatThePanelHeld(t *testing.T) {
	const instants = 100
	log := memory.NewLog()
	core := &central.Central{Log: log, Codec: eventjson.Codec{}}
	w := &watched{log, t, newFeed(core, memory.NewDeadlines(&memory.Signs{}))}
	// Two Centrals write side by side, a second of the one and then the same second of the other, so
	// the log's order is not that of time. That a point was heard is none of its events.
	histories := []*audittest.History{
		audittest.NewHistory(t, w, eventjson.Codec{}, 41, "CP-1", "CP-2", "CP-3"),
		audittest.NewHistory(t, w, eventjson.Codec{}, 42, "CP-4", "CP-5"),
	}
	for _, id := range []domain.PointID{"CP-1", "CP-2", "CP-3", "CP-4", "CP-5"} {
		w.panel.network.Heard(id, 1)
	}
	held := map[domain.UnixMillis]network.Snapshot{}
	for choices := rand.New(rand.NewPCG(1, 2)); len(held) < instants; {
		for range 1 + choices.IntN(50) {
			for _, h := range histories {
				h.Pass(time.Second)
			}
		}
		if w.panel.network.Snapshot(network.Window{}).Counts.Total() > 0 {
			held[histories[0].Now-1] = everything(w.panel.network)
		}
	}
	backwards, last := 0, domain.UnixMillis(0)
	for c, err := range log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if c.At < last {
			backwards++
		}
		last = c.At
	}
	if end, _ := log.End(t.Context()); backwards == 0 || end < 2_000 {
		t.Errorf("of %d commits %d are of before the one before", end, backwards)
	}
	for at, want := range held {
		past := audit.Past{Log: log, Codec: eventjson.Codec{}, At: at, Damaged: func(err error) { t.Error(err) }}
		then, _, err := past.Network(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := everything(then); !reflect.DeepEqual(got, want) {
			t.Errorf("at %s the log says\n%+v\nand the panel held\n%+v", at, got.Points, want.Points)
		}
	}
}

// everything is all that a network shows.
func everything(n *network.Network) network.Snapshot {
	s := n.Snapshot(network.Window{Points: 1 << 20, Sessions: 1 << 20, Messages: network.MessageLimit})
	s.Changed = 0
	s.Sessions = append(s.Sessions, n.Closed(network.ClosedLimit)...)
	return s
}
