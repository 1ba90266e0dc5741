package central

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/kafka"
	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/session"
)

// measured is a Central in memory, its turns measured.
type measured struct {
	*Node
	lanes *lanes
	// down is why nothing can be published; nil where it can.
	down   error
	offset int64
}

func newMeasured() *measured {
	m := &measured{Node: &Node{listening: &memory.Listening{}, ignored: &memory.Ignored{}, logger: slog.New(slog.DiscardHandler)}}
	m.metrics = m.newMetrics()
	heard := &signs{}
	core := &central.Central{
		Log: measuredLog{memory.NewLog(), m.metrics}, Codec: eventjson.Codec{}, Signs: heard, Listening: m.listening, Ignored: m.ignored,
		Publisher: m, Patience: session.DefaultPatience, DefaultPrice: 300_000, NewID: newID,
	}
	m.feed = newFeed(core, memory.NewDeadlines(heard))
	heard.feed = m.feed
	m.vitals.feed.Store(m.feed)
	m.lanes = newLanes(core, m.metrics)
	return m
}

// Publish is central.Publisher's.
func (m *measured) Publish(ctx context.Context, p central.Publication) error {
	if m.down != nil {
		return m.down
	}
	return m.feed.handle(ctx, p)
}

// next is a new record.
func (m *measured) next(topic string, text message.Message) message.Received {
	m.offset++
	return message.Received{
		Source:  message.Source{Topic: topic, Offset: m.offset, Timestamp: domain.At(time.Now()), Trusted: true, Digest: [8]byte{byte(m.offset)}},
		Message: text,
	}
}

// take takes a record in, and makes a dead letter of it where it is refused.
func (m *measured) take(ctx context.Context, r message.Received) error {
	err := m.lanes.take(ctx, r)
	var rejected *message.RejectedError
	if errors.As(err, &rejected) {
		m.metrics.DeadLetter(r.Source.Topic, rejected.Reason)
	}
	return err
}

// series are all that a scrape gives, by name and labels.
func (m *measured) series(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := m.metrics.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			var labels []string
			for _, l := range one.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := strings.TrimPrefix(f.GetName(), "evcharging_") + "{" + strings.Join(labels, ",") + "}"
			all[name] = one.GetCounter().GetValue() + one.GetGauge().GetValue() + float64(one.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func registration(point string) message.Registration {
	return message.Registration{Point: domain.PointID(point)}
}

func healthy(point string) message.Health {
	return message.Health{Point: domain.PointID(point), Status: message.HealthOK, LeaseSeconds: 15}
}

func TestWhatBecomesOfATurnIsCounted(t *testing.T) {
	m, topics := newMeasured(), kafka.DefaultTopics()
	ctx := t.Context()
	register := m.next(topics.Register, registration("CP-001"))
	for _, r := range []message.Received{
		register, register, // committed, repeated
		m.next(topics.Health, healthy("CP-001")),                                                                 // committed
		m.next(topics.Health, healthy("CP-001")),                                                                 // ignored
		m.next(topics.Request, message.Request{Driver: "D-1", Point: "CP-001", ID: "R-1"}),                       // committed
		m.next(topics.Telemetry, message.MeterValue{Session: "S-?", Point: "CP-001", Driver: "D-1", Seq: 1}),     // refused
		m.next(topics.Control, message.Control{ID: "C-1", Point: "CP-404", Action: message.ActionStop, By: "t"}), // refused
	} {
		var rejected *message.RejectedError
		if err := m.take(ctx, r); err != nil && !errors.As(err, &rejected) {
			t.Fatal(err)
		}
	}
	m.down = errors.New("the broker is away")
	late := m.next(topics.Health, message.Health{Point: "CP-001", Status: message.HealthKO, LeaseSeconds: 15})
	if err := m.take(ctx, late); !errors.Is(err, m.down) { // failed
		t.Fatal(err)
	}
	given, giveUp := context.WithCancel(ctx)
	giveUp()
	if err := m.take(given, late); err == nil { // given up: not counted
		t.Fatal("it was taken")
	}
	m.down = nil
	if err := m.take(ctx, late); err != nil { // repeated: it was stored
		t.Fatal(err)
	}

	got := m.series(t)
	for name, want := range map[string]float64{
		"turns_total{committed,ev.register}": 1, "turns_total{repeated,ev.register}": 1,
		"turns_total{committed,ev.health}": 1, "turns_total{ignored,ev.health}": 1, "turns_total{failed,ev.health}": 1, "turns_total{repeated,ev.health}": 1,
		"turns_total{committed,ev.supply.request}": 1, "turns_total{refused,ev.supply.telemetry}": 1,
		"turn_duration_seconds{ev.health}":                        4,
		"dead_letters_total{unknown_session,ev.supply.telemetry}": 1,
		"dead_letters_total{unknown_point,ev.control}":            1,
		"inputs_ignored_total{unchanged}":                         1,
		"append_conflicts_total{}":                                0, "append_failures_total{}": 0,
		"points{BROKEN}": 1, "points{SUPPLYING}": 0, "open_sessions{}": 1,
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %v (%t), want %v", name, value, there, want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestEveryRuleHasAName(t *testing.T) {
	ignored, refused := central.Rules()
	for _, rule := range append(ignored, refused...) {
		if ruleNames[rule] == "" {
			t.Errorf("%q has no name in ruleNames", rule)
		}
	}
}

// What is measured must not grow with the network: a store of metrics keeps each series.
func TestAThousandPointsAddNoSeries(t *testing.T) {
	m, topics := newMeasured(), kafka.DefaultTopics()
	all := func(i int) {
		point, driver := fmt.Sprintf("CP-%d", i), domain.DriverID(fmt.Sprintf("D-%d", i))
		for _, r := range []message.Received{
			m.next(topics.Register, registration(point)),
			m.next(topics.Health, healthy(point)),
			m.next(topics.Health, healthy(point)),
			m.next(topics.Request, message.Request{Driver: driver, Point: domain.PointID(point), ID: domain.RequestID("R-" + point)}),
			m.next(topics.Telemetry, message.MeterValue{Session: domain.SessionID("S-" + point), Point: domain.PointID(point), Driver: driver, Seq: 1}),
			m.next(topics.Control, message.Control{ID: "C-" + point, Point: domain.PointID("X-" + point), Action: message.ActionStop}),
		} {
			var rejected *message.RejectedError
			if err := m.take(t.Context(), r); err != nil && !errors.As(err, &rejected) {
				t.Fatal(err)
			}
		}
		m.metrics.DeadLetter(topics.Done, fmt.Errorf("%s: nobody knows this reason", point))
	}
	all(0)
	before := m.series(t)
	for i := range 1_000 {
		all(i + 1)
	}
	after := m.series(t)
	if after["points{SUPPLYING}"] != 1_001 || after["open_sessions{}"] != 1_001 {
		t.Errorf("points %v, sessions %v", after["points{SUPPLYING}"], after["open_sessions{}"])
	}
	for name := range after {
		if _, there := before[name]; !there {
			t.Errorf("%s has come", name)
		}
	}
}
