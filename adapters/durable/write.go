package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Write puts a file of a text in its place, over any that is there. It is there whole, or not
// at all; once Write has returned nil it survives a loss of power. One goroutine alone may
// write a file.
func Write(path string, text []byte, mode fs.FileMode) error {
	part := path + ".tmp"
	// What a crash left there may be open to others than mode says.
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return SyncFolder(filepath.Dir(path))
}
