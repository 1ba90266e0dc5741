package audit

import (
	"encoding/hex"
	"errors"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"evcharging/application/eventlog"
)

// Head is the end that a stream had when a checkpoint was made: the version of its last
// event and the hash of its last part, which stands for all before it.
type Head struct {
	Stream  eventlog.Stream
	Version eventlog.Version
	Hash    eventlog.Hash
}

// errHead tells of a line that is no head.
var errHead = errors.New("not a line of a stream, a version and a hash")

// Line is the head as a line, its line feed included: the leaf of the tree.
func (h Head) Line() string {
	return string(h.Stream) + " " + strconv.FormatUint(uint64(h.Version), 10) + " " + hex.EncodeToString(h.Hash[:]) + "\n"
}

// parseHead reads a line, its line feed included. What it gives has exactly that line.
func parseHead(line string) (h Head, err error) {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if len(fields) != 3 {
		return Head{}, errHead
	}
	version, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return Head{}, errHead
	}
	hash, err := hex.DecodeString(fields[2])
	if err != nil || len(hash) != len(h.Hash) {
		return Head{}, errHead
	}
	h = Head{eventlog.Stream(fields[0]), eventlog.Version(version), eventlog.Hash(hash)}
	if h.Line() != line || h.Stream == "" || version == 0 || len(h.Stream) > eventlog.MaxName {
		return Head{}, errHead
	}
	return h, nil
}

// Tree is a Merkle tree (RFC 6962) that leaves are added to, and of which only the roots of
// its complete subtrees are kept: its size does not grow with the leaves. The zero Tree is
// empty.
type Tree struct {
	size int64
	// peaks are the roots of the complete subtrees, the largest first.
	peaks []tlog.Hash
}

// errPeaks tells that a tree can't have these peaks.
var errPeaks = errors.New("a tree of that size has another number of subtrees")

// TreeOf is the tree of so many leaves with these peaks.
func TreeOf(size int64, peaks []tlog.Hash) (Tree, error) {
	if size < 0 || bits.OnesCount64(uint64(size)) != len(peaks) {
		return Tree{}, errPeaks
	}
	return Tree{size, slices.Clone(peaks)}, nil
}

// Size is the number of leaves.
func (t Tree) Size() int64 { return t.size }

// Peaks are the roots of the complete subtrees, the largest first: a copy.
func (t Tree) Peaks() []tlog.Hash { return slices.Clone(t.peaks) }

// with is the tree with leaves added: the tree itself stays as it is.
func (t Tree) with(leaves []Head, made func(int64, tlog.Hash)) Tree {
	t.peaks = slices.Clone(t.peaks)
	for _, leaf := range leaves {
		t.Add(leaf, made)
	}
	return t
}

// Add adds a leaf. made, where it is not nil, is told each hash of the tree that is final
// now, with its tlog.StoredHashIndex.
func (t *Tree) Add(leaf Head, made func(index int64, hash tlog.Hash)) {
	hash := tlog.RecordHash([]byte(leaf.Line()))
	for level := 0; ; level++ {
		if made != nil {
			made(tlog.StoredHashIndex(level, t.size>>level), hash)
		}
		if t.size>>level&1 == 0 {
			break
		}
		last := len(t.peaks) - 1
		hash = tlog.NodeHash(t.peaks[last], hash)
		t.peaks = t.peaks[:last]
	}
	t.peaks = append(t.peaks, hash)
	t.size++
}

// Root is the root of the whole tree.
func (t Tree) Root() tlog.Hash {
	if t.size == 0 {
		empty, _ := tlog.TreeHash(0, nil) // it reads nothing
		return empty
	}
	root := t.peaks[len(t.peaks)-1]
	for i := len(t.peaks) - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.peaks[i], root)
	}
	return root
}

// Inclusion gives the place of the record's head number i, from 0, among the leaves of its
// checkpoint's tree, and what shows that it is there.
func (r Record) Inclusion(i int) (leaf int64, path tlog.RecordProof, err error) {
	tree, err := TreeOf(r.Before, r.Peaks)
	if err != nil {
		return 0, nil, err
	}
	hashes := map[int64]tlog.Hash{}
	made := func(index int64, hash tlog.Hash) { hashes[index] = hash }
	for at, peaks := int64(0), r.Peaks; len(peaks) > 0; peaks = peaks[1:] {
		level := bits.Len64(uint64(r.Before-at)) - 1
		made(tlog.StoredHashIndex(level, at>>level), peaks[0])
		at += 1 << level
	}
	tree = tree.with(r.Heads, made)
	leaf = r.Before + int64(i)
	path, err = tlog.ProveRecord(tree.Size(), leaf, tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = hashes[index]
		}
		return found, nil
	}))
	return leaf, path, err
}
