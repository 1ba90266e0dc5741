package audit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// Log is a log to audit. Every eventlog.Log is one.
type Log interface {
	// All is eventlog.Log's.
	All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error]
	// Read is eventlog.Log's. A pass over all commits asks it for the few streams that go on
	// long after they were closed.
	Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error]
}

// What can be wrong with a part of a log. eventlog.ErrDamaged tells of one that its store
// can't read as it was written.
var (
	ErrHash       = errors.New("its hash is not that of its content: it was changed")
	ErrChain      = errors.New("it was made to follow another part than the one before it")
	ErrMissing    = errors.New("parts of the stream are missing")
	ErrRepeated   = errors.New("the stream has events of these versions already")
	ErrUnreadable = errors.New("it can't be understood")
	ErrCommit     = errors.New("it is not as its commit says")
	ErrTicket     = errors.New("the ticket does not follow from its events")
	ErrArchive    = errors.New("what was moved to the archive can't be read there")
)

// Finding is something that is wrong with a log.
type Finding struct {
	// Position is the commit's; 0 where it is not known. Until is that of the last of several
	// one after the other with which the same is wrong; else 0.
	Position, Until eventlog.Position
	// Where names what holds it: a segment's file, a document, a line; empty where the
	// position says it.
	Where string
	// Commit is uuid.Nil where it can't be read.
	Commit uuid.UUID
	// Stream is empty where it is not known which is concerned.
	Stream eventlog.Stream
	// Version is that of the part's first event; 0 where it is about no part.
	Version eventlog.Version
	Reason  error
}

// String is the finding as a line: the place, the stream, what is wrong.
func (f Finding) String() string {
	var at []string
	if f.Where != "" {
		at = append(at, f.Where)
	}
	switch {
	case f.Until > f.Position:
		at = append(at, fmt.Sprintf("positions %d to %d", f.Position, f.Until))
	case f.Position != 0:
		at = append(at, fmt.Sprintf("position %d", f.Position))
	}
	if f.Commit != uuid.Nil {
		at = append(at, "commit "+f.Commit.String())
	}
	switch {
	case f.Version != 0:
		at = append(at, fmt.Sprintf("%s at version %d", f.Stream, f.Version))
	case f.Stream != "":
		at = append(at, string(f.Stream))
	}
	return strings.Join(at, ", ") + ": " + f.Reason.Error()
}

// Verified is what an audit of a log looked at.
type Verified struct {
	Commits, Events, Streams uint64
	// Tickets were computed anew from their events, revisions too. Unchecked are those that
	// could not be, since something before them is damaged.
	Tickets, Unchecked uint64
	// Archived is how many events more are in an archive that is not at hand: of them only what
	// they join was looked at. Missing is how many an archive that is at hand should have, and has not.
	Archived, Missing uint64
	// Findings is how many there are.
	Findings int
	// Concerned are the streams that findings are about, in order of their names.
	Concerned []eventlog.Stream
	// Remains are what can be had back of those of which something is damaged. They are there
	// at the end.
	Remains []Remains
}

// closedKept is how many closed sessions are remembered: a revision mostly comes soon.
const closedKept = 1_000

// Verify holds a log against itself: each stream's chain, its versions, whether each event
// decodes and folds, whether each part is as its commit says, and whether each ticket
// follows from its events by the domain's own rules. It tells what it finds as it goes, and
// goes on behind it. Its memory is that of the open streams, and some bytes for each that
// is closed. progress, where it is not nil, is told now and then how far it is, and at the
// end. Its error is the log's: what it has found until then stands.
func Verify(ctx context.Context, log Log, codec central.Codec, found func(Finding), progress func(Verified)) (Verified, error) {
	return newVerifier(log, codec, found).all(ctx, progress)
}

// VerifyStream is Verify of one stream: of its parts from a version on, up to another, whole
// where they are 1 and 0. The first part of one that is not whole is taken as it is, and its
// events are not folded.
func VerifyStream(ctx context.Context, log Log, codec central.Codec, stream eventlog.Stream, from, to eventlog.Version, found func(Finding)) (Verified, error) {
	v := newVerifier(log, codec, found)
	for commit, err := range log.Read(ctx, stream, from) {
		var damage *eventlog.DamagedError
		if errors.As(err, &damage) {
			v.find(ofDamage(damage))
			break
		}
		if err != nil {
			return v.verified(), fmt.Errorf("read %s from the event log: %w", stream, err)
		}
		p := commit.Parts[0]
		if to != 0 && p.Version > to {
			break
		}
		if from > 1 && v.counts.Commits == 0 {
			c, _ := newChain(p.Stream)
			c.version, c.hash, c.broken = p.Version-1, p.Prev, true
			v.chains[p.Stream] = c
		}
		if err := v.take(ctx, eventlog.Positioned{Commit: commit}); err != nil {
			return v.verified(), err
		}
	}
	return v.verified(), nil
}

