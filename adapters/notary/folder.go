package notary

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"evcharging/adapters/durable"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
)

// KeyName is the name of a key's file in a folder, CheckpointsName that of the checkpoints'.
const (
	KeyName         = "signing.key"
	CheckpointsName = "checkpoints"
	coveredName     = "covered"
	publishedName   = "published"
)

var (
	// ErrInUse tells that another process signs in the folder.
	ErrInUse = errors.New("another Central signs there")
	// ErrForeign tells that the folder's key is that of another network's log.
	ErrForeign = errors.New("its key is that of another event log")
	// ErrBroken tells of a folder whose last checkpoint can't be gone on from.
	ErrBroken = errors.New("its last checkpoint can't be read")
)

// Covered is how far into its log a checkpoint reaches: the position up to which it has all
// commits, and the id of the commit there. The zero Covered is before the first.
type Covered struct {
	Number   uint64
	Position eventlog.Position
	Commit   uuid.UUID
}

// Folder is where one Central keeps what it signs. It is not safe for use from several
// goroutines.
type Folder struct {
	dir   string
	key   *Key
	lock  *os.File
	chain audit.Chain
	// last is the last record as it was written.
	last    []byte
	covered Covered
	// published is the number of the last checkpoint that everybody was told of.
	published uint64
	// torn tells that the file does not end with a whole line.
	torn bool
}

// OpenFolder opens the folder of a network's log for this process alone, and makes what is
// missing. keyFile is where the key is, in the folder where it is empty. ErrInUse,
// ErrForeign, ErrKey, ErrBroken or the system's error.
func OpenFolder(dir, keyFile string, network uuid.UUID) (*Folder, error) {
	f := &Folder{dir: dir}
	if err := f.open(keyFile, network); err != nil {
		if f.lock != nil {
			_ = f.lock.Close()
		}
		return nil, fmt.Errorf("the folder of checkpoints %s: %w", dir, err)
	}
	return f, nil
}

func (f *Folder) open(keyFile string, network uuid.UUID) (err error) {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	f.lock, err = durable.Take(filepath.Join(f.dir, "lock"), 0)
	if errors.Is(err, durable.ErrHeld) {
		err = ErrInUse
	}
	if err != nil {
		return err
	}
	if keyFile == "" {
		keyFile = filepath.Join(f.dir, KeyName)
	}
	if f.key, err = MakeKey(keyFile, network); err != nil {
		return err
	}
	if f.key.Network() != network.String() {
		return fmt.Errorf("%w (%s, and not %s): name another folder", ErrForeign, f.key.Network(), network)
	}
	if err := f.replace(PublicName, []byte(f.key.Public()+"\n")); err != nil {
		return err
	}
	if err := f.readLast(); err != nil {
		return err
	}
	if err := f.readCovered(); err != nil {
		return err
	}
	return f.readPublished()
}

// Close gives the folder back.
func (f *Folder) Close() error { return f.lock.Close() }

// Key is the key that signs.
func (f *Folder) Key() *Key { return f.key }

// Chain is the chain up to the last checkpoint.
func (f *Folder) Chain() *audit.Chain { return &f.chain }

// Covered is how far the last checkpoint reaches; zero where that is not known.
func (f *Folder) Covered() Covered { return f.covered }

// Last is the last record as it was written; nil where there is none.
func (f *Folder) Last() []byte { return f.last }

// Records are the records of all checkpoints, as audit.Records reads them; none where there is no
// file. It may be called as often as one likes.
func (f *Folder) Records() iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		for record, err := range RecordsIn(filepath.Join(f.dir, CheckpointsName)) {
			if errors.Is(err, fs.ErrNotExist) || !yield(record, err) {
				return
			}
		}
	}
}

// RecordsIn are the records of a file, as audit.Records reads them; fs.ErrNotExist where there is
// none. It may be called as often as one likes.
func RecordsIn(name string) iter.Seq2[audit.Record, error] {
	return func(yield func(audit.Record, error) bool) {
		file, err := os.Open(name)
		if err != nil {
			yield(audit.Record{}, err)
			return
		}
		defer file.Close()
		for record, err := range audit.Records(file) {
			if !yield(record, err) {
				return
			}
		}
	}
}

// Unpublished are the records, as they were written, of the checkpoints that Published was not called for,
// in their order.
func (f *Folder) Unpublished() (all [][]byte, err error) {
	switch f.chain.Last.Number {
	case f.published:
		return nil, nil
	case f.published + 1:
		return [][]byte{f.last}, nil
	}
	for record, err := range f.Records() {
		if errors.Is(err, audit.ErrRecord) {
			continue
		}
		if err != nil {
			return nil, err
		}
		text, _, _ := strings.Cut(string(record.Note), "\n\n")
		checkpoint, err := audit.ParseCheckpoint(text + "\n")
		if err == nil && checkpoint.Number > f.published {
			all = append(all, record.Append(nil, checkpoint.Number))
		}
	}
	return all, nil
}

