package mongo

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Digest stands for a set of documents, in whatever order they come: the sum, modulo 2^256, of
// the SHA-256 of each (docs/contract.md has the formula). Equal sets give equal digests. It
// tells of what differs by accident; against whoever makes documents to deceive there are
// checkpoints of the log.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// documentSum is a document's part of a Digest.
func documentSum(collection, id string, body bson.Raw) Digest {
	h := sha256.New()
	var n [8]byte
	for _, text := range []string{collection, id} {
		binary.BigEndian.PutUint64(n[:], uint64(len(text)))
		h.Write(n[:])
		h.Write([]byte(text))
	}
	h.Write(body)
	return Digest(h.Sum(nil))
}

// plus is the sum with another, minus that without it.
func (d Digest) plus(other Digest) Digest { return d.each(other, bits.Add64) }

func (d Digest) minus(other Digest) Digest { return d.each(other, bits.Sub64) }

func (d Digest) each(other Digest, do func(x, y, carry uint64) (result, carryOut uint64)) (out Digest) {
	var carry, word uint64
	for i := len(d) - 8; i >= 0; i -= 8 {
		word, carry = do(binary.BigEndian.Uint64(d[i:]), binary.BigEndian.Uint64(other[i:]), carry)
		binary.BigEndian.PutUint64(out[i:], word)
	}
	return out
}

// buckets is how many groups a tally has.
const buckets = 1 << 16

// tally counts ids in a memory that does not grow with them: in groups by their hashes, each
// with its number and its sum. Two tallies of the same ids are equal; where they are not, the
// groups that differ tell which ids to look at.
type tally [buckets]struct{ number, sum uint64 }

func (t *tally) add(id string) {
	group, sum := t.place(id)
	t[group].number++
	t[group].sum += sum
}

func (t *tally) remove(id string) {
	group, sum := t.place(id)
	t[group].number--
	t[group].sum -= sum
}

// differs tells whether another has other ids in an id's group.
func (t *tally) differs(other *tally, id string) bool {
	group, _ := t.place(id)
	return t[group] != other[group]
}

func (t *tally) place(id string) (group int, sum uint64) {
	h := sha256.Sum256([]byte(id))
	return int(binary.BigEndian.Uint16(h[:])), binary.BigEndian.Uint64(h[2:])
}
