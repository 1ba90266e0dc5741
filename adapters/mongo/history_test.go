package mongo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// begin is when the histories of the tests begin.
const begin = domain.UnixMillis(1_800_000_000_000)

// tester is what the tests' own parts need of a test: *testing.T and *rapid.T are one.
type tester interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// history is what happens to some points, as the domain decides it, and an event log of it.
type history struct {
	tester
	log      *partLog
	choose   func(n int) int
	now      domain.UnixMillis
	points   map[domain.PointID]*chargingpoint.Point
	sessions map[domain.SessionID]*session.Session
	versions map[eventlog.Stream]eventlog.Version
	requests int
}

// newHistory is a network in which nothing has happened. choose gives a number below n.
func newHistory(t tester, choose func(n int) int) *history {
	return &history{
		tester: t, log: &partLog{streams: map[eventlog.Stream][]partAt{}, damaged: map[eventlog.Stream]bool{}}, choose: choose, now: begin,
		points: map[domain.PointID]*chargingpoint.Point{}, sessions: map[domain.SessionID]*session.Session{},
		versions: map[eventlog.Stream]eventlog.Version{},
	}
}

// commit stores what aggregates decided. It is empty where that is nothing.
func (h *history) commit(decided ...interface{ Stored() }) central.Publication {
	var parts []central.Part
	sampleAlone := true
	for _, aggregate := range decided {
		part := central.Part{At: h.now}
		switch a := aggregate.(type) {
		case *chargingpoint.Point:
			part.Stream = central.PointStream(a.ID())
			for _, e := range a.Pending() {
				part.Events = append(part.Events, e)
			}
		case *session.Session:
			part.Stream = central.SessionStream(a.ID())
			for _, e := range a.Pending() {
				part.Events = append(part.Events, e)
			}
		}
		aggregate.Stored()
		if len(part.Events) == 0 {
			continue
		}
		if _, sample := part.Events[0].(session.MeterValueRecorded); !sample || len(part.Events) > 1 {
			sampleAlone = false
		}
		part.Version = h.versions[part.Stream] + 1
		h.versions[part.Stream] += eventlog.Version(len(part.Events))
		binary.BigEndian.PutUint64(part.Hash[:], uint64(part.Version))
		parts = append(parts, part)
	}
	if len(parts) > 0 {
		h.log.append(parts)
	}
	return central.Publication{Parts: parts, SampleAlone: len(parts) > 0 && sampleAlone}
}

func (h *history) point(id domain.PointID) *chargingpoint.Point {
	if h.points[id] == nil {
		h.points[id] = chargingpoint.New(id)
	}
	return h.points[id]
}

// open are the open sessions, in an order that is the same each time.
func (h *history) open() (all []*session.Session) {
	for _, s := range h.sessions {
		if s.Open() {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *session.Session) int { return strings.Compare(string(a.ID()), string(b.ID())) })
	return all
}

func (h *history) closed() (all []*session.Session) {
	for _, s := range h.sessions {
		if s.Status() == session.Closed {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *session.Session) int { return strings.Compare(string(a.ID()), string(b.ID())) })
	return all
}

// working makes a point one that may supply.
func (h *history) working(id domain.PointID, price domain.MicroEurosPerKWh) central.Publication {
	p := h.point(id)
	must(h, p.Register(h.now, "Alcoy", price, h.now, chargingpoint.Proof{}))
	must(h, p.ReportHealth(h.now, chargingpoint.Report{Healthy: true, Lease: 15 * time.Second, ReportedAt: h.now}))
	return h.commit(p)
}

// asks answers a driver's request.
func (h *history) asks(driver domain.DriverID, point domain.PointID) (*session.Session, central.Publication) {
	h.requests++
	request := session.Request{Point: point, Driver: driver, ID: domain.RequestID(fmt.Sprint("r-", h.requests)), Origin: "driver"}
	s := session.New(session.IDFor(point, driver, request.ID))
	h.sessions[s.ID()] = s
	p := h.point(point)
	grant, err := p.Occupy(h.now, chargingpoint.Request{Session: s.ID(), Driver: driver, Heard: true})
	var refusal chargingpoint.Refusal
	if errors.As(err, &refusal) {
		must(h, s.Refuse(h.now, request, string(refusal), false))
	} else {
		must(h, s.Authorize(h.now, request, session.Grant(grant), session.DefaultPatience))
	}
	return s, h.commit(p, s)
}

// reports takes a sample.
func (h *history) reports(s *session.Session, seq int64, energy domain.MilliwattHours, at domain.UnixMillis) central.Publication {
	r := s.Request()
	_ = s.RecordMeterValue(h.now, session.MeterValue{
		Point: r.Point, Driver: r.Driver, Seq: seq, Energy: &energy, Power: 7_360, Amount: domain.Cost(energy, s.Price()),
		At: at, Source: session.Source{Topic: "ev.supply.telemetry", Offset: seq, Timestamp: h.now},
	}, session.DefaultPatience)
	return h.commit(s)
}

