package central

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Deadline is a deadline that stands as far as an index knows. Finding it there is fine,
// deciding on it is not: its turn asks the log, or the signs of life, once more.
type Deadline struct {
	Point domain.PointID
	// Session is empty for a point's own deadline.
	Session domain.SessionID
	Kind    string
	Since   domain.UnixMillis
	Due     domain.UnixMillis
}

// DeadlineIndex finds what may be due. Safe for use from several goroutines.
type DeadlineIndex interface {
	// Due gives the deadlines that have passed at now for somebody who has been listening
	// since an instant, in no particular order; the instants of a point's scheduled prices,
	// which pass whether anybody listens or not, in theirs.
	Due(ctx context.Context, now, listeningSince domain.UnixMillis) ([]Deadline, error)
}

// Poster sends control records. It returns nil only when the broker has them.
type Poster interface {
	Post(ctx context.Context, controls []message.Control) error
}

const (
	// postAgain is how long a deadline that was posted is left alone.
	postAgain = 5 * time.Second
	// asleep is so long between two looks at the clock that a Central was not running meanwhile.
	asleep = 1500 * time.Millisecond
)

// Watch posts what is due to ev.control, once a second. Several Centrals may post the
// same. Its methods are called by one goroutine.
type Watch struct {
	Index     DeadlineIndex
	Listening Listening
	Poster    Poster
	posted    map[Deadline]domain.UnixMillis
	awakeAt   domain.UnixMillis
}

// Awake says that the Central runs at an instant: call it when the watch begins, and after
// each Tick. A Central that did not run for a while heard nobody meanwhile.
func (w *Watch) Awake(now domain.UnixMillis) {
	if w.awakeAt != 0 && now.Sub(w.awakeAt) > asleep {
		w.Listening.Deaf(now)
	}
	w.awakeAt = now
}

// Tick posts the deadlines that have passed, each at most once in five seconds.
func (w *Watch) Tick(ctx context.Context, now domain.UnixMillis) error {
	w.Awake(now)
	due, err := w.Index.Due(ctx, now, w.Listening.Since())
	if err != nil {
		return fmt.Errorf("look for deadlines: %w", err)
	}
	for d, at := range w.posted {
		if now.Sub(at) >= postAgain {
			delete(w.posted, d)
		}
	}
	var controls []message.Control
	var posted []Deadline
	for _, d := range due {
		if _, lately := w.posted[d]; lately {
			continue
		}
		posted = append(posted, d)
		controls = append(controls, message.Control{
			ID: deadlineID(d, now), Point: d.Point, Action: message.ActionDeadline,
			Session: d.Session, Kind: d.Kind, DueAt: d.Due, By: "deadline",
		})
	}
	if len(controls) == 0 {
		return nil
	}
	if err := w.Poster.Post(ctx, controls); err != nil {
		return fmt.Errorf("post deadlines: %w", err)
	}
	if w.posted == nil {
		w.posted = map[Deadline]domain.UnixMillis{}
	}
	for _, d := range posted {
		w.posted[d] = now
	}
	return nil
}

// deadlines is the namespace of a deadline record's id.
var deadlines = uuid.MustParse("0b8f4c1a-6f60-5a55-9f5d-0d6b0a3f7c11")

func deadlineID(d Deadline, now domain.UnixMillis) string {
	return uuid.NewSHA1(deadlines, fmt.Appendf(nil, "%s\n%s\n%s\n%d\n%d", d.Point, d.Session, d.Kind, d.Due, now)).String()
}

// SessionDeadline is what a session waits for after a stored part; ok is false where the
// part does not change it, and the zero Deadline where it waits for nothing more.
func SessionDeadline(part Part) (d Deadline, ok bool) {
	id, isSession := sessionOf(part.Stream)
	if !isSession {
		return Deadline{}, false
	}
	for _, event := range part.Events {
		next := Deadline{Session: id, Since: part.At}
		switch e := event.(type) {
		case session.SupplyAuthorized:
			next.Point, next.Kind, next.Due = e.Point, string(session.TakeUp), e.Due
		case session.MeterValueRecorded:
			if e.Due == 0 {
				continue
			}
			next.Kind, next.Due = string(session.Silence), e.Due
		case session.EndDecided:
			next.Kind, next.Due = string(session.FinalReport), e.Due
		case session.TicketIssued:
			next = Deadline{}
		default:
			continue
		}
		d, ok = next, true
	}
	return d, ok
}
