package audit_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Whatever happens in a network, each of its bills can be proved, and the second checker
// comes to the same.
func TestEveryBillOfAHistoryIsProved(t *testing.T) {
	log, key := memory.NewLog(), newKey(t)
	h := audittest.NewHistory(t, log, eventjson.Codec{}, 3, "CP-1", "CP-2", "CP-3", "CP-4", "CP-5", "CP-6", "CP-7", "CP-8", "CP-9", "CP-10")
	h.Run(10_000)
	d := &day{copyOf(t, log), &outside{TB: t, key: key}, nil}
	d.watch(d.history, 1_000)

	dir := t.TempDir()
	args := []string{filepath.Join("testdata", "check.py"), filepath.Join(dir, "network.pub")}
	if err := os.WriteFile(args[1], []byte(key.Public()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reasons := map[string]bool{}
	for i, c := range d.commits {
		for _, p := range c.Parts {
			for _, e := range d.decode(p).Events {
				issued, ok := e.(session.TicketIssued)
				if !ok {
					continue
				}
				reasons[issued.Reason] = true
				id := domain.SessionID(strings.TrimPrefix(string(p.Stream), "session-"))
				text, err := d.prove(id)
				if err != nil {
					t.Fatalf("%s: %v", id, err)
				}
				account, err := checked(t, text, key)
				if err != nil {
					t.Fatalf("%s: %v", id, err)
				}
				want, err := audit.Explain(t.Context(), log, eventjson.Codec{}, id)
				if err != nil || *account.Bill != *want.Bill || account.Ignored != want.Ignored {
					t.Errorf("%s: it proves %+v, the log says %+v (%v)", id, account.Bill, want.Bill, err)
				}
				file := filepath.Join(dir, fmt.Sprintf("%06d.json", i))
				if err := os.WriteFile(file, text, 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, file)
			}
		}
	}
	if len(args) < 100 || len(reasons) < 6 {
		t.Errorf("the history has %d bills, for %v", len(args)-2, reasons)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3, which the second checker is written in")
	}
	command := exec.Command(python, args...)
	command.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	if said, err := command.CombinedOutput(); err != nil || strings.Count(string(said), "ok\n") != len(args)-2 {
		t.Errorf("of %d proofs the second checker says (%v)\n%s", len(args)-2, err, said)
	}
}
