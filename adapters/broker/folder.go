package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"evcharging/adapters/durable"
)

// takeFolder makes the folder if need be and has it for this broker alone, until what it
// returns is closed. kfake would open one that is in use, and clear up behind the other.
func takeFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the broker's folder can't be made: %w", err)
	}
	lock, err := durable.Take(filepath.Join(dir, "lock"), 0)
	if errors.Is(err, durable.ErrHeld) {
		return nil, fmt.Errorf("%w: %s; stop that one or take another folder", ErrFolderInUse, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("the broker's folder can't be used: %w", err)
	}
	return lock, nil
}
