package central

import (
	"context"
	"errors"
	"sync"
	"time"

	"evcharging/adapters/kafka"
	"evcharging/adapters/prometheus"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// standing is how the node stands now.
func (n *Node) standing(ctx context.Context) prometheus.Standing {
	s := prometheus.Standing{ListeningSince: n.listening.Since(), Ignored: n.ignoredByName()}
	var asked sync.WaitGroup
	if store := n.vitals.store.Load(); store != nil {
		asked.Go(func() { s.StoreUp = store.answers(ctx) == nil })
	}
	if transport := n.vitals.transport.Load(); transport != nil {
		s.BrokerUp = transport.Away() == nil
		s.Records = map[string]prometheus.Records{}
		for topic, counts := range transport.Stats() {
			s.Records[topic] = prometheus.Records{
				Sent: counts.Sent, Received: counts.Received, Retried: counts.Retried, InFlight: counts.InFlight,
			}
		}
		if s.BrokerUp {
			asked.Go(func() { s.Lag = lag(ctx, transport) })
		}
	}
	if feed := n.vitals.feed.Load(); feed != nil {
		seen := feed.Snapshot(network.Window{})
		s.OpenSessions = seen.Open
		s.Points = map[string]int{
			string(chargingpoint.Activated):    seen.Counts.Activated,
			string(chargingpoint.Supplying):    seen.Counts.Supplying,
			string(chargingpoint.OutOfOrder):   seen.Counts.OutOfOrder,
			string(chargingpoint.Broken):       seen.Counts.Broken,
			string(chargingpoint.Disconnected): seen.Counts.Disconnected,
			network.Unreadable:                 seen.Counts.Unreadable,
		}
	}
	s.Documents = n.documentsStand()
	if n.vitals.feed.Load() != nil {
		s.Audit = &prometheus.Audit{Streams: n.sampled.streams.Load(), Findings: n.sampled.findings.Load()}
		if at := n.signed.Load(); at != nil {
			s.Audit.Signed = *at
		}
	}
	asked.Wait()
	return s
}

// documentsStand is how the documents of MongoDB stand, nil where none are kept. Where it has
// not answered since the start, all changes since then wait.
func (n *Node) documentsStand() *prometheus.Documents {
	if documents := n.documents.Load(); documents != nil {
		stats := documents.Stats()
		return &prometheus.Documents{Delay: stats.Delay, Stale: stats.Stale, Mended: stats.Mended}
	}
	if n.config.Mongo.URI == "" {
		return nil
	}
	return &prometheus.Documents{Delay: time.Since(n.vitals.began)}
}

// lag is how many records wait that the groups have not committed, by topic; a topic of
// which it is not known in time is left out.
func lag(ctx context.Context, transport *kafka.Transport) map[string]int64 {
	lags := map[string]int64{}
	for _, topic := range transport.Topics().CentralReads() {
		left, err := transport.Backlog(ctx, group, topic)
		if err != nil {
			continue
		}
		lags[topic] = 0
		for _, unread := range left {
			lags[topic] += unread.Last - unread.First + 1
		}
	}
	return lags
}

// ruleNames are the rules as they are named among the metrics: their texts may change.
var ruleNames = map[error]string{
	chargingpoint.ErrNotLater:      "not_later",
	chargingpoint.ErrUnchanged:     "unchanged",
	chargingpoint.ErrDeadlineGone:  "deadline_gone",
	chargingpoint.ErrNotOccupiedBy: "not_occupied_by",
	chargingpoint.ErrStopRecent:    "stop_recent",
	session.ErrNotNewer:            "not_newer",
	session.ErrRunsBackwards:       "runs_backwards",
	session.ErrClosed:              "closed",
	session.ErrAlreadyEnding:       "already_ending",
	session.ErrDeadlineGone:        "deadline_gone",
	session.ErrAlreadyAnswered:     "already_answered",
	chargingpoint.ErrProof:         "proof",
	chargingpoint.ErrUnknownPoint:  "unknown_point",
	chargingpoint.ErrScheduleFull:  "schedule_full",
	session.ErrUnknownSession:      "unknown_session",
	session.ErrForeignPoint:        "foreign_point",
	session.ErrForeignDriver:       "foreign_driver",
	domain.ErrOutOfRange:           "out_of_range",
	domain.ErrID:                   "id",
	central.ErrUnknownAction:       "unknown_action",
	central.ErrIncomplete:          "incomplete",
}

// newMetrics measures a node.
func (n *Node) newMetrics() *prometheus.Central {
	reasons := []prometheus.Reason{
		{Error: kafka.ErrUnreadable, Name: "unreadable"},
		{Error: kafka.ErrUnsendable, Name: "unsendable"},
		{Error: eventlog.ErrDamaged, Name: "damaged"},
	}
	_, refused := central.Rules()
	for _, rule := range refused {
		reasons = append(reasons, prometheus.Reason{Error: rule, Name: ruleNames[rule]})
	}
	return prometheus.NewCentral(n.config.Kafka.Topics.CentralReads(), reasons, n.vitals.ready, n.standing)
}

// ignoredByName is how many inputs did nothing, by the names of the rules that say so.
func (n *Node) ignoredByName() map[string]int {
	rules, _ := central.Rules()
	counts, names := n.ignored.Counts(), map[string]int{}
	for _, rule := range rules {
		names[ruleNames[rule]] = counts[rule.Error()]
	}
	return names
}

// measuredLog is the event log, its appends measured.
type measuredLog struct {
	eventlog.Log
	metrics *prometheus.Central
}

// Append is eventlog.Log's.
func (l measuredLog) Append(ctx context.Context, commit eventlog.Commit) error {
	began := time.Now()
	err := l.Log.Append(ctx, commit)
	l.metrics.Append(time.Since(began), err)
	var stored *eventlog.CauseStoredError
	if o, ok := ctx.Value(outcomeKey{}).(*outcome); ok {
		o.stored = o.stored || err == nil
		o.repeated = o.repeated || errors.As(err, &stored)
	}
	return err
}

// ByCause is eventlog.Log's.
func (l measuredLog) ByCause(ctx context.Context, cause eventlog.Cause) (eventlog.Commit, bool, error) {
	commit, found, err := l.Log.ByCause(ctx, cause)
	if o, ok := ctx.Value(outcomeKey{}).(*outcome); ok {
		o.repeated = o.repeated || found
	}
	return commit, found, err
}

// outcome is what the log said to a turn; it travels with the turn's context.
type outcome struct{ stored, repeated bool }

type outcomeKey struct{}

// measureTurn takes a turn for a record of a topic and counts what became of it. One that
// was given up, because the program stops or its partition is another's, is not counted.
func measureTurn(ctx context.Context, metrics *prometheus.Central, topic string, take func(context.Context) error) error {
	var o outcome
	began := time.Now()
	err := take(context.WithValue(ctx, outcomeKey{}, &o))
	var rejected *message.RejectedError
	result := prometheus.Ignored
	switch {
	case errors.As(err, &rejected), errors.Is(err, kafka.ErrUnsendable):
		result = prometheus.Refused
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		result = prometheus.Failed
	case o.repeated:
		result = prometheus.Repeated
	case o.stored:
		result = prometheus.Committed
	}
	metrics.Turn(topic, result, time.Since(began))
	return err
}
