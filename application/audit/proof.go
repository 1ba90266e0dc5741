package audit

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
)

// Proof shows, to whoever has neither the log nor the network, that a bill is what the log had under a
// signed checkpoint, and that it follows from what was reported. docs/proof.md says what it
// is made of, and how it is checked.
type Proof struct {
	// Network is the id of the log's network.
	Network uuid.UUID
	Session domain.SessionID
	Bill    Bill
	// Parts are the texts of the session's parts, all of them, in order.
	Parts []string
	// Leaf is the place of the stream's head in the checkpoint's tree, Path what shows it.
	Leaf int64
	Path tlog.RecordProof
	// Note is the checkpoint.
	Note string
}

var (
	// ErrNoSession tells that the log has no session of an id.
	ErrNoSession = errors.New("the event log has no such session")
	// ErrNoBill tells of a session without a bill: it runs, or was refused.
	ErrNoBill = errors.New("the session has no bill")
	// ErrUncovered tells that no checkpoint has a session's bill.
	ErrUncovered = errors.New("no checkpoint has the session's bill yet: Central makes one each minute")
	// ErrProof tells of a proof that proves nothing; the sentence says why.
	ErrProof = errors.New("the proof is wrong")
)

// Explain is the account of a session of a log. ErrNoSession where there is none; where its
// stream is not as it should be, the error says what is wrong with it.
func Explain(ctx context.Context, log Log, codec central.Codec, id domain.SessionID) (Account, error) {
	stream := central.SessionStream(id)
	var commits []eventlog.Commit
	for c, err := range log.Read(ctx, stream, 1) {
		if err != nil {
			return Account{}, fmt.Errorf("read %s from the event log: %w", stream, err)
		}
		commits = append(commits, c)
	}
	if len(commits) == 0 {
		return Account{}, fmt.Errorf("%w: %s", ErrNoSession, id)
	}
	return explain(ctx, codec, id, commits)
}

// explain verifies the commits of a session, each with its part alone, and gives its account.
func explain(ctx context.Context, codec central.Codec, id domain.SessionID, commits []eventlog.Commit) (Account, error) {
	var wrong []error
	v := newVerifier(nil, codec, func(f Finding) { wrong = append(wrong, errors.New(f.String())) })
	texts := make([]central.Envelope, len(commits))
	for i, c := range commits {
		if err := v.take(ctx, eventlog.Positioned{Commit: c}); err != nil {
			return Account{}, err
		}
		texts[i], _ = codec.Decode(c.Parts[0].Body) // what is no text was found
	}
	if len(wrong) > 0 {
		return Account{}, errors.Join(wrong...)
	}
	return accountOf(id, commits, texts)
}

// Prove is the proof of a session's bill, under the last of the checkpoints that have it.
// ErrNoSession, ErrNoBill, ErrUncovered, ErrRewritten where the log is not what was signed,
// or what is wrong with the stream.
func Prove(ctx context.Context, log Log, codec central.Codec, notary Notary, checkpoints []Checkpoints, id domain.SessionID) (Proof, error) {
	account, err := Explain(ctx, log, codec, id)
	if err != nil {
		return Proof{}, err
	}
	if account.Bill == nil {
		return Proof{}, fmt.Errorf("%w: it is %s", ErrNoBill, account.Status)
	}
	stream := central.SessionStream(id)
	record, checkpoint, leaf, err := lastOf(ctx, notary, checkpoints, stream)
	if err != nil {
		return Proof{}, err
	}
	proof := Proof{Network: checkpoint.Network, Session: id, Bill: *account.Bill, Note: string(record.Note)}
	if proof.Leaf, proof.Path, err = record.Inclusion(leaf); err != nil {
		return Proof{}, err
	}
	signed, billed := record.Heads[leaf], false
	head := Head{Stream: stream}
	for c, err := range log.Read(ctx, stream, 1) {
		if err != nil {
			return Proof{}, fmt.Errorf("read %s from the event log: %w", stream, err)
		}
		p := c.Parts[0]
		if p.Last() > signed.Version {
			break
		}
		proof.Parts = append(proof.Parts, string(p.Body))
		head.Version, head.Hash = p.Last(), p.Hash
		billed = billed || p.Hash == account.Bill.Digest
	}
	switch {
	case head != signed:
		return Proof{}, fmt.Errorf("%w: %s at version %d", ErrRewritten, stream, signed.Version)
	case !billed:
		return Proof{}, ErrUncovered
	}
	return proof, nil
}

