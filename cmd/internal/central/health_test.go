package central

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/memory"
)

func TestANodeIsReadyOnceItWorks(t *testing.T) {
	var v vitals
	for _, phase := range []string{openingLog, reachingKafka, readingLog, joining, stopping} {
		v.enters(phase)
		if err := v.ready(t.Context()); err == nil || err.Error() != phase {
			t.Errorf("%s: %v", phase, err)
		}
	}
	v.enters(working)
	v.store.Store(&store{})
	if err := v.ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAStoreThatHangsIsAReasonWithinABound(t *testing.T) {
	var v vitals
	v.enters(reachingKafka)
	away := errors.New("no answer from mongodb://db")
	v.store.Store(&store{ping: func(ctx context.Context) error {
		<-ctx.Done()
		return away
	}})
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	err := v.ready(ctx)
	if !errors.Is(err, away) || !strings.HasPrefix(err.Error(), reachingKafka+"\n") || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("ready says %v", err)
	}
}

func TestThereIsNothingToShowBeforeTheLogIsRead(t *testing.T) {
	n := &Node{feed: newFeed(nil, memory.NewDeadlines(&memory.Signs{}))}
	if s := n.vitals.source(); s != nil {
		t.Errorf("shown is %v", s)
	}
	n.vitals.feed.Store(n.feed)
	if s := n.vitals.source(); s != n.feed {
		t.Errorf("shown is %v", s)
	}
}
