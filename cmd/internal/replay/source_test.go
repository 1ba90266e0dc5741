package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/jsonl"
	"evcharging/adapters/memory"
	"evcharging/adapters/mongo"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
	"evcharging/cmd/internal/program"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// history is that of some points whose sessions overlap.
func history(b *eventlogtest.Builder) (commits []eventlog.Commit) {
	for i := range 40 {
		for p := range 5 {
			point := eventlog.Stream(fmt.Sprint("point-CP-", p))
			session := eventlog.Stream(fmt.Sprintf("session-%d-%d", p, i))
			commits = append(commits,
				b.Commit(b.Cause(), eventlogtest.Lifecycle(point, `"occupied"`), eventlogtest.Lifecycle(session, `"authorized"`)),
				b.Commit(eventlog.Cause{}, eventlogtest.Sample(session, `"sampled"`)),
				b.Commit(b.Cause(), eventlogtest.Lifecycle(point, `"released"`), eventlogtest.Closing(session, `"ended"`, `"ticket"`)))
		}
	}
	return commits
}

func lines(t *testing.T, commits []eventlog.Commit) string {
	t.Helper()
	var text bytes.Buffer
	for i, c := range commits {
		line, err := jsonl.Encode(eventlog.Positioned{Position: eventlog.Position(i + 1), Commit: c})
		if err != nil {
			t.Fatal(err)
		}
		text.Write(line)
	}
	return text.String()
}

func openLog(t *testing.T, name, stdin string) (*Source, error) {
	t.Helper()
	p := &program.Process{Stdin: strings.NewReader(stdin), Stdout: io.Discard, Stderr: io.Discard, Logger: quiet}
	s, err := openSource(t.Context(), p, name, mongo.Config{})
	if err == nil {
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return s, err
}

func TestALogIsTheSameWhereverItIs(t *testing.T) {
	b := eventlogtest.NewBuilder("ev.supply.done")
	commits := history(b)
	folder := filepath.Join(t.TempDir(), "log")
	log, err := bbolt.Open(folder, bbolt.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commits {
		if err := log.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "log.jsonl")
	trailer, err := export(t.Context(), log, log.NetworkID(), file, nil, func() {})
	if err == nil {
		_, err = export(t.Context(), log, log.NetworkID(), file+".gz", nil, func() {})
	}
	if err != nil {
		t.Fatal(err)
	}
	network := log.NetworkID()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	for what, source := range map[string][2]string{
		"a folder":       {folder},
		"a file":         {file},
		"a packed file":  {file + ".gz"},
		"standard input": {"-", lines(t, commits)},
		// A part of it that comes twice is there once.
		"lines that repeat": {"-", lines(t, commits) + lines(t, commits[100:])},
	} {
		t.Run(what, func(t *testing.T) {
			s, err := openLog(t, source[0], source[1])
			if err != nil {
				t.Fatal(err)
			}
			streams := map[eventlog.Stream][]eventlog.Part{}
			for _, c := range commits {
				for _, p := range c.Parts {
					streams[p.Stream] = append(streams[p.Stream], p)
				}
			}
			for stream, want := range streams {
				for c, err := range s.Read(t.Context(), stream, 1) {
					if err != nil || c.Parts[0].Hash != want[0].Hash {
						t.Fatalf("%s: %v, %v, want %v", stream, c, err, want[0])
					}
					want = want[1:]
				}
				if len(want) > 0 {
					t.Errorf("%s misses %d parts", stream, len(want))
				}
			}
			if end, err := s.End(t.Context()); err != nil || int(end) != len(commits) {
				t.Errorf("it ends at %d, %v, want %d", end, err, len(commits))
			}
			if known := s.Network == network; known != (source[1] == "") {
				t.Errorf("it is of network %s, want %s", s.Network, network)
			}
			var again bytes.Buffer
			same, err := export(t.Context(), s, s.Network, "-", &again, func() {})
			if err != nil || strings.Count(again.String(), "\n") != 1+len(commits)+1 || same.Digest != trailer.Digest || same.Streams != trailer.Streams {
				t.Errorf("exported again it has %d lines, %v: %+v, want %+v", strings.Count(again.String(), "\n"), err, same, trailer)
			}
		})
	}
}

func TestWhatIsNoLogIsSaid(t *testing.T) {
	b := eventlogtest.NewBuilder("ev.supply.done")
	commits := history(b)
	empty, inUse := t.TempDir(), t.TempDir()
	log, err := bbolt.Open(inUse, bbolt.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	text := lines(t, commits)
	torn := text[:len(text)-10]
	var changed []string
	for i, line := range strings.SplitAfter(text, "\n") {
		if i == 7 {
			line = strings.Replace(line, "sampled", "simpled", 1)
		}
		changed = append(changed, line)
	}
	for what, c := range map[string]struct{ source, stdin, says string }{
		"nothing there":             {source: filepath.Join(empty, "none"), says: "there is no event log at"},
		"a folder of anything":      {source: empty, says: "there is no event log in the folder"},
		"a folder that is in use":   {source: inUse, says: "read through its pages"},
		"a line that is torn":       {source: "-", stdin: torn, says: fmt.Sprintf("line %d of standard input", len(commits))},
		"a text that was changed":   {source: "-", stdin: strings.Join(changed, ""), says: "line 8 of standard input: malformed commit"},
		"a line that was taken out": {source: "-", stdin: lines(t, append(commits[:20:20], commits[21:]...)), says: "point-CP-1 goes on at version 5, and what is there ends at 3"},
		"nobody who answers":        {source: "http://127.0.0.1:1", says: "Central does not answer at 127.0.0.1:1"},
	} {
		t.Run(what, func(t *testing.T) {
			if _, err := openLog(t, c.source, c.stdin); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v, want %q", err, c.says)
			}
		})
	}
	if left, err := os.ReadDir(empty); err != nil || len(left) != 0 {
		t.Errorf("looking for a log has made %v, %v", left, err)
	}
}

func TestAnExportIsThereOnceItIsWhole(t *testing.T) {
	log := memory.NewLog()
	defer log.Close()
	b := eventlogtest.NewBuilder("ev.supply.done")
	for _, c := range history(b) {
		if err := log.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "log.jsonl")
	ctx, stop := context.WithCancel(t.Context())
	wrote := 0
	_, err := export(ctx, log, uuid.Nil, file, io.Discard, func() {
		if wrote++; wrote == 10 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a stopped export says %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(file)); len(left) != 0 {
		t.Errorf("a stopped export leaves %v", left)
	}
}
