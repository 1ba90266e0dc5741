package console

import (
	"context"
	"io"
	"os"

	"github.com/charmbracelet/x/term"

	"evcharging/application/network"
	"evcharging/domain"
)

// Source is where a console looks. Its methods are called by one goroutine, often:
// they answer at once.
type Source interface {
	// Changed grows with everything that changes what Snapshot or Status show, but for Status.Now.
	Changed() uint64
	// Snapshot is what is seen through a window.
	Snapshot(window network.Window) network.Snapshot
	// Status is what stands above the points.
	Status() Status
}

// Status is what a console says of the program it belongs to.
type Status struct {
	// Network is the name of the network.
	Network string
	// Broker is the broker's address.
	Broker string
	// Now is the time that is shown and that ages are counted to.
	Now domain.UnixMillis
	// Warnings stand until they are no longer true: the broker is away, the store is away.
	Warnings []string
	// DeadLetters counts the records that could not be acted on.
	DeadLetters uint64
}

// Console is what Run runs.
type Console struct {
	Source   Source
	Commands []Command
	// Keys act in the panel while nothing is being typed.
	Keys []Key
	In   io.Reader
	Out  io.Writer
	// Environ is the environment, as of os.Environ: TERM and NO_COLOR count.
	Environ []string
}

// Key is a key that does something at once.
type Key struct {
	// Names are the keys, as bubbletea names them: "space", "right", "n".
	Names []string
	// Help says in a word or two what it does, with the key's sign before it; empty: another's
	// says it.
	Help string
	// Run does it and returns one line that is shown for it, or none. It is called by the
	// console's goroutine, and returns at once. nil quits.
	Run func() (reply string)
}

// Run shows the network and takes commands until ctx ends or somebody quits: the
// panel where IsTerminal, lines otherwise. Commands that still run are cancelled and
// waited for. It returns nil, or the error of writing to Out. Without a terminal it may leave
// one goroutine behind that waits for In.
func (c Console) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.IsTerminal() {
		return c.runPanel(ctx)
	}
	return c.runLines(ctx)
}

// IsTerminal tells whether Run shows the panel: In and Out are a terminal that can do
// more than print. Nothing else may write to it then.
func (c Console) IsTerminal() bool {
	in, ok := c.In.(*os.File)
	if !ok || !term.IsTerminal(in.Fd()) {
		return false
	}
	out, ok := c.Out.(*os.File)
	if !ok || !term.IsTerminal(out.Fd()) {
		return false
	}
	kind := c.getenv("TERM")
	return kind != "" && kind != "dumb"
}

func (c Console) getenv(name string) string {
	value := ""
	for _, e := range c.Environ {
		if len(e) > len(name) && e[len(name)] == '=' && e[:len(name)] == name {
			value = e[len(name)+1:]
		}
	}
	return value
}
