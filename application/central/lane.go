package central

import (
	"context"
	"errors"
	"fmt"

	"evcharging/application/eventlog"
)

// laneStreams bounds the aggregates that a lane keeps. A lane that has more forgets
// all of them: they are in the log.
const laneStreams = 4096

// Lane takes turns, one at a time. All messages of a point go to the same lane, so its
// aggregates may be kept between turns; the log's versions prove them right.
type Lane struct {
	central *Central
	streams map[eventlog.Stream]*stream
	// seen are the versions that the log has said streams to be at which the lane had otherwise: who
	// reads them then reads so far, or their end is lost.
	seen map[eventlog.Stream]eventlog.Version
}

var errEndLost = errors.New("its last events are missing")

// Lane is a new lane.
func (c *Central) Lane() *Lane {
	return &Lane{central: c, streams: map[eventlog.Stream]*stream{}, seen: map[eventlog.Stream]eventlog.Version{}}
}

// forget drops what is kept of a turn's streams: they may differ from the log.
func (l *Lane) forget(streams ...*stream) {
	for _, s := range streams {
		if s != nil {
			delete(l.streams, s.name)
		}
	}
}

// keep remembers a stream that is as the log has it.
func (l *Lane) keep(s *stream) {
	if s.session != nil && !s.session.Open() {
		delete(l.streams, s.name) // what comes after its close is rare
		return
	}
	if len(l.streams) >= laneStreams {
		clear(l.streams)
	}
	l.streams[s.name] = s
}

// load is the stream as the lane has it, else as the log has it.
func (l *Lane) load(ctx context.Context, name eventlog.Stream) (*stream, error) {
	if s, ok := l.streams[name]; ok {
		return s, nil
	}
	s := emptyStream(name)
	err := l.central.rehydrate(ctx, s)
	if seen := l.seen[name]; err == nil && s.head.Version < seen {
		err = &eventlog.DamagedError{Where: fmt.Sprintf("version %d", s.head.Version+1), Stream: name, Reason: errEndLost}
	} else if err == nil {
		delete(l.seen, name)
	}
	if readings := l.central.Readings; readings != nil && (err == nil || errors.Is(err, eventlog.ErrDamaged)) {
		readings.Note(ctx, name, err)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// rehydrate folds an empty aggregate from the log.
func (c *Central) rehydrate(ctx context.Context, s *stream) error {
	parts, err := c.Restore(ctx, s.name)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err := s.fold(part.At, part.Events); err != nil {
			return err
		}
		s.head.Version, s.head.Hash = part.Version+eventlog.Version(len(part.Events))-1, part.Hash
		s.lastAt = max(s.lastAt, part.At)
	}
	return nil
}
