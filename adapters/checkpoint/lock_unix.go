//go:build unix

package checkpoint

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the file for this process, until it is closed. ErrInUse where somebody has it.
func lock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}
