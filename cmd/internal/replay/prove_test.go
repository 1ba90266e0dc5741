package replay

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"evcharging/adapters/broker"
	"evcharging/adapters/kafka"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
	"evcharging/domain/session"
)

// signed is a folder of checkpoints over a log, made after each so many commits.
func signed(t *testing.T, log eventlog.Log, each int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "checkpoints")
	folder, err := notary.OpenFolder(dir, "", uuid.UUID{1})
	if err != nil {
		t.Fatal(err)
	}
	var changes audit.Changes
	var last eventlog.Positioned
	sign := func() {
		checkpoint, record := folder.Chain().Next(uuid.UUID{1}, last.At.Add(time.Second), changes.Heads())
		if _, err := folder.Append(checkpoint, record, last.Position, last.ID); err != nil {
			t.Fatal(err)
		}
		changes = audit.Changes{}
	}
	for c, err := range log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		changes.Take(c.Commit)
		if last = c; int(c.Position)%each == 0 {
			sign()
		}
	}
	sign()
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// kept is a log with supplies of every ending as a file, and its folder of checkpoints.
func kept(t *testing.T) (file, dir string, every []audittest.Supply) {
	t.Helper()
	log, all := supplies(t)
	file = filepath.Join(t.TempDir(), "log.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(written(t, log), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, signed(t, log, 10), all
}

func TestProveTellsWhyABillIsWhatItIs(t *testing.T) {
	file, _, all := kept(t)
	for _, s := range all {
		printed, err := run(t, "", func(p *program.Process) error {
			return Prove(t.Context(), p, ProveConfig{Session: s.Session, Source: file})
		})
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		says := []string{"session " + string(s.Session) + ": " + string(s.Status)}
		if s.Amount != "" {
			says = append(says, "price     "+s.Price+" EUR/kWh, fixed by the grant at 2027-", "energy    "+s.Energy+" kWh, from "+s.From+"\n",
				"amount    "+s.Formula+"\n", "reason    "+s.Reason+"\n", "digest    ", " granted at "+s.Price+" EUR/kWh")
		}
		if len(s.Gaps) > 0 {
			says = append(says, "missing   among the samples' numbers: "+strings.Join(s.Gaps, ", ")+"\n",
				"ignored up to the close: 2 that were not newer, 1 with less energy than before\n")
		}
		if s.Revisions == 2 {
			says = append(says, "revision  1 at 2027-", "8 kWh instead of 7, 2.4 EUR instead of 2.1: 0.3 EUR more\n",
				"revision  2 at 2027-", "8.5 kWh instead of 8, 2.55 EUR instead of 2.4: 0.15 EUR more\n", "revision 2\n")
		}
		if s.Status == session.Refused {
			says = append(says, "refused   DISCONNECTED\n")
		}
		for _, want := range says {
			if !strings.Contains(printed, want) {
				t.Errorf("%s: it prints\n%s\nwant %q", s.Name, printed, want)
			}
		}
		told, err := run(t, "", func(p *program.Process) error {
			return Prove(t.Context(), p, ProveConfig{Session: s.Session, Source: file, JSON: true})
		})
		var shape accountShape
		if err == nil {
			err = json.Unmarshal([]byte(told), &shape, json.RejectUnknownMembers(true))
		}
		if err != nil || shape.Session != s.Session || len(shape.Inputs) == 0 || (shape.Bill != nil) != (s.Amount != "") ||
			shape.Bill != nil && (shape.Bill.Amount.String() != s.Amount || shape.Bill.Formula != s.Formula) || len(shape.Revisions) != s.Revisions {
			t.Errorf("%s: programs are told %s, %v", s.Name, told, err)
		}
	}
}

func TestProveTellsSomeOfManySamples(t *testing.T) {
	var inputs []audit.Input
	add := func(n int, sample bool) {
		for range n {
			inputs = append(inputs, audit.Input{Version: eventlog.Version(len(inputs) + 1), Said: []string{"x"}, Sample: sample})
		}
	}
	add(2, false)
	add(50, true)
	add(1, false)
	add(7, true)
	add(2, false)
	var some, each bytes.Buffer
	tellInputs(&some, inputs, false)
	tellInputs(&each, inputs, true)
	if got := strings.Count(some.String(), "\n"); got != 2+2+7+1+7+2 || !strings.Contains(some.String(), "44 samples more") {
		t.Errorf("it tells %d lines:\n%s", got, some.String())
	}
	if got := strings.Count(each.String(), "\n"); got != 2+len(inputs) {
		t.Errorf("it tells %d lines where each is asked for", got)
	}
}

func TestAProofIsExportedAndChecked(t *testing.T) {
	file, dir, all := kept(t)
	out := Outside{Key: filepath.Join(dir, notary.PublicName), Checkpoints: []string{dir}}
	proof := filepath.Join(t.TempDir(), "proof.json")
	export := func(id domain.SessionID, o Outside) error {
		_, err := run(t, "", func(p *program.Process) error {
			return Prove(t.Context(), p, ProveConfig{Session: id, Source: file, Export: proof, Outside: o})
		})
		return err
	}
	check := func(key string) (string, error) {
		return run(t, "", func(p *program.Process) error { return Check(t.Context(), p, CheckConfig{File: proof, Key: key}) })
	}
	for _, s := range all {
		err := export(s.Session, out)
		if s.Amount == "" {
			if !errors.Is(err, audit.ErrNoBill) {
				t.Errorf("%s: without a bill it says %v", s.Name, err)
			}
			continue
		}
		printed, err := check(out.Key)
		if err != nil || !strings.Contains(printed, s.Formula) || !strings.Contains(printed, "\nproved    by checkpoint ") {
			t.Errorf("%s: %v, it prints\n%s", s.Name, err, printed)
		}
	}
	other := signed(t, mustLog(supplies(t)), 5)
	if _, err := check(filepath.Join(other, notary.PublicName)); !errors.Is(err, audit.ErrStranger) {
		t.Errorf("of a proof that somebody else made it says %v", err)
	}
	text, err := os.ReadFile(proof)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(proof, bytes.Replace(text, []byte(`"amount_micro_eur":`), []byte(`"amount_micro_eur":1`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := check(out.Key); !errors.Is(err, audit.ErrProof) {
		t.Errorf("of a changed amount it says %v", err)
	}
	for name, o := range map[string]Outside{"no key": {Checkpoints: out.Checkpoints}, "no checkpoints": {Key: out.Key}, "no such file": {Key: out.Key, Checkpoints: []string{proof + ".no"}}} {
		if err := export(all[0].Session, o); err == nil {
			t.Errorf("%s: a proof is exported", name)
		}
	}
	if err := export("S-1", out); !errors.Is(err, audit.ErrNoSession) {
		t.Errorf("of no session it says %v", err)
	}
}

func mustLog(log eventlog.Log, _ []audittest.Supply) eventlog.Log { return log }

func TestVerifyAgainstCheckpoints(t *testing.T) {
	file, dir, all := kept(t)
	out := Outside{Key: filepath.Join(dir, notary.PublicName), Checkpoints: []string{dir}}
	verify := func() (string, error) {
		return run(t, "", func(p *program.Process) error {
			return Verify(t.Context(), p, VerifyConfig{Source: file, Outside: out})
		})
	}
	printed, err := verify()
	if err != nil || !strings.Contains(printed, "all is well\ncheckpoints: 9 checkpoints from 2027-") || strings.Contains(printed, "newer") {
		t.Errorf("%v, it prints\n%s", err, printed)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	dropped := lines[:0]
	for _, l := range lines {
		if !strings.Contains(l, string(all[4].Session)) {
			dropped = append(dropped, l)
		}
	}
	if err := os.WriteFile(file, []byte(strings.Join(dropped, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err = verify()
	if !errors.Is(err, ErrFindings) || !strings.Contains(printed, "session-"+string(all[4].Session)+" at version 6: the log has nothing of the stream\n") {
		t.Errorf("%v, it prints\n%s", err, printed)
	}
	out.Key = filepath.Join(signed(t, mustLog(supplies(t)), 5), notary.PublicName)
	if printed, err = verify(); !errors.Is(err, ErrFindings) || !strings.Contains(printed, "no checkpoint is signed by a key that counts") {
		t.Errorf("%v, it prints\n%s", err, printed)
	}
}

// The topic of checkpoints alone is enough to hold a log against.
func TestVerifyAgainstTheTopic(t *testing.T) {
	file, dir, all := kept(t)
	embedded, err := broker.Start(broker.Config{Addr: "127.0.0.1:0", Dir: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	config := kafka.Config{Brokers: []string{embedded.Addr()}, ClientID: "test", Logger: quiet}
	transport, err := kafka.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer transport.Close()
	folder, err := notary.OpenFolder(dir, "", uuid.UUID{1})
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	texts, err := folder.Unpublished()
	if err != nil || len(texts) < 5 {
		t.Fatal(len(texts), err)
	}
	if err := transport.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, text := range append(texts, texts[len(texts)-1]) { // the last once more, as after a crash
		if err := transport.Send(t.Context(), message.Checkpoint{Key: folder.Key().Name(), Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	out := Outside{Key: filepath.Join(dir, notary.PublicName), Kafka: config}
	printed, err := run(t, "", func(p *program.Process) error {
		return Verify(t.Context(), p, VerifyConfig{Source: file, Outside: out})
	})
	if err != nil || !strings.Contains(printed, "all is well\ncheckpoints: "+strconv.Itoa(len(texts))+" checkpoints from") {
		t.Errorf("%v, it prints\n%s", err, printed)
	}
	proof := filepath.Join(t.TempDir(), "proof.json")
	_, err = run(t, "", func(p *program.Process) error {
		return Prove(t.Context(), p, ProveConfig{Session: all[0].Session, Source: file, Export: proof, Outside: out})
	})
	if err == nil {
		_, err = run(t, "", func(p *program.Process) error { return Check(t.Context(), p, CheckConfig{File: proof, Key: out.Key}) })
	}
	if err != nil {
		t.Error(err)
	}
}
