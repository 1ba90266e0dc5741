package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/jsonl"
	"evcharging/adapters/memory"
	"evcharging/adapters/mongo"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
	"evcharging/cmd/internal/program"
)

// exported is a log as the file that ev-replay export writes.
func exported(t *testing.T, network uuid.UUID, commits []eventlog.Commit, name string) (file string, trailer jsonl.Trailer) {
	t.Helper()
	log := memory.NewLog()
	for _, c := range commits {
		if err := log.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(t.TempDir(), name)
	trailer, err := export(t.Context(), log, network, file, nil, func() {})
	if err != nil {
		t.Fatal(err)
	}
	return file, trailer
}

func imported(t *testing.T, source, log string) (printed string, err error) {
	t.Helper()
	return run(t, "", func(p *program.Process) error {
		return Import(t.Context(), p, ImportConfig{Source: source, Log: log, Mongo: mongo.Config{Logger: quiet}})
	})
}

// content is what an export of a log comes to.
func content(t *testing.T, name string) (jsonl.Trailer, uuid.UUID) {
	t.Helper()
	s, err := openLog(t, name, "")
	if err != nil {
		t.Fatal(err)
	}
	trailer, err := export(t.Context(), s, s.Network, "-", &bytes.Buffer{}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.close = nil
	return trailer, s.Network
}

var known = uuid.MustParse("f8870a5b-85dd-484f-977d-c83cfbf44278")

// everywhere does something for each kind of log that can be imported into; place names an
// empty one.
func everywhere(t *testing.T, do func(t *testing.T, place func() string)) {
	t.Run("a folder", func(t *testing.T) {
		do(t, func() string { return filepath.Join(t.TempDir(), "log") })
	})
	t.Run("MongoDB", func(t *testing.T) {
		do(t, func() string {
			uri, _ := withDatabase(t)
			return uri
		})
	})
}

func TestALogIsImportedAndIsTheSame(t *testing.T) {
	commits := history(eventlogtest.NewBuilder("ev.supply.done"))
	file, whole := exported(t, known, commits, "log.jsonl.gz")
	everywhere(t, func(t *testing.T, place func() string) {
		first, second := place(), place()
		if printed, err := imported(t, file, first); err != nil || printed != "imported 600 commits\n" {
			t.Fatalf("%v, it prints %s", err, printed)
		}
		if printed, err := imported(t, first, second); err != nil || printed != "imported 600 commits\n" {
			t.Fatalf("from there on: %v, it prints %s", err, printed)
		}
		for _, log := range []string{first, second} {
			got, of := content(t, log)
			if got.Digest != whole.Digest || got.Commits != whole.Commits || got.Events != whole.Events || got.Streams != whole.Streams || of != known {
				t.Errorf("it holds %+v of %s, want %+v of %s", got, of, whole, known)
			}
		}
		if printed, err := imported(t, file, second); err != nil || printed != "imported 0 commits; 600 commits there already\n" {
			t.Errorf("once more: %v, it prints %s", err, printed)
		}
	})
}

func TestAnImportAddsWhatIsMissing(t *testing.T) {
	commits := history(eventlogtest.NewBuilder("ev.supply.done"))
	whole, trailer := exported(t, known, commits, "whole.jsonl")
	begin, _ := exported(t, known, commits[:250], "begin.jsonl")
	var rest strings.Builder // what /log?from=201 answers
	log := memory.NewLog()
	for _, c := range commits {
		if err := log.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := jsonl.Write(t.Context(), &rest, log, known, 201, func() {}); err != nil {
		t.Fatal(err)
	}
	end := filepath.Join(t.TempDir(), "end.jsonl")
	if err := os.WriteFile(end, []byte(rest.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	// Lines of an earlier version say no network.
	plain := filepath.Join(t.TempDir(), "plain.jsonl")
	if err := os.WriteFile(plain, []byte(lines(t, commits[:250])), 0o600); err != nil {
		t.Fatal(err)
	}
	everywhere(t, func(t *testing.T, place func() string) {
		for _, first := range []string{begin, plain} {
			log := place()
			if printed, err := imported(t, first, log); err != nil || printed != "imported 250 commits\n" {
				t.Fatalf("a part: %v, it prints %s", err, printed)
			}
			if first == plain {
				continue // it has got an id of its own
			}
			if printed, err := imported(t, whole, log); err != nil || printed != "imported 350 commits; 250 commits there already\n" {
				t.Errorf("the whole: %v, it prints %s", err, printed)
			}
			if got, _ := content(t, log); got.Digest != trailer.Digest {
				t.Errorf("it holds %+v, want %+v", got, trailer)
			}
			if printed, err := imported(t, begin, log); err != nil || printed != "imported 0 commits; 250 commits there already\n" {
				t.Errorf("a part of what is there: %v, it prints %s", err, printed)
			}
			if printed, err := imported(t, plain, log); err != nil || printed != "imported 0 commits; 250 commits there already\n" {
				t.Errorf("lines of an earlier version: %v, it prints %s", err, printed)
			}
		}
	})
	t.Run("what begins late", func(t *testing.T) {
		log := filepath.Join(t.TempDir(), "log")
		if _, err := imported(t, begin, log); err != nil {
			t.Fatal(err)
		}
		var gap *audit.GapError
		if _, err := imported(t, end, log); !errors.As(err, &gap) || gap.Ends != 0 {
			t.Errorf("it says %v", err)
		}
	})
}

// forked is a history that goes another way after some commits.
func forked(b *eventlogtest.Builder, all []eventlog.Commit, from int) []eventlog.Commit {
	again := eventlogtest.NewBuilder("ev.supply.done")
	for _, c := range all[:from] {
		for _, p := range c.Parts {
			again.Follow(p.Stream, eventlog.Head{Version: p.Last(), Hash: p.Hash, Kind: p.Kind})
		}
	}
	other := slices.Clone(all[:from])
	for _, c := range all[from:] {
		var drafts []eventlogtest.Draft
		for _, p := range c.Parts {
			drafts = append(drafts, eventlogtest.Lifecycle(p.Stream, `"another"`))
		}
		other = append(other, again.Commit(b.Cause(), drafts...))
	}
	return other
}

func TestAnImportThatContradictsStoresNothing(t *testing.T) {
	b := eventlogtest.NewBuilder("ev.supply.done")
	commits := history(b)
	there, _ := exported(t, known, commits[:300], "there.jsonl")
	fork := forked(b, commits, 297)
	point := fork[297].Parts[0]
	longer, _ := exported(t, known, fork, "longer.jsonl")
	shorter, _ := exported(t, known, fork[:298], "shorter.jsonl")
	stranger, _ := exported(t, uuid.MustParse("00000000-0000-4000-8000-000000000001"), commits, "stranger.jsonl")
	everywhere(t, func(t *testing.T, place func() string) {
		log := place()
		if _, err := imported(t, there, log); err != nil {
			t.Fatal(err)
		}
		before, _ := content(t, log)
		for _, file := range []string{longer, shorter} {
			_, err := imported(t, file, log)
			var contradiction *audit.ContradictionError
			if !errors.As(err, &contradiction) || contradiction.Stream != point.Stream || contradiction.Version != point.Version {
				t.Errorf("%s: it says %v, want %s at version %d", filepath.Base(file), err, point.Stream, point.Version)
			}
		}
		if _, err := imported(t, stranger, log); !errors.Is(err, ErrOtherNetwork) {
			t.Errorf("of another network it says %v", err)
		}
		if after, _ := content(t, log); after.Digest != before.Digest {
			t.Errorf("something was stored: %+v, before %+v", after, before)
		}
	})
}

// A file that is not whole, wherever it ends or was changed, is refused before anything is made.
func TestAFileThatIsNotWholeIsNotImported(t *testing.T) {
	commits := history(eventlogtest.NewBuilder("ev.supply.done"))
	file, _ := exported(t, known, commits[:9], "log.jsonl")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]byte{"changed": bytes.Replace(whole, []byte("sampled"), []byte("simpled"), 1), "empty.jsonl.gz": {}}
	all := bytes.SplitAfter(whole, []byte("\n"))
	for n := range len(all) - 1 {
		begin := bytes.Join(all[:n], nil)
		texts["before a line"+string(rune('a'+n))] = begin
		texts["in a line"+string(rune('a'+n))] = append(bytes.Clone(begin), all[n][:len(all[n])/2]...)
	}
	var pack bytes.Buffer
	zip := gzip.NewWriter(&pack)
	if _, err := zip.Write(whole); err != nil || zip.Close() != nil {
		t.Fatal(err)
	}
	texts["a byte of the pack.gz"] = bytes.Clone(pack.Bytes())
	texts["a byte of the pack.gz"][pack.Len()/2] ^= 0x10
	for n := 1; n < pack.Len(); n += 97 {
		texts[strings.Repeat("x", n%50)+string(rune('a'+n/50))+" cut.gz"] = pack.Bytes()[:n]
	}
	texts["the end of the pack.gz"] = pack.Bytes()[:pack.Len()-1]
	texts["behind the pack.gz"] = append(bytes.Clone(pack.Bytes()), "more"...)
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	for name, text := range texts {
		from := filepath.Join(dir, name)
		if err := os.WriteFile(from, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := imported(t, from, target)
		if err == nil || !strings.Contains(err.Error(), "line ") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: it says %v", name, err)
		}
		if name != "changed" && !errors.Is(err, jsonl.ErrCut) && !strings.HasPrefix(name, "a byte") && !strings.HasPrefix(name, "in a linea") {
			t.Errorf("%s: it says %v", name, err)
		}
		printed, err := verified(t, from, "")
		if !errors.Is(err, ErrFindings) || !strings.Contains(printed, "line ") {
			t.Errorf("%s: verify says %v\n%s", name, err, printed)
		}
	}
	if _, err := os.Stat(target); err == nil {
		t.Error("a log was made")
	}
}

func TestWhatNothingCanBeImportedInto(t *testing.T) {
	file, _ := exported(t, known, history(eventlogtest.NewBuilder("ev.supply.done"))[:9], "log.jsonl")
	for _, log := range []string{file, "-", "other.jsonl", "other.gz", "http://127.0.0.1:7080"} {
		if _, err := imported(t, file, log); !errors.Is(err, ErrNoTarget) {
			t.Errorf("into %s it says %v", log, err)
		}
	}
	dir := t.TempDir()
	used, err := bbolt.Open(dir, bbolt.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	if _, err := imported(t, file, dir); !errors.Is(err, bbolt.ErrInUse) {
		t.Errorf("into a log that is in use it says %v", err)
	}
}

// An import that was stopped goes on where it was.
func TestAnImportThatIsStoppedGoesOn(t *testing.T) {
	commits := history(eventlogtest.NewBuilder("ev.supply.done"))
	file, whole := exported(t, known, commits, "log.jsonl")
	folder := filepath.Join(t.TempDir(), "log")
	source, err := openLog(t, file, "")
	if err != nil {
		t.Fatal(err)
	}
	log, err := bbolt.Open(folder, bbolt.Options{Logger: quiet, Network: known})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var some atomic.Int64
	err = fill(ctx, log, source.All(ctx, 1), func() {
		if some.Add(1) == 300 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := imported(t, file, folder); err != nil {
		t.Fatal(err)
	}
	if got, _ := content(t, folder); got.Digest != whole.Digest {
		t.Errorf("it holds %+v, want %+v", got, whole)
	}
}

// growing is a log that a Central appends to while it is read.
type growing struct {
	eventlog.Log
	more func()
}

func (g growing) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	g.more()
	return g.Log.All(ctx, from)
}

func TestAnImportEndsWhereTheLogEndedWhenItBegan(t *testing.T) {
	b, log := eventlogtest.NewBuilder("ev.supply.done"), memory.NewLog()
	grow := func() {
		if err := log.Append(t.Context(), b.Commit(b.Cause(), eventlogtest.Lifecycle("point-CP-001", `"grown"`))); err != nil {
			t.Fatal(err)
		}
	}
	grow()
	to := memory.NewLog()
	for _, want := range []string{"imported 1 commit\n", "imported 1 commit; 1 commit there already\n"} {
		printed, err := run(t, "", func(p *program.Process) error {
			return take(t.Context(), p, &Source{Log: growing{log, grow}}, &target{Log: to})
		})
		if err != nil || printed != want {
			t.Fatalf("%v, it prints %s, not %s", err, printed, want)
		}
	}
}
