package notary

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/domain"
)

var network = uuid.MustParse("0190a5d0-7c00-4abc-8def-0123456789ab")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAKeyIsMadeOnceAndIsItsOwners(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "signing.key")
	if _, err := LoadKey(file); !errors.Is(err, ErrNoKey) {
		t.Errorf("of no key it says %v", err)
	}
	made, err := MakeKey(file, network)
	must(t, err)
	again, err := MakeKey(file, uuid.New())
	must(t, err)
	if made.Public() != again.Public() || again.Network() != network.String() {
		t.Errorf("made %s, and then %s", made.Public(), again.Public())
	}
	info, err := os.Stat(file)
	must(t, err)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file is %s", info.Mode())
	}
	other, err := MakeKey(filepath.Join(t.TempDir(), "k"), network)
	must(t, err)
	if other.Public() == made.Public() {
		t.Error("two keys are the same")
	}
	secret, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, secret[:len(secret)-9], 0o600))
	if _, err := LoadKey(file); !errors.Is(err, ErrKey) || strings.Contains(err.Error(), string(secret[40:60])) {
		t.Errorf("of half a key it says %v", err)
	}
}

func TestWhoseSignaturesCount(t *testing.T) {
	dir := t.TempDir()
	ours, err := MakeKey(filepath.Join(dir, "1"), network)
	must(t, err)
	second, err := MakeKey(filepath.Join(dir, "2"), network)
	must(t, err)
	stranger, err := MakeKey(filepath.Join(dir, "3"), network)
	must(t, err)
	file := filepath.Join(dir, "keys")
	must(t, os.WriteFile(file, []byte("# both Centrals\n"+ours.Public()+"\n\n"+second.Public()+"\r\n"), 0o644))
	keys, err := ReadKeys(file)
	must(t, err)
	if len(keys.Names()) != 2 || keys.Names()[0] == keys.Names()[1] {
		t.Errorf("the keys are %q", keys.Names())
	}
	const text = "evcharging checkpoint 1\nand more\n"
	for i, key := range []*Key{ours, second, stranger} {
		signed, err := key.Sign(text)
		must(t, err)
		got, by, err := keys.Open(signed)
		if i == 2 {
			if !errors.Is(err, audit.ErrStranger) {
				t.Errorf("of a stranger's note it says %v", err)
			}
			continue
		}
		if err != nil || got != text || by != keys.Names()[i] {
			t.Errorf("of key %d's note it says %q, %q, %v", i, got, by, err)
		}
	}
	for name, text := range map[string]string{"nothing": "", "a private key": "PRIVATE+KEY+x+1+y", "another key": "x+12345678+AAAA"} {
		if _, err := ParseKeys(text); !errors.Is(err, ErrKey) {
			t.Errorf("of %s it says %v", name, err)
		}
	}
}

// However one byte of a note is changed, the note does not count.
func TestEveryByteOfANoteCounts(t *testing.T) {
	key, err := MakeKey(filepath.Join(t.TempDir(), "k"), network)
	must(t, err)
	keys, err := ParseKeys(key.Public())
	must(t, err)
	signed, err := key.Sign("evcharging checkpoint 1\nand more\n")
	must(t, err)
	if _, _, err := keys.Open(signed); err != nil {
		t.Fatal(err)
	}
	for i := range signed {
		for _, b := range []byte("AQgw09+/= \n\x00\xff") {
			changed := bytes.Clone(signed)
			if changed[i] = b; b == signed[i] {
				continue
			}
			if _, _, err := keys.Open(changed); err == nil {
				t.Fatalf("byte %d may be %q:\n%s", i, b, changed)
			}
		}
	}
	for name, changed := range map[string][]byte{
		"signed twice": append(bytes.Clone(signed), signed[bytes.LastIndex(signed, []byte("— ")):]...),
		"a line more":  append(bytes.Clone(signed), '\n'),
		"cut off":      signed[:len(signed)-1],
	} {
		if _, _, err := keys.Open(changed); err == nil {
			t.Errorf("%s: it counts", name)
		}
	}
}

func open(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := OpenFolder(dir, "", network)
	must(t, err)
	return f
}

// heads are those of so many streams.
func heads(n int, version eventlog.Version) (all []audit.Head) {
	for i := range n {
		all = append(all, audit.Head{Stream: eventlog.Stream(fmt.Sprintf("session-%06d", i)), Version: version})
	}
	return all
}

func add(t *testing.T, f *Folder, n int) []byte {
	t.Helper()
	number := f.Chain().Last.Number + 1
	checkpoint, record := f.Chain().Next(network, domain.UnixMillis(1_800_000_000_000+60_000*int64(number)), heads(n, eventlog.Version(number)))
	text, err := f.Append(checkpoint, record, eventlog.Position(100*number), uuid.UUID{byte(number)})
	must(t, err)
	return text
}

