package driver_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/domain"
)

// begun is the instant at which every scenario begins, by the driver's clock.
const begun domain.UnixMillis = 1_700_000_000_000

// when is something that happens so many milliseconds after begun.
type when struct {
	at int64
	in driver.Input
}

// record is a record with a Kafka timestamp of at milliseconds after begun, set by the broker.
func record(at int64, m message.Message) driver.Input {
	return driver.Received{Received: message.Received{
		Source:  message.Source{Timestamp: begun + domain.UnixMillis(at), Trusted: true},
		Message: m,
	}}
}

// claimed is a record whose timestamp its sender set.
func claimed(at int64, m message.Message) driver.Input {
	in := record(at, m).(driver.Received)
	in.Source.Trusted = false
	return in
}

func kwh(n domain.MilliwattHours) *domain.MilliwattHours       { return &n }
func price(n domain.MicroEurosPerKWh) *domain.MicroEurosPerKWh { return &n }

func asked(id domain.RequestID) message.Request {
	return message.Request{Driver: "D-1", Point: "CP-1", ID: id, Origin: message.OriginDriver}
}

func grant(id domain.RequestID, session domain.SessionID) message.Answer {
	return message.Answer{Driver: "D-1", Point: "CP-1", Authorized: true, Request: id, Session: session, Price: price(300_000)}
}

func refusal(id domain.RequestID, reason string) message.Answer {
	return message.Answer{Driver: "D-1", Point: "CP-1", Reason: reason, Request: id}
}

func sample(session domain.SessionID, seq int64) message.MeterValue {
	energy := domain.MilliwattHours(seq) * 2_000
	return message.MeterValue{
		Session: session, Point: "CP-1", Driver: "D-1", Power: 7_200, Energy: &energy,
		Amount: domain.Cost(energy, 300_000), Seq: seq,
	}
}

func done(session domain.SessionID, energy domain.MilliwattHours, reason message.DoneReason) message.Done {
	return message.Done{Session: session, Point: "CP-1", Driver: "D-1", Energy: energy, Amount: domain.Cost(energy, 300_000), Reason: reason}
}

func ticket(session domain.SessionID, energy domain.MilliwattHours, reason string, revision int) message.Ticket {
	return message.Ticket{
		ID: domain.TicketID("T-" + string(session)), Session: session, Driver: "D-1", Point: "CP-1", Energy: energy,
		Price: 300_000, Amount: domain.Cost(energy, 300_000), Reason: reason, Revision: revision,
	}
}

// say tells an event in a few words.
func say(e driver.Event) string {
	energy := func(e *domain.MilliwattHours) string {
		if e == nil {
			return "?"
		}
		return e.String()
	}
	supply := func(s driver.Supply) string {
		return fmt.Sprintf("%s %s kWh %s EUR %q ticket %q/%d", s.Verdict, s.Energy, s.Amount, s.Reason, s.Ticket, s.Revision)
	}
	switch e := e.(type) {
	case driver.Continued:
		return fmt.Sprintf("continued: %d of %d done, open %t", len(e.Supplies), e.Of, e.Open != nil)
	case driver.Asked:
		return fmt.Sprintf("%d/%d asked %s again %t", e.Number, e.Of, e.Request, e.Again)
	case driver.SendFailed:
		return fmt.Sprintf("send failed: %v", e.Err)
	case driver.CentralQuiet:
		return fmt.Sprintf("Central is silent, %s left", e.GivesUpIn)
	case driver.Granted:
		return fmt.Sprintf("granted %q", e.Session)
	case driver.Supplying:
		return fmt.Sprintf("%s kW %s kWh %s EUR first %t", e.Power, energy(e.Energy), e.Amount, e.First)
	case driver.Missed:
		return fmt.Sprintf("missed %d reports: %s kW %s kWh %s EUR", e.Reports, e.Power, energy(e.Energy), e.Amount)
	case driver.PointQuiet:
		return fmt.Sprintf("the point is silent, begun %t", e.Begun)
	case driver.Ended:
		return fmt.Sprintf("ended %s: %s kWh %s EUR", e.Done.Reason, e.Done.Energy, e.Done.Amount)
	case driver.Concluded:
		return fmt.Sprintf("%d/%d concluded: %s next in %s", e.Number, e.Of, supply(e.Supply), e.NextIn)
	case driver.Corrected:
		why := ""
		if e.Ticket != nil && e.Ticket.Revised.Reason != "" {
			why = " for " + e.Ticket.Revised.Reason
		}
		return fmt.Sprintf("%d/%d corrected: %s%s", e.Number, e.Of, supply(e.After), why)
	case driver.BrokerLost:
		return "broker lost: " + e.Reason
	case driver.BrokerFound:
		return "broker found"
	case driver.Finished:
		return fmt.Sprintf("finished %d", len(e.Supplies))
	}
	return fmt.Sprintf("%T", e)
}

