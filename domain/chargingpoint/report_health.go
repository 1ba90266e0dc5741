package chargingpoint

import (
	"time"

	"evcharging/domain"
)

// Report is what a Monitor says of its Engine.
type Report struct {
	Healthy bool
	// Lease is for how long the report is a sign of life; 0: it never runs out.
	Lease time.Duration
	// ReportedAt is the record's Kafka timestamp.
	ReportedAt domain.UnixMillis
	// LastHeard is that of the latest report heard before; 0 where none was heard.
	LastHeard domain.UnixMillis
}

// ReportHealth takes a Monitor's report, also one that overtakes the registration. It
// records PointConnected, LeaseChanged, FaultReported and FaultCleared as they
// become true. ErrNotLater where a later report was heard, ErrUnchanged where it
// is a sign of life and no more.
func (p *Point) ReportHealth(now domain.UnixMillis, r Report) error {
	if r.ReportedAt < max(p.health.ReportedAt, r.LastHeard) {
		return ErrNotLater
	}
	before := len(p.Pending())
	switch {
	case !p.connected:
		p.record(now, PointConnected{Lease: r.Lease, ReportedAt: r.ReportedAt})
	case p.lease != r.Lease:
		p.record(now, LeaseChanged{Lease: r.Lease})
	}
	switch {
	case p.health.Known && p.health.Healthy == r.Healthy:
	case r.Healthy:
		p.record(now, FaultCleared{ReportedAt: r.ReportedAt})
	default:
		p.record(now, FaultReported{ReportedAt: r.ReportedAt})
	}
	if len(p.Pending()) == before {
		return ErrUnchanged
	}
	return nil
}
