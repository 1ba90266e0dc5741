package central

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
	"evcharging/application/message"
	"evcharging/domain"
)

// signing is a log whose checkpoints are signed, and when.
type signing struct {
	*signer
	t   *testing.T
	log *pastLog
	dir string
	at  domain.UnixMillis
}

// pastLog is a log as it was: up to a commit, and without some, which come to it late.
type pastLog struct {
	eventlog.Log
	end  eventlog.Position
	late map[eventlog.Position]bool
	// away is the position from which on the store does not answer; 0: it always does.
	away eventlog.Position
}

var errAway = errors.New("the store does not answer")

func (l *pastLog) All(ctx context.Context, from eventlog.Position) iter.Seq2[eventlog.Positioned, error] {
	return func(yield func(eventlog.Positioned, error) bool) {
		for c, err := range l.Log.All(ctx, from) {
			if err == nil && c.Position > l.end {
				return
			}
			if l.away != 0 && c.Position >= l.away {
				yield(eventlog.Positioned{}, errAway)
				return
			}
			if !l.late[c.Position] && !yield(c, err) {
				return
			}
		}
	}
}

func (l *pastLog) Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		for c, err := range l.All(ctx, 1) {
			if err != nil {
				yield(eventlog.Commit{}, err)
				return
			}
			for _, p := range c.Parts {
				only := c.Commit
				only.Parts = []eventlog.Part{p}
				if p.Stream == stream && p.Last() >= from && !yield(only, nil) {
					return
				}
			}
		}
	}
}

var ofTests = uuid.UUID{1}

func newSigning(t *testing.T, shared bool) *signing {
	t.Helper()
	log := memory.NewLog()
	audittest.Endings(audittest.New(t, log, eventjson.Codec{}))
	s := &signing{t: t, log: &pastLog{Log: log, late: map[eventlog.Position]bool{}}, dir: filepath.Join(t.TempDir(), "checkpoints"), at: audittest.Begin}
	s.start(shared)
	return s
}

// start is a Central's start: it goes on where another was.
func (s *signing) start(shared bool) {
	s.t.Helper()
	if s.signer != nil {
		if err := s.folder.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	folder, err := notary.OpenFolder(s.dir, "", ofTests)
	if err != nil {
		s.t.Fatal(err)
	}
	s.signer = newSigner(s.log, ofTests, folder, shared, slog.New(slog.DiscardHandler))
	s.t.Cleanup(func() { _ = folder.Close() })
}

// goOn signs the log up to a commit.
func (s *signing) goOn(to eventlog.Position) {
	s.t.Helper()
	s.log.end = to
	s.at += 120_000
	if err := s.sign(s.t.Context(), s.at); err != nil {
		s.t.Fatal(err)
	}
}

// heads are those that the checkpoints list, with how often.
func (s *signing) heads() map[string]int {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, notary.CheckpointsName))
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]int{}
	for record, err := range audit.Records(bytes.NewReader(text)) {
		if err != nil {
			s.t.Fatal(err)
		}
		for _, h := range record.Heads {
			all[h.Line()]++
		}
	}
	return all
}

// verify holds the log against what was signed: nothing may be wrong, and nothing newer.
func (s *signing) verify() {
	s.t.Helper()
	keys, err := notary.ParseKeys(s.folder.Key().Public())
	if err != nil {
		s.t.Fatal(err)
	}
	from := audit.Checkpoints{Name: "the folder", Records: func(context.Context) iter.Seq2[audit.Record, error] {
		text, err := os.ReadFile(filepath.Join(s.dir, notary.CheckpointsName))
		if err != nil {
			s.t.Fatal(err)
		}
		return audit.Records(bytes.NewReader(text))
	}}
	_, w, err := audit.VerifyAgainst(s.t.Context(), s.log, eventjson.Codec{}, keys, []audit.Checkpoints{from}, func(f audit.Finding) { s.t.Error(f) }, nil)
	if err != nil || w.Newer != 0 || w.Checkpoints == 0 {
		s.t.Errorf("it was held against %+v, %v", w, err)
	}
}

func (s *signing) end() eventlog.Position {
	end, err := s.log.End(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return end
}

func TestCheckpointsHaveWhatHasChanged(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			s := newSigning(t, shared)
			end := s.end()
			for at := eventlog.Position(1); at < end; at += 7 {
				s.goOn(at)
				s.goOn(at) // nothing has changed
			}
			s.goOn(end)
			s.verify()
			for head, times := range s.heads() {
				if times != 1 {
					t.Errorf("it is listed %d times: %s", times, head)
				}
			}
			if last := s.folder.Chain().Last; last.At != s.at || last.Network != ofTests {
				t.Errorf("the last is %+v", last)
			}
		})
	}
}

