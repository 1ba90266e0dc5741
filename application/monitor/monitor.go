package monitor

import (
	"fmt"
	"time"

	"evcharging/domain"
)

const (
	// RegisterEvery is how often a point is registered again.
	RegisterEvery = time.Minute
	// DefaultLease is for how long a report is a sign of life.
	DefaultLease = 15 * time.Second
	// MinLease is the contract's least lease.
	MinLease = 3 * time.Second
	// MaxLease is the contract's greatest lease.
	MaxLease = time.Hour
)

// Settings say whom a Monitor watches. They don't change.
type Settings struct {
	Point    domain.PointID
	Location string
	Price    domain.MicroEurosPerKWh
	// Secret is empty where the point has none.
	Secret string
	// Lease is a number of whole seconds, MinLease to MaxLease.
	Lease time.Duration
}

// Monitor is the state of one Monitor. It is not safe for use from several goroutines.
type Monitor struct {
	settings Settings

	beating bool
	// engine is what the last beat found.
	engine Condition

	authentication authentication
	reports        reports

	out Outcome
}

// New is a Monitor that knows nothing yet, and what it has to do first.
func New(s Settings, now domain.UnixMillis) (*Monitor, Outcome) {
	m := &Monitor{settings: s}
	m.reports.registerAt = now
	m.beat()
	m.authenticate(now)
	return m, m.taken()
}

// Step takes an input at an instant and says what is to be done.
func (m *Monitor) Step(in Input, now domain.UnixMillis) Outcome {
	switch in := in.(type) {
	case Tick:
		m.beat()
		m.authenticate(now)
	case Beaten:
		m.beaten(in, now)
	case Authenticated:
		m.authenticated(in, now)
	case Sent:
		m.sent(in, now)
	case Link:
		m.link(in, now)
	}
	m.report(now)
	return m.taken()
}

// Engine is what the last beat found.
func (m *Monitor) Engine() Condition { return m.engine }

// longestPause is a third of the lease: who pauses longer is taken for dead.
func (m *Monitor) longestPause() time.Duration { return m.settings.Lease / 3 }

// pause grows from a second, twofold, up to longest.
func pause(before, longest time.Duration) time.Duration {
	return min(max(2*before, time.Second), longest)
}

// passed tells whether an instant has come that lay at most so far ahead when it was set.
// One that lies further ahead was set before the clock was put back.
func passed(now, at domain.UnixMillis, ahead time.Duration) bool {
	return now >= at || at.Sub(now) > ahead
}

func (m *Monitor) say(format string, args ...any) {
	m.out.Notices = append(m.out.Notices, Notice{Text: fmt.Sprintf(format, args...)})
}

func (m *Monitor) warn(format string, args ...any) {
	m.out.Notices = append(m.out.Notices, Notice{Warning: true, Text: fmt.Sprintf(format, args...)})
}

func (m *Monitor) taken() Outcome {
	out := m.out
	m.out = Outcome{}
	return out
}
