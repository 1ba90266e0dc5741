package central

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/application/network"
	"evcharging/domain"
)

const (
	// checkpointEvery is how often a checkpoint is signed.
	checkpointEvery = time.Minute
	// lastCheckpoint is how long the last may take, of a Central that stops.
	lastCheckpoint = 3 * time.Second
	// lateCommits is how many of the newest commits of a shared log are looked at once more after
	// a start: another Central's may have come to a place before others.
	lateCommits = 10_000
)

// errOtherLog tells of a log that is not the one of the last checkpoint.
var errOtherLog = errors.New("the event log does not go on where the last checkpoint was, and not all of it is as it was signed: it was rolled back or exchanged; look at it with ev-replay verify, and where it is right as it is, begin anew in another folder with --checkpoints")

// errUnkept tells that a checkpoint may be in its folder, or not: no other may have its
// number before that is looked up.
var errUnkept = errors.New("the checkpoint can't be kept")

// signer makes checkpoints of an event log. It is not safe for use from several goroutines.
type signer struct {
	log     eventlog.Log
	network uuid.UUID
	folder  *notary.Folder
	logger  *slog.Logger
	// shared tells that a commit may come before others that were there already.
	shared bool

	// reached is the last commit that was taken in; before is the position of that of the time
	// before, and listed what was listed since.
	reached reached
	before  eventlog.Position
	listed  map[eventlog.Stream]eventlog.Version
	// refused is why the log does not have all that was signed, once that was looked at.
	refused error
}

// reached is a commit of a log.
type reached struct {
	position eventlog.Position
	commit   uuid.UUID
}

func newSigner(log eventlog.Log, network uuid.UUID, folder *notary.Folder, shared bool, logger *slog.Logger) *signer {
	covered := folder.Covered()
	s := &signer{log: log, network: network, folder: folder, logger: logger, shared: shared, reached: reached{covered.Position, covered.Commit}}
	s.before = max(covered.Position, lateCommits) - lateCommits
	return s
}

// sign takes in what the log has by now and signs it, in one checkpoint, or in several where
// it is a lot. errOtherLog where the log is another; other errors are the log's or the folder's.
func (s *signer) sign(ctx context.Context, at domain.UnixMillis) error {
	same, err := s.same(ctx)
	if err == nil && !same {
		err = s.exchanged(ctx)
	}
	if err != nil {
		return err
	}
	kept, listed := s.reached, map[eventlog.Stream]eventlog.Version{}
	from, before := kept.position, kept.position
	if s.shared {
		from = s.before
	}
	changes := &audit.Changes{}
	for next := from + 1; next != 0; {
		begun := next
		next = 0
		for c, err := range s.log.All(ctx, begun) {
			var damage *eventlog.DamagedError
			if errors.As(err, &damage) && damage.Position >= begun {
				next = damage.Position + 1
				break
			}
			if err != nil {
				s.reached = kept // what was taken in since is in no checkpoint
				return fmt.Errorf("read the event log: %w", err)
			}
			s.take(changes, c, listed)
			if !changes.Full() {
				continue
			}
			if err := s.append(changes, at); err != nil {
				return err
			}
			changes, kept = &audit.Changes{}, s.reached
		}
	}
	if err := s.append(changes, at); err != nil {
		return err
	}
	s.before, s.listed = before, listed
	return nil
}

// take takes in a commit, but for what was listed already.
func (s *signer) take(changes *audit.Changes, c eventlog.Positioned, listed map[eventlog.Stream]eventlog.Version) {
	var parts []eventlog.Part
	for _, p := range c.Parts {
		if p.Last() > max(s.listed[p.Stream], listed[p.Stream]) {
			parts = append(parts, p)
		}
		listed[p.Stream] = max(listed[p.Stream], p.Last())
	}
	changes.Take(eventlog.Commit{Parts: parts})
	if c.Position > s.reached.position {
		s.reached = reached{c.Position, c.ID}
	}
}

func (s *signer) append(changes *audit.Changes, at domain.UnixMillis) error {
	checkpoint, record := s.folder.Chain().Next(s.network, at, changes.Heads())
	if _, err := s.folder.Append(checkpoint, record, s.reached.position, s.reached.commit); err != nil {
		return fmt.Errorf("%w: %w", errUnkept, err)
	}
	return nil
}

// same tells whether the log has the commit that was reached where it was.
func (s *signer) same(ctx context.Context) (bool, error) {
	if s.reached.position == 0 {
		return true, nil
	}
	for c, err := range s.log.All(ctx, s.reached.position) {
		if errors.Is(err, eventlog.ErrDamaged) {
			return true, nil // it is there
		}
		if err != nil {
			return false, fmt.Errorf("read the event log: %w", err)
		}
		return c.Position == s.reached.position && c.ID == s.reached.commit, nil
	}
	return false, ctx.Err()
}

