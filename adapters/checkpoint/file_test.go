package checkpoint_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"evcharging/adapters/checkpoint"
	"evcharging/application/driver"
	"evcharging/domain"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("CHECKPOINT_TEST_WRITE"); path != "" {
		write(path)
	}
	goleak.VerifyTestMain(m)
}

// write keeps one checkpoint after another, and says each that is kept, until it is killed.
func write(path string) {
	f, at, _, err := checkpoint.Open(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for n := at.NextAt + 1; n < at.NextAt+10_000; n++ {
		if err := f.Keep(run(n)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(int64(n))
	}
	os.Exit(0)
}

func run(n domain.UnixMillis) driver.Checkpoint {
	price := domain.MicroEurosPerKWh(300_000)
	return driver.Checkpoint{
		Driver: "D-1", Points: []domain.PointID{"CP-1", "CP-2", "CP-1"}, NextAt: n,
		Supplies: []driver.Supply{{
			Point: "CP-1", Request: "R1", Session: "S1", Verdict: driver.Served, Energy: 9_000_000_000,
			Amount: 1, Reason: "FINISHED", Ticket: "T1", Revision: 2,
		}},
		Open: &driver.Open{Request: "R2", AskedAt: 5, Sent: true, Granted: true, Session: "S2", Price: &price},
	}
}

func open(t *testing.T, path string) (*checkpoint.File, driver.Checkpoint, bool) {
	t.Helper()
	f, at, found, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f, at, found
}

func TestWhatIsKeptIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt@D-1.checkpoint")
	f, _, found := open(t, path)
	if found {
		t.Fatal("there is something in a new file")
	}
	for n := range domain.UnixMillis(3) {
		if err := f.Keep(run(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, at, found := open(t, path)
	if !found || !reflect.DeepEqual(at, run(2)) {
		t.Errorf("got %+v, %t", at, found)
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if err := f.Keep(run(1)); !errors.Is(err, checkpoint.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestAFileThatKeepsNothingIsNotLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.checkpoint")
	f, _, _ := open(t, path)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestOneRunAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.checkpoint")
	f, _, _ := open(t, path)
	for n := range domain.UnixMillis(2) {
		if _, _, _, err := checkpoint.Open(path); !errors.Is(err, checkpoint.ErrInUse) {
			t.Errorf("a second one got %v", err)
		}
		// The lock outlives the file that is replaced.
		if err := f.Keep(run(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, at, _ := open(t, path); at.NextAt != 1 {
		t.Errorf("got %+v", at)
	}
}

func TestDamageIsRefused(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole")
	f, _, _ := open(t, whole)
	if err := errors.Join(f.Keep(run(1)), f.Close()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(old, new string) string {
		if !strings.Contains(string(text), old) {
			t.Fatalf("there is no %q in %s", old, text)
		}
		return strings.Replace(string(text), old, new, 1)
	}
	for name, damaged := range map[string]string{
		"cut off":               string(text[:len(text)/2]),
		"something else":        "CP-001\nCP-002\n",
		"two objects":           string(text) + string(text),
		"zeros":                 strings.Repeat("\x00", 512),
		"a newer format":        replaced(`"format": 1`, `"format": 2`),
		"a field of the future": replaced(`"format": 1`, `"format": 1, "speed": 1`),
		"bytes after the end":   string(text) + "x",
		"another point":         replaced(`"point": "CP-1"`, `"point": "CP-3"`),
		"an open one too many":  replaced("\"CP-1\",\n\t\t\"CP-2\",\n\t\t\"CP-1\"", `"CP-1"`),
		"no driver":             replaced(`"driver": "D-1"`, `"driver": ""`),
		"no request":            replaced(`"request": "R2"`, `"request": ""`),
		"no point":              replaced(`"CP-2"`, `"CP 2"`),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.checkpoint")
			if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			f, _, _, err := checkpoint.Open(path)
			if !errors.Is(err, checkpoint.ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, %v", f, err)
			}
			// It is not touched.
			if left, err := os.ReadFile(path); err != nil || string(left) != damaged {
				t.Errorf("it is now %q, %v", left, err)
			}
		})
	}
}

func TestAKillBeforeTheRenameLeavesTheOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.checkpoint")
	f, _, _ := open(t, path)
	if err := errors.Join(f.Keep(run(1)), f.Close(), os.WriteFile(path+".next", []byte(`{"format": 1, "dri`), 0o600)); err != nil {
		t.Fatal(err)
	}
	f, at, _ := open(t, path)
	if !reflect.DeepEqual(at, run(1)) {
		t.Errorf("got %+v", at)
	}
	if err := errors.Join(f.Keep(run(2)), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, at, _ := open(t, path); !reflect.DeepEqual(at, run(2)) {
		t.Errorf("got %+v", at)
	}
}

func TestAFileThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if _, _, _, err := checkpoint.Open(filepath.Join(dir, "none", "x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	path := filepath.Join(dir, "x")
	f, _, _ := open(t, path)
	if err := errors.Join(f.Keep(run(1)), os.Mkdir(path+".next", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := f.Keep(run(2)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(f.Close(), os.RemoveAll(path+".next")); err != nil {
		t.Fatal(err)
	}
	if _, at, _ := open(t, path); !reflect.DeepEqual(at, run(1)) {
		t.Errorf("got %+v", at)
	}
}

func TestKilledWhileItKeeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.checkpoint")
	for kill := range 5 {
		program := exec.Command(os.Args[0])
		program.Env = append(os.Environ(), "CHECKPOINT_TEST_WRITE="+path)
		out, err := program.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := program.Start(); err != nil {
			t.Fatal(err)
		}
		var last domain.UnixMillis
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
				t.Fatalf("it says %q", lines.Text())
			}
			if last%7 == domain.UnixMillis(kill) {
				if err := program.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := program.Wait(); err == nil {
			t.Fatal("it was not killed")
		}
		f, at, found, err := checkpoint.Open(path)
		if err != nil || !found || at.NextAt < last || !reflect.DeepEqual(at, run(at.NextAt)) {
			t.Fatalf("%d was kept, and now there is %+v, %v", last, at, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRacersHaveItOneAfterTheOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.checkpoint")
	var inside, turns atomic.Int32
	var racers sync.WaitGroup
	for range 8 {
		racers.Go(func() {
			for turns.Load() < 100 && !t.Failed() {
				f, _, found, err := checkpoint.Open(path)
				if errors.Is(err, checkpoint.ErrInUse) {
					runtime.Gosched()
					continue
				}
				if err != nil || found || inside.Add(1) != 1 {
					t.Errorf("two have it, or the last one's run is left: %t, %v", found, err)
					return
				}
				err = f.Keep(run(1))
				inside.Add(-1)
				if err := errors.Join(err, f.Remove()); err != nil {
					t.Error(err)
				}
				turns.Add(1)
			}
		})
	}
	racers.Wait()
}
