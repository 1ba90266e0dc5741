package durable

import (
	"errors"
	"io/fs"
	"os"
)

// ErrHeld tells that another process has a file.
var ErrHeld = errors.New("another process has the file")

// Take opens a file to read and write, and makes it where there is none, for this process
// alone: until the file is closed, or the process ends. flag is what os.OpenFile gets
// besides. It returns ErrHeld where somebody else has the file, or the system's error.
func Take(path string, flag int) (*os.File, error) {
	return takeAs(path, os.O_RDWR|os.O_CREATE|flag)
}

// TakeToRead is Take for a file that is there, and is not written to.
func TakeToRead(path string) (*os.File, error) { return takeAs(path, os.O_RDONLY) }

func takeAs(path string, flag int) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, flag, 0o644)
		if err != nil {
			return nil, err
		}
		// Whoever had it may have replaced or removed it since it was opened here.
		current := false
		if err = lock(file); err == nil {
			current, err = isAt(file, path)
		}
		if current {
			return file, nil
		}
		if err := errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
	}
}

func isAt(file *os.File, path string) (bool, error) {
	opened, err := file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(opened, named), err
}
