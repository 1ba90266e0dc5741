package memory

import (
	"context"
	"sync"
	"time"

	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain"
)

// Signs is central.SignsOfLife in memory: a Central that starts has heard nobody.
// Its zero value is ready.
type Signs struct {
	mu   sync.RWMutex
	last map[domain.PointID]central.Sign
}

var _ central.SignsOfLife = (*Signs)(nil)

// Heard is central.SignsOfLife's.
func (s *Signs) Heard(_ context.Context, point domain.PointID, sign central.Sign) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[domain.PointID]central.Sign{}
	}
	if sign.Newer(s.last[point]) {
		s.last[point] = sign
	}
	return nil
}

// Last is central.SignsOfLife's.
func (s *Signs) Last(_ context.Context, point domain.PointID) (central.Sign, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.last[point], nil
}

// Listening is central.Listening. Its zero value has been listening for ever.
type Listening struct {
	mu    sync.Mutex
	since domain.UnixMillis
	lags  central.Lags
}

var _ central.Listening = (*Listening)(nil)

// Since is central.Listening's.
func (l *Listening) Since() domain.UnixMillis {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since
}

// Deaf is central.Listening's.
func (l *Listening) Deaf(now domain.UnixMillis) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.since = now
}

// Hear is central.Listening's.
func (l *Listening) Hear(now domain.UnixMillis, record message.Source) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	late := l.lags.Late(now, record)
	if late > 0 || l.since > now { // our own clock may have been set back
		l.since = now
	}
	return late
}

// Ignored is central.Ignored: counts by rule. Its zero value is ready.
type Ignored struct {
	mu     sync.Mutex
	counts map[string]int
}

var _ central.Ignored = (*Ignored)(nil)

// Count is central.Ignored's.
func (i *Ignored) Count(rule error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.counts == nil {
		i.counts = map[string]int{}
	}
	i.counts[rule.Error()]++
}

// Counts are the counts so far, by the rule's text.
func (i *Ignored) Counts() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	counts := make(map[string]int, len(i.counts))
	for rule, n := range i.counts {
		counts[rule] = n
	}
	return counts
}