// lastOf is the last record of the checkpoints that has a stream, and the place of its head
// there. ErrUncovered where none has it.
func lastOf(ctx context.Context, notary Notary, checkpoints []Checkpoints, stream eventlog.Stream) (last Record, of Checkpoint, leaf int, err error) {
	for _, source := range checkpoints {
		for record, err := range source.Records(ctx) {
			if errors.Is(err, ErrRecord) {
				continue
			}
			if err != nil {
				return Record{}, Checkpoint{}, 0, fmt.Errorf("read the checkpoints in %s: %w", source.Name, err)
			}
			i := record.find(stream)
			if i < 0 {
				continue
			}
			text, _, err := notary.Open(record.Note)
			if err != nil {
				continue // it proves nothing
			}
			checkpoint, err := ParseCheckpoint(text)
			if err != nil || checkpoint.At < of.At || new(Chain).Follow(checkpoint, record) != nil {
				continue
			}
			last, of, leaf = record, checkpoint, i
		}
	}
	if of.Number == 0 {
		return Record{}, Checkpoint{}, 0, ErrUncovered
	}
	return last, of, leaf, nil
}

// find is the index of a stream's head; -1 where there is none.
func (r Record) find(stream eventlog.Stream) int {
	for i, h := range r.Heads {
		if h.Stream == stream {
			return i
		}
	}
	return -1
}

// Check tells whether a proof proves what it claims: it is under a checkpoint that a key which
// counts has signed, it has the whole stream up to there, and its bill follows from that. It
// gives the session's account, the checkpoint and the key. ErrProof with the reason where it
// does not.
func Check(ctx context.Context, proof Proof, notary Notary, codec central.Codec) (Account, Checkpoint, string, error) {
	account, checkpoint, key, err := check(ctx, proof, notary, codec)
	if err != nil {
		return Account{}, Checkpoint{}, "", fmt.Errorf("%w: %w", ErrProof, err)
	}
	return account, checkpoint, key, nil
}

func check(ctx context.Context, proof Proof, notary Notary, codec central.Codec) (account Account, checkpoint Checkpoint, key string, err error) {
	text, key, err := notary.Open([]byte(proof.Note))
	if err != nil {
		return account, checkpoint, key, fmt.Errorf("its checkpoint: %w", err)
	}
	if checkpoint, err = ParseCheckpoint(text); err != nil {
		return account, checkpoint, key, err
	}
	if checkpoint.Network != proof.Network {
		return account, checkpoint, key, fmt.Errorf("it is of network %s, its checkpoint of %s", proof.Network, checkpoint.Network)
	}
	if err := domain.CheckID(proof.Session); err != nil {
		return account, checkpoint, key, err
	}
	commits, err := chained(proof, codec)
	if err != nil {
		return account, checkpoint, key, err
	}
	last := commits[len(commits)-1].Parts[0]
	leaf := Head{last.Stream, last.Last(), last.Hash}.Line()
	if err := tlog.CheckRecord(proof.Path, checkpoint.Heads, checkpoint.Root, proof.Leaf, tlog.RecordHash([]byte(leaf))); err != nil {
		return account, checkpoint, key, errors.New("its parts are not those that were signed")
	}
	if account, err = explain(ctx, codec, proof.Session, commits); err != nil {
		return account, checkpoint, key, err
	}
	if account.Bill == nil {
		return account, checkpoint, key, ErrNoBill
	}
	claimed := proof.Bill
	if claimed.From = account.Bill.From; claimed != *account.Bill {
		return account, checkpoint, key, errors.New("its bill does not follow from its parts")
	}
	return account, checkpoint, key, nil
}

// chained are the parts of a proof as commits, chained anew.
func chained(proof Proof, codec central.Codec) ([]eventlog.Commit, error) {
	if len(proof.Parts) == 0 {
		return nil, errors.New("it has no parts")
	}
	commits := make([]eventlog.Commit, len(proof.Parts))
	version, prev := eventlog.Version(1), eventlog.Hash{}
	for i, body := range proof.Parts {
		text, err := codec.Decode([]byte(body))
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", i+1, err)
		}
		p := eventlog.Part{
			Stream: central.SessionStream(proof.Session), Version: version, Events: len(text.Events), Kind: central.KindOf(text.Events),
			Prev: prev, Body: []byte(body),
		}
		p.Hash = p.Sum()
		commits[i] = eventlog.Commit{ID: text.Commit, At: text.At, Cause: text.Cause, Parts: []eventlog.Part{p}}
		version, prev = p.Last()+1, p.Hash
	}
	return commits, nil
}
