package bbolt

import (
	"encoding/binary"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"evcharging/application/eventlog"
)

// scan reads the headers of a segment's commits, and takes note of them.
func (c *contents) scan(s *segment) error {
	path, _ := c.path(s.first)
	prefetch(path)
	var r record
	topics := map[string]string{}
	err := guard(func() error {
		return s.db.View(func(tx *bolt.Tx) error {
			cursor := tx.Bucket(commitsBucket).Cursor()
			for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
				if s.salvaged && len(key) == 8 {
					s.tail.last = max(s.tail.last, eventlog.Position(binary.BigEndian.Uint64(key))-1) // those between are lost
				}
				if len(key) != 8 || eventlog.Position(binary.BigEndian.Uint64(key)) != s.tail.last+1 {
					return fmt.Errorf("%w: key %x does not follow position %d", errBroken, key, s.tail.last)
				}
				decodeErr := r.decode(value)
				if decodeErr != nil && !r.certain && !c.options.reading {
					// A stream that has lost its end would be continued at a version that was there.
					return &eventlog.DamagedError{
						Where: segmentName(s.first), Position: s.tail.last + 1,
						Reason: fmt.Errorf("%w, and of which streams it is can't be told", decodeErr),
					}
				}
				if decodeErr != nil {
					r.at, r.cause, r.topic, r.moved = 0, eventlog.Cause{}, nil, 0
				}
				topic, ok := topics[string(r.topic)]
				if !ok {
					topic = string(r.topic)
					topics[topic] = topic
				}
				r.cause.Topic = topic
				position := s.tail.commit(len(value), r.at, r.cause)
				for _, p := range r.parts {
					part := eventlog.Part{
						Stream: eventlog.Stream(p.stream), Version: p.version, Events: p.events, Kind: p.kind,
						Prev: eventlog.Hash(p.prev), Hash: eventlog.Hash(p.hash),
					}
					before, err := c.state(part.Stream)
					switch {
					case err != nil && !errors.Is(err, eventlog.ErrDamaged):
						return err
					case err == nil:
						err = decodeErr
					}
					if err == nil && (part.Version != before.head.Version+1 || part.Prev != before.head.Hash) {
						err = errGap
					}
					if err == nil {
						c.streams[part.Stream] = s.tail.part(s.first, before, part)
						continue
					}
					c.streams[part.Stream] = s.tail.lose(s.first, before, part, decodeErr == nil)
					c.options.Logger.Error("A stream of the event log is damaged; the others go on.",
						"segment", segmentName(s.first), "position", position, "stream", part.Stream, "reason", err)
				}
				if r.moved > 0 {
					s.tail.last += r.moved - 1
				}
				if decodeErr != nil && len(r.parts) == 0 {
					c.options.Logger.Error("The event log is damaged, it can't be told in which streams.",
						"segment", segmentName(s.first), "position", position, "reason", decodeErr)
				}
			}
			return nil
		})
	})
	s.tail.last = max(s.tail.last, s.end)
	c.last = s.tail.last
	if errors.Is(err, errBroken) {
		return &eventlog.DamagedError{Where: segmentName(s.first), Position: s.tail.last + 1, Reason: err}
	}
	return err
}
