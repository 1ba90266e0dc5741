package central_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"evcharging/adapters/jsonl"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// logs are what any version of the project has written, beside what it says: they must
// replay for ever. A new version adds a log, and changes none.
const logs = "../../adapters/eventjson/testdata/logs"

// summary is what a log says, in lines.
func summary(l *ledger) string {
	var all []string
	for id, p := range l.points {
		r, _ := p.Registered()
		order := p.LastOrder()
		all = append(all, fmt.Sprintf("point %s %s %q %s order %d %s %s updated %s",
			id, p.State(), r.Location, p.Price(), order.Number, order.Kind, order.Session, p.UpdatedAt()))
	}
	for id, s := range l.sessions {
		bill, _ := s.Ticket()
		last, _ := s.Last()
		all = append(all, fmt.Sprintf("session %s %s %+v %s cause %q ignored %+v last %d %s ticket %s %d %s kWh %s EUR at %s, %q from %s to %s",
			id, s.Status(), s.Request(), s.Refusal(), s.Cause(), s.Ignored(), last.Seq, last.Energy,
			bill.ID, bill.Revision, bill.Energy, bill.Amount, bill.Price, bill.Reason, bill.StartedAt, bill.EndedAt))
	}
	slices.Sort(all)
	return strings.Join(all, "\n") + "\n"
}

func TestOldLogsReplay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(logs, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	seen := map[reflect.Type]bool{}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			w := newWorld(t)
			lines := bufio.NewScanner(file)
			for lines.Scan() {
				c, err := jsonl.Decode(lines.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				if err := w.log.Append(t.Context(), c.Commit); err != nil {
					t.Fatalf("position %d: %v", c.Position, err)
				}
				if line, err := jsonl.Encode(c); err != nil || string(line) != lines.Text()+"\n" {
					t.Errorf("position %d is written again as\n%s(%v)", c.Position, line, err)
				}
			}
			if err := lines.Err(); err != nil {
				t.Fatal(err)
			}
			l := readLedger(t, w.log)
			l.checkReplay(w.central)
			for _, events := range l.events {
				for _, e := range events {
					seen[reflect.TypeOf(e)] = true
				}
			}
			want, err := os.ReadFile(strings.TrimSuffix(path, ".jsonl") + ".txt")
			if got := summary(l); err != nil || got != string(want) {
				t.Errorf("it says\n%swant\n%s(%v)", got, want, err)
			}
			// And Central goes on with it.
			for point := range l.points {
				now := l.points[point].UpdatedAt().Add(chargingpoint.OrderValidity)
				m := registration(cheap + 7)
				m.Point = point
				w.given(now, m)
			}
			readLedger(t, w.log)
		})
	}
	for _, event := range everyEvent {
		if !seen[reflect.TypeOf(event)] {
			t.Errorf("no log has %T", event)
		}
	}
}

// everyEvent is an event of each kind. That none is missing is held by the codec's tests.
var everyEvent = []any{
	chargingpoint.PointRegistered{},
	chargingpoint.PriceSet{},
	chargingpoint.PriceHandedBack{},
	chargingpoint.PointConnected{},
	chargingpoint.LeaseChanged{},
	chargingpoint.PointDisconnected{},
	chargingpoint.FaultReported{},
	chargingpoint.FaultCleared{},
	chargingpoint.TakenOutOfService{},
	chargingpoint.ReturnedToService{},
	chargingpoint.PointOccupied{},
	chargingpoint.StopOrdered{},
	chargingpoint.PointReleased{},
	session.SupplyAuthorized{},
	session.SupplyRefused{},
	session.SupplyStarted{},
	session.MeterValueRecorded{},
	session.EndDecided{},
	session.SupplyEnded{},
	session.TicketIssued{},
	session.TicketRevised{},
}
