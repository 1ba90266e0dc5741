package replay

import (
	"errors"
	"fmt"
	"io"

	"evcharging/cmd/internal/program"
)

// allTold runs a command, and gives its error; where it has none of its own, that of what it could
// not write to standard output: somebody may take for good what he does not see.
func allTold(p *program.Process, command func(*program.Process) error) error {
	out := &telling{to: p.Stdout}
	heard := *p
	heard.Stdout = out
	err := command(&heard)
	if out.err != nil && !errors.Is(err, out.err) {
		err = errors.Join(err, fmt.Errorf("write to standard output: %w", out.err))
	}
	return err
}

// telling notes the first error of a writer, and writes no more then.
type telling struct {
	to  io.Writer
	err error
}

func (t *telling) Write(b []byte) (n int, err error) {
	if t.err == nil {
		n, t.err = t.to.Write(b)
	}
	return n, t.err
}
