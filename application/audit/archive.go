package audit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// Archivable is a closed session that has samples which can be moved to an archive: all but the
// last, for from that and from what is no sample follows everything but the curve.
type Archivable struct {
	// Month is that of its close, in UTC, such as 2026-08.
	Month string
	// Sample is the version of its last sample, which stays.
	Sample eventlog.Version
	// First and Last are the positions of the first and of the last commit of its stream, FirstAt and
	// LastAt their times.
	First, Last     eventlog.Position
	FirstAt, LastAt domain.UnixMillis
	// Begun tells that some of its samples were moved already.
	Begun bool
}

// candidate is a session that may be one.
type candidate struct {
	Archivable
	// version and hash are those that the next part has to follow; broken tells that one did not.
	version eventlog.Version
	hash    eventlog.Hash
	broken  bool
	// lone is the version of the first sample that is alone in its commit; 0: there is none.
	lone     eventlog.Version
	closedAt domain.UnixMillis
}

// follow goes over parts that should follow what was seen.
func (s *candidate) follow(from, to eventlog.Version, prev, hash eventlog.Hash) {
	s.broken = s.broken || from != s.version+1 || prev != s.hash
	s.version, s.hash = to, hash
}

func (s *candidate) take(c eventlog.Positioned, p eventlog.Part) {
	s.follow(p.Version, p.Last(), p.Prev, p.Hash)
	s.Last, s.LastAt = c.Position, c.At
	switch p.Kind {
	case eventlog.Sample:
		s.Sample = p.Version
		if s.lone == 0 && len(c.Parts) == 1 && c.Cause.IsZero() {
			s.lone = p.Version
		}
	case eventlog.Closing:
		if s.closedAt == 0 {
			s.closedAt = c.At
		}
	}
}

// removable tells whether it has samples that can be moved.
func (s *candidate) removable() bool { return s.lone != 0 && s.lone < s.Sample && !s.broken }

// Archivables finds the sessions that can be archived: closed in a month that was over at an
// instant, with nothing newer than that. A stream in which anything is wrong is not among them.
// archives are the names of the files that have what was moved already, in order. Its memory is
// that of the open streams, and of those that it finds. looked is called after each commit.
func Archivables(ctx context.Context, log Log, before domain.UnixMillis, looked func()) (found map[eventlog.Stream]Archivable, archives []string, err error) {
	named := map[string]struct{}{}
	candidates := map[eventlog.Stream]*candidate{}
	for c, err := range all(ctx, log, 1) {
		var archived *eventlog.ArchivedError
		switch {
		case errors.As(err, &archived):
			named[archived.Archive] = struct{}{}
			if s := candidates[archived.Stream]; s != nil {
				s.Begun = true
				s.follow(archived.From, archived.To, archived.Prev, archived.Hash)
			}
			continue
		case errors.Is(err, eventlog.ErrDamaged):
			continue // what follows it does not join
		case err != nil:
			return nil, nil, fmt.Errorf("read the event log: %w", err)
		}
		for _, p := range c.Parts {
			if !strings.HasPrefix(string(p.Stream), "session-") {
				continue
			}
			s := candidates[p.Stream]
			if s == nil && p.Version == 1 {
				s = &candidate{Archivable: Archivable{First: c.Position, FirstAt: c.At}}
				candidates[p.Stream] = s
			}
			if s != nil {
				s.take(c, p)
				if s.closedAt != 0 && !s.removable() {
					delete(candidates, p.Stream) // also one that was archived
				}
			}
		}
		looked()
	}
	found = map[eventlog.Stream]Archivable{}
	for stream, s := range candidates {
		closed := s.closedAt.Time()
		over := time.Date(closed.Year(), closed.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		if s.closedAt != 0 && s.removable() && domain.At(over) <= before && s.LastAt < before {
			s.Month = closed.Format("2006-01")
			found[stream] = s.Archivable
		}
	}
	return found, slices.Sorted(maps.Keys(named)), ctx.Err()
}
