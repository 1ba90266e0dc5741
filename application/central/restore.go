package central

import (
	"context"
	"fmt"
	"iter"

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
		if parts[i], err = c.Decode(commit.Parts[0]); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// Parts gives a stream's parts whose last event's version is at least from, samples
// included, decoded, in order. An error is yielded last; eventlog.ErrDamaged as with Restore.
func (c *Central) Parts(ctx context.Context, name eventlog.Stream, from eventlog.Version) iter.Seq2[Part, error] {
	return func(yield func(Part, error) bool) {
		for commit, err := range c.Log.Read(ctx, name, from) {
			if err != nil {
				yield(Part{}, fmt.Errorf("read %s from the event log: %w", name, err))
				return
			}
			part, err := c.Decode(commit.Parts[0])
			if !yield(part, err) || err != nil {
				return
			}
		}
	}
}

// Decode is a stored part as it is told; eventlog.ErrDamaged where it can't be read as it
// was written.
func (c *Central) Decode(p eventlog.Part) (Part, error) {
	envelope, err := c.Codec.Decode(p.Body)
	if err != nil {
		return Part{}, fmt.Errorf("%w: %s at version %d: %w", eventlog.ErrDamaged, p.Stream, p.Version, err)
	}
	return Part{Stream: p.Stream, Version: p.Version, At: envelope.At, Hash: p.Hash, Events: envelope.Events}, nil
}
