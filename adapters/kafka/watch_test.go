package kafka

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// While a broker hangs it is known for how long, well before it is taken to be away.
func TestABrokerThatHangsOwesAnAnswer(t *testing.T) {
	cluster := startKafka(t)
	tr := connectBare(t, cluster.ListenAddrs()[0], nil)
	var hangs atomic.Bool
	hangs.Store(true)
	release := make(chan struct{})
	cluster.ControlKey(int16(kmsg.ApiVersions), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if hangs.Load() {
			<-release
		}
		return nil, nil, false
	})
	until := func(what string, holds func() bool) {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(patience); !holds(); <-tick.C {
			if time.Now().After(deadline) {
				t.Fatal("not in time: " + what)
			}
		}
	}
	until("a ping waits", func() bool { return tr.Unanswered() > 300*time.Millisecond })
	hangs.Store(false)
	close(release)
	until("it is answered", func() bool { return tr.Unanswered() == 0 })
}
