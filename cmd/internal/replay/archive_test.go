package replay

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/durable"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/jsonl"
	"evcharging/adapters/memory"
	"evcharging/adapters/mongo"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// threeMonths is a file with a network that lived for some minutes in each of three months, and an instant
// at which two of them were over; the sessions are those that were closed by then.
func threeMonths(t *testing.T) (file string, over domain.UnixMillis, closed []domain.SessionID) {
	t.Helper()
	log := memory.NewLog()
	h := audittest.NewHistory(t, log, eventjson.Codec{}, 7, "CP-001", "CP-002", "CP-003")
	for month := range 3 {
		h.Run(400)
		if month < 2 {
			h.Wait(31 * 24 * time.Hour)
		}
	}
	last := h.Now.Time()
	over = domain.At(time.Date(last.Year(), last.Month(), 1, 0, 0, 0, 0, time.UTC))
	seen := map[eventlog.Stream]bool{}
	for c, err := range log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Parts {
			if id, ok := strings.CutPrefix(string(p.Stream), "session-"); ok && p.Kind == eventlog.Closing && c.At < over && !seen[p.Stream] {
				seen[p.Stream] = true
				closed = append(closed, domain.SessionID(id))
			}
		}
	}
	file = filepath.Join(t.TempDir(), "log.jsonl")
	if _, err := export(t.Context(), log, known, file, nil, func() {}); err != nil {
		t.Fatal(err)
	}
	return file, over, closed
}

func archivedTo(t *testing.T, log, dir string, before domain.UnixMillis) (printed string, err error) {
	t.Helper()
	return run(t, "", func(p *program.Process) error {
		return Archive(t.Context(), p, ArchiveConfig{Log: log, Mongo: mongo.Config{Logger: quiet}, Dir: dir, Before: before})
	})
}

// fillFrom imports a file into a log, archiveTo archives a log: with no error.
func fillFrom(t *testing.T, file, log string) {
	t.Helper()
	if _, err := imported(t, file, log); err != nil {
		t.Fatal(err)
	}
}

func archiveTo(t *testing.T, log, dir string, before domain.UnixMillis) {
	t.Helper()
	if _, err := archivedTo(t, log, dir, before); err != nil {
		t.Fatal(err)
	}
}

func verifiedWith(t *testing.T, log, archive string, o Outside) (printed string, err error) {
	t.Helper()
	return run(t, "", func(p *program.Process) error {
		return Verify(t.Context(), p, VerifyConfig{Source: log, Archive: archive, Mongo: mongo.Config{Logger: quiet}, Outside: o})
	})
}

// joined is a log with its archive.
func joined(t *testing.T, name, archive string) *Source {
	t.Helper()
	s, err := openLog(t, name, "")
	if err == nil {
		err = s.join(archive)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// documents are those that the streams of a log fold to.
func documents(t *testing.T, s *Source) map[eventlog.Stream]string {
	t.Helper()
	all := map[eventlog.Stream]string{}
	for c, err := range s.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Parts {
			all[p.Stream] = ""
		}
	}
	core := &central.Central{Log: s, Codec: eventjson.Codec{}}
	for stream := range all {
		document, err := mongo.Document(stream, core.Parts(t.Context(), stream, 1))
		if err != nil {
			t.Fatal(err)
		}
		all[stream] = document
	}
	return all
}

// shut ends the reading before the test does.
func shut(t *testing.T, s *Source) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.close = nil
}

