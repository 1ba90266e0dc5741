package bbolt

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"evcharging/application/eventlog/eventlogtest"
)

// asReader does something as somebody who may read a folder, and write nowhere.
func asReader(t *testing.T, dir string, do func()) {
	t.Helper()
	mode := func(bits fs.FileMode) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() {
				return os.Chmod(path, 0o111|bits)
			}
			return os.Chmod(path, bits)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	mode(0o444)
	defer mode(0o644)
	if os.Geteuid() == 0 { // who may write anywhere
		for _, above := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} { // the test's own
			if err := os.Chmod(above, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		const nobody = 65534
		if err := unix.Setfsuid(nobody); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := unix.Setfsuid(0); err != nil {
				t.Fatal(err)
			}
		}()
	}
	if _, err := os.Create(filepath.Join(dir, "new")); err == nil {
		t.Fatal("the folder can be written to")
	}
	do()
}

func TestAFolderThatIsOnlyReadIsRead(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, dir string){
		"as it was closed": func(*testing.T, string) {},
		"without its lock": func(t *testing.T, dir string) { remove(t, dir, lockName) },
		"with what a crash left": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, manifestName+temporary), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			b := eventlogtest.NewBuilder("ev.health")
			commits := supplies(b, 8)
			log := open(t, dir, small)
			appendAll(t, log, commits)
			shut(t, log)
			prepare(t, dir)
			asReader(t, dir, func() {
				log, err := OpenToRead(dir, quiet(small))
				if err != nil {
					t.Fatal(err)
				}
				eventlogtest.Holds(t, log, b, commits)
				shut(t, log)
			})
		})
	}
	t.Run("without its indices", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "log")
		two(t, dir, small)
		if err := removeIndices(dir); err != nil {
			t.Fatal(err)
		}
		asReader(t, dir, func() {
			if _, err := OpenToRead(dir, quiet(small)); err == nil || !strings.Contains(err.Error(), "copy it") {
				t.Errorf("it says %v", err)
			}
		})
	})
}
