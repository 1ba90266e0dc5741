package network

import (
	"fmt"
	"testing"

	"evcharging/application/eventlog"
	"evcharging/domain/session"
)

func TestOldRefusalsAreForgotten(t *testing.T) {
	n := New()
	for i := range 3 * ClosedLimit {
		if err := n.Apply(eventlog.Stream(fmt.Sprintf("session-%d", i)), 1, 1, session.SupplyRefused{Reason: "OCCUPIED"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(n.sessions) != ClosedLimit {
		t.Fatalf("%d refusals are kept", len(n.sessions))
	}
}
