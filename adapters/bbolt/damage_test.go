package bbolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

const (
	sound  eventlog.Stream = "session-sound"
	victim eventlog.Stream = "session-victim"
)

// spoil changes every occurrence of a text in a file.
func spoil(t *testing.T, path, text string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(content, []byte(text)) {
		t.Fatalf("%s has no %q", path, text)
	}
	changed := []byte(text)
	changed[len(changed)-1] ^= 1
	if err := os.WriteFile(path, bytes.ReplaceAll(content, []byte(text), changed), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rewriteFile(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// two makes a log of two streams, a commit of one and a commit of the other by turns; the
// victim's third part holds "victim 3", and is at position 6.
func two(t *testing.T, dir string, o Options) (*eventlogtest.Builder, []eventlog.Commit) {
	t.Helper()
	b := eventlogtest.NewBuilder("ev.health")
	var commits []eventlog.Commit
	for _, n := range []string{"1", "2", "3", "4"} {
		commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle(sound, `"sound `+n+`"`)),
			b.Commit(b.Cause(), eventlogtest.Lifecycle(victim, `"victim `+n+`"`)))
	}
	log := open(t, dir, o)
	if n := appendAll(t, log, commits); n != len(commits) {
		t.Fatalf("append %d fails", n)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return b, commits
}

// wantDamage asks that an error names a place. A position of 0 may be any.
func wantDamage(t *testing.T, what string, err error, where string, at eventlog.Position, stream eventlog.Stream) {
	t.Helper()
	var damage *eventlog.DamagedError
	if !errors.As(err, &damage) || !errors.Is(err, eventlog.ErrDamaged) {
		t.Errorf("%s: %v, want a DamagedError", what, err)
		return
	}
	if damage.Where != where || at != 0 && damage.Position != at || damage.Stream != stream || damage.Reason == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: %q, want %s, position %d, stream %q", what, err, where, at, stream)
	}
}

// wantSound asks that the other stream goes on.
func wantSound(t *testing.T, log *Log, b *eventlogtest.Builder) {
	t.Helper()
	n := 0
	for _, err := range log.Read(t.Context(), sound, 0) {
		if err != nil {
			t.Errorf("the sound stream: %v", err)
		}
		n++
	}
	if parts, err := log.Rehydrate(t.Context(), sound); n != 4 || len(parts) != 4 || err != nil {
		t.Errorf("the sound stream: read %d parts, rehydrated %d, %v", n, len(parts), err)
	}
	fork := b.Fork()
	if err := log.Append(t.Context(), fork.Commit(fork.Cause(), eventlogtest.Lifecycle(sound, `"sound 5"`), eventlogtest.Lifecycle("session-new", `1`))); err != nil {
		t.Errorf("the sound stream: %v", err)
	}
}

func TestABodyThatWasChangedIsDamageOfItsStreamAlone(t *testing.T) {
	for name, o := range map[string]Options{"of the newest segment": {}, "of a segment with an index": small} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b, commits := two(t, dir, o)
			segments, _, err := list(dir)
			if err != nil {
				t.Fatal(err)
			}
			var where string
			for _, first := range segments {
				if first <= 6 {
					where = segmentName(first)
				}
			}
			spoil(t, filepath.Join(dir, where), `["victim 3"`)

			log := open(t, dir, o)
			// what stands before it can be read, it can't
			var read []eventlog.Commit
			for c, readErr := range log.Read(t.Context(), victim, 0) {
				if err = readErr; err == nil {
					read = append(read, c)
				}
			}
			if len(read) > 2 {
				t.Errorf("read %d parts", len(read))
			}
			wantDamage(t, "Read", err, where, 6, victim)
			_, err = log.Rehydrate(t.Context(), victim)
			wantDamage(t, "Rehydrate", err, where, 6, victim)
			_, _, err = log.ByCause(t.Context(), commits[5].Cause)
			wantDamage(t, "ByCause", err, where, 6, victim)
			wantDamage(t, "Append", log.Append(t.Context(), commits[5]), where, 6, victim)
			// who reads everything may go on behind it
			var all []eventlog.Position
			var damage *eventlog.DamagedError
			for from := eventlog.Position(1); from != 0; {
				next := eventlog.Position(0)
				for c, err := range log.All(t.Context(), from) {
					if errors.As(err, &damage) {
						next = damage.Position + 1
					} else {
						all = append(all, c.Position)
					}
				}
				from = next
			}
			if !slices.Equal(all, []eventlog.Position{1, 2, 3, 4, 5, 7, 8}) {
				t.Errorf("read positions %d", all)
			}
			wantSound(t, log, b)
		})
	}
}

