package replay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"evcharging/application/audit"
	"evcharging/application/eventlog"
)

// atOnce is how many commits are being appended at a time: what arrives together is
// written together.
const atOnce = 512

// fill appends commits to a log, each stream's in the order in which they come. A commit
// that the log has already, or had before it was moved to an archive, is passed over. appended is called after each. Its error names
// the first commit that the log refuses; others that came before it are stored.
func fill(ctx context.Context, log eventlog.Log, commits iter.Seq2[eventlog.Positioned, error], appended func()) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var running sync.WaitGroup
	defer running.Wait()
	free := make(chan struct{}, atOnce)
	var mu sync.Mutex
	moved := &moved{of: map[eventlog.Stream][]*eventlog.ArchivedError{}}
	last := map[eventlog.Stream]chan struct{}{} // closed once the stream's newest commit is stored
	for commit, err := range commits {
		if err != nil {
			fail(err)
			break
		}
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		stored := make(chan struct{})
		var before []chan struct{}
		mu.Lock()
		for _, p := range commit.Parts {
			if earlier := last[p.Stream]; earlier != nil {
				before = append(before, earlier)
			}
			last[p.Stream] = stored
		}
		mu.Unlock()
		running.Go(func() {
			defer func() { <-free }()
			for _, earlier := range before {
				select {
				case <-earlier:
				case <-ctx.Done():
					return
				}
			}
			if err := appendOnce(ctx, log, commit.Commit, moved); err != nil {
				fail(err)
				return
			}
			mu.Lock()
			for _, p := range commit.Parts {
				if last[p.Stream] == stored {
					delete(last, p.Stream)
				}
			}
			mu.Unlock()
			close(stored)
			appended()
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

func appendOnce(ctx context.Context, log eventlog.Log, commit eventlog.Commit, moved *moved) error {
	if moved.has(commit) {
		return nil
	}
	err := log.Append(ctx, commit)
	var stored *eventlog.CauseStoredError
	var conflict *eventlog.ConflictError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &stored):
		for i, p := range commit.Parts {
			if stored.Stored.ID != commit.ID || i >= len(stored.Stored.Parts) || stored.Stored.Parts[i].Hash != p.Hash {
				err = &audit.ContradictionError{Stream: p.Stream, Version: p.Version}
				return fmt.Errorf("commit %s: %w; the log has made commit %s of %s", commit.ID, err, stored.Stored.ID, commit.Cause)
			}
		}
		return nil
	case errors.As(err, &conflict) && conflict.Expected > conflict.Actual:
		err = &audit.GapError{Stream: conflict.Stream, Ends: conflict.Actual, Begins: conflict.Expected + 1}
	case len(commit.Parts) == 1 && moved.find(ctx, log, commit.Parts[0]) && moved.has(commit):
		return nil
	case errors.As(err, &conflict):
		err = &audit.ContradictionError{Stream: conflict.Stream, Version: conflict.Expected + 1}
	}
	return fmt.Errorf("commit %s: %w", commit.ID, err)
}

// moved are samples of a log that were moved to an archive, as far as they were come upon.
type moved struct {
	mu sync.Mutex
	of map[eventlog.Stream][]*eventlog.ArchivedError
}

// has tells whether a commit is one of them. That the stream is the same was seen by its hashes
// (audit.Agree).
func (m *moved) has(c eventlog.Commit) bool {
	if len(c.Parts) != 1 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	p := c.Parts[0]
	return slices.ContainsFunc(m.of[p.Stream], func(a *eventlog.ArchivedError) bool {
		return a.From <= p.Version && p.Last() <= a.To && (p.Version != a.From || p.Prev == a.Prev) && (p.Last() != a.To || p.Hash == a.Hash)
	})
}

// find looks whether a log has moved what a part tells of.
func (m *moved) find(ctx context.Context, log eventlog.Log, p eventlog.Part) bool {
	for _, err := range log.Read(ctx, p.Stream, p.Version) {
		archived, ok := errors.AsType[*eventlog.ArchivedError](err)
		if ok {
			m.mu.Lock()
			m.of[p.Stream] = append(m.of[p.Stream], archived)
			m.mu.Unlock()
		}
		return ok
	}
	return false
}
