//go:build unix

package durable

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace puts a file of a text in the place of one that this process has taken, and takes it
// before anybody can come in between; the former is for its owner to close. The file is there
// whole, or not at all; once Replace has returned nil it survives a loss of power. It returns the
// file with an error where it has its place, and that alone may be lost. flag is as for Take.
//
// A system that does not rename an open file can't do it.
func Replace(path string, flag int, text []byte) (*os.File, error) {
	next := path + ".next"
	file, err := os.OpenFile(next, os.O_RDWR|os.O_CREATE|os.O_TRUNC|flag, 0o644)
	if err != nil {
		return nil, err
	}
	if err = lock(file); err == nil {
		_, err = file.Write(text)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(next))
	}
	return file, SyncFolder(filepath.Dir(path))
}
