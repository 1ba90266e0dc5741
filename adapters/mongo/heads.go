package mongo

import (
	"errors"
	"fmt"
	"sync"

	"evcharging/application/eventlog"
)

// head is the end of a stream. What it says of a stream was true once and stays so: these
// events come first. Whether others follow, only the collection knows.
type head struct {
	version  eventlog.Version
	hash     eventlog.Hash
	position eventlog.Position
	// nth is how many of the stream's parts are no samples, kind that of the last of them.
	nth  int64
	kind eventlog.Kind
	// partial tells that kind is not known.
	partial bool
}

// precedes tells whether a part may come right after the head.
func (h head) precedes(p eventlog.Part) bool {
	return p.Version == h.version+1 && p.Prev == h.hash
}

// then is the head after a part that was decided to follow it.
func (h head) then(p eventlog.Part, position eventlog.Position) head {
	next := head{version: p.Last(), hash: p.Hash, position: position, nth: h.nth, kind: h.kind, partial: h.partial}
	if p.Kind != eventlog.Sample {
		next.nth++
		next.kind, next.partial = p.Kind, false
	}
	return next
}

var errBroken = errors.New("the part before it is not the one that it was decided after")

// follow is the head after the first part of a stored commit, which should follow; else the
// error says what is damaged.
func (h head) follow(s stored) (head, error) {
	p := s.Parts[0]
	next := h.then(p, s.Position)
	switch {
	case p.Version > h.version+1:
		return head{}, damage(s, fmt.Errorf("the part at version %d before it is missing", h.version+1))
	case !h.precedes(p) || next.nth != s.nth[0] || s.Position <= h.position:
		return head{}, damage(s, errBroken)
	}
	return next, nil
}

// damage is that of the stream of a stored part.
func damage(s stored, reason error) error {
	return &eventlog.DamagedError{
		Where: fmt.Sprintf("document %s of events", s.ID), Position: s.Position, Stream: s.Parts[0].Stream, Reason: reason,
	}
}

// heads remembers where streams end, as far as this process knows, so that a writer who
// goes on from there needs no look at the collection: the unique index of keys proves that
// nobody else went on. It forgets what was not asked for longest.
type heads struct {
	mu         sync.Mutex
	young, old map[eventlog.Stream]head
}

// generation bounds a half of what is remembered: 200 bytes a stream.
const generation = 1 << 15

func (h *heads) get(stream eventlog.Stream) (head, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if found, ok := h.young[stream]; ok {
		return found, true
	}
	found, ok := h.old[stream]
	if ok {
		h.keep(stream, found)
	}
	return found, ok
}

// put remembers a head, unless a later one is known.
func (h *heads) put(stream eventlog.Stream, now head) {
	if now.partial || now.version == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.young[stream]
	if !ok {
		known = h.old[stream]
	}
	if known.version < now.version {
		h.keep(stream, now)
	}
}

func (h *heads) keep(stream eventlog.Stream, now head) {
	if len(h.young) >= generation {
		h.old, h.young = h.young, nil
	}
	if h.young == nil {
		h.young = map[eventlog.Stream]head{}
	}
	h.young[stream] = now
}

// forget drops all: after an outage a server may have less than it had acknowledged.
func (h *heads) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.young, h.old = nil, nil
}
