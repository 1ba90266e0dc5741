package central

import (
	"context"
	"fmt"

	"evcharging/application/eventlog"
)

// Restore gives a stream's lifecycle and its last sample, decoded: what a projection in
// memory needs to catch up. Versions are left out where older samples are.
func (c *Central) Restore(ctx context.Context, name eventlog.Stream) ([]Part, error) {
	commits, err := c.Log.Rehydrate(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s from the event log: %w", name, err)
	}
	parts := make([]Part, len(commits))
	for i, commit := range commits {
		p := commit.Parts[0]
		envelope, err := c.Codec.Decode(p.Body)
		if err != nil {
			return nil, fmt.Errorf("%w: %s at version %d: %w", eventlog.ErrDamaged, name, p.Version, err)
		}
		parts[i] = Part{Stream: p.Stream, Version: p.Version, At: envelope.At, Hash: p.Hash, Events: envelope.Events}
	}
	return parts, nil
}