func TestAnArchivedLogWithItsArchiveIsTheLogAsItWas(t *testing.T) {
	file, over, closed := threeMonths(t)
	everywhere(t, func(t *testing.T, place func() string) {
		log, dir := place(), filepath.Join(t.TempDir(), "archive")
		fillFrom(t, file, log)
		before, _ := content(t, log)
		source := joined(t, log, "")
		keys := signed(t, source, 50)
		folded := documents(t, source)
		shut(t, source)
		outside := Outside{Key: filepath.Join(keys, notary.PublicName), Checkpoints: []string{keys}}
		whole, err := verifiedWith(t, log, "", outside)
		if err != nil {
			t.Fatal(err, whole)
		}
		prove := func(archive string, id domain.SessionID) string {
			printed, err := run(t, "", func(p *program.Process) error {
				return Prove(t.Context(), p, ProveConfig{Session: id, Source: log, Archive: archive, Mongo: mongo.Config{Logger: quiet}, Samples: true})
			})
			if err != nil {
				t.Fatal(err)
			}
			return printed
		}
		some := closed[:5]
		accounts := map[domain.SessionID]string{}
		for _, id := range some {
			accounts[id] = prove("", id)
		}

		printed, err := archivedTo(t, log, dir, over)
		if err != nil || !strings.Contains(printed, "2027-01.jsonl.gz has ") || !strings.Contains(printed, "2027-02.jsonl.gz has ") || strings.Contains(printed, "2027-03") {
			t.Fatalf("%v, it prints\n%s", err, printed)
		}
		if printed, err := archivedTo(t, log, dir, over); err != nil || printed != "archived 0 samples of 0 sessions\n" {
			t.Errorf("then %v, it prints\n%s", err, printed)
		}

		after := joined(t, log, dir)
		if trailer, err := export(t.Context(), after, after.Network, "-", &strings.Builder{}, func() {}); err != nil || trailer != before {
			t.Errorf("with its archive it comes to %+v, %v, and came to %+v", trailer, err, before)
		}
		if now := documents(t, after); !maps.Equal(now, folded) {
			t.Error("with its archive it folds to other documents")
		}
		shut(t, after)
		if printed, err := verifiedWith(t, log, dir, outside); err != nil || printed != whole {
			t.Errorf("with its archive: %v, verify prints\n%sand printed\n%s", err, printed, whole)
		}
		if printed, err := verifiedWith(t, log, "", outside); err != nil || !strings.Contains(printed, " in an archive that was not looked at (--archive), all is well\n") {
			t.Errorf("without its archive: %v, verify prints\n%s", err, printed)
		}
		for _, id := range some {
			if now := prove(dir, id); now != accounts[id] {
				t.Errorf("it proves\n%s\nand proved\n%s", now, accounts[id])
			}
		}
		if _, err := run(t, "", func(p *program.Process) error {
			return Export(t.Context(), p, ExportConfig{Source: log, Mongo: mongo.Config{Logger: quiet}, File: "-"})
		}); err == nil || !strings.Contains(err.Error(), "name its folder, too, with --archive") {
			t.Errorf("without its archive an export says %v", err)
		}
		second := place()
		if _, err := run(t, "", func(p *program.Process) error {
			return Import(t.Context(), p, ImportConfig{Source: log, Archive: dir, Log: second, Mongo: mongo.Config{Logger: quiet}})
		}); err != nil {
			t.Error(err)
		}
		if copied, _ := content(t, second); copied.Digest != before.Digest {
			t.Errorf("what is imported of both comes to %+v, want %+v", copied, before)
		}
	})
}

