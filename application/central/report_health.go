package central

import (
	"context"
	"fmt"
	"time"

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
	if err := t.loadPoint(ctx, m.Point); err != nil {
		return verdict{}, err
	}
	last, err := t.Signs.Last(ctx, m.Point)
	if err != nil {
		return verdict{}, fmt.Errorf("read the last sign of life of %s: %w", m.Point, err)
	}
	err = t.point.point.ReportHealth(t.now, chargingpoint.Report{
		Healthy:    m.Status != message.HealthKO,
		Lease:      time.Duration(m.LeaseSeconds) * time.Second,
		ReportedAt: t.received.Source.Timestamp,
		LastHeard:  last.ReportedAt,
	})
	if err == nil || err == chargingpoint.ErrUnchanged { //nolint:errorlint // the domain returns it bare
		sign := Sign{HeardAt: t.now, ReportedAt: t.received.Source.Timestamp}
		t.heard = func() error { return t.Signs.Heard(ctx, m.Point, sign) }
	}
	return judge(err)
}
