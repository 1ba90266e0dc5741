package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"evcharging/adapters/journal"
	"evcharging/application/engine"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// read gives every record of a topic, those of a partition in their order.
func (w *world) read(topic string) []record {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	metadata, err := w.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		w.t.Fatal("read the topic:", err)
	}
	if err := metadata.Topics[0].Error; err != nil {
		w.t.Fatalf("topic %s: %v", topic, err)
	}
	var all []record
	for _, partition := range metadata.Topics[0].Partitions {
		for next := int64(0); ; {
			fetched, err := w.client.Fetch(ctx, &kafka.FetchRequest{
				Topic: topic, Partition: partition.ID, Offset: next, MinBytes: 0, MaxBytes: 16 << 20,
			})
			if err == nil {
				err = fetched.Error
			}
			if err != nil {
				w.t.Fatalf("read %s/%d at %d: %v", topic, partition.ID, next, err)
			}
			for {
				r, err := fetched.Records.ReadRecord()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					w.t.Fatalf("read %s/%d at %d: %v", topic, partition.ID, next, err)
				}
				all = append(all, w.taken(topic, partition.ID, r))
				next = r.Offset + 1
			}
			if next >= fetched.HighWatermark {
				break
			}
		}
	}
	return all
}

// sent is a record as it is on the wire: of each kind those fields that it has.
type sent struct {
	record     `json:"-"`
	Session    domain.SessionID `json:"session_id"`
	Point      domain.PointID   `json:"cp_id"`
	Driver     domain.DriverID  `json:"driver_id"`
	Request    domain.RequestID `json:"request_id"`
	Authorized bool             `json:"authorized"`
	Reason     string           `json:"reason"`
	Command    string           `json:"cmd"`
	Order      domain.Order     `json:"order"`
	Energy     json.Number      `json:"kwh"`
	Total      json.Number      `json:"total_kwh"`
	Amount     json.Number      `json:"total_eur"`
	Seq        int64            `json:"seq"`
	Ticket     domain.TicketID  `json:"ticket_id"`
	Revision   int              `json:"revision"`
}

// sentOn is what was sent on a topic.
func (w *world) sentOn(topic string) []sent {
	w.t.Helper()
	var all []sent
	for _, r := range w.read(topic) {
		all = append(all, asSent(w.t, r))
	}
	return all
}

func asSent(t *testing.T, r record) sent {
	t.Helper()
	s := sent{record: r}
	if err := json.Unmarshal(r.Value, &s); err != nil {
		t.Fatalf("%s: %v in %s", r.Topic, err, r.Value)
	}
	return s
}

func (w *world) kWh(text json.Number) domain.MilliwattHours {
	w.t.Helper()
	energy, err := domain.ParseKWh(string(text))
	if err != nil {
		w.t.Fatalf("%q kWh: %v", text, err)
	}
	return energy
}

func (w *world) eur(text json.Number) domain.MicroEuros {
	w.t.Helper()
	amount, err := domain.ParseEUR(string(text))
	if err != nil {
		w.t.Fatalf("%q EUR: %v", text, err)
	}
	return amount
}

// story is one session as log and wire tell it.
type story struct {
	id         domain.SessionID
	authorized *session.SupplyAuthorized
	refused    *session.SupplyRefused
	samples    []session.MeterValueRecorded
	cause      session.Cause
	done       *session.SupplyEnded
	tickets    []session.TicketIssued
	revisions  []session.TicketRevised

	metered  []sent
	reported []sent
	billed   []sent
}

// driver and the rest of the request.
func (s *story) request() (domain.RequestID, domain.PointID, domain.DriverID) {
	if s.authorized != nil {
		return s.authorized.Request, s.authorized.Point, s.authorized.Driver
	}
	return s.refused.Request, s.refused.Point, s.refused.Driver
}

// energy is what was billed in the end.
func (s *story) energy() domain.MilliwattHours {
	if n := len(s.revisions); n > 0 {
		return s.revisions[n-1].EnergyAfter
	}
	return s.tickets[0].Energy
}

func (s *story) amount() domain.MicroEuros {
	if n := len(s.revisions); n > 0 {
		return s.revisions[n-1].AmountAfter
	}
	return s.tickets[0].Amount
}

