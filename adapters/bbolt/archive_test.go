package bbolt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// sampled is a folder with the log of some sessions.
func sampled(t *testing.T, o Options) (dir string, s *eventlogtest.Sessions) {
	t.Helper()
	dir, s = filepath.Join(t.TempDir(), "log"), eventlogtest.NewSessions()
	s.Store(t, func(t *testing.T) eventlog.Log { return open(t, dir, o) })
	return dir, s
}

func TestArchive(t *testing.T) {
	for name, o := range map[string]Options{"one segment": {}, "many segments": small, "some segments": {segmentSize: 7000}} {
		t.Run(name, func(t *testing.T) {
			eventlogtest.RunArchive(t, func(t *testing.T) (eventlogtest.Open, eventlogtest.Archive) {
				dir := t.TempDir()
				return func(t *testing.T) eventlog.Log { return open(t, dir, o) },
					func(t *testing.T, moved map[eventlog.Stream]eventlog.Moved) int {
						removed, err := Archive(t.Context(), dir, quiet(o), moved)
						if err != nil {
							t.Fatal(err)
						}
						return removed
					}
			})
		})
	}
}

func TestNoLogIsArchivedBesideWhoHasIt(t *testing.T) {
	dir, s := sampled(t, small)
	log := open(t, dir, small)
	if _, err := Archive(t.Context(), dir, quiet(small), s.Moved); !errors.Is(err, ErrInUse) {
		t.Errorf("it says %v", err)
	}
	shut(t, log)
}

func TestAnOlderProgramLeavesAnArchivedLogAlone(t *testing.T) {
	dir, s := sampled(t, small)
	if _, err := Archive(t.Context(), dir, quiet(small), s.Moved); err != nil {
		t.Fatal(err)
	}
	if manifest, err := os.ReadFile(filepath.Join(dir, manifestName)); err != nil || !strings.Contains(string(manifest), "format 2\n") {
		t.Errorf("an older program takes it for its own: %s, %v", manifest, err)
	}
}

func TestACrashWhileArchivingLosesNothing(t *testing.T) {
	for n := 0; ; n++ {
		dir, s := sampled(t, small)
		crash := &crashAt{n: n}
		o := small
		o.fault = crash.step
		_, err := Archive(t.Context(), dir, quiet(o), s.Moved)
		if err != nil && !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		if len(crash.steps) <= n {
			return // all steps have passed
		}
		log := open(t, dir, small)
		s.Told(t, log)
		s.WantLeft(t, log, false)
		shut(t, log)
		if _, err := Archive(t.Context(), dir, quiet(small), s.Moved); err != nil {
			t.Fatalf("then it says %v", err)
		}
		log = open(t, dir, small)
		s.Told(t, log)
		s.WantLeft(t, log, true)
		shut(t, log)
		if t.Failed() {
			t.Fatalf("after a crash at %s", crash.steps[n])
		}
	}
}

// What stands in the place of the samples is checked as everything else.
func TestDamageOfWhatRemainsIsFound(t *testing.T) {
	dir, s := sampled(t, Options{})
	if _, err := Archive(t.Context(), dir, quiet(Options{}), s.Moved); err != nil {
		t.Fatal(err)
	}
	rewriteFile(t, filepath.Join(dir, segmentName(1)), func(text []byte) []byte {
		changed := strings.Replace(string(text), "2026-08.jsonl.gz", "2026-09.jsonl.gz", 1)
		if changed == string(text) {
			t.Fatal("the archive is not named")
		}
		return []byte(changed)
	})
	log, err := Open(dir, quiet(Options{}))
	if err == nil {
		defer log.Close()
		for _, err = range log.All(t.Context(), 1) {
			if err != nil {
				break
			}
		}
	}
	var a *eventlog.ArchivedError
	if !errors.Is(err, eventlog.ErrDamaged) || errors.As(err, &a) {
		t.Errorf("it says %v", err)
	}
}
