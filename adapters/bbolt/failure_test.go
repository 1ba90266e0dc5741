//go:build linux

package bbolt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// disk lets a test fill the disk under the segments that are open.
type disk struct {
	mu   sync.Mutex
	fds  []int
	full bool
}

func (d *disk) open(path string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fds = append(d.fds, int(f.Fd()))
	if d.full {
		err = d.fill(int(f.Fd()))
	}
	return f, err
}

// fill makes everything that is written to a file fail, as on a disk without room.
func (d *disk) fill(fd int) error {
	full, err := unix.Open("/dev/full", unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.Dup2(full, fd), unix.Close(full))
}

func (d *disk) setFull(t *testing.T, full bool) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
	if full {
		if err := d.fill(d.fds[len(d.fds)-1]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskFailsEveryAppendUntilTheLogHasReadBackWhatIsStored(t *testing.T) {
	// given a log on a disk that gets full
	b := eventlogtest.NewBuilder("ev.health")
	commits := supplies(b, 6)
	var d disk
	time := clock{at: time.UnixMilli(1_760_000_000_000)}
	o := small
	o.openFile, o.now = d.open, time.now
	dir := t.TempDir()
	log := open(t, dir, o)
	if n := appendAll(t, log, commits[:7]); n != 7 {
		t.Fatalf("append %d fails", n)
	}
	d.setFull(t, true)

	// when something is appended, then it fails, says so, and is not there
	wantFailure := func(when string, c eventlog.Commit) {
		t.Helper()
		err := log.Append(t.Context(), c)
		var conflict *eventlog.ConflictError
		var stored *eventlog.CauseStoredError
		if err == nil || errors.As(err, &conflict) || errors.As(err, &stored) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("%s: %v", when, err)
		}
	}
	wantFailure("full", commits[7])
	// and whatever comes next fails too, though there be room again
	d.setFull(t, false)
	wantFailure("at once", commits[7])
	// and who reads goes on
	if head, err := log.Head(t.Context(), "point-CP-001"); err != nil || head.Version == 0 {
		t.Errorf("head: %+v, %v", head, err)
	}
	if parts, err := log.Rehydrate(t.Context(), "point-CP-001"); err != nil || len(parts) == 0 {
		t.Errorf("rehydrated %d, %v", len(parts), err)
	}

	// when the disk is still full a while later, then it goes on failing
	d.setFull(t, true)
	time.pass(2 * healPause)
	wantFailure("still full", commits[7])
	if _, err := log.Head(t.Context(), "point-CP-001"); err != nil {
		t.Errorf("head: %v", err)
	}
	// and after that there is room
	d.setFull(t, false)
	time.pass(2 * healPause)
	if n := appendAll(t, log, commits[7:]); n != len(commits)-7 {
		t.Fatalf("append %d fails", n+7)
	}
	eventlogtest.Holds(t, log, b, commits)
	if doubtful, err := suspected(dir); doubtful || err != nil {
		t.Errorf("the mark is still there: %v", err)
	}
}

func TestAWriteThatFailedButIsStoredIsFoundAgain(t *testing.T) {
	// given a log whose sync fails, after all was written
	b := eventlogtest.NewBuilder("ev.health")
	commits := supplies(b, 4)
	time := clock{at: time.UnixMilli(1_760_000_000_000)}
	failing := 0
	var dir string
	o := small
	o.now = time.now
	o.fault = func(step string) error {
		if strings.HasPrefix(step, "written") && failing > 0 {
			failing--
			return errors.New("the sync fails")
		}
		return nil
	}
	for name, heal := range map[string]func(*testing.T, *Log) *Log{
		"by healing":       func(_ *testing.T, log *Log) *Log { time.pass(2 * healPause); return log },
		"by opening again": func(t *testing.T, log *Log) *Log { shut(t, log); return open(t, dir, o) },
	} {
		t.Run(name, func(t *testing.T) {
			dir = t.TempDir()
			log := open(t, dir, o)
			appendAll(t, log, commits[:6])
			failing = 1
			if err := log.Append(t.Context(), commits[6]); err == nil {
				t.Fatal("no error")
			}
			before := segmentInfo(t, dir)

			// when the same is appended again, then the log knows it, and has it once
			log = heal(t, log)
			if err := log.Append(t.Context(), commits[6]); err != nil {
				var stored *eventlog.CauseStoredError
				if !errors.As(err, &stored) || !same(stored.Stored, commits[6]) {
					t.Fatal(err)
				}
			}
			// and what it read that from is a copy that was synced
			if after := segmentInfo(t, dir); os.SameFile(before, after) {
				t.Error("the segment was not copied")
			}
			if n := appendAll(t, log, commits[7:]); n != len(commits)-7 {
				t.Fatalf("append %d fails", n+7)
			}
			eventlogtest.Holds(t, log, b, commits)
		})
	}
}

// segmentInfo is that of the newest segment.
func segmentInfo(t *testing.T, dir string) os.FileInfo {
	t.Helper()
	segments, _, err := list(dir)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, segmentName(segments[len(segments)-1])))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestAnIndexThatCanNotBeWrittenIsWrittenLater(t *testing.T) {
	for _, failing := range []string{"made 00000000000000000006.seg", "named 00000000000000000006.seg", "made 00000000000000000001.idx", "named 00000000000000000001.idx", "added 00000000000000000001.idx"} {
		t.Run(failing, func(t *testing.T) {
			b := eventlogtest.NewBuilder("ev.health")
			commits := supplies(b, 6)
			time := clock{at: time.UnixMilli(1_760_000_000_000)}
			fails := 1
			o := small
			o.now = time.now
			o.fault = func(step string) error {
				if step == failing && fails > 0 {
					fails--
					return errors.New("no room")
				}
				return nil
			}
			log := open(t, t.TempDir(), o)
			n := appendAll(t, log, commits)
			if n == len(commits) {
				t.Fatal("nothing fails")
			}
			time.pass(2 * healPause)
			if n += appendAll(t, log, commits[n:]); n != len(commits) {
				t.Fatalf("append %d fails", n)
			}
			eventlogtest.Holds(t, log, b, commits)
		})
	}
}
