package main

import (
	"context"

	"evcharging/cmd/internal/program"
	"evcharging/cmd/internal/replay"
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
