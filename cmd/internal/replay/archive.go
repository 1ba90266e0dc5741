package replay

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/durable"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/jsonl"
	"evcharging/adapters/mongo"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// ArchiveConfig says what is archived, and where to.
type ArchiveConfig struct {
	// Log is the log: a folder of an embedded one, or a mongodb:// URI. Mongo has what that
	// does not say itself.
	Log   string
	Mongo mongo.Config
	// Dir is the folder of the archive.
	Dir string
	// Before is the instant before which a month has to be over.
	Before domain.UnixMillis
}

var (
	// ErrNoArchive tells of a log that can't be archived.
	ErrNoArchive = errors.New("the log that is archived is a folder or a mongodb:// URI")
	// ErrArchiveLost tells that a part of an archive is not in its folder.
	ErrArchiveLost = errors.New("what was archived before is not there: name the folder that it is in")
	// ErrArchiveDiffers tells of a file that was written and does not read as that.
	ErrArchiveDiffers = errors.New("the archive does not read as it was written")
	// ErrArchiveInUse tells that another process archives to the same folder.
	ErrArchiveInUse = errors.New("another process archives to this folder: run it again when that has ended")
)

// Archive moves the samples of sessions that were closed in months which are over to a folder:
// a file for each month, which has all of these sessions up to their close. Of a session's
// samples the last stays in the log, so that all but the curve is there as before. A file is on
// the disk, and was read again, before anything of it is removed from the log, and it is never
// replaced. Archive may be stopped at any time, and run again to go on. ErrArchiveInUse where
// another process archives to the folder.
func Archive(ctx context.Context, p *program.Process, c ArchiveConfig) error {
	if strings.Contains(c.Log, "://") && !program.IsMongo(c.Log) || c.Log == "-" {
		return program.UsageError(fmt.Errorf("%w: %s is neither", ErrNoArchive, c.Log))
	}
	if info, err := os.Stat(c.Log); err == nil && !info.IsDir() {
		return program.UsageError(fmt.Errorf("%w: %s is neither", ErrNoArchive, c.Log))
	}
	a := archiving{Process: p, ArchiveConfig: c, moved: map[eventlog.Stream]eventlog.Moved{}}
	defer func() {
		if a.lock != nil {
			_ = a.lock.Close() // nothing was written to it
		}
	}()
	if err := withSource(ctx, p, c.Log, c.Mongo, func(source *Source) error { return a.write(ctx, source) }); err != nil {
		return err
	}
	removed, err := a.remove(ctx)
	if err != nil {
		return interrupted(ctx, fmt.Errorf("remove from the log what is archived: %w", err))
	}
	for _, line := range a.wrote {
		fmt.Fprintln(p.Stdout, line)
	}
	fmt.Fprintf(p.Stdout, "archived %s of %s\n", counted(removed, "sample"), counted(len(a.moved), "session"))
	return nil
}

// archiving is an Archive under way.
type archiving struct {
	*program.Process
	ArchiveConfig
	// moved are the sessions that are in the archive, and still have samples in the log that
	// are.
	moved map[eventlog.Stream]eventlog.Moved
	wrote []string
	lock  *os.File
}

// lockName is not that of a log's lock: an archive may be in the folder of its log.
const lockName = "archive.lock"

// take makes the folder where there is none, for this process alone.
func (a *archiving) take() (err error) {
	if err := os.MkdirAll(a.Dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of the archive: %w", err)
	}
	a.lock, err = durable.Take(filepath.Join(a.Dir, lockName), 0)
	if errors.Is(err, durable.ErrHeld) {
		return fmt.Errorf("%s: %w", a.Dir, ErrArchiveInUse)
	}
	if err != nil {
		return fmt.Errorf("lock the folder of the archive: %w", err)
	}
	return nil
}