// verifier is an audit under way.
type verifier struct {
	log   Log
	codec central.Codec
	found func(Finding)
	// witness is nil where there are no checkpoints.
	witness *witness
	counts  Verified
	// concerned are the streams with findings, and whether the store could not read something.
	concerned map[eventlog.Stream]bool
	// remains are those of chains that were forgotten.
	remains []Remains
	// damage is the last thing that the store could not read: the next may be the same.
	damage Finding
	// missing is what files of an archive that is at hand don't have.
	missing map[string]missed

	chains map[eventlog.Stream]*chain
	// closed are those of the chains that are closed, the one that closed first before the others.
	closed []*chain
	// forgotten are the closed streams that are not among the chains, by 8 bytes of their
	// names' SHA-256.
	forgotten map[uint64]struct{}
}

// missed is what a file of an archive should have, and has not.
type missed struct {
	events uint64
	// first is why, of those that are missing first.
	first error
}

func newVerifier(log Log, codec central.Codec, found func(Finding)) *verifier {
	return &verifier{
		log: log, codec: codec, found: found, concerned: map[eventlog.Stream]bool{}, missing: map[string]missed{},
		chains: map[eventlog.Stream]*chain{}, forgotten: map[uint64]struct{}{},
	}
}

// chain is what a stream's parts come to so far.
type chain struct {
	stream  eventlog.Stream
	version eventlog.Version
	hash    eventlog.Hash
	at      domain.UnixMillis
	// broken tells that something is wrong with the stream: its events are not folded any more.
	broken bool
	// whole is the version up to which nothing is; behind and bill are what can be read after it.
	whole   eventlog.Version
	behind  []Versions
	bill    string
	point   *chargingpoint.Point
	session *session.Session
	listed  bool // in closed
}

// newChain is a stream before its first part.
func newChain(stream eventlog.Stream) (*chain, error) {
	c := &chain{stream: stream}
	if id, ok := strings.CutPrefix(string(stream), "session-"); ok {
		c.session = session.New(domain.SessionID(id))
		return c, domain.CheckID(id)
	}
	id, ok := strings.CutPrefix(string(stream), "point-")
	if !ok {
		c.broken = true
		return c, fmt.Errorf("%w: the stream is neither a point's nor a session's", ErrUnreadable)
	}
	c.point = chargingpoint.New(domain.PointID(id))
	return c, domain.CheckID(id)
}

func (c *chain) isClosed() bool {
	return c.session != nil && (c.session.Status() == session.Closed || c.session.Status() == session.Refused)
}

// apply folds an event.
func (c *chain) apply(at domain.UnixMillis, event any) error {
	switch e := event.(type) {
	case chargingpoint.Event:
		if c.point != nil {
			return c.point.Apply(at, e)
		}
	case session.Event:
		if c.session != nil {
			return c.session.Apply(at, e)
		}
	}
	return fmt.Errorf("%T is no event of %s", event, c.stream)
}

func (v *verifier) verified() Verified {
	out := v.counts
	out.Concerned = slices.Sorted(maps.Keys(v.concerned))
	return out
}

func (v *verifier) find(f Finding) {
	v.flush()
	v.tell(f)
}

func (v *verifier) tell(f Finding) {
	v.counts.Findings++
	if f.Stream != "" {
		v.concerned[f.Stream] = v.concerned[f.Stream] || f.isLost()
	}
	v.found(f)
}

// findDamage notes what the store could not read. Where that is a whole file, it is said once.
func (v *verifier) findDamage(damage *eventlog.DamagedError) {
	f, last := ofDamage(damage), v.damage
	if last.Reason != nil && max(last.Position, last.Until)+1 == f.Position && last.Where == f.Where && last.Stream == f.Stream &&
		last.Reason.Error() == f.Reason.Error() {
		v.damage.Until = f.Position
		return
	}
	v.flush()
	v.damage = f
}

func (v *verifier) flush() {
	if f := v.damage; f.Reason != nil {
		v.damage = Finding{}
		v.tell(f)
	}
}

func ofDamage(d *eventlog.DamagedError) Finding {
	return Finding{Position: d.Position, Where: d.Where, Stream: d.Stream, Reason: fmt.Errorf("%w: %w", eventlog.ErrDamaged, d.Reason)}
}

