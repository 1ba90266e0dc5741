package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"github.com/google/uuid"

	"evcharging/adapters/jsonl"
	"evcharging/adapters/mongo"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
)

// ErrForeignArchive tells of an archive that is not that of a log.
var ErrForeignArchive = errors.New("the archive is of another log")

// withArchived is withSource for a log whose samples were moved in part to the archive in a
// folder; without a folder it is withSource.
func withArchived(ctx context.Context, p *program.Process, name, archive string, mongodb mongo.Config, do func(*Source) error) error {
	return withSource(ctx, p, name, mongodb, func(source *Source) error {
		if err := source.join(archive); err != nil {
			return err
		}
		return do(source)
	})
}

// join has the log read with its archive; an empty name is none.
func (s *Source) join(archive string) error {
	if archive == "" {
		return nil
	}
	files, err := archiveFiles(archive, s.Network)
	if err != nil {
		return err
	}
	log := &archivedLog{Log: s.Log, dir: archive, files: files}
	s.Log, s.close = log, append(s.close, log.close)
	return nil
}

// stored is the log as it is where it is kept, without its archive.
func (s *Source) stored() eventlog.Log {
	if joined, ok := s.Log.(*archivedLog); ok {
		return joined.Log
	}
	return s.Log
}

// archivePattern is that of the files of an archive: a month and, where there is more than one of
// it, a number.
const archivePattern = "[0-9][0-9][0-9][0-9]-[0-9][0-9]*.jsonl.gz"

// archiveFiles are the files of an archive, in order of their months. ErrForeignArchive where one
// is of another network, ErrNoLog where there is none.
func archiveFiles(dir string, network uuid.UUID) ([]string, error) {
	files, err := filesIn(dir)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: the folder %s has no archive", ErrNoLog, dir)
	}
	for i, name := range files {
		name = filepath.Join(dir, name)
		files[i] = name
		file, err := openFile(name)
		if err != nil {
			return nil, err
		}
		header, ok := jsonl.NewReader(file).Header()
		_ = file.Close() // it was only read
		if ok && header.Network != network && network != uuid.Nil {
			return nil, fmt.Errorf("%w: %s is of network %s, the log of %s", ErrForeignArchive, name, header.Network, network)
		}
	}
	return files, nil
}

// filesIn are the names of the files of an archive, in order of their months. Its folder may have any
// name, also one that reads as a pattern.
func filesIn(dir string) (names []string, err error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	for _, entry := range all {
		if ok, err := path.Match(archivePattern, entry.Name()); err != nil || ok {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// archivedLog is a log with the samples that were moved to an archive: it is read as it was
// before, commit by commit, each at its position.
type archivedLog struct {
	eventlog.Log
	dir   string
	files []string

	mu sync.Mutex
	// kept is the file of which a stream was read last: who reads many reads them by their months.
	kept *archivedFile
}

// archivedFile is a file of an archive, unpacked, and where its streams are.
type archivedFile struct {
	*lineLog
	readers int
}

// take gives a file for one more reader, who gives it back to leave.
func (l *archivedLog) take(ctx context.Context, name string) (*archivedFile, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept != nil && l.kept.name == name {
		l.kept.readers++
		return l.kept, nil
	}
	lines, err := openLines(ctx, name, nil)
	if err != nil {
		return nil, err
	}
	lines.checked = true
	if lines.places, err = lines.index(ctx); err != nil {
		return nil, errors.Join(err, lines.Close())
	}
	former := l.kept
	l.kept = &archivedFile{lines, 1}
	if former != nil && former.readers == 0 {
		_ = former.Close() // it was only read
	}
	return l.kept, nil
}

func (l *archivedLog) leave(f *archivedFile) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.readers--; f.readers > 0 || f == l.kept {
		return nil
	}
	return f.Close()
}

// close gives back what the reading of streams has kept.
func (l *archivedLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		return nil
	}
	kept := l.kept
	l.kept = nil
	return kept.Close()
}

// All is eventlog.Log's. Of lines of the archive that can't be read the first is told, as
// damage behind the commit before them.
func (l *archivedLog) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		m := &merging{from: max(from, 1)}
		defer m.close()
		if err := m.open(l.files); err != nil {
			yield(eventlog.Positioned{}, err)
			return
		}
		next, stop := iter.Pull2(onward(ctx, l.Log, m.from))
		defer stop()
		c, err, ok := next()
		for ctx.Err() == nil {
			at, first := positionOf(c, err), m.first()
			var archived *eventlog.ArchivedError
			switch {
			case !ok && first == nil:
				if err := m.damage(max(m.done, m.from)); err != nil {
					yield(eventlog.Positioned{}, err)
				}
				return
			case first != nil && (!ok || first.at < at):
				if !m.emit(first.commit, yield) {
					return
				}
				continue
			case first != nil && first.at == at && errors.As(err, &archived):
				if !m.emit(first.commit, yield) {
					return
				}
			case first != nil && first.at == at && err == nil && first.commit.ID != c.ID:
				yield(eventlog.Positioned{}, fmt.Errorf("%w: at position %d %s has commit %s, and the log %s", ErrForeignArchive, at, first.name, first.commit.ID, c.ID))
				return
			case err != nil:
				if errors.As(err, &archived) {
					// What is wrong with a file is why.
					err = cmp.Or(m.damage(at), l.lacks(archived, at, m.broken(archived.Archive)))
				}
				yield(eventlog.Positioned{}, err)
				return
			case !m.emit(c, yield):
				return
			}
			c, err, ok = next()
		}
		yield(eventlog.Positioned{}, ctx.Err())
	}
}

