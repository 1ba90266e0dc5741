package audit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Past is a log as it was at an instant: of each stream, all commits that were decided at
// that instant or before it. Within a stream time never runs backwards, so that is how the
// stream begins; a commit has one time, so it is in the past whole or not at all. Between
// streams the log's order is not that of time (several lanes decide side by side, several
// Centrals by a clock each), so a log is read to its end whatever the instant is.
//
// What depends on time and has no event is not in a log, and not in the past: that a point
// was heard, the programs' own warnings, that a lease or a deadline has passed which nobody
// has noticed yet, that a scheduled price counts before Central has said so.
type Past struct {
	Log   Log
	Codec central.Codec
	// At is the instant; 0 is the end of the log.
	At domain.UnixMillis
	// Damaged is told what can't be read, an eventlog.ErrDamaged that names the stream where
	// it is known. The stream is shown as it was before; the others go on.
	Damaged func(error)
	// Progress, where it is not nil, is told now and then how many commits were read.
	Progress func(commits uint64)
}

var (
	// ErrNotBegun tells of an instant before the first event of a log.
	ErrNotBegun = errors.New("the event log begins later")
	// ErrNoPoint tells that no point of an id had registered.
	ErrNoPoint = errors.New("the event log has no such point")
	// ErrNothing tells of a log without events.
	ErrNothing = errors.New("the event log has no events")
)

// Span is what a log covers.
type Span struct {
	// Begin and End are the times of its first and its last event, by their times.
	Begin, End domain.UnixMillis
	// Later is the position of the first commit that is later than an instant; 0: none is.
	Later eventlog.Position
}

// Network is the read model of the network at the instant: what the live panel held once
// all that was decided until then had come to it, every point taken as heard. Its memory is
// that of the points and of the sessions that the panel keeps, however long the log.
// ErrNotBegun, ErrNothing, or the log's error.
func (p Past) Network(ctx context.Context) (*network.Network, Span, error) {
	r, span, err := p.Replay(ctx)
	if err != nil {
		return nil, span, err
	}
	return r.Network(), span, nil
}

// Replay is Network, to be continued with the commits that are later.
func (p Past) Replay(ctx context.Context) (*Replay, Span, error) {
	r := NewReplay(p.Codec, p.Damaged)
	span, err := p.read(ctx, r.Miss, func(c eventlog.Commit) {
		if p.has(c) {
			r.Take(c)
		} else {
			r.passOver(c)
		}
	})
	return r, span, err
}

// has tells whether a commit is of the past.
func (p Past) has(c eventlog.Commit) bool { return p.At == 0 || c.At <= p.At }

// read gives all commits of the log to a function, and what can't be read to another.
func (p Past) read(ctx context.Context, missed func(*eventlog.DamagedError), take func(eventlog.Commit)) (Span, error) {
	const every = 1_000
	var span Span
	count := uint64(0)
	for c, err := range all(ctx, p.Log, 1) {
		if damage, ok := errors.AsType[*eventlog.DamagedError](err); ok {
			missed(damage)
			continue
		}
		if err != nil {
			return span, fmt.Errorf("read the event log: %w", err)
		}
		if count == 0 || c.At < span.Begin {
			span.Begin = c.At
		}
		if span.End = max(span.End, c.At); span.Later == 0 && !p.has(c.Commit) {
			span.Later = c.Position
		}
		take(c.Commit)
		if count++; count%every == 0 && p.Progress != nil {
			p.Progress(count)
		}
	}
	if p.Progress != nil {
		p.Progress(count)
	}
	switch {
	case ctx.Err() != nil:
		return span, ctx.Err()
	case count == 0:
		return span, ErrNothing
	case p.At != 0 && p.At < span.Begin:
		return span, fmt.Errorf("%w: its first event is of %s, and nothing is known of %s", ErrNotBegun, span.Begin, p.At)
	}
	return span, nil
}

// all gives every commit from a position on. An error that is eventlog.ErrDamaged tells of
// what can't be read, and what lies behind it follows; any other is the last.
func all(ctx context.Context, log Log, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for from != 0 {
			next := eventlog.Position(0)
			for c, err := range log.All(ctx, from) {
				if !yield(c, err) {
					return
				}
				if damage, ok := errors.AsType[*eventlog.DamagedError](err); ok && damage.Position >= from {
					next = damage.Position + 1
				}
				if err != nil {
					break
				}
			}
			from = next
		}
	}
}

