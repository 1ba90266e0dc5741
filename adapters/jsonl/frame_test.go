package jsonl_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"evcharging/adapters/jsonl"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

var network = uuid.MustParse("0190a5d0-7c00-7abc-8def-0123456789ab")

// list is a log of commits at the positions 1, 2, 3 …; bad are those that are damaged.
type list struct {
	commits []eventlog.Commit
	bad     []eventlog.Position
	// away is the position from which on the store does not answer; 0: it always does.
	away eventlog.Position
}

var errAway = errors.New("the store does not answer")

func (l list) End(context.Context) (eventlog.Position, error) {
	return eventlog.Position(len(l.commits)), nil
}

func (l list) All(_ context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for at := from; int(at) <= len(l.commits); at++ {
			c := eventlog.Positioned{Position: at, Commit: l.commits[at-1]}
			switch {
			case l.away != 0 && at == l.away:
				yield(eventlog.Positioned{}, errAway)
				return
			case slices.Contains(l.bad, at):
				yield(eventlog.Positioned{}, &eventlog.DamagedError{Where: "1.seg", Position: at, Stream: c.Parts[0].Stream, Reason: errors.New("its hash is wrong")})
				return
			case !yield(c, nil):
				return
			}
		}
	}
}

func some() list {
	b := eventlogtest.NewBuilder("ev.supply.done")
	l := list{}
	for i := range 5 {
		session := eventlog.Stream(fmt.Sprint("session-", i))
		l.commits = append(l.commits,
			b.Commit(b.Cause(), eventlogtest.Lifecycle("point-CP-1", `"occupied"`), eventlogtest.Lifecycle(session, `"authorized"`)),
			b.Commit(eventlog.Cause{}, eventlogtest.Sample(session, `{"energy":1}`)),
			b.Commit(b.Cause(), eventlogtest.Closing(session, `"ended"`, `"ticket"`)))
	}
	return l
}

func write(t *testing.T, l list, from eventlog.Position) (text string, trailer jsonl.Trailer, err error) {
	t.Helper()
	var out bytes.Buffer
	trailer, err = jsonl.Write(t.Context(), &out, l, network, from, func() {})
	return out.String(), trailer, err
}

// read gives the commits that lines have, and what is wrong with them.
func read(from io.Reader) (commits []eventlog.Positioned, wrong []error) {
	r := jsonl.NewReader(from)
	for {
		c, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return commits, wrong
		case err != nil:
			wrong = append(wrong, err)
		default:
			commits = append(commits, c)
		}
	}
}

func TestTheFormOfAFile(t *testing.T) {
	l := some()
	l.commits = l.commits[:2]
	text, trailer, err := write(t, l, 1)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(text, "\n")
	want := fmt.Sprintf(`{"format":"evcharging log 1","network":"%s","from":1,"first":%d,"last":%d}`+"\n", network, l.commits[0].At, l.commits[1].At)
	if len(lines) != 5 || lines[0] != want {
		t.Errorf("it begins with\n%swant\n%s", lines[0], want)
	}
	want = fmt.Sprintf(`{"commits":2,"events":3,"streams":2,"digest":"%s","sha256":"%x"}`+"\n", trailer.Digest, trailer.Text)
	if lines[3] != want {
		t.Errorf("it ends with\n%swant\n%s", lines[3], want)
	}
}

func TestAFileIsReadAsItWasWritten(t *testing.T) {
	l := some()
	for _, from := range []eventlog.Position{0, 1, 7, 15, 16, 99} {
		text, trailer, err := write(t, l, from)
		if err != nil {
			t.Fatal(err)
		}
		r := jsonl.NewReader(strings.NewReader(text))
		h, ok := r.Header()
		want := jsonl.Header{Network: network, From: max(from, 1)}
		if rest := l.commits[min(int(max(from, 1))-1, len(l.commits)):]; len(rest) > 0 {
			want.First, want.Last = rest[0].At, rest[len(rest)-1].At
		}
		if !ok || h != want {
			t.Errorf("from %d: the header is %+v (%t), want %+v", from, h, ok, want)
		}
		n := int(want.From)
		for c, err := r.Next(); !errors.Is(err, io.EOF); c, err = r.Next() {
			if err != nil || c.ID != l.commits[n-1].ID || int(c.Position) != n {
				t.Fatalf("from %d: %v, %+v, want %+v", from, err, c, l.commits[n-1])
			}
			n++
		}
		if n != max(len(l.commits)+1, int(want.From)) || r.Trailer() != trailer {
			t.Errorf("from %d: it ends before %d with %+v, want %+v", from, n, r.Trailer(), trailer)
		}
	}
}

