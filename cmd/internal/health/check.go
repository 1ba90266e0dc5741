package health

import (
	"context"
	"errors"
	"fmt"

	"evcharging/adapters/http"
	"evcharging/cmd/internal/program"
)

// Check is the subcommand health, which needs no shell in a container: it asks a program how
// it is, prints it, and fails where the program is not ready.
type Check struct {
	Live bool `help:"Ask only whether its main loop turns."`
}

// Ask asks the program at an address. The error has all reasons.
func (c Check) Ask(ctx context.Context, p *program.Process, at Address) error {
	if at == Off {
		return program.UsageError(errors.New("the program does not answer without an address: give both the same --http HOST:PORT"))
	}
	client := http.Client{Address: string(at)}
	ask, well := client.Ready, "ready"
	if c.Live {
		ask, well = client.Live, "alive"
	}
	if err := ask(ctx); err != nil {
		return err
	}
	fmt.Fprintln(p.Stdout, well)
	return nil
}