// scenario runs a driver from begun on, with a tick every 100 ms, and tells what it said
// and sent, with the milliseconds.
type scenario struct {
	at    driver.Checkpoint
	delay time.Duration
	given []when
	until int64
	then  []string
}

func (s scenario) run(t *testing.T) driver.Checkpoint {
	t.Helper()
	requests := 0
	d := driver.New(s.at, s.delay, func() domain.RequestID {
		requests++
		return domain.RequestID(fmt.Sprint("R", requests))
	})
	kept, finished := s.at, false
	var got []string
	step := func(at int64, in driver.Input) {
		out := d.Step(in, begun+domain.UnixMillis(at))
		if out.Keep != nil {
			kept = *out.Keep
		}
		if out.Send != nil {
			if kept.Open == nil || kept.Open.Request != out.Send.ID {
				t.Errorf("%s is sent but not kept: %+v", out.Send.ID, kept.Open)
			}
			got = append(got, fmt.Sprintf("%d send %s %s", at, out.Send.ID, out.Send.Point))
		}
		for _, e := range out.Events {
			got = append(got, fmt.Sprintf("%d %s", at, say(e)))
		}
		finished = finished || out.Finished
	}
	step(0, driver.Begin{})
	for at := int64(0); at <= s.until; at += 100 {
		for _, w := range s.given {
			if w.at > at-100 && w.at <= at {
				step(w.at, w.in)
			}
		}
		step(at, driver.Tick{})
	}
	if !slices.Equal(got, s.then) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(s.then, "\n\t"))
	}
	if complete := len(kept.Supplies) == len(kept.Points); complete != finished {
		t.Errorf("finished is %t with %d of %d lines", finished, len(kept.Supplies), len(kept.Points))
	}
	return kept
}

// list is a checkpoint that begins a run.
func list(points ...domain.PointID) driver.Checkpoint {
	return driver.Checkpoint{Driver: "D-1", Points: points}
}

// open is a checkpoint of a run that was cut off in its first line.
func open(o driver.Open, points ...domain.PointID) driver.Checkpoint {
	c := list(points...)
	c.Open = &o
	return c
}

