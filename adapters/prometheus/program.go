package prometheus

import (
	"context"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace is the beginning of the names of what is ours.
const namespace = "evcharging_"

// scrapeWithin is how long a scrape may wait for what others answer: less than Prometheus
// waits for a scrape.
const scrapeWithin = 3 * time.Second

// Program measures a program. Its methods may be called at the same time.
type Program struct{ registry *prometheus.Registry }

// NewProgram measures the program of a name. ready is nil as long as it does its work, and
// returns soon after its ctx ends; it is asked at each scrape.
func NewProgram(name string, ready func(context.Context) error) *Program {
	p := &Program{prometheus.NewRegistry()}
	version, revision, compiler := "unknown", "unknown", "unknown"
	if build, ok := debug.ReadBuildInfo(); ok {
		version, compiler = build.Main.Version, build.GoVersion
		for _, s := range build.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	p.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        namespace + "build_info",
			Help:        "Always 1; the labels say what runs.",
			ConstLabels: prometheus.Labels{"program": name, "version": version, "revision": revision, "go_version": compiler},
		}, func() float64 { return 1 }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: namespace + "ready",
			Help: "Whether the program is ready, as /readyz says: 1 or 0.",
		}, func() float64 {
			ctx, stop := context.WithTimeout(context.Background(), scrapeWithin)
			defer stop()
			return whether(ready(ctx) == nil)
		}),
	)
	return p
}

// Handler answers scrapes.
func (p *Program) Handler() http.Handler {
	return promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Gatherer gives everything that is measured.
func (p *Program) Gatherer() prometheus.Gatherer { return p.registry }

func whether(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}
