package kafka

import (
	"context"
	"errors"
	"testing"
)

// Whatever is asked of a broker that has just gone away, the answer is one that may pass.
func TestABrokerThatGoesAwayIsUnreachableForEveryQuestion(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr := connect(t, cluster.ListenAddrs()[0])
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cluster.Close()
	for name, ask := range map[string]func() error{
		"topics":  func() error { return tr.EnsureTopics(ctx) },
		"members": func() error { _, err := tr.Members(ctx, "ev-central", "ev.control"); return err },
		"backlog": func() error { _, err := tr.unread(ctx, "ev.control"); return err },
	} {
		if err := ask(); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}