// done takes a final report.
func (h *history) done(s *session.Session, energy domain.MilliwattHours) central.Publication {
	r := s.Request()
	_ = s.ReportDone(h.now, session.Done{
		Point: r.Point, Driver: r.Driver, Energy: energy, Amount: domain.Cost(energy, s.Price()), Reason: "FINISHED",
		At: h.now, Source: session.Source{Topic: "ev.supply.done", Timestamp: h.now},
	})
	_ = h.point(r.Point).Release(h.now, s.ID())
	return h.commit(h.point(r.Point), s)
}

// ends ends a session for a cause, and orders its stop.
func (h *history) ends(s *session.Session, cause session.Cause) central.Publication {
	if s.End(h.now, cause, session.DefaultPatience) == nil {
		h.point(s.Request().Point).OrderStop(h.now, s.ID(), string(cause))
	}
	return h.commit(h.point(s.Request().Point), s)
}

// step is one thing that may happen. Its publication is empty where it did nothing.
func (h *history) step() central.Publication {
	h.now += domain.UnixMillis([]int{0, 3, 250, 1_000, 1_000, 7_000, 61_000}[h.choose(7)])
	p := h.point(domain.PointID(fmt.Sprint("CP-", h.choose(3))))
	open, closed := h.open(), h.closed()
	switch what := h.choose(16); {
	case what == 0:
		_ = p.Register(h.now, []string{"Alcoy", "Elx"}[h.choose(2)], domain.MicroEurosPerKWh(300_000+h.choose(3)), h.now, chargingpoint.Proof{})
	case what <= 2:
		_ = p.ReportHealth(h.now, chargingpoint.Report{Healthy: h.choose(4) > 0, Lease: 15 * time.Second, ReportedAt: h.now})
	case what == 3 && h.choose(4) == 0:
		_ = p.LoseContact(h.now, h.now-60_000, 0)
	case what == 3:
		if scheduled := p.Scheduled(); len(scheduled) > 0 {
			h.now = max(h.now, scheduled[0].From)
			must(h, p.TakePriceEffect(h.now, scheduled[0].From))
		}
	case what == 4 && h.choose(2) == 0:
		from := h.now + domain.UnixMillis(h.choose(3)*20_000)
		_ = p.SetPrice(h.now, from, domain.MicroEurosPerKWh(400_000+h.choose(3)), "ops")
	case what == 4:
		_ = p.HandBackPrice(h.now, h.now+domain.UnixMillis(h.choose(3)*20_000), "ops")
	case what == 5 && h.choose(2) == 0:
		_ = p.TakeOutOfService(h.now, h.now, "ops")
	case what == 5:
		_ = p.ReturnToService(h.now, h.now, "ops")
	case what <= 8:
		_, publication := h.asks(domain.DriverID(fmt.Sprint("D-", h.choose(4))), p.ID())
		return publication
	case what == 9 && len(closed) > 0:
		s := closed[h.choose(len(closed))]
		bill, _ := s.Ticket()
		return h.done(s, bill.Energy+domain.MilliwattHours(h.choose(3)))
	case len(open) == 0:
	case what == 10:
		return h.ends(open[h.choose(len(open))], session.CauseStopped)
	case what == 11:
		s := open[h.choose(len(open))]
		last, _ := s.Last()
		return h.done(s, last.Energy+domain.MilliwattHours(h.choose(1_000_000)))
	case what == 12:
		s := open[h.choose(len(open))]
		d := s.Deadline()
		h.now = max(h.now, d.Due)
		_ = s.PassDeadline(h.now, d.Kind, d.Due, 0, session.DefaultPatience)
		if s.Status() == session.Closed {
			_ = h.point(s.Request().Point).Release(h.now, s.ID())
		}
		return h.commit(h.point(s.Request().Point), s)
	default:
		s := open[h.choose(len(open))]
		last, _ := s.Last()
		at := h.now - domain.UnixMillis(h.choose(3)*700)
		return h.reports(s, last.Seq+int64(h.choose(3)), last.Energy+domain.MilliwattHours(h.choose(3_000)), at)
	}
	return h.commit(p)
}