// Published says that everybody was told of one more checkpoint.
func (f *Folder) Published() error {
	f.published++
	return f.replace(publishedName, fmt.Appendf(nil, "checkpoint %d\n", f.published))
}

// Append signs a checkpoint and keeps it with its record and how far it reaches. Once it has
// returned nil that survives a kill and a loss of power. It gives the record as it was
// written.
func (f *Folder) Append(checkpoint audit.Checkpoint, record audit.Record, position eventlog.Position, commit uuid.UUID) (written []byte, err error) {
	if record.Note, err = f.key.Sign(checkpoint.Text()); err != nil {
		return nil, err
	}
	next := f.chain
	if err := next.Follow(checkpoint, record); err != nil {
		return nil, err
	}
	text := record.Append(nil, checkpoint.Number)
	if err := f.write(text); err != nil {
		return nil, fmt.Errorf("keep a checkpoint in %s: %w", f.dir, err)
	}
	f.chain, f.last = next, text
	f.covered = Covered{checkpoint.Number, position, commit}
	covered := fmt.Sprintf("checkpoint %d\nposition %d\ncommit %s\n", checkpoint.Number, position, commit)
	return text, f.replace(coveredName, []byte(covered))
}

func (f *Folder) write(text []byte) error {
	file, err := os.OpenFile(filepath.Join(f.dir, CheckpointsName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if f.torn { // what was cut off stays a line of its own
		text = append([]byte("\n"), text...)
	}
	f.torn = true
	if _, err = file.Write(text); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		f.torn = false
	}
	return errors.Join(err, durable.SyncFolder(f.dir))
}

// replace writes a file, unless it is right already.
func (f *Folder) replace(name string, text []byte) error {
	path := filepath.Join(f.dir, name)
	if there, err := os.ReadFile(path); err == nil && bytes.Equal(there, text) {
		return nil
	}
	return durable.Write(path, text, 0o644)
}

// readLast reads the last whole record of the file. The largest is of some megabytes.
func (f *Folder) readLast() error {
	file, err := os.Open(filepath.Join(f.dir, CheckpointsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	keys, err := ParseKeys(f.key.Public())
	if err != nil {
		return err
	}
	for tail := int64(64 << 10); ; tail *= 8 {
		from := max(info.Size()-tail, 0)
		text, err := io.ReadAll(io.NewSectionReader(file, from, info.Size()-from))
		if err != nil {
			return err
		}
		f.torn = text[len(text)-1] != '\n'
		if from > 0 { // not the rest of a line
			_, text, _ = bytes.Cut(text, []byte("\n"))
		}
		for record, err := range audit.Records(bytes.NewReader(text)) {
			if err != nil {
				continue // what was cut off, or the rest of a record
			}
			signed, _, err := keys.Open(record.Note)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrBroken, err)
			}
			checkpoint, err := audit.ParseCheckpoint(signed)
			if err == nil {
				err = f.chain.Follow(checkpoint, record)
			}
			if err != nil && !errors.Is(err, audit.ErrLost) { // what is lost is an auditor's to find
				return fmt.Errorf("%w: %w", ErrBroken, err)
			}
			f.last = record.Append(nil, checkpoint.Number)
		}
		if f.chain.Last.Number > 0 {
			return nil
		}
		if from == 0 {
			return fmt.Errorf("%w: there is no whole one in the file", ErrBroken)
		}
	}
}

// readCovered reads how far the last checkpoint reaches. Of another than the last nothing is
// known: what it misses is told once more.
func (f *Folder) readCovered() error {
	text, err := os.ReadFile(filepath.Join(f.dir, coveredName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var c Covered
	var commit string
	if _, err := fmt.Sscanf(string(text), "checkpoint %d\nposition %d\ncommit %s\n", &c.Number, &c.Position, &commit); err != nil {
		return fmt.Errorf("%w: its file %s is none", ErrBroken, coveredName)
	}
	if c.Commit, err = uuid.Parse(strings.TrimSpace(commit)); err != nil {
		return fmt.Errorf("%w: its file %s is none", ErrBroken, coveredName)
	}
	f.covered = c
	return nil
}

// readPublished reads which checkpoint was published last.
func (f *Folder) readPublished() error {
	text, err := os.ReadFile(filepath.Join(f.dir, publishedName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Sscanf(string(text), "checkpoint %d\n", &f.published); err != nil || f.published > f.chain.Last.Number {
		f.published = 0 // all are told once more
	}
	return nil
}

// publicOf is the public key of a seed.
func publicOf(name string, seed []byte) (string, error) {
	if len(seed) != ed25519.SeedSize {
		return "", ErrKey
	}
	return note.NewEd25519VerifierKey(name, ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
}