// lacks tells that the archive does not have what it should, and why: reason, where it is not nil;
// else its file is not there, or has other sessions.
func (l *archivedLog) lacks(archived *eventlog.ArchivedError, at eventlog.Position, reason error) error {
	missing := *archived
	switch {
	case reason != nil:
		missing.Missing = reason
	case l.file(archived.Archive) == "":
		missing.Missing = fmt.Errorf("%s has no such file", l.dir)
	default:
		missing.Missing = fmt.Errorf("%s does not have them: %w", l.file(archived.Archive), ErrForeignArchive)
	}
	return &eventlog.DamagedError{Where: l.dir, Position: at, Stream: archived.Stream, Reason: &missing}
}

// file is the path of a file of the archive; empty where it is not there.
func (l *archivedLog) file(name string) string {
	i := slices.IndexFunc(l.files, func(file string) bool { return filepath.Base(file) == name })
	if i < 0 {
		return ""
	}
	return l.files[i]
}

// merging is a log and the files of its archive that are read side by side.
type merging struct {
	from, done eventlog.Position // done is the position that was given last
	files      []*archiveReader
}

func (m *merging) open(names []string) error {
	for _, name := range names {
		file, err := openFile(name)
		if err != nil {
			return err
		}
		f := &archiveReader{name: name, file: file, lines: jsonl.NewReader(file), from: m.from}
		m.files = append(m.files, f)
		f.advance(m.from)
	}
	return nil
}

func (m *merging) close() {
	for _, f := range m.files {
		_ = f.file.Close() // it was only read
	}
}

// first is the file whose next commit comes first; nil where there is none.
func (m *merging) first() (first *archiveReader) {
	for _, f := range m.files {
		if !f.ended && f.err == nil && (first == nil || f.at < first.at) {
			first = f
		}
	}
	return first
}

// emit gives a commit, and what is damaged behind it; false where that was the last.
func (m *merging) emit(c eventlog.Positioned, yield func(eventlog.Positioned, error) bool) bool {
	if !yield(c, nil) {
		return false
	}
	m.done = c.Position
	for _, f := range m.files {
		if !f.ended && f.err == nil && f.at <= m.done {
			f.advance(m.done + 1)
		}
	}
	if err := m.damage(m.done); err != nil {
		yield(eventlog.Positioned{}, err)
		return false
	}
	return true
}

// damage is that of a file which can't be read any further as it is.
func (m *merging) damage(at eventlog.Position) error {
	for _, f := range m.files {
		if f.err != nil {
			return damagedLine(f.where(), at, f.text, f.err)
		}
	}
	return nil
}

// broken is what was said before of a file that can't be read any further.
func (m *merging) broken(name string) error {
	for _, f := range m.files {
		if filepath.Base(f.name) == name {
			return f.passed
		}
	}
	return nil
}

// positionOf is where a commit is, or what can't be read; 0 where that is not known.
func positionOf(c eventlog.Positioned, err error) eventlog.Position {
	if damage, ok := errors.AsType[*eventlog.DamagedError](err); ok {
		return damage.Position
	}
	return c.Position
}

