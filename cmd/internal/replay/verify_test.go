package replay

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/jsonl"
	"evcharging/adapters/memory"
	"evcharging/application/audit/audittest"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
)

// supplies are those of every ending, and their log.
func supplies(t *testing.T) (*memory.Log, []audittest.Supply) {
	t.Helper()
	log := memory.NewLog()
	return log, audittest.Endings(audittest.New(t, log, eventjson.Codec{}))
}

// written is a log as lines.
func written(t *testing.T, log eventlog.Log) []string {
	t.Helper()
	var text bytes.Buffer
	if _, err := export(t.Context(), log, uuid.Nil, "-", &text, func() {}); err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(text.String(), "\n"), "\n")
}

func run(t *testing.T, stdin string, do func(*program.Process) error) (printed string, err error) {
	t.Helper()
	var out bytes.Buffer
	err = do(&program.Process{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: io.Discard, Logger: quiet})
	return out.String(), err
}

func verified(t *testing.T, source, stdin string) (printed string, err error) {
	t.Helper()
	return run(t, stdin, func(p *program.Process) error { return Verify(t.Context(), p, VerifyConfig{Source: source}) })
}

// embedded is a folder of an embedded log that has what another has.
func embedded(t *testing.T, log eventlog.Log) (folder string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "log")
	to, err := bbolt.Open(folder, bbolt.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for c, err := range log.All(t.Context(), 1) {
		if err == nil {
			err = to.Append(t.Context(), c.Commit)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestVerifyTellsWhereAnEmbeddedLogIsDamaged(t *testing.T) {
	log, all := supplies(t)
	folder := embedded(t, log)
	files, err := filepath.Glob(filepath.Join(folder, "*.seg"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(text, []byte(`"amount":105000`), []byte(`"amount":905000`))
	if bytes.Equal(changed, text) {
		t.Fatal("the amount is not in the file")
	}
	if err := os.WriteFile(files[0], changed, 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err := verified(t, folder, "")
	stream := "session-" + string(all[0].Session)
	if !errors.Is(err, ErrFindings) || !regexp.MustCompile(`(?m)^0+1\.seg, position \d+, `+stream+`: the event log is damaged: .*hash`).MatchString(printed) ||
		!strings.Contains(printed, " 15 tickets computed anew: 1 finding") {
		t.Errorf("%v, it prints\n%s", err, printed)
	}
}

func TestVerifyALogWhereverItIs(t *testing.T) {
	log, _ := supplies(t)
	text := written(t, log)
	file := filepath.Join(t.TempDir(), "log.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(text, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	folder := embedded(t, log)
	first := ""
	for what, source := range map[string][2]string{"a file": {file}, "standard input": {"-", strings.Join(text, "")}, "a folder": {folder}} {
		printed, err := verified(t, source[0], source[1])
		if err != nil || !regexp.MustCompile(`^the event log: \d+ events of \d+ commits in \d+ streams, 16 tickets computed anew: all is well\n$`).MatchString(printed) {
			t.Errorf("%s: %v, it prints\n%s", what, err, printed)
		}
		if first == "" {
			first = printed
		}
		if printed != first {
			t.Errorf("%s: it prints\n%sand elsewhere\n%s", what, printed, first)
		}
	}
}

func TestVerifyTellsWhatIsWrongWithLines(t *testing.T) {
	log, all := supplies(t)
	text := written(t, log)
	stream := "session-" + string(all[0].Session)
	ticket := slices.IndexFunc(text, func(l string) bool { return strings.Contains(l, "TicketIssued") && strings.Contains(l, stream) })
	for name, c := range map[string]struct {
		damage func([]string) []string
		says   []string
	}{
		"a digit is another": {func(l []string) []string {
			l[ticket] = strings.Replace(l[ticket], `"amount":105000`, `"amount":905000`, 1)
			return l
		}, []string{
			"line TICKET of FILE, commit ID, " + stream + " at version 6: its hash is not that of its content: it was changed\n",
			"line LAST of FILE: the event log is damaged: the log was changed after it was written: the digest of the commits is another\n",
			"15 tickets computed anew: 1 more ticket can't be, 2 findings in 1 stream: " + stream + "\n",
		}},
		"a digit is another, in lines of an earlier version": {func(l []string) []string {
			l[ticket] = strings.Replace(l[ticket], `"amount":105000`, `"amount":905000`, 1)
			return l[1 : len(l)-1]
		}, []string{"1 finding in 1 stream: " + stream + "\n"}},
		"a line is none": {func(l []string) []string {
			l[ticket] = strings.Replace(l[ticket], `"parts":[`, `"parts":`, 1)
			return l
		}, []string{"line TICKET of FILE, point-CP-001: the event log is damaged: not a line of an event log", "(it names " + stream + ", too)"}},
		"the trailer is cut off": {func(l []string) []string {
			last := len(l) - 1
			l[last] = l[last][:len(l[last])-30]
			return l
		}, []string{"line LAST of FILE: the event log is damaged: the log ends too early: the line is cut off\n", ": 1 finding\n"}},
		"the end is cut off": {func(l []string) []string {
			return append(l[:len(l)-2], l[len(l)-2][:50])
		}, []string{": the event log is damaged: the log ends too early: the line is cut off\n", " 1 finding"}},
		"the end is missing": {func(l []string) []string {
			return l[:len(l)-1]
		}, []string{": the event log is damaged: the log ends too early: the trailer is missing\n", ": 1 finding\n"}},
		"the end of an earlier version's lines is cut off": {func(l []string) []string {
			return append(l[1:len(l)-2], l[len(l)-2][:50])
		}, []string{": the event log is damaged: it is cut off: not a line of an event log"}},
		"a line is lost": {func(l []string) []string { return slices.Delete(l, ticket-1, ticket) }, []string{
			"line " + "BEFORE of FILE, commit ID, " + stream + " at version 6: parts of the stream are missing: versions 5 to 5",
		}},
		"a line too long": {func(l []string) []string {
			return slices.Insert(l, 3, `{"position":"`+strings.Repeat("x", jsonl.MaxLine+1<<17)+"\"}\n")
		}, []string{"line 4 of FILE: the event log is damaged: it is longer than any line of an event log\n", ": 2 findings\n"}},
		"empty lines": {func(l []string) []string { return slices.Insert(l[1:len(l)-1], 3, "\n", " \r\n") }, []string{"all is well"}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "log.jsonl")
			if err := os.WriteFile(file, []byte(strings.Join(c.damage(slices.Clone(text)), "")), 0o600); err != nil {
				t.Fatal(err)
			}
			printed, err := verified(t, file, "")
			if well := strings.Contains(c.says[0], "all is well"); well != (err == nil) || !well && !errors.Is(err, ErrFindings) {
				t.Errorf("it ends with %v", err)
			}
			printed = strings.ReplaceAll(printed, file, "FILE")
			printed = regexp.MustCompile(`commit [0-9a-f-]{36}`).ReplaceAllString(printed, "commit ID")
			for _, says := range c.says {
				says = strings.NewReplacer("TICKET", strconv.Itoa(ticket+1), "BEFORE", strconv.Itoa(ticket), "LAST", strconv.Itoa(len(text))).Replace(says)
				if !strings.Contains(printed, says) {
					t.Errorf("it prints\n%s\nwant %q", printed, says)
				}
			}
		})
	}
}

func TestVerifyTellsSomeOfManyFindings(t *testing.T) {
	printed, err := verified(t, "-", strings.Repeat("nothing\n", findingsTold+7))
	if !errors.Is(err, ErrFindings) || strings.Count(printed, "\n") != findingsTold+2 || !strings.Contains(printed, "\n... and 7 more\n") {
		t.Errorf("%v, %d lines, the last of them %q", err, strings.Count(printed, "\n"), printed[len(printed)-200:])
	}
}

// A file of lines is read as any log is.
func TestLinesAreALog(t *testing.T) {
	log, all := supplies(t)
	file := filepath.Join(t.TempDir(), "log.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(written(t, log), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, err := openLines(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	for _, s := range all {
		stream := eventlog.Stream("session-" + string(s.Session))
		for _, from := range []eventlog.Version{1, 3} {
			var want, got []eventlog.Hash
			for c, err := range log.Read(t.Context(), stream, from) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, c.Parts[0].Hash)
			}
			for c, err := range lines.Read(t.Context(), stream, from) {
				if err != nil || len(c.Parts) != 1 {
					t.Fatal(c, err)
				}
				got = append(got, c.Parts[0].Hash)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s from %d: %d parts, want %d", stream, from, len(got), len(want))
			}
		}
	}
}