func TestAFolderGoesOnWhereItWas(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	var want []byte
	for n := range 6 {
		f := open(t, dir)
		if f.Chain().Last.Number != uint64(2*n) || n > 0 && f.Covered() != (Covered{uint64(2 * n), eventlog.Position(200 * n), uuid.UUID{byte(2 * n)}}) {
			t.Errorf("opened for the %d. time it is at %d, %+v", n+1, f.Chain().Last.Number, f.Covered())
		}
		want = append(want, add(t, f, 3)...)
		last := add(t, f, []int{0, 1, 5_000, 0, 7, 2}[n])
		want = append(want, last...)
		if !bytes.Equal(f.Last(), last) {
			t.Error("the last record is another")
		}
		must(t, f.Close())
		again := open(t, dir)
		if !bytes.Equal(again.Last(), last) {
			t.Error("the last record is another after a start")
		}
		must(t, again.Close())
	}
	got, err := os.ReadFile(filepath.Join(dir, CheckpointsName))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the file is not what was written")
	}
	public, err := os.ReadFile(filepath.Join(dir, PublicName))
	must(t, err)
	keys, err := ParseKeys(string(public))
	must(t, err)
	chain, number := audit.Chain{}, 0
	for record, err := range audit.Records(bytes.NewReader(got)) {
		must(t, err)
		text, _, err := keys.Open(record.Note)
		must(t, err)
		checkpoint, err := audit.ParseCheckpoint(text)
		must(t, err)
		must(t, chain.Follow(checkpoint, record))
		number++
	}
	if number != 12 {
		t.Errorf("%d records are read, want 12", number)
	}
}

func TestWhatWasNotPublishedIsKnown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	f := open(t, dir)
	unpublished := func(want ...[]byte) {
		t.Helper()
		got, err := f.Unpublished()
		must(t, err)
		if !bytes.Equal(bytes.Join(got, nil), bytes.Join(want, nil)) || len(got) != len(want) {
			t.Errorf("%d are unpublished, want %d", len(got), len(want))
		}
	}
	unpublished()
	first := add(t, f, 2)
	unpublished(first)
	second, third := add(t, f, 1), add(t, f, 0)
	unpublished(first, second, third)
	must(t, f.Published())
	unpublished(second, third)
	must(t, f.Close())
	f = open(t, dir)
	unpublished(second, third)
	must(t, f.Published())
	unpublished(third)
	must(t, f.Published())
	unpublished()
	must(t, f.Close())
}

func TestAFolderWhoseLastRecordWasCutOff(t *testing.T) {
	for _, cut := range []int{1, 2, 40, 200, 300, 500} {
		dir := filepath.Join(t.TempDir(), "checkpoints")
		f := open(t, dir)
		add(t, f, 2)
		first := f.Covered()
		add(t, f, 2)
		must(t, f.Close())
		file := filepath.Join(dir, CheckpointsName)
		text, err := os.ReadFile(file)
		must(t, err)
		must(t, os.WriteFile(file, text[:len(text)-cut], 0o644))
		f = open(t, dir)
		if f.Chain().Last.Number != first.Number {
			t.Fatalf("without its last %d bytes it is at %d", cut, f.Chain().Last.Number)
		}
		add(t, f, 1)
		add(t, f, 1)
		must(t, f.Close())
		text, err = os.ReadFile(file)
		must(t, err)
		whole := 0
		for _, err := range audit.Records(bytes.NewReader(text)) {
			if err == nil {
				whole++
			}
		}
		if whole != 3 {
			t.Errorf("without the last %d bytes of the second record, %d are whole in the end", cut, whole)
		}
	}
}

func TestAFolderThatWillNotDo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	f := open(t, dir)
	add(t, f, 2)
	if _, err := OpenFolder(dir, "", network); !errors.Is(err, ErrInUse) {
		t.Errorf("of one in use it says %v", err)
	}
	must(t, f.Close())
	if _, err := OpenFolder(dir, "", uuid.New()); !errors.Is(err, ErrForeign) {
		t.Errorf("of another network's it says %v", err)
	}
	elsewhere := filepath.Join(t.TempDir(), "k")
	if _, err := OpenFolder(dir, elsewhere, network); !errors.Is(err, ErrBroken) {
		t.Errorf("of another key's checkpoints it says %v", err)
	}
	must(t, os.WriteFile(filepath.Join(dir, CheckpointsName), []byte("nothing\n"), 0o644))
	if _, err := OpenFolder(dir, "", network); !errors.Is(err, ErrBroken) {
		t.Errorf("of a file of something else it says %v", err)
	}
	must(t, os.WriteFile(filepath.Join(t.TempDir(), "file"), nil, 0o644))
	if _, err := OpenFolder(filepath.Join(elsewhere, "below a file"), "", network); err == nil {
		t.Error("a folder is made below a file")
	}
}
