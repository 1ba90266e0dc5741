package central_test

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/jsonl"
	"evcharging/application/audit"
	"evcharging/application/message"
	"evcharging/domain"
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
		if by := p.PriceChange(); by.DecidedAt != 0 {
			all = append(all, fmt.Sprintf("point %s price %+v", id, by))
		}
		for _, c := range p.Scheduled() {
			all = append(all, fmt.Sprintf("point %s scheduled %+v", id, c))
		}
	}
	for id, s := range l.sessions {
		bill, _ := s.Ticket()
		last, _ := s.Last()
		all = append(all, fmt.Sprintf("session %s %s %+v %s cause %q ignored %+v last %d %s ticket %s %d %s kWh %s EUR at %s, %q from %s to %s",
			id, s.Status(), s.Request(), s.Refusal(), s.Cause(), s.Ignored(), last.Seq, last.Energy,
			bill.ID, bill.Revision, bill.Energy, bill.Amount, bill.Price, bill.Reason, bill.StartedAt, bill.EndedAt))
		for _, r := range s.Revisions() {
			all = append(all, fmt.Sprintf("session %s revision %d at %s for %q: %s kWh %s EUR until %s, before it %s kWh %s EUR until %s, %s EUR more",
				id, r.After.Revision, r.At, r.Reason, r.After.Energy, r.After.Amount, r.After.EndedAt, r.Before.Energy, r.Before.Amount, r.Before.EndedAt, r.Difference()))
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n") + "\n"
}

func TestOldLogsReplay(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(logs, "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	seen := map[string]bool{}
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
			verifies := func() {
				t.Helper()
				if _, err := audit.Verify(t.Context(), w.log, w.central.Codec, func(f audit.Finding) { t.Error(f) }, nil); err != nil {
					t.Error(err)
				}
			}
			verifies() // each ticket follows from its events
			for _, events := range l.events {
				for _, e := range events {
					for field, value := range reflect.ValueOf(e).Fields() {
						seen[fmt.Sprintf("%T.%s", e, field.Name)] = seen[fmt.Sprintf("%T.%s", e, field.Name)] || !value.IsZero()
					}
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
			verifies()
		})
	}
	for _, event := range everyEvent {
		for field := range reflect.ValueOf(event).Fields() {
			if what := fmt.Sprintf("%T.%s", event, field.Name); !seen[what] {
				t.Errorf("no log has a %s that says something", what)
			}
		}
	}
}

var write = flag.String("write", "", "write what TestALogOfEverything does as testdata of this name, such as v4")

// everything is a history with every kind of event: that of the busiest day, and what it lacks.
func everything(t testing.TB) []moment {
	all := busy(t)
	last := all[len(all)-1].now
	w := newWorld(t)
	for _, m := range all { // records go on where that history ends
		w.offsets[m.received.Source.Topic] = max(w.offsets[m.received.Source.Topic], m.received.Source.Offset)
	}
	say := func(second int, sentAt time.Duration, m message.Message) {
		at := last.Add(time.Duration(second) * time.Second)
		all = append(all, moment{at, w.record(at.Add(-sentAt), m)})
	}
	longer := health(message.HealthOK)
	longer.LeaseSeconds = 60
	say(1, 0, longer)
	say(2, time.Minute, request(dan, "")) // its driver has left
	say(3, 0, priceFrom("c-20", cheap+5, last.Add(time.Hour)))
	say(4, 0, request(dan, "r-20"))
	running := session.IDFor(cp1, dan, "r-20")
	say(5, 0, sample(running, 1, 4, last.Add(5*time.Second)))
	say(6, 0, sample(running, 2, 3, last.Add(6*time.Second))) // with less
	say(7, 0, health(message.HealthKO))
	say(8, 0, sample(running, 2, 5, last.Add(8*time.Second)))
	say(9, 0, sample(running, 2, 5, last.Add(8*time.Second))) // again
	say(10, 0, done(running, 5, message.DoneFault, last.Add(9*time.Second)))
	// A supply that ends without a final report, and samples that come late.
	say(11, 0, health(message.HealthOK))
	say(12, 0, request(eva, "r-21"))
	silent := session.IDFor(cp1, eva, "r-21")
	evas := func(m message.MeterValue) message.MeterValue { m.Driver = eva; return m }
	say(13, 0, evas(sample(silent, 1, 1, last.Add(13*time.Second))))
	say(14, 0, control("c-22", message.ActionStop))
	say(15, 0, evas(sample(silent, 1, 1, last.Add(13*time.Second))))
	say(80, 0, deadline(silent, session.FinalReport, last.Add(74*time.Second)))
	return all
}

// oneSecret is a network in which cp1 has a secret.
type oneSecret string

func (s oneSecret) Secret(id domain.PointID) (string, bool) { return string(s), id == cp1 }

// With -write it makes the log that a new version adds to testdata:
//
//	go test ./application/central -run TestALogOfEverything -args -write v4
func TestALogOfEverything(t *testing.T) {
	p := newPlay(-1)
	all := everything(t)
	p.all(t, all)
	// Central is started again, with secrets.
	p.core.Secrets, p.lane = oneSecret("s3cret"), p.core.Lane()
	w, now := newWorld(t), all[len(all)-1].now.Add(time.Minute)
	w.offsets["ev.register"] = 1_000
	proved := registration(cheap + 9)
	proved.At = now.Time().UTC().Format(time.RFC3339)
	proved.Proof = message.RegistrationProof("s3cret", cp1, *proved.Location, proved.PriceText, proved.At)
	p.take(t, moment{now, w.record(now, proved)})
	l, seen := readLedger(t, p.log), map[reflect.Type]bool{}
	for _, events := range l.events {
		for _, e := range events {
			seen[reflect.TypeOf(e)] = true
		}
	}
	for _, event := range everyEvent {
		if !seen[reflect.TypeOf(event)] {
			t.Errorf("it has no %T", event)
		}
	}
	if *write == "" || t.Failed() {
		return
	}
	var text []byte
	for c, err := range p.log.All(t.Context(), 1) {
		line, encoding := jsonl.Encode(c)
		if err != nil || encoding != nil {
			t.Fatal(err, encoding)
		}
		text = append(text, line...)
	}
	for name, content := range map[string][]byte{*write + ".jsonl": text, *write + ".txt": []byte(summary(l))} {
		file, err := os.OpenFile(filepath.Join(logs, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // a log is never changed
		if err == nil {
			_, err = file.Write(content)
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// everyEvent is an event of each kind. That none is missing is held by the codec's tests.
var everyEvent = []any{
	chargingpoint.PointRegistered{},
	chargingpoint.PriceSet{},
	chargingpoint.PriceHandedBack{},
	chargingpoint.PriceTookEffect{},
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