func TestDriver(t *testing.T) {
	away := errors.New("the broker is away")
	ok := driver.Sent{Request: "R1"}
	tests := map[string]scenario{
		"a supply from request to ticket": {
			at: list("CP-1"),
			given: []when{
				{20, ok},
				{30, record(25, asked("R1"))},
				{50, record(45, grant("R1", "S1"))},
				{1050, record(1045, sample("S1", 1))},
				{2050, record(2045, sample("S1", 2))},
				{3000, record(2995, done("S1", 5_000, message.DoneFinished))},
				{3100, record(3095, ticket("S1", 5_000, "FINISHED", 0))},
			},
			until: 4000,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false",
				`50 granted "S1"`,
				"1050 7.2 kW 0.002 kWh 0.0006 EUR first true",
				"2050 7.2 kW 0.004 kWh 0.0012 EUR first false",
				"3000 ended FINISHED: 0.005 kWh 0.0015 EUR",
				`3100 1/1 concluded: served 0.005 kWh 0.0015 EUR "FINISHED" ticket "T-S1"/0 next in -1ns`,
				"3100 finished 1",
			},
		},
		"the next is asked for after the delay, however the supply went": {
			at: list("CP-1", "CP-1", "CP-1"), delay: 4 * time.Second,
			given: []when{
				{20, ok},
				{1000, record(995, refusal("R1", "OCCUPIED"))},
				{5020, driver.Sent{Request: "R2"}},
				{6000, record(5995, grant("R2", "S2"))},
				{7000, record(6995, ticket("S2", 0, "EXPIRED", 0))},
				{11020, driver.Sent{Request: "R3"}},
				{12000, record(11995, grant("R3", "S3"))},
				{13000, record(12995, ticket("S3", 1_000_000, "STOP_BY_CENTRAL", 0))},
			},
			until: 20000,
			then: []string{
				"0 send R1 CP-1", "0 1/3 asked R1 again false",
				`1000 1/3 concluded: refused 0 kWh 0 EUR "OCCUPIED" ticket ""/0 next in 4s`,
				"5000 send R2 CP-1", "5000 2/3 asked R2 again false",
				`6000 granted "S2"`,
				`7000 2/3 concluded: failed 0 kWh 0 EUR "EXPIRED" ticket "T-S2"/0 next in 4s`,
				"11000 send R3 CP-1", "11000 3/3 asked R3 again false",
				`12000 granted "S3"`,
				`13000 3/3 concluded: served 1 kWh 0.3 EUR "STOP_BY_CENTRAL" ticket "T-S3"/0 next in -1ns`,
				"13000 finished 3",
			},
		},
		"a silent Central is said after 5 s and given up after 60 s": {
			at:    list("CP-1"),
			given: []when{{1000, ok}},
			until: 70000,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false",
				"6000 Central is silent, 55s left",
				`61000 1/1 concluded: not served 0 kWh 0 EUR "CENTRAL_SILENT" ticket ""/0 next in -1ns`,
				"61000 finished 1",
			},
		},
		"silence does not count while the broker is away": {
			at: list("CP-1"),
			given: []when{
				{1000, ok},
				{3000, driver.Link{Reason: "it refuses"}},
				{3500, driver.Link{Reason: "still"}},
				{80000, driver.Link{Up: true}},
				{80500, driver.Link{Up: true}},
			},
			until: 141000,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false",
				"3000 broker lost: it refuses", "80000 broker found",
				"85000 Central is silent, 55s left",
				`140000 1/1 concluded: not served 0 kWh 0 EUR "CENTRAL_SILENT" ticket ""/0 next in -1ns`,
				"140000 finished 1",
			},
		},
		"a request that could not be sent is sent again with growing pauses and the same id": {
			at: list("CP-1"),
			given: []when{
				{100, driver.Sent{Request: "R1", Err: away}},
				{1200, driver.Sent{Request: "R1", Err: away}},
				{3300, driver.Sent{Request: "R1", Err: away}},
				{7400, ok},
				{7500, record(7495, refusal("R1", "BROKEN"))},
			},
			until: 8000,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false",
				"100 send failed: the broker is away",
				"1100 send R1 CP-1", "3200 send R1 CP-1", "7300 send R1 CP-1",
				`7500 1/1 concluded: refused 0 kWh 0 EUR "BROKEN" ticket ""/0 next in -1ns`,
				"7500 finished 1",
			},
		},
		"a request that is read back was sent, whatever sending said": {
			at: list("CP-1"),
			given: []when{
				{100, driver.Sent{Request: "R1", Err: away}},
				{200, record(50, asked("R1"))},
			},
			until: 5500,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false",
				"100 send failed: the broker is away",
				"5200 Central is silent, 55s left",
			},
		},
		"records of others, of other requests and repeated ones change nothing": {
			at: list("CP-1", "CP-1"),
			given: []when{
				{20, ok},
				{30, record(25, message.Answer{Driver: "D-2", Point: "CP-1", Authorized: true, Request: "R1"})},
				{31, record(25, grant("R9", "S9"))},
				{32, record(25, message.Answer{Driver: "D-1", Point: "CP-2", Authorized: true, Request: "R1"})},
				{33, record(25, message.MeterValue{Session: "S1", Driver: "D-2", Point: "CP-1"})},
				{34, record(25, ticket("S9", 7, "FINISHED", 0))},
				{50, record(45, grant("R1", "S1"))},
				{51, record(45, grant("R1", "S1"))},
				{52, record(45, refusal("R1", "OCCUPIED"))},
				{60, record(55, sample("S1", 5))},
				{61, record(56, sample("S1", 5))},
				{62, record(57, sample("S1", 4))},
				{63, record(58, message.MeterValue{Session: "S1", Point: "CP-1", Driver: "D-1", Seq: 6, Energy: kwh(1), Amount: 3_000})},
				{70, record(65, done("S1", 10_000, message.DoneFault))},
				{71, record(66, done("S1", 10_000, message.DoneFault))},
				{72, record(67, sample("S1", 7))},
				{80, record(75, ticket("S1", 10_000, "KO", 0))},
				{81, record(76, ticket("S1", 10_000, "KO", 0))},
				{90, record(85, sample("S1", 8))},
				{91, record(85, done("S1", 10_000, message.DoneFault))},
			},
			until: 100,
			delay: time.Minute,
			then: []string{
				"0 send R1 CP-1", "0 1/2 asked R1 again false",
				`50 granted "S1"`,
				"60 7.2 kW 0.01 kWh 0.003 EUR first true",
				"70 ended KO: 0.01 kWh 0.003 EUR",
				`80 1/2 concluded: failed 0.01 kWh 0.003 EUR "KO" ticket "T-S1"/0 next in 1m0s`,
			},
		},
		"what overtakes the answer is not lost": {
			at: list("CP-1"),
			given: []when{
				{20, ok},
				{30, record(60, ticket("S1", 9_000, "FINISHED", 0))},
				{40, record(55, done("S1", 9_000, message.DoneFinished))},
				{50, record(50, sample("S1", 3))},
				{60, record(45, grant("R1", "S1"))},
			},
			until: 100,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false",
				`60 granted "S1"`,
				"60 7.2 kW 0.006 kWh 0.0018 EUR first true",
				"60 ended FINISHED: 0.009 kWh 0.0027 EUR",
				`60 1/1 concluded: served 0.009 kWh 0.0027 EUR "FINISHED" ticket "T-S1"/0 next in -1ns`,
				"60 finished 1",
			},
		},
		"a done without a ticket for 10 s is the ticket": {
			at: list("CP-1"),
			given: []when{
				{20, ok},
				{50, record(45, grant("R1", "S1"))},
				{1000, record(995, done("S1", 4_000, message.DoneUnplugged))},
				{4000, record(3995, done("S1", 4_000, message.DoneUnplugged))},
				{5000, record(4995, sample("S1", 1))},
			},
			until: 12000,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false", `50 granted "S1"`,
				"1000 ended UNPLUGGED: 0.004 kWh 0.0012 EUR",
				`11000 1/1 concluded: served 0.004 kWh 0.0012 EUR "UNPLUGGED" ticket ""/0 next in -1ns`,
				"11000 finished 1",
			},
		},
		"a ticket can't come while the broker is away": {
			at: list("CP-1"),
			given: []when{
				{20, ok},
				{50, record(45, grant("R1", "S1"))},
				{1000, record(995, done("S1", 4_000, message.DoneFinished))},
				{2000, driver.Link{Reason: "gone"}},
				{30000, driver.Link{Up: true}},
				{39000, record(38995, ticket("S1", 4_000, "FINISHED", 0))},
			},
			until: 40000,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false", `50 granted "S1"`,
				"1000 ended FINISHED: 0.004 kWh 0.0012 EUR",
				"2000 broker lost: gone", "30000 broker found",
				`39000 1/1 concluded: served 0.004 kWh 0.0012 EUR "FINISHED" ticket "T-S1"/0 next in -1ns`,
				"39000 finished 1",
			},
		},
		"a late ticket and its revisions correct the line while the run goes on": {
			at: list("CP-1", "CP-1"), delay: time.Hour,
			given: []when{
				{20, ok},
				{50, record(45, grant("R1", "S1"))},
				{1000, record(995, done("S1", 4_000, message.DoneFault))},
				{20000, record(19995, ticket("S1", 4_000, "KO", 0))},
				{21000, record(20995, ticket("S1", 4_000, "KO", 0))},
				{22000, record(21995, func() message.Ticket {
					t := ticket("S1", 6_000, "KO", 1)
					t.Revised = message.Revised{EnergyBefore: 4_000, AmountBefore: 1_200, Difference: 600, Reason: "RECOVERED"}
					return t
				}())},
				{23000, record(22995, ticket("S1", 5_000, "KO", 0))},
			},
			until: 24000,
			then: []string{
				"0 send R1 CP-1", "0 1/2 asked R1 again false", `50 granted "S1"`,
				"1000 ended KO: 0.004 kWh 0.0012 EUR",
				`11000 1/2 concluded: failed 0.004 kWh 0.0012 EUR "KO" ticket ""/0 next in 1h0m0s`,
				`20000 1/2 corrected: failed 0.004 kWh 0.0012 EUR "KO" ticket "T-S1"/0`,
				`22000 1/2 corrected: failed 0.006 kWh 0.0018 EUR "KO" ticket "T-S1"/1 for RECOVERED`,
			},
		},
		"a grant after the driver gave up is shown, and so is its ticket": {
			at: list("CP-1", "CP-1"), delay: time.Hour,
			given: []when{
				{0, ok},
				{61000, record(60995, grant("R1", "S1"))},
				{61001, record(60996, grant("R1", "S1"))},
				{62000, record(61995, sample("S1", 1))},
				{63000, record(62995, done("S1", 2_000, message.DoneFinished))},
				{64000, record(63995, ticket("S1", 2_000, "FINISHED", 0))},
			},
			until: 80000,
			then: []string{
				"0 send R1 CP-1", "0 1/2 asked R1 again false", "5000 Central is silent, 55s left",
				`60000 1/2 concluded: not served 0 kWh 0 EUR "CENTRAL_SILENT" ticket ""/0 next in 1h0m0s`,
				`61000 1/2 corrected: not served 0 kWh 0 EUR "CENTRAL_SILENT" ticket ""/0`,
				`64000 1/2 corrected: served 0.002 kWh 0.0006 EUR "FINISHED" ticket "T-S1"/0`,
			},
		},
		"a refusal after the driver gave up is shown": {
			at: list("CP-1", "CP-1"), delay: time.Hour,
			given: []when{{0, ok}, {61000, record(60995, refusal("R1", "EXPIRED"))}},
			until: 62000,
			then: []string{
				"0 send R1 CP-1", "0 1/2 asked R1 again false", "5000 Central is silent, 55s left",
				`60000 1/2 concluded: not served 0 kWh 0 EUR "CENTRAL_SILENT" ticket ""/0 next in 1h0m0s`,
				`61000 1/2 corrected: refused 0 kWh 0 EUR "EXPIRED" ticket ""/0`,
			},
		},
		"a point that falls silent is said, and given up after 10 min": {
			at: list("CP-1"),
			given: []when{
				{20, ok},
				{50, record(45, grant("R1", "S1"))},
				{20000, record(19995, sample("S1", 1))},
			},
			until: 630000,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false", `50 granted "S1"`,
				"10100 the point is silent, begun false",
				"20000 7.2 kW 0.002 kWh 0.0006 EUR first true",
				"30000 the point is silent, begun true",
				`620000 1/1 concluded: failed 0.002 kWh 0.0006 EUR "POINT_SILENT" ticket ""/0 next in -1ns`,
				"620000 finished 1",
			},
		},
		"another implementation's network: no ids, no energy, no ticket": {
			at: list("CP-1"),
			given: []when{
				{20, ok},
				{30, record(25, asked("R1"))},
				{50, record(45, message.Answer{Driver: "D-1", Point: "CP-1", Authorized: true})},
				{1000, record(995, message.MeterValue{Session: "X1", Driver: "D-1", Point: "CP-1", Power: 7_000, Amount: 600})},
				{1500, record(1495, message.MeterValue{Session: "X0", Driver: "D-1", Point: "CP-2", Power: 1_000, Amount: 900})},
				{2000, record(1995, message.MeterValue{Session: "X1", Driver: "D-1", Point: "CP-1", Power: 7_000, Amount: 1_200})},
				{3000, record(2995, message.Done{Session: "X1", Driver: "D-1", Point: "CP-1", Energy: 6_000, Amount: 1_800, Reason: "STOP_BY_CENTRAL"})},
			},
			until: 13100,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false", `50 granted ""`,
				"1000 7 kW ? kWh 0.0006 EUR first true", "2000 7 kW ? kWh 0.0012 EUR first false",
				"3000 ended STOP_BY_CENTRAL: 0.006 kWh 0.0018 EUR",
				`13000 1/1 concluded: served 0.006 kWh 0.0018 EUR "STOP_BY_CENTRAL" ticket ""/0 next in -1ns`,
				"13000 finished 1",
			},
		},
		"another implementation's next session is not taken for the last one": {
			at: list("CP-1", "CP-1"),
			given: []when{
				{20, ok},
				{30, record(25, asked("R1"))},
				{50, record(45, message.Answer{Driver: "D-1", Point: "CP-1", Authorized: true})},
				{100, record(95, done("X1", 6_000, message.DoneStopped))},
				{10220, driver.Sent{Request: "R2"}},
				{10230, record(10225, asked("R2"))},
				{10250, record(10245, message.Answer{Driver: "D-1", Point: "CP-1", Authorized: true})},
				{10260, record(10255, done("X1", 6_000, message.DoneStopped))},
				{10270, record(10265, done("X2", 1_000, message.DoneStopped))},
			},
			until: 10300,
			then: []string{
				"0 send R1 CP-1", "0 1/2 asked R1 again false", `50 granted ""`,
				"100 ended STOP_BY_CENTRAL: 0.006 kWh 0.0018 EUR",
				`10100 1/2 concluded: served 0.006 kWh 0.0018 EUR "STOP_BY_CENTRAL" ticket ""/0 next in 0s`,
				"10200 send R2 CP-1", "10200 2/2 asked R2 again false", `10250 granted ""`,
				"10270 ended STOP_BY_CENTRAL: 0.001 kWh 0.0003 EUR",
			},
		},
		"energy is told from amount and price where the report has none": {
			at: list("CP-1"),
			given: []when{
				{20, ok},
				{50, record(45, grant("R1", "S1"))},
				{1000, record(995, message.MeterValue{Session: "S1", Driver: "D-1", Point: "CP-1", Power: 7_000, Amount: 600})},
			},
			until: 1100,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false", `50 granted "S1"`,
				"1000 7 kW 0.002 kWh 0.0006 EUR first true",
			},
		},
		"a point whose clock is behind is shown all the same": {
			at: list("CP-1"),
			given: []when{
				{20, ok},
				{50, record(45, grant("R1", "S1"))},
				{1000, claimed(-60_000, sample("S1", 1))},
				{2000, claimed(-59_000, sample("S1", 2))},
			},
			until: 2100,
			then: []string{
				"0 send R1 CP-1", "0 1/1 asked R1 again false", `50 granted "S1"`,
				"1000 7.2 kW 0.002 kWh 0.0006 EUR first true", "2000 7.2 kW 0.004 kWh 0.0012 EUR first false",
			},
		},
		"back after a kill: the request may have been sent, and was": {
			at: open(driver.Open{Request: "R7", AskedAt: begun - 5000}, "CP-1"),
			given: []when{
				{300, record(-4900, asked("R7"))},
				{900, record(-4800, refusal("R7", "OCCUPIED"))},
			},
			until: 5000,
			then: []string{
				"0 continued: 0 of 1 done, open true",
				`900 1/1 concluded: refused 0 kWh 0 EUR "OCCUPIED" ticket ""/0 next in -1ns`,
				"900 finished 1",
			},
		},
		"back after a kill: the request was never sent": {
			at:    open(driver.Open{Request: "R7", AskedAt: begun - 5000}, "CP-1"),
			given: []when{{2100, driver.Sent{Request: "R7"}}, {2200, record(2195, refusal("R7", "OCCUPIED"))}},
			until: 3000,
			then: []string{
				"0 continued: 0 of 1 done, open true",
				"2000 send R7 CP-1", "2000 1/1 asked R7 again true",
				`2200 1/1 concluded: refused 0 kWh 0 EUR "OCCUPIED" ticket ""/0 next in -1ns`,
				"2200 finished 1",
			},
		},
		"back after a kill: the supply runs": {
			at: open(driver.Open{Request: "R7", AskedAt: begun - 50000, Sent: true, Granted: true, Session: "S1"}, "CP-1"),
			given: []when{
				{100, record(-40000, sample("S1", 1))},
				{110, record(-39000, sample("S1", 2))},
				{120, record(-100, sample("S1", 40))},
				{500, record(480, sample("S1", 41))},
				{1500, record(1480, sample("S1", 42))},
			},
			until: 2000,
			then: []string{
				"0 continued: 0 of 1 done, open true",
				"500 missed 3 reports: 7.2 kW 0.08 kWh 0.024 EUR",
				"500 7.2 kW 0.082 kWh 0.0246 EUR first true",
				"1500 7.2 kW 0.084 kWh 0.0252 EUR first false",
			},
		},
		"back after a kill: the point is silent now": {
			at: open(driver.Open{Request: "R7", AskedAt: begun - 50000, Sent: true, Granted: true, Session: "S1"}, "CP-1"),
			given: []when{
				{100, record(-40000, sample("S1", 1))}, {110, record(-39000, sample("S1", 2))},
			},
			until: 10200,
			then: []string{
				"0 continued: 0 of 1 done, open true",
				"1200 missed 2 reports: 7.2 kW 0.004 kWh 0.0012 EUR",
				"10200 the point is silent, begun true",
			},
		},
		"back after a kill: all is over": {
			at: open(driver.Open{Request: "R7", AskedAt: begun - 50000, Sent: true}, "CP-1"),
			given: []when{
				{90, record(-10000, ticket("S1", 90_000, "FINISHED", 0))},
				{100, record(-40000, sample("S1", 1))},
				{110, record(-11000, done("S1", 90_000, message.DoneFinished))},
				{120, record(-49000, grant("R7", "S1"))},
			},
			until: 1000,
			then: []string{
				"0 continued: 0 of 1 done, open true",
				`120 granted "S1"`,
				"120 missed 1 reports: 7.2 kW 0.002 kWh 0.0006 EUR",
				"120 ended FINISHED: 0.09 kWh 0.027 EUR",
				`120 1/1 concluded: served 0.09 kWh 0.027 EUR "FINISHED" ticket "T-S1"/0 next in -1ns`,
				"120 finished 1",
			},
		},
		"back after a kill in the pause: the pause is kept, and no clock makes it longer": {
			at: driver.Checkpoint{
				Driver: "D-1", Points: []domain.PointID{"CP-2", "CP-1"},
				Supplies: []driver.Supply{{Point: "CP-2", Verdict: driver.Refused}}, NextAt: begun + 1_000_000,
			},
			delay: 4 * time.Second,
			until: 4000,
			then:  []string{"0 continued: 1 of 2 done, open false", "4000 send R1 CP-1", "4000 2/2 asked R1 again false"},
		},
		"back after a kill at the very end": {
			at: driver.Checkpoint{
				Driver: "D-1", Points: []domain.PointID{"CP-1"},
				Supplies: []driver.Supply{{Point: "CP-1", Verdict: driver.Served}},
			},
			until: 1000,
			then:  []string{"0 continued: 1 of 1 done, open false", "0 finished 1"},
		},
		"nothing is asked for while the broker is away": {
			at: list("CP-1", "CP-1"),
			given: []when{
				{20, ok},
				{50, record(45, refusal("R1", "OCCUPIED"))},
				{51, driver.Link{Reason: "gone"}},
				{60, record(55, grant("R1", "S1"))},
				{9000, driver.Link{Up: true}},
			},
			delay: time.Second, until: 9000,
			then: []string{
				"0 send R1 CP-1", "0 1/2 asked R1 again false",
				`50 1/2 concluded: refused 0 kWh 0 EUR "OCCUPIED" ticket ""/0 next in 1s`,
				"51 broker lost: gone", "9000 broker found", "9000 send R2 CP-1", "9000 2/2 asked R2 again false",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test.run(t) })
	}
}

