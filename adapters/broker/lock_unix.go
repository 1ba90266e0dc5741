//go:build !windows

package broker

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock that one process alone can have; held tells that another has it.
// It is given back when the file is closed, and when the process ends.
func lock(f *os.File) (held bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