// exchanged looks at a log that has another commit there, or none: one that was brought back from
// an export has its commits at other positions. Where it has all that was signed, what is newer
// is signed from its begin on; else it is errOtherLog.
func (s *signer) exchanged(ctx context.Context) error {
	if s.refused != nil {
		return s.refused
	}
	keys, err := notary.ParseKeys(s.folder.Key().Public())
	if err != nil {
		return err
	}
	checkpoints := audit.Checkpoints{
		Name:    "the folder of checkpoints",
		Records: func(context.Context) iter.Seq2[audit.Record, error] { return s.folder.Records() },
	}
	looking, stop := context.WithCancel(ctx)
	defer stop()
	_, _, err = audit.VerifyAgainst(looking, s.log, eventjson.Codec{}, keys, []audit.Checkpoints{checkpoints}, func(f audit.Finding) {
		if s.refused == nil && !ofContent(f.Reason) {
			s.refused = fmt.Errorf("%w (%s)", errOtherLog, f)
			stop() // one is enough
		}
	}, nil)
	if s.refused != nil {
		return s.refused
	}
	if err != nil {
		return fmt.Errorf("hold the event log against the checkpoints: %w", err)
	}
	signed := map[eventlog.Stream]eventlog.Version{}
	for record, err := range s.folder.Records() {
		if errors.Is(err, audit.ErrRecord) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the checkpoints: %w", err)
		}
		if _, _, err := keys.Open(record.Note); err != nil {
			continue
		}
		for _, h := range record.Heads {
			signed[h.Stream] = max(signed[h.Stream], h.Version)
		}
	}
	s.logger.Info("the event log has its commits at other positions than at the last checkpoint, and all that was signed: what is newer is signed")
	s.reached, s.before, s.listed = reached{}, 0, signed
	return nil
}

// ofContent tells of a finding that it is about what a part says: it may have been signed so.
func ofContent(reason error) bool {
	return errors.Is(reason, audit.ErrTicket) || errors.Is(reason, audit.ErrUnreadable) || errors.Is(reason, audit.ErrCommit)
}

// signed is when the last checkpoint was signed, for the metrics; nil where none are.
type signed = atomic.Pointer[domain.UnixMillis]

// keepCheckpoints signs a checkpoint once a minute, until ctx ends, and then the last. What
// keeps it from that is said, and keeps nothing else from working.
func (n *Node) keepCheckpoints(ctx context.Context) {
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	var s *signer
	said := ""
	for done := false; !done; {
		err := n.checkpoint(ctx, &s)
		if ctx.Err() == nil {
			said = n.sayCheckpoint(err, said)
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
			}
		}
		done = true
	}
	if s == nil {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastCheckpoint)
	defer cancel()
	if err := n.checkpoint(last, &s); err != nil {
		n.logger.Warn("the last checkpoint is not signed; the next start does it", "error", err)
	}
	_ = s.folder.Close()
}

// checkpoint signs one, and publishes what was not.
func (n *Node) checkpoint(ctx context.Context, s **signer) error {
	if *s == nil {
		folder, err := notary.OpenFolder(n.config.Checkpoints, n.config.SigningKey, n.store.network)
		if err != nil {
			return err
		}
		*s = newSigner(n.store, n.store.network, folder, n.store.shared != nil, n.logger)
		n.logger.Info("checkpoints of the event log are signed once a minute", "folder", n.config.Checkpoints, "key", folder.Key().Public())
	}
	if err := (*s).sign(ctx, now()); errors.Is(err, errUnkept) {
		folder := (*s).folder
		*s = nil
		return errors.Join(err, folder.Close())
	} else if err != nil {
		return err
	}
	at := (*s).folder.Chain().Last.At
	n.signed.Store(&at)
	return n.publish(ctx, (*s).folder)
}

// errUnpublished tells of checkpoints that are signed, and kept, and not on their topic.
var errUnpublished = errors.New("checkpoints can't be published")

// publish sends the checkpoints to their topic that are not there.
func (n *Node) publish(ctx context.Context, folder *notary.Folder) error {
	if n.transport.Away() != nil {
		return nil // that is said, and they are sent later
	}
	texts, err := folder.Unpublished()
	for _, text := range texts {
		if err == nil {
			err = n.transport.Send(ctx, message.Checkpoint{Key: folder.Key().Name(), Text: text})
		}
		if err == nil {
			err = folder.Published()
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnpublished, err)
	}
	return nil
}

// sayCheckpoint says once why no checkpoint is signed, and that they are again; it gives what
// was said.
func (n *Node) sayCheckpoint(err error, said string) string {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == said {
		return said
	}
	switch {
	case err == nil:
		n.warn("checkpoints", "")
		n.logger.Info("checkpoints are signed and published again")
	case errors.Is(err, errUnpublished):
		n.warn("checkpoints", "checkpoints are not published")
		n.logger.Warn(text + "; trying again")
	default:
		n.warn("checkpoints", "no checkpoints are signed")
		n.logger.Error("no checkpoint is signed; trying again", "error", err)
		n.feed.say(network.Alert, "no checkpoint is signed: "+text)
	}
	return text
}
