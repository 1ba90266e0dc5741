package replay

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/adapters/mongo"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

var (
	events = flag.Int("events", 20_000, "how many events TestAMillionEvents makes")
	keep   = flag.String("keep", "", "the folder in which TestAMillionEvents leaves its logs")
)

// networks is how many live in one log, each with a Central and points of its own: what they
// append at the same time is written together.
const networks = 64

// live has networks of some points live side by side, in step, until so many events are in a log.
func live(t *testing.T, log eventlog.Log, events int) (made int) {
	t.Helper()
	all := make([]*audittest.History, networks)
	for i := range all {
		points := make([]domain.PointID, 8)
		for j := range points {
			points[j] = domain.PointID(fmt.Sprintf("CP-%03d", i*len(points)+j+1))
		}
		all[i] = audittest.NewHistory(t, log, eventjson.Codec{}, uint64(i), points...)
	}
	for made < events && !t.Failed() {
		var step sync.WaitGroup
		for _, h := range all {
			step.Go(func() { h.Pass(10 * time.Second) })
		}
		step.Wait()
		made = 0
		for _, h := range all {
			made += h.Events
		}
	}
	return made
}

// A log of many events, with everything that can happen in it, is the same in every kind of
// log, and so are its documents. docs/figures.md has the figures of a million:
//
//	go test ./cmd/internal/replay -run TestAMillionEvents -v -timeout 1h -args -events 1000000 -keep DIR
func TestAMillionEvents(t *testing.T) {
	dir := *keep
	if dir == "" {
		dir = t.TempDir()
	}
	folder, file, again := filepath.Join(dir, "log"), filepath.Join(dir, "log.jsonl"), filepath.Join(dir, "imported")
	m := &million{T: t}
	log := open(t, folder)
	m.step("live", func(*program.Process) error {
		m.events = live(t, log, *events)
		return log.Close()
	})
	m.verify(folder)
	digest := m.export(folder, file)
	m.verify(file)
	m.imports(file, again)
	if got := m.export(again, filepath.Join(dir, "again.jsonl.gz")); got != digest {
		t.Errorf("the log that was imported has digest %s, not %s", got, digest)
	}

	documents := documentsOf(t, folder)
	if got := documentsOf(t, again); got != documents {
		t.Errorf("the documents of the log that was imported are %s, not %s", got, documents)
	}
	t.Run("memory", func(t *testing.T) {
		if *events > 100_000 {
			t.Skip("a million events are a gigabyte")
		}
		log := memory.NewLog()
		p := &program.Process{Stdout: io.Discard, Stderr: io.Discard, Logger: quiet}
		err := withSource(t.Context(), p, file, mongo.Config{}, func(s *Source) error {
			return fill(t.Context(), log, s.All(t.Context(), 1), func() {})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := digestOf(t, log); got != documents {
			t.Errorf("the documents of the log in memory are %s, not %s", got, documents)
		}
	})
	t.Run("MongoDB", func(t *testing.T) {
		m := &million{t, m.events}
		uri, _ := withDatabase(t)
		m.imports(folder, uri)
		m.verify(uri)
		if got := m.export(uri, filepath.Join(dir, "mongo.jsonl")); got != digest {
			t.Errorf("the log in MongoDB has digest %s, not %s", got, digest)
		}
		rebuilt := m.rebuild(uri, uri)
		other, _ := withDatabase(t)
		for _, source := range []string{folder, file} {
			if got := m.rebuild(source, other); got != rebuilt {
				t.Errorf("rebuilt from %s the documents have digest %s, not %s", filepath.Base(source), got, rebuilt)
			}
		}
	})
}

// million is a log of many events that is taken through the commands of ev-replay.
type million struct {
	*testing.T
	events int
}

// step runs a command, tells how long it took, and gives what it printed.
func (m *million) step(name string, do func(p *program.Process) error) string {
	m.Helper()
	var said bytes.Buffer
	began := time.Now()
	if err := do(&program.Process{Stdin: strings.NewReader(""), Stdout: &said, Stderr: io.Discard, Logger: quiet}); err != nil {
		m.Fatalf("%s: %v\n%s", name, err, said.String())
	}
	took := time.Since(began)
	m.Logf("%s: %d events in %s, %d a second", name, m.events, took.Round(time.Millisecond), int64(m.events)*int64(time.Second)/int64(took))
	return said.String()
}

func (m *million) verify(source string) {
	m.Helper()
	said := m.step("verify "+base(source), func(p *program.Process) error { return Verify(m.Context(), p, VerifyConfig{Source: source}) })
	if want := fmt.Sprintf("the event log: %d events of ", m.events); !strings.HasPrefix(said, want) || !strings.Contains(said, "all is well") {
		m.Errorf("verified is %s, not %s", said, want)
	}
}

// export gives the digest of the log, rebuild that of its documents.
func (m *million) export(source, to string) string {
	m.Helper()
	return m.digest(m.step("export "+base(source), func(p *program.Process) error {
		return Export(m.Context(), p, ExportConfig{Source: source, File: to})
	}))
}

func (m *million) rebuild(source, uri string) string {
	m.Helper()
	return m.digest(m.step("rebuild from "+base(source), func(p *program.Process) error {
		return Run(m.Context(), p, Config{Source: source, Mongo: mongo.Config{URI: uri, Logger: quiet}})
	}))
}

func (m *million) digest(said string) string {
	m.Helper()
	found := regexp.MustCompile("[0-9a-f]{64}").FindString(said)
	if found == "" {
		m.Fatalf("it says %s", said)
	}
	return found
}

func (m *million) imports(source, log string) {
	m.Helper()
	m.step("import "+base(source), func(p *program.Process) error {
		return Import(m.Context(), p, ImportConfig{Source: source, Log: log})
	})
}

// base is how a log is called: not with a user's password.
func base(name string) string {
	if program.IsMongo(name) {
		return "MongoDB"
	}
	return filepath.Base(name)
}

func open(t *testing.T, folder string) *bbolt.Log {
	t.Helper()
	log, err := bbolt.Open(folder, bbolt.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// documentsOf is a digest over the documents of a log in a folder.
func documentsOf(t *testing.T, folder string) string {
	t.Helper()
	log := open(t, folder)
	defer log.Close()
	return digestOf(t, log)
}

// digestOf is a digest over the documents of a log, in whatever order it has the streams.
func digestOf(t *testing.T, log eventlog.Log) string {
	t.Helper()
	core := &central.Central{Log: log, Codec: eventjson.Codec{}}
	sum := new(big.Int)
	for c, err := range log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Parts {
			if p.Version != 1 {
				continue
			}
			document, err := mongo.Document(p.Stream, core.Parts(t.Context(), p.Stream, 1))
			if err != nil {
				t.Fatal(err)
			}
			of := sha256.Sum256([]byte(string(p.Stream) + document))
			sum.Add(sum, new(big.Int).SetBytes(of[:]))
		}
	}
	return sum.Text(16)
}