// all looks at all commits.
func (v *verifier) all(ctx context.Context, progress func(Verified)) (Verified, error) {
	const every = 1_000
	if progress == nil {
		progress = func(Verified) {}
	}
	for commit, err := range all(ctx, v.log, 1) {
		if damage, ok := errors.AsType[*eventlog.DamagedError](err); ok {
			if archived, ok := errors.AsType[*eventlog.ArchivedError](err); ok {
				v.pass(damage, archived)
			} else {
				v.findDamage(damage)
			}
			continue
		}
		if err == nil {
			err = v.take(ctx, commit)
		}
		if err != nil {
			return v.verified(), fmt.Errorf("read the event log: %w", err)
		}
		if v.counts.Commits%every == 0 {
			progress(v.verified())
		}
	}
	v.flush()
	for _, file := range slices.Sorted(maps.Keys(v.missing)) { // once for each: they may be all sessions of a month
		m := v.missing[file]
		v.tell(Finding{Where: file, Reason: fmt.Errorf("%w, %d of its events: %w", ErrArchive, m.events, m.first)})
	}
	err := ctx.Err()
	if err == nil && v.witness != nil {
		err = v.witness.end()
	}
	v.counts.Remains = v.remaining()
	progress(v.verified())
	return v.verified(), err
}

// pass goes over samples that are in an archive. The next part of the stream must be made to
// follow the last of them, and the state that it is folded on is that of rehydration.
func (v *verifier) pass(at *eventlog.DamagedError, a *eventlog.ArchivedError) {
	if events := uint64(a.To - a.From + 1); a.Missing == nil {
		v.counts.Archived += events
	} else {
		m := v.missing[a.Archive]
		v.missing[a.Archive] = missed{m.events + events, cmp.Or(m.first, a.Missing)}
		v.counts.Missing += events
	}
	wrong := func(reason error) {
		v.find(Finding{Position: at.Position, Where: at.Where, Stream: a.Stream, Version: a.From, Reason: reason})
	}
	c := v.chains[a.Stream]
	switch {
	case c == nil:
		wrong(fmt.Errorf("%w: what is before these in an archive", ErrMissing))
		return
	case a.From <= c.version:
		wrong(fmt.Errorf("%w: it ends at version %d", ErrRepeated, c.version))
		return
	case a.From > c.version+1:
		wrong(fmt.Errorf("%w: versions %d to %d", ErrMissing, c.version+1, a.From-1))
		c.broken = true
	case a.Prev != c.hash:
		wrong(ErrChain)
		c.broken = true
	}
	c.version, c.hash = a.To, a.Hash
}

// take looks at a commit. Its error is the log's.
func (v *verifier) take(ctx context.Context, c eventlog.Positioned) error {
	v.counts.Commits++
	if v.witness != nil {
		if err := v.witness.begin(c.At); err != nil {
			return err
		}
	}
	if len(c.Parts) == 0 {
		v.find(Finding{Position: c.Position, Commit: c.ID, Reason: fmt.Errorf("%w: it has no parts", ErrCommit)})
	}
	for i, p := range c.Parts {
		if slices.ContainsFunc(c.Parts[:i], func(q eventlog.Part) bool { return q.Stream == p.Stream }) {
			v.find(Finding{c.Position, 0, "", c.ID, p.Stream, p.Version, fmt.Errorf("%w: the commit writes to the stream twice", ErrCommit)})
		}
		if err := v.part(ctx, c, p); err != nil {
			return err
		}
	}
	return nil
}

// part looks at a part.
func (v *verifier) part(ctx context.Context, in eventlog.Positioned, p eventlog.Part) error {
	v.counts.Events += uint64(p.Events)
	wrong := func(reason error) {
		v.find(Finding{Position: in.Position, Commit: in.ID, Stream: p.Stream, Version: p.Version, Reason: reason})
	}
	c := v.chains[p.Stream]
	if c == nil {
		begun, err := newChain(p.Stream)
		if err != nil {
			wrong(err)
		}
		c = begun
		if _, known := v.forgotten[short(p.Stream)]; known {
			if err := v.recall(ctx, c, p.Version); err != nil {
				return err
			}
		} else {
			v.counts.Streams++
		}
		v.chains[p.Stream] = c
	}
	switch {
	case p.Hash != p.Sum():
		wrong(ErrHash)
		c.broken = true
	case p.Version <= c.version:
		wrong(fmt.Errorf("%w: it ends at version %d", ErrRepeated, c.version))
		return nil
	case p.Version > c.version+1:
		wrong(fmt.Errorf("%w: versions %d to %d", ErrMissing, c.version+1, p.Version-1))
		c.broken = true
	case p.Prev != c.hash:
		wrong(ErrChain)
		c.broken = true
	}
	if in.At < c.at {
		wrong(fmt.Errorf("%w: it is of %s, and the part before it of %s", ErrCommit, in.At, c.at))
	}
	c.version, c.hash, c.at = max(c.version, p.Last()), p.Hash, in.At
	if v.witness != nil {
		v.witness.part(p, in.At)
	}
	envelope, err := v.codec.Decode(p.Body)
	if err != nil {
		wrong(fmt.Errorf("%w: %w", ErrUnreadable, err))
		c.broken = true
	} else {
		if err := agrees(in.Commit, p, envelope); err != nil {
			wrong(err)
		}
		v.fold(c, in.At, envelope.Events, wrong)
		if p.Hash == p.Sum() {
			c.keep(p, envelope.Events)
		}
	}
	if c.isClosed() && !c.listed {
		c.listed = true
		v.closed = append(v.closed, c)
	}
	v.forget()
	return nil
}