// Point is a point at the instant: a network of it alone and of the session that held it,
// and the changes of its price that were decided until then. It reads these two streams and no
// other. ErrNoPoint where none of the id had registered.
func (p Past) Point(ctx context.Context, id domain.PointID) (*network.Network, []network.PriceChange, error) {
	r := NewReplay(p.Codec, p.Damaged)
	if err := p.follow(ctx, r, central.PointStream(id)); err != nil {
		return nil, nil, err
	}
	point, ok := r.Network().Point(id)
	if !ok {
		return nil, nil, fmt.Errorf("%w at that time: %s", ErrNoPoint, id)
	}
	if point.Supply != nil {
		if err := p.follow(ctx, r, central.SessionStream(point.Supply.ID)); err != nil {
			return nil, nil, err
		}
	}
	var prices network.Prices
	for part, err := range p.parts(ctx, central.PointStream(id)) {
		if err != nil {
			break // it was told
		}
		for _, event := range part.Events {
			if err := prices.Apply(part.At, event); err != nil {
				return nil, nil, err
			}
		}
	}
	return r.Network(), prices.Changes(), nil
}

// stream gives the commits of a stream. An error is the last, unless it tells of samples
// that were moved to an archive.
func (p Past) stream(ctx context.Context, stream eventlog.Stream) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		for from := eventlog.Version(1); from != 0; {
			next := eventlog.Version(0)
			for c, err := range p.Log.Read(ctx, stream, from) {
				if !yield(c, err) {
					return
				}
				if archived, ok := errors.AsType[*eventlog.ArchivedError](err); ok && archived.To >= from {
					next = archived.To + 1
				}
				if err != nil {
					break
				}
			}
			from = next
		}
	}
}

// follow has a replay take in a stream. What can't be read is told.
func (p Past) follow(ctx context.Context, r *Replay, stream eventlog.Stream) error {
	for c, err := range p.stream(ctx, stream) {
		if damage, ok := errors.AsType[*eventlog.DamagedError](err); ok {
			r.Miss(damage)
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s from the event log: %w", stream, err)
		}
		if !p.has(c) {
			return nil
		}
		r.Take(c)
	}
	return nil
}

// parts are those of a stream, decoded; what can't be read ends them.
func (p Past) parts(ctx context.Context, stream eventlog.Stream) iter.Seq2[central.Part, error] {
	return func(yield func(central.Part, error) bool) {
		core := central.Central{Codec: p.Codec}
		for c, err := range p.Log.Read(ctx, stream, 1) {
			var part central.Part
			if err == nil && !p.has(c) {
				return
			}
			if err == nil {
				part, err = core.Decode(c.Parts[0])
			}
			if !yield(part, err) || err != nil {
				return
			}
		}
	}
}

// Session is a session at the instant, of its stream alone; also one that was refused.
// ErrNoSession where there was none.
func (p Past) Session(ctx context.Context, id domain.SessionID) (network.Session, error) {
	s := newSessionReplay(id)
	stream := central.SessionStream(id)
	began := domain.UnixMillis(0)
	for c, err := range p.stream(ctx, stream) {
		if archived, ok := errors.AsType[*eventlog.ArchivedError](err); ok {
			s.pass(archived, err)
			if archived.Missing != nil {
				p.Damaged(err)
			}
			continue
		}
		if errors.Is(err, eventlog.ErrDamaged) {
			p.Damaged(err)
			break
		}
		if err != nil {
			return network.Session{}, fmt.Errorf("read %s from the event log: %w", stream, err)
		}
		if !p.has(c) {
			began = c.At
			break
		}
		if err := s.take(p.Codec, c.At, c.Parts[0]); err != nil {
			p.Damaged(err)
			break
		}
	}
	shown, err := s.show(p.Codec)
	if err != nil {
		p.Damaged(err)
	}
	switch {
	case shown.Status == session.None && began != 0:
		return shown, fmt.Errorf("%w at that time: %s begins at %s", ErrNoSession, id, began)
	case shown.Status == session.None:
		return shown, fmt.Errorf("%w: %s", ErrNoSession, id)
	}
	return shown, nil
}

