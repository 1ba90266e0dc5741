package audit_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/audit"
	"evcharging/application/audit/audittest"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/session"
)

var instant = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// told are steps as a test compares them, times as those since an instant: version, time,
// event, message, how long after its arrival it was taken in, and what inside it followed from.
func told(steps []audit.Step, since domain.UnixMillis) string {
	ago := func(text string) string {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return err.Error()
		}
		return domain.At(at).Sub(since).String()
	}
	var b strings.Builder
	for _, s := range steps {
		mark := " "
		if s.Holds {
			mark = "*"
		}
		fmt.Fprintf(&b, "%s%d %s %s %s/%d@%d %d", mark, s.Version, s.At.Sub(since), s.Event, s.Message.Topic, s.Message.Partition, s.Message.Offset, s.At-s.Message.Timestamp)
		if s.Inside.Rule != "" {
			fmt.Fprintf(&b, " %s: %s", s.Inside.Rule, instant.ReplaceAllStringFunc(s.Inside.Why, ago))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func past(t *testing.T, log audit.Log, at domain.UnixMillis) audit.Past {
	return audit.Past{Log: log, Codec: eventjson.Codec{}, At: at, Damaged: func(err error) { t.Error(err) }}
}

// offset is that of a message, which other supplies of the same network move.
var offset = regexp.MustCompile(`@\d+ `)

func TestWhySessionsAreAsTheyAre(t *testing.T) {
	h, supplies := everyEnding(t)
	for name, want := range map[string]string{
		"finished": `
			*1 0s SupplyAuthorized ev.supply.request/6 20
			*2 1s SupplyStarted ev.supply.telemetry/6 20
			 3 1s MeterValueRecorded ev.supply.telemetry/6 20
			 4 2s MeterValueRecorded ev.supply.telemetry/6 20
			*5 3s MeterValueRecorded ev.supply.telemetry/6 20
			*6 4s SupplyEnded ev.supply.done/6 20
			*7 4s TicketIssued ev.supply.done/6 20 policy: the final report closes the session`,
		"stopped by Central": `
			*1 0s SupplyAuthorized ev.supply.request/6 20
			*2 1s SupplyStarted ev.supply.telemetry/6 20
			*3 1s MeterValueRecorded ev.supply.telemetry/6 20
			*4 1s EndDecided ev.control/6 20 policy: a point that is taken out of order ends what it supplies (TakenOutOfService, version 5 of CP-004)
			*5 3s SupplyEnded ev.supply.done/6 20
			*6 3s TicketIssued ev.supply.done/6 20 policy: the final report closes the session`,
		"ended by a fault": `
			*1 0s SupplyAuthorized ev.supply.request/6 20
			*2 1s SupplyStarted ev.supply.telemetry/6 20
			*3 1s MeterValueRecorded ev.supply.telemetry/6 20
			*4 1s EndDecided ev.health/6 20 policy: a point that breaks ends what it supplies (FaultReported, version 5 of CP-005)
			*5 3s SupplyEnded ev.supply.done/6 20
			*6 3s TicketIssued ev.supply.done/6 20 policy: the final report closes the session`,
		"disconnected, and reported all the same": `
			*1 0s SupplyAuthorized ev.supply.request/6 20
			*2 1s SupplyStarted ev.supply.telemetry/6 20
			*3 1s MeterValueRecorded ev.supply.telemetry/6 20
			*4 21s EndDecided ev.control/6 20 policy: a point that disconnects ends what it supplies (PointDisconnected, version 5 of CP-006); deadline lease: its Monitor was heard last at -1s, and its lease is 15s
			*5 23s SupplyEnded ev.supply.done/6 20
			*6 23s TicketIssued ev.supply.done/6 20 policy: the final report closes the session`,
		"never taken up": `
			*1 0s SupplyAuthorized ev.supply.request/6 20
			*2 1m0.01s EndDecided ev.control/6 20 deadline: take-up: nothing was reported from the grant at 0s until 1m0s
			*3 1m0.01s TicketIssued ev.control/6 20 policy: a grant that expires is billed at once`,
		"silent, billed on the last report": `
			*1 0s SupplyAuthorized ev.supply.request/6 20
			*2 1s SupplyStarted ev.supply.telemetry/6 20
			 3 1s MeterValueRecorded ev.supply.telemetry/6 20
			*4 2s MeterValueRecorded ev.supply.telemetry/6 20
			*5 1m2.01s EndDecided ev.control/6 20 deadline: silence: nothing was reported from 2s until 1m2s
			*6 2m2.02s TicketIssued ev.control/6 20 deadline: final-report: the end was decided at 1m2.01s, and no final report came until 2m2.01s`,
		"refused": `
			*1 0s SupplyRefused ev.supply.request/6 20`,
	} {
		t.Run(name, func(t *testing.T) {
			steps, err := past(t, h, 0).WhySession(t.Context(), supplies[name].Session)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := offset.ReplaceAllString(told(steps, steps[0].At), " "), unindented(want); got != want {
				t.Errorf("it tells\n%swant\n%s", got, want)
			}
		})
	}
}

// unindented is a text of a test's source.
func unindented(text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimLeft(text, "\n"), "\n") {
		b.WriteString(strings.TrimLeft(line, "\t") + "\n")
	}
	return b.String()
}

func TestWhyASessionWasAsItWas(t *testing.T) {
	h, supplies := everyEnding(t)
	id := supplies["finished"].Session
	steps, err := past(t, h, audittest.Begin.Add(3500*time.Millisecond)).WhySession(t.Context(), id)
	if err != nil || len(steps) != 4 || !steps[3].Holds || steps[2].Holds {
		t.Errorf("%v\n%s", err, told(steps, audittest.Begin))
	}
	if _, err := past(t, h, audittest.Begin.Add(999*time.Millisecond)).WhySession(t.Context(), id); !errors.Is(err, audit.ErrNoSession) ||
		!strings.Contains(err.Error(), "begins at 2027-01-15T08:00:01.000Z") {
		t.Errorf("before its grant: %v", err)
	}
	if _, err := past(t, h, 0).WhySession(t.Context(), "S-0"); !errors.Is(err, audit.ErrNoSession) {
		t.Errorf("of no session: %v", err)
	}
}

func TestWhyAPointIsAsItIs(t *testing.T) {
	log := memory.NewLog()
	n := audittest.New(t, log, eventjson.Codec{})
	const point = "CP-9"
	location, own := "Alcoy", domain.MicroEurosPerKWh(300_000)
	health := func(status message.HealthStatus, lease int) {
		n.Take(message.Health{Point: point, Status: status, LeaseSeconds: lease})
	}
	control := func(action message.Action, change func(*message.Control)) {
		c := message.Control{ID: fmt.Sprint("c-", n.Now), Point: point, Action: action, By: "ops"}
		if change != nil {
			change(&c)
		}
		n.Take(c)
	}
	price := func(p domain.MicroEurosPerKWh, from domain.UnixMillis) {
		control(message.ActionPrice, func(c *message.Control) { c.From, c.Price = from, &p })
	}
	n.Take(message.Registration{Point: point, Location: &location, Price: &own}) // 1
	health(message.HealthOK, 15)                                                 // 2, 3
	n.Wait(time.Second)
	n.Take(message.Request{Driver: "D-9", Point: point, ID: "R-9", Origin: message.OriginDriver}) // 4, at 1 s
	id := session.IDFor(point, "D-9", "R-9")
	n.Wait(time.Second)
	health(message.HealthKO, 20) // at 2 s: 5 the lease, 6 the fault, 7 the stop
	n.Wait(time.Second)
	n.Take(message.Done{Session: id, Point: point, Driver: "D-9", Reason: message.DoneFault, At: n.Now}) // 8, at 3 s
	n.Wait(12 * time.Second)
	energy := domain.MilliwattHours(5)
	n.Take(message.MeterValue{Session: id, Point: point, Driver: "D-9", Seq: 9, Energy: &energy, At: n.Now}) // 9, at 15 s
	health(message.HealthRecovered, 20)                                                                      // 10
	price(400_000, 0)                                                                                        // 11
	price(500_000, n.Now.Add(10*time.Second))                                                                // 12
	price(600_000, n.Now.Add(20*time.Second))                                                                // 13, which 15 replaces
	n.Wait(10 * time.Second)
	control(message.ActionDeadline, func(c *message.Control) { c.Kind, c.DueAt = "price", n.Now }) // 14, at 25 s
	control(message.ActionPrice, func(c *message.Control) { c.From = n.Now.Add(5 * time.Second) }) // 15
	control(message.ActionStop, nil)                                                               // 16
	n.Wait(20 * time.Second)
	control(message.ActionDeadline, func(c *message.Control) { c.Kind = "lease" }) // 17, at 45 s

	steps, err := past(t, log, 0).WhyPoint(t.Context(), point)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := told(steps, audittest.Begin), unindented(`
		*1 0s PointRegistered ev.register/4@1 20
		 2 0s PointConnected ev.health/4@1 20
		 3 0s FaultCleared ev.health/4@1 20
		 4 1s PointOccupied ev.supply.request/4@1 20 policy: a request that is granted occupies its point
		 5 2s LeaseChanged ev.health/4@2 20
		 6 2s FaultReported ev.health/4@2 20
		 7 2s StopOrdered ev.health/4@2 20 policy: the end of session `+string(id)+` was decided
		*8 3s PointReleased ev.supply.done/4@1 20 policy: session `+string(id)+` is closed: its ticket was issued
		*9 15s StopOrdered ev.supply.telemetry/4@1 20 policy: session `+string(id)+` had ended, and a sample of it came all the same
		*10 15s FaultCleared ev.health/4@3 20
		 11 15s PriceSet ev.control/4@1 20
		*12 15s PriceSet ev.control/4@2 20
		 13 15s PriceSet ev.control/4@3 20
		*14 25s PriceTookEffect ev.control/4@4 20 deadline: price: the price that was scheduled for 25s counts
		*15 25s PriceHandedBack ev.control/4@5 20
		*16 25s TakenOutOfService ev.control/4@6 20
		*17 45s PointDisconnected ev.control/4@7 20 deadline: lease: its Monitor was heard last at 15s, and its lease is 20s`); got != want {
		t.Errorf("it tells\n%swant\n%s", got, want)
	}

	steps, err = past(t, log, audittest.Begin.Add(2*time.Second)).WhyPoint(t.Context(), point)
	if got := told(steps, audittest.Begin); err != nil || len(steps) != 7 || strings.Count(got, "*") != 6 || steps[2].Holds {
		t.Errorf("at 2 s, %v, it tells\n%s", err, got)
	}
	if _, err := past(t, log, audittest.Begin-1).WhyPoint(t.Context(), point); !errors.Is(err, audit.ErrNoPoint) {
		t.Errorf("before its registration: %v", err)
	}
}