func TestAHeaderThatWasChangedIsDamageOfItsStreamAlone(t *testing.T) {
	dir := t.TempDir()
	b, commits := two(t, dir, Options{})
	last := commits[7] // nothing comes after it that would show the gap
	spoil(t, filepath.Join(dir, segmentName(1)), string(last.ID[:]))

	for range 2 { // it is not forgotten
		log := open(t, dir, Options{})
		_, err := log.Head(t.Context(), victim)
		wantDamage(t, "Head", err, segmentName(1), 8, victim)
		wantDamage(t, "Append", log.Append(t.Context(), b.Fork().Commit(eventlog.Cause{}, eventlogtest.Lifecycle(victim, `5`))), segmentName(1), 8, victim)
		n := 0
		for _, readErr := range log.Read(t.Context(), victim, 0) {
			n++
			err = readErr
		}
		if n != 4 {
			t.Errorf("read %d, want three parts and an error", n)
		}
		wantDamage(t, "Read", err, segmentName(1), 8, victim)
		_, err = log.Rehydrate(t.Context(), victim)
		wantDamage(t, "Rehydrate", err, segmentName(1), 8, victim)
		if head, err := log.Head(t.Context(), sound); err != nil || head != b.Head(sound) {
			t.Errorf("the sound stream: %+v, %v", head, err)
		}
		shut(t, log)
	}
	// and once the segment has its index, it is known from there
	o := small
	log := open(t, dir, o)
	wantSound(t, log, b)
	log.indexing.Wait()
	shut(t, log)
	log = open(t, dir, o)
	_, err := log.Head(t.Context(), victim)
	wantDamage(t, "Head, from the index", err, segmentName(1), 8, victim)
}

func TestALostPartIsSeenByTheOneAfterIt(t *testing.T) {
	// given a record in the middle whose streams can't be told
	dir := t.TempDir()
	_, commits := two(t, dir, Options{})
	sixth := encode(commits[5])
	spoil(t, filepath.Join(dir, segmentName(1)), string(sixth[:recordPrefix-3])) // its length

	// nothing may be written: it could be the end of any stream
	_, err := Open(dir, quiet(Options{}))
	wantDamage(t, "Open", err, segmentName(1), 6, "")
	log := openToRead(t, dir, Options{})
	_, err = log.Rehydrate(t.Context(), victim)
	wantDamage(t, "Rehydrate", err, segmentName(1), 8, victim)
	if _, err := log.Rehydrate(t.Context(), sound); err != nil {
		t.Errorf("the sound stream: %v", err)
	}
}