func TestACentralThatStartsGoesOnWhereTheLastCheckpointWas(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			s := newSigning(t, shared)
			end := s.end()
			for at := eventlog.Position(1); at < end; at += 10 {
				s.goOn(at)
				s.start(shared)
			}
			// What it reached last is not known: all is listed once more.
			if err := os.Remove(filepath.Join(s.dir, "covered")); err != nil {
				t.Fatal(err)
			}
			s.start(shared)
			s.goOn(end)
			s.verify()
		})
	}
}

// In a shared log a commit may come to its place when later ones are there already.
func TestACommitThatComesLateIsListed(t *testing.T) {
	s := newSigning(t, true)
	end := s.end()
	for c, err := range s.log.Log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(c.Parts, func(p eventlog.Part) bool { return p.Kind == eventlog.Closing }) {
			s.log.late[c.Position] = true // nothing follows in its stream that would list it
		}
	}
	for at := eventlog.Position(1); at < end; at += 5 {
		s.goOn(at)
		for late := range s.log.late {
			if late <= at {
				delete(s.log.late, late)
			}
		}
	}
	clear(s.log.late)
	s.goOn(end)
	s.goOn(end)
	s.verify()
}

func TestManyChangesAreSeveralCheckpoints(t *testing.T) {
	s := newSigning(t, false)
	n := audittest.New(t, s.log.Log, eventjson.Codec{})
	n.Now += 1 << 30
	for i := range 9_000 {
		refused(n, fmt.Sprintf("P%d", i))
	}
	s.goOn(s.end())
	if last := s.folder.Chain().Last; last.Number < 2 {
		t.Errorf("there is %d checkpoint", last.Number)
	}
	unpublished, err := s.folder.Unpublished()
	for _, text := range unpublished {
		if len(text) > 900_000 {
			t.Errorf("a checkpoint has %d bytes, more than a record of Kafka", len(text))
		}
	}
	if err != nil || len(unpublished) != int(s.folder.Chain().Last.Number) {
		t.Errorf("%d are unpublished, %v", len(unpublished), err)
	}
	s.verify()
}

func TestALogThatIsAnotherIsNotSigned(t *testing.T) {
	s := newSigning(t, false)
	end := s.end()
	s.goOn(end)
	for name, log := range map[string]func() eventlog.Log{
		"rolled back": func() eventlog.Log { return &pastLog{Log: s.log.Log, end: end - 5} },
		"made anew": func() eventlog.Log {
			other := memory.NewLog()
			n := audittest.New(t, other, eventjson.Codec{})
			n.Now += 1_000
			audittest.Endings(n)
			return &pastLog{Log: other, end: end + 100}
		},
		"empty": func() eventlog.Log { return memory.NewLog() },
	} {
		number := s.folder.Chain().Last.Number
		signer := newSigner(log(), ofTests, s.folder, false, slog.New(slog.DiscardHandler))
		if err := signer.sign(t.Context(), s.at); !errors.Is(err, errOtherLog) {
			t.Errorf("%s: it says %v", name, err)
		}
		if s.folder.Chain().Last.Number != number {
			t.Errorf("%s: it is signed", name)
		}
	}
}

// broughtBack is a log that has commits of another in another order, each stream's in its own.
func broughtBack(t *testing.T, from eventlog.Log, wanted func(eventlog.Positioned) bool) *pastLog {
	t.Helper()
	var commits []eventlog.Commit
	for c, err := range from.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if wanted(c) {
			commits = append(commits, c.Commit)
		}
	}
	to := memory.NewLog()
	for len(commits) > 0 {
		before, next := map[eventlog.Stream]bool{}, 0
		for i, c := range commits {
			if !slices.ContainsFunc(c.Parts, func(p eventlog.Part) bool { return before[p.Stream] }) {
				next = i // the last that does not follow one that is still to come
			}
			for _, p := range c.Parts {
				before[p.Stream] = true
			}
		}
		if err := to.Append(t.Context(), commits[next]); err != nil {
			t.Fatal(err)
		}
		commits = slices.Delete(commits, next, next+1)
	}
	end, err := to.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &pastLog{Log: to, end: end}
}

// A log that was brought back from an export has all that was signed, at other positions.
func TestALogThatWasRestoredIsSigned(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			s := newSigning(t, shared)
			end := s.end()
			for at := eventlog.Position(3); at < end-20; at += 9 {
				s.goOn(at)
			}
			reached := s.reached
			s.log = broughtBack(t, s.log.Log, func(eventlog.Positioned) bool { return true })
			for c, err := range s.log.All(t.Context(), reached.position) {
				if err != nil || c.ID == reached.commit {
					t.Fatal("the commit is where it was", err)
				}
				break
			}
			s.start(shared)
			s.goOn(end)
			s.verify()
			for head, times := range s.heads() {
				if times != 1 {
					t.Errorf("it is listed %d times: %s", times, head)
				}
			}
			s.start(shared)
			s.goOn(end)
			s.verify()
		})
	}
}

