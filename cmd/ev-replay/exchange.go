package main

import (
	"context"

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
	return replay.Export(ctx, p, replay.ExportConfig{Source: e.Log, Mongo: e.mongo(p), File: e.File})
}

type imports struct {
	Source string `arg:"" predictor:"file" help:"What is imported: a file of JSON Lines (.gz: packed), - for lines from standard input, or any other log, as of rebuild."`
	Log    string `required:"" placeholder:"LOG" predictor:"file" help:"The event log that gets what it does not have: a folder, or a mongodb:// URI. It is made where there is none."`
	user
}

// Run adds a log to another.
func (i *imports) Run(ctx context.Context, p *program.Process) error {
	return replay.Import(ctx, p, replay.ImportConfig{Source: i.Source, Log: i.Log, Mongo: i.mongo(p)})
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
		Source: w.Log, Mongo: w.mongo(p), Prices: w.Prices, From: w.From, To: w.To, JSON: w.JSON,
	})
}
