package audittest

import (
	"container/heap"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// History is a network that lives by itself, second by second in virtual time: points supply,
// break, fall silent and come back, drivers and operators ask for this and that, possible or
// not. Records come late, out of order and twice, or are lost; Central is killed at any step
// of a turn, and records come again. In some thousand events everything happens that can. The
// same seed makes the same log. What it keeps in memory does not grow with the log.
type History struct {
	*Network
	// Events is how many events it has stored.
	Events int
	// Ignored and Refused count records by the rule of central.Rules that says so, Deaths how
	// often Central was killed, by the step.
	Ignored, Refused map[error]int
	Deaths           map[string]int

	choices *rand.Rand
	watch   central.Watch
	points  []*point
	open    map[domain.SessionID]*point // where each open session is
	asked   int                         // so many requests were made
	// transit are records on their way to Central, recent those that it took last.
	transit transit
	recent  []*delivery
	sent    int // so many records were sent
	// until is when a Central that was killed is back.
	until domain.UnixMillis
	// deadly is the step at which Central is killed next, untilDeath how many it takes before.
	deadly     step
	untilDeath int
	since      domain.UnixMillis
	lags       central.Lags
	// untold is a commit that Central has not told anybody of yet.
	untold *eventlog.Commit
}

// NewHistory is a network of points in which nothing has happened yet, over a log. Histories
// that share a log have other points and other seeds, which differ in their last 16 bits.
func NewHistory(t TB, log eventlog.Log, codec central.Codec, seed uint64, points ...domain.PointID) *History {
	h := &History{
		Network: New(t, log, codec), choices: rand.New(rand.NewPCG(seed, 1)),
		Ignored: map[error]int{}, Refused: map[error]int{}, Deaths: map[string]int{}, open: map[domain.SessionID]*point{},
	}
	h.salt = uint16(seed)
	c := h.Central
	c.Log, c.Publisher, c.Ignored, c.Listening, c.Secrets = &mortalLog{log, h}, h, h, h, secrets(points)
	h.watch = central.Watch{Index: h, Listening: h, Poster: h}
	h.spare()
	for i, id := range points {
		h.points = append(h.points, newPoint(h, id, i))
	}
	return h
}

// Run lets time go by until so many events more are stored, or some more.
func (h *History) Run(events int) {
	h.Helper()
	for end := h.Events + events; h.Events < end; {
		h.Pass(time.Second)
	}
}

// Pass lets time go by, second by second.
func (h *History) Pass(d time.Duration) {
	h.Helper()
	for end := h.Now.Add(d); h.Now < end; {
		h.second()
	}
}

func (h *History) second() {
	h.Helper()
	now := h.Now
	for _, p := range h.points {
		p.second(now.Add(p.phase))
		h.people(p, now.Add(p.phase))
	}
	if now >= h.until {
		if err := h.watch.Tick(h.Context(), now); err != nil {
			h.Fatal(err)
		}
		for len(h.transit) > 0 && h.transit[0].at < now.Add(time.Second) && now >= h.until {
			d := heap.Pop(&h.transit).(*delivery)
			h.Now = max(h.Now, d.at)
			h.take(d)
		}
	}
	h.Now = now.Add(time.Second)
}

// chance tells, one time in n.
func (h *History) chance(n int) bool { return h.choices.IntN(n) == 0 }

// between is a number from one to another.
func (h *History) between(from, to int) int { return from + h.choices.IntN(to-from+1) }

// seconds are some, from so many to so many.
func (h *History) seconds(from, to int) time.Duration {
	return time.Duration(h.between(1_000*from, 1_000*to)) * time.Millisecond
}

// delivery is a record on its way.
type delivery struct {
	at       domain.UnixMillis
	number   int
	received message.Received
}

// transit is a heap of records: the one that comes first before the others.
type transit []*delivery

func (t transit) Len() int      { return len(t) }
func (t transit) Swap(i, j int) { t[i], t[j] = t[j], t[i] }
func (t transit) Less(i, j int) bool {
	return t[i].at < t[j].at || t[i].at == t[j].at && t[i].number < t[j].number
}
func (t *transit) Push(d any) { *t = append(*t, d.(*delivery)) }
func (t *transit) Pop() any {
	last := len(*t) - 1
	d := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	return d
}

// onItsWay is how long a record takes to the broker and from there.
const onItsWay = 5 * time.Millisecond

// send has a record reach the broker at an instant, and Central some time later.
func (h *History) send(at domain.UnixMillis, m message.Message, late time.Duration) {
	h.sent++
	heap.Push(&h.transit, &delivery{at.Add(onItsWay + late), h.sent, h.record(m, at)})
}

// recently is how many records are remembered, so that they may come again.
const recently = 16

// take has Central take a record. Where it dies of that, the record comes again.
func (h *History) take(d *delivery) {
	h.Helper()
	err := h.lane.Take(h.Context(), h.Now, d.received)
	var refused *message.RejectedError
	switch {
	case err == nil:
	case errors.As(err, &refused):
		_, rules := central.Rules()
		count(h.Refused, rules, refused)
	case errors.Is(err, errKilled):
		heap.Push(&h.transit, d)
		h.die()
		return
	default:
		h.Fatalf("%+v: %v", d.received.Message, err)
	}
	if len(h.recent) == recently {
		h.recent = slices.Delete(h.recent, 0, 1)
	}
	h.recent = append(h.recent, d)
	if h.survives(beforeAck) != nil {
		h.die()
	}
}

// errKilled tells that Central was killed.
var errKilled = errors.New("Central was killed")

// step is one of Central's, at which it may be killed.
type step string

const (
	beforeAppend  step = "before an append"
	afterAppend   step = "between an append and what it tells"
	beforeMessage step = "before a message was sent"
	beforeAck     step = "before a record was acknowledged"
)

// spare has Central live for a while.
func (h *History) spare() {
	h.untilDeath = h.between(500, 5_000)
	h.deadly = []step{beforeAppend, afterAppend, beforeMessage, beforeAck}[h.choices.IntN(4)]
}

// survives is errKilled where Central is killed at a step.
func (h *History) survives(at step) error {
	if h.untilDeath--; h.untilDeath > 0 || at != h.deadly {
		return nil
	}
	h.spare()
	h.Deaths[string(at)]++
	return errKilled
}

// die is the end of a Central. One that is back some time later has its log, and some records
// again.
func (h *History) die() {
	if c := h.untold; c != nil { // the log tells what Central could not
		h.untold = nil
		for _, p := range c.Parts {
			part, err := h.Central.Decode(p)
			if err != nil {
				h.Fatal(err)
			}
			h.learn(part)
		}
	}
	h.lane, h.lags = h.Central.Lane(), central.Lags{}
	if h.chance(2) {
		h.Central.Signs = signs{}
	}
	again := h.between(0, len(h.recent))
	for _, d := range h.recent[again:] {
		heap.Push(&h.transit, d)
	}
	h.recent = h.recent[:again]
	h.until = h.Now.Add(h.seconds(0, 5))
	if h.chance(4) {
		h.until = h.Now.Add(h.seconds(20, 50))
	}
	h.Deaf(h.until)
}

// mortalLog is the log of a Central that may be killed at each append.
type mortalLog struct {
	eventlog.Log
	history *History
}

// Append implements eventlog.Log.
func (l *mortalLog) Append(ctx context.Context, c eventlog.Commit) error {
	if err := l.history.survives(beforeAppend); err != nil {
		return err
	}
	if err := l.Log.Append(ctx, c); err != nil {
		return err
	}
	l.history.untold = &c
	for _, p := range c.Parts {
		l.history.Events += p.Events
	}
	return l.history.survives(afterAppend)
}

// Publish is central.Publisher's.
func (h *History) Publish(_ context.Context, p central.Publication) error {
	for _, m := range p.Messages {
		if err := h.survives(beforeMessage); err != nil {
			return err
		}
		if order, ok := m.(message.Order); ok {
			if p := h.point(order.Point); p != nil {
				p.orders = append(p.orders, order)
			}
		}
	}
	if h.untold == nil {
		return nil // it was told before
	}
	h.untold = nil
	for _, part := range p.Parts {
		h.learn(part)
	}
	return nil
}

// learn folds a part that was stored, as an index of deadlines does.
func (h *History) learn(part central.Part) {
	id, isSession := strings.CutPrefix(string(part.Stream), "session-")
	if !isSession {
		p := h.point(domain.PointID(strings.TrimPrefix(string(part.Stream), "point-")))
		for _, event := range part.Events {
			e := event.(chargingpoint.Event)
			p.schedule = p.schedule.After(part.At, e)
			if err := p.is.Apply(part.At, e); err != nil {
				h.Fatal(err)
			}
		}
		return
	}
	if e, ok := part.Events[0].(session.SupplyAuthorized); ok {
		p := h.point(e.Point)
		p.session = session.New(domain.SessionID(id))
		h.open[p.session.ID()] = p
	}
	p := h.open[domain.SessionID(id)]
	if p == nil {
		return // it was refused, or is revised
	}
	for _, event := range part.Events {
		if err := p.session.Apply(part.At, event.(session.Event)); err != nil {
			h.Fatal(err)
		}
	}
	if !p.session.Open() {
		delete(h.open, p.session.ID())
		p.session = nil
	}
}

// Due is central.DeadlineIndex's.
func (h *History) Due(ctx context.Context, now, since domain.UnixMillis) (due []central.Deadline, err error) {
	for _, p := range h.points {
		id := p.is.ID()
		if p.session != nil {
			if d := p.session.Deadline(); d.DueWhenHeard(since) <= now {
				due = append(due, central.Deadline{Point: id, Session: p.session.ID(), Kind: string(d.Kind), Since: d.Since, Due: d.Due})
			}
		}
		for _, c := range p.schedule {
			if c.From <= now {
				due = append(due, central.Deadline{Point: id, Kind: central.DeadlinePrice, Since: c.DecidedAt, Due: c.From})
			}
		}
		if connected, lease := p.is.Connected(); connected && lease != 0 {
			last, err := h.Central.Signs.Last(ctx, id)
			if err != nil {
				return nil, err
			}
			if from := max(last.HeardAt, since); from.Add(lease) <= now {
				due = append(due, central.Deadline{Point: id, Kind: central.DeadlineLease, Since: from, Due: from.Add(lease)})
			}
		}
	}
	return due, nil
}

// Post is central.Poster's: now and then two Centrals post the same.
func (h *History) Post(_ context.Context, controls []message.Control) error {
	for _, c := range controls {
		h.send(h.Now, c, 0)
		if h.chance(4) {
			h.send(h.Now, c, h.seconds(0, 3))
		}
	}
	return nil
}

// Since is central.Listening's, as Deaf and Hear are.
func (h *History) Since() domain.UnixMillis { return h.since }

// Deaf is central.Listening's.
func (h *History) Deaf(now domain.UnixMillis) { h.since = now }

// Hear is central.Listening's.
func (h *History) Hear(now domain.UnixMillis, record message.Source) time.Duration {
	late := h.lags.Late(now, record)
	if late > 0 {
		h.since = now
	}
	return late
}

// Count is central.Ignored's.
func (h *History) Count(rule error) {
	rules, _ := central.Rules()
	count(h.Ignored, rules, rule)
}

func count(counts map[error]int, rules []error, err error) {
	for _, rule := range rules {
		if errors.Is(err, rule) {
			counts[rule]++
			return
		}
	}
	counts[err]++
}

func (h *History) point(id domain.PointID) *point {
	for _, p := range h.points {
		if p.is.ID() == id {
			return p
		}
	}
	return nil
}

// secrets are those of points, as central.Secrets.
type secrets []domain.PointID

// Secret is central.Secrets's.
func (s secrets) Secret(id domain.PointID) (string, bool) {
	return secretOf(id), slices.Contains(s, id)
}

func secretOf(id domain.PointID) string { return "the secret of " + string(id) }
