package prometheus

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// Result is what became of a turn.
type Result string

// The results. A turn that failed is tried again, and counted again.
const (
	// Committed stored what it decided.
	Committed Result = "committed"
	// Repeated was stored before, and finished now.
	Repeated Result = "repeated"
	// Ignored changed nothing.
	Ignored Result = "ignored"
	// Refused can never be acted on: its record is a dead letter.
	Refused Result = "refused"
	// Failed could not be finished: the log, the broker or a projection was away.
	Failed Result = "failed"
)

var results = []Result{Committed, Repeated, Ignored, Refused, Failed}

// seconds are the buckets of durations: from a commit to a disk, in a millisecond, to a store
// that hangs.
var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// Standing is how a Central stands at a moment. What is not known is left as it is, and then
// not shown.
type Standing struct {
	// BrokerUp and StoreUp tell whether they answer.
	BrokerUp, StoreUp bool
	// ListeningSince is since when silence would have been heard.
	ListeningSince domain.UnixMillis
	// Lag is how many records of a topic wait that the consumer group has not committed, by topic.
	Lag map[string]int64
	// Records are counts of records, by topic.
	Records map[string]Records
	// Points is how many points are shown in a state, by state.
	Points map[string]int
	// OpenSessions is how many were granted and are not closed.
	OpenSessions int
	// Ignored is how many inputs did nothing, by the name of the rule that says so.
	Ignored map[string]int
	// Documents is nil where there are no documents.
	Documents *Documents
	// Audit is nil as long as the event log is not open.
	Audit *Audit
}

// Audit is what a Central that runs has looked at in its event log.
type Audit struct {
	// Streams were verified, Findings were found.
	Streams, Findings uint64
	// Signed is when the last checkpoint was signed; 0 where none was.
	Signed domain.UnixMillis
}

// Records counts what became of a topic's records since the start.
type Records struct {
	Sent, Received, Retried uint64
	// InFlight are those that are received and not acknowledged.
	InFlight int64
}

// Documents is how far the documents of MongoDB are behind the log.
type Documents struct {
	// Delay is how long the oldest change waits that is not written.
	Delay time.Duration
	// Stale is how many documents can't be made as the log has them, by one of a few reasons.
	Stale map[string]int
	// Mended is how many documents said something else than the log, and were replaced.
	Mended uint64
}

// Central measures a Central. Its methods may be called at the same time.
type Central struct {
	*Program
	look    func(context.Context) Standing
	reasons []Reason

	turns        *prometheus.CounterVec
	turnDuration *prometheus.HistogramVec
	appends      prometheus.Histogram
	conflicts    prometheus.Counter
	failures     prometheus.Counter
	deadLetters  *prometheus.CounterVec
}

// Reason is one for which records become dead letters, and its name.
type Reason struct {
	Error error
	Name  string
}

// other is the name of a reason that is not known.
const other = "other"

// NewCentral measures a Central that takes turns for the records of topics, which become
// dead letters for reasons. ready is NewProgram's; look tells how it stands, and returns soon
// after its ctx ends.
func NewCentral(topics []string, reasons []Reason, ready func(context.Context) error, look func(context.Context) Standing) *Central {
	c := &Central{
		Program: NewProgram("ev-central", ready), look: look, reasons: reasons,
		turns: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: namespace + "turns_total",
			Help: "Turns, by the topic of the record and what became of it: committed, repeated, ignored, refused, failed.",
		}, []string{"topic", "result"}),
		turnDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: namespace + "turn_duration_seconds", Buckets: seconds,
			Help: "How long a turn took, until all that it causes was stored and sent.",
		}, []string{"topic"}),
		appends: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: namespace + "append_duration_seconds", Buckets: seconds,
			Help: "How long an append to the event log took, until it was durable or refused.",
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: namespace + "append_conflicts_total",
			Help: "Appends that another Central was quicker than: they are decided anew.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: namespace + "append_failures_total",
			Help: "Appends that the event log's store failed.",
		}),
		deadLetters: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: namespace + "dead_letters_total",
			Help: "Records that went to a dead-letter topic, by their topic and why they are refused.",
		}, []string{"topic", "reason"}),
	}
	// What can be counted is there from the start: its first increase is one, too.
	for _, topic := range topics {
		for _, reason := range reasons {
			c.deadLetters.WithLabelValues(topic, reason.Name)
		}
		c.deadLetters.WithLabelValues(topic, other)
		for _, r := range results {
			c.turns.WithLabelValues(topic, string(r))
		}
		c.turnDuration.WithLabelValues(topic)
	}
	c.registry.MustRegister(c.turns, c.turnDuration, c.appends, c.conflicts, c.failures, c.deadLetters, standing{c})
	return c
}