func must(t tester, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// partLog is an event log of decoded parts, in memory, that can be away and have damage.
type partLog struct {
	mu      sync.Mutex
	commits [][]central.Part
	streams map[eventlog.Stream][]partAt
	damaged map[eventlog.Stream]bool
	away    error
	// reads and opens count how often a stream, and the open ones' names, were asked for.
	reads, opens int
}

// partAt is where a part is.
type partAt struct{ commit, part int }

func (l *partLog) append(parts []central.Part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, p := range parts {
		l.streams[p.Stream] = append(l.streams[p.Stream], partAt{len(l.commits), i})
	}
	l.commits = append(l.commits, parts)
}

func (l *partLog) at(p partAt) central.Part { return l.commits[p.commit][p.part] }

// setAway makes every read fail, or with nil succeed again.
func (l *partLog) setAway(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = err
}

// read is a stream's parts from a version on.
func (l *partLog) read(stream eventlog.Stream, from eventlog.Version) (parts []central.Part, at []partAt, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.away != nil {
		return nil, nil, l.away
	}
	if l.damaged[stream] {
		return nil, nil, &eventlog.DamagedError{Where: "the test's log", Stream: stream, Reason: errors.New("a bit is wrong")}
	}
	for _, p := range l.streams[stream] {
		if part := l.at(p); part.Version+eventlog.Version(len(part.Events))-1 >= from {
			parts, at = append(parts, part), append(at, p)
		}
	}
	return parts, at, nil
}

// Parts is ProjectionsConfig.Read.
func (l *partLog) Parts(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[central.Part, error] {
	return func(yield func(central.Part, error) bool) {
		parts, _, err := l.read(stream, from)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			yield(central.Part{}, err)
			return
		}
		for _, p := range parts {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// Read is Source's.
func (l *partLog) Read(_ context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		_, at, err := l.read(stream, from)
		if err != nil {
			yield(eventlog.Commit{}, err)
			return
		}
		for _, p := range at {
			stored := l.stored(p)
			l.mu.Lock()
			at := l.at(p).At
			l.mu.Unlock()
			if !yield(eventlog.Commit{ID: commitID(p.commit), At: at, Parts: []eventlog.Part{stored}}, nil) {
				return
			}
		}
	}
}

// commitID is the id of the commit at an index.
func commitID(commit int) uuid.UUID { return uuid.NewSHA1(uuid.Nil, fmt.Append(nil, commit+1)) }

// All is Source's.
func (l *partLog) All(_ context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for n := max(from, 1); ; n++ {
			l.mu.Lock()
			end, away := len(l.commits), l.away
			l.mu.Unlock()
			if away != nil {
				yield(eventlog.Positioned{}, away)
				return
			}
			if int(n) > end {
				return
			}
			l.mu.Lock()
			parts := l.commits[n-1]
			l.mu.Unlock()
			c := eventlog.Positioned{Position: n, Commit: eventlog.Commit{ID: commitID(int(n - 1)), At: parts[0].At}}
			var damage error
			for i := range parts {
				if l.isDamaged(parts[i].Stream) {
					damage = &eventlog.DamagedError{Where: "the test's log", Position: n, Stream: parts[i].Stream, Reason: errors.New("a bit is wrong")}
				}
				c.Parts = append(c.Parts, l.stored(partAt{int(n - 1), i}))
			}
			if damage != nil {
				yield(eventlog.Positioned{}, damage)
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (l *partLog) isDamaged(stream eventlog.Stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.damaged[stream]
}

// stored is a part as a log has it: its text says where the part is.
func (l *partLog) stored(at partAt) eventlog.Part {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.at(at)
	kind := eventlog.Sample
	for _, e := range p.Events {
		switch e.(type) {
		case session.MeterValueRecorded:
		case session.SupplyRefused, session.TicketIssued, session.TicketRevised:
			kind = eventlog.Closing
		default:
			if kind == eventlog.Sample {
				kind = eventlog.Lifecycle
			}
		}
	}
	return eventlog.Part{
		Stream: p.Stream, Version: p.Version, Events: len(p.Events), Kind: kind,
		Body: fmt.Appendf(nil, "%d %d", at.commit, at.part), Hash: p.Hash,
	}
}

// Decode is what a codec does.
func (l *partLog) Decode(p eventlog.Part) (central.Part, error) {
	var at partAt
	if _, err := fmt.Sscan(string(p.Body), &at.commit, &at.part); err != nil {
		return central.Part{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(at), nil
}

// End is ProjectionsConfig.Log's.
func (l *partLog) End(context.Context) (eventlog.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return eventlog.Position(len(l.commits)), l.away
}

// Open is ProjectionsConfig's.
func (l *partLog) Open(context.Context) (open []eventlog.Stream, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opens++
	if l.away != nil {
		return nil, l.away
	}
	for stream, places := range l.streams {
		isOpen := true
		for _, p := range places {
			for _, e := range l.at(p).Events {
				switch e.(type) {
				case session.SupplyRefused, session.TicketIssued, session.TicketRevised:
					isOpen = false
				}
			}
		}
		if isOpen {
			open = append(open, stream)
		}
	}
	return open, nil
}
