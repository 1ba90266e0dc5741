package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/mongo"
	"evcharging/application/central"
	"evcharging/cmd/internal/program"
)

// Config says what is replayed, and where to.
type Config struct {
	// Source names the log, see openSource.
	Source string
	// Mongo is where the documents are built; its URI is empty where they are not.
	Mongo mongo.Config
	// Export is the file that the log is written to; empty: none.
	Export string
}

// ErrIncomplete tells that what could be replayed was, and that something could not.
var ErrIncomplete = errors.New("not everything could be replayed")

// ErrInterrupted tells that a command was stopped before its end.
var ErrInterrupted = errors.New("stopped before the end; run it again to go on")

// Run replays a log: it writes it as JSON Lines, builds the documents from it, or both, and
// prints what it did. How far it is goes to the process's Stderr. It may be stopped at any
// time and run again.
func Run(ctx context.Context, p *program.Process, c Config) error {
	return withSource(ctx, p, c.Source, c.Mongo, func(source *Source) error { return replay(ctx, p, c, source) })
}

// interrupted is ErrInterrupted where an error came of ctx's end.
func interrupted(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ErrInterrupted
	}
	return err
}

func replay(ctx context.Context, p *program.Process, c Config, source *Source) error {
	end, err := source.End(ctx)
	if err != nil {
		return fmt.Errorf("read the end of the event log: %w", err)
	}
	if c.Export != "" {
		step := begin(p.Stderr, "export", int64(end))
		_, err := export(ctx, source, source.Network, c.Export, p.Stdout, step.took)
		step.end(err == nil)
		if err != nil {
			return err
		}
		if c.Export != "-" {
			fmt.Fprintf(p.Stdout, "exported %d commits to %s\n", step.done.Load(), c.Export)
		}
	}
	if c.Mongo.URI == "" {
		return nil
	}
	store, err := mongo.Connect(ctx, c.Mongo)
	if err != nil {
		return err
	}
	rebuilt, err := rebuild(ctx, p, source, store, int64(end))
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	fmt.Fprintf(p.Stdout, "replayed %d events of %d commits: %d documents written, %d as they were\n",
		rebuilt.Events, rebuilt.Commits, rebuilt.Written, rebuilt.Unchanged)
	if len(rebuilt.Stale) == 0 {
		return nil
	}
	var reasons []string
	for _, why := range slices.Sorted(maps.Keys(rebuilt.Stale)) {
		reasons = append(reasons, fmt.Sprintf("%d %s", rebuilt.Stale[why], why))
	}
	return fmt.Errorf("%w: %s; the log above says which", ErrIncomplete, strings.Join(reasons, ", "))
}

func rebuild(ctx context.Context, p *program.Process, source *Source, store *mongo.Store, end int64) (mongo.Rebuilt, error) {
	core := &central.Central{Log: source, Codec: eventjson.Codec{}}
	documents := store.Projections(mongo.ProjectionsConfig{Read: core.Parts, Open: source.Open, Logger: p.Logger})
	step := begin(p.Stderr, "replay", end)
	rebuilt, err := documents.Rebuild(ctx, source, core.Decode, func(r mongo.Rebuilt) { step.came(int64(r.Commits)) })
	step.end(err == nil)
	return rebuilt, err
}

// line is what is told of a step so far where there is no terminal.
type line struct {
	Step    string `json:"step"`
	Commits int64  `json:"commits"`
	Of      int64  `json:"of,omitzero"`
	Rate    int64  `json:"commits_per_second"`
	Seconds int64  `json:"seconds"`
	Left    int64  `json:"seconds_left,omitzero"`
}

func (l line) String() string {
	text, _ := json.Marshal(l) // whole numbers and a word: it can't fail
	return string(text)
}
