package central

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain/chargingpoint"
)

// reportHealth takes a Monitor's report, which is a sign of life too.
func (t *turn) reportHealth(ctx context.Context, m message.Health) (verdict, error) {
	if t.Secrets != nil {
		if _, known := t.Secrets.Secret(m.Point); !known {
			return verdict{rule: chargingpoint.ErrUnknownPoint, refused: true}, nil
		}
	}
	last, err := t.Signs.Last(ctx, m.Point)
	if err != nil {
		return verdict{}, fmt.Errorf("read the last sign of life of %s: %w", m.Point, err)
	}
	report := chargingpoint.Report{
		Healthy:    m.Status != message.HealthKO,
		Lease:      t.leaseOf(m),
		ReportedAt: t.received.Source.Timestamp,
		LastHeard:  last.ReportedAt,
	}
	sign := Sign{HeardAt: t.clock, ReportedAt: report.ReportedAt}
	if report.Lease != 0 && t.late >= report.Lease {
		sign.HeardAt = last.HeardAt // the lease that it gave has run out: it tells of no life now
	}
	heard := func() error { return t.Signs.Heard(ctx, m.Point, sign) }
	if err := t.loadPoint(ctx, m.Point); err != nil {
		if !errors.Is(err, eventlog.ErrDamaged) {
			return verdict{}, err
		}
		// It was not silent, and no session is to end as if it had been once it can be read again.
		return verdict{}, cmp.Or(heard(), err)
	}
	v, err := judge(t.point.point.ReportHealth(t.now, report))
	if err == nil && !errors.Is(v.rule, chargingpoint.ErrNotLater) {
		t.heard = heard
	}
	return v, err
}

// leaseOf is for how long a report is a sign of life; 0: it gives no lease.
func (t *turn) leaseOf(m message.Health) time.Duration {
	if m.LeaseSeconds != 0 && t.Lease != 0 {
		return t.Lease
	}
	return time.Duration(m.LeaseSeconds) * time.Second
}
