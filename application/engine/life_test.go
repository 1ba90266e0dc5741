package engine_test

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"evcharging/application/engine"
	"evcharging/application/message"
	"evcharging/domain"
)

// A point's life: orders in any order, whatever its people do, outages, kills at any
// instant, also between the store of a record and the rest of its step.
func TestWhateverHappensNoEnergyIsLostOrReportedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPoint(t)
		p.settings.Curve = engine.Curve{Battery: 200_000, MaxPower: 36_000}
		p.settings.ManualPlug = rapid.Bool().Draw(t, "manual plug")
		p.start()
		var orders []message.Order
		number := domain.Order(0)
		started := map[domain.SessionID]bool{}
		anyOrder := func(t *rapid.T) message.Order {
			if len(orders) > 0 && rapid.IntRange(0, 3).Draw(t, "repeat") == 0 {
				return rapid.SampledFrom(orders).Draw(t, "order")
			}
			number++
			kind := rapid.SampledFrom([]message.OrderKind{
				message.OrderStart, message.OrderStart, message.OrderStart, message.OrderStop, message.OrderOutOfOrder, message.OrderResume,
			}).Draw(t, "kind")
			o := start(domain.SessionID(fmt.Sprintf("s-%d", rapid.IntRange(1, 12).Draw(t, "session"))), number)
			o.Kind = kind
			if rapid.IntRange(0, 3).Draw(t, "numbered") == 0 {
				o.Number = 0
			}
			orders = append(orders, o)
			return o
		}
		t.Repeat(map[string]func(*rapid.T){
			"order": func(t *rapid.T) {
				o := anyOrder(t)
				if o.Kind == message.OrderStart {
					started[o.Session] = true
				}
				p.receive(o)
			},
			"time":   func(t *rapid.T) { p.now += domain.UnixMillis(rapid.IntRange(0, 3000).Draw(t, "ms")) },
			"tick":   func(*rapid.T) { p.step(engine.Tick{}) },
			"plug":   func(*rapid.T) { p.step(engine.Plug{}) },
			"unplug": func(*rapid.T) { p.step(engine.Unplug{}) },
			"break":  func(*rapid.T) { p.step(engine.Break{}) },
			"mend":   func(*rapid.T) { p.step(engine.Mend{}) },
			"outage": func(*rapid.T) { p.away = !p.away },
			"kill":   func(*rapid.T) { p.killAndRestart() },
			"kill before a step's record is stored": func(t *rapid.T) {
				p.engine.Step(engine.OrderReceived{Order: anyOrder(t), Timestamp: p.now, Trusted: true}, p.now)
				p.killAndRestart()
			},
			"kill after a step's record was stored": func(t *rapid.T) {
				o := anyOrder(t)
				out := p.engine.Step(engine.OrderReceived{Order: o, Timestamp: p.now, Trusted: true}, p.now)
				if !out.Record.IsEmpty() {
					p.journal = append(p.journal, out.Record)
				}
				p.killAndRestart()
			},
			"": func(t *rapid.T) { checkReports(t, p) },
		})
		// When all is well again every start has had its answer.
		p.away = false
		p.killAndRestart()
		p.seconds(20)
		checkReports(t, p)
		if !p.engine.Idle() || p.engine.Status().Unreported != 0 {
			t.Fatalf("something still waits for the broker: %+v", p.engine.Status())
		}
		for s := range started {
			if _, ok := final(p, s); !ok {
				t.Fatalf("no word about the start of %s", s)
			}
		}
	})
}

// checkReports holds for whatever was sent and stored so far.
func checkReports(t *rapid.T, p *point) {
	energy, seq := map[domain.SessionID]domain.MilliwattHours{}, map[domain.SessionID]int64{}
	stored := map[domain.SessionID]domain.MilliwattHours{}
	finals := map[domain.SessionID]message.Done{}
	var open domain.SessionID
	for _, r := range p.journal {
		for _, d := range r.Ended {
			if before, ok := finals[d.Session]; ok {
				t.Fatalf("two ends of %s: %+v and %+v", d.Session, before, d)
			}
			finals[d.Session] = d
			if d.Energy < stored[d.Session] {
				t.Fatalf("%s ends with %d mWh, but %d mWh were measured", d.Session, d.Energy, stored[d.Session])
			}
		}
		if r.Opened != nil {
			open = r.Opened.ID
		}
		if r.Sample != nil {
			stored[open] = r.Sample.Energy
		}
	}
	for _, m := range p.sent {
		switch m := m.(type) {
		case message.MeterValue:
			if *m.Energy < energy[m.Session] || m.Seq <= seq[m.Session] {
				t.Fatalf("%s runs backwards: %+v", m.Session, m)
			}
			energy[m.Session], seq[m.Session] = *m.Energy, m.Seq
		case message.Done:
			if m != finals[m.Session] {
				t.Fatalf("two final reports of %s: %+v and %+v", m.Session, m, finals[m.Session])
			}
			if m.Energy < energy[m.Session] {
				t.Fatalf("%s ends below its last sample: %+v", m.Session, m)
			}
			if m.Amount != domain.Cost(m.Energy, price) {
				t.Fatalf("not its cost: %+v", m)
			}
		}
	}
	// The journal is the memory, in its long and in its shortest form.
	m := memory(p.journal)
	if short := memory(m.Records()); !reflect.DeepEqual(short, m) {
		t.Fatalf("the shortest journal says\n%+v, not\n%+v", short, m)
	}
}

// final is what is known in the end of a session: its done, or that it runs.
func final(p *point, s domain.SessionID) (message.Done, bool) {
	if open := p.engine.Status().Session; open != nil && open.ID == s {
		return message.Done{}, true
	}
	for _, d := range p.dones() {
		if d.Session == s {
			return d, true
		}
	}
	return message.Done{}, false
}
