package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"evcharging/adapters/prometheus"
	"evcharging/application/eventlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errProof = errors.New("the registration has no valid proof")
	errPoint = errors.New("no such point is registered")
)

func ready(context.Context) error { return nil }

// whole is a Central of which everything is known.
func whole(context.Context) prometheus.Standing {
	return prometheus.Standing{
		BrokerUp: true, StoreUp: true, ListeningSince: 1_800_000_000_123,
		Lag:     map[string]int64{"ev.health": 7},
		Records: map[string]prometheus.Records{"ev.health": {Sent: 1, Received: 2, Retried: 3, InFlight: 4}},
		Points:  map[string]int{"ACTIVATED": 5, "BROKEN": 0}, OpenSessions: 6,
		Ignored:   map[string]int{"unchanged": 8},
		Documents: &prometheus.Documents{Delay: 1_500 * time.Millisecond, Stale: map[string]int{"invalid": 9}, Mended: 10},
		Audit:     &prometheus.Audit{Streams: 11, Findings: 12, Signed: 1_800_000_000_456},
	}
}

func central(look func(context.Context) prometheus.Standing) *prometheus.Central {
	return prometheus.NewCentral([]string{"ev.health", "ev.register"}, []prometheus.Reason{{Error: errProof, Name: "proof"}, {Error: errPoint, Name: "unknown_point"}}, ready, look)
}

// values are the series of a gatherer with a name that begins so, as Prometheus reads them.
func values(t *testing.T, from interface{ Gatherer() client.Gatherer }, prefix string) map[string]float64 {
	t.Helper()
	families, err := from.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), prefix) {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := strings.TrimPrefix(f.GetName(), "evcharging_") + "{" + strings.Join(labels, ",") + "}"
			switch {
			case m.GetHistogram() != nil:
				all[name] = float64(m.GetHistogram().GetSampleCount())
			case m.GetCounter() != nil:
				all[name] = m.GetCounter().GetValue()
			default:
				all[name] = m.GetGauge().GetValue()
			}
		}
	}
	return all
}

func TestHowACentralStands(t *testing.T) {
	got := values(t, central(whole), "evcharging_")
	for name, want := range map[string]float64{
		"ready{}": 1, "broker_up{}": 1, "store_up{}": 1, "listening_since_timestamp_seconds{}": 1_800_000_000.123,
		"consumer_lag_records{ev.health}": 7, "records_sent_total{ev.health}": 1, "records_received_total{ev.health}": 2,
		"records_retried_total{ev.health}": 3, "records_in_flight{ev.health}": 4,
		"points{ACTIVATED}": 5, "points{BROKEN}": 0, "open_sessions{}": 6, "inputs_ignored_total{unchanged}": 8,
		"projection_delay_seconds{}": 1.5, "stale_documents{invalid}": 9, "mended_documents_total{}": 10,
		"verified_streams_total{}": 11, "log_findings_total{}": 12, "checkpoint_timestamp_seconds{}": 1_800_000_000.456,
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %v (%t), want %v", name, value, there, want)
		}
	}
}

func TestWhatIsNotKnownIsNotShown(t *testing.T) {
	c := prometheus.NewCentral(nil, nil, func(context.Context) error { return errProof }, func(context.Context) prometheus.Standing { return prometheus.Standing{} })
	var names []string
	for name := range values(t, c, "evcharging_") {
		names = append(names, name[:strings.Index(name, "{")])
	}
	slices.Sort(names)
	want := []string{
		"append_conflicts_total", "append_duration_seconds", "append_failures_total", "broker_up", "build_info", "ready", "store_up",
	}
	if !slices.Equal(names, want) {
		t.Errorf("shown are %q, want %q", names, want)
	}
	if got := values(t, c, "evcharging_")["ready{}"]; got != 0 {
		t.Errorf("ready is %v", got)
	}
}

