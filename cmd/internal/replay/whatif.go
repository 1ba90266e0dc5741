package replay

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/mongo"
	"evcharging/application/audit"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

// WhatIfConfig says which sessions are billed otherwise, and how.
type WhatIfConfig struct {
	// Source names the log, see openSource; Mongo has what a mongodb:// URI does not say itself.
	// Archive is the folder of the log's archive; empty: none.
	Source, Archive string
	Mongo           mongo.Config
	// Prices is the file of the other prices: see readTariff.
	Prices string
	// From and To bound the period in which the sessions were closed: from the one on, before
	// the other; 0: without end.
	From, To domain.UnixMillis
	// JSON asks for a JSON object, for programs.
	JSON bool
}

// ErrPrices tells of a file of prices that can't be understood.
var ErrPrices = errors.New("a line of prices is: a point's id, or * for all others; EUR per kWh; and, where it does not count for ever, the time from which on it does")

// WhatIf prints what the sessions of a period would have come to under other prices: in all,
// by point and by driver. It writes nothing. ErrIncomplete where part of the log can't be read:
// which, is printed to the process's Stderr. ErrPeriod where the period ends before it begins.
func WhatIf(ctx context.Context, p *program.Process, c WhatIfConfig) error {
	if err := checkPeriod(c.From, c.To); err != nil {
		return err
	}
	file, err := os.Open(c.Prices)
	if err != nil {
		return program.UsageError(fmt.Errorf("read the prices: %w", err))
	}
	defer file.Close()
	tariff, named, err := readTariff(file)
	if err != nil {
		return program.UsageError(fmt.Errorf("%s: %w", c.Prices, err))
	}
	return withArchived(ctx, p, c.Source, c.Archive, c.Mongo, func(source *Source) error {
		unreadable := 0
		bills, err := audit.WhatIf(ctx, source, eventjson.Codec{}, tariff, c.From, c.To, func(err error) {
			unreadable++
			fmt.Fprintln(p.Stderr, err)
		})
		if err != nil {
			return err
		}
		for _, point := range named {
			if _, ok := bills.Points[point]; !ok {
				fmt.Fprintf(p.Stderr, "%s has a price, and no session that was closed in the period\n", point)
			}
		}
		if c.JSON {
			err = tellBillsAsJSON(p.Stdout, c, bills)
		} else {
			err = tellBills(p.Stdout, c, bills)
		}
		if err == nil && unreadable > 0 {
			err = fmt.Errorf("%w: %d times the log could not be read; what is printed may not be all", ErrIncomplete, unreadable)
		}
		return err
	})
}

// readTariff reads prices, and gives the points that they name, in order. A line has a
// point's id, or * for all points without a price of their own, a price in EUR per kWh and
// perhaps the time from which on it counts, as people type it. Blank lines, and what
// follows #, are passed over. Of several prices of a point the latest counts that is not
// later than a session's grant.
func readTariff(from io.Reader) (tariff audit.Tariff, named []domain.PointID, err error) {
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 2 || len(fields) > 3 {
			return tariff, nil, fmt.Errorf("line %d: %w", n, ErrPrices)
		}
		point := domain.PointID(fields[0])
		if point == "*" {
			point = ""
		} else if err := domain.CheckID(point); err != nil {
			return tariff, nil, fmt.Errorf("line %d: %w: %w", n, ErrPrices, err)
		}
		price, err := domain.ParsePrice(fields[1])
		since := domain.UnixMillis(0)
		if err == nil && len(fields) == 3 {
			since, err = program.ParseInstant(fields[2])
		}
		if err != nil {
			return tariff, nil, fmt.Errorf("line %d: %w: %w", n, ErrPrices, err)
		}
		if !tariff.Set(point, since, price) {
			return tariff, nil, fmt.Errorf("line %d: the price of %s at that time was said already", n, fields[0])
		}
		if point != "" {
			named = append(named, point)
		}
	}
	if err := lines.Err(); err != nil {
		return tariff, nil, err
	}
	slices.Sort(named)
	return tariff, slices.Compact(named), nil
}

