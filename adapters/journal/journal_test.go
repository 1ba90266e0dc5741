package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"evcharging/adapters/journal"
	"evcharging/application/engine"
	"evcharging/application/message"
	"evcharging/domain"
)

const (
	point = domain.PointID("CP-001")
	began = domain.UnixMillis(1_800_000_000_000)
)

func open(t *testing.T, dir string) (*journal.Journal, engine.Memory) {
	t.Helper()
	j, m, err := journal.Open(dir, point)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, m
}

func write(t *testing.T, j *journal.Journal, records ...engine.Record) {
	t.Helper()
	for _, r := range records {
		if err := j.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

// life is a supply that was ended by the start of the next one, which runs.
func life() []engine.Record {
	session := func(id domain.SessionID) *engine.Session {
		return &engine.Session{ID: id, Driver: "D-7", Price: 300_000, OpenedAt: began}
	}
	sample := func(seq int64) *engine.Sample {
		return &engine.Sample{Seq: seq, Power: 36_000, Energy: domain.MilliwattHours(seq) * 10_000, At: began + domain.UnixMillis(seq*1000)}
	}
	done := message.Done{
		Session: "s-1", Point: point, Driver: "D-7", Energy: 30_000, Amount: 9_000,
		Reason: message.DoneStopped, Seq: 4, At: began + 4000,
	}
	refused := message.Done{Session: "s-0", Point: point, Driver: "D-7", Reason: message.DoneRefused, At: began}
	return []engine.Record{
		{Ended: []message.Done{refused}, Order: &engine.TakenOrder{Number: 17, Kind: message.OrderStart}},
		{Reported: []domain.SessionID{"s-0"}},
		{Order: &engine.TakenOrder{Number: 18, Kind: message.OrderOutOfOrder}},
		{Order: &engine.TakenOrder{Number: 19, Kind: message.OrderStart}, Opened: session("s-1"), Sample: sample(1)},
		{Sample: sample(2)},
		{Sample: sample(3)},
		{Ended: []message.Done{done}, Order: &engine.TakenOrder{Number: 20, Kind: message.OrderStart}, Opened: session("s-2"), Sample: sample(1)},
		{Sample: sample(2)},
	}
}

func fold(records []engine.Record) engine.Memory {
	var m engine.Memory
	for _, r := range records {
		m.Apply(r)
	}
	return m
}

func TestGivenRecordsWhenTheJournalIsOpenedAgainThenItRemembersThem(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	j, m := open(t, dir)
	if !reflect.DeepEqual(m, engine.Memory{}) {
		t.Fatalf("a new journal remembers %+v", m)
	}
	write(t, j, life()...)
	// Without Close: as a kill leaves it. Only the lock has to go.
	_ = j.Close()
	again, m := open(t, dir)
	if want := fold(life()); !reflect.DeepEqual(m, want) {
		t.Fatalf("remembers\n%+v, not\n%+v", m, want)
	}
	if again.Damaged() != 0 {
		t.Fatalf("%d lines damaged", again.Damaged())
	}
}

func TestGivenAJournalThatIsTornAtAnyByteThenWhatWasWholeIsRemembered(t *testing.T) {
	whole := contents(t, life())
	memories := map[int]engine.Memory{}
	for i, records := 0, life(); i <= len(records); i++ {
		memories[len(contents(t, records[:i]))] = fold(records[:i])
	}
	var want engine.Memory
	for n := range len(whole) + 1 {
		if m, ok := memories[n]; ok {
			want = m
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "CP-001.journal"), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, got := open(t, dir)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("torn after %d bytes it remembers\n%+v, not\n%+v", n, got, want)
		}
		if j.Damaged() != 0 {
			t.Fatalf("torn after %d bytes it is damaged", n)
		}
		if n%16 != 0 {
			_ = j.Close()
			continue
		}
		next := engine.Record{Order: &engine.TakenOrder{Number: 99, Kind: message.OrderResume}}
		write(t, j, next)
		_ = j.Close()
		want := fold(append(want.Records(), next))
		if _, got := open(t, dir); !reflect.DeepEqual(got, want) {
			t.Fatalf("torn after %d bytes and written on it remembers\n%+v, not\n%+v", n, got, want)
		}
	}
}

// contents is the file that a new journal has after records.
func contents(t *testing.T, records []engine.Record) []byte {
	t.Helper()
	dir := t.TempDir()
	j, _ := open(t, dir)
	write(t, j, records...)
	_ = j.Close()
	text, err := os.ReadFile(filepath.Join(dir, "CP-001.journal"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestGivenAnyByteThatHasChangedThenOnlyItsLineIsLostOrTheJournalIsRefused(t *testing.T) {
	whole := contents(t, life())
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 0x21
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "CP-001.journal"), changed, 0o600); err != nil {
			t.Fatal(err)
		}
		j, m, err := journal.Open(dir, point)
		if i <= bytes.IndexByte(whole, '\n') {
			if !errors.Is(err, journal.ErrForeign) {
				t.Fatalf("byte %d of the header: %v", i, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
		_ = j.Close()
		// Without its LF the last line is a torn one.
		if atEnd := i == len(whole)-1; j.Damaged() == 0 != atEnd {
			t.Fatalf("byte %d: %d lines damaged", i, j.Damaged())
		}
		if m.Open == nil || m.Open.ID != "s-2" && m.Open.ID != "s-1" {
			t.Fatalf("byte %d: the lines around it are lost: %+v", i, m)
		}
	}
}

func TestGivenAJournalThatIsOpenThenASecondEngineIsRefused(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	for range 2 {
		_, _, err := journal.Open(dir, point)
		if !errors.Is(err, journal.ErrInUse) || !strings.Contains(err.Error(), "CP-001.journal") {
			t.Fatalf("a second Engine: %v", err)
		}
		// Compacted it is another file, and still locked.
		grow(t, j, 1<<20)
	}
	if _, _, err := journal.Open(dir, "CP-002"); err != nil {
		t.Fatalf("another point: %v", err)
	}
	_ = j.Close()
	open(t, dir)
}

// grow appends samples, at least so many bytes of them.
func grow(t *testing.T, j *journal.Journal, bytes int) {
	t.Helper()
	for i := range bytes / 60 {
		write(t, j, engine.Record{Sample: &engine.Sample{Seq: int64(i) + 1, Power: 1, Energy: domain.MilliwattHours(i), At: began}})
	}
}

func TestGivenASupplyOfDaysThenTheFileStaysSmall(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	write(t, j, life()...)
	largest := int64(0)
	for range 8 {
		grow(t, j, 1<<19)
		info, err := os.Stat(j.Path())
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, info.Size())
	}
	if largest > 1<<20+1000 {
		t.Fatalf("%d bytes", largest)
	}
	_ = j.Close()
	_, m := open(t, dir)
	if m.Last.Seq != 1<<19/60 || m.Open.ID != "s-2" {
		t.Fatalf("remembers %+v", m)
	}
}

func TestGivenAFileOfSomethingElseThenItIsRefusedAndLeftAsItIs(t *testing.T) {
	other := t.TempDir()
	j, _, err := journal.Open(other, "CP-002")
	if err != nil {
		t.Fatal(err)
	}
	_ = j.Close()
	foreign, err := os.ReadFile(filepath.Join(other, "CP-002.journal"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"a letter":              []byte("Dear diary,\ntoday\n"),
		"one line":              []byte("x"),
		"another point's":       foreign,
		"a version of tomorrow": bytes.Replace(foreign, []byte(`"version":1`), []byte(`"version":2`), 1),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "CP-001.journal")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := journal.Open(dir, point); !errors.Is(err, journal.ErrForeign) {
				t.Fatalf("error: %v", err)
			}
			if left, _ := os.ReadFile(path); !bytes.Equal(left, text) {
				t.Fatalf("left %q", left)
			}
		})
	}
}

func TestGivenAKillDuringCompactionThenNothingIsLost(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	write(t, j, life()...)
	_ = j.Close()
	if err := os.WriteFile(j.Path()+".next", []byte("half of a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		j, m := open(t, dir)
		if !reflect.DeepEqual(m, fold(life())) {
			t.Fatalf("remembers %+v", m)
		}
		_ = j.Close()
	}
}

func TestGivenMoreToRememberThanAFileIsWorthThenItIsNotWrittenAnewEachTime(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir)
	var all engine.Record
	for i := range 20_000 {
		all.Ended = append(all.Ended, message.Done{Session: domain.SessionID(fmt.Sprint("s-", i)), Point: point, Driver: "D-7", Reason: message.DoneRefused, At: began})
	}
	write(t, j, all)
	before, err := os.Stat(j.Path())
	if err != nil {
		t.Fatal(err)
	}
	write(t, j, life()[:4]...)
	after, err := os.Stat(j.Path())
	if err != nil || before.Size() < 1<<20 || !os.SameFile(before, after) {
		t.Fatalf("written anew: %v", err)
	}
}

func TestGivenManyWhoOpenAndCloseThenOneAtATimeHasIt(t *testing.T) {
	dir := t.TempDir()
	var has atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 300 {
				j, _, err := journal.Open(dir, point)
				if errors.Is(err, journal.ErrInUse) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if has.Add(1) != 1 {
					t.Error("two have it")
				}
				for range 20 {
					if err := j.Append(life()[4]); err != nil {
						t.Error(err)
					}
				}
				has.Add(-1)
				_ = j.Close()
			}
		})
	}
	all.Wait()
}