func TestALogThatWasRestoredWithoutSomethingIsNotSigned(t *testing.T) {
	s := newSigning(t, false)
	end := s.end()
	s.goOn(end)
	number := s.folder.Chain().Last.Number
	commits := map[eventlog.Position]bool{}
	for c, err := range s.log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		commits[c.Position] = true
	}
	tried := 0
	for lost := range commits {
		// Without a commit, and all that follows it in its streams, the log is whole in itself.
		gone := map[eventlog.Stream]bool{}
		log := broughtBack(t, s.log.Log, func(c eventlog.Positioned) bool {
			is := c.Position == lost || slices.ContainsFunc(c.Parts, func(p eventlog.Part) bool { return gone[p.Stream] })
			for _, p := range c.Parts {
				gone[p.Stream] = gone[p.Stream] || is
			}
			return !is
		})
		signer := newSigner(log, ofTests, s.folder, false, slog.New(slog.DiscardHandler))
		for range 2 {
			if err := signer.sign(t.Context(), s.at); !errors.Is(err, errOtherLog) {
				t.Fatalf("without commit %d it says %v", lost, err)
			}
		}
		tried++
	}
	if s.folder.Chain().Last.Number != number || tried != len(commits) || tried == 0 {
		t.Errorf("it is signed, or none of %d was tried", tried)
	}
}

// What was read before the store ceased to answer is listed once it does.
func TestWhatWasReadBeforeTheStoreFailedIsListed(t *testing.T) {
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			s := newSigning(t, shared)
			end := s.end()
			s.goOn(5)
			for s.log.end, s.log.away = end, 10; s.log.away < end; s.log.away += 7 {
				if err := s.sign(t.Context(), s.at); !errors.Is(err, errAway) {
					t.Fatal(err)
				}
			}
			s.log.away = 0
			s.goOn(end)
			s.verify()
		})
	}
}

// refused has a request refused, of a point that nobody knows: a stream of one event.
func refused(n *audittest.Network, point string) {
	n.Take(message.Request{Driver: "D", Point: domain.PointID(point), ID: domain.RequestID("R-" + point), Origin: message.OriginDriver})
	n.Wait(time.Second)
}

func TestASampleOfTheLogIsVerified(t *testing.T) {
	log := memory.NewLog()
	audittest.Endings(audittest.New(t, log, eventjson.Codec{}))
	end, err := log.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := range uint64(end) {
		for part := range uint64(2) {
			choices := []uint64{n, part}
			below := func(most uint64) uint64 {
				next := min(choices[0], most-1)
				choices = choices[1:]
				return next
			}
			if err := verifySample(t.Context(), log, below, func(f audit.Finding) { t.Error(f) }); err != nil || len(choices) > 0 {
				t.Fatal(err)
			}
			damaged := 0
			choices = []uint64{n, part}
			if err := verifySample(t.Context(), changedLog{log}, below, func(audit.Finding) { damaged++ }); err != nil || damaged == 0 {
				t.Fatalf("commit %d, part %d of a damaged log: %d findings, %v", n, part, damaged, err)
			}
		}
	}
	if err := verifySample(t.Context(), memory.NewLog(), func(uint64) uint64 { return 0 }, nil); err != nil {
		t.Errorf("of an empty log it says %v", err)
	}
}

// changedLog is a log in which each part has one byte that is another.
type changedLog struct{ eventlog.Log }

func (l changedLog) Read(ctx context.Context, stream eventlog.Stream, from eventlog.Version) iter.Seq2[eventlog.Commit, error] {
	return func(yield func(eventlog.Commit, error) bool) {
		for c, err := range l.Log.Read(ctx, stream, from) {
			if err == nil {
				c.Parts[0].Body[9] ^= 1
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// BenchmarkCheckpoint is the cost of a checkpoint of 1,000 streams that have changed, of so many.
func BenchmarkCheckpoint(b *testing.B) {
	for _, streams := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("%d streams", streams), func(b *testing.B) {
			log, builder := memory.NewLog(), eventlogtest.NewBuilder("ev.supply.telemetry")
			add := func(i int) {
				stream := eventlog.Stream(fmt.Sprintf("session-00000000-0000-0000-0000-%012d", i))
				if err := log.Append(b.Context(), builder.Commit(eventlog.Cause{}, eventlogtest.Lifecycle(stream, `{"type":"…"}`))); err != nil {
					b.Fatal(err)
				}
			}
			for i := range streams {
				add(i)
			}
			folder, err := notary.OpenFolder(b.TempDir(), "", ofTests)
			if err != nil {
				b.Fatal(err)
			}
			defer folder.Close()
			s := newSigner(log, ofTests, folder, false, slog.New(slog.DiscardHandler))
			if err := s.sign(b.Context(), 1); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				b.StopTimer()
				for i := range 1_000 {
					add(i)
				}
				b.StartTimer()
				if err := s.sign(b.Context(), 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
