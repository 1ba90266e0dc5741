package journal

import (
	"os"
	"path/filepath"
	"testing"
)

// The moment between opening a file and locking it, in which its holder may put
// another one in its place and go, is too short to be met from outside.
func TestGivenAFileThatWasReplacedAfterItWasOpenedThenItIsNotTheJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "CP-001.journal")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	expect := func(want bool) {
		t.Helper()
		if got, err := isAt(file, path); err != nil || got != want {
			t.Fatalf("%v, %v", got, err)
		}
	}
	expect(true)
	if err := os.WriteFile(path+".next", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".next", path); err != nil {
		t.Fatal(err)
	}
	expect(false)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect(false)
}