// Turn counts a turn for a record of a topic.
func (c *Central) Turn(topic string, result Result, took time.Duration) {
	c.turns.WithLabelValues(topic, string(result)).Inc()
	c.turnDuration.WithLabelValues(topic).Observe(took.Seconds())
}

// Append counts an append that ended with err.
func (c *Central) Append(took time.Duration, err error) {
	c.appends.Observe(took.Seconds())
	var (
		conflict *eventlog.ConflictError
		stored   *eventlog.CauseStoredError
	)
	switch {
	case errors.As(err, &conflict):
		c.conflicts.Inc()
	case err == nil || errors.As(err, &stored) || errors.Is(err, context.Canceled):
	default:
		c.failures.Inc()
	}
}

// DeadLetter counts a dead letter of a topic by the reason that explains it.
func (c *Central) DeadLetter(topic string, why error) {
	name := other
	if i := slices.IndexFunc(c.reasons, func(r Reason) bool { return errors.Is(why, r.Error) }); i >= 0 {
		name = c.reasons[i].Name
	}
	c.deadLetters.WithLabelValues(topic, name).Inc()
}

// standing collects how a Central stands when it is scraped.
type standing struct{ *Central }

func described(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+name, help, labels, nil)
}

var (
	brokerUp        = described("broker_up", "Whether a Kafka broker answers: 1 or 0.")
	storeUp         = described("store_up", "Whether the event log's store answers: 1 or 0.")
	listeningSince  = described("listening_since_timestamp_seconds", "Since when silence would have been heard: leases and deadlines run out only after it.")
	lag             = described("consumer_lag_records", "Records that wait to be taken in and acknowledged, by topic, of all Centrals of the group.", "topic")
	sent            = described("records_sent_total", "Records that the broker has acknowledged, by topic.", "topic")
	received        = described("records_received_total", "Records that came, by topic; some come again.", "topic")
	retried         = described("records_retried_total", "How often a record was tried again, by topic.", "topic")
	inFlight        = described("records_in_flight", "Records that came and are not acknowledged, by topic.", "topic")
	points          = described("points", "Charging points, by the state that is shown.", "state")
	openSessions    = described("open_sessions", "Sessions that were granted and are not closed.")
	ignored         = described("inputs_ignored_total", "Inputs that did nothing, by the rule that says so.", "rule")
	projectionDelay = described("projection_delay_seconds", "How long the oldest change waits that is not in the documents of MongoDB.")
	staleDocuments  = described("stale_documents", "Documents of MongoDB that can't be made as the log has them, by reason.", "reason")
	checkpointAt    = described("checkpoint_timestamp_seconds", "When the last checkpoint of the event log was signed.")
	verifiedStreams = described("verified_streams_total", "Streams of the event log that were verified while it is written.")
	logFindings     = described("log_findings_total", "What is not as it should be in the streams of the event log that were verified.")
	mendedDocuments = described("mended_documents_total", "Documents of MongoDB that said something else than the log, and were replaced.")
)

// Describe is prometheus.Collector's.
func (standing) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		brokerUp, storeUp, listeningSince, lag, sent, received, retried, inFlight,
		points, openSessions, ignored, projectionDelay, staleDocuments, mendedDocuments,
		checkpointAt, verifiedStreams, logFindings,
	} {
		to <- d
	}
}

// Collect is prometheus.Collector's.
func (c standing) Collect(to chan<- prometheus.Metric) {
	ctx, stop := context.WithTimeout(context.Background(), scrapeWithin)
	defer stop()
	s := c.look(ctx)
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
	}
	gauge(brokerUp, whether(s.BrokerUp))
	gauge(storeUp, whether(s.StoreUp))
	if s.ListeningSince != 0 {
		gauge(listeningSince, float64(s.ListeningSince)/1_000)
	}
	for topic, records := range s.Lag {
		gauge(lag, float64(records), topic)
	}
	for topic, r := range s.Records {
		counter(sent, float64(r.Sent), topic)
		counter(received, float64(r.Received), topic)
		counter(retried, float64(r.Retried), topic)
		gauge(inFlight, float64(r.InFlight), topic)
	}
	if s.Points != nil {
		for state, n := range s.Points {
			gauge(points, float64(n), state)
		}
		gauge(openSessions, float64(s.OpenSessions))
	}
	for rule, n := range s.Ignored {
		counter(ignored, float64(n), rule)
	}
	if s.Audit != nil {
		counter(verifiedStreams, float64(s.Audit.Streams))
		counter(logFindings, float64(s.Audit.Findings))
		if s.Audit.Signed != 0 {
			gauge(checkpointAt, float64(s.Audit.Signed)/1_000)
		}
	}
	if s.Documents != nil {
		gauge(projectionDelay, s.Documents.Delay.Seconds())
		for reason, n := range s.Documents.Stale {
			gauge(staleDocuments, float64(n), reason)
		}
		counter(mendedDocuments, float64(s.Documents.Mended))
	}
}
