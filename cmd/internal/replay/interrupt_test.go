package replay

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"evcharging/cmd/internal/program"
)

func TestAReplayThatIsStoppedSaysSoAndLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	stdin, writer := io.Pipe() // of somebody who writes nothing
	defer writer.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	p := &program.Process{Stdin: stdin, Stdout: io.Discard, Stderr: io.Discard, Logger: quiet}
	go func() { ended <- Run(ctx, p, Config{Source: "-", Export: "-"}) }()
	if _, err := writer.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-ended; !errors.Is(err, ErrInterrupted) || errors.Is(err, context.Canceled) {
		t.Errorf("it says %v", err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}
