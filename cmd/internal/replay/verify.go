package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/mongo"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
)

// VerifyConfig says what is verified, and against what.
type VerifyConfig struct {
	// Source names the log, see openSource; Archive is the folder of its archive, empty: none.
	Source, Archive string
	// Mongo is where the documents are that are held against the log; its URI is empty where
	// none are.
	Mongo mongo.Config
	// Outside is what is held against the log; nothing is where it names nothing.
	Outside
}

// ErrFindings tells that something is not as it should be. What, was printed.
var ErrFindings = errors.New("not all is as it should be")

// findingsTold is how many findings are printed; the others are counted.
const findingsTold = 1_000

// Verify holds an event log against itself, checkpoints against it and, where one is named, the
// documents of a MongoDB. It prints what is wrong, a line each, and what was looked at. How
// far it is goes to the process's Stderr. ErrFindings where anything is wrong.
func Verify(ctx context.Context, p *program.Process, c VerifyConfig) error {
	log, err := openToVerify(ctx, p, c)
	if err == nil {
		err = allTold(p, func(p *program.Process) error {
			v := verification{Process: p, log: log}
			return v.run(ctx, c)
		})
		err = errors.Join(err, log.Close())
	}
	return interrupted(ctx, err)
}

// verifiable is a log that is verified.
type verifiable interface {
	audit.Log
	io.Closer
}

// openToVerify opens the log that a name names. Of lines without an archive nothing is left
// out: what is wrong with them is to be found.
func openToVerify(ctx context.Context, p *program.Process, c VerifyConfig) (verifiable, error) {
	name := c.Source
	if c.Archive != "" {
		source, err := openSource(ctx, p, name, c.Mongo)
		if err != nil {
			return nil, err
		}
		if err := source.join(c.Archive); err != nil {
			return nil, errors.Join(err, source.Close())
		}
		return source, nil
	}
	if strings.HasPrefix(name, "http://") {
		lines, err := fetchLines(ctx, name)
		if err != nil {
			return nil, err
		}
		defer lines.Close()
		return openLines(ctx, c.Source, lines)
	}
	if name == "-" {
		return openLines(ctx, "standard input", p.Stdin)
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return openLines(ctx, name, nil)
	}
	return openSource(ctx, p, name, c.Mongo)
}

// verification is a Verify under way.
type verification struct {
	*program.Process
	log      verifiable
	findings int
}

// tell prints that something is wrong.
func (v *verification) tell(line string) {
	if v.findings++; v.findings <= findingsTold {
		fmt.Fprintln(v.Stdout, line)
	}
}

func (v *verification) run(ctx context.Context, c VerifyConfig) error {
	end := int64(0)
	if log, ok := v.log.(*Source); ok {
		last, err := log.End(ctx)
		if err != nil {
			return fmt.Errorf("read the end of the event log: %w", err)
		}
		end = int64(last)
	}
	summary, err := v.verify(ctx, c.Outside, end)
	if err != nil {
		return err
	}
	if c.Mongo.URI != "" {
		whole := v.findings == 0
		compared, err := v.compare(ctx, c.Mongo, end)
		switch {
		case errors.Is(err, mongo.ErrForeign):
			v.tell(err.Error())
		case err != nil:
			return err
		default:
			summary = append(summary, documentsSummary(compared, whole))
		}
	}
	if more := v.findings - findingsTold; more > 0 {
		fmt.Fprintf(v.Stdout, "... and %d more\n", more)
	}
	fmt.Fprintln(v.Stdout, strings.Join(summary, "\n"))
	if v.findings > 0 {
		return fmt.Errorf("%w: %s", ErrFindings, counted(v.findings, "finding"))
	}
	return nil
}

// verify holds the log against itself, and checkpoints against it, and says in lines what was
// looked at.
func (v *verification) verify(ctx context.Context, o Outside, end int64) (summary []string, err error) {
	var verified audit.Verified
	var witnessed audit.Witnessed
	var keys *notary.Keys
	var checkpoints []audit.Checkpoints
	if o.named() {
		var done func()
		if keys, checkpoints, done, err = o.open(ctx); err != nil {
			return nil, err
		}
		defer done()
	}
	step := begin(v.Stderr, "verify", end)
	progress := func(sofar audit.Verified) { step.came(int64(sofar.Commits)) }
	if o.named() {
		verified, witnessed, err = audit.VerifyAgainst(ctx, v.log, eventjson.Codec{}, keys, checkpoints, v.found, progress)
	} else {
		verified, err = audit.Verify(ctx, v.log, eventjson.Codec{}, v.found, progress)
	}
	step.end(err == nil)
	if summary = append(remainsSummary(verified.Remains), logSummary(verified)); o.named() {
		summary = append(summary, checkpointsSummary(witnessed))
	}
	return summary, err
}