func TestWhatIsCounted(t *testing.T) {
	c := central(whole)
	c.Turn("ev.health", prometheus.Committed, time.Millisecond)
	c.Turn("ev.health", prometheus.Committed, time.Second)
	c.Turn("ev.register", prometheus.Failed, time.Second)
	c.Append(time.Millisecond, nil)
	c.Append(time.Millisecond, fmt.Errorf("store: %w", &eventlog.ConflictError{Stream: "point-CP-001"}))
	c.Append(time.Millisecond, &eventlog.CauseStoredError{})
	c.Append(time.Millisecond, context.Canceled)
	c.Append(time.Millisecond, errors.New("the disk is full"))
	c.DeadLetter("ev.register", fmt.Errorf("%w of CP-001", errProof))
	c.DeadLetter("ev.register", errors.New("point CP-7 speaks nonsense"))
	got := values(t, c, "evcharging_")
	for name, want := range map[string]float64{
		"turns_total{committed,ev.health}": 2, "turns_total{refused,ev.health}": 0, "turns_total{failed,ev.register}": 1,
		"turn_duration_seconds{ev.health}": 2, "turn_duration_seconds{ev.register}": 1,
		"append_duration_seconds{}": 5, "append_conflicts_total{}": 1, "append_failures_total{}": 1,
		"dead_letters_total{proof,ev.register}":         1,
		"dead_letters_total{unknown_point,ev.register}": 0,
		"dead_letters_total{other,ev.register}":         1,
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %v (%t), want %v", name, value, there, want)
		}
	}
}

func TestTheNamesAreGoodOnes(t *testing.T) {
	problems, err := testutil.GatherAndLint(central(whole).Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// rows are how README.md begins to tell of each metric, by name.
func rows(t *testing.T) map[string]string {
	t.Helper()
	families, err := central(whole).Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "evcharging_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		row := fmt.Sprintf("| `%s` | %s | %s |", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "))
		all[f.GetName()] = strings.Replace(row, "|  |", "| |", 1)
	}
	return all
}

func TestTheREADMETellsOfEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Watching it\n")
	section, _, _ = strings.Cut(section, "\n## ")
	exist := rows(t)
	for _, row := range exist {
		if !strings.Contains(section, "\n"+row) {
			t.Errorf("README.md has no row %s", row)
		}
	}
	for _, name := range ours.FindAllString(section, -1) {
		if exist[name] == "" {
			t.Errorf("README.md tells of %s, which does not exist", name)
		}
	}
}

var (
	ours      = regexp.MustCompile(`\bevcharging_\w+`)
	histogram = regexp.MustCompile(`_(bucket|count|sum)$`)
)

func TestTheAlertsNameMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile("../../docs/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	exist, named := rows(t), ours.FindAllString(string(text), -1)
	if len(named) == 0 {
		t.Error("docs/alerts.yml names no metric")
	}
	for _, name := range named {
		if base := histogram.ReplaceAllString(name, ""); exist[name] == "" && !strings.Contains(exist[base], "| histogram |") {
			t.Errorf("docs/alerts.yml names %s, which does not exist", name)
		}
	}
}

func TestAScrape(t *testing.T) {
	c := central(whole)
	recorder := httptest.NewRecorder()
	c.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(recorder.Result().Body)
	if err != nil || recorder.Code != 200 {
		t.Fatal(recorder.Code, err)
	}
	for _, line := range []string{
		`evcharging_points{state="ACTIVATED"} 5`,
		`evcharging_build_info{go_version="go`,
		`evcharging_turns_total{result="committed",topic="ev.health"} 0`,
		`go_goroutines `,
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

// What hangs must not hold up a scrape for longer than Prometheus waits.
func TestAScrapeIsBounded(t *testing.T) {
	bounded := func(ctx context.Context) bool {
		deadline, ok := ctx.Deadline()
		return ok && time.Until(deadline) < 5*time.Second
	}
	asked := 0
	c := prometheus.NewCentral(nil, nil, func(ctx context.Context) error {
		if asked++; !bounded(ctx) {
			t.Error("ready is asked without a bound")
		}
		return nil
	}, func(ctx context.Context) prometheus.Standing {
		if !bounded(ctx) {
			t.Error("it is looked without a bound")
		}
		return prometheus.Standing{}
	})
	values(t, c, "")
	if asked != 1 {
		t.Errorf("ready was asked %d times", asked)
	}
}
