package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"evcharging/adapters/jsonl"
	"evcharging/application/eventlog"
)

// export writes a log as JSON Lines to a file, or to out where it is named "-". The file
// is there once it is whole.
func export(ctx context.Context, log eventlog.Log, name string, out io.Writer, wrote func()) (err error) {
	if name == "-" {
		return writeLines(ctx, log, out, wrote)
	}
	part := name + ".part"
	file, err := os.Create(part)
	if err != nil {
		return fmt.Errorf("export the event log: %w", err)
	}
	err = writeLines(ctx, log, file, wrote)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("export the event log to %s: %w", name, err), os.Remove(part))
	}
	return nil
}

func writeLines(ctx context.Context, log eventlog.Log, out io.Writer, wrote func()) error {
	lines := bufio.NewWriterSize(out, 1<<16)
	for commit, err := range log.All(ctx, 1) {
		if err != nil {
			return err
		}
		line, err := jsonl.Encode(commit)
		if err != nil {
			return err
		}
		if _, err := lines.Write(line); err != nil {
			return err
		}
		wrote()
	}
	return lines.Flush()
}
