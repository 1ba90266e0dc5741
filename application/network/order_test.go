package network_test

import (
	"cmp"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/domain"
)

// lived are the parts of a history at some points, in its order.
func lived(t *rapid.T, points []domain.PointID) (parts []central.Part) {
	t.Helper()
	log := memory.NewLog()
	h := audittest.NewHistory(t, log, eventjson.Codec{}, rapid.Uint64().Draw(t, "seed"), points...)
	h.Run(rapid.IntRange(100, 1_000).Draw(t, "events"))
	for c, err := range log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Parts {
			part, err := h.Central.Decode(p)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, part)
		}
	}
	return parts
}

// mixed are parts in another order that keeps each stream's.
func mixed(parts []central.Part, choices *rand.Rand) (out []central.Part) {
	var names []eventlog.Stream
	left := map[eventlog.Stream][]central.Part{}
	for _, p := range parts {
		if left[p.Stream] == nil {
			names = append(names, p.Stream)
		}
		left[p.Stream] = append(left[p.Stream], p)
	}
	for len(names) > 0 {
		i := choices.IntN(len(names))
		of := left[names[i]]
		n := 1 + choices.IntN(len(of))
		out = append(out, of[:n]...)
		if left[names[i]] = of[n:]; n == len(of) {
			names = slices.Delete(names, i, i+1)
		}
	}
	return out
}

// shown is all that is seen of a network at some points after parts, and what of it says in
// which order they came: sessions in the order of their close, messages.
type shown struct {
	Snapshot network.Snapshot
	Points   []network.Point
	Open     []network.Session
	Closed   []network.Session
	Messages []network.Message
}

func showAfter(t *rapid.T, points []domain.PointID, parts []central.Part) shown {
	t.Helper()
	n := network.New()
	for _, id := range points {
		n.Heard(id, parts[0].At)
	}
	for _, p := range parts {
		if err := n.Apply(p.Stream, p.Version, p.At, p.Events...); err != nil {
			t.Fatal(err)
		}
	}
	s := shown{n.Snapshot(network.Window{Points: len(points), Sessions: len(points)}), n.Points(), n.Open(), n.Closed(network.ClosedLimit), n.Messages(0)}
	if len(s.Messages) == network.MessageLimit || len(s.Closed) == network.ClosedLimit {
		t.Fatal("the history is longer than what is kept of it")
	}
	return s
}

// inAnyOrder leaves away what says in which order parts of several streams came.
func (s shown) inAnyOrder() shown {
	slices.SortFunc(s.Closed, func(a, b network.Session) int { return strings.Compare(string(a.ID), string(b.ID)) })
	slices.SortFunc(s.Messages, func(a, b network.Message) int {
		return cmp.Or(cmp.Compare(a.At, b.At), strings.Compare(a.Text, b.Text))
	})
	for i := range s.Messages {
		s.Messages[i].Seq = 0
	}
	return s
}

// The same events show the same network: folded twice, or in any order that keeps each
// stream's.
func TestAnyOrderThatKeepsEachStreamsShowsTheSameNetwork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := []domain.PointID{"CP-1", "CP-2", "CP-3", "CP-4", "CP-5", "CP-6"}
		parts := lived(t, points)
		want := showAfter(t, points, parts)
		if got := showAfter(t, points, parts); !reflect.DeepEqual(got, want) {
			t.Fatalf("folded again it shows\n%+v\nnot\n%+v", got, want)
		}
		other := mixed(parts, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1)))
		if got := showAfter(t, points, other).inAnyOrder(); !reflect.DeepEqual(got, want.inAnyOrder()) {
			t.Fatalf("in another order it shows\n%+v\nnot\n%+v", got, want)
		}
	})
}
