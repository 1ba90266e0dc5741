package replay

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"evcharging/adapters/bbolt"
	"evcharging/adapters/memory"
	"evcharging/adapters/mongo"
	"evcharging/cmd/internal/program"
)

// What can't be meant is refused before anything is opened.
func TestWhatRebuildCanNotMean(t *testing.T) {
	const uri = "mongodb://127.0.0.1:1/network"
	for what, c := range map[string]struct {
		config Config
		says   string
	}{
		"the past in the live database":   {Config{Mongo: mongo.Config{URI: uri}, Until: 1}, "name another database with --into"},
		"the past into the live one":      {Config{Mongo: mongo.Config{URI: uri}, Until: 1, Into: "network"}, "names the database of --mongo itself"},
		"into MongoDB's own admin":        {Config{Mongo: mongo.Config{URI: uri}, Into: "admin"}, "is MongoDB's own"},
		"into MongoDB's own local":        {Config{Mongo: mongo.Config{URI: uri}, Into: "local"}, "is MongoDB's own"},
		"into MongoDB's own config":       {Config{Mongo: mongo.Config{URI: uri}, Into: "config"}, "is MongoDB's own"},
		"into the default one":            {Config{Mongo: mongo.Config{URI: "mongodb://127.0.0.1:1"}, Into: "evcharging_db"}, "names the database of --mongo itself"},
		"a dry run without a database":    {Config{DryRun: true}, "name where they are with --mongo"},
		"one document without a database": {Config{Only: "CP-001"}, "name where they are with --mongo"},
		"an id that is none":              {Config{Mongo: mongo.Config{URI: uri}, Only: "CP 001"}, "CP 001"},
	} {
		t.Run(what, func(t *testing.T) {
			c.config.Source = filepath.Join(t.TempDir(), "none")
			_, err := run(t, "", func(p *program.Process) error { return Run(t.Context(), p, c.config) })
			if err == nil || errors.Is(err, ErrNoLog) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v, want %q", err, c.says)
			}
		})
	}
}

// Whoever names a log without events must not lose the documents of another.
func TestNothingIsBuiltOfALogWithoutEvents(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "log")
	log, err := bbolt.Open(folder, bbolt.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "log.jsonl")
	empty := memory.NewLog()
	defer empty.Close()
	if err := os.WriteFile(file, []byte(strings.Join(written(t, empty), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{folder, file} {
		p := &program.Process{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Logger: quiet}
		err := Run(t.Context(), p, Config{Source: source, Mongo: mongo.Config{URI: "mongodb://127.0.0.1:1/", Logger: quiet}})
		if !errors.Is(err, ErrNoLog) || !strings.Contains(err.Error(), "no events") {
			t.Errorf("of %s it says %v", source, err)
		}
	}
}