// write sees to it that all that can be archived is in the archive.
func (a *archiving) write(ctx context.Context, source *Source) error {
	if err := a.take(); err != nil {
		return err
	}
	end, err := source.End(ctx)
	if err != nil {
		return fmt.Errorf("read the end of the event log: %w", err)
	}
	step := begin(a.Stderr, "look", int64(end))
	sessions, archives, err := audit.Archivables(ctx, source, a.Before, step.took)
	step.end(err == nil)
	if err != nil {
		return err
	}
	months := map[string]bool{}
	for _, s := range sessions {
		months[s.Month] = true
	}
	fresh := map[string]map[eventlog.Stream]audit.Archivable{}
	files, err := filesIn(a.Dir)
	if err != nil {
		return err
	}
	for _, month := range slices.Sorted(maps.Keys(months)) {
		for _, file := range files {
			if strings.HasPrefix(file, month) {
				if err := a.find(ctx, source, filepath.Join(a.Dir, file), sessions); err != nil {
					return err
				}
			}
		}
		fresh[month] = map[eventlog.Stream]audit.Archivable{}
	}
	for stream, s := range sessions {
		if _, there := a.moved[stream]; there {
			continue
		}
		if s.Begun {
			return fmt.Errorf("%w: that of %s, of %s", ErrArchiveLost, s.Month, stream)
		}
		fresh[s.Month][stream] = s
	}
	return a.months(ctx, source, fresh, append(files, archives...))
}

