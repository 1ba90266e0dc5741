package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"evcharging/adapters/durable"
	"evcharging/application/engine"
	"evcharging/domain"
)

var (
	// ErrInUse tells that another Engine has the journal open.
	ErrInUse = errors.New("another Engine has it open; a point has one Engine, stop the other one or give this one another --journal")
	// ErrForeign tells that the file is not a journal of this point that this version can read.
	ErrForeign = errors.New("it is no journal of this point that this version can read; move it away to begin anew")
	// ErrClosed tells that the journal has been closed.
	ErrClosed = errors.New("the journal is closed")
)

// worthCompacting is the size from which a file is written anew, in bytes.
const worthCompacting = 1 << 20

// Journal is a point's open journal. It is not safe for use from several goroutines.
type Journal struct {
	path  string
	point domain.PointID
	file  *os.File
	size  int64
	// compactAt is the size at which the file is written anew.
	compactAt int64
	damaged   int
}

// Open opens the journal of a point, or begins one, in a folder that is made where there
// is none, and gives what it remembers. The error is one sentence that names the file:
// ErrInUse, ErrForeign, or the system's.
func Open(dir string, point domain.PointID) (*Journal, engine.Memory, error) {
	j := &Journal{path: filepath.Join(dir, string(point)+".journal"), point: point, compactAt: worthCompacting}
	memory, err := j.open(dir)
	if err != nil {
		if j.file != nil {
			_ = j.file.Close()
		}
		return nil, engine.Memory{}, fmt.Errorf("the journal %s can't be opened: %w", j.path, err)
	}
	return j, memory, nil
}

func (j *Journal) open(dir string) (engine.Memory, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return engine.Memory{}, err
	}
	file, err := durable.Take(j.path, os.O_APPEND)
	if errors.Is(err, durable.ErrHeld) {
		err = ErrInUse
	}
	if err != nil {
		return engine.Memory{}, err
	}
	j.file = file
	return j.compact()
}

// Path is the file.
func (j *Journal) Path() string { return j.path }

// Damaged is how many lines could not be read, and were dropped, when the journal was
// opened. The torn end that a kill leaves is none of them: what it held had not been
// acted upon.
func (j *Journal) Damaged() int { return j.damaged }

// Append stores a record in one write. Once it has returned nil the record survives
// a kill, and a loss of power if it is Durable. After any error the journal
// is not to be used any more.
func (j *Journal) Append(r engine.Record) error {
	if j.file == nil {
		return ErrClosed
	}
	err := j.append(r)
	if err == nil && j.size >= j.compactAt {
		if _, err = j.compact(); err == nil && j.damaged > 0 {
			err = fmt.Errorf("%d of its lines can't be read back", j.damaged)
		}
	}
	if err != nil {
		return fmt.Errorf("the journal %s can't be written: %w", j.path, err)
	}
	return nil
}

func (j *Journal) append(r engine.Record) error {
	text, err := line(recordOf(r))
	if err != nil {
		return err
	}
	n, err := j.file.Write(text)
	j.size += int64(n)
	if err != nil {
		return err
	}
	if r.Durable() {
		return j.file.Sync()
	}
	return nil
}

// Close gives the file free. A second Close does nothing.
func (j *Journal) Close() error {
	if j.file == nil {
		return nil
	}
	file := j.file
	j.file = nil
	return errors.Join(file.Sync(), file.Close())
}

// compact folds the file and puts its shortest form in its place.
func (j *Journal) compact() (engine.Memory, error) {
	text, err := line(headerOf(j.point))
	if err != nil {
		return engine.Memory{}, err
	}
	memory, err := j.read(text)
	if err != nil {
		return engine.Memory{}, err
	}
	for _, r := range memory.Records() {
		l, err := line(recordOf(r))
		if err != nil {
			return engine.Memory{}, err
		}
		text = append(text, l...)
	}
	file, err := durable.Replace(j.path, os.O_APPEND, text)
	if file == nil {
		return engine.Memory{}, err
	}
	_ = j.file.Close()
	j.file, j.size, j.compactAt = file, int64(len(text)), max(worthCompacting, 2*int64(len(text)))
	return memory, err
}

// read folds the file, and counts the lines that can't be read.
func (j *Journal) read(header []byte) (engine.Memory, error) {
	var memory engine.Memory
	j.damaged = 0
	text, err := io.ReadAll(io.NewSectionReader(j.file, 0, math.MaxInt64))
	if err != nil || bytes.HasPrefix(header, text) {
		return memory, err
	}
	lines, ours := bytes.CutPrefix(text, header)
	if !ours {
		return memory, ErrForeign
	}
	for len(lines) > 0 {
		line, rest, whole := bytes.Cut(lines, []byte("\n"))
		lines = rest
		var r record
		switch err := parse(line, &r); {
		case err == nil && whole:
			memory.Apply(r.decoded())
		case whole:
			j.damaged++
		}
	}
	return memory, nil
}
