package main

import (
	"context"

	"evcharging/cmd/internal/program"
	"evcharging/cmd/internal/replay"
	"evcharging/domain"
)

type why struct {
	past
	All     bool       `help:"Tell every event until then, not only those that led to the state."`
	Point   whyPoint   `cmd:"" help:"Why a point is as it is: registration, price, connection, health, service, session."`
	Session whySession `cmd:"" help:"Why a session is as it is."`
}

type whyPoint struct {
	ID domain.PointID `arg:"" help:"The point's id."`
}

// Run tells why a point is as it is.
func (w *whyPoint) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	return replay.WhyPoint(ctx, p, c.Why.config(p), w.ID, c.Why.All)
}

type whySession struct {
	ID domain.SessionID `arg:"" help:"The session's id."`
}

// Run tells why a session is as it is.
func (w *whySession) Run(ctx context.Context, p *program.Process, c *commandLine) error {
	return replay.WhySession(ctx, p, c.Why.config(p), w.ID, c.Why.All)
}