// reason is the ticket's.
func (s *story) reason() string { return s.tickets[0].Reason }

// audit is what an audit has found; its stories are by session.
type audit struct {
	*world
	stories map[domain.SessionID]*story
	// byRequest has each request's session.
	byRequest map[domain.RequestID]*story
	orders    map[domain.PointID]map[domain.Order]bool
	last      map[domain.PointID]domain.Order
	asked     map[domain.RequestID]sent
}

// audit compares, in a network in which no session is open, what is stored with what was
// sent and with what the Engines remember. Nothing may be missing, doubled or different.
func (w *world) audit(c *central) *audit {
	w.t.Helper()
	a := &audit{
		world: w, stories: map[domain.SessionID]*story{}, byRequest: map[domain.RequestID]*story{},
		orders: map[domain.PointID]map[domain.Order]bool{}, last: map[domain.PointID]domain.Order{},
		asked: map[domain.RequestID]sent{},
	}
	a.readLog(c.log())
	for _, topic := range []string{"ev.register", "ev.health", "ev.supply.request", "ev.supply.telemetry", "ev.supply.done", "ev.control"} {
		for _, r := range w.read(topic + ".dlq") {
			w.t.Errorf("refused on %s: %s", topic, r.Value)
		}
	}
	a.checkAnswers()
	a.checkOrders()
	a.checkReports()
	a.checkTickets()
	a.checkJournals()
	return a
}

// session is the session of a driver at a point, which must be the only one.
func (a *audit) session(driver domain.DriverID) *story {
	a.t.Helper()
	var found *story
	for _, s := range a.stories {
		if _, _, d := s.request(); d == driver && s.authorized != nil {
			if found != nil {
				a.t.Fatalf("%s has several sessions", driver)
			}
			found = s
		}
	}
	if found == nil {
		a.t.Fatalf("%s has no session", driver)
	}
	return found
}

