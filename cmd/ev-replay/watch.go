package main

import (
	"context"

	"evcharging/cmd/internal/program"
	"evcharging/cmd/internal/replay"
	"evcharging/domain"
)

type watch struct {
	source
	From  domain.UnixMillis `placeholder:"TIME" help:"Where to begin: RFC 3339, or a time of this machine such as 2026-12-01T00:00; where the log does, if none is named."`
	To    domain.UnixMillis `placeholder:"TIME" help:"Where to end; where the log does, if none is named."`
	Speed int               `default:"60" min:"1" max:"86400" placeholder:"FACTOR" help:"How many seconds of the log pass in one: 60 plays an hour in a minute."`
}

// Run plays a log.
func (w *watch) Run(ctx context.Context, p *program.Process) error {
	return replay.Watch(ctx, p, replay.WatchConfig{
		PastConfig: replay.PastConfig{Source: w.Log, Archive: w.Archive, Mongo: w.mongo(p), At: w.From}, To: w.To, Speed: w.Speed,
	})
}
