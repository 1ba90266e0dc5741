//go:build !windows

package notary

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock that one process alone can have; held tells that another has it.
// It is given back when the file is closed, and when the process ends.
func lockFile(f *os.File) (held bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
