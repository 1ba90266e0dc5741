package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/mongo"
	"evcharging/application/audit"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// CorrectionsConfig says which corrections are listed.
type CorrectionsConfig struct {
	// Source names the log, see openSource; Archive is the folder of its archive, empty: none.
	Source, Archive string
	// Mongo has what a mongodb:// Source does not say itself.
	Mongo mongo.Config
	// From and To bound the period: from the one on, before the other; 0: without end.
	From, To domain.UnixMillis
	// JSON asks for a JSON object a line, for programs.
	JSON bool
}

// Corrections prints the revisions of tickets that were decided in a period, a line each,
// in the order in which the log has them; for people, how many there are and what they come
// to as well. ErrIncomplete where part of the log can't be read: which, is printed to the
// process's Stderr. ErrPeriod where the period ends before it begins.
func Corrections(ctx context.Context, p *program.Process, c CorrectionsConfig) error {
	if err := checkPeriod(c.From, c.To); err != nil {
		return err
	}
	return withArchived(ctx, p, c.Source, c.Archive, c.Mongo, func(source *Source) error { return listCorrections(ctx, p, c, source) })
}

func listCorrections(ctx context.Context, p *program.Process, c CorrectionsConfig, source *Source) error {
	count, unreadable, total := 0, 0, domain.MicroEuros(0)
	for correction, err := range audit.Corrections(ctx, source, eventjson.Codec{}, c.From, c.To) {
		if errors.Is(err, eventlog.ErrDamaged) {
			unreadable++
			fmt.Fprintln(p.Stderr, err)
			continue
		}
		if err != nil {
			return err
		}
		count++
		total += correction.Difference
		line := sayCorrection(correction)
		if c.JSON {
			text, err := json.Marshal(correctionOf(correction))
			if err != nil {
				return fmt.Errorf("write the correction of session %s: %w", correction.Session, err)
			}
			line = string(text)
		}
		if _, err := fmt.Fprintln(p.Stdout, line); err != nil {
			return err
		}
	}
	if !c.JSON {
		noun := "corrections"
		if count == 1 {
			noun = "correction"
		}
		fmt.Fprintf(p.Stdout, "%d %s, %s EUR\n", count, noun, total)
	}
	if unreadable > 0 {
		return fmt.Errorf("%w: %d times the log could not be read; what is printed may not be all", ErrIncomplete, unreadable)
	}
	return nil
}

// sayCorrection is a correction as a line for people.
func sayCorrection(c audit.Correction) string {
	return fmt.Sprintf("%s  session %s at %s of %s, revision %d: %s kWh, %s EUR before, %s kWh, %s EUR after: %s EUR more, for a late %s",
		c.At, c.Session, c.Point, c.Driver, c.Revision, c.EnergyBefore, c.AmountBefore, c.EnergyAfter, c.AmountAfter, c.Difference, c.Reason)
}

// correction is a correction as a line for programs. Its figures are exact decimal numbers.
type correction struct {
	At         string         `json:"at"`
	Session    string         `json:"session_id"`
	Point      string         `json:"cp_id"`
	Driver     string         `json:"driver_id"`
	Revision   int            `json:"revision"`
	KWhBefore  jsontext.Value `json:"kwh_before"`
	KWhAfter   jsontext.Value `json:"kwh_after"`
	EURBefore  jsontext.Value `json:"eur_before"`
	EURAfter   jsontext.Value `json:"eur_after"`
	Difference jsontext.Value `json:"eur_difference"`
	Reason     string         `json:"reason"`
	Topic      string         `json:"topic"`
	Partition  int32          `json:"partition"`
	Offset     int64          `json:"offset"`
	ReportedAt string         `json:"reported_at"`
}

func correctionOf(c audit.Correction) correction {
	return correction{
		At: c.At.String(), Session: string(c.Session), Point: string(c.Point), Driver: string(c.Driver), Revision: c.Revision,
		KWhBefore: number(c.EnergyBefore), KWhAfter: number(c.EnergyAfter),
		EURBefore: number(c.AmountBefore), EURAfter: number(c.AmountAfter), Difference: number(c.Difference),
		Reason: c.Reason, Topic: c.Source.Topic, Partition: c.Source.Partition, Offset: c.Source.Offset,
		ReportedAt: c.Source.Timestamp.String(),
	}
}

// number is an exact figure as a JSON number.
func number(figure fmt.Stringer) jsontext.Value { return jsontext.Value(figure.String()) }
