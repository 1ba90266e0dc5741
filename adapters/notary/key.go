package notary

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"evcharging/adapters/durable"
	"evcharging/application/audit"
)

var (
	// ErrNoKey tells that there is no key where one was expected.
	ErrNoKey = errors.New("there is no key")
	// ErrKey tells of a file that holds no key of ours.
	ErrKey = errors.New("it holds no key of checkpoints")
)

// PublicName is the name of the file that has the public part of a key, beside it.
const PublicName = "network.pub"

// Key signs. It may be used from any number of goroutines.
type Key struct {
	signer note.Signer
	public string
}

// LoadKey reads a key. ErrNoKey where there is no file, ErrKey where it holds another thing.
func LoadKey(file string) (*Key, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s: Central makes it when it starts for the first time", ErrNoKey, file)
	}
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	key, err := parseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func parseKey(text string) (*Key, error) {
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, ErrKey // never with the text
	}
	// PRIVATE+KEY+name+hash+base64 of the algorithm and the seed
	fields := strings.Split(text, "+")
	seed, err := base64.StdEncoding.DecodeString(strings.Join(fields[4:], "+"))
	if err != nil || len(seed) == 0 {
		return nil, ErrKey
	}
	public, err := publicOf(signer.Name(), seed[1:])
	if err != nil {
		return nil, ErrKey
	}
	return &Key{signer, public}, nil
}

// MakeKey makes the key of a network, in a file that its owner alone may read, and writes the public
// part beside it. A key that is there stays, and is given.
func MakeKey(file string, network uuid.UUID) (*Key, error) {
	key, err := LoadKey(file)
	if !errors.Is(err, ErrNoKey) {
		return key, err
	}
	private, _, err := note.GenerateKey(rand.Reader, network.String())
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o755)
	}
	if err == nil {
		err = durable.Write(file, []byte(private+"\n"), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return LoadKey(file)
}

// Network is the id of the key's network.
func (k *Key) Network() string { return k.signer.Name() }

// Name is the key's, as Keys.Open gives it.
func (k *Key) Name() string { return keyName(k.signer.Name(), k.signer.KeyHash()) }

// Public is the public part: a line for whoever checks.
func (k *Key) Public() string { return k.public }

// Sign makes a signed note of a text.
func (k *Key) Sign(text string) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: text}, k.signer)
	if err != nil {
		return nil, fmt.Errorf("sign a checkpoint: %w", err)
	}
	return signed, nil
}

// Keys are those whose signatures count. They are audit.Notary.
type Keys struct {
	known note.Verifiers
	names []string
}

var _ audit.Notary = (*Keys)(nil)

// ReadKeys reads a file of public keys, a line each: as network.pub has it. Empty lines, and
// those that begin with #, say nothing.
func ReadKeys(file string) (*Keys, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the network's public key: %w", err)
	}
	keys, err := ParseKeys(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return keys, nil
}

// ParseKeys is ReadKeys of a text.
func ParseKeys(text string) (*Keys, error) {
	var verifiers []note.Verifier
	k := &Keys{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := note.NewVerifier(line)
		if err != nil {
			return nil, fmt.Errorf("%w: a line of %s is expected", ErrKey, PublicName)
		}
		verifiers = append(verifiers, v)
		k.names = append(k.names, keyName(v.Name(), v.KeyHash()))
	}
	if len(verifiers) == 0 {
		return nil, fmt.Errorf("%w: a line of %s is expected", ErrKey, PublicName)
	}
	k.known = note.VerifierList(verifiers...)
	return k, nil
}

// Names are the keys' names, as Open gives them.
func (k *Keys) Names() []string { return k.names }

// keyName is a key as people tell it from another: the network's id, and the key's hash.
func keyName(name string, hash uint32) string { return fmt.Sprintf("%s+%08x", name, hash) }

// Open is audit.Notary's.
func (k *Keys) Open(signed []byte) (text, key string, err error) {
	n, err := note.Open(signed, k.known)
	var stranger *note.UnverifiedNoteError
	switch {
	case errors.As(err, &stranger):
		return "", "", audit.ErrStranger
	case err != nil, len(n.Sigs) != 1, len(n.UnverifiedSigs) > 0:
		return "", "", audit.ErrSignature
	}
	// What decodes to the same signature may be written in several ways.
	signature, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil || n.Text+"\n— "+n.Sigs[0].Name+" "+base64.StdEncoding.EncodeToString(signature)+"\n" != string(signed) {
		return "", "", audit.ErrSignature
	}
	return n.Text, keyName(n.Sigs[0].Name, binary.BigEndian.Uint32(signature)), nil
}
