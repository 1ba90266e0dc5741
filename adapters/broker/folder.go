package broker

import (
	"fmt"
	"os"
	"path/filepath"
)

// takeFolder makes the folder if need be and has it for this broker alone, until what it
// returns is closed. kfake would open one that is in use, and clear up behind the other.
func takeFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the broker's folder can't be made: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the broker's folder can't be used: %w", err)
	}
	held, err := lock(f)
	switch {
	case held:
		err = fmt.Errorf("%w: %s; stop that one or take another folder", ErrFolderInUse, dir)
	case err != nil:
		err = fmt.Errorf("the broker's folder can't be locked: %w", err)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