// found tells what is wrong with the log.
func (v *verification) found(f audit.Finding) {
	if lines, ok := v.log.(*lineLog); ok && f.Position != 0 {
		if f.Where == "" {
			f.Where = lines.where(f.Position)
		}
		if f.Until == 0 {
			f.Position = 0
		}
	}
	v.tell(f.String())
}

// compare holds the documents of a MongoDB against the log.
func (v *verification) compare(ctx context.Context, c mongo.Config, end int64) (mongo.Rebuilt, error) {
	store, err := mongo.ConnectToRead(ctx, c)
	if err != nil {
		return mongo.Rebuilt{}, err
	}
	core := &central.Central{Codec: eventjson.Codec{}}
	documents := store.Projections(mongo.ProjectionsConfig{Logger: v.Logger})
	step := begin(v.Stderr, "compare", end)
	compared, err := documents.Compare(ctx, v.log, core.Decode, func(d mongo.Difference) { v.tell(documentText(d, true)) }, func(sofar mongo.Rebuilt) { step.came(int64(sofar.Commits)) })
	step.end(err == nil)
	return compared, errors.Join(err, store.Close())
}

func logSummary(v audit.Verified) string {
	text := fmt.Sprintf("the event log: %s of %s in %s, %s computed anew: ",
		counted(v.Events, "event"), counted(v.Commits, "commit"), counted(v.Streams, "stream"), counted(v.Tickets, "ticket"))
	if v.Unchecked > 0 {
		text += counted(v.Unchecked, "more ticket") + " can't be, "
	}
	if v.Archived > 0 {
		text += counted(v.Archived, "more event") + " in an archive that was not looked at (--archive), "
	}
	if v.Missing > 0 {
		text += counted(v.Missing, "event") + " missing in the archive, "
	}
	if v.Findings == 0 {
		return text + "all is well"
	}
	text += counted(v.Findings, "finding")
	if n := len(v.Concerned); n > 0 {
		text += fmt.Sprintf(" in %s: %s", counted(n, "stream"), listed(v.Concerned))
	}
	return text
}

// remainsSummary says what can be had back of streams that are damaged.
func remainsSummary(all []audit.Remains) (lines []string) {
	if len(all) == 0 {
		return nil
	}
	lines = append(lines, "what can be had back of the streams that are damaged:")
	for _, r := range all[:min(len(all), findingsTold)] {
		lines = append(lines, "  "+r.String())
	}
	if more := len(all) - findingsTold; more > 0 {
		lines = append(lines, fmt.Sprintf("  ... and %d more", more))
	}
	return lines
}

// counted is a number of things.
func counted[N int | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// listed are the first of some streams.
func listed(streams []eventlog.Stream) string {
	const most = 10
	var names []string
	for _, s := range streams[:min(len(streams), most)] {
		names = append(names, string(s))
	}
	if len(streams) > most {
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}

func checkpointsSummary(w audit.Witnessed) string {
	if w.Checkpoints == 0 {
		return "checkpoints: none"
	}
	text := fmt.Sprintf("checkpoints: %s from %s to %s by key %s, %s held against the log",
		counted(w.Checkpoints, "checkpoint"), w.First, w.Last, strings.Join(w.Keys, ", "), counted(w.Heads, "head"))
	if w.Newer > 0 {
		text += fmt.Sprintf("; what %s have that is newer than the last they don't say", counted(w.Newer, "stream"))
	}
	if w.Unlisted > 0 {
		text += fmt.Sprintf("; %s may be in those that are missing", counted(w.Unlisted, "stream"))
	}
	if w.Strange > 0 {
		text += fmt.Sprintf("; %s by other keys count for nothing", counted(w.Strange, "checkpoint"))
	}
	return text
}
