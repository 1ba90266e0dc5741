package program

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/charmbracelet/x/term"
)

// IsTerminal tells whether a stream of the process is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(f.Fd())
}

// Coloured tells whether what is written to a stream may have colours: it is a
// terminal, and NO_COLOR is not set.
func Coloured(stream any) bool {
	return IsTerminal(stream) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// newLogger writes lines for people where w is a terminal, else slog's text.
func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	if IsTerminal(w) {
		return slog.New(NewLineHandler(w, level))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// NewLineHandler logs lines for people: time, level, message, attributes. It may
// be used from several goroutines; each line is one write.
func NewLineHandler(w io.Writer, level slog.Leveler) slog.Handler {
	line := &line{out: w}
	return &lineHandler{line, slog.NewTextHandler(&line.attributes, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
				return slog.Attr{}
			}
			return a
		},
	})}
}

type line struct {
	mu         sync.Mutex
	out        io.Writer
	attributes bytes.Buffer
}

// lineHandler has slog's own handler write the attributes and puts the rest before them.
type lineHandler struct {
	line  *line
	inner slog.Handler
}

func (h *lineHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.inner.Enabled(ctx, level)
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &lineHandler{h.line, h.inner.WithAttrs(attrs)}
}

func (h *lineHandler) WithGroup(name string) slog.Handler {
	return &lineHandler{h.line, h.inner.WithGroup(name)}
}

func (h *lineHandler) Handle(ctx context.Context, r slog.Record) error {
	h.line.mu.Lock()
	defer h.line.mu.Unlock()
	h.line.attributes.Reset()
	if err := h.inner.Handle(ctx, r); err != nil {
		return err
	}
	text := r.Time.AppendFormat(nil, "15:04:05 ")
	text = append(text, r.Level.String()+" "+r.Message...)
	if attributes := bytes.TrimSpace(h.line.attributes.Bytes()); len(attributes) > 0 {
		text = append(append(text, ' '), attributes...)
	}
	_, err := h.line.out.Write(append(text, '\n'))
	return err
}
