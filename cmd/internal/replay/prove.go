package replay

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/mongo"
	"evcharging/adapters/notary"
	"evcharging/application/audit"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
	"evcharging/domain/session"
)

// ProveConfig says what is proved, from which log, and how it is told.
type ProveConfig struct {
	Session domain.SessionID
	// Source names the log, see openSource; Mongo has what a mongodb:// URI does not say itself.
	// Archive is the folder of the log's archive; empty: none.
	Source, Archive string
	Mongo           mongo.Config
	// JSON tells programs, Samples each sample where people are told.
	JSON, Samples bool
	// Export is the file that the proof is written to; empty: none. Outside is what it is proved
	// by.
	Export string
	Outside
}

// Prove tells why a session's bill is what it is, and writes the proof of it where one is
// asked for. What can't be told, or not all of it, is an error.
func Prove(ctx context.Context, p *program.Process, c ProveConfig) error {
	if err := domain.CheckID(c.Session); err != nil {
		return program.UsageError(err)
	}
	return allTold(p, func(p *program.Process) error {
		return withArchived(ctx, p, c.Source, c.Archive, c.Mongo, func(source *Source) error { return prove(ctx, p, c, source) })
	})
}

func prove(ctx context.Context, p *program.Process, c ProveConfig, log audit.Log) error {
	account, err := audit.Explain(ctx, log, eventjson.Codec{}, c.Session)
	if err != nil {
		return err
	}
	if c.JSON {
		err = tellPrograms(p.Stdout, account)
	} else {
		tellPeople(p.Stdout, account, c.Samples)
	}
	if err != nil || c.Export == "" {
		return err
	}
	keys, checkpoints, done, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	proof, err := audit.Prove(ctx, log, eventjson.Codec{}, keys, checkpoints, c.Session)
	if err != nil {
		return err
	}
	text, err := notary.EncodeProof(proof)
	if err == nil {
		err = os.WriteFile(c.Export, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("export the proof: %w", err)
	}
	fmt.Fprintf(p.Stderr, "the proof is in %s\n", c.Export)
	return nil
}

// CheckConfig says which proof is checked.
type CheckConfig struct {
	// File is the proof's, Key that of the public keys.
	File, Key     string
	JSON, Samples bool
}

// Check tells whether a proof proves what it says, and what that is. It needs neither a log
// nor a network.
func Check(ctx context.Context, p *program.Process, c CheckConfig) error {
	keys, err := notary.ReadKeys(c.Key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.File)
	if err != nil {
		return fmt.Errorf("read the proof: %w", err)
	}
	proof, err := notary.DecodeProof(text)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	account, checkpoint, key, err := audit.Check(ctx, proof, keys, eventjson.Codec{})
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	return allTold(p, func(p *program.Process) error {
		if c.JSON {
			return tellPrograms(p.Stdout, account)
		}
		tellPeople(p.Stdout, account, c.Samples)
		fmt.Fprintf(p.Stdout, "\nproved    by checkpoint %d of %s, signed with key %s:\n          what came later it does not say\n", checkpoint.Number, checkpoint.At, key)
		return nil
	})
}

// tellPeople tells an account as a text.
func tellPeople(out io.Writer, a audit.Account, samples bool) {
	r := a.Request
	fmt.Fprintf(out, "session %s: %s\n%s asked for a supply at %s", a.Session, a.Status, r.Driver, r.Point)
	if r.ID != "" {
		fmt.Fprintf(out, ", with request %s", r.ID)
	}
	fmt.Fprintf(out, " (%s)\n\n", r.Origin)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-9s %s\n", name, fmt.Sprintf(format, args...))
	}
	if a.Refusal != "" {
		line("refused", "%s", a.Refusal)
	} else {
		line("price", "%s EUR/kWh, fixed by the grant at %s", a.Price, a.PriceAt)
	}
	if b := a.Bill; b != nil {
		line("energy", "%s kWh, from %s", b.Energy, b.From)
		line("amount", "%s", b.Formula())
		line("reason", "%s", b.Reason)
		line("time", "%s to %s", b.StartedAt, b.EndedAt)
		line("ticket", "%s, revision %d", b.ID, b.Revision)
	}
	for _, v := range a.Revisions {
		line("revision", "%d at %s, for a final report that came late (%s): %s kWh instead of %s, %s EUR instead of %s: %s EUR more",
			v.Revision, v.At, v.Reason, v.EnergyAfter, v.EnergyBefore, v.AmountAfter, v.AmountBefore, v.AmountDifference)
	}
	if a.Samples > 0 {
		line("samples", "%d taken; ignored up to the close: %d that were not newer, %d with less energy than before", a.Samples, a.Ignored.NotNewer, a.Ignored.RunsBackwards)
		line("missing", "%s", missing(a.Gaps))
	}
	line("digest", "%s, of the stream up to version %d", hex.EncodeToString(a.Digest[:]), a.Version)
	tellInputs(out, a.Inputs, samples)
}

// missing are the gaps among the samples' numbers, in words.
func missing(gaps []audit.Gap) string {
	const most = 20
	if len(gaps) == 0 {
		return "no number among the samples'"
	}
	var texts []string
	for _, g := range gaps[:min(len(gaps), most)] {
		texts = append(texts, g.String())
	}
	if more := len(gaps) - most; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d ranges more", more))
	}
	return "among the samples' numbers: " + strings.Join(texts, ", ")
}

// samplesAround is how many samples are told at each end of many.
const samplesAround = 3

