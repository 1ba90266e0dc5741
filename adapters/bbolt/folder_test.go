package bbolt

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
	"evcharging/domain"
)

func TestAFolderIsForOneLogAtATime(t *testing.T) {
	dir := t.TempDir()
	log := open(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%v, want ErrInUse with the folder", err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{})
}

func TestALogKeepsTheNetworksID(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "with its parents")
	log := open(t, dir, Options{})
	id := log.NetworkID()
	shut(t, log)
	if again := open(t, dir, Options{}).NetworkID(); again != id || id.Version() != 4 {
		t.Errorf("the network was %s and is %s", id, again)
	}
	if other := open(t, t.TempDir(), Options{}).NetworkID(); other == id {
		t.Error("two logs are of one network")
	}
}

func TestAManifestThatIsNotUnderstoodIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
	}{
		"newer": {func(m []byte) []byte {
			text, _, _ := strings.Cut(strings.Replace(string(m), "format 1", "format 3", 1), checkedBy)
			return []byte(text + checkedBy + checksumOf(text))
		}, ErrNewer},
		"newer and another form": {func([]byte) []byte { return []byte(manifestTitle + "\nformat 3\nshards 7\n") }, ErrNewer},
		"empty":                  {func([]byte) []byte { return nil }, eventlog.ErrDamaged},
		"something else":         {func([]byte) []byte { return []byte("hello\n") }, eventlog.ErrDamaged},
		"another id": {func(m []byte) []byte {
			at := bytes.Index(m, []byte("network ")) + len("network ")
			m[at] ^= 1 // another digit, or none
			return m
		}, eventlog.ErrDamaged},
		"no id": {func(m []byte) []byte { return m[:len(m)-4] }, eventlog.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			two(t, dir, Options{})
			rewriteFile(t, filepath.Join(dir, manifestName), c.change)
			if _, err := Open(dir, Options{}); !errors.Is(err, c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	t.Run("gone", func(t *testing.T) {
		dir := t.TempDir()
		two(t, dir, Options{})
		remove(t, dir, manifestName)
		_, err := Open(dir, Options{})
		wantDamage(t, "Open", err, manifestName, 0, "")
		_, err = Exists(dir)
		wantDamage(t, "Exists", err, manifestName, 0, "")
	})
}

// As earlier programs wrote it, and as the error tells people to.
func TestAManifestWithoutItsChecksumIsUnderstood(t *testing.T) {
	dir := t.TempDir()
	b, _ := two(t, dir, Options{})
	network := uuid.New()
	rewriteFile(t, filepath.Join(dir, manifestName), func([]byte) []byte {
		return []byte(manifestTitle + "\nformat 2\nnetwork " + network.String() + "\n")
	})
	log := open(t, dir, Options{})
	if log.NetworkID() != network {
		t.Errorf("its network is %s", log.NetworkID())
	}
	wantSound(t, log, b)
}

func TestThereIsNoLogInAFolderWithoutOne(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir, filepath.Join(dir, "none")} {
		if there, err := Exists(name); there || err != nil {
			t.Errorf("%t, %v", there, err)
		}
		if _, err := OpenToRead(name, quiet(Options{})); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("it is opened: %v", err)
		}
	}
	if err := makeSegment(dir, 1, Options{}.at); err != nil { // what a crash left of a new log
		t.Fatal(err)
	}
	if there, err := Exists(dir); there || err != nil {
		t.Errorf("%t, %v", there, err)
	}
}

func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"notes.tmp", "1.txt", "x.seg", ".DS_Store"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := two(t, dir, small)
	wantSound(t, open(t, dir, small), b)
	for _, name := range []string{"notes.tmp", "1.txt", "x.seg", ".DS_Store"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestCausesAreForgottenWhenTheTopicsHaveForgottenThem(t *testing.T) {
	// given commits with causes, a day apart, a segment each
	const day = 24 * 60 * 60 * 1000
	b := eventlogtest.NewBuilder("ev.health")
	var commits []eventlog.Commit
	dir := t.TempDir()
	o := Options{segmentSize: 1}
	log := open(t, dir, o)
	for i := range 40 {
		c := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-CP-001", `1`))
		c.At = 1_750_000_000_000 + domain.UnixMillis(i)*day
		commits = append(commits, c)
	}
	if n := appendAll(t, log, commits); n != len(commits) {
		t.Fatalf("append %d fails", n)
	}

	// then, now and after opening, those of 31 days are known
	for range 2 {
		for i, c := range commits {
			_, ok, err := log.ByCause(t.Context(), c.Cause)
			if err != nil {
				t.Fatal(err)
			}
			if age := len(commits) - 1 - i; ok != (age <= 31) {
				t.Errorf("known after %d days: %v", age, ok)
			}
		}
		shut(t, log)
		log = open(t, dir, o)
	}

	// and a commit from the future makes none forgotten
	future := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-CP-001", `1`))
	future.At = 1 << 50
	if appendAll(t, log, []eventlog.Commit{future}) != 1 {
		t.Fatal("append fails")
	}
	o.now = (&clock{at: commits[len(commits)-1].At.Time()}).now
	shut(t, log)
	log = open(t, dir, o)
	if _, ok, err := log.ByCause(t.Context(), commits[30].Cause); !ok || err != nil {
		t.Errorf("a cause of ten days ago is known: %v, %v", ok, err)
	}
}
