package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"evcharging/application/eventlog"
)

// ContradictionError tells where two logs have different histories of a stream.
type ContradictionError struct {
	Stream eventlog.Stream
	// Version is that of the first event of the first part that is another.
	Version eventlog.Version
}

func (e *ContradictionError) Error() string {
	return fmt.Sprintf("%s at version %d contradicts what is there already", e.Stream, e.Version)
}

// GapError tells that a log's part of a stream begins behind the end that another log has of
// it.
type GapError struct {
	Stream eventlog.Stream
	// Ends is the version that the other log ends at, Begins the first that the log has.
	Ends, Begins eventlog.Version
}

func (e *GapError) Error() string {
	return fmt.Sprintf("%s goes on at version %d, and what is there ends at %d: what lies between is missing", e.Stream, e.Begins, e.Ends)
}

// AmidArchiveError tells that a log's part of a stream ends amid samples that another log has in
// an archive: of these only the hashes before and behind them are known.
type AmidArchiveError struct {
	// Ends is the version that the log's part ends at, Archived what is in the archive.
	Ends     eventlog.Version
	Archived *eventlog.ArchivedError
}

func (e *AmidArchiveError) Error() string {
	a := e.Archived
	return fmt.Sprintf("%s ends at version %d, and versions %d to %d are in an archive, in %s: whether they are the same can't be told; import a log that has all of these",
		a.Stream, e.Ends, a.From, a.To, a.Archive)
}

// Comparable is a log that another is compared with. Every eventlog.Log is one.
type Comparable interface {
	Log
	// Head is eventlog.Log's.
	Head(ctx context.Context, stream eventlog.Stream) (eventlog.Head, error)
}

// Agree tells whether what a log has can be added to another: the one's part of each stream
// and the other's are the same, as far as both go, and nothing is missing between them. It
// gives how many of the log's commits the other has already. *ContradictionError and
// *GapError tell where that is not so, *AmidArchiveError where it can't be told; other errors are
// the logs'. It looks at the ends of streams, for their hashes stand for everything before them,
// also for what the other log has in an archive. Its memory is some 20 bytes
// for each stream, and that of the streams that are compared at a time. looked is called
// after each commit.
func Agree(ctx context.Context, log Log, other Comparable, looked func()) (there uint64, err error) {
	a := agreement{log: log, other: other, begun: map[uint64]struct{}{}, shared: map[eventlog.Stream]*shared{}}
	for commit, err := range log.All(ctx, 1) {
		if err != nil {
			return there, fmt.Errorf("read the event log: %w", err)
		}
		has := false
		for _, p := range commit.Parts {
			known, err := a.part(ctx, p)
			if err != nil {
				return there, err
			}
			has = has || known
		}
		if has {
			there++
		}
		looked()
	}
	for _, stream := range slices.Sorted(maps.Keys(a.shared)) { // the other log goes on
		s := a.shared[stream]
		for commit, err := range other.Read(ctx, stream, s.last) {
			archived, ok := errors.AsType[*eventlog.ArchivedError](err)
			switch {
			case ok && archived.To > s.last:
				return there, &AmidArchiveError{s.last, archived}
			case ok && (archived.To != s.last || archived.Hash != s.hash):
				return there, a.difference(ctx, stream)
			case ok:
			case err != nil:
				return there, fmt.Errorf("read %s: %w", stream, err)
			case commit.Parts[0].Last() != s.last || commit.Parts[0].Hash != s.hash:
				return there, a.difference(ctx, stream)
			}
			break
		}
	}
	return there, nil
}

type agreement struct {
	log   Log
	other Comparable
	// begun are the streams that were compared, or are, as verifier.forgotten.
	begun map[uint64]struct{}
	// shared are those of which the other log has more than was seen of them so far.
	shared map[eventlog.Stream]*shared
}

// shared is a stream that both logs have.
type shared struct {
	head eventlog.Head // the other's
	// last and hash are those of the log's part that was seen last.
	last eventlog.Version
	hash eventlog.Hash
}

// part compares a part, and tells whether the other log has it.
func (a *agreement) part(ctx context.Context, p eventlog.Part) (bool, error) {
	s := a.shared[p.Stream]
	if s == nil {
		if _, known := a.begun[short(p.Stream)]; known {
			return false, nil
		}
		a.begun[short(p.Stream)] = struct{}{}
		head, err := a.other.Head(ctx, p.Stream)
		switch {
		case err != nil:
			return false, fmt.Errorf("read the end of %s: %w", p.Stream, err)
		case p.Version > head.Version+1:
			return false, &GapError{p.Stream, head.Version, p.Version}
		case p.Version == head.Version+1 && p.Prev != head.Hash:
			return false, a.difference(ctx, p.Stream)
		case p.Version == head.Version+1:
			return false, nil
		}
		s = &shared{head: head}
		a.shared[p.Stream] = s
	}
	s.last, s.hash = p.Last(), p.Hash
	switch {
	case s.last < s.head.Version:
		return true, nil
	case s.last > s.head.Version || s.hash != s.head.Hash:
		return false, a.difference(ctx, p.Stream)
	}
	delete(a.shared, p.Stream)
	return true, nil
}

// difference finds where two histories of a stream part.
func (a *agreement) difference(ctx context.Context, stream eventlog.Stream) error {
	parts, ends := map[eventlog.Version]eventlog.Hash{}, map[eventlog.Version]eventlog.Hash{}
	for commit, err := range a.log.Read(ctx, stream, 1) {
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		p := commit.Parts[0]
		parts[p.Version], ends[p.Last()] = p.Hash, p.Hash
	}
	last := eventlog.Version(1)
	for from := last; from != 0; {
		next := eventlog.Version(0)
		for commit, err := range a.other.Read(ctx, stream, from) {
			if archived, ok := errors.AsType[*eventlog.ArchivedError](err); ok && archived.To >= from {
				if hash, ok := ends[archived.To]; ok && hash != archived.Hash {
					return &ContradictionError{stream, archived.From} // or behind that
				}
				last, next = archived.To+1, archived.To+1
				break
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", stream, err)
			}
			p := commit.Parts[0]
			if hash, ok := parts[p.Version]; ok && hash != p.Hash {
				return &ContradictionError{stream, p.Version}
			}
			last = p.Last() + 1
		}
		from = next
	}
	return &ContradictionError{stream, last} // the log's part is made to follow something else
}
