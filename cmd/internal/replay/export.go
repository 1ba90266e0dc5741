package replay

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"evcharging/adapters/jsonl"
	"evcharging/adapters/mongo"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
)

// ExportConfig says what is exported, and where to.
type ExportConfig struct {
	// Source names the log, see openSource; Mongo has what a mongodb:// URI does not say itself.
	// Archive is the folder of the log's archive; empty: none.
	Source, Archive string
	Mongo           mongo.Config
	// File is the file that is written: packed with gzip where its name ends in .gz, "-" for
	// the process's Stdout.
	File string
}

// Export writes a log as JSON Lines with header and trailer, and prints what it wrote; how
// far it is goes to the process's Stderr. The file is there once it is whole.
func Export(ctx context.Context, p *program.Process, c ExportConfig) error {
	return withArchived(ctx, p, c.Source, c.Archive, c.Mongo, func(source *Source) error {
		end, err := source.End(ctx)
		if err != nil {
			return fmt.Errorf("read the end of the event log: %w", err)
		}
		step := begin(p.Stderr, "export", int64(end))
		trailer, err := export(ctx, source, source.Network, c.File, p.Stdout, step.took)
		step.end(err == nil)
		if err != nil {
			return err
		}
		to, name := p.Stdout, c.File
		if name == "-" {
			to, name = p.Stderr, "standard output"
		}
		fmt.Fprintf(to, "exported %s to %s\n", sayTrailer(trailer), name)
		return nil
	})
}

// sayTrailer is what lines come to, for people.
func sayTrailer(t jsonl.Trailer) string {
	return fmt.Sprintf("%s of %s in %s, digest %s", counted(t.Events, "event"), counted(t.Commits, "commit"), counted(t.Streams, "stream"), t.Digest)
}

// packed tells whether a file of this name is packed with gzip.
func packed(name string) bool { return strings.HasSuffix(name, ".gz") }

// export writes a log as JSON Lines to a file, or to out where it is named "-". The file
// is there once it is whole.
func export(ctx context.Context, log eventlog.Log, network uuid.UUID, name string, out io.Writer, wrote func()) (trailer jsonl.Trailer, err error) {
	if name == "-" {
		return writeLines(ctx, log, network, out, wrote)
	}
	packs := packed(name)
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target // a link stays one
	}
	part, device, mode := name+".part", false, os.O_RDWR|os.O_CREATE|os.O_TRUNC
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() { // a pipe, /dev/null
		part, device, mode = name, true, os.O_WRONLY
	}
	file, err := os.OpenFile(part, mode, 0o666)
	if err != nil {
		return trailer, fmt.Errorf("export the event log: %w", err)
	}
	if packs {
		pack := gzip.NewWriter(file)
		trailer, err = writeLines(ctx, log, network, pack, wrote)
		err = errors.Join(err, pack.Close())
	} else {
		trailer, err = writeLines(ctx, log, network, file, wrote)
	}
	if err == nil && !device {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil && !device {
		err = os.Rename(part, name)
	}
	if err != nil {
		err = fmt.Errorf("export the event log to %s: %w", name, err)
		if !device {
			err = errors.Join(err, os.Remove(part))
		}
	}
	return trailer, err
}

func writeLines(ctx context.Context, log eventlog.Log, network uuid.UUID, out io.Writer, wrote func()) (jsonl.Trailer, error) {
	lines := bufio.NewWriterSize(out, 1<<16)
	trailer, err := jsonl.Write(ctx, lines, log, network, 1, wrote)
	return trailer, errors.Join(err, lines.Flush())
}