// tellInputs tells what came in, in order. Of many samples one after the other some are
// told, unless each is asked for.
func tellInputs(out io.Writer, inputs []audit.Input, samples bool) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer func() { _ = table.Flush() }() // allTold notes what could not be written
	fmt.Fprintln(table, "\nARRIVED\tTAKEN IN\tFROM\tVERSION\t")
	for i := 0; i < len(inputs); i++ {
		end := i
		for end < len(inputs) && inputs[end].Sample {
			end++
		}
		left := end - i - 2*samplesAround
		if !samples && left > 1 {
			for _, in := range inputs[i : i+samplesAround] {
				tellInput(table, in)
			}
			fmt.Fprintf(table, "...\t...\t%d samples more (--samples tells each)\t\t\n", left)
			i = end - samplesAround
		}
		tellInput(table, inputs[i])
	}
}

func tellInput(table io.Writer, in audit.Input) {
	fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\n", in.Source.Timestamp, in.At, from(in.Source), in.Version, strings.Join(in.Said, "; "))
}

// from is where a record is, as topic, partition and offset.
func from(s session.Source) string { return fmt.Sprintf("%s/%d@%d", s.Topic, s.Partition, s.Offset) }

// accountShape is an account as programs are told.
type accountShape struct {
	Session   domain.SessionID        `json:"session_id"`
	Point     domain.PointID          `json:"cp_id"`
	Driver    domain.DriverID         `json:"driver_id"`
	Request   domain.RequestID        `json:"request_id,omitzero"`
	Origin    string                  `json:"origin"`
	Status    session.Status          `json:"status"`
	Refusal   string                  `json:"refusal,omitzero"`
	Price     domain.MicroEurosPerKWh `json:"price_micro_eur_kwh"`
	PriceAt   domain.UnixMillis       `json:"price_fixed_at,omitzero"`
	Bill      *billShape              `json:"bill"`
	Revisions []revisionShape         `json:"revisions"`
	Samples   int                     `json:"samples"`
	Ignored   ignoredShape            `json:"ignored"`
	Gaps      []gapShape              `json:"missing_samples"`
	Inputs    []inputShape            `json:"inputs"`
	Version   uint64                  `json:"version"`
	Digest    string                  `json:"digest"`
}

type billShape struct {
	Ticket    domain.TicketID       `json:"ticket_id"`
	Revision  int                   `json:"revision"`
	StartedAt domain.UnixMillis     `json:"started_at"`
	EndedAt   domain.UnixMillis     `json:"ended_at"`
	Energy    domain.MilliwattHours `json:"energy_mwh"`
	From      string                `json:"energy_from"`
	Amount    domain.MicroEuros     `json:"amount_micro_eur"`
	Formula   string                `json:"formula"`
	Reason    string                `json:"reason"`
	Digest    string                `json:"digest"`
}

type revisionShape struct {
	Revision     int                   `json:"revision"`
	At           domain.UnixMillis     `json:"at"`
	Reason       string                `json:"reason"`
	EnergyBefore domain.MilliwattHours `json:"energy_before_mwh"`
	EnergyAfter  domain.MilliwattHours `json:"energy_after_mwh"`
	AmountBefore domain.MicroEuros     `json:"amount_before_micro_eur"`
	AmountAfter  domain.MicroEuros     `json:"amount_after_micro_eur"`
	Difference   domain.MicroEuros     `json:"difference_micro_eur"`
	Digest       string                `json:"digest"`
}

type ignoredShape struct {
	NotNewer      int `json:"not_newer"`
	RunsBackwards int `json:"runs_backwards"`
}

type gapShape struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

type inputShape struct {
	Topic     string            `json:"topic"`
	Partition int32             `json:"partition"`
	Offset    int64             `json:"offset"`
	ArrivedAt domain.UnixMillis `json:"arrived_at"`
	TakenAt   domain.UnixMillis `json:"taken_in_at"`
	Version   uint64            `json:"version"`
	Said      []string          `json:"said"`
}

// tellPrograms tells an account as JSON. Instants are Unix milliseconds.
func tellPrograms(out io.Writer, a audit.Account) error {
	shape := accountShape{
		Session: a.Session, Point: a.Request.Point, Driver: a.Request.Driver, Request: a.Request.ID, Origin: a.Request.Origin,
		Status: a.Status, Refusal: a.Refusal, Price: a.Price, PriceAt: a.PriceAt,
		Revisions: []revisionShape{}, Samples: a.Samples, Ignored: ignoredShape(a.Ignored), Gaps: []gapShape{}, Inputs: []inputShape{},
		Version: uint64(a.Version), Digest: hex.EncodeToString(a.Digest[:]),
	}
	if b := a.Bill; b != nil {
		shape.Bill = &billShape{
			b.ID, b.Revision, b.StartedAt, b.EndedAt, b.Energy, b.From, b.Amount, b.Formula(), b.Reason, hex.EncodeToString(b.Digest[:]),
		}
	}
	for _, v := range a.Revisions {
		shape.Revisions = append(shape.Revisions, revisionShape{
			v.Revision, v.At, v.Reason, v.EnergyBefore, v.EnergyAfter, v.AmountBefore, v.AmountAfter, v.AmountDifference, hex.EncodeToString(v.Digest[:]),
		})
	}
	for _, g := range a.Gaps {
		shape.Gaps = append(shape.Gaps, gapShape(g))
	}
	for _, in := range a.Inputs {
		shape.Inputs = append(shape.Inputs, inputShape{
			in.Source.Topic, in.Source.Partition, in.Source.Offset, in.Source.Timestamp, in.At, uint64(in.Version), in.Said,
		})
	}
	text, err := json.Marshal(shape, jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("tell the account as JSON: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", text)
	return err
}
