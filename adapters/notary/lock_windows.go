package notary

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes the lock that one process alone can have; held tells that another has it.
// It is given back when the file is closed, and when the process ends.
func lockFile(f *os.File) (held bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return true, nil
	}
	return false, err
}

// syncFolder does nothing: the system makes names durable by itself.
func syncFolder(string) error { return nil }
