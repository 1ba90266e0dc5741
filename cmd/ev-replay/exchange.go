package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"evcharging/cmd/internal/program"
	"evcharging/cmd/internal/replay"
	"evcharging/domain"
)

type export struct {
	source
	File string `arg:"" predictor:"file" help:"The file that is written: packed with gzip where its name ends in .gz; - for standard output."`
}

// Run writes a log to a file.
func (e *export) Run(ctx context.Context, p *program.Process) error {
	return replay.Export(ctx, p, replay.ExportConfig{Source: e.Log, Archive: e.Archive, Mongo: e.mongo(p), File: e.File})
}

type imports struct {
	Source string `arg:"" predictor:"file" help:"What is imported: a file of JSON Lines (.gz: packed), - for lines from standard input, or any other log, as of rebuild."`
	Log    string `required:"" placeholder:"LOG" predictor:"file" help:"The event log that gets what it does not have: a folder, or a mongodb:// URI. It is made where there is none."`
	archived
	user
}

// Run adds a log to another.
func (i *imports) Run(ctx context.Context, p *program.Process) error {
	return replay.Import(ctx, p, replay.ImportConfig{Source: i.Source, Archive: i.Archive, Log: i.Log, Mongo: i.mongo(p)})
}

type whatIf struct {
	source
	Prices string            `name:"price-file" required:"" placeholder:"FILE" predictor:"file" help:"The other prices. A line has a point's id, or * for all others, EUR per kWh and, perhaps, the time from which on that counts; # begins a comment. A point without a price keeps the one it had."`
	From   domain.UnixMillis `placeholder:"TIME" help:"Sessions that were closed at this time or later: RFC 3339, or a time of this machine such as 2026-12-01T00:00."`
	To     domain.UnixMillis `placeholder:"TIME" help:"Sessions that were closed before this time, as they were billed then."`
	JSON   bool              `name:"json" help:"Print a JSON object, for programs."`
}

// Run bills sessions under other prices.
func (w *whatIf) Run(ctx context.Context, p *program.Process) error {
	return replay.WhatIf(ctx, p, replay.WhatIfConfig{
		Source: w.Log, Archive: w.Archive, Mongo: w.mongo(p), Prices: w.Prices, From: w.From, To: w.To, JSON: w.JSON,
	})
}

type archive struct {
	Log          string `required:"" placeholder:"LOG" predictor:"file" help:"The event log: a folder, of a Central that does not run, or a mongodb:// URI."`
	Dir          string `name:"archive" required:"" placeholder:"DIR" predictor:"file" help:"The folder of the archive, which has a file for each month. Keep it: what is in it is not in the log any more."`
	ClosedBefore string `default:"90d" placeholder:"TIME" help:"Sessions of months that were over so many days ago (90d), or at a time such as 2026-12-01."`
	user
}

// Run archives a log.
func (a *archive) Run(ctx context.Context, p *program.Process) error {
	before, err := closedBefore(a.ClosedBefore, time.Now())
	if err != nil {
		return program.UsageError(err)
	}
	return replay.Archive(ctx, p, replay.ArchiveConfig{Log: a.Log, Mongo: a.mongo(p), Dir: a.Dir, Before: before})
}

// closedBefore reads a number of days before now, or an instant.
func closedBefore(text string, now time.Time) (domain.UnixMillis, error) {
	days, ok := strings.CutSuffix(text, "d")
	if !ok {
		return program.ParseInstant(text)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("--closed-before is a number of days such as 90d, or a time: %q is neither", text)
	}
	return domain.At(now.AddDate(0, 0, -int(n))), nil
}
