package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"evcharging/adapters/durable"
	"evcharging/application/driver"
)

var (
	// ErrInUse tells that another driver's program has the file open.
	ErrInUse = errors.New("another ev-driver is at work on this list for this driver; wait for it, or stop it")
	// ErrDamaged tells that the file is no place of a run.
	ErrDamaged = errors.New("it can't be read as the place of a run; remove it to begin the list anew")
	// ErrClosed tells that the file has been closed.
	ErrClosed = errors.New("the place of the run is closed")
)

// File is a run's open file. It is not safe for use from several goroutines.
type File struct {
	path string
	file *os.File
	// empty tells that nothing is kept.
	empty bool
}

// Open opens the file, or begins one, and gives what is kept there; found is false where
// nothing is. The error is one sentence that names the file: ErrInUse, ErrDamaged, or the
// system's.
func Open(path string) (f *File, kept driver.Checkpoint, found bool, err error) {
	f = &File{path: path}
	kept, err = f.open()
	if err != nil {
		if f.file != nil {
			_ = f.file.Close()
		}
		return nil, driver.Checkpoint{}, false, fmt.Errorf("the place of the run, %s, can't be opened: %w", path, err)
	}
	return f, kept, !f.empty, nil
}

func (f *File) open() (driver.Checkpoint, error) {
	file, err := durable.Take(f.path, 0)
	if errors.Is(err, durable.ErrHeld) {
		err = ErrInUse
	}
	if err != nil {
		return driver.Checkpoint{}, err
	}
	f.file = file
	text, err := io.ReadAll(io.NewSectionReader(f.file, 0, math.MaxInt64))
	if err != nil {
		return driver.Checkpoint{}, err
	}
	if f.empty = len(text) == 0; f.empty {
		return driver.Checkpoint{}, nil
	}
	kept, err := decode(text)
	if err != nil {
		return driver.Checkpoint{}, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return kept, nil
}

// Keep replaces what is kept. Once it has returned nil that survives a kill and a loss of
// power; until then the old does. After an error the file is as it was.
func (f *File) Keep(c driver.Checkpoint) error {
	if f.file == nil {
		return ErrClosed
	}
	if err := f.replace(c); err != nil {
		return fmt.Errorf("the place of the run, %s, can't be written: %w", f.path, err)
	}
	return nil
}

func (f *File) replace(c driver.Checkpoint) error {
	text, err := encode(c)
	if err != nil {
		return err
	}
	file, err := durable.Replace(f.path, 0, text)
	if file == nil {
		return err
	}
	_ = f.file.Close() // synced when it was written
	f.file, f.empty = file, false
	return err
}

// Remove forgets what is kept: the run is complete. The file is closed.
func (f *File) Remove() error {
	if f.file == nil {
		return ErrClosed
	}
	if err := os.Remove(f.path); err != nil {
		return fmt.Errorf("the place of the run, %s, can't be removed, so remove it yourself to begin anew: %w", f.path, err)
	}
	f.empty = false
	return errors.Join(durable.SyncFolder(filepath.Dir(f.path)), f.Close())
}

// Close gives the file free. One that keeps nothing is removed. A second Close does nothing.
func (f *File) Close() error {
	if f.file == nil {
		return nil
	}
	var err error
	if f.empty {
		err = os.Remove(f.path)
	}
	err = errors.Join(err, f.file.Close())
	f.file = nil
	return err
}