func TestGivenAFolderThatCanNotBeHadThenTheErrorNamesTheFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := journal.Open(dir, point); err == nil || !strings.Contains(err.Error(), "CP-001.journal") {
		t.Fatalf("error: %v", err)
	}
}

func TestGivenAClosedJournalThenItTakesNothing(t *testing.T) {
	j, _ := open(t, t.TempDir())
	_ = j.Close()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(life()[0]); !errors.Is(err, journal.ErrClosed) {
		t.Fatalf("error: %v", err)
	}
}

func TestGivenIdsWithDotsThenTheFileStaysInItsFolder(t *testing.T) {
	for _, id := range []domain.PointID{".", "..", "a:b", "..."} {
		dir := t.TempDir()
		j, _, err := journal.Open(filepath.Join(dir, "in"), id)
		if err != nil {
			t.Fatal(err)
		}
		_ = j.Close()
		if filepath.Dir(j.Path()) != filepath.Join(dir, "in") {
			t.Fatalf("%s: %s", id, j.Path())
		}
	}
}

func BenchmarkSample(b *testing.B) {
	j, _, err := journal.Open(b.TempDir(), point)
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	for i := range b.N {
		if err := j.Append(engine.Record{Sample: &engine.Sample{Seq: int64(i), Power: 11_000, Energy: domain.MilliwattHours(i), At: began}}); err != nil {
			b.Fatal(err)
		}
	}
}