func TestAPartThatWasForgedIsSeenByTheOneAfterIt(t *testing.T) {
	// given a part that somebody replaced, with hash and checksum as they should be
	dir := t.TempDir()
	b, commits := two(t, dir, Options{})
	forged := commits[5]
	forged.Parts = slices.Clone(forged.Parts)
	forged.Parts[0].Body = []byte(`["victim paid"]`)
	forged.Parts[0].Hash = forged.Parts[0].Sum()
	db, err := bolt.Open(filepath.Join(dir, segmentName(1)), 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error { return tx.Bucket(commitsBucket).Put(positionKey(6), encode(forged)) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}

	// when the log was open meanwhile, or had an index, it knows no more of it than where it is
	log := open(t, dir, Options{})
	c := log.contents.Load()
	c.mu.Lock()
	s := c.streams[victim]
	s.damage = 0
	c.streams[victim] = s
	c.mu.Unlock()

	// then its successor gives it away
	_, err = log.Rehydrate(t.Context(), victim)
	wantDamage(t, "Rehydrate", err, segmentName(1), 8, victim)
	for _, err = range log.Read(t.Context(), victim, 0) {
	}
	wantDamage(t, "Read", err, segmentName(1), 8, victim)
	wantSound(t, log, b)
}

func TestASegmentThatIsGoneOrCutIsDamageOfItsStreamsAlone(t *testing.T) {
	for name, damage := range map[string]func(*testing.T, string){
		"gone": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"empty": func(t *testing.T, path string) { rewriteFile(t, path, func([]byte) []byte { return nil }) },
		"cut": func(t *testing.T, path string) {
			rewriteFile(t, path, func(c []byte) []byte { return c[:2*os.Getpagesize()] })
		},
		"overwritten": func(t *testing.T, path string) { rewriteFile(t, path, func(c []byte) []byte { clear(c); return c }) },
		"its pages overwritten": func(t *testing.T, path string) {
			rewriteFile(t, path, func(c []byte) []byte {
				for i := range c[2*os.Getpagesize():] {
					c[2*os.Getpagesize()+i] = 0xa5
				}
				return c
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			// given a stream whose parts are in a segment with an index
			dir := t.TempDir()
			b := eventlogtest.NewBuilder("ev.health")
			log := open(t, dir, small)
			appendAll(t, log, []eventlog.Commit{b.Commit(b.Cause(), eventlogtest.Closing(victim, `"`+strings.Repeat("v", 1000)+`"`))})
			var commits []eventlog.Commit
			for range 4 {
				commits = append(commits, b.Commit(b.Cause(), eventlogtest.Lifecycle(sound, `1`)))
			}
			if n := appendAll(t, log, commits); n != len(commits) {
				t.Fatalf("append %d fails", n)
			}
			shut(t, log)
			damage(t, filepath.Join(dir, segmentName(1)))

			log = open(t, dir, small)
			_, err := log.Rehydrate(t.Context(), victim)
			wantDamage(t, "Rehydrate", err, segmentName(1), 1, victim)
			for _, err = range log.All(t.Context(), 0) {
				break
			}
			wantDamage(t, "All", err, segmentName(1), 1, "")
			wantSound(t, log, b)
		})
	}
}

func TestTheNewestSegmentBrokenRefusesToOpen(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"empty": func([]byte) []byte { return nil },
		"cut":   func(c []byte) []byte { return c[:3*os.Getpagesize()] },
		"zeros": func(c []byte) []byte { clear(c); return c },
		"its pages overwritten": func(c []byte) []byte {
			for i := range c[2*os.Getpagesize():] {
				c[2*os.Getpagesize()+i] = 0xa5
			}
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			two(t, dir, Options{})
			rewriteFile(t, filepath.Join(dir, segmentName(1)), change)
			_, err := Open(dir, quiet(Options{}))
			wantDamage(t, "Open", err, segmentName(1), 0, "")
		})
	}
	// Else it would be as it was a write ago, without the last commit.
	t.Run("its first page another file's", func(t *testing.T) {
		dir, other := t.TempDir(), t.TempDir()
		two(t, dir, Options{})
		if err := makeSegment(other, 1, Options{}.at); err != nil {
			t.Fatal(err)
		}
		foreign, err := os.ReadFile(filepath.Join(other, segmentName(1)))
		if err != nil {
			t.Fatal(err)
		}
		rewriteFile(t, filepath.Join(dir, segmentName(1)), func(c []byte) []byte {
			copy(c, foreign[:os.Getpagesize()])
			return c
		})
		_, err = Open(dir, quiet(Options{}))
		wantDamage(t, "Open", err, segmentName(1), 0, "")
	})
	t.Run("its first two pages exchanged", func(t *testing.T) {
		dir, size := t.TempDir(), os.Getpagesize()
		two(t, dir, Options{})
		rewriteFile(t, filepath.Join(dir, segmentName(1)), func(c []byte) []byte {
			return slices.Concat(c[size:2*size], c[:size], c[2*size:])
		})
		_, err := Open(dir, quiet(Options{}))
		wantDamage(t, "Open", err, segmentName(1), 0, "")
	})
	t.Run("gone", func(t *testing.T) {
		dir := t.TempDir()
		two(t, dir, Options{})
		remove(t, dir, segmentName(1))
		_, err := Open(dir, quiet(Options{}))
		wantDamage(t, "Open", err, segmentName(1), 0, "")
	})
	t.Run("gone, and the indices of those before it", func(t *testing.T) {
		dir := t.TempDir()
		two(t, dir, small)
		segments, _, err := list(dir)
		if err != nil || len(segments) < 2 {
			t.Fatal(segments, err)
		}
		if err := removeIndices(dir); err != nil {
			t.Fatal(err)
		}
		remove(t, dir, segmentName(1))
		_, err = Open(dir, quiet(small))
		wantDamage(t, "Open", err, segmentName(1), 0, "")
	})
}

