package main

import (
	"context"

	"evcharging/cmd/internal/program"
	"evcharging/cmd/internal/replay"
	"evcharging/domain"
)

// past are the flags that name a log and an instant.
type past struct {
	source
	At   domain.UnixMillis `placeholder:"TIME" help:"The instant: RFC 3339, or a time of this machine such as 2026-12-01T00:00; the end of the log where none is named."`
	JSON bool              `name:"json" help:"Print JSON, for programs."`
}

func (c past) config(p *program.Process) replay.PastConfig {
	return replay.PastConfig{Source: c.Log, Archive: c.Archive, Mongo: c.mongo(p), At: c.At, JSON: c.JSON}
}

type show struct {
	past
	Points  showPoints  `cmd:"" default:"1" help:"All points, the sessions that were open, the last messages."`
	Point   showPoint   `cmd:"" help:"One point, and the changes of its price."`
	Session showSession `cmd:"" help:"One session, or a request that was refused."`
	Driver  showDriver  `cmd:"" help:"What a driver had asked for."`
}

type showPoints struct{}

// Run shows the network.
func (showPoints) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	return replay.ShowPoints(ctx, p, c.Show.config(p))
}

type showPoint struct {
	ID domain.PointID `arg:"" help:"The point's id."`
}

// Run shows a point.
func (s *showPoint) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	return replay.ShowPoint(ctx, p, c.Show.config(p), s.ID)
}

type showSession struct {
	ID domain.SessionID `arg:"" help:"The session's id."`
}

// Run shows a session.
func (s *showSession) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	return replay.ShowSession(ctx, p, c.Show.config(p), s.ID)
}

type showDriver struct {
	ID domain.DriverID `arg:"" help:"The driver's id."`
}

// Run lists what a driver had asked for.
func (s *showDriver) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	return replay.ShowDriver(ctx, p, c.Show.config(p), s.ID)
}