// The digest is that of the commits, wherever and in whatever order they are.
func TestTheDigestIsThatOfTheCommits(t *testing.T) {
	l := some()
	_, one, _ := write(t, l, 1)
	turned := list{commits: slices.Clone(l.commits)}
	slices.Reverse(turned.commits)
	_, other, _ := write(t, turned, 1)
	if one.Digest != other.Digest || one.Text == other.Text {
		t.Errorf("in another order it is %+v, not %+v", other, one)
	}
	_, less, _ := write(t, list{commits: l.commits[1:]}, 1)
	_, twice, _ := write(t, list{commits: append(slices.Clone(l.commits), l.commits[0], l.commits[0])}, 1)
	if less.Digest == one.Digest || twice.Digest == one.Digest {
		t.Error("it does not count the commits")
	}
	_, none, _ := write(t, list{}, 1)
	if none.Digest.String() != strings.Repeat("0", 64) {
		t.Errorf("that of nothing is %s", none.Digest)
	}
}

func TestAFileThatIsCutOffAnywhereIsNoticed(t *testing.T) {
	text, _, err := write(t, some(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for end := range len(text) - 1 { // without its last line feed it says all
		_, wrong := read(strings.NewReader(text[:end]))
		if len(wrong) == 0 {
			t.Fatalf("cut off after %q nothing is wrong", text[max(0, end-20):end])
		}
		header := strings.Contains(text[:end], "\n")
		if last := wrong[len(wrong)-1]; header && (len(wrong) != 1 || !errors.Is(last, jsonl.ErrCut)) {
			t.Fatalf("cut off after %q it says %v", text[max(0, end-20):end], wrong)
		}
	}
	if _, wrong := read(strings.NewReader(text[:len(text)-1])); len(wrong) > 0 {
		t.Errorf("without its last line feed it says %v", wrong)
	}
	for lines := strings.SplitAfter(text, "\n"); len(lines) > 1; lines = lines[1:] {
		if _, wrong := read(strings.NewReader(strings.Join(lines[1:], ""))); len(wrong) == 0 {
			t.Errorf("without its first lines, from %q on, nothing is wrong", lines[1])
		}
	}
}

func TestAFileThatWasChangedAnywhereIsNoticed(t *testing.T) {
	text, _, err := write(t, some(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(text) - 1 {
		changed := []byte(text)
		changed[i] ^= 1
		if _, wrong := read(bytes.NewReader(changed)); len(wrong) == 0 {
			t.Fatalf("with another byte at %d nothing is wrong:\n%s", i, changed[max(0, i-40):min(len(changed), i+40)])
		}
	}
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	for name, c := range map[string]struct {
		changed []string
		says    string
	}{
		"a line is lost":        {slices.Delete(slices.Clone(lines), 3, 4), "there are 14 commits, and 15 were written"},
		"a line comes twice":    {slices.Insert(slices.Clone(lines), 3, lines[3]), "there are 16 commits, and 15 were written"},
		"lines are exchanged":   {slices.Insert(slices.Delete(slices.Clone(lines), 3, 4), 4, lines[3]), "the SHA-256 of the lines is another"},
		"an empty line":         {slices.Insert(slices.Clone(lines), 3, "\n"), "the SHA-256 of the lines is another"},
		"a header amid":         {slices.Insert(slices.Clone(lines), 3, lines[0]), "line 4: the log was changed after it was written: it is a header amid other lines"},
		"something behind":      {append(slices.Clone(lines), "\n", lines[1]), "something follows the trailer"},
		"a trailer, no header":  {slices.Clone(lines[1:]), "it has a trailer and no header"},
		"another position":      {append([]string{lines[0], strings.Replace(lines[1], ":1,", ":9,", 1)}, lines[2:]...), "the SHA-256 of the lines is another"},
		"another network":       {append([]string{strings.Replace(lines[0], "0190", "0191", 1)}, lines[1:]...), "the SHA-256 of the lines is another"},
		"a format that is none": {append([]string{strings.Replace(lines[0], "evcharging log 1", "evcharging 1", 1)}, lines[1:]...), "not a line of an event log"},
		"a format to come":      {append([]string{strings.Replace(lines[0], "log 1", "log 2", 1)}, lines[1:]...), `a newer program wrote these lines: read them with that program (their format is "evcharging log 2")`},
	} {
		t.Run(name, func(t *testing.T) {
			_, wrong := read(strings.NewReader(strings.Join(c.changed, "")))
			if said := errors.Join(wrong...); said == nil || !strings.Contains(said.Error(), c.says) {
				t.Errorf("it says %v, want %q", said, c.says)
			}
		})
	}
}

// What is packed is said once, not of each line feed that is among its bytes.
func TestWhatIsPackedIsSaidOnce(t *testing.T) {
	text, _, err := write(t, some(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	pack := gzip.NewWriter(&packed)
	if _, err := io.WriteString(pack, text); err != nil {
		t.Fatal(err)
	}
	if err := pack.Close(); err != nil {
		t.Fatal(err)
	}
	packed.WriteString("\nand\nmore\n")
	if commits, wrong := read(&packed); len(commits) > 0 || len(wrong) != 1 || !errors.Is(wrong[0], jsonl.ErrPacked) {
		t.Errorf("%d commits, %v", len(commits), wrong)
	}
}

func TestLinesOfEarlierVersionsAreRead(t *testing.T) {
	l := some()
	text, _, err := write(t, l, 1)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(text, "\n")
	plain := strings.Join(lines[1:len(lines)-2], "\n") // with an empty line behind each
	r := jsonl.NewReader(strings.NewReader(plain))
	if h, ok := r.Header(); ok {
		t.Errorf("there is a header: %+v", h)
	}
	if _, err := r.Next(); err != nil || r.Line() != 1 {
		t.Errorf("the first is line %d: %v", r.Line(), err)
	}
	commits, wrong := read(strings.NewReader("\n \n" + plain))
	if len(commits) != len(l.commits) || len(wrong) > 0 {
		t.Errorf("%d of %d commits: %v", len(commits), len(l.commits), wrong)
	}
	if _, wrong := read(strings.NewReader(plain[:len(plain)-9])); len(wrong) != 1 || !errors.Is(wrong[0], jsonl.ErrLine) {
		t.Errorf("with its last line cut off it says %v", wrong)
	}
	if _, wrong := read(strings.NewReader(strings.Repeat("x", jsonl.MaxLine+1<<17) + "\n" + plain)); len(wrong) != 1 || !errors.Is(wrong[0], jsonl.ErrLong) {
		t.Errorf("of a line too long it says %v", wrong)
	}
}

func TestWhatCanNotBeReadIsSaidInItsPlace(t *testing.T) {
	l := some()
	l.bad = []eventlog.Position{1, 5, 15}
	text, trailer, err := write(t, l, 1)
	var damage *eventlog.DamagedError
	if !errors.As(err, &damage) || damage.Position != 1 || trailer.Unread != 3 {
		t.Fatalf("written with %v, %+v", err, trailer)
	}
	r := jsonl.NewReader(strings.NewReader(text))
	if h, ok := r.Header(); !ok || h != (jsonl.Header{Network: network, From: 1}) {
		t.Errorf("it begins with %+v", h)
	}
	commits, wrong := read(strings.NewReader(text))
	if len(commits) != 12 || len(wrong) != 3 {
		t.Fatalf("%d commits are read: %v", len(commits), wrong)
	}
	var line *jsonl.LineError
	var unread *jsonl.UnreadError
	if !errors.As(wrong[1], &line) || !errors.As(wrong[1], &unread) || line.Line != 6 || unread.Position != 5 || unread.Stream != "session-1" ||
		unread.Reason != "the event log is damaged in 1.seg at position 5, stream session-1: its hash is wrong" {
		t.Errorf("in the place of the second it says %#v", wrong[1])
	}

	l.away = 9
	text, _, err = write(t, l, 2)
	if !errors.Is(err, errAway) {
		t.Fatalf("written with %v", err)
	}
	commits, wrong = read(strings.NewReader(text))
	if last := wrong[len(wrong)-1]; len(commits) != 6 || !errors.Is(last, jsonl.ErrCut) || !strings.Contains(last.Error(), errAway.Error()) {
		t.Errorf("%d commits are read: %v", len(commits), wrong)
	}
}

// What breaks off in another way than by its end is said, too.
func TestAReaderThatFails(t *testing.T) {
	text, _, err := write(t, some(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []int{0, 10, 200, len(text) - 2, len(text)} {
		from := io.MultiReader(strings.NewReader(text[:end]), failing{})
		if _, wrong := read(from); len(wrong) != 1 || !errors.Is(wrong[0], jsonl.ErrCut) || !errors.Is(wrong[0], errAway) {
			t.Errorf("after %d bytes it says %v", end, wrong)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errAway }