// forget drops the sessions that closed first.
func (v *verifier) forget() {
	if len(v.closed) < 2*closedKept {
		return
	}
	for _, c := range v.closed[:closedKept] {
		v.forgotten[short(c.stream)] = struct{}{}
		if c.broken || v.concerned[c.stream] {
			v.remains = append(v.remains, c.remaining())
		}
		delete(v.chains, c.stream)
	}
	v.closed = slices.Delete(v.closed, 0, closedKept)
}

func short(stream eventlog.Stream) uint64 {
	sum := sha256.Sum256([]byte(stream))
	return binary.BigEndian.Uint64(sum[:])
}

// recall folds a stream that was forgotten once more: what it was before a version, or all
// of it where that version is its first, which it had already.
func (v *verifier) recall(ctx context.Context, c *chain, before eventlog.Version) error {
	for commit, err := range v.log.Read(ctx, c.stream, 1) {
		if errors.Is(err, eventlog.ErrDamaged) {
			c.broken = true // it was said when it was passed
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", c.stream, err)
		}
		p := commit.Parts[0]
		if p.Version >= before && before > 1 {
			return nil
		}
		envelope, err := v.codec.Decode(p.Body)
		if err != nil || p.Version != c.version+1 {
			c.broken = true
		}
		v.fold(c, commit.At, envelope.Events, nil)
		c.version, c.hash, c.at = p.Last(), p.Hash, commit.At
	}
	return nil
}

// agrees is nil where a part's text says what its commit and its place say.
func agrees(c eventlog.Commit, p eventlog.Part, e central.Envelope) error {
	switch {
	case e.Commit != c.ID:
		return fmt.Errorf("%w: its text is that of commit %s", ErrCommit, e.Commit)
	case e.At != c.At:
		return fmt.Errorf("%w: its text is of %s, the commit of %s", ErrCommit, e.At, c.At)
	case e.Cause != c.Cause:
		return fmt.Errorf("%w: its text names the cause %s, the commit %s", ErrCommit, e.Cause, c.Cause)
	case len(e.Events) != p.Events:
		return fmt.Errorf("%w: its text has %d events, not %d", ErrCommit, len(e.Events), p.Events)
	case central.KindOf(e.Events) != p.Kind:
		return fmt.Errorf("%w: it is kept as a part of another kind", ErrCommit)
	}
	return nil
}

// fold folds a part's events; where wrong is not nil, it computes the tickets among them anew.
func (v *verifier) fold(c *chain, at domain.UnixMillis, events []any, wrong func(error)) {
	var decided []session.Event // what the domain decides, from the next event on
	for _, event := range events {
		if e, ok := event.(session.Event); ok && c.session != nil && wrong != nil {
			decided = v.bill(c, at, e, decided, wrong)
		}
		if c.broken {
			continue
		}
		if err := c.apply(at, event); err != nil {
			c.broken = true
			if wrong != nil {
				wrong(fmt.Errorf("%w: %w", ErrUnreadable, err))
			}
		}
	}
	if len(decided) > 0 {
		wrong(fmt.Errorf("%w: there is none where %s", ErrTicket, billed(decided[0])))
	}
}

// bill compares an event with what the domain decides in its place, and gives what it decides next.
func (v *verifier) bill(c *chain, at domain.UnixMillis, event session.Event, decided []session.Event, wrong func(error)) []session.Event {
	bills := false
	switch event.(type) {
	case session.TicketIssued, session.TicketRevised:
		bills = true
	}
	switch {
	case bills && c.broken:
		v.counts.Unchecked++
	case bills:
		v.counts.Tickets++
	}
	if c.broken {
		return nil
	}
	if len(decided) == 0 {
		var err error
		if decided, err = rebill(*c.session, at, event); err != nil {
			wrong(fmt.Errorf("%w: %w", ErrTicket, err))
		}
		if len(decided) == 0 {
			return nil
		}
	}
	if err := sameBill(event, decided[0]); err != nil {
		wrong(fmt.Errorf("%w: %w", ErrTicket, err))
	}
	return decided[1:]
}