// A fault of the reference: its Driver takes whatever answer to it comes first.
func TestADriverTakingAnOldGrantForTheAnswerToItsNewRequest(t *testing.T) {
	old := message.Answer{Driver: "D-1", Point: "CP-1", Authorized: true}
	no := message.Answer{Driver: "D-1", Point: "CP-1", Reason: "OCCUPIED"}
	ask := []string{"0 send R1 CP-1", "0 1/1 asked R1 again false"}
	refused := func(at int) []string {
		return append(slices.Clone(ask),
			fmt.Sprintf(`%d 1/1 concluded: refused 0 kWh 0 EUR "OCCUPIED" ticket ""/0 next in -1ns`, at), fmt.Sprintf("%d finished 1", at))
	}
	tests := map[string]scenario{
		"its time is before the request's": {
			given: []when{{20, driver.Sent{Request: "R1"}}, {30, record(25, asked("R1"))}, {40, record(24, old)}, {50, record(45, no)}},
			then:  refused(50),
		},
		"it comes before the request's time is known": {
			given: []when{{10, record(24, old)}, {12, record(26, no)}, {20, driver.Sent{Request: "R1"}}, {30, record(25, asked("R1"))}},
			then:  refused(30),
		},
		"it names another request": {
			given: []when{{20, driver.Sent{Request: "R1"}}, {30, record(25, grant("R0", "S0"))}, {40, record(35, refusal("R1", "OCCUPIED"))}},
			then:  refused(40),
		},
		"senders' clocks differ a little": {
			given: []when{{20, driver.Sent{Request: "R1"}}, {30, claimed(25, asked("R1"))}, {40, claimed(-4976, old)}, {50, claimed(-4975, no)}},
			then:  refused(50),
		},
		"the request's own record can't be read": {
			given: []when{{20, driver.Sent{Request: "R1"}}, {40, record(-5001, old)}, {50, record(45, no)}},
			until: 2100,
			then:  refused(2100),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.at, test.until = list("CP-1"), max(test.until, 100)
			test.run(t)
		})
	}
}

