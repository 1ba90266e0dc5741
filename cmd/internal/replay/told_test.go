package replay

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"evcharging/application/audit/audittest"
	"evcharging/cmd/internal/program"
)

// full takes so many bytes, and then none.
type full struct{ left int }

var errFull = errors.New("no space left on device")

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWhatIsNotToldIsAnError(t *testing.T) {
	file, dir, all := kept(t)
	proof, key := filepath.Join(t.TempDir(), "proof.json"), filepath.Join(dir, "network.pub")
	var billed audittest.Supply
	for _, s := range all {
		if s.Name == "finished" {
			billed = s
		}
	}
	if _, err := run(t, "", func(p *program.Process) error {
		return Prove(t.Context(), p, ProveConfig{Session: billed.Session, Source: file, Export: proof, Outside: Outside{Key: key, Checkpoints: []string{dir}}})
	}); err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string]func(p *program.Process) error{
		"prove": func(p *program.Process) error {
			return Prove(t.Context(), p, ProveConfig{Session: billed.Session, Source: file})
		},
		"prove --json": func(p *program.Process) error {
			return Prove(t.Context(), p, ProveConfig{Session: billed.Session, Source: file, JSON: true})
		},
		"check": func(p *program.Process) error { return Check(t.Context(), p, CheckConfig{File: proof, Key: key}) },
		"check --json": func(p *program.Process) error {
			return Check(t.Context(), p, CheckConfig{File: proof, Key: key, JSON: true})
		},
		"verify": func(p *program.Process) error { return Verify(t.Context(), p, VerifyConfig{Source: file}) },
		"rebuild --export": func(p *program.Process) error {
			return Run(t.Context(), p, Config{Source: file, Export: filepath.Join(t.TempDir(), "log.jsonl")})
		},
		"verify, with findings": func(p *program.Process) error {
			p.Stdin = strings.NewReader("nothing\n")
			return Verify(t.Context(), p, VerifyConfig{Source: "-"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, left := range []int{0, 60} {
				err := command(&program.Process{Stdout: &full{left}, Stderr: io.Discard})
				if !errors.Is(err, errFull) || strings.Count(err.Error(), errFull.Error()) != 1 {
					t.Errorf("of an output that takes %d bytes it says %v", left, err)
				}
				if strings.Contains(name, "findings") && !errors.Is(err, ErrFindings) {
					t.Errorf("it does not say that it found something, but %v", err)
				}
			}
		})
	}
}
