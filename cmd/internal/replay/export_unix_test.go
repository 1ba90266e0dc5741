//go:build unix

package replay

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"evcharging/adapters/memory"
)

// What is no file, as /dev/null, is written to and never replaced.
func TestAnExportIntoAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string, 1)
	go func() {
		file, err := os.Open(pipe)
		if err != nil {
			read <- err.Error()
			return
		}
		defer file.Close()
		text, _ := io.ReadAll(file)
		read <- string(text)
	}()
	if _, err := export(t.Context(), memory.NewLog(), known, pipe, nil, func() {}); err != nil {
		t.Fatal(err)
	}
	if text := <-read; !strings.HasPrefix(text, `{"format":"evcharging log 1"`) || !strings.Contains(text, "\n"+`{"commits":0`) {
		t.Errorf("it writes %q", text)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("in the place of the pipe is %v, %v", info.Mode(), err)
	}
}

func TestAnExportThroughALinkLeavesIt(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "2026.jsonl"), filepath.Join(dir, "latest.jsonl")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if _, err := export(t.Context(), memory.NewLog(), known, link, nil, func() {}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(text), `{"format"`) {
		t.Errorf("the file has %q, %v", text, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("in the place of the link is %v, %v", info.Mode(), err)
	}
}
