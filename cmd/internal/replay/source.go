package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"strings"

	"github.com/google/uuid"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/http"
	"evcharging/adapters/jsonl"
	"evcharging/adapters/mongo"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
)

// ErrNoLog tells that there is no event log under the name that was given.
var ErrNoLog = errors.New("there is no event log")

// Source is an event log that is read. What came as lines is kept in a temporary folder
// meanwhile: a stream has to be found again.
type Source struct {
	eventlog.Log
	// Network is the id of the log's network; uuid.Nil where lines don't say it.
	Network uuid.UUID
	close   []func() error
}

// Close ends the reading and removes what was temporary.
func (s *Source) Close() error {
	var errs []error
	for i := len(s.close) - 1; i >= 0; i-- {
		errs = append(errs, s.close[i]())
	}
	return errors.Join(errs...)
}

// withSource does something with the log that a name names, as openSource opens it.
// ErrInterrupted where ctx ended before it was done: whoever waits for what it makes has to
// know that it is not there.
func withSource(ctx context.Context, p *program.Process, name string, mongodb mongo.Config, do func(*Source) error) error {
	source, err := openSource(ctx, p, name, mongodb)
	if err == nil {
		err = errors.Join(do(source), source.Close())
	}
	return interrupted(ctx, err)
}

// openSource opens the log that a name names: the folder of an embedded log, a mongodb://
// URI, the http:// address of a running Central's pages, a file of JSON Lines (packed with
// gzip where its name ends in .gz), or "-": lines from the process's Stdin. Lines that are
// not whole are refused. mongodb has what a mongodb:// URI does not say itself. ErrNoLog
// where there is none.
func openSource(ctx context.Context, p *program.Process, name string, mongodb mongo.Config) (*Source, error) {
	switch {
	case name == "-":
		return spool(ctx, p, "standard input", input(ctx, p.Stdin))
	case program.IsMongo(name):
		// The user of another server is not told to this one.
		if strings.Contains(name, "@") || mongodb.URI != "" && hosts(mongodb.URI) != hosts(name) {
			mongodb.Username, mongodb.Password = "", ""
		}
		mongodb.URI = name
		store, err := mongo.ConnectToRead(ctx, mongodb)
		if errors.Is(err, mongo.ErrEmpty) {
			return nil, fmt.Errorf("%w: %w", ErrNoLog, err)
		}
		if err != nil {
			return nil, err
		}
		log := store.Log()
		s := &Source{Log: log, Network: store.NetworkID(), close: []func() error{store.Close, log.Close}}
		if end, err := log.End(ctx); end == 0 || err != nil {
			return nil, errors.Join(cmp.Or(err, fmt.Errorf("%w in this database: it has documents, perhaps, but no events", ErrNoLog)), s.Close())
		}
		return s, nil
	case strings.HasPrefix(name, "https://"):
		return nil, program.UsageError(errors.New("Central's pages are read at an http:// address; take the log from https:// with another program and give its lines with --log -"))
	case strings.HasPrefix(name, "http://"):
		lines, err := fetchLines(ctx, name)
		if err != nil {
			return nil, err
		}
		return spool(ctx, p, name, lines)
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s: name a folder of an event log, a mongodb:// or http:// address, a file of JSON Lines, or -", ErrNoLog, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open the event log: %w", err)
	}
	if info.IsDir() {
		return openFolder(name, p.Logger)
	}
	file, err := openFile(name)
	if err != nil {
		return nil, err
	}
	return spool(ctx, p, name, file)
}

// fetchLines asks a running Central, at the http:// address of its pages, for its log.
func fetchLines(ctx context.Context, name string) (io.ReadCloser, error) {
	address, _, _ := strings.Cut(strings.TrimPrefix(name, "http://"), "/")
	return http.Client{Address: address}.Log(ctx, 1)
}

// hosts is the part of a URI that names servers.
func hosts(uri string) string {
	_, rest, _ := strings.Cut(uri, "://")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

func openFolder(dir string, logger *slog.Logger) (*Source, error) {
	switch there, err := bbolt.Exists(dir); {
	case err != nil:
		return nil, err
	case !there: // opening it would make one
		return nil, fmt.Errorf("%w in the folder %s", ErrNoLog, dir)
	}
	log, err := bbolt.OpenToRead(dir, bbolt.Options{Logger: logger})
	if errors.Is(err, bbolt.ErrInUse) {
		return nil, fmt.Errorf("%w; a running Central's log is read through its pages, --log http://127.0.0.1:7080", err)
	}
	if err != nil {
		return nil, err
	}
	return &Source{Log: log, Network: log.NetworkID(), close: []func() error{log.Close}}, nil
}

// input is a reader that ends with ctx, also while whoever writes to it writes nothing.
func input(ctx context.Context, from io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, from)
		w.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { r.CloseWithError(ctx.Err()) })
	return r
}

// spool keeps lines as a log in a temporary folder. Its chains are checked on the way, and
// whether the lines are whole.
func spool(ctx context.Context, p *program.Process, name string, lines io.ReadCloser) (_ *Source, err error) {
	defer lines.Close()
	dir, err := os.MkdirTemp("", "ev-replay-")
	if err != nil {
		return nil, fmt.Errorf("make a temporary folder: %w", err)
	}
	s := &Source{close: []func() error{func() error { return os.RemoveAll(dir) }}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	log, err := bbolt.Open(dir, bbolt.Options{Logger: p.Logger})
	if err != nil {
		return nil, err
	}
	s.Log, s.close = log, append(s.close, log.Close)
	read := jsonl.NewReader(lines)
	if h, ok := read.Header(); ok {
		s.Network = h.Network
	}
	step := begin(p.Stderr, "read", 0)
	err = fill(ctx, log, commits(name, read), step.took)
	step.end(err == nil)
	if err != nil {
		return nil, fmt.Errorf("read the event log: %w", err)
	}
	return s, nil
}

// commits are those that lines tell of, all of them.
func commits(name string, lines *jsonl.Reader) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for {
			c, err := lines.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = c.Check()
			}
			var line *jsonl.LineError
			var unread *jsonl.UnreadError
			switch {
			case err == nil:
			case errors.As(err, &line) && errors.As(err, &unread) && !errors.Is(err, jsonl.ErrCut):
				err = fmt.Errorf("line %d of %s: %w: %w", line.Line, name, jsonl.ErrCut, unread)
			case errors.As(err, &line):
				err = fmt.Errorf("line %d of %s: %w", line.Line, name, line.Reason)
			default:
				err = fmt.Errorf("line %d of %s: %w", lines.Line(), name, err)
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}