// readLog takes the log in: each point is held by one session at a time, and its orders
// grow.
func (a *audit) readLog(events []event) {
	t := a.t
	held := map[eventlog.Stream]domain.SessionID{}
	for _, e := range events {
		if id, ok := strings.CutPrefix(string(e.Stream), "session-"); ok {
			a.readSession(domain.SessionID(id), e.Event)
			continue
		}
		point := domain.PointID(strings.TrimPrefix(string(e.Stream), "point-"))
		order := domain.Order(0)
		switch e := e.Event.(type) {
		case chargingpoint.PointOccupied:
			order = e.Order
		case chargingpoint.StopOrdered:
			order = e.Order
		case chargingpoint.TakenOutOfService:
			order = e.Order
		case chargingpoint.ReturnedToService:
			order = e.Order
		}
		if order != 0 {
			if order <= a.last[point] {
				t.Errorf("%s was given order %d after order %d", point, order, a.last[point])
			}
			if a.orders[point] == nil {
				a.orders[point] = map[domain.Order]bool{}
			}
			a.orders[point][order], a.last[point] = true, order
		}
		switch event := e.Event.(type) {
		case chargingpoint.PointOccupied:
			if held[e.Stream] != "" {
				t.Errorf("%s was given to %s while %s had it", point, event.Session, held[e.Stream])
			}
			held[e.Stream] = event.Session
		case chargingpoint.PointReleased:
			if held[e.Stream] != event.Session {
				t.Errorf("%s was released by %s while %q had it", point, event.Session, held[e.Stream])
			}
			held[e.Stream] = ""
		}
	}
	for stream, id := range held {
		if id != "" {
			t.Errorf("%s is still held by %s", stream, id)
		}
	}
	for id, s := range a.stories {
		request, _, _ := s.request()
		if a.byRequest[request] != nil {
			t.Errorf("the request %s has two sessions", request)
		}
		a.byRequest[request] = s
		if s.authorized != nil && len(s.tickets) != 1 {
			t.Errorf("the session %s has %d tickets", id, len(s.tickets))
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

func (a *audit) readSession(id domain.SessionID, e any) {
	s := a.stories[id]
	if s == nil {
		s = &story{id: id}
		a.stories[id] = s
	}
	switch e := e.(type) {
	case session.SupplyAuthorized:
		s.authorized = &e
	case session.SupplyRefused:
		s.refused = &e
	case session.MeterValueRecorded:
		s.samples = append(s.samples, e)
	case session.EndDecided:
		s.cause = e.Cause
	case session.SupplyEnded:
		s.done = &e
	case session.TicketIssued:
		s.tickets = append(s.tickets, e)
	case session.TicketRevised:
		s.revisions = append(s.revisions, e)
	}
}

// checkAnswers: each request has one session and one answer, perhaps sent again.
func (a *audit) checkAnswers() {
	t := a.t
	for _, r := range a.sentOn("ev.supply.request") {
		if before, again := a.asked[r.Request]; !again || r.At.Before(before.At) {
			a.asked[r.Request] = r
		}
		if s := a.byRequest[r.Request]; s == nil {
			t.Errorf("the request %s of %s at %s is not in the log", r.Request, r.Driver, r.Point)
		} else if _, point, driver := s.request(); point != r.Point || driver != r.Driver {
			t.Errorf("the request %s of %s at %s is in the log as that of %s at %s", r.Request, r.Driver, r.Point, driver, point)
		}
	}
	answers := map[domain.RequestID]sent{}
	for _, r := range a.sentOn("ev.supply.auth") {
		if before, again := answers[r.Request]; again && !bytes.Equal(before.Value, r.Value) {
			t.Errorf("the request %s has two answers:\n%s\n%s", r.Request, before.Value, r.Value)
		}
		answers[r.Request] = r
		s := a.byRequest[r.Request]
		if s == nil {
			t.Errorf("an answer to a request that is not in the log: %s", r.Value)
			continue
		}
		stored := s.authorized != nil
		if r.Authorized != stored || stored && r.Session != s.id || !stored && r.Reason != s.refused.Reason {
			t.Errorf("the answer is not as the log has it: %s", r.Value)
		}
	}
	for request, s := range a.byRequest {
		if _, answered := answers[request]; !answered && (s.refused == nil || !s.refused.Silent) {
			t.Errorf("the request %s was never answered", request)
		}
	}
}

// checkOrders: what was sent is in the log, an older order never follows a newer one, and
// the newest was sent.
func (a *audit) checkOrders() {
	t := a.t
	newest := map[domain.PointID]domain.Order{}
	for _, topic := range []string{"ev.supply.start", "ev.commands"} {
		before := map[domain.PointID]sent{}
		for _, r := range a.sentOn(topic) {
			if !a.orders[r.Point][r.Order] {
				t.Errorf("an order that is not in the log: %s", r.Value)
			}
			if last, ok := before[r.Point]; ok && last.Order > r.Order {
				t.Errorf("on %s an old order was sent after a newer one:\n%s\n%s", topic, last.Value, r.Value)
			}
			if s := a.stories[r.Session]; topic == "ev.supply.start" && (s == nil || s.authorized == nil || s.authorized.Order != r.Order) {
				t.Errorf("a start that is not as the log has it: %s", r.Value)
			}
			before[r.Point] = r
			newest[r.Point] = max(newest[r.Point], r.Order)
		}
	}
	for point, order := range a.last {
		if newest[point] != order {
			t.Errorf("%s was never sent its newest order %d", point, order)
		}
	}
}

// checkReports: an Engine has one final report of a session, its samples only grow, and
// what the log has was sent.
func (a *audit) checkReports() {
	t := a.t
	for _, r := range a.sentOn("ev.supply.telemetry") {
		s := a.stories[r.Session]
		if s == nil || s.authorized == nil {
			t.Errorf("a sample of a session that was never granted: %s", r.Value)
			continue
		}
		s.metered = append(s.metered, r)
	}
	for _, s := range a.stories {
		// One that a broker took in late, after a newer one, is ignored.
		slices.SortStableFunc(s.metered, func(a, b sent) int { return int(a.Seq - b.Seq) })
		for i := 1; i < len(s.metered); i++ {
			last, r := s.metered[i-1], s.metered[i]
			if r.Seq == last.Seq && !bytes.Equal(r.Value, last.Value) || a.kWh(r.Energy) < a.kWh(last.Energy) {
				t.Errorf("a sample runs backwards:\n%s\n%s", last.Value, r.Value)
			}
		}
	}
	for _, r := range a.sentOn("ev.supply.done") {
		s := a.stories[r.Session]
		if s == nil || s.authorized == nil {
			t.Errorf("a final report of a session that was never granted: %s", r.Value)
			continue
		}
		if len(s.reported) > 0 && !bytes.Equal(s.reported[0].Value, r.Value) {
			t.Errorf("two final reports of one session:\n%s\n%s", s.reported[0].Value, r.Value)
		}
		s.reported = append(s.reported, r)
	}
	for _, s := range a.stories {
		for _, sample := range s.samples {
			if !slices.ContainsFunc(s.metered, func(r sent) bool { return r.Seq == sample.Seq && a.kWh(r.Energy) == sample.Energy }) {
				t.Errorf("the session %s has a sample %d of %s kWh that was never sent", s.id, sample.Seq, sample.Energy)
			}
		}
		if s.done != nil && (len(s.reported) == 0 || a.kWh(s.reported[0].Total) != s.done.EnergyReported) {
			t.Errorf("the session %s has a final report that was never sent", s.id)
		}
	}
}

// checkTickets: every grant has one ticket, sent as it is in the log, which bills the
// greatest energy that was reported.
func (a *audit) checkTickets() {
	t := a.t
	for _, r := range a.sentOn("ev.supply.ticket") {
		s := a.stories[r.Session]
		if s == nil || s.authorized == nil {
			t.Errorf("a ticket of a session that was never granted: %s", r.Value)
			continue
		}
		again := slices.IndexFunc(s.billed, func(b sent) bool { return b.Revision == r.Revision })
		if again >= 0 {
			if !bytes.Equal(s.billed[again].Value, r.Value) {
				t.Errorf("two tickets of one session and revision:\n%s\n%s", s.billed[again].Value, r.Value)
			}
			continue
		}
		s.billed = append(s.billed, r)
	}
	for _, s := range a.stories {
		if s.authorized == nil {
			continue
		}
		ticket := s.tickets[0]
		energies := []domain.MilliwattHours{ticket.Energy}
		amounts := []domain.MicroEuros{ticket.Amount}
		for _, r := range s.revisions {
			energies, amounts = append(energies, r.EnergyAfter), append(amounts, r.AmountAfter)
		}
		if len(s.billed) != len(energies) {
			t.Errorf("the session %s has %d tickets on the wire, %d in the log", s.id, len(s.billed), len(energies))
		}
		for _, r := range s.billed {
			if r.Revision >= len(energies) || r.Ticket != ticket.Ticket || a.kWh(r.Total) != energies[r.Revision] || a.eur(r.Amount) != amounts[r.Revision] || r.Reason != ticket.Reason {
				t.Errorf("the ticket is not as the log has it: %s", r.Value)
			}
		}
		if s.amount() != domain.Cost(s.energy(), s.authorized.Price) {
			t.Errorf("the session %s bills %s EUR for %s kWh at %s EUR/kWh", s.id, s.amount(), s.energy(), s.authorized.Price)
		}
		var greatest domain.MilliwattHours
		for _, r := range s.reported {
			greatest = max(greatest, a.kWh(r.Total))
		}
		for _, r := range s.metered {
			greatest = max(greatest, a.kWh(r.Energy))
		}
		if len(s.reported) > 0 && s.energy() != greatest {
			t.Errorf("the session %s bills %s kWh, and the greatest report says %s", s.id, s.energy(), greatest)
		}
		if n := len(s.samples); len(s.reported) == 0 && n > 0 && s.energy() != s.samples[n-1].Energy {
			t.Errorf("the session %s bills %s kWh, and its last sample in the log says %s", s.id, s.energy(), s.samples[n-1].Energy)
		}
	}
}

// checkJournals: what the Engines remember is what was billed.
func (a *audit) checkJournals() {
	t := a.t
	files, err := filepath.Glob(filepath.Join(a.dir, "journal", "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		point := domain.PointID(strings.TrimSuffix(filepath.Base(file), ".journal"))
		memory := a.journal(point)
		if memory.Open != nil || len(memory.Unreported()) > 0 {
			t.Errorf("the journal of %s has open sessions %v, unreported ones %v", point, memory.Open, memory.Unreported())
		}
		for _, s := range a.stories {
			if _, p, _ := s.request(); p != point || s.authorized == nil {
				continue
			}
			done, known := memory.Done(s.id)
			if known != (len(s.reported) > 0) {
				t.Errorf("the session %s: in the journal of %s %t, final reports sent %d", s.id, point, known, len(s.reported))
			}
			if known && len(s.reported) > 0 && a.kWh(s.reported[0].Total) != done.Energy {
				t.Errorf("the session %s: the journal has %s kWh, sent were %s", s.id, done.Energy, s.reported[0].Total)
			}
		}
	}
}

// journal is what an Engine's journal remembers. A copy is read: the file may be in use.
func (w *world) journal(point domain.PointID) engine.Memory {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "journal", string(point)+".journal"))
	if err != nil {
		w.t.Fatal(err)
	}
	dir := w.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, string(point)+".journal"), text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	file, memory, err := journal.Open(dir, point)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		w.t.Fatal(err)
	}
	return memory
}

