package console

import (
	"context"
	"log/slog"
	"strings"

	"evcharging/application/network"
)

// LogHandler gives a program's log to say, a line a record without its time, so
// that it stands among the network's messages: nothing else may write to the
// terminal that a panel has. say may be called from any goroutine.
func LogHandler(level slog.Leveler, say func(level network.Level, text string)) slog.Handler {
	return logHandler{level: level, say: say}
}

type logHandler struct {
	level  slog.Leveler
	say    func(network.Level, string)
	prefix string // of the keys: the open groups
	attrs  string
}

func (h logHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	b.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.prefix, a)
		return true
	})
	level := network.Info
	switch {
	case r.Level >= slog.LevelError:
		level = network.Alert
	case r.Level >= slog.LevelWarn:
		level = network.Warning
	}
	h.say(level, b.String())
	return nil
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		writeAttr(&b, h.prefix, a)
	}
	h.attrs = b.String()
	return h
}

func (h logHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.prefix += name + "."
	}
	return h
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range value.Group() {
			writeAttr(b, prefix, member)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	b.WriteString(" " + prefix + a.Key + "=" + value.String())
}
