package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/mongo"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
)

// ImportConfig says what is imported, and where to.
type ImportConfig struct {
	// Source names what is imported, see openSource; Archive is the folder of its archive, empty:
	// none.
	Source, Archive string
	// Log is the log that gets it: a folder of an embedded log, which is made where there is
	// none, or a mongodb:// URI. Mongo has what that does not say itself.
	Log   string
	Mongo mongo.Config
}

var (
	// ErrOtherNetwork tells of a log that is of another network than what is imported.
	ErrOtherNetwork = errors.New("it is the log of another network, or was made of lines that name none: import into a folder or a database that has none yet")
	// ErrDamagedTarget tells that something of the log that is added to is gone, or was changed.
	ErrDamagedTarget = errors.New("the log is damaged: import into a new folder or database instead (ev-replay verify says what can be had back of this one)")
	// ErrNoTarget tells of a name that nothing can be imported into.
	ErrNoTarget = errors.New("a log is imported into a folder or a mongodb:// URI; ev-replay export writes files")
)

// Import adds to a log what it does not have yet of another. What is imported is read whole
// before, and compared with what is there, which is verified: where the two contradict, nothing is stored
// (audit.ContradictionError, audit.GapError, ErrOtherNetwork, ErrDamagedTarget). It may be stopped at any time,
// and run again to go on.
func Import(ctx context.Context, p *program.Process, c ImportConfig) error {
	if err := importable(c.Log); err != nil {
		return err
	}
	from := c.Mongo
	from.URI = ""
	if program.IsMongo(c.Log) {
		from.URI = c.Log // its user is not told to another server
	}
	return withArchived(ctx, p, c.Source, c.Archive, from, func(source *Source) error {
		target, err := openTarget(ctx, p, c, source.Network)
		if err != nil {
			return err
		}
		return errors.Join(take(ctx, p, source, target), target.close())
	})
}

func importable(name string) error {
	info, err := os.Stat(name)
	if name == "-" || strings.Contains(name, "://") && !program.IsMongo(name) || strings.HasSuffix(name, ".jsonl") || packed(name) || err == nil && !info.IsDir() {
		return program.UsageError(fmt.Errorf("%w: %s is neither", ErrNoTarget, name))
	}
	return nil
}

// target is a log that is added to.
type target struct {
	eventlog.Log
	network uuid.UUID
	close   func() error
}

// openTarget opens the log that is added to; a new one gets the id of the network.
func openTarget(ctx context.Context, p *program.Process, c ImportConfig, network uuid.UUID) (t *target, err error) {
	if program.IsMongo(c.Log) {
		config := c.Mongo
		config.URI, config.Network = c.Log, network
		store, err := mongo.Connect(ctx, config)
		if err != nil {
			return nil, err
		}
		log := store.Log()
		t = &target{log, store.NetworkID(), func() error { return errors.Join(log.Close(), store.Close()) }}
	} else {
		log, err := bbolt.Open(c.Log, bbolt.Options{Logger: p.Logger, Network: network})
		if errors.Is(err, bbolt.ErrInUse) {
			err = fmt.Errorf("%w; a Central has to stop before its log is added to", err)
		}
		if err != nil {
			return nil, err
		}
		t = &target{log, log.NetworkID(), log.Close}
	}
	if network != uuid.Nil && t.network != network {
		return nil, errors.Join(fmt.Errorf("the log is of network %s, and what is imported of %s: %w", t.network, network, ErrOtherNetwork), t.close())
	}
	return t, nil
}

// take takes a log into another.
func take(ctx context.Context, p *program.Process, source *Source, to *target) error {
	end, err := source.End(ctx)
	if err != nil {
		return fmt.Errorf("read the end of what is imported: %w", err)
	}
	from := upTo{source, end}
	has, err := to.End(ctx)
	if err != nil {
		return fmt.Errorf("read the end of the event log: %w", err)
	}
	there := uint64(0)
	if has > 0 {
		if err := whole(ctx, p, to, has); err != nil {
			return fmt.Errorf("nothing was imported: %w", err)
		}
		step := begin(p.Stderr, "compare", int64(end))
		there, err = audit.Agree(ctx, from, to, step.took)
		step.end(err == nil)
		if err != nil {
			return fmt.Errorf("nothing was imported: %w", err)
		}
	}
	step := begin(p.Stderr, "import", int64(end))
	err = fill(ctx, to, from.All(ctx, 1), step.took)
	step.end(err == nil)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	return sayImported(p.Stdout, uint64(step.done.Load()), there)
}

// upTo is a log as it ended at first: what a Central appends meanwhile was not compared.
type upTo struct {
	audit.Log
	end eventlog.Position
}

func (l upTo) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for c, err := range l.Log.All(ctx, from) {
			if err == nil && c.Position > l.end || !yield(c, err) {
				return
			}
		}
	}
}

// whole is ErrDamagedTarget where something is wrong with a log: its ends would stand for what
// it does not have.
func whole(ctx context.Context, p *program.Process, log audit.Log, end eventlog.Position) error {
	count, first := 0, audit.Finding{}
	step := begin(p.Stderr, "verify", int64(end))
	_, err := audit.Verify(ctx, log, eventjson.Codec{}, func(f audit.Finding) {
		gone := func(reason error) bool { return errors.Is(f.Reason, reason) }
		if !slices.ContainsFunc([]error{eventlog.ErrDamaged, audit.ErrHash, audit.ErrChain, audit.ErrMissing, audit.ErrRepeated}, gone) {
			return // what is said there is no matter of what follows what
		}
		if count++; count == 1 {
			first = f
		}
	}, func(sofar audit.Verified) { step.came(int64(sofar.Commits)) })
	step.end(err == nil)
	if err == nil && count > 0 {
		err = fmt.Errorf("%w; %s, the first: %s", ErrDamagedTarget, counted(count, "finding"), first)
	}
	return err
}

func sayImported(out io.Writer, commits, there uint64) error {
	_, err := fmt.Fprintf(out, "imported %s", counted(commits-there, "commit"))
	if there > 0 {
		_, err = fmt.Fprintf(out, "; %s there already", counted(there, "commit"))
	}
	fmt.Fprintln(out)
	return err
}
