package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/adapters/console"
	"evcharging/adapters/eventjson"
	"evcharging/adapters/http"
	"evcharging/adapters/mongo"
	"evcharging/application/audit"
	"evcharging/application/network"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// PastConfig says which log is looked back on, and to when.
type PastConfig struct {
	// Source names the log, see openSource; Mongo has what a mongodb:// URI does not say itself.
	// Archive is the folder of the log's archive; empty: none.
	Source, Archive string
	Mongo           mongo.Config
	// At is the instant; 0: the end of the log.
	At domain.UnixMillis
	// JSON tells programs.
	JSON bool
}

// lookBack opens the log and does something with its past. What can't be read is printed to the
// process's Stderr, and in the end ErrIncomplete.
func lookBack(ctx context.Context, p *program.Process, c PastConfig, do func(*lookedBack) error) error {
	log, err := openToVerify(ctx, p, VerifyConfig{Source: c.Source, Archive: c.Archive, Mongo: c.Mongo})
	if err == nil {
		l := &lookedBack{Process: p, PastConfig: c}
		l.past = audit.Past{Log: log, Codec: eventjson.Codec{}, At: c.At, Damaged: l.miss}
		if err = do(l); err == nil && len(l.damaged) > 0 {
			err = fmt.Errorf("%w: %s of the log can't be read, and what is shown may not be all", ErrIncomplete, counted(len(l.damaged), "place"))
		}
		err = errors.Join(err, log.Close())
	}
	return interrupted(ctx, err)
}

// lookedBack is a look back under way.
type lookedBack struct {
	*program.Process
	PastConfig
	past audit.Past
	// damaged is what can't be read.
	damaged []string
	// quiet tells that nothing may be printed: a panel has the terminal.
	quiet bool
}

func (l *lookedBack) miss(err error) {
	if slices.Contains(l.damaged, err.Error()) {
		return // a stream that is read twice
	}
	l.damaged = append(l.damaged, err.Error())
	if len(l.damaged) <= findingsTold && !l.quiet {
		fmt.Fprintln(l.Stderr, err)
	}
}

// whole has a function read the whole log, and tells how far it is.
func (l *lookedBack) whole(ctx context.Context, read func() (audit.Span, error)) (audit.Span, error) {
	end := int64(0)
	if log, ok := l.past.Log.(*Source); ok {
		last, err := log.End(ctx)
		if err != nil {
			return audit.Span{}, fmt.Errorf("read the end of the event log: %w", err)
		}
		end = int64(last)
	}
	step := begin(l.Stderr, "look back", end)
	l.past.Progress = func(commits uint64) { step.came(int64(commits)) }
	span, err := read()
	step.end(err == nil)
	return span, err
}

// settle makes the instant one that the log has, and says so where it is beyond its end.
func (l *lookedBack) settle(span audit.Span) {
	if l.At > span.End {
		fmt.Fprintf(l.Stderr, "the event log ends at %s: what came after that, it does not say\n", program.FormatInstant(span.End))
	}
	if l.At == 0 || l.At > span.End {
		l.At = span.End
	}
}

// lastMessages is how many messages a look back shows.
const lastMessages = 10

// asLogged says what a look back does not show.
const asLogged = "as the event log has it, which does not say who was heard nor who warned"

// ShowPoints shows all points of the network at an instant, its sessions and its last
// messages, as the panel did; programs are told the points and the sessions.
func ShowPoints(ctx context.Context, p *program.Process, c PastConfig) error {
	return lookBack(ctx, p, c, func(l *lookedBack) error {
		var then *network.Network
		span, err := l.whole(ctx, func() (span audit.Span, err error) {
			then, span, err = l.past.Network(ctx)
			return span, err
		})
		if err != nil {
			return err
		}
		l.settle(span)
		if c.JSON {
			points, err1 := http.MarshalPoints(then.Points())
			sessions, err2 := http.MarshalSessions(then.Open())
			return l.print(shown{Points: points, Sessions: sessions}, err1, err2)
		}
		return l.draw(then)
	})
}