func TestNothingIsAskedBeforeItsAnswerWouldBeHeard(t *testing.T) {
	d := driver.New(list("CP-1"), 0, func() domain.RequestID { return "R1" })
	for _, in := range []driver.Input{driver.Tick{}, driver.Link{Reason: "gone"}, driver.Link{Up: true}, driver.Tick{}} {
		if out := d.Step(in, begun); out.Send != nil || out.Keep != nil {
			t.Errorf("%T: got %+v", in, out)
		}
	}
	if out := d.Step(driver.Begin{}, begun); out.Send == nil {
		t.Error("nothing is asked")
	}
}

func TestTotals(t *testing.T) {
	energy, amount, failed := driver.Totals([]driver.Supply{
		{Verdict: driver.Served, Energy: 1, Amount: 10},
		{Verdict: driver.Failed, Energy: 2, Amount: 20},
		{Verdict: driver.Refused},
		{Verdict: driver.NotServed},
	})
	if energy != 3 || amount != 30 || failed != 3 {
		t.Errorf("got %d, %d, %d", energy, amount, failed)
	}
}

func TestOneDriversReportsAreBounded(t *testing.T) {
	known := func(session domain.SessionID) bool {
		d := driver.New(list("CP-1"), 0, func() domain.RequestID { return "R1" })
		d.Step(driver.Begin{}, begun)
		for i := range 1_000 {
			d.Step(record(1, ticket(domain.SessionID(fmt.Sprint("S", i)), 1, "FINISHED", 0)), begun+domain.UnixMillis(i))
		}
		return d.Step(record(2_000, grant("R1", session)), begun+2_000).Finished
	}
	if !known("S999") || known("S0") {
		t.Error("the latest ticket must be known, the first of a thousand not")
	}
}

