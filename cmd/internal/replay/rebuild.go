package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/mongo"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

const (
	// behind is how long before its end a copy of a log may lack something that MongoDB has:
	// commits of several lanes, or Centrals, are not stored in the order of their times. A folder
	// that nobody else has open lacks nothing of that time.
	behind = time.Minute
	// ahead is how much later than now, and than the log's end, a document is not believed to be.
	ahead = 24 * time.Hour
	// endCommits is how many commits are looked at for the time of a log's end.
	endCommits = 1_000
	// changesTold is how many documents that were changed are printed; the others are counted.
	changesTold = 20
)

// rebuild makes the documents of a MongoDB what a log says, and prints what it did.
func rebuild(ctx context.Context, p *program.Process, c Config, source *Source, end eventlog.Position) error {
	c.Mongo.Database = c.Into
	connect := mongo.Connect
	if c.DryRun {
		connect, c.Mongo.MayBeEmpty = mongo.ConnectToRead, true
	}
	store, err := connect(ctx, c.Mongo)
	if err != nil {
		return err
	}
	rebuilt, err := rebuildIn(ctx, p, c, source, store, end)
	if err := errors.Join(err, store.Close()); err != nil {
		return err
	}
	if rebuilt.Documents == 0 && c.Until != 0 && c.Only == "" && rebuilt.Commits == 0 {
		return fmt.Errorf("%w: nothing had happened by %s", ErrNoLog, c.Until)
	}
	for _, line := range rebuiltSummary(rebuilt, c) {
		fmt.Fprintln(p.Stdout, line)
	}
	var reasons []string
	for _, why := range slices.Sorted(maps.Keys(rebuilt.Stale)) {
		reasons = append(reasons, fmt.Sprintf("%d %s", rebuilt.Stale[why], why))
	}
	if rebuilt.Lost > 0 {
		reasons = append(reasons, counted(rebuilt.Lost, "commit")+" lost")
	}
	if rebuilt.Unproved > 0 {
		reasons = append(reasons, counted(rebuilt.Unproved, "bill")+" that the log has not")
		return fmt.Errorf("%w: %s: import what the log has lost from a copy of it (ev-replay import) and run this again; where a bill is wrong, delete its document in MongoDB",
			ErrIncomplete, strings.Join(reasons, ", "))
	}
	if len(reasons) > 0 {
		return fmt.Errorf("%w: %s; the log above says which", ErrIncomplete, strings.Join(reasons, ", "))
	}
	if rebuilt.Newer > 0 && !isCopy(c.Source) {
		return fmt.Errorf("%w: %s newer than the log, as after a backup was brought back: if this log is the newest there is, delete them in MongoDB and run this again",
			ErrIncomplete, are(rebuilt.Newer))
	}
	return nil
}

func rebuildIn(ctx context.Context, p *program.Process, c Config, source *Source, store *mongo.Store, end eventlog.Position) (mongo.Rebuilt, error) {
	o := mongo.RebuildOptions{Only: c.Only, Until: c.Until, DryRun: c.DryRun, Copy: isCopy(c.Source)}
	if !store.Has(source.stored()) && c.Until == 0 {
		last, err := lastTime(ctx, source, end)
		if err != nil {
			return mongo.Rebuilt{}, err
		}
		o.Behind = last + 1
		if o.Copy {
			o.Behind = max(last.Add(-behind), 1)
		}
		o.Ahead = max(last, domain.At(time.Now())).Add(ahead)
	}
	told, most, lines := 0, changesTold, []string(nil)
	if c.DryRun {
		most = findingsTold
	}
	o.Found = func(d mongo.Difference) {
		if !c.DryRun && (d.Kind == mongo.DocumentMissing || d.Kind == mongo.DocumentNewer || d.Behind) {
			return // many may be, and nothing is wrong with them: they are counted
		}
		limit := most
		if d.Kind == mongo.DocumentUnproved {
			limit = findingsTold // each is to be looked at
		}
		if told++; len(lines) < limit {
			lines = append(lines, documentText(d, c.DryRun)) // a bar would overwrite them
		}
	}
	name, of := "replay", int64(end)
	if c.Only != "" {
		of = 0
	}
	core := &central.Central{Log: source, Codec: eventjson.Codec{}}
	documents := store.Projections(mongo.ProjectionsConfig{Read: core.Parts, Open: source.Open, Logger: p.Logger})
	step := begin(p.Stderr, name, of)
	o.Progress = func(r mongo.Rebuilt) { step.came(int64(r.Commits)) }
	rebuilt, err := documents.Rebuild(ctx, source, core.Decode, o)
	step.end(err == nil)
	for _, line := range slices.Sorted(slices.Values(lines)) {
		fmt.Fprintln(p.Stdout, line)
	}
	if more := told - len(lines); more > 0 {
		fmt.Fprintf(p.Stdout, "... and %d more\n", more)
	}
	return rebuilt, err
}

// isCopy tells whether a name is one of lines: of what a log was at some time.
func isCopy(name string) bool {
	if program.IsMongo(name) {
		return false
	}
	info, err := os.Stat(name)
	return err != nil || !info.IsDir()
}

// lastTime is the time of a log's end.
func lastTime(ctx context.Context, log eventlog.Log, end eventlog.Position) (last domain.UnixMillis, err error) {
	for from := max(end, endCommits) - endCommits + 1; from != 0; {
		at := from
		from = 0
		for commit, err := range log.All(ctx, at) {
			var damage *eventlog.DamagedError
			if errors.As(err, &damage) && damage.Position >= at {
				from = damage.Position + 1
				break
			}
			if err != nil {
				return 0, fmt.Errorf("read the end of the event log: %w", err)
			}
			last = max(last, commit.At)
		}
	}
	return last, nil
}
