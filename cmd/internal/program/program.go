package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// The exit statuses.
const (
	StatusOK      = 0
	StatusFailure = 1
	StatusUsage   = 2
)

// sameSignal is how soon after the first a signal is the same one.
const sameSignal = 50 * time.Millisecond

// grace is how long a program may take to stop once it was asked to.
const grace = 10 * time.Second

// Logging are the flags of every binary.
type Logging struct {
	LogLevel slog.Level `env:"LOG_LEVEL" default:"INFO" placeholder:"LEVEL" help:"What to log: DEBUG, INFO, WARN or ERROR."`
}

// Common are the flags of every binary that joins a network through a broker.
type Common struct {
	Logging
	Kafka []string `env:"KAFKA_BOOTSTRAP_SERVERS" default:"127.0.0.1:9092" type:"addresses" placeholder:"HOST:PORT,..." help:"Addresses of the Kafka broker, with commas between them."`
	KafkaSecurity
}

func (l *Logging) level() slog.Level { return l.LogLevel }

// Process is what a command has of the process that it runs in.
type Process struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Logger writes to Stderr at the level that was asked for.
	Logger *slog.Logger
}

type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// UsageError marks an error as one of usage: the program exits with StatusUsage.
// It is nil where err is.
func UsageError(err error) error {
	if err == nil {
		return nil
	}
	return usageError{err}
}

// Main runs a binary and returns its exit status. cli is a pointer to a struct
// that embeds Common (or Logging), and whose commands have the method
//
//	Run(ctx context.Context, p *program.Process) error
//
// which may take the pointer cli as a further argument. The context ends with
// SIGINT or SIGTERM. Run's error is printed as one sentence; an error that only
// says that the context ended after such a signal is none. Main returns before
// Run does where a second signal comes or Run takes more than ten seconds to
// stop: the caller must exit with the status at once.
func Main(name, description string, cli any, args []string, stdin io.Reader, stdout, stderr io.Writer) (status int) {
	fail := func(err error, status int) int {
		fmt.Fprintf(stderr, "%s: %s\n", name, sentence(err))
		return status
	}
	fail2 := func(err error) int {
		return fail(fmt.Errorf("%w (%s --help explains the command line)", err, name), StatusUsage)
	}
	logging, ok := cli.(interface{ level() slog.Level })
	if !ok {
		return fail(fmt.Errorf("the command line %T does not embed program.Common", cli), StatusFailure)
	}
	environment, err := readEnvironment()
	if err != nil {
		return fail2(err)
	}
	parser, err := kong.New(cli,
		append(mappers(),
			kong.Name(name),
			kong.Description(description),
			kong.NoDefaultHelp(),
			kong.Embed(&builtin{}),
			kong.Help(help),
			kong.ValueFormatter(environment.explain),
			kong.Resolvers(environment),
			kong.Writers(stdout, stderr),
			kong.Exit(func(int) {}),
		)...)
	if err != nil {
		return fail(fmt.Errorf("the command line is declared wrongly: %w", err), StatusFailure)
	}
	environment.take(parser)
	if completing() {
		if err := answerShell(parser); err != nil {
			return fail(err, StatusFailure)
		}
		return StatusOK
	}
	line, err := parser.Parse(args)
	switch {
	case errors.Is(err, errShown):
		return StatusOK
	case err != nil:
		return fail2(err)
	}

	process := &Process{Stdin: stdin, Stdout: stdout, Stderr: stderr, Logger: newLogger(stderr, logging.level())}
	signal.Ignore(syscall.SIGPIPE) // whoever reads no more is an error of writing, so what is temporary is removed
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	err = untilSignalled(signals, func(ctx context.Context) error {
		line.BindTo(ctx, (*context.Context)(nil))
		return line.Run(process)
	})
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return fail2(usage.error)
	case err != nil:
		return fail(err, StatusFailure)
	}
	return StatusOK
}

var (
	errTooSlow = fmt.Errorf("it did not stop within %s and was cut off", grace)
	errCutOff  = errors.New("a second signal cut it off")
)

// untilSignalled runs a function whose context ends with the first signal. It
// gives up on it at the second one, or when it has not returned within grace.
func untilSignalled(signals <-chan os.Signal, run func(context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	select {
	case err := <-done:
		return err
	case <-signals:
	}
	cancel()
	late := time.NewTimer(grace)
	defer late.Stop()
	// Whoever signals a process and its group, as timeout(1) does, means one signal.
	for pause := time.After(sameSignal); pause != nil; {
		select {
		case <-pause:
			pause = nil
		case <-signals:
		case err := <-done:
			return stopped(err)
		}
	}
	select {
	case err := <-done:
		return stopped(err)
	case <-signals:
		return errCutOff
	case <-late.C:
		return errTooSlow
	}
}

// stopped is the error of a function that was asked to stop: that it was is none.
func stopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// sentence is an error on one line.
func sentence(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
