package central

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"evcharging/adapters/console"
	"evcharging/adapters/kafka"
	"evcharging/application/message"
	"evcharging/application/network"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// Run is ev-central: a node and its console, until ctx ends or somebody quits.
func Run(ctx context.Context, p *program.Process, config Config, level slog.Level) error {
	screen := console.Console{In: p.Stdin, Out: p.Stdout, Environ: os.Environ()}
	logger := NewLogger(p, level, screen)
	config.Logger, config.Kafka.Logger = logger.Logger, logger.Logger
	if config.SecretsFile == "" {
		logger.Warn("the network is open: every point is let in (--secrets FILE asks points for a proof)")
	}
	node, err := Start(ctx, config)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // stopped while it waited for the broker, say
	}
	if err != nil {
		return err
	}
	logger.Info("Central is ready",
		"authentication", node.AuthAddr(), "pages", node.HTTPAddr(), "broker", strings.Join(config.Kafka.Brokers, ","), "log", node.store.place)
	screen.Source, screen.Commands = node.Look(), node.Commands()
	logger.Turn(node)
	err = node.Serve(ctx, screen)
	logger.Turn(nil)
	return errors.Join(err, node.Close())
}

// Serve runs the console until ctx ends, somebody quits, or the node can't go on.
func (n *Node) Serve(ctx context.Context, screen console.Console) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- screen.Run(ctx) }()
	select {
	case err := <-ended:
		return err
	case err := <-n.Failed():
		cancel()
		return errors.Join(err, <-ended)
	}
}

// Logger is the log of a program that may have a panel: its own way without a terminal;
// with one, lines until Turn, and messages on the panel from then on.
type Logger struct {
	*slog.Logger
	mu   sync.Mutex
	out  io.Writer
	node *Node
}

// NewLogger is the log of a program with a console.
func NewLogger(p *program.Process, level slog.Level, screen console.Console) *Logger {
	l := &Logger{Logger: p.Logger, out: p.Stderr}
	if screen.IsTerminal() {
		l.Logger = slog.New(console.LogHandler(level, l.say))
	}
	return l
}

// Turn sends what is logged from now on to a node's panel.
func (l *Logger) Turn(n *Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.node = n
}

func (l *Logger) say(level network.Level, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.node == nil {
		fmt.Fprintln(l.out, text)
		return
	}
	l.node.feed.say(level, text)
}

// Ask is an operator's subcommand: it posts a command for a point, or for each that is
// registered, and prints the answers. A broker that is away is waited for as long as an answer.
func Ask(ctx context.Context, p *program.Process, config kafka.Config, point string, c message.Control) error {
	all := strings.EqualFold(point, allPoints)
	points := []domain.PointID{domain.PointID(point)}
	if err := domain.CheckID(points[0]); err != nil {
		return program.UsageError(err)
	}
	reaching, reached := context.WithTimeoutCause(ctx, answerWithin, ErrSilent)
	defer reached()
	transport, err := kafka.Connect(reaching, config)
	if err != nil {
		return err
	}
	defer transport.Close()
	if all {
		if points, err = registered(reaching, transport); err != nil {
			return err
		}
		if len(points) == 0 {
			return errors.New("no point is registered")
		}
	}
	listening, stop := context.WithCancel(ctx)
	operator := StartOperator(listening, transport)
	defer operator.wait()
	defer stop()
	if err := operator.Ready(reaching); err != nil {
		return err
	}
	return operator.AskEach(ctx, points, c, func(done, total int, answer message.Message) {
		if total > 1 {
			fmt.Fprintf(p.Stdout, "%d/%d ", done, total)
		}
		fmt.Fprintln(p.Stdout, Describe(c, answer))
	})
}

// registered are the points that Central has published a state of.
func registered(ctx context.Context, transport *kafka.Transport) ([]domain.PointID, error) {
	var ids []domain.PointID
	seen := map[domain.PointID]bool{}
	err := transport.Read(ctx, transport.Topics().State, func(r message.Received) {
		if s, ok := r.Message.(message.PointState); ok && !seen[s.Point] {
			seen[s.Point] = true
			ids = append(ids, s.Point)
		}
	})
	slices.Sort(ids)
	return ids, err
}