// find finds sessions in a file of the archive: an earlier run wrote it, and did not come to its end.
func (a *archiving) find(ctx context.Context, source *Source, name string, sessions map[eventlog.Stream]audit.Archivable) error {
	ends := map[eventlog.Stream]eventlog.Part{}
	err := eachArchived(name, source.Network, func(c eventlog.Positioned) error {
		for _, p := range c.Parts {
			s, ok := sessions[p.Stream]
			if ok && p.Version == 1 && c.Position != s.First {
				return fmt.Errorf("%w: %s has %s at position %d, and the log at %d", ErrForeignArchive, name, p.Stream, c.Position, s.First)
			}
			if ok {
				ends[p.Stream] = p
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for stream, end := range ends {
		for c, err := range source.Read(ctx, stream, end.Version) {
			if err != nil {
				return fmt.Errorf("read %s: %w", stream, err)
			}
			if c.Parts[0].Hash != end.Hash {
				return fmt.Errorf("%w: %s has another history of %s", ErrForeignArchive, name, stream)
			}
			break
		}
		a.moved[stream] = eventlog.Moved{Before: sessions[stream].Sample, Archive: filepath.Base(name)}
	}
	return nil
}

// eachArchived reads a file of the archive, all of it.
func eachArchived(name string, network uuid.UUID, each func(eventlog.Positioned) error) error {
	file, err := openFile(name)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := jsonl.NewReader(file)
	if h, ok := lines.Header(); ok && h.Network != network {
		return fmt.Errorf("%w: %s is of network %s", ErrForeignArchive, name, h.Network)
	}
	for c, err := range commits(name, lines) {
		if err == nil {
			err = each(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// freeName is the name of a month's next file: behind all that are there, or were once.
func freeName(month string, taken []string) string {
	last := 0
	for _, name := range taken {
		rest, ok := strings.CutPrefix(name, month)
		if !ok {
			continue
		}
		number, _ := strings.CutSuffix(rest, ".jsonl.gz")
		n, _ := strconv.Atoi(strings.TrimPrefix(number, "."))
		last = max(last, n, 1)
	}
	if last == 0 {
		return month + ".jsonl.gz"
	}
	return fmt.Sprintf("%s.%d.jsonl.gz", month, last+1)
}

// months writes a file for each month, under a name that none of those has which are taken.
func (a *archiving) months(ctx context.Context, source *Source, fresh map[string]map[eventlog.Stream]audit.Archivable, taken []string) error {
	for _, month := range slices.Sorted(maps.Keys(fresh)) {
		sessions := fresh[month]
		if len(sessions) == 0 {
			continue
		}
		name := freeName(month, taken)
		step := begin(a.Stderr, "archive "+month, 0)
		trailer, err := a.month(ctx, source, filepath.Join(a.Dir, name), sessions, step.took)
		step.end(err == nil)
		if err != nil {
			return fmt.Errorf("write the archive %s: %w", name, err)
		}
		for stream, s := range sessions {
			a.moved[stream] = eventlog.Moved{Before: s.Sample, Archive: name}
		}
		a.wrote = append(a.wrote, fmt.Sprintf("%s has %s", name, sayTrailer(trailer)))
	}
	return nil
}

// month writes the file of a month: it is there once it is whole, on the disk, and was read again.
func (a *archiving) month(ctx context.Context, source *Source, name string, sessions map[eventlog.Stream]audit.Archivable, wrote func()) (trailer jsonl.Trailer, err error) {
	part := filepath.Join(filepath.Dir(name), "part-"+filepath.Base(name))
	file, err := os.Create(part)
	if err != nil {
		return trailer, err
	}
	pack := gzip.NewWriter(file)
	trailer, err = writeSessions(ctx, source, pack, sessions, wrote)
	err = errors.Join(err, pack.Close())
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = readAgain(ctx, part, trailer)
	}
	if err != nil {
		return trailer, errors.Join(err, os.Remove(part))
	}
	return trailer, giveName(part, name)
}

// giveName gives a file its name for good. Who archives has the folder alone, so what has no name
// now gets none meanwhile; not every system links files.
func giveName(part, name string) error {
	_, err := os.Lstat(name)
	if err == nil {
		return fmt.Errorf("%s: %w", name, fs.ErrExist)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(name))
}

// writeSessions writes the lines of some sessions.
func writeSessions(ctx context.Context, source *Source, to io.Writer, sessions map[eventlog.Stream]audit.Archivable, wrote func()) (jsonl.Trailer, error) {
	header, from, end := jsonl.Header{Network: source.Network, From: 1}, eventlog.Position(0), eventlog.Position(0)
	for _, s := range sessions {
		if from == 0 || s.First < from {
			from, header.First = s.First, s.FirstAt
		}
		if s.Last > end {
			end, header.Last = s.Last, s.LastAt
		}
	}
	w, err := jsonl.NewWriter(to, header)
	if err != nil {
		return jsonl.Trailer{}, err
	}
	for c, err := range onward(ctx, source, from) {
		if errors.Is(err, eventlog.ErrDamaged) {
			continue // of none of these sessions
		}
		if err != nil {
			return jsonl.Trailer{}, fmt.Errorf("read the event log: %w", err)
		}
		if c.Position > end {
			break
		}
		var parts []eventlog.Part
		for _, p := range c.Parts {
			if _, ok := sessions[p.Stream]; ok {
				parts = append(parts, p)
			}
		}
		if c.Parts = parts; len(parts) == 0 {
			continue
		}
		if err := w.Write(c); err != nil {
			return jsonl.Trailer{}, err
		}
		wrote()
	}
	if err := ctx.Err(); err != nil {
		return jsonl.Trailer{}, err
	}
	return w.Close()
}

// readAgain verifies a file that was written.
func readAgain(ctx context.Context, name string, written jsonl.Trailer) error {
	lines, err := openLines(ctx, name, nil)
	if err != nil {
		return err
	}
	defer lines.Close()
	var first error
	verified, err := audit.Verify(ctx, lines, eventjson.Codec{}, func(f audit.Finding) {
		if first == nil {
			first = errors.New(f.String())
		}
	}, nil)
	switch {
	case err != nil:
		return err
	case first != nil:
		return fmt.Errorf("%w: %w", ErrArchiveDiffers, first)
	case verified.Commits != written.Commits || verified.Events != written.Events || verified.Streams != written.Streams:
		return fmt.Errorf("%w: it has %d commits of %d", ErrArchiveDiffers, verified.Commits, written.Commits)
	}
	return nil
}

// remove removes from the log what is in the archive.
func (a *archiving) remove(ctx context.Context) (int, error) {
	if len(a.moved) == 0 {
		return 0, nil
	}
	step := begin(a.Stderr, "remove", 0)
	removed, err := a.removeFrom(ctx)
	step.came(int64(removed))
	step.end(err == nil)
	return removed, err
}

func (a *archiving) removeFrom(ctx context.Context) (int, error) {
	if !program.IsMongo(a.Log) {
		return bbolt.Archive(ctx, a.Log, bbolt.Options{Logger: a.Logger}, a.moved)
	}
	config := a.Mongo
	config.URI = a.Log
	store, err := mongo.Connect(ctx, config)
	if err != nil {
		return 0, err
	}
	removed, err := store.Log().Archive(ctx, a.moved)
	return removed, errors.Join(err, store.Log().Close(), store.Close())
}
