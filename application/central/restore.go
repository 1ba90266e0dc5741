package central

import (
	"context"
	"fmt"

	"evcharging/application/eventlog"
)

// Restore gives a stream's lifecycle and its last sample, decoded: what it takes to fold
// the aggregate, or a projection of it. Versions are left out where older samples are.
// eventlog.ErrDamaged where something can't be read as it was written.
func (c *Central) Restore(ctx context.Context, name eventlog.Stream) ([]Part, error) {
	commits, err := c.Log.Rehydrate(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s from the event log: %w", name, err)
	}
	parts := make([]Part, len(commits))
	for i, commit := range commits {
		if parts[i], err = c.decode(commit.Parts[0]); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// decode is a stored part as it is told.
func (c *Central) decode(p eventlog.Part) (Part, error) {
	envelope, err := c.Codec.Decode(p.Body)
	if err != nil {
		return Part{}, fmt.Errorf("%w: %s at version %d: %w", eventlog.ErrDamaged, p.Stream, p.Version, err)
	}
	return Part{Stream: p.Stream, Version: p.Version, At: envelope.At, Hash: p.Hash, Events: envelope.Events}, nil
}
