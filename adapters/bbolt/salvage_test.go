package bbolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// openToRead opens a log that is closed when the test ends.
func openToRead(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	log, err := OpenToRead(dir, quiet(o))
	if err != nil {
		t.Fatalf("OpenToRead: %v", err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return log
}

// breakable is a log in a folder, and a segment of it that is broken in many ways.
type breakable struct {
	dir     string
	options Options
	builder *eventlogtest.Builder
	commits []eventlog.Commit
	// first and last are the positions of the segment, content is its file as it was.
	first, last eventlog.Position
	content     []byte
	// root is the page where the commits begin, leaves has what is on each page below it.
	root   uint64
	leaves map[uint64][]eventlog.Position
	// pages is how many there are.
	pages uint64
}

const (
	testPages   = 4096
	testStreams = 5
)

// makeBreakable makes a log of some streams, with some pages in each segment, and chooses its newest
// segment or its first one.
func makeBreakable(t *testing.T, newest, indexed bool) *breakable {
	t.Helper()
	if os.Getpagesize() != testPages {
		t.Skip("this looks at pages of 4096 bytes")
	}
	b := &breakable{dir: t.TempDir(), builder: eventlogtest.NewBuilder("ev.health"), first: 1, leaves: map[uint64][]eventlog.Position{}}
	if !newest {
		b.options.segmentSize = 40_000
	}
	for i := range 100 {
		stream := eventlog.Stream(fmt.Sprintf("session-%d", i%testStreams))
		b.commits = append(b.commits, b.builder.Commit(b.builder.Cause(), eventlogtest.Lifecycle(stream, fmt.Sprintf("%q", strings.Repeat("x", 400)))))
	}
	log := open(t, b.dir, b.options)
	if n := appendAll(t, log, b.commits); n != len(b.commits) {
		t.Fatalf("append %d fails", n)
	}
	shut(t, log)
	segments, _, err := list(b.dir)
	if err != nil || newest != (len(segments) == 1) {
		t.Fatal(segments, err)
	}
	b.last = eventlog.Position(len(b.commits))
	if !newest {
		b.last = segments[1] - 1
	}
	if !indexed {
		if err := removeIndices(b.dir); err != nil {
			t.Fatal(err)
		}
	}
	b.look(t)
	return b
}

func (b *breakable) path() string { return filepath.Join(b.dir, segmentName(b.first)) }

// look finds the pages.
func (b *breakable) look(t *testing.T) {
	t.Helper()
	var err error
	if b.content, err = os.ReadFile(b.path()); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(b.path(), 0o644, &bolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		b.root = uint64(tx.Bucket(commitsBucket).Root())
		for ; ; b.pages++ {
			if info, err := tx.Page(int(b.pages)); info == nil || err != nil {
				return err
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	root := b.content[b.root*testPages:]
	if native.Uint16(root[8:]) != branchPage {
		t.Fatal("the log is too small: its root is no branch")
	}
	for i := range int(native.Uint16(root[10:])) {
		number := native.Uint64(root[pageHeader+i*pageElement+8:])
		page := b.content[number*testPages:]
		for i := range int(native.Uint16(page[10:])) {
			at := pageHeader + i*pageElement
			key := page[at+int(native.Uint32(page[at+4:])):]
			b.leaves[number] = append(b.leaves[number], eventlog.Position(binary.BigEndian.Uint64(key)))
		}
	}
}

// put writes the segment's file.
func (b *breakable) put(t *testing.T, content []byte) {
	t.Helper()
	if err := os.WriteFile(b.path(), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// read gives which commits a log has, each of which has to be the right one, and which are damaged.
func (b *breakable) read(t *testing.T, log *Log) (found, lost map[eventlog.Position]bool) {
	t.Helper()
	found, lost = map[eventlog.Position]bool{}, map[eventlog.Position]bool{}
	for from := eventlog.Position(1); from != 0; {
		next := eventlog.Position(0)
		for c, err := range log.All(t.Context(), from) {
			var damage *eventlog.DamagedError
			switch {
			case errors.As(err, &damage):
				if damage.Position < from || filepath.Ext(damage.Where) != segmentSuffix {
					t.Fatalf("%v, from position %d", err, from)
				}
				lost[damage.Position], next = true, damage.Position+1
			case err != nil:
				t.Fatal(err)
			case c.Position > eventlog.Position(len(b.commits)) || c.ID != b.commits[c.Position-1].ID ||
				!bytes.Equal(c.Parts[0].Body, b.commits[c.Position-1].Parts[0].Body):
				t.Errorf("position %d has another commit", c.Position)
			default:
				found[c.Position] = true
			}
		}
		from = next
	}
	end, err := log.End(t.Context())
	if all := eventlog.Position(len(b.commits)); err != nil || end < all && !lost[end] {
		t.Errorf("it ends at %d, %v, and does not say that there was more", end, err)
	}
	for position := eventlog.Position(1); position <= end; position++ {
		if found[position] == lost[position] {
			t.Errorf("position %d: found %t, lost %t", position, found[position], lost[position])
		}
	}
	return found, lost
}

// wantSafe asks that a log that takes commits knows where each stream ends, or that it is damaged.
func (b *breakable) wantSafe(t *testing.T, log *Log) {
	t.Helper()
	for i := range testStreams {
		stream := eventlog.Stream(fmt.Sprintf("session-%d", i))
		if head, err := log.Head(t.Context(), stream); !errors.Is(err, eventlog.ErrDamaged) && (err != nil || head != b.builder.Head(stream)) {
			t.Errorf("%s: %+v, %v", stream, head, err)
		}
	}
}

func TestABrokenPageLosesNothingElse(t *testing.T) {
	for name, where := range map[string]struct{ newest, indexed bool }{
		"of the newest segment":          {newest: true, indexed: true},
		"of a segment with an index":     {indexed: true},
		"of one that has lost its index": {},
	} {
		t.Run(name, func(t *testing.T) {
			b := makeBreakable(t, where.newest, where.indexed)
			leaves := slices.SortedFunc(maps.Keys(b.leaves), func(p, q uint64) int { return int(b.leaves[p][0]) - int(b.leaves[q][0]) })
			type breaking struct {
				what  string
				page  uint64
				at    int
				flip  byte
				loses []eventlog.Position
			}
			var all []breaking
			for page, who := range map[uint64]string{leaves[0]: "the first leaf", leaves[len(leaves)-1]: "the last leaf", b.root: "the branch"} {
				lastElement := pageHeader + (int(native.Uint16(b.content[page*testPages+10:]))-1)*pageElement
				for what, f := range map[string]struct {
					at   int
					flip byte
				}{
					"number": {0, 1}, "a flag": {8, 2}, "another flag": {8, 1}, "a strange flag": {9, 0x40}, "count": {10, 1}, "a high bit of count": {11, 0x80}, "pages that continue it": {12, 1},
					"an element's first field": {pageHeader, 1}, "an element's second field": {pageHeader + 4, 1}, "an element's third field": {pageHeader + 8, 2}, "an element's fourth field": {pageHeader + 12, 4},
					"the last element's first field": {lastElement, 0x10}, "the last element's second field": {lastElement + 4, 0x10},
				} {
					all = append(all, breaking{who + ": " + what, page, f.at, f.flip, b.leaves[page]})
				}
			}
			for page := range uint64(2) {
				for what, at := range map[string]int{"magic": 16, "page size": 25, "root": 32, "end": 56, "transaction": 64, "checksum": 75} {
					all = append(all, breaking{fmt.Sprintf("meta page %d: %s", page, what), page, at, 2, nil})
				}
			}
			for _, f := range all {
				t.Run(f.what, func(t *testing.T) {
					broken := bytes.Clone(b.content)
					broken[int(f.page)*testPages+f.at] ^= f.flip
					b.put(t, broken)

					log := openToRead(t, b.dir, b.options)
					found, _ := b.read(t, log)
					for position := eventlog.Position(1); position <= eventlog.Position(len(b.commits)); position++ {
						if !found[position] && !slices.Contains(f.loses, position) {
							t.Errorf("position %d is lost", position)
						}
					}
					if err := log.Append(t.Context(), b.builder.Fork().Commit(eventlog.Cause{}, eventlogtest.Lifecycle("session-0", `1`))); err == nil {
						t.Error("what was opened to be read takes commits")
					}
					shut(t, log)

					log, err := Open(b.dir, quiet(b.options))
					if !where.newest && where.indexed {
						if err != nil {
							t.Fatal(err)
						}
						b.wantSafe(t, log)
						shut(t, log)
					} else {
						wantDamage(t, "Open", err, segmentName(b.first), 0, "")
					}
					if after, err := os.ReadFile(b.path()); err != nil || !bytes.Equal(after, broken) {
						t.Errorf("the segment was changed: %v", err)
					}
				})
			}
			for what, size := range map[string]int{"half": int(b.pages) / 2 * testPages, "not to a page": int(b.pages)/2*testPages + 1000, "a page": testPages, "nothing": 0} {
				t.Run("cut to "+what, func(t *testing.T) {
					b.put(t, b.content[:size])
					log := openToRead(t, b.dir, b.options)
					found, lost := b.read(t, log)
					for page, positions := range b.leaves {
						for _, position := range positions {
							if int(page+1)*testPages <= size && !found[position] {
								t.Errorf("position %d is lost, and page %d is there", position, page)
							}
						}
					}
					if end, err := log.End(t.Context()); err != nil || len(lost) == 0 || !found[end] && !lost[end] {
						t.Errorf("it ends at %d, %v, and %d are lost", end, err, len(lost))
					}
				})
			}
		})
	}
}

func TestNoBitThatIsFlippedMakesAWrongRecordOrATotalLoss(t *testing.T) {
	b := makeBreakable(t, true, true)
	random := rand.New(rand.NewPCG(5, 44977))
	opened := 0
	for range 200 {
		// every other one in the elements of a page, which are little of it
		at := random.IntN(int(b.pages) * testPages)
		if random.IntN(2) == 0 {
			at = at/testPages*testPages + random.IntN(200)
		}
		bit := byte(1) << random.IntN(8)
		t.Run(fmt.Sprintf("byte %d bit %#x", at, bit), func(t *testing.T) {
			broken := bytes.Clone(b.content)
			broken[at] ^= bit
			b.put(t, broken)

			log := openToRead(t, b.dir, b.options)
			if found, _ := b.read(t, log); len(found) < len(b.commits)*3/4 {
				t.Errorf("found %d of %d", len(found), len(b.commits))
			}
			shut(t, log)
			log, err := Open(b.dir, quiet(b.options))
			if err != nil {
				wantDamage(t, "Open", err, segmentName(1), 0, "")
				return
			}
			opened++
			b.wantSafe(t, log)
			shut(t, log)
		})
	}
	if opened < 20 {
		t.Errorf("of 200, %d were opened", opened)
	}
}

// What was moved to an archive has positions, and hardly any bytes: what comes behind it is found all the same.
func TestAnArchivedSegmentThatBreaksIsHadBack(t *testing.T) {
	const sessions, samples = 6, 1000
	dir, b := t.TempDir(), eventlogtest.NewBuilder("ev.supply.done")
	moved := map[eventlog.Stream]eventlog.Moved{}
	var commits []eventlog.Commit
	for i := range sessions {
		session := eventlog.Stream(fmt.Sprint("session-", i))
		commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `"occupied"`), eventlogtest.Lifecycle(session, `"authorized"`)))
		for range samples {
			commits = append(commits, b.Commit(eventlog.Cause{}, eventlogtest.Sample(session, `"sampled"`)))
		}
		moved[session] = eventlog.Moved{Before: b.Head(session).Version, Archive: "2026-08.jsonl.gz"}
		commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `"released"`), eventlogtest.Closing(session, `"ticket"`)))
	}
	log := open(t, dir, Options{})
	if n := appendAll(t, log, commits); n != len(commits) {
		t.Fatalf("append %d fails", n)
	}
	shut(t, log)
	if n, err := Archive(t.Context(), dir, quiet(Options{}), moved); n != sessions*(samples-1) || err != nil {
		t.Fatalf("%d commits are moved, %v", n, err)
	}
	rewriteFile(t, filepath.Join(dir, segmentName(1)), func(c []byte) []byte {
		if len(c)/leastRecord > len(commits)/2 {
			t.Fatalf("a file of %d bytes is too large for this test", len(c))
		}
		c[pageHeader] ^= 1 // of the first page alone
		return c
	})

	log = openToRead(t, dir, Options{})
	for stream := range moved {
		if head, err := log.Head(t.Context(), stream); head != b.Head(stream) || err != nil {
			t.Errorf("%s has head %+v, %v", stream, head, err)
		}
	}
	for i, c := range commits {
		if c.Cause.IsZero() {
			continue
		}
		if found, ok, err := log.ByCause(t.Context(), c.Cause); !ok || found.ID != c.ID || err != nil {
			t.Errorf("commit %d is not found: %v", i, err)
		}
	}
}