func TestIndicesThatAreGoneOrBrokenAreMadeAgain(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"the directory gone":        func(t *testing.T, dir string) { remove(t, dir, directoryName) },
		"the directory cut":         func(t *testing.T, dir string) { cut(t, dir, directoryName) },
		"the directory overwritten": func(t *testing.T, dir string) { overwrite(t, dir, directoryName) },
		"an entry of the directory changed": func(t *testing.T, dir string) {
			spoil(t, filepath.Join(dir, directoryName), "point-CP-001")
		},
		"the name of a closed stream changed": func(t *testing.T, dir string) {
			spoil(t, filepath.Join(dir, directoryName), "session-0-")
		},
		"an index gone":        func(t *testing.T, dir string) { remove(t, dir, indexName(1)) },
		"an index cut":         func(t *testing.T, dir string) { cut(t, dir, indexName(1)) },
		"an index overwritten": func(t *testing.T, dir string) { overwrite(t, dir, indexName(1)) },
		"an index changed": func(t *testing.T, dir string) {
			spoil(t, filepath.Join(dir, indexName(1)), "session-0-0")
		},
		"an index that lacks causes": func(t *testing.T, dir string) {
			rewriteFile(t, filepath.Join(dir, indexName(1)), lackCauses)
		},
		"an index that is another's": func(t *testing.T, dir string) {
			_, indices, err := list(dir)
			if err != nil || len(indices) < 3 {
				t.Fatal(indices, err)
			}
			other, err := os.ReadFile(filepath.Join(dir, indexName(indices[2])))
			if err != nil {
				t.Fatal(err)
			}
			rewriteFile(t, filepath.Join(dir, indexName(1)), func([]byte) []byte { return other })
		},
		"all of them gone": func(t *testing.T, dir string) {
			if err := removeIndices(dir); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := eventlogtest.NewBuilder("ev.health")
			commits := supplies(b, 8)
			log := open(t, dir, small)
			appendAll(t, log, commits)
			shut(t, log)

			damage(t, dir)
			log = open(t, dir, small)
			eventlogtest.Holds(t, log, b, commits)
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// lackCauses takes the causes out of an index, by a bit in the length of their bucket's list.
func lackCauses(index []byte) []byte {
	prefix := partition{topic: "ev.health"}.prefix()
	at := bytes.Index(index, prefix)
	for ; at > 0; at-- { // back to the page that is in the bucket: a leaf with one element
		if page := index[at:]; native.Uint16(page[8:]) == leafPage && native.Uint16(page[10:]) == 1 && at%8 == 0 {
			break
		}
	}
	index[at+10] ^= 1
	return index
}

func cut(t *testing.T, dir, name string) {
	rewriteFile(t, filepath.Join(dir, name), func(c []byte) []byte { return c[:2*os.Getpagesize()] })
}

func overwrite(t *testing.T, dir, name string) {
	rewriteFile(t, filepath.Join(dir, name), func(c []byte) []byte { return bytes.Repeat([]byte{0xa5}, len(c)) })
}

func TestAnIndexThatIsBrokenSaysHowToMendIt(t *testing.T) {
	for name, damage := range map[string]func(*testing.T, string, string){
		"cut":         cut,
		"overwritten": overwrite,
		"changed":     func(t *testing.T, dir, name string) { spoil(t, filepath.Join(dir, name), "session-0-0") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := eventlogtest.NewBuilder("ev.health")
			commits := supplies(b, 8)
			log := open(t, dir, small)
			appendAll(t, log, commits)
			shut(t, log)
			log = open(t, dir, small)
			damage(t, dir, indexName(1))
			_, err := log.Head(t.Context(), "session-0-0")
			wantDamage(t, "Head", err, indexName(1), 0, "session-0-0")
			if !strings.Contains(err.Error(), "start it") {
				t.Errorf("%q does not say what to do", err)
			}
			shut(t, log)
			eventlogtest.Holds(t, open(t, dir, small), b, commits)
		})
	}
}

func removeIndices(dir string) error {
	_, indices, err := list(dir)
	for _, first := range indices {
		err = errors.Join(err, os.Remove(filepath.Join(dir, indexName(first))))
	}
	return errors.Join(err, os.Remove(filepath.Join(dir, directoryName)))
}
