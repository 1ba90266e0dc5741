package central

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/application/network"
	"evcharging/domain"
)

// reread takes in all of a stream; eventlog.ErrDamaged where it can't be read.
func (f *feed) reread(ctx context.Context, stream eventlog.Stream) error {
	parts, err := f.central.Restore(ctx, stream)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.regained(stream)
	return f.apply(parts)
}

// lose takes in that a stream can't be read, and says it once. What can be read of a point tells
// where it is.
func (f *feed) lose(ctx context.Context, stream eventlog.Stream, damage error) {
	f.mu.Lock()
	lost := f.unread[stream]
	f.unread[stream] = true
	f.mu.Unlock()
	if lost {
		return
	}
	begins := f.begins(ctx, stream)
	f.mu.Lock()
	for _, part := range begins {
		if f.network.Apply(part.Stream, part.Version, part.At, part.Events...) != nil {
			break
		}
	}
	f.network.CannotRead(stream, now())
	f.mu.Unlock()
	f.damaged(damage)
}

// begins is what can be read of a point before something can't; of a session, nothing: what it
// was then is not what it is to be shown as.
func (f *feed) begins(ctx context.Context, stream eventlog.Stream) (parts []central.Part) {
	if _, point := pointOf(stream); !point {
		return nil
	}
	next := eventlog.Version(1)
	for part, err := range f.central.Parts(ctx, stream, 1) {
		if err != nil || part.Version != next {
			break
		}
		parts = append(parts, part)
		next += eventlog.Version(len(part.Events))
	}
	return parts
}

// regained takes in that a stream can be read, with mu held.
func (f *feed) regained(stream eventlog.Stream) {
	if !f.unread[stream] {
		return
	}
	delete(f.unread, stream)
	f.network.CanRead(stream, now())
	f.network.Say(now(), network.Info, fmt.Sprintf("%s can be read again", stream))
}

// Note is central.Readings's: what a turn can't read is not shown as if it were known, and
// what it can read again is.
func (f *feed) Note(ctx context.Context, stream eventlog.Stream, damage error) {
	_, point := pointOf(stream)
	f.mu.Lock()
	_, open := f.applied[stream]
	lost := f.unread[stream]
	f.mu.Unlock()
	switch {
	case damage != nil && (point || open): // a session that is closed is shown as it was
		f.lose(ctx, stream, damage)
	case damage == nil && lost:
		_ = f.reread(ctx, stream) // where that fails, the next turn reads it again
	}
}

// Due is central.DeadlineIndex's: without the deadlines that nobody can pass, as their point or
// session can't be read.
func (f *feed) Due(ctx context.Context, now, listeningSince domain.UnixMillis) ([]central.Deadline, error) {
	due, err := f.deadlines.Due(ctx, now, listeningSince)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.unread) > 0 {
		due = slices.DeleteFunc(due, f.cannotPass)
	}
	return due, err
}

// cannotPass tells whether a deadline's turn would need what can't be read: a lease that runs
// out ends the session that holds its point. mu is held.
func (f *feed) cannotPass(d central.Deadline) bool {
	if f.unread[central.PointStream(d.Point)] || f.unread[central.SessionStream(d.Session)] {
		return true
	}
	p, _ := f.network.Point(d.Point)
	return d.Kind == central.DeadlineLease && p.Supply != nil && p.Supply.Status == network.Unreadable
}

// warnings are what must be known of what can't be read.
func (f *feed) warnings() []string {
	f.mu.Lock()
	points, sessions := f.network.Unreadable()
	f.mu.Unlock()
	var out []string
	if len(points) > 0 {
		out = append(out, cannotRead(points, "point"))
	}
	if len(sessions) > 0 {
		out = append(out, cannotRead(sessions, "session"))
	}
	return out
}

// cannotRead says of which of a kind nothing can be read, by name of the first.
func cannotRead[ID ~string](ids []ID, kind string) string {
	const named = 3
	var names []string
	for _, id := range ids[:min(len(ids), named)] {
		names = append(names, string(id))
	}
	text := strings.Join(names, ", ")
	if len(ids) > named {
		text += " …"
	}
	if len(ids) == 1 {
		return fmt.Sprintf("1 %s can't be read: %s", kind, text)
	}
	return fmt.Sprintf("%d %ss can't be read: %s", len(ids), kind, text)
}

// pointOf is the point of a stream's name; ok is false where it is a session's.
func pointOf(stream eventlog.Stream) (id domain.PointID, ok bool) {
	name, ok := strings.CutPrefix(string(stream), "point-")
	return domain.PointID(name), ok
}

// tellUnreadable keeps what is published of the points true, until ctx ends: of one that can't
// be read it is that, and of one that can be read again what it is. Nothing else tells it, for
// such a point has no events.
func (n *Node) tellUnreadable(ctx context.Context) {
	var told map[domain.PointID]bool
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if told == nil {
			told = n.toldUnreadable(ctx)
		}
		if told != nil {
			n.tellChanged(ctx, told)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// toldUnreadable are the points that were published last as such, by whichever Central; nil
// where that can't be asked.
func (n *Node) toldUnreadable(ctx context.Context) map[domain.PointID]bool {
	told := map[domain.PointID]bool{}
	err := n.transport.Read(ctx, n.transport.Topics().State, func(r message.Received) {
		if s, ok := r.Message.(message.PointState); ok {
			takeTold(told, s)
		}
	})
	if err != nil {
		return nil
	}
	return told
}

// tellChanged publishes what was told otherwise, and takes it in as told.
func (n *Node) tellChanged(ctx context.Context, told map[domain.PointID]bool) {
	for _, state := range n.feed.toldOtherwise(told) {
		if err := n.transport.Send(ctx, state); err != nil {
			return // it is tried again
		}
		takeTold(told, state)
	}
}

// takeTold takes in what was published of a point.
func takeTold(told map[domain.PointID]bool, s message.PointState) {
	if s.State == network.Unreadable {
		told[s.Point] = true
	} else {
		delete(told, s.Point)
	}
}

// toldOtherwise are the states of the points of which it was told otherwise whether they can be read.
func (f *feed) toldOtherwise(told map[domain.PointID]bool) []message.PointState {
	f.mu.Lock()
	defer f.mu.Unlock()
	var states []message.PointState
	points, _ := f.network.Unreadable()
	for _, id := range points {
		if !told[id] {
			p, _ := f.network.Point(id)
			states = append(states, message.PointState{Point: id, Location: p.Location, State: network.Unreadable, UpdatedAt: p.Since})
		}
	}
	for id := range told {
		// Of one that is not heard it is not known yet whether it is connected still.
		if p, ok := f.network.Point(id); ok && p.State != network.Unreadable && !p.NotHeard {
			states = append(states, message.PointState{
				Point: id, Location: p.Location, Price: p.Price, State: string(p.State), UpdatedAt: p.UpdatedAt, Version: int64(p.Version),
			})
		}
	}
	return states
}