// Driver is all that a driver has asked for until the instant, the oldest first: sessions,
// and requests that were refused. ErrNotBegun, ErrNothing, or the log's error.
func (p Past) Driver(ctx context.Context, id domain.DriverID) ([]network.Session, Span, error) {
	core := central.Central{Codec: p.Codec}
	asked := map[eventlog.Stream]*sessionReplay{}
	tell := func(s *sessionReplay, err error) {
		if err != nil && !s.broken {
			s.broken = true
			p.Damaged(err)
		}
	}
	missed := func(d *eventlog.DamagedError) {
		s := asked[d.Stream]
		if archived, ok := errors.AsType[*eventlog.ArchivedError](d.Reason); ok {
			if s = asked[archived.Stream]; s != nil {
				s.pass(archived, d)
			}
			return
		}
		if s != nil {
			s.broken = true
		}
		p.Damaged(d)
	}
	span, err := p.read(ctx, missed, func(c eventlog.Commit) {
		if !p.has(c) {
			return
		}
		for _, part := range c.Parts {
			s := asked[part.Stream]
			session, ok := strings.CutPrefix(string(part.Stream), "session-")
			if s == nil && ok && part.Version == 1 {
				s = newSessionReplay(domain.SessionID(session))
				first, err := core.Decode(part)
				if err != nil {
					p.Damaged(err)
					continue
				}
				if driverOf(first.Events[0]) != id {
					continue
				}
				asked[part.Stream] = s
			}
			if s != nil && !s.broken {
				tell(s, s.take(p.Codec, c.At, part))
			}
		}
	})
	if err != nil {
		return nil, span, err
	}
	sessions := make([]network.Session, 0, len(asked))
	for _, s := range asked {
		shown, err := s.show(p.Codec)
		tell(s, err)
		sessions = append(sessions, shown)
	}
	slices.SortFunc(sessions, func(a, b network.Session) int {
		if a.AskedAt() != b.AskedAt() {
			return int(a.AskedAt() - b.AskedAt())
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return sessions, span, nil
}

// driverOf is who a session's first event is about.
func driverOf(event any) domain.DriverID {
	switch e := event.(type) {
	case session.SupplyAuthorized:
		return e.Driver
	case session.SupplyRefused:
		return e.Driver
	}
	return ""
}

// Replay folds commits into the read model of the network, each stream's in order of
// version. A sample is read once it is needed, for the next one stands for it. It is not
// safe for use from several goroutines.
type Replay struct {
	core    central.Central
	damaged func(error)
	network *network.Network
	// streams are those that are open, and those that are broken.
	streams map[eventlog.Stream]*replayed
	// samples are the last ones of streams, not decoded yet.
	samples map[eventlog.Stream]undecoded
	// archived tell of streams that are open some of whose samples were moved to an archive.
	archived map[eventlog.Stream]error
}

// replayed is what is known of a stream that is folded.
type replayed struct {
	version eventlog.Version
	// broken tells that something of it can't be read: nothing later is taken.
	broken bool
	// passed tells that a later part was passed over.
	passed bool
}

// undecoded is a part and when it was decided.
type undecoded struct {
	eventlog.Part
	at domain.UnixMillis
}

// NewReplay is a replay before the first commit. damaged is told what can't be read.
func NewReplay(codec central.Codec, damaged func(error)) *Replay {
	return &Replay{
		core: central.Central{Codec: codec}, damaged: damaged, network: network.New(),
		streams: map[eventlog.Stream]*replayed{}, samples: map[eventlog.Stream]undecoded{}, archived: map[eventlog.Stream]error{},
	}
}

// Network is the read model. It is the replay's own, which changes it.
func (r *Replay) Network() *network.Network {
	for _, sample := range r.samples {
		r.apply(sample)
	}
	clear(r.samples)
	for _, err := range r.archived {
		r.damaged(err)
	}
	clear(r.archived)
	return r.network
}

// Names are those of a part's events; none where it can't be read.
func (r *Replay) Names(p eventlog.Part) []string {
	part, _ := r.core.Decode(p)
	names := make([]string, len(part.Events))
	for i, event := range part.Events {
		names[i] = nameOf(event)
	}
	return names
}

// Take takes in a commit.
func (r *Replay) Take(c eventlog.Commit) {
	for _, p := range c.Parts {
		r.take(undecoded{p, c.At})
	}
}

func (r *Replay) take(p undecoded) {
	s := r.streams[p.Stream]
	if s == nil {
		if p.Kind == eventlog.Closing && p.Version > 1 {
			r.apply(p) // a revision: the session was closed before
			return
		}
		s = &replayed{}
		r.streams[p.Stream] = s
		if id, ok := strings.CutPrefix(string(p.Stream), "point-"); ok {
			r.network.Heard(domain.PointID(id), p.at)
		}
	}
	if s.broken || p.Last() <= s.version { // lines may repeat
		return
	}
	if p.Version > s.version+1 {
		r.breaks(p.Stream, missing(p.Stream, s.version, p.Version))
		return
	}
	s.version = p.Last()
	if p.Kind == eventlog.Sample {
		r.samples[p.Stream] = p
		return
	}
	if sample, ok := r.samples[p.Stream]; ok {
		delete(r.samples, p.Stream)
		r.apply(sample)
	}
	r.apply(p)
	if p.Kind == eventlog.Closing && !s.broken {
		delete(r.streams, p.Stream)
		delete(r.archived, p.Stream) // the ticket says all
	}
}

func (r *Replay) apply(p undecoded) {
	part, err := r.core.Decode(p.Part)
	if err == nil {
		if err = r.network.Apply(p.Stream, p.Version, p.at, part.Events...); err != nil {
			err = fmt.Errorf("%w: %s at version %d: %w", eventlog.ErrDamaged, p.Stream, p.Version, err)
		}
	}
	if err != nil {
		r.breaks(p.Stream, err)
	}
}

// passOver looks at a commit that is not to be taken in: parts may be missing before it.
func (r *Replay) passOver(c eventlog.Commit) {
	for _, p := range c.Parts {
		s := r.streams[p.Stream]
		if s == nil || s.broken || s.passed {
			continue
		}
		if s.passed = true; p.Version > s.version+1 {
			r.breaks(p.Stream, missing(p.Stream, s.version, p.Version))
		}
	}
}

// Miss takes in that something of the log can't be read.
func (r *Replay) Miss(d *eventlog.DamagedError) {
	if archived, ok := errors.AsType[*eventlog.ArchivedError](d.Reason); ok {
		s := r.streams[archived.Stream]
		if s != nil && !s.broken && !s.passed && archived.From == s.version+1 {
			s.version, r.archived[archived.Stream] = archived.To, d
		}
		return
	}
	if d.Stream == "" {
		r.damaged(d)
		return
	}
	r.breaks(d.Stream, d)
}

// breaks ends a stream, and says why, once.
func (r *Replay) breaks(stream eventlog.Stream, why error) {
	s := r.streams[stream]
	if s == nil {
		s = &replayed{}
		r.streams[stream] = s
	}
	if !s.broken {
		s.broken = true
		r.damaged(why)
	}
}

// missing says that a stream's parts between a version and another are not there.
func missing(stream eventlog.Stream, last, next eventlog.Version) error {
	return fmt.Errorf("%w: %s: %w: versions %d to %d", eventlog.ErrDamaged, stream, ErrMissing, last+1, next-1)
}

// sessionReplay is one session that is folded. As with Replay, a sample is read once it is needed.
type sessionReplay struct {
	*session.Session
	version eventlog.Version
	sample  *undecoded
	broken  bool
	// archived tells of samples that were moved to an archive.
	archived error
}

func newSessionReplay(id domain.SessionID) *sessionReplay {
	return &sessionReplay{Session: session.New(id)}
}

// take takes in the next part. eventlog.ErrDamaged where it can't be read, or is not the next.
func (s *sessionReplay) take(codec central.Codec, at domain.UnixMillis, p eventlog.Part) error {
	if p.Last() <= s.version {
		return nil
	}
	if p.Version > s.version+1 {
		return missing(p.Stream, s.version, p.Version)
	}
	s.version = p.Last()
	if p.Kind == eventlog.Sample {
		s.sample = &undecoded{p, at}
		return nil
	}
	if err := s.flush(codec); err != nil {
		return err
	}
	return s.apply(codec, undecoded{p, at})
}

// pass goes over samples that were moved to an archive, as an error says.
func (s *sessionReplay) pass(archived *eventlog.ArchivedError, err error) {
	if archived.From == s.version+1 {
		s.version, s.archived = archived.To, err
	}
}

// flush folds the sample that is not decoded yet.
func (s *sessionReplay) flush(codec central.Codec) error {
	if s.sample == nil {
		return nil
	}
	sample := *s.sample
	s.sample = nil
	return s.apply(codec, sample)
}

func (s *sessionReplay) apply(codec central.Codec, p undecoded) error {
	part, err := (&central.Central{Codec: codec}).Decode(p.Part)
	if err != nil {
		return err
	}
	for _, event := range part.Events {
		e, ok := event.(session.Event)
		if !ok {
			return fmt.Errorf("%w: %s at version %d: %T is no event of a session", eventlog.ErrDamaged, p.Stream, p.Version, event)
		}
		if err := s.Apply(p.at, e); err != nil {
			return fmt.Errorf("%w: %s at version %d: %w", eventlog.ErrDamaged, p.Stream, p.Version, err)
		}
	}
	return nil
}

// show is the session as it is shown, as far as it can be read. Samples in an archive are
// no error where the ticket says what they came to.
func (s *sessionReplay) show(codec central.Codec) (network.Session, error) {
	err := s.flush(codec)
	if err == nil && s.Open() {
		err = s.archived
	}
	return network.ShowSession(s.Session, s.version), err
}

// Ahead reads a log in the order of time, a window of commits at a time: whoever takes them
// one by one may take as long as it likes. It is not safe for use from several goroutines.
type Ahead struct {
	log     Log
	from    eventlog.Position
	after   domain.UnixMillis
	waiting []eventlog.Commit // by their times
	damaged []*eventlog.DamagedError
	ended   bool
}

// aheadWindow is how many commits are looked at for the one that comes first in time. One
// that the log has later than so many that are later in time comes late.
const aheadWindow = 4_096

// NewAhead reads, from a position on, the commits that are later than an instant; none where
// the position is 0.
func NewAhead(log Log, from eventlog.Position, after domain.UnixMillis) *Ahead {
	return &Ahead{log: log, from: from, after: after, ended: from == 0}
}

// Next is the commit that comes next in time, of one instant in the order of the log; ok is
// false at the end of the log. *eventlog.DamagedError tells of what can't be read, and it
// goes on; any other error is the log's.
func (a *Ahead) Next(ctx context.Context) (c eventlog.Commit, ok bool, err error) {
	if len(a.waiting) < aheadWindow && !a.ended {
		if err := a.fill(ctx); err != nil {
			return c, false, err
		}
	}
	if len(a.damaged) > 0 {
		damage := a.damaged[0]
		a.damaged = a.damaged[1:]
		return c, false, damage
	}
	if len(a.waiting) == 0 {
		return c, false, nil
	}
	c = a.waiting[0]
	a.waiting = a.waiting[1:]
	return c, true, nil
}

// fill reads until two windows are waiting, or the log ends.
func (a *Ahead) fill(ctx context.Context) error {
	a.waiting = slices.Clone(a.waiting)
	for c, err := range all(ctx, a.log, a.from) {
		if damage, ok := errors.AsType[*eventlog.DamagedError](err); ok {
			if damage.Position >= a.from {
				a.from = damage.Position + 1
			}
			a.damaged = append(a.damaged, damage)
			continue
		}
		if err != nil {
			return fmt.Errorf("read the event log: %w", err)
		}
		if a.from = c.Position + 1; c.At <= a.after {
			continue
		}
		i := len(a.waiting)
		for i > 0 && a.waiting[i-1].At > c.At {
			i--
		}
		if a.waiting = slices.Insert(a.waiting, i, c.Commit); len(a.waiting) >= 2*aheadWindow {
			return nil
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.ended = true
	return nil
}
