package central

import (
	"context"
	"fmt"

	"evcharging/application/eventlog"
)

// Restore gives a stream's lifecycle and its last sample, decoded: what it takes to fold
// the aggregate, or a projection of it. Versions are left out where older samples are. A
// stream that is closed comes without its last sample where lifecycle follows it: the
// ticket has what it said. eventlog.ErrDamaged where something can't be read as it was written.
func (c *Central) Restore(ctx context.Context, name eventlog.Stream) ([]Part, error) {
	commits, err := c.Log.Rehydrate(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read %s from the event log: %w", name, err)
	}
	parts := make([]Part, 0, len(commits)+1)
	for i, commit := range commits {
		p := commit.Parts[0]
		if i > 0 && i == len(commits)-1 && p.Kind == eventlog.Lifecycle && p.Version > commits[i-1].Parts[0].Last()+1 {
			// The log leaves out what lies before lifecycle; an end that was decided leaves
			// the last sample to be billed.
			sample, err := c.sampleBefore(ctx, p)
			if err != nil {
				return nil, err
			}
			parts = append(parts, sample)
		}
		part, err := c.decode(p)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// sampleBefore is the part before another one.
func (c *Central) sampleBefore(ctx context.Context, p eventlog.Part) (Part, error) {
	for commit, err := range c.Log.Read(ctx, p.Stream, p.Version-1) {
		if err != nil {
			return Part{}, fmt.Errorf("read %s from the event log: %w", p.Stream, err)
		}
		return c.decode(commit.Parts[0])
	}
	return Part{}, fmt.Errorf("%w: %s has nothing before version %d", eventlog.ErrDamaged, p.Stream, p.Version)
}

// decode is a stored part as it is told.
func (c *Central) decode(p eventlog.Part) (Part, error) {
	envelope, err := c.Codec.Decode(p.Body)
	if err != nil {
		return Part{}, fmt.Errorf("%w: %s at version %d: %w", eventlog.ErrDamaged, p.Stream, p.Version, err)
	}
	return Part{Stream: p.Stream, Version: p.Version, At: envelope.At, Hash: p.Hash, Events: envelope.Events}, nil
}