// Whoever reads the sessions of months one after the other, or some at once, unpacks no file twice.
func TestAFileOfAnArchiveIsUnpackedOnce(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	file, over, closed := threeMonths(t)
	log, dir := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "archive")
	fillFrom(t, file, log)
	archiveTo(t, log, dir, over)
	source := joined(t, log, dir)
	unpacked := map[string]bool{}
	look := func() {
		kept, err := os.ReadDir(os.Getenv("TMPDIR"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range kept {
			unpacked[f.Name()] = true
		}
		if len(kept) > 1 {
			t.Errorf("%v are there at once", kept)
		}
	}
	for _, id := range closed {
		var readers sync.WaitGroup
		for range 3 {
			readers.Go(func() {
				for _, err := range source.Read(t.Context(), eventlog.Stream("session-"+string(id)), 1) {
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		readers.Wait()
		look()
	}
	if files, err := filepath.Glob(filepath.Join(dir, archivePattern)); err != nil || len(files) < 2 || len(unpacked) != len(files) {
		t.Errorf("%d of %d files, %v", len(unpacked), len(files), err)
	}
	shut(t, source)
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

// A file of an archive is a log of its own.
func TestAnArchiveMayBeInTheFolderOfItsLog(t *testing.T) {
	file, over, _ := threeMonths(t)
	log := filepath.Join(t.TempDir(), "log")
	fillFrom(t, file, log)
	if printed, err := archivedTo(t, log, log, over); err != nil || !strings.Contains(printed, "archived 518 samples") {
		t.Errorf("%v, it prints %s", err, printed)
	}
	if printed, err := verifiedWith(t, log, log, Outside{}); err != nil {
		t.Errorf("%v, it prints %s", err, printed)
	}
}

// With its archive, too, a log in a MongoDB is the one of the documents beside it: of those nothing
// is newer than it.
func TestTheDocumentsBesideAnArchivedLogAreItsOwn(t *testing.T) {
	uri, db := withDatabase(t)
	file, over, closed := threeMonths(t)
	fillFrom(t, file, uri)
	dir := filepath.Join(t.TempDir(), "archive")
	archiveTo(t, uri, dir, over)
	rebuilt := func() (string, error) {
		return run(t, "", func(p *program.Process) error {
			return Run(t.Context(), p, Config{Source: uri, Archive: dir, Mongo: mongo.Config{URI: uri, Logger: quiet}})
		})
	}
	first, err := rebuilt()
	if err != nil {
		t.Fatal(err, first)
	}
	// a session whose document says that it is a minute newer than the log
	last := domain.UnixMillis(0)
	source := joined(t, uri, dir)
	for c, err := range source.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		last = c.At
	}
	shut(t, source)
	future := bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: int64(99_999)}, {Key: "updated_at", Value: last.Add(time.Minute).Time()}}}}
	if done, err := db.Collection("sessions").UpdateOne(t.Context(), bson.D{{Key: "id", Value: string(closed[0])}}, future); err != nil || done.ModifiedCount != 1 {
		t.Fatal(done, err)
	}
	if printed, err := rebuilt(); err != nil || !strings.Contains(printed, "1 that were behind or said something else") {
		t.Errorf("%v, it prints %s", err, printed)
	}
}

func TestAFileOfAnArchiveIsALog(t *testing.T) {
	file, over, closed := threeMonths(t)
	log, dir := filepath.Join(t.TempDir(), "log"), t.TempDir()
	fillFrom(t, file, log)
	archiveTo(t, log, dir, over)
	files, err := archiveFiles(dir, known)
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	proved := 0
	for _, file := range files {
		if printed, err := verified(t, file, ""); err != nil {
			t.Errorf("%v\n%s", err, printed)
		}
		for _, id := range closed {
			_, err := run(t, "", func(p *program.Process) error {
				return Prove(t.Context(), p, ProveConfig{Session: id, Source: file})
			})
			if err == nil {
				proved++
			}
			if err != nil && !errors.Is(err, audit.ErrNoSession) {
				t.Error(err)
			}
			if proved == 3 {
				return
			}
		}
	}
	t.Errorf("%d sessions are proved", proved)
}

// Wherever an earlier run broke off, the next goes on, and nothing is lost.
func TestArchivingGoesOnWhereItBrokeOff(t *testing.T) {
	file, over, _ := threeMonths(t)
	base := filepath.Join(t.TempDir(), "log")
	fillFrom(t, file, base)
	given := func(t *testing.T) (log, dir string) {
		log, dir = filepath.Join(t.TempDir(), "log"), t.TempDir()
		if err := os.CopyFS(log, os.DirFS(base)); err != nil {
			t.Fatal(err)
		}
		return log, dir
	}
	whole, dir := given(t)
	before, _ := content(t, whole)
	first, err := archivedTo(t, whole, dir, over)
	if err != nil {
		t.Fatal(err)
	}
	files, err := archiveFiles(dir, known)
	if err != nil {
		t.Fatal(err)
	}
	removed := first[strings.LastIndex(first, "archived "):]
	for n := range len(files) + 1 {
		log, dir := given(t)
		for _, name := range files[:n] { // it has come so far
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "part-2027-02.jsonl.gz"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		printed, err := archivedTo(t, log, dir, over)
		if err != nil || !strings.HasSuffix(printed, removed) || strings.Count(printed, " has ") != len(files)-n {
			t.Errorf("with %d files: %v, it prints\n%swant\n%s", n, err, printed, removed)
		}
		s := joined(t, log, dir)
		if trailer, err := export(t.Context(), s, s.Network, "-", &strings.Builder{}, func() {}); err != nil || trailer.Digest != before.Digest {
			t.Errorf("with %d files: it comes to %+v, %v", n, trailer, err)
		}
	}

	// An archive of another copy of the log is none of this.
	other := filepath.Join(t.TempDir(), "other")
	fillFrom(t, base, other)
	if _, err := archivedTo(t, other, dir, over); !errors.Is(err, ErrForeignArchive) {
		t.Errorf("with the archive of another log it says %v", err)
	}

	// It had removed some of the samples, and then its archive is not there.
	log, dir := given(t)
	source, err := openLog(t, log, "")
	if err != nil {
		t.Fatal(err)
	}
	sessions, _, err := audit.Archivables(t.Context(), source, over, func() {})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, source)
	for _, stream := range slices.Sorted(maps.Keys(sessions)) {
		s := sessions[stream]
		if _, err := bbolt.Archive(t.Context(), log, bbolt.Options{Logger: quiet}, map[eventlog.Stream]eventlog.Moved{stream: {Before: s.Sample - 1, Archive: "lost.jsonl.gz"}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := archivedTo(t, log, dir, over); !errors.Is(err, ErrArchiveLost) {
		t.Errorf("without what was archived before it says %v", err)
	}
}

// Whatever a folder is called, and wherever the files of earlier runs are now, a run takes a name for
// its file that none of them has, or ever had.
func TestNoFileOfAnArchiveIsReplaced(t *testing.T) {
	file, over, _ := threeMonths(t)
	whole, err := openLog(t, file, "")
	if err != nil {
		t.Fatal(err)
	}
	sessions, _, err := audit.Archivables(t.Context(), whole, over, func() {})
	if err != nil {
		t.Fatal(err)
	}
	var ends []eventlog.Position // of the sessions of the first month
	for _, s := range sessions {
		if s.Month == "2027-01" {
			ends = append(ends, s.Last)
		}
	}
	slices.Sort(ends)
	cuts := []eventlog.Position{0, ends[0], ends[len(ends)/2], ends[len(ends)-1]}
	kept := t.TempDir()
	for name, c := range map[string]struct {
		dir   string
		moved []string // before the last run
	}{
		"none moved":         {"archive", nil},
		"a name with signs":  {"arch[1]", nil},
		"the first is moved": {"archive", []string{"2027-01.jsonl.gz"}},
		"the last is moved":  {"archive", []string{"2027-01.2.jsonl.gz"}},
		"all are moved":      {"archive", []string{"2027-01.jsonl.gz", "2027-01.2.jsonl.gz"}},
	} {
		t.Run(name, func(t *testing.T) {
			log, dir := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), c.dir)
			wrote := map[string][]byte{}
			for run, to := range cuts[1:] {
				stored := open(t, log)
				part := func(yield func(eventlog.Positioned, error) bool) {
					for c, err := range whole.All(t.Context(), 1) {
						if c.Position > cuts[run] && c.Position <= to && !yield(c, err) {
							return
						}
					}
				}
				if err := errors.Join(fill(t.Context(), stored, part, func() {}), stored.Close()); err != nil {
					t.Fatal(err)
				}
				if run == 2 {
					for _, name := range c.moved {
						if err := os.Rename(filepath.Join(dir, name), filepath.Join(kept, name)); err != nil {
							t.Fatal(err)
						}
					}
				}
				if printed, err := archivedTo(t, log, dir, over); err != nil || !strings.Contains(printed, ".jsonl.gz has ") {
					t.Fatalf("run %d: %v, it prints\n%s", run, err, printed)
				}
				for name, text := range wrote {
					if now, err := os.ReadFile(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) && !slices.Equal(now, text) {
						t.Fatalf("run %d: %s is another file, %v", run, name, err)
					}
				}
				files, err := os.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					if wrote[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
						t.Fatal(err)
					}
				}
			}
			maps.DeleteFunc(wrote, func(name string, _ []byte) bool { return !strings.HasPrefix(name, "2027-01") })
			if names := slices.Sorted(maps.Keys(wrote)); !slices.Equal(names, []string{"2027-01.2.jsonl.gz", "2027-01.3.jsonl.gz", "2027-01.jsonl.gz"}) {
				t.Fatalf("there are %v", names)
			}
			for _, name := range c.moved { // and back
				if err := os.Rename(filepath.Join(kept, name), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if printed, err := verifiedWith(t, log, dir, Outside{}); err != nil || strings.Contains(printed, "archive") {
				t.Errorf("with its archive: %v, verify prints\n%s", err, printed)
			}
		})
	}
}

func TestTwoDoNotArchiveToOneFolder(t *testing.T) {
	file, over, _ := threeMonths(t)
	log, dir := filepath.Join(t.TempDir(), "log"), t.TempDir()
	fillFrom(t, file, log)
	other, err := durable.Take(filepath.Join(dir, lockName), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archivedTo(t, log, dir, over); !errors.Is(err, ErrArchiveInUse) || !strings.HasPrefix(err.Error(), dir) {
		t.Errorf("while another does it says %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 1 {
		t.Errorf("it leaves %v, %v", files, err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if printed, err := archivedTo(t, log, dir, over); err != nil {
			t.Errorf("then %v, it prints\n%s", err, printed)
		}
	}
}

// What is wrong with an archive is found where it is at hand.
func TestAnArchiveThatIsNotWhole(t *testing.T) {
	file, over, _ := threeMonths(t)
	log, dir := filepath.Join(t.TempDir(), "log"), t.TempDir()
	fillFrom(t, file, log)
	archiveTo(t, log, dir, over)
	first := filepath.Join(dir, "2027-01.jsonl.gz")
	whole, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	changed := slices.Clone(whole)
	changed[len(changed)/2] ^= 4
	other, err := os.ReadFile(filepath.Join(dir, "2027-02.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text         []byte
		says, verify string
	}{
		"cut off": {whole[:len(whole)/2], "the log ends too early", "the log ends too early"},
		"changed": {changed, "2027-01.jsonl.gz", "2027-01.jsonl.gz"},
		"empty":   {nil, "the log ends too early", "the log ends too early"},
		"other":   {other, "does not have them: the archive is of another log", "2027-01.jsonl.gz: what was moved to the archive can't be read there, "},
		"gone":    {[]byte("gone"), "in the archive, in 2027-01.jsonl.gz: " + dir + " has no such file", "2027-01.jsonl.gz: what was moved to the archive can't be read there, "},
	} {
		if err := os.WriteFile(first, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "gone" {
			if err := os.Remove(first); err != nil {
				t.Fatal(err)
			}
		}
		printed, err := verifiedWith(t, log, dir, Outside{})
		if !errors.Is(err, ErrFindings) || strings.HasSuffix(printed, "all is well\n") || strings.Contains(printed, "--archive") || !strings.Contains(printed, c.verify) {
			t.Errorf("%s: %v, it prints\n%.600s", name, err, printed)
		}
		if _, err := run(t, "", func(p *program.Process) error {
			return Export(t.Context(), p, ExportConfig{Source: log, Archive: dir, File: filepath.Join(t.TempDir(), "x")})
		}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: an export says %v", name, err)
		}
	}
	empty := t.TempDir()
	if _, err := verifiedWith(t, log, empty, Outside{}); !errors.Is(err, ErrNoLog) {
		t.Errorf("of a folder without an archive it says %v", err)
	}
	strange := filepath.Join(empty, "2027-01.jsonl.gz")
	if _, err := export(t.Context(), memory.NewLog(), uuid.New(), strange, nil, func() {}); err != nil {
		t.Fatal(err)
	}
	if _, err := verifiedWith(t, log, empty, Outside{}); !errors.Is(err, ErrForeignArchive) {
		t.Errorf("of the archive of another network it says %v", err)
	}
}

// archivedThere is an archived log with its archive, a session whose samples are in it, and what the
// file of it has, unpacked.
func archivedThere(t *testing.T) (log, dir string, session domain.SessionID, text []byte) {
	t.Helper()
	file, over, _ := threeMonths(t)
	log, dir = filepath.Join(t.TempDir(), "log"), t.TempDir()
	fillFrom(t, file, log)
	source, err := openLog(t, log, "")
	if err != nil {
		t.Fatal(err)
	}
	sessions, _, err := audit.Archivables(t.Context(), source, over, func() {})
	if err != nil {
		t.Fatal(err)
	}
	shut(t, source)
	last := eventlog.Position(0)
	for stream, s := range sessions {
		if s.Month == "2027-01" && s.Last > last {
			last, session = s.Last, domain.SessionID(strings.TrimPrefix(string(stream), "session-"))
		}
	}
	archiveTo(t, log, dir, over)
	from, err := openFile(filepath.Join(dir, "2027-01.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if text, err = io.ReadAll(from); err != nil {
		t.Fatal(err)
	}
	return log, dir, session, text
}

// gzipped is a text as a file of an archive has it.
func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var pack bytes.Buffer
	zip := gzip.NewWriter(&pack)
	if _, err := zip.Write(text); err != nil || zip.Close() != nil {
		t.Fatal(err)
	}
	return pack.Bytes()
}

// Who asks for one session is told what is wrong with the file that it is in.
func TestASessionInAnArchiveThatIsNotWhole(t *testing.T) {
	log, dir, session, text := archivedThere(t)
	file := filepath.Join(dir, "2027-01.jsonl.gz")
	whole := gzipped(t, text)
	sample := bytes.LastIndex(text, []byte(`"kind":"sample"`)) // that is in the log, too
	sample = bytes.LastIndex(text[:sample], []byte(`"kind":"sample"`))
	changed := slices.Clone(text)
	changed[sample+bytes.IndexByte(text[sample:], '}')-4] ^= 1
	other, err := os.ReadFile(filepath.Join(dir, "2027-02.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	const foreign = "FILE does not have them: the archive is of another log"
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"empty":           {nil, "line 1 of FILE: the log ends too early: unpack it: unexpected EOF"},
		"cut off":         {whole[:len(whole)/2], "line [0-9]+ of FILE: the log ends too early: unpack it: unexpected EOF"},
		"no gzip":         {text, "line 1 of FILE: the log ends too early: unpack it: gzip: invalid header"},
		"changed":         {gzipped(t, changed), "line [0-9]+ of FILE: malformed commit: the hash of part 0 of .* is not that of its content"},
		"of another log":  {other, foreign},
		"another history": {gzipped(t, otherwise(t, text, central.SessionStream(session))), foreign},
	} {
		if err := os.WriteFile(file, c.text, 0o600); err != nil {
			t.Fatal(err)
		}
		want := regexp.MustCompile(`versions [0-9]+ to [0-9]+ of session-` + string(session) + ` are in the archive, in 2027-01\.jsonl\.gz: ` + strings.ReplaceAll(c.says, "FILE", regexp.QuoteMeta(file)) + `\n`)
		past := PastConfig{Source: log, Archive: dir}
		for command, do := range map[string]func(p *program.Process) error{
			"prove": func(p *program.Process) error {
				return Prove(t.Context(), p, ProveConfig{Session: session, Source: log, Archive: dir})
			},
			"show": func(p *program.Process) error { return ShowSession(t.Context(), p, past, session) },
			"why":  func(p *program.Process) error { return WhySession(t.Context(), p, past, session, false) },
		} {
			t.Run(name+", "+command, func(t *testing.T) {
				var said strings.Builder
				printed, err := run(t, "", func(p *program.Process) error {
					p.Stderr = &said
					return do(p)
				})
				switch command {
				case "prove":
					if err == nil || !want.MatchString(err.Error()+"\n") || printed != "" {
						t.Errorf("it says %v, and prints\n%s", err, printed)
					}
				default: // a session that is closed is known without its samples
					if !errors.Is(err, ErrIncomplete) || !want.MatchString(said.String()) || !strings.Contains(printed, "CLOSED") {
						t.Errorf("%v, it says\n%sand prints\n%s", err, said.String(), printed)
					}
				}
			})
		}
	}
}

// The documents of archived sessions need the archive, and the last word says so once.
func TestARebuildWithoutTheArchive(t *testing.T) {
	log, dir, _, _ := archivedThere(t)
	uri, _ := withDatabase(t)
	rebuilt := func(archive string) error {
		_, err := run(t, "", func(p *program.Process) error {
			return Run(t.Context(), p, Config{Source: log, Archive: archive, Mongo: mongo.Config{URI: uri, Logger: quiet}})
		})
		return err
	}
	if err := rebuilt(""); !errors.Is(err, ErrIncomplete) || strings.Count(err.Error(), "--archive") != 1 {
		t.Errorf("without its archive it says %v", err)
	}
	if err := rebuilt(dir); err != nil {
		t.Errorf("with its archive it says %v", err)
	}
}

// What is in an archive is there already, as the hashes around it say: a log is added to without it.
func TestAnImportIntoAnArchivedLog(t *testing.T) {
	full, over, _ := threeMonths(t)
	text, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := openLog(t, full, "")
	if err != nil {
		t.Fatal(err)
	}
	sessions, _, err := audit.Archivables(t.Context(), whole, over, func() {})
	if err != nil {
		t.Fatal(err)
	}
	stream := slices.Sorted(maps.Keys(sessions))[0]
	var all []eventlog.Commit
	amid := 0 // samples of the stream
	for c, err := range whole.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, c.Commit); c.Parts[0].Stream == stream && c.Parts[0].Last() == sessions[stream].Sample-2 {
			amid = len(all)
		}
	}
	begin, _ := exported(t, known, all[:len(all)-50], "begin.jsonl")
	short, _ := exported(t, known, all[:amid], "short.jsonl")
	changed := filepath.Join(t.TempDir(), "changed.jsonl")
	if err := os.WriteFile(changed, otherwise(t, text, stream), 0o600); err != nil {
		t.Fatal(err)
	}
	everywhere(t, func(t *testing.T, place func() string) {
		log, dir := place(), t.TempDir()
		fillFrom(t, begin, log)
		if printed, err := archivedTo(t, log, dir, over); err != nil || strings.Contains(printed, "archived 0") {
			t.Fatal(printed, err)
		}
		digest := func() string {
			s := joined(t, log, dir)
			defer shut(t, s)
			trailer, err := export(t.Context(), s, s.Network, "-", &strings.Builder{}, func() {})
			if err != nil {
				t.Fatal(err)
			}
			return trailer.Digest.String()
		}
		before := digest()
		var contradiction *audit.ContradictionError
		if printed, err := imported(t, changed, log); !errors.As(err, &contradiction) || contradiction.Stream != stream {
			t.Errorf("what contradicts: %v, it prints %s", err, printed)
		}
		var archived *audit.AmidArchiveError
		if printed, err := imported(t, short, log); !errors.As(err, &archived) {
			t.Errorf("what ends amid the archived samples: %v, it prints %s", err, printed)
		}
		if printed, err := imported(t, begin, log); err != nil || printed != fmt.Sprintf("imported 0 commits; %d commits there already\n", len(all)-50) {
			t.Errorf("what was there before: %v, it prints %s", err, printed)
		}
		if now := digest(); now != before {
			t.Errorf("it comes to %s, and came to %s", now, before)
		}
		if printed, err := imported(t, full, log); err != nil || printed != fmt.Sprintf("imported 50 commits; %d commits there already\n", len(all)-50) {
			t.Errorf("what is longer: %v, it prints %s", err, printed)
		}
		if want, _ := content(t, full); digest() != want.Digest.String() {
			t.Errorf("with its archive it comes to %s, want %s", digest(), want.Digest)
		}
	})
}

// otherwise are lines in which a stream's samples have another text, and are chained anew.
func otherwise(t *testing.T, text []byte, stream eventlog.Stream) []byte {
	t.Helper()
	var out bytes.Buffer
	lines := jsonl.NewReader(bytes.NewReader(text))
	header, _ := lines.Header()
	w, err := jsonl.NewWriter(&out, header)
	if err != nil {
		t.Fatal(err)
	}
	last := eventlog.Hash{}
	for c, err := range commits("lines", lines) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Parts {
			p := &c.Parts[i]
			if p.Stream != stream {
				continue
			}
			if p.Kind == eventlog.Sample {
				p.Body = bytes.Replace(p.Body, []byte(`"power":`), []byte(`"power":1`), 1)
			}
			if p.Prev = last; p.Version == 1 {
				p.Prev = eventlog.Hash{}
			}
			p.Hash = p.Sum()
			last = p.Hash
		}
		if err := w.Write(c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWhatCanNotBeArchived(t *testing.T) {
	file, over, _ := threeMonths(t)
	for _, log := range []string{file, "-", "http://127.0.0.1:7080"} {
		if _, err := archivedTo(t, log, t.TempDir(), over); !errors.Is(err, ErrNoArchive) {
			t.Errorf("%s: it says %v", log, err)
		}
	}
	dir := filepath.Join(t.TempDir(), "log")
	fillFrom(t, file, dir)
	used, err := bbolt.Open(dir, bbolt.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	if _, err := archivedTo(t, dir, t.TempDir(), over); !errors.Is(err, bbolt.ErrInUse) {
		t.Errorf("of a log that is in use it says %v", err)
	}
}

// What an archived session leaves in the log, and takes in the archive for each hour, in bytes,
// as docs/figures.md says it.
const (
	leftOfASession = 6_000
	hourInArchive  = 420_000
)

func TestWhatAnArchivedSessionCosts(t *testing.T) {
	const points, seconds = 100, 300
	log := memory.NewLog()
	n := audittest.New(t, log, eventjson.Codec{})
	supplying(n, points, seconds, true)
	folder, dir := filepath.Join(t.TempDir(), "log"), t.TempDir()
	stored := open(t, folder)
	if err := fill(t.Context(), stored, log.All(t.Context(), 1), func() {}); err != nil {
		t.Fatal(err)
	}
	if err := stored.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := archivedTo(t, folder, dir, n.Now.Add(60*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	segments, err := filepath.Glob(filepath.Join(folder, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	for _, name := range segments {
		left += sizeOf(t, name)
	}
	left, packed := left/points, sizeOf(t, dir)*3_600/(points*seconds)
	t.Logf("an archived session leaves %d bytes in the log, and takes %d in the archive for each hour", left, packed)
	if left > leftOfASession*11/10 || packed > hourInArchive*11/10 {
		t.Error("docs/figures.md says something else")
	}
}
