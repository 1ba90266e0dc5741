package replay

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
	"evcharging/domain/session"
)

// WhyPoint prints the events that led to a point's state at an instant, and what caused each;
// with all, every event until then.
func WhyPoint(ctx context.Context, p *program.Process, c PastConfig, id domain.PointID, all bool) error {
	return lookBack(ctx, p, c, func(l *lookedBack) error {
		steps, err := l.past.WhyPoint(ctx, id)
		if err != nil {
			return err
		}
		title := fmt.Sprintf("%s had not registered", id)
		if then, _, err := l.past.Point(ctx, id); err == nil {
			point, _ := then.Point(id)
			title = fmt.Sprintf("%s is %s since %s", id, point.State, point.Since)
			if s := point.Supply; s != nil {
				title += fmt.Sprintf(", held by session %s of %s", s.ID, s.Driver)
			}
		}
		return l.tellSteps(title, steps, all)
	})
}

// WhySession prints the events that led to a session's state at an instant, and what caused
// each; with all, each sample too.
func WhySession(ctx context.Context, p *program.Process, c PastConfig, id domain.SessionID, all bool) error {
	if err := domain.CheckID(id); err != nil {
		return program.UsageError(err)
	}
	return lookBack(ctx, p, c, func(l *lookedBack) error {
		steps, err := l.past.WhySession(ctx, id)
		if err != nil {
			return err
		}
		then, err := l.past.Session(ctx, id)
		if err != nil {
			return err
		}
		title := fmt.Sprintf("session %s of %s at %s is %s", id, then.Driver, then.Point, then.Status)
		if then.Status == session.Refused {
			title += ": " + then.Refusal
		}
		return l.tellSteps(title, steps, all)
	})
}

// step is an event and what caused it as programs are told.
type step struct {
	At      string           `json:"at"`
	Stream  eventlog.Stream  `json:"stream"`
	Version eventlog.Version `json:"version"`
	Event   string           `json:"event,omitzero"`
	Said    string           `json:"said"`
	Holds   bool             `json:"holds"`
	// Rule is deadline or policy.
	Rule      string `json:"rule,omitzero"`
	Why       string `json:"why,omitzero"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	ArrivedAt string `json:"arrived_at"`
}

// tellSteps prints steps: those that hold, or all.
func (l *lookedBack) tellSteps(title string, steps []audit.Step, all bool) error {
	told := make([]audit.Step, 0, len(steps))
	for _, s := range steps {
		if all || s.Holds {
			told = append(told, s)
		}
	}
	if l.JSON {
		return l.stepsForPrograms(told)
	}
	var text strings.Builder
	text.WriteString(title)
	if l.At != 0 {
		fmt.Fprintf(&text, ", at %s", l.At)
	}
	text.WriteString("\n\n")
	for _, s := range told {
		tellStep(&text, s)
	}
	if left := len(steps) - len(told); left > 0 {
		fmt.Fprintf(&text, "\n%s more, which later ones have made a thing of the past (--all tells each)\n", counted(left, "event"))
	}
	_, err := io.WriteString(l.Stdout, text.String())
	return err
}

func tellStep(out io.Writer, s audit.Step) {
	if s.Event == "" {
		fmt.Fprintf(out, "%s\n", s.Said)
		return
	}
	fmt.Fprintf(out, "%s  %d %s: %s\n", s.At, s.Version, s.Event, s.Said)
	if s.Inside.Rule != "" {
		fmt.Fprintf(out, "    %-8s  %s\n", s.Inside.Rule, s.Inside.Why)
	}
	fmt.Fprintf(out, "    message   %s, arrived %s\n", from(s.Message), s.Message.Timestamp)
}

func (l *lookedBack) stepsForPrograms(steps []audit.Step) error {
	shapes := make([]step, len(steps))
	for i, s := range steps {
		shapes[i] = step{
			At: s.At.String(), Stream: s.Stream, Version: s.Version, Event: s.Event, Said: s.Said, Holds: s.Holds,
			Rule: s.Inside.Rule, Why: s.Inside.Why,
			Topic: s.Message.Topic, Partition: s.Message.Partition, Offset: s.Message.Offset, ArrivedAt: s.Message.Timestamp.String(),
		}
	}
	text, err := json.Marshal(shapes, jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("tell the events as JSON: %w", err)
	}
	_, err = fmt.Fprintf(l.Stdout, "%s\n", text)
	return err
}