// onward gives every commit of a log, and goes on behind what can't be read.
func onward(ctx context.Context, log eventlog.Log, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for next := from; next != 0; {
			at := next
			next = 0
			for c, err := range log.All(ctx, at) {
				if !yield(c, err) {
					return
				}
				if err != nil {
					if p := positionOf(c, err); p >= at {
						next = p + 1
					}
					break
				}
			}
		}
	}
}

// isArchived tells whether samples of a log were moved to an archive.
func isArchived(ctx context.Context, log eventlog.Log) bool {
	for _, err := range onward(ctx, log, 1) {
		if _, ok := errors.AsType[*eventlog.ArchivedError](err); ok {
			return true
		}
	}
	return false
}

// archiveReader reads a file of an archive.
type archiveReader struct {
	name  string
	file  io.Closer
	lines *jsonl.Reader
	// from is the position that is read from: what is damaged before it was said before.
	from eventlog.Position
	// commit is the next one, at the position at. Where err is set, the line behind that position
	// can't be read, and text is what it has. ended tells that there is nothing more.
	at     eventlog.Position
	commit eventlog.Positioned
	text   []byte
	err    error
	ended  bool
	// passed is what could not be read before, where anything could not.
	passed error
}

// where names the line that was read last.
func (r *archiveReader) where() string {
	return fmt.Sprintf("line %d of %s", max(r.lines.Line(), 1), r.name)
}

// advance goes to the next commit from a position on, or to what can't be read before that.
func (r *archiveReader) advance(to eventlog.Position) {
	for {
		c, err := r.lines.Next()
		if errors.Is(err, io.EOF) {
			r.ended = true
			return
		}
		var line *jsonl.LineError
		if errors.As(err, &line) {
			r.text, err = line.Text, line.Reason
		} else if err = c.Check(); err == nil {
			r.at = c.Position
		}
		if err != nil && max(r.at, 1) < r.from {
			r.passed = cmp.Or(r.passed, fmt.Errorf("%s: %w", r.where(), err))
			continue
		}
		if err == nil && r.at < to {
			continue
		}
		r.commit, r.err = c, err
		return
	}
}

// Read is eventlog.Log's. For a session whose samples were moved it goes through a file of the
// archive.
func (l *archivedLog) Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		for from := max(from, 1); ; {
			var archived *eventlog.ArchivedError
			for c, err := range l.Log.Read(ctx, stream, from) {
				if errors.As(err, &archived) {
					break
				}
				if !yield(c, err) || err != nil {
					return
				}
				from = c.Parts[0].Last() + 1
			}
			if archived == nil {
				return
			}
			last, more := l.readArchived(ctx, stream, from, archived, yield)
			if !more {
				return
			}
			from = last + 1
		}
	}
}

// readArchived yields what an archive has of a stream from a version on, and gives the version
// that it ends at; false where no more is wanted, or to be had.
func (l *archivedLog) readArchived(ctx context.Context, stream eventlog.Stream, from eventlog.Version, archived *eventlog.ArchivedError, yield func(eventlog.Commit, error) bool) (last eventlog.Version, more bool) {
	file := l.file(archived.Archive)
	if file == "" {
		yield(eventlog.Commit{}, l.lacks(archived, 0, nil))
		return 0, false
	}
	lines, err := l.take(ctx, file)
	if err != nil {
		yield(eventlog.Commit{}, err)
		return 0, false
	}
	defer func() { _ = l.leave(lines) }() // it was only read
	left, reason := *archived, error(nil)
	for c, err := range lines.Read(ctx, stream, from) {
		if damage, ok := errors.AsType[*eventlog.DamagedError](err); ok {
			reason = fmt.Errorf("%s: %w", damage.Where, damage.Reason)
			break
		}
		if err != nil {
			yield(c, err)
			return 0, false
		}
		p := c.Parts[0]
		if p.Version > max(last+1, from) || p.Version == left.From && p.Prev != left.Prev || p.Last() == left.To && p.Hash != left.Hash {
			break
		}
		if !yield(c, nil) {
			return 0, false
		}
		if last = p.Last(); left.From <= last {
			left.From, left.Prev = last+1, p.Hash
		}
	}
	if last < archived.To {
		yield(eventlog.Commit{}, l.lacks(&left, 0, cmp.Or(reason, lines.places.first)))
		return 0, false
	}
	return last, true
}
