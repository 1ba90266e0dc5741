package central

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"evcharging/adapters/jsonl"
	"evcharging/adapters/memory"
	"evcharging/adapters/mongo"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/session"
)

// feed keeps the projections in memory (the panel's network and the deadlines) as the log
// has them. It is told every stored part; where one is missing, it asks the log.
type feed struct {
	central   *central.Central
	deadlines *memory.Deadlines
	id        uuid.UUID // of the log's network
	// damaged is told what of the log can't be read.
	damaged func(error)

	mu      sync.Mutex
	network *network.Network
	applied map[eventlog.Stream]eventlog.Version // of the streams that are open
	// unread are the points and the open sessions that can't be read.
	unread map[eventlog.Stream]bool
}

func newFeed(c *central.Central, deadlines *memory.Deadlines) *feed {
	return &feed{
		central: c, deadlines: deadlines, damaged: func(error) {},
		network: network.New(), applied: map[eventlog.Stream]eventlog.Version{}, unread: map[eventlog.Stream]bool{},
	}
}

// tail is how many of the newest commits are looked through for sessions that closed
// lately: they are shown again after a restart.
const tail = 50_000

// restore takes in every open stream of the log and the sessions that closed last, in the
// order of time. A stream that can't be read is said, and shown as such: the others go on. It
// may be called again, where the feed missed what was stored meanwhile.
func (f *feed) restore(ctx context.Context) error {
	open, err := f.central.Log.Open(ctx)
	if err != nil {
		return fmt.Errorf("read the open streams of the event log: %w", err)
	}
	closed, err := f.closedLately(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	known := slices.AppendSeq(slices.Collect(maps.Keys(f.applied)), maps.Keys(f.unread)) // some of them may have closed
	f.mu.Unlock()
	shown := append(open, known...)
	slices.Sort(shown)
	streams := slices.Concat(shown, closed)
	slices.Sort(streams)
	var all []central.Part
	for _, stream := range slices.Compact(streams) {
		parts, err := f.central.Restore(ctx, stream)
		if errors.Is(err, eventlog.ErrDamaged) {
			if _, waits := slices.BinarySearch(shown, stream); waits {
				f.lose(ctx, stream, err)
			} else {
				f.damaged(err)
			}
			continue
		}
		if err != nil {
			return err // what is not known may wait for a deadline
		}
		f.mu.Lock()
		f.regained(stream)
		f.mu.Unlock()
		all = append(all, parts...)
	}
	slices.SortStableFunc(all, func(a, b central.Part) int { return cmp.Compare(a.At, b.At) })
	wrong := map[eventlog.Stream]error{}
	f.mu.Lock()
	for _, part := range all {
		if wrong[part.Stream] == nil {
			if err := f.apply([]central.Part{part}); err != nil {
				wrong[part.Stream] = err
			}
		}
	}
	f.mu.Unlock()
	for stream, err := range wrong {
		f.lose(ctx, stream, err)
	}
	return nil
}

// closedLately are the sessions that were closed last, oldest first.
func (f *feed) closedLately(ctx context.Context) ([]eventlog.Stream, error) {
	end, err := f.central.Log.End(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the end of the event log: %w", err)
	}
	var closed []eventlog.Stream
	// Positions may leap, so a window of so many may have few commits, or none.
	for window, until, looked := eventlog.Position(tail), end, 0; until > 0 && looked < tail; window *= 2 {
		from := max(until, window) - window + 1
		some, n, err := f.closedWithin(ctx, from, until)
		if err != nil {
			return nil, err
		}
		closed, looked, until = append(some, closed...), looked+n, from-1
	}
	// A revision closes once more: of each session the last counts.
	seen := map[eventlog.Stream]bool{}
	var last []eventlog.Stream
	for _, stream := range slices.Backward(closed) {
		if !seen[stream] && len(last) < network.ClosedLimit {
			seen[stream] = true
			last = append(last, stream)
		}
	}
	slices.Reverse(last)
	return last, nil
}

// closedWithin are the streams that a commit at one of some positions closes, and how many
// commits there are.
func (f *feed) closedWithin(ctx context.Context, from, until eventlog.Position) (closed []eventlog.Stream, commits int, err error) {
	for from != 0 && from <= until {
		next := eventlog.Position(0)
		for commit, err := range f.central.Log.All(ctx, from) {
			if damage, ok := errors.AsType[*eventlog.DamagedError](err); ok {
				if damage.Position > until {
					break
				}
				if !archived(err) {
					f.damaged(err)
				}
				if damage.Position >= from { // behind what can't be read
					next = damage.Position + 1
				}
				break
			}
			if err != nil {
				return nil, 0, fmt.Errorf("read the newest commits of the event log: %w", err)
			}
			if commit.Position > until {
				break
			}
			commits++
			for _, part := range commit.Parts {
				if part.Kind == eventlog.Closing {
					closed = append(closed, part.Stream)
				}
			}
		}
		from = next
	}
	return closed, commits, nil
}

// handle takes what a turn stored.
func (f *feed) handle(ctx context.Context, p central.Publication) error {
	for _, part := range p.Parts {
		if err := f.take(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// take takes a stored part; the parts of one stream one after the other.
func (f *feed) take(ctx context.Context, part central.Part) error {
	f.mu.Lock()
	missing := part.Version > f.applied[part.Stream]+1 || f.unread[part.Stream]
	if !missing {
		defer f.mu.Unlock()
		return f.apply([]central.Part{part})
	}
	_, open := f.applied[part.Stream]
	f.mu.Unlock()
	// A turn before this one was stored and not told: its record will come again, but
	// what is shown must not wait for it.
	err := f.reread(ctx, part.Stream)
	if !errors.Is(err, eventlog.ErrDamaged) {
		return err
	}
	// Its messages must go out all the same.
	if open || !closes(part.Events) {
		f.lose(ctx, part.Stream, err)
	} else {
		f.damaged(err)
	}
	return nil
}

func (f *feed) apply(parts []central.Part) error {
	for _, part := range parts {
		last := part.Version + eventlog.Version(len(part.Events)) - 1
		if last <= f.applied[part.Stream] {
			continue
		}
		if err := f.network.Apply(part.Stream, part.Version, part.At, part.Events...); err != nil {
			return err
		}
		f.deadlines.Apply([]central.Part{part})
		f.applied[part.Stream] = last
		if closes(part.Events) {
			delete(f.applied, part.Stream)
		}
	}
	return nil
}

func closes(events []any) bool {
	for _, e := range events {
		switch e.(type) {
		case session.SupplyRefused, session.TicketIssued, session.TicketRevised:
			return true
		}
	}
	return false
}

// say puts a message of Central's own on the panel.
func (f *feed) say(level network.Level, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.network.Say(domain.At(time.Now()), level, text)
}

// Snapshot is what is seen of the network through a window.
func (f *feed) Snapshot(w network.Window) network.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.network.Snapshot(w)
}

// Changed grows with everything that changes what is shown.
func (f *feed) Changed() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.network.Changed()
}

// Points is http.Source's.
func (f *feed) Points() []network.Point {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.network.Points()
}

// Prices is http.Source's.
func (f *feed) Prices(ctx context.Context, id domain.PointID) ([]network.PriceChange, error) {
	var prices network.Prices
	for part, err := range f.central.Parts(ctx, central.PointStream(id), 1) {
		if err != nil {
			return nil, err
		}
		for _, event := range part.Events {
			if err := prices.Apply(part.At, event); err != nil {
				return nil, err
			}
		}
	}
	return prices.Changes(), nil
}

// Sessions is http.Source's.
func (f *feed) Sessions() (open, closed []network.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.network.Open(), f.network.Closed(network.ClosedLimit)
}

// Session is http.Source's.
func (f *feed) Session(ctx context.Context, id domain.SessionID) (network.Session, bool, error) {
	f.mu.Lock()
	s, ok := f.network.Session(id)
	f.mu.Unlock()
	if ok && s.Status != network.Unreadable {
		return s, true, nil
	}
	parts, err := f.central.Restore(ctx, central.SessionStream(id))
	if err != nil || len(parts) == 0 {
		return network.Session{}, false, err
	}
	old := network.New()
	for _, part := range parts {
		if err := old.Apply(part.Stream, part.Version, part.At, part.Events...); err != nil {
			return network.Session{}, false, err
		}
	}
	s, ok = old.Session(id)
	return s, ok, nil
}

// Log is http.Source's.
func (f *feed) Log(ctx context.Context, from eventlog.Position, to io.Writer) error {
	_, err := jsonl.Write(ctx, to, f.central.Log, f.id, from, func() {})
	return err
}

// signs tells the panel, too, that a point was heard, and other Centrals, where there are some.
type signs struct {
	memory.Signs
	feed   *feed
	shared *mongo.Signs // nil: there are none
}

// Heard is central.SignsOfLife's.
func (s *signs) Heard(ctx context.Context, point domain.PointID, sign central.Sign) error {
	s.note(point, sign)
	if s.shared != nil {
		return s.shared.Heard(ctx, point, sign)
	}
	return nil
}

// Last is central.SignsOfLife's: what anybody has heard.
func (s *signs) Last(ctx context.Context, point domain.PointID) (central.Sign, error) {
	if s.shared != nil {
		return s.shared.Last(ctx, point)
	}
	return s.Signs.Last(ctx, point)
}

// note takes in what somebody has heard, for the panel and for finding leases that run out.
func (s *signs) note(point domain.PointID, sign central.Sign) {
	if sign.HeardAt != 0 { // a report from before Central's start may be no sign of life
		s.feed.mu.Lock()
		s.feed.network.Heard(point, sign.HeardAt)
		s.feed.mu.Unlock()
	}
	_ = s.Signs.Heard(context.Background(), point, sign) // in memory, it can't fail
}
