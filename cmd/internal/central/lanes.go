package central

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"evcharging/adapters/prometheus"
	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain"
)

// lanes keeps each point in one lane, and one turn at a time in each lane.
type lanes struct {
	metrics *prometheus.Central
	seed    maphash.Seed
	lanes   [64]struct {
		mu   sync.Mutex
		lane *central.Lane
	}
}

func newLanes(c *central.Central, metrics *prometheus.Central) *lanes {
	l := &lanes{metrics: metrics, seed: maphash.MakeSeed()}
	for i := range l.lanes {
		l.lanes[i].lane = c.Lane()
	}
	return l
}

// take takes the turn of a record in the lane of its point.
func (l *lanes) take(ctx context.Context, received message.Received) error {
	lane := &l.lanes[maphash.String(l.seed, string(message.PointOf(received.Message)))%uint64(len(l.lanes))]
	lane.mu.Lock()
	defer lane.mu.Unlock()
	return measureTurn(ctx, l.metrics, received.Source.Topic, func(ctx context.Context) error {
		return lane.lane.Take(ctx, domain.At(time.Now()), received)
	})
}
