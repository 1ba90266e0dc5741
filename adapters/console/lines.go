package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"evcharging/application/network"
)

// progressEvery is how often a command's progress is a line.
const progressEvery = time.Second

// runLines writes each message of the network as a line, from now on, and carries
// out the commands that In has, one a line, one after the other. The end of In
// ends the commands, not the console.
func (c Console) runLines(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &lineWriter{out: c.Out}
	quit := make(chan struct{})
	var carrier sync.WaitGroup
	lines := make(chan string)
	go readLines(ctx, c.In, lines)
	carrier.Go(func() {
		commands := newRegistry(c.Commands)
		for {
			select {
			case <-ctx.Done():
				return
			case line, ok := <-lines:
				if !ok {
					return
				}
				if errors.Is(commands.carryOut(ctx, line, out), errQuit) {
					close(quit)
					return
				}
			}
		}
	})
	err := c.follow(ctx, quit, out)
	cancel()
	carrier.Wait()
	return err
}

// readLines hands on the lines of in until it ends or ctx does.
func readLines(ctx context.Context, in io.Reader, lines chan<- string) {
	defer close(lines)
	if in == nil {
		return
	}
	scanner := bufio.NewScanner(in)
	for scanner.Scan() {
		select {
		case lines <- scanner.Text():
		case <-ctx.Done():
			return
		}
	}
}

// follow writes the network's messages until ctx ends or quit is closed.
func (c Console) follow(ctx context.Context, quit <-chan struct{}, out *lineWriter) error {
	newest := func(messages []network.Message, before uint64) uint64 {
		if len(messages) == 0 {
			return before
		}
		return messages[len(messages)-1].Seq
	}
	changed := c.Source.Changed()
	seq := newest(c.Source.Snapshot(network.Window{Messages: 1}).Messages, 0)
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	for {
		ending := false
		select {
		case <-ctx.Done():
			ending = true
		case <-quit:
			ending = true
		case <-ticker.C:
		}
		if now := c.Source.Changed(); now != changed {
			changed = now
			messages := c.Source.Snapshot(network.Window{Messages: network.MessageLimit, After: seq}).Messages
			if len(messages) > 0 && messages[0].Seq > seq+1 {
				out.printf("… %d messages left out", messages[0].Seq-seq-1)
			}
			for _, m := range messages {
				out.printf("%s", Line(m))
			}
			seq = newest(messages, seq)
		}
		if err := out.failed(); err != nil || ending {
			return err
		}
	}
}

// Line is a message as it stands where there is no panel.
func Line(m network.Message) string { return clean(fmt.Sprintf("%s %-7s %s", m.At, m.Level, m.Text)) }

// carryOut carries out a line and writes what it replies.
func (r registry) carryOut(ctx context.Context, line string, out *lineWriter) error {
	command, args, err := r.parse(line)
	if err == nil && command.Run != nil {
		told := time.Now()
		reply := ""
		reply, err = command.Run(ctx, Call{Args: args, Progress: func(done, total int) {
			if out.due(&told) {
				out.printf("%s: %d of %d", line, done, total)
			}
		}})
		if reply = strings.TrimRight(reply, "\n"); reply != "" && err == nil {
			for l := range strings.SplitSeq(reply, "\n") {
				out.printf("%s", l)
			}
		}
	}
	if err != nil && !errors.Is(err, errQuit) {
		out.printf("error: %s", err)
	}
	return err
}

// lineWriter writes whole lines, from several goroutines, until writing fails.
type lineWriter struct {
	mu  sync.Mutex
	out io.Writer
	err error
}

func (w *lineWriter) printf(format string, args ...any) {
	line := clean(fmt.Sprintf(format, args...)) + "\n"
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		_, w.err = io.WriteString(w.out, line)
	}
}

func (w *lineWriter) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// due tells whether progressEvery has passed since told, and sets it.
func (w *lineWriter) due(told *time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if now.Sub(*told) < progressEvery {
		return false
	}
	*told = now
	return true
}
