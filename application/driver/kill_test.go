package driver_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/domain"
)

// world is a broker that keeps every record, and a Central with points behind it that
// gives each request one answer, and each grant a supply with one ticket.
type world struct {
	t       *rapid.T
	now     domain.UnixMillis
	log     []message.Received
	due     []planned
	decided map[domain.RequestID]string
	seen    []domain.RequestID
}

type planned struct {
	at domain.UnixMillis
	m  message.Message
}

func (w *world) append(m message.Message) {
	w.log = append(w.log, message.Received{Source: message.Source{Timestamp: w.now, Trusted: true}, Message: m})
	if r, ok := m.(message.Request); ok {
		w.answer(r)
	}
}

func (w *world) plan(after int64, m message.Message) {
	w.due = append(w.due, planned{w.now + domain.UnixMillis(after), m})
}

// answer decides a request that is new, and gives the first answer again otherwise.
func (w *world) answer(r message.Request) {
	w.seen = append(w.seen, r.ID)
	session := domain.SessionID("S-" + r.ID)
	if _, known := w.decided[r.ID]; !known {
		w.decided[r.ID] = rapid.SampledFrom([]string{"granted", "granted", "refused", "ignored"}).Draw(w.t, "decision")
		if w.decided[r.ID] == "granted" {
			samples := rapid.Int64Range(0, 4).Draw(w.t, "samples")
			for i := int64(1); i <= samples; i++ {
				w.plan(i*1000, sample(session, i))
			}
			if samples > 0 || rapid.Bool().Draw(w.t, "taken up") {
				w.plan(samples*1000+500, done(session, domain.MilliwattHours(samples)*2_000, message.DoneFinished))
				w.plan(samples*1000+900, ticket(session, domain.MilliwattHours(samples)*2_000, "FINISHED", 0))
			} else {
				w.plan(60_000, ticket(session, 0, "EXPIRED", 0))
			}
		}
	}
	delay := rapid.Int64Range(0, 3000).Draw(w.t, "answer after")
	switch w.decided[r.ID] {
	case "granted":
		w.plan(delay, grant(r.ID, session))
	case "refused":
		w.plan(delay, refusal(r.ID, "OCCUPIED"))
	}
}

// pass lets time go on by a tenth of a second.
func (w *world) pass() {
	w.now += 100
	later := w.due[:0:0]
	for _, p := range w.due {
		if p.at <= w.now {
			w.append(p.m)
		} else {
			later = append(later, p)
		}
	}
	w.due = later
}

// life runs a driver from a checkpoint until it is killed or finished, and tells what it
// has kept then.
func (w *world) life(at driver.Checkpoint, newRequest func() domain.RequestID, killAfter int) (kept driver.Checkpoint, finished bool) {
	kept = at
	from := at.From()
	if from == 0 {
		from = w.now
	}
	var past, inbox []message.Received
	for _, r := range w.log {
		if r.Source.Timestamp >= from {
			past = append(past, r)
		}
	}
	// Records of different topics come in any order.
	past = rapid.Permutation(past).Draw(w.t, "the past")
	next := len(w.log)
	d := driver.New(at, 4*time.Second, newRequest)
	acts := 0
	killed := func() bool { acts++; return acts > killAfter }
	step := func(in driver.Input) (over bool) {
		out := d.Step(in, w.now)
		if out.Keep != nil {
			if killed() {
				return true
			}
			kept = *out.Keep
		}
		if out.Send != nil {
			if kept.Open == nil || kept.Open.Request != out.Send.ID {
				w.t.Fatalf("%s is sent and not kept", out.Send.ID)
			}
			if killed() {
				return true
			}
			sending := rapid.SampledFrom([]string{"acked", "acked", "lost", "in doubt"}).Draw(w.t, "sending")
			if sending != "lost" {
				w.append(*out.Send)
			}
			if killed() {
				return true
			}
			sent := driver.Sent{Request: out.Send.ID}
			if sending != "acked" {
				sent.Err = errors.New(sending)
			}
			if next := d.Step(sent, w.now); next.Keep != nil {
				kept = *next.Keep
			}
		}
		if len(out.Events) > 0 && killed() {
			return true
		}
		finished = finished || out.Finished
		return finished
	}
	if step(driver.Begin{}) {
		return kept, finished
	}
	for begun := w.now; w.now < begun+1_000_000; {
		w.pass()
		inbox = append(inbox, w.log[next:]...)
		next = len(w.log)
		if len(past) > 0 {
			n := min(len(past), 20)
			inbox, past = append(inbox, past[:n]...), past[n:]
		}
		for _, r := range inbox {
			if step(driver.Received{Received: r}) {
				return kept, finished
			}
		}
		inbox = inbox[:0]
		if step(driver.Tick{}) {
			return kept, finished
		}
	}
	w.t.Fatalf("the driver does not come to an end: %+v", kept)
	return kept, false
}

// However often and wherever a driver is killed, each line is asked for with one id, and
// has the one outcome that Central gave it.
func TestKilledAtEveryStep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: begun, decided: map[domain.RequestID]string{}}
		requests := 0
		newRequest := func() domain.RequestID {
			requests++
			return domain.RequestID(fmt.Sprint("R", requests))
		}
		lines := rapid.IntRange(1, 3).Draw(t, "lines")
		at := list(slices.Repeat([]domain.PointID{"CP-1"}, lines)...)
		kills := rapid.SliceOfN(rapid.IntRange(0, 12), 0, 8).Draw(t, "killed after")
		finished := false
		for _, acts := range append(kills, 1<<30) {
			if at, finished = w.life(at, newRequest, acts); finished {
				break
			}
			for range rapid.IntRange(0, 300).Draw(t, "away for") {
				w.pass()
			}
		}
		if len(at.Supplies) != lines {
			t.Fatalf("%d lines have %d outcomes", lines, len(at.Supplies))
		}
		ids := map[domain.RequestID]bool{}
		for _, s := range at.Supplies {
			ids[s.Request] = true
			want := map[string][]driver.Verdict{
				"granted": {driver.Served, driver.Failed}, "refused": {driver.Refused}, "ignored": {driver.NotServed},
			}[w.decided[s.Request]]
			if !slices.Contains(want, s.Verdict) || w.decided[s.Request] == "granted" && s.Ticket != domain.TicketID("T-S-"+s.Request) {
				t.Fatalf("Central %s %s, the driver says %+v", w.decided[s.Request], s.Request, s)
			}
		}
		if len(ids) != lines {
			t.Fatalf("%d lines have %d ids", lines, len(ids))
		}
		for _, id := range w.seen {
			if !ids[id] {
				t.Fatalf("%s was asked for by no line: %v", id, slices.Collect(maps.Keys(ids)))
			}
		}
	})
}