// outcome is what a driver's program says of a line in the end.
type outcome struct {
	point           domain.PointID
	verdict, reason string
	energy          domain.MilliwattHours
	amount          domain.MicroEuros
}

// outcomes are a run's, read from the table at its end; of a run of one line that was
// never cut off there is none.
func (p *process) outcomes() []outcome {
	p.t.Helper()
	var all []outcome
	_, table, _ := strings.Cut(p.output(), "POINT")
	for line := range strings.Lines(table) {
		var n int
		var point, verdict, kWh, eur, reason string
		if _, err := fmt.Sscan(strings.Replace(line, "not served", "not-served", 1), &n, &point, &verdict, &kWh, &eur, &reason); err != nil || n != len(all)+1 {
			continue
		}
		energy, err := domain.ParseKWh(kWh)
		if err != nil {
			p.t.Fatal(err)
		}
		amount, err := domain.ParseEUR(eur)
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, outcome{domain.PointID(point), verdict, reason, energy, amount})
	}
	return all
}

// told compares what a driver's program said in the end, table and exit status, with the
// log: a request for each line, and each line as it was answered and billed.
func (a *audit) told(driver domain.DriverID, lines []domain.PointID, p *process) {
	t := a.t
	t.Helper()
	var requests []sent
	for _, r := range a.asked {
		if r.Driver == driver {
			requests = append(requests, r)
		}
	}
	slices.SortFunc(requests, func(a, b sent) int { return a.At.Compare(b.At) })
	if len(requests) != len(lines) {
		t.Errorf("%s has %d lines and asked %d times", driver, len(lines), len(requests))
		return
	}
	outcomes := p.outcomes()
	if len(outcomes) != len(lines) {
		t.Errorf("%s has %d lines and tells of %d:\n%s", driver, len(lines), len(outcomes), p.output())
		return
	}
	status := 0
	for i, o := range outcomes {
		s := a.byRequest[requests[i].Request]
		if o.point != lines[i] || requests[i].Point != lines[i] {
			t.Errorf("%s asked %s in line %d, where %s was to be asked, and tells of %s", driver, requests[i].Point, i+1, lines[i], o.point)
		}
		if o.verdict != "served" {
			status = 1
		}
		if want := a.outcomesOf(s); !slices.Contains(want, o) {
			t.Errorf("%s tells of line %d %+v; the log has %+v", driver, i+1, o, want)
		}
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("%s ended with status %d, and its table says %d", driver, got, status)
	}
}

// outcomesOf are what a driver may say of a session: as its ticket, or a revision, has it, or as the
// point reported it where Central was away for long.
func (a *audit) outcomesOf(s *story) []outcome {
	_, point, _ := s.request()
	if s.refused != nil {
		return []outcome{{point, "refused", s.refused.Reason, 0, 0}}
	}
	verdict := func(reason string) string {
		switch message.DoneReason(reason) {
		case message.DoneFinished, message.DoneUnplugged, message.DoneStopped:
			return "served"
		}
		return "failed"
	}
	var all []outcome
	for _, r := range slices.Concat(s.billed, s.reported) {
		all = append(all, outcome{point, verdict(r.Reason), r.Reason, a.kWh(r.Total), a.eur(r.Amount)})
	}
	return all
}
