//go:build unix

package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func take(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := Take(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func held(t *testing.T, path string) {
	t.Helper()
	if file, err := Take(path, 0); file != nil || !errors.Is(err, ErrHeld) {
		t.Errorf("it is given to another, %v", err)
	}
}

func text(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("it has %q, %v, not %q", got, err, want)
	}
}

func TestOneAloneHasAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first := take(t, path)
	held(t, path)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	take(t, path)
	held(t, path)
}

// The moment between opening a file and locking it, in which its holder may put
// another one in its place and go, is too short to be met from outside.
func TestAFileThatWasReplacedAfterItWasOpenedIsNotTheOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	file := take(t, path)
	expect := func(want bool) {
		t.Helper()
		if got, err := isAt(file, path); err != nil || got != want {
			t.Fatalf("%v, %v", got, err)
		}
	}
	expect(true)
	if err := Write(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect(false)
}

func TestAFileIsReplacedAndStaysTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	former := take(t, path)
	next, err := Replace(path, os.O_APPEND, []byte("a long text"))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	held(t, path)
	if err := former.Close(); err != nil {
		t.Fatal(err)
	}
	held(t, path)
	if _, err := next.WriteString(", and more"); err != nil {
		t.Fatal(err)
	}
	text(t, path, "a long text, and more")
}

func TestAReplacementThatFailsLeavesTheFormer(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "folder") // a file can't take the place of a folder
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if file, err := Replace(path, 0, []byte("new")); file != nil || err == nil {
		t.Errorf("it gives %v, %v", file, err)
	}
	if err := Write(path, []byte("new"), 0o600); err == nil {
		t.Error("it is written")
	}
	if left, err := os.ReadDir(dir); len(left) != 1 || err != nil {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

func TestAFileIsWrittenForThoseWhoMayReadIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	// what a crash left, open to all
	if err := os.WriteFile(path+".tmp", []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "second, longer", "3"} {
		if err := Write(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		text(t, path, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