// period is the period in words.
func (c WhatIfConfig) period() string {
	var bounds []string
	if c.From != 0 {
		bounds = append(bounds, "from "+program.FormatInstant(c.From))
	}
	if c.To != 0 {
		bounds = append(bounds, "before "+program.FormatInstant(c.To))
	}
	return strings.Join(bounds, " ")
}

// tellBills tells people.
func tellBills(out io.Writer, c WhatIfConfig, b audit.Otherwise) error {
	text := counted(b.Total.Sessions, "session") + " closed"
	if period := c.period(); period != "" {
		text += " " + period
	}
	fmt.Fprintf(out, "%s, %s kWh\n", text, b.Total.Energy)
	fmt.Fprintf(out, "billed %s EUR, otherwise %s EUR: %s\n", b.Total.Billed, b.Total.Otherwise, moreOrLess(b.Total.Difference()))
	if b.Total.Sessions == 0 {
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	tellRows(table, "POINT", b.Points)
	tellRows(table, "DRIVER", b.Drivers)
	return table.Flush()
}

func moreOrLess(difference domain.MicroEuros) string {
	switch {
	case difference > 0:
		return difference.String() + " EUR more"
	case difference < 0:
		return (-difference).String() + " EUR less"
	}
	return "the same"
}

func tellRows[ID cmp.Ordered](table io.Writer, of string, rows map[ID]audit.Bills) {
	fmt.Fprintf(table, "\n%s\tSESSIONS\tKWH\tBILLED\tOTHERWISE\tDIFFERENCE\t\n", of)
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		b := rows[id]
		fmt.Fprintf(table, "%v\t%d\t%s\t%s\t%s\t%s\t\n", id, b.Sessions, b.Energy, b.Billed, b.Otherwise, b.Difference())
	}
}

// billsShape are bills as programs are told. Figures are exact decimal numbers.
type billsShape struct {
	Point      domain.PointID  `json:"cp_id,omitzero"`
	Driver     domain.DriverID `json:"driver_id,omitzero"`
	Sessions   int             `json:"sessions"`
	KWh        jsontext.Value  `json:"kwh"`
	Billed     jsontext.Value  `json:"eur_billed"`
	Otherwise  jsontext.Value  `json:"eur_otherwise"`
	Difference jsontext.Value  `json:"eur_difference"`
}

func billsOf(b audit.Bills) billsShape {
	return billsShape{Sessions: b.Sessions, KWh: number(b.Energy), Billed: number(b.Billed), Otherwise: number(b.Otherwise), Difference: number(b.Difference())}
}

// tellBillsAsJSON tells programs. Instants are RFC 3339, null where the period has no such end.
func tellBillsAsJSON(out io.Writer, c WhatIfConfig, b audit.Otherwise) error {
	shape := struct {
		From    *string      `json:"from"`
		To      *string      `json:"to"`
		Total   billsShape   `json:"total"`
		Points  []billsShape `json:"points"`
		Drivers []billsShape `json:"drivers"`
	}{From: bound(c.From), To: bound(c.To), Total: billsOf(b.Total), Points: []billsShape{}, Drivers: []billsShape{}}
	for _, id := range slices.Sorted(maps.Keys(b.Points)) {
		row := billsOf(b.Points[id])
		row.Point = id
		shape.Points = append(shape.Points, row)
	}
	for _, id := range slices.Sorted(maps.Keys(b.Drivers)) {
		row := billsOf(b.Drivers[id])
		row.Driver = id
		shape.Drivers = append(shape.Drivers, row)
	}
	text, err := json.Marshal(shape, jsontext.WithIndent("  "))
	if err != nil {
		return fmt.Errorf("tell the bills as JSON: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", text)
	return err
}

// bound is an end of a period; nil where there is none.
func bound(at domain.UnixMillis) *string {
	if at == 0 {
		return nil
	}
	return new(at.String())
}