// ShowPoint shows a point at an instant, the session that held it, its last messages and the
// changes of its price that were decided until then.
func ShowPoint(ctx context.Context, p *program.Process, c PastConfig, id domain.PointID) error {
	return lookBack(ctx, p, c, func(l *lookedBack) error {
		then, prices, err := l.past.Point(ctx, id)
		if err != nil {
			return err
		}
		if c.JSON {
			point, err1 := http.MarshalPoints(then.Points())
			changes, err2 := http.MarshalPrices(prices)
			return l.print(shown{Points: point, Prices: changes}, err1, err2)
		}
		if l.At == 0 {
			point, _ := then.Point(id)
			if l.At = point.UpdatedAt; point.Supply != nil {
				l.At = max(l.At, point.Supply.UpdatedAt)
			}
		}
		if err := l.draw(then); err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.Stdout, "\n%s\n", console.Prices(prices))
		return err
	})
}

// ShowSession shows a session at an instant, or a request that was refused.
func ShowSession(ctx context.Context, p *program.Process, c PastConfig, id domain.SessionID) error {
	if err := domain.CheckID(id); err != nil {
		return program.UsageError(err)
	}
	return lookBack(ctx, p, c, func(l *lookedBack) error {
		then, err := l.past.Session(ctx, id)
		if err != nil {
			return err
		}
		if c.JSON {
			session, err := http.MarshalSessions([]network.Session{then})
			return l.print(shown{Sessions: session}, err)
		}
		_, err = fmt.Fprintln(p.Stdout, console.Session(then))
		return err
	})
}

// ShowDriver lists what a driver had asked for at an instant: sessions, and requests that were
// refused.
func ShowDriver(ctx context.Context, p *program.Process, c PastConfig, id domain.DriverID) error {
	return lookBack(ctx, p, c, func(l *lookedBack) error {
		var then []network.Session
		span, err := l.whole(ctx, func() (span audit.Span, err error) {
			then, span, err = l.past.Driver(ctx, id)
			return span, err
		})
		if err != nil {
			return err
		}
		l.settle(span)
		if c.JSON {
			sessions, err := http.MarshalSessions(then)
			return l.print(shown{Sessions: sessions}, err)
		}
		if len(then) == 0 {
			_, err = fmt.Fprintf(p.Stdout, "%s has asked for nothing until %s\n", id, program.FormatInstant(l.At))
			return err
		}
		_, err = fmt.Fprintln(p.Stdout, console.Sessions(then))
		return err
	})
}

// draw prints a network as the panel shows it.
func (l *lookedBack) draw(then *network.Network) error {
	all := len(then.Points()) + len(then.Open())
	return console.Still{
		View:   then.Snapshot(network.Window{Points: all, Sessions: all, Messages: lastMessages}),
		Status: console.Status{Network: day(l.At), Now: l.At, Warnings: damagedWarning(l.damaged)},
		Note:   asLogged,
	}.Write(l.Stdout, os.Environ())
}

// day is the day of an instant, in this machine's zone.
func day(at domain.UnixMillis) string { return at.Time().Local().Format(time.DateOnly) }

// damagedWarning is what stands above the points where something can't be read.
func damagedWarning(damaged []string) []string {
	if len(damaged) == 0 {
		return nil
	}
	return []string{counted(len(damaged), "place") + " of the log can't be read: " + damaged[len(damaged)-1]}
}

// shown is a look back as programs are told. What it is not about is not there.
type shown struct {
	At       string         `json:"at,omitzero"`
	Points   jsontext.Value `json:"points,omitzero"`
	Sessions jsontext.Value `json:"sessions,omitzero"`
	Prices   jsontext.Value `json:"prices,omitzero"`
}

// print prints what programs are told.
func (l *lookedBack) print(s shown, errs ...error) error {
	if l.At != 0 {
		s.At = l.At.String()
	}
	text, err := json.Marshal(s, jsontext.WithIndent("  "))
	if err = errors.Join(slices.Concat(errs, []error{err})...); err != nil {
		return fmt.Errorf("tell the past as JSON: %w", err)
	}
	_, err = fmt.Fprintf(l.Stdout, "%s\n", text)
	return err
}
