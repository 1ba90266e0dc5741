package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"

	"evcharging/adapters/mongo"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// Config says what is replayed, and where to.
type Config struct {
	// Source names the log, see openSource; Archive is the folder of its archive, empty: none.
	Source, Archive string
	// Mongo is where the documents are built; its URI is empty where they are not.
	Mongo mongo.Config
	// Into is the database in which they are, where that is not the URI's; needed with Until, and
	// then another one than that.
	Into string
	// Until leaves out what came later; 0: nothing.
	Until domain.UnixMillis
	// Only is the id of the one point, session or driver whose document is built; empty: all are.
	Only string
	// DryRun tells what would be changed, and changes nothing.
	DryRun bool
	// Export is the file that the log is written to; empty: none.
	Export string
}

// ErrIncomplete tells that what could be done was, and that something could not.
var ErrIncomplete = errors.New("not everything could be done")

// ErrInterrupted tells that a command was stopped before its end.
var ErrInterrupted = errors.New("stopped before the end; run it again to go on")

// Run replays a log: it writes it as JSON Lines, builds the documents from it, or both, and
// prints what it did. How far it is goes to the process's Stderr. It may be stopped at any
// time and run again. ErrNoLog where the log has no events; ErrIncomplete where something of
// it could not be replayed.
func Run(ctx context.Context, p *program.Process, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	return allTold(p, func(p *program.Process) error {
		return withArchived(ctx, p, c.Source, c.Archive, c.Mongo, func(source *Source) error { return replay(ctx, p, c, source) })
	})
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
	if end == 0 {
		return fmt.Errorf("%w: %s has no events, and nothing is built of it", ErrNoLog, c.Source)
	}
	err = rebuild(ctx, p, c, source, end)
	if errors.Is(err, ErrIncomplete) && c.Archive == "" && isArchived(ctx, source) {
		err = fmt.Errorf("%w; samples of this log were moved to an archive: name its folder with --archive, and run this again", err)
	}
	return err
}

// check is nil where the fields go together, an error of usage else.
func (c Config) check() error {
	if c.Mongo.URI == "" {
		if c.Into != "" || c.Until != 0 || c.Only != "" || c.DryRun {
			return program.UsageError(errors.New("--into, --until, --only and --dry-run are about documents: name where they are with --mongo"))
		}
		return nil
	}
	live, err := c.Mongo.DatabaseName()
	switch {
	case err != nil:
		return err
	case c.Until != 0 && c.Into == "":
		return program.UsageError(errors.New("--until builds the past, which must not replace the present: name another database with --into"))
	case c.Into == "admin" || c.Into == "local" || c.Into == "config":
		return program.UsageError(fmt.Errorf("--into names %s, which is MongoDB's own: name another database", c.Into))
	case c.Into == live:
		return program.UsageError(fmt.Errorf("--into names the database of --mongo itself, %s: name another one", live))
	}
	if c.Only != "" {
		return program.UsageError(domain.CheckID(c.Only))
	}
	return nil
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
