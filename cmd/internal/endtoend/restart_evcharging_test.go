package endtoend

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"evcharging/application/eventlog"
	"evcharging/domain/session"
)

// A whole network in one process that is killed, broker and all, knows everything again
// when it is started on the same folder: what was granted has its ticket.
func TestEvchargingThatIsKilledLosesNothing(t *testing.T) {
	embeddedOnly(t, ownServers)
	t.Parallel()
	w := newWorld(t)
	args := []string{"--points", "6", "--speed", "600", "--data", "data"}
	n := w.network(append(args, "--drivers", "8")...)
	granted := map[eventlog.Stream]bool{}
	for range 2 {
		before := len(granted)
		eventually(t, "several supplies run", func() bool {
			running := 0
			for _, e := range n.log() {
				switch e.Event.(type) {
				case session.SupplyAuthorized:
					granted[e.Stream] = true
					running++
				case session.TicketIssued:
					running--
				}
			}
			return running >= 3 && len(granted) >= before+5
		})
		n.kill()
		n = w.network(append(args, "--drivers", "8")...)
	}
	n.kill()
	n = w.network(append(args, "--drivers", "0")...)
	eventually(t, "whatever was granted has its ticket", func() bool {
		for _, e := range n.log() {
			switch e.Event.(type) {
			case session.SupplyAuthorized:
				granted[e.Stream] = true
			case session.TicketIssued:
				delete(granted, e.Stream)
			}
		}
		return len(granted) == 0
	})
	inside := &world{t: t, dir: filepath.Join(w.dir, "data"), kafka: n.broker, client: &kafka.Client{Addr: kafka.TCP(n.broker), Timeout: 10 * time.Second}}
	inside.audit(n.central)
}
