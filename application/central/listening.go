package central

import (
	"time"

	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// Listening tells since when silence would have been heard: since Central's start, since
// the broker or the store last came back, and since no record has come late. Safe for use
// from several goroutines.
type Listening interface {
	Since() domain.UnixMillis
	// Deaf says that something could have been missed until now.
	Deaf(now domain.UnixMillis)
	// Hear tells by how much a record comes late that is read at now, 0 for one in time, as
	// Lags says. Where it comes late, others still wait: it is Deaf too.
	// The record's timestamp is one that the broker set.
	Hear(now domain.UnixMillis, record message.Source) (late time.Duration)
}

// What Lags goes by.
const (
	lateAfter = 5 * time.Second
	// An age is normal where the least one of a window is that of the window before.
	lagWindow = 30 * time.Second
	lagSteady = time.Second
	// A clock that is further off than a request is valid has all requests refused: it has to
	// be set right, and what looks like it is a backlog.
	lagMost = chargingpoint.RequestValidity
)

// Lags tells which records come late, by a broker's clock that need not be ours. A
// record's age when it is read is how long it has waited, and how far the broker's clock
// is behind ours. The second is the same for all records, the first is not while a
// backlog is read: it shrinks, or it grows. So the age that stays the same for a while is
// the normal one, at first 0, and a record comes late where it is older than that by
// more than 5 s. (A backlog that neither shrinks nor grows delays silence and reports
// alike: nothing is missed by it.) A record is judged by its own partition, for one may
// lag and the next not, and by all of them together, for of some little is read. Its zero
// value is ready. It is not safe for use from several goroutines.
type Lags struct {
	all lag
	of  map[partition]*lag
}

type partition struct {
	topic  string
	number int32
}

// Late is by how much a record comes late that is read at now; 0 for one in time.
func (l *Lags) Late(now domain.UnixMillis, record message.Source) time.Duration {
	at := partition{record.Topic, record.Partition}
	of := l.of[at]
	if of == nil {
		if l.of == nil {
			l.of = map[partition]*lag{}
		}
		of = &lag{}
		l.of[at] = of
	}
	return min(of.late(now, record.Timestamp), l.all.late(now, record.Timestamp))
}

// lag is what is known of one partition, or of all.
type lag struct {
	normal time.Duration
	// began is when the window began, 0 before the first; least is the least age in it.
	began domain.UnixMillis
	least time.Duration
	// before is the least age of the window before, where known says that there was one.
	before time.Duration
	known  bool
}

func (l *lag) late(now, recordedAt domain.UnixMillis) time.Duration {
	age := now.Sub(recordedAt)
	if open := l.began != 0; open && l.began <= now && now.Sub(l.began) < lagWindow {
		l.least = min(l.least, age)
	} else {
		if open && l.known && (l.least-l.before).Abs() <= lagSteady && l.least <= lagMost {
			l.normal = l.least
		}
		l.before, l.known = l.least, open
		l.began, l.least = now, age
	}
	l.normal = min(l.normal, age)
	if late := age - l.normal; late > lateAfter {
		return late
	}
	return 0
}