// A grant without a session is bound to what can be its own, and stays so over a kill.
func TestAGrantWithoutASessionIsBoundOnce(t *testing.T) {
	report := func(session domain.SessionID, point domain.PointID) message.MeterValue {
		return message.MeterValue{Session: session, Driver: "D-1", Point: point, Power: 7_000, Amount: 600}
	}
	at := scenario{
		at: list("CP-1"),
		given: []when{
			{10, record(-60_000, report("OLD", "CP-1"))},
			{11, record(9, report("ELSEWHERE", "CP-2"))},
			{20, driver.Sent{Request: "R1"}},
			{30, record(25, asked("R1"))},
			{50, record(45, message.Answer{Driver: "D-1", Point: "CP-1", Authorized: true})},
			{60, record(55, report("ELSEWHERE", "CP-2"))},
			{1000, record(995, report("MINE", "CP-1"))},
			{1100, record(1095, report("LATER", "CP-1"))},
		},
		until: 1200,
		then: []string{
			"0 send R1 CP-1", "0 1/1 asked R1 again false", `50 granted ""`,
			"1000 7 kW ? kWh 0.0006 EUR first true",
		},
	}.run(t)
	if at.Open.Session != "MINE" {
		t.Errorf("it is bound to %q", at.Open.Session)
	}
}
