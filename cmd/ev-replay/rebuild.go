package main

import (
	"context"
	"errors"

	"evcharging/adapters/mongo"
	"evcharging/cmd/internal/program"
	"evcharging/cmd/internal/replay"
	"evcharging/domain"
)

type rebuild struct {
	Log string `required:"" placeholder:"SOURCE" predictor:"file" help:"The event log: the folder of an embedded one, a mongodb:// URI, the http:// address of a running Central's pages, a file of JSON Lines (.gz: packed), or - for lines from standard input."`
	archived
	program.Mongo
	DryRun bool              `name:"dry-run" help:"Tell what would be changed, and change nothing."`
	Only   string            `placeholder:"ID" help:"Look at the documents of this id alone: a point's, a session's, or, where the log has neither, a driver's."`
	Into   string            `placeholder:"DATABASE" help:"Build in this database instead of that of --mongo."`
	Until  domain.UnixMillis `placeholder:"TIME" help:"Build what was so at this time, in the database of --into: RFC 3339, or a time of this machine such as 2026-12-01T00:00."`
	Export string            `placeholder:"FILE" predictor:"file" help:"Write the log as JSON Lines to this file; - for standard output."`
}

// Run replays a log.
func (r *rebuild) Run(ctx context.Context, p *program.Process) error {
	if err := r.Check(r.Log); err != nil {
		return err
	}
	if r.URI.Reveal() == "" && r.Export == "" {
		return program.UsageError(errors.New("name where to build the documents with --mongo, or a file with --export"))
	}
	return replay.Run(ctx, p, replay.Config{
		Source: r.Log, Archive: r.Archive,
		Mongo: mongo.Config{URI: r.URI.Reveal(), Username: r.Username, Password: r.Password.Reveal(), Logger: p.Logger},
		Into:  r.Into, Until: r.Until, Only: r.Only, DryRun: r.DryRun,
		Export: r.Export,
	})
}
