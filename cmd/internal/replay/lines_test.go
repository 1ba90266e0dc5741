package replay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
)

// countedFile is a file that counts what is read of it.
type countedFile struct {
	linesFile
	bytes int
}

func (f *countedFile) Read(p []byte) (int, error) {
	n, err := f.linesFile.Read(p)
	f.bytes += n
	return n, err
}

func (f *countedFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.linesFile.ReadAt(p, at)
	f.bytes += n
	return n, err
}

// linesOf are lines in a file that counts.
func linesOf(t *testing.T, text []string) (*lineLog, *countedFile) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "log.jsonl")
	if err := os.WriteFile(name, []byte(strings.Join(text, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, err := openLines(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lines.Close() })
	file := &countedFile{linesFile: lines.file}
	lines.file = file
	return lines, file
}

// However many streams are asked for, those that are not there too, the file is gone through once.
func TestAStreamIsReadFromItsLinesAlone(t *testing.T) {
	log, all := supplies(t)
	text := written(t, log)
	size := len(strings.Join(text, ""))
	damaged := eventlog.Stream("")
	for i, line := range text {
		if named := streamNamed.FindStringSubmatch(line); named != nil && strings.HasPrefix(named[1], "session-") {
			damaged = eventlog.Stream(named[1])
			text[i] = strings.Replace(line, `"parts":[`, `"parts":`, 1)
			break
		}
	}
	lines, file := linesOf(t, text)
	for _, s := range all {
		stream := eventlog.Stream("session-" + string(s.Session))
		var said []error
		for _, err := range lines.Read(t.Context(), stream, 1) {
			if err != nil {
				said = append(said, err)
			}
		}
		damage, _ := errors.AsType[*eventlog.DamagedError](errors.Join(said...))
		if told := damage != nil && damage.Stream == stream; told != (stream == damaged) || len(said) > 1 {
			t.Errorf("of %s it says %v", stream, said)
		}
	}
	for i := range 1_000 {
		for c, err := range lines.Read(t.Context(), eventlog.Stream(fmt.Sprint("session-none-", i)), 1) {
			t.Errorf("there is %+v, %v", c, err)
		}
	}
	if file.bytes > 3*size {
		t.Errorf("of %d bytes %d were read", size, file.bytes)
	}
}

// A log that has lost its end, or streams, is verified without reading it for each of them.
func TestVerifyingACutLogReadsItTwice(t *testing.T) {
	name, dir, _ := kept(t)
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.SplitAfter(string(text), "\n")
	cut := all[:len(all)/4]
	size := len(strings.Join(cut, ""))
	lines, file := linesOf(t, cut)
	keys, checkpoints, done, err := Outside{Key: filepath.Join(dir, notary.PublicName), Checkpoints: []string{dir}}.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	var reasons []error
	_, _, err = audit.VerifyAgainst(t.Context(), lines, eventjson.Codec{}, keys, checkpoints, func(f audit.Finding) { reasons = append(reasons, f.Reason) }, nil)
	dropped := slices.IndexFunc(reasons, func(err error) bool { return errors.Is(err, audit.ErrDropped) })
	if err != nil || dropped < 0 || len(reasons) < 5 {
		t.Errorf("it says %v, %v", reasons, err)
	}
	if file.bytes > 4*size {
		t.Errorf("of %d bytes %d were read", size, file.bytes)
	}
}
