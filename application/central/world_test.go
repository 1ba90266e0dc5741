package central_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// The cast of the tests.
const (
	cp1  = domain.PointID("CP-1")
	cp2  = domain.PointID("CP-2")
	dan  = domain.DriverID("D-7")
	eva  = domain.DriverID("D-8")
	kWh  = domain.MilliwattHours(1_000_000)
	euro = domain.MicroEuros(1_000_000)
	// cheap is what a point asks for in the tests, in µEUR/kWh.
	cheap = domain.MicroEurosPerKWh(300_000)
	// lease is what a Monitor gives in the tests.
	lease = 15 * time.Second
)

// at is an instant of the tests: so long after their beginning.
func at(d time.Duration) domain.UnixMillis { return domain.UnixMillis(1_800_000_000_000).Add(d) }

// seconds is at, of so many seconds.
func seconds(s int) domain.UnixMillis { return at(time.Duration(s) * time.Second) }

// world is one Central over the event log in memory, and what it told the world. A test
// reads as: given records, when a record comes, then exactly this is stored and sent, or
// the record is ignored or rejected for a reason.
type world struct {
	testing.TB
	log       eventlog.Log
	signs     *memory.Signs
	listening *memory.Listening
	deadlines *memory.Deadlines
	central   *central.Central
	lane      *central.Lane
	offsets   map[string]int64

	outcome outcome
	judged  bool
}

// outcome is what the last record did.
type outcome struct {
	received message.Received
	commits  []eventlog.Commit
	messages []message.Message
	ignored  []error
	err      error
}

// Publish is central.Publisher's.
func (w *world) Publish(_ context.Context, p central.Publication) error {
	w.outcome.messages = append(w.outcome.messages, p.Messages...)
	w.deadlines.Apply(p.Parts)
	return nil
}

// publish is a central.Publisher that hands the messages to a function.
type publish func([]message.Message)

func (f publish) Publish(_ context.Context, p central.Publication) error {
	f(p.Messages)
	return nil
}

// Count is central.Ignored's.
func (w *world) Count(rule error) { w.outcome.ignored = append(w.outcome.ignored, rule) }

// newWorld is a Central that has been listening for ever, in an open network.
func newWorld(t testing.TB) *world {
	w := &world{
		TB: t, log: memory.NewLog(), signs: &memory.Signs{}, listening: &memory.Listening{},
		offsets: map[string]int64{}, judged: true,
	}
	w.deadlines = memory.NewDeadlines(w.signs)
	w.central = &central.Central{
		Log: w.log, Codec: eventjson.Codec{}, Publisher: w, Signs: w.signs, Listening: w.listening, Ignored: w,
		Patience: session.DefaultPatience, DefaultPrice: 350_000, NewID: ids(),
	}
	w.lane = w.central.Lane()
	return w
}

// ids makes the same commit ids each time.
func ids() central.NewID {
	var n atomic.Uint64
	return func(at domain.UnixMillis) (id uuid.UUID) {
		binary.BigEndian.PutUint64(id[:], uint64(at)<<16|7<<12)
		binary.BigEndian.PutUint64(id[8:], n.Add(1)|1<<63)
		return id
	}
}

// topics are where the messages that Central reads come from.
func topicOf(m message.Message) string {
	switch m.(type) {
	case message.Registration:
		return "ev.register"
	case message.Health:
		return "ev.health"
	case message.Request:
		return "ev.supply.request"
	case message.MeterValue:
		return "ev.supply.telemetry"
	case message.Done:
		return "ev.supply.done"
	}
	return "ev.control"
}

// record is a message as it comes from Kafka at an instant.
func (w *world) record(at domain.UnixMillis, m message.Message) message.Received {
	topic := topicOf(m)
	w.offsets[topic]++
	offset := w.offsets[topic]
	source := message.Source{Topic: topic, Offset: offset, Timestamp: at, Trusted: true}
	binary.BigEndian.PutUint64(source.Digest[:], uint64(offset)|uint64(len(topic))<<32)
	return message.Received{Source: source, Message: m}
}

// given takes a message that comes at an instant. It must do something.
func (w *world) given(at domain.UnixMillis, m message.Message) message.Received {
	w.Helper()
	w.when(at, m)
	if w.judged = true; w.outcome.err != nil || len(w.outcome.ignored) > 0 {
		w.Fatalf("given %+v: %v, ignored %v", m, w.outcome.err, w.outcome.ignored)
	}
	return w.outcome.received
}

// when takes a message that comes at an instant.
func (w *world) when(at domain.UnixMillis, m message.Message) *world {
	w.Helper()
	return w.whenReceived(at, w.record(at, m))
}

// whenReceived takes a record, at the hearer's time.
func (w *world) whenReceived(now domain.UnixMillis, received message.Received) *world {
	w.Helper()
	if !w.judged {
		w.Fatal("the test did not look at what the last record did")
	}
	before := w.commits()
	w.outcome, w.judged = outcome{received: received}, false
	w.outcome.err = w.lane.Take(w.Context(), now, received)
	w.outcome.commits = w.commits()[len(before):]
	return w
}

// restart is what remains of Central after a kill: its log. listening starts anew.
func (w *world) restart(now domain.UnixMillis) {
	*w.signs, *w.listening = memory.Signs{}, memory.Listening{}
	w.listening.Deaf(now)
	w.lane = w.central.Lane()
}

func (w *world) commits() []eventlog.Commit {
	w.Helper()
	var all []eventlog.Commit
	for c, err := range w.log.All(w.Context(), 0) {
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, c.Commit)
	}
	return all
}

// part is what is stored in one stream.
type part struct {
	stream eventlog.Stream
	events []any
}

func ofPoint(events ...any) part { return part{central.PointStream(cp1), events} }

func ofSession(id domain.SessionID, events ...any) part {
	return part{central.SessionStream(id), events}
}

// stores checks that the last record made one commit of exactly these parts.
func (w *world) stores(want ...part) *world {
	w.Helper()
	w.judged = true
	if w.outcome.err != nil {
		w.Fatalf("the record failed: %v", w.outcome.err)
	}
	if len(w.outcome.commits) != 1 {
		w.Fatalf("%d commits (ignored %v), want 1 of %v", len(w.outcome.commits), w.outcome.ignored, want)
	}
	commit := w.outcome.commits[0]
	var got []part
	for _, p := range commit.Parts {
		envelope := decode(w, p)
		if envelope.At != commit.At || envelope.Commit != commit.ID || envelope.Cause != commit.Cause {
			w.Errorf("the text of %s says %+v, its commit %s %s %s", p.Stream, envelope, commit.ID, commit.At, commit.Cause)
		}
		got = append(got, part{p.Stream, envelope.Events})
	}
	if !reflect.DeepEqual(got, want) {
		w.Errorf("stored\n%swant\n%s", describeParts(got), describeParts(want))
	}
	return w
}

func decode(t fataler, p eventlog.Part) central.Envelope {
	t.Helper()
	envelope, err := eventjson.Codec{}.Decode(p.Body)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return envelope
}

func decodeAll(t fataler, p eventlog.Part) []any {
	t.Helper()
	return decode(t, p).Events
}

// storesNothing checks that the last record made no commit.
func (w *world) storesNothing() *world {
	w.Helper()
	w.judged = true
	if w.outcome.err != nil {
		w.Fatalf("the record failed: %v", w.outcome.err)
	}
	if len(w.outcome.commits) > 0 {
		w.Errorf("stored %+v, want nothing", w.outcome.commits)
	}
	return w
}

// sends checks that the last record made Central send exactly these messages, in order.
func (w *world) sends(want ...message.Message) *world {
	w.Helper()
	w.judged = true
	if len(w.outcome.messages) != len(want) || len(want) > 0 && !reflect.DeepEqual(w.outcome.messages, want) {
		w.Errorf("sent\n%swant\n%s", describe(w.outcome.messages), describe(want))
	}
	return w
}

// sent is the first message of a type that the last record made Central send.
func sent[M message.Message](w *world) (m M) {
	w.Helper()
	w.judged = true
	for _, any := range w.outcome.messages {
		if m, ok := any.(M); ok {
			return m
		}
	}
	w.Fatalf("sent no %T, but (error %v)\n%s", m, w.outcome.err, describe(w.outcome.messages))
	return m
}

// sendsNothing checks that the last record made Central send nothing.
func (w *world) sendsNothing() *world {
	w.Helper()
	return w.sends()
}

// counts checks that the last record was counted as ignored, by a rule.
func (w *world) counts(rule error) *world {
	w.Helper()
	w.judged = true
	if len(w.outcome.ignored) != 1 || !errors.Is(w.outcome.ignored[0], rule) {
		w.Errorf("ignored %v (error %v), want %q once", w.outcome.ignored, w.outcome.err, rule)
	}
	return w
}

// countsNothing checks that the last record was not counted as ignored.
func (w *world) countsNothing() *world {
	w.Helper()
	w.judged = true
	if len(w.outcome.ignored) > 0 {
		w.Errorf("ignored %v, want nothing", w.outcome.ignored)
	}
	return w
}

// ignores checks that the last record was ignored by a rule: counted, nothing stored, nothing sent.
func (w *world) ignores(rule error) *world {
	w.Helper()
	return w.counts(rule).storesNothing().sendsNothing()
}

// rejects checks that the last record goes to the dead-letter topic for a reason: nothing
// stored, nothing sent.
func (w *world) rejects(reason error) *world {
	w.Helper()
	w.judged = true
	var rejected *message.RejectedError
	if !errors.As(w.outcome.err, &rejected) || !errors.Is(rejected.Reason, reason) {
		w.Errorf("the record: %v, want it rejected: %v", w.outcome.err, reason)
	}
	if len(w.outcome.commits) > 0 || len(w.outcome.messages) > 0 || len(w.outcome.ignored) > 0 {
		w.Errorf("rejected, yet stored %v, sent %v, ignored %v", w.outcome.commits, w.outcome.messages, w.outcome.ignored)
	}
	return w
}

func describe[T any](values []T) string {
	text := ""
	for _, v := range values {
		text += fmt.Sprintf("    %T%s\n", v, fields(v))
	}
	return text
}

func describeParts(parts []part) string {
	text := ""
	for _, p := range parts {
		text += fmt.Sprintf("  %s\n%s", p.stream, describe(p.events))
	}
	return text
}

// fields prints a struct with its pointers followed.
func fields(v any) string {
	var out []string
	r := reflect.ValueOf(v)
	for i := range r.NumField() {
		f := r.Field(i)
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			f = f.Elem()
		}
		if !f.IsZero() {
			out = append(out, fmt.Sprintf("%s:%+v", r.Type().Field(i).Name, f.Interface()))
		}
	}
	return "{" + strings.Join(out, " ") + "}"
}

// What the programs of the network say.

func registration(price domain.MicroEurosPerKWh) message.Registration {
	location := "Alcoy"
	return message.Registration{Point: cp1, Location: &location, Price: &price, PriceText: price.String()}
}

func health(status message.HealthStatus) message.Health {
	return message.Health{Point: cp1, Status: status, LeaseSeconds: int(lease / time.Second)}
}

func request(driver domain.DriverID, id domain.RequestID) message.Request {
	return message.Request{Driver: driver, Point: cp1, ID: id, Origin: message.OriginDriver}
}

// sample is a sample with all that ours has; energy in Wh.
func sample(id domain.SessionID, seq, wh int64, at domain.UnixMillis) message.MeterValue {
	energy := domain.MilliwattHours(wh * 1000)
	return message.MeterValue{
		Session: id, Point: cp1, Driver: dan, Power: 7_000, Amount: domain.Cost(energy, cheap), Energy: &energy, Seq: seq, At: at,
	}
}

func done(id domain.SessionID, wh int64, reason message.DoneReason, at domain.UnixMillis) message.Done {
	energy := domain.MilliwattHours(wh * 1000)
	return message.Done{
		Session: id, Point: cp1, Driver: dan, Energy: energy, Amount: domain.Cost(energy, cheap), Reason: reason, At: at,
	}
}

func control(id string, action message.Action) message.Control {
	return message.Control{ID: id, Point: cp1, Action: action, By: "ops"}
}

func deadline(id domain.SessionID, kind session.DeadlineKind, due domain.UnixMillis) message.Control {
	return message.Control{Point: cp1, Action: message.ActionDeadline, Session: id, Kind: string(kind), DueAt: due, By: "deadline"}
}

func leaseDeadline() message.Control {
	return message.Control{Point: cp1, Action: message.ActionDeadline, Kind: central.DeadlineLease, By: "deadline"}
}

// The stories that tests begin with. Each takes its records at fixed seconds.

// free is a point that may supply: registered at 0 s, healthy from 1 s.
func free(t testing.TB) *world {
	w := newWorld(t)
	w.given(seconds(0), registration(cheap))
	w.given(seconds(1), health(message.HealthOK))
	return w
}

// danRequest is the request of which dan's session comes.
const danRequest = domain.RequestID("r-1")

// dans is dan's session.
var dans = session.IDFor(cp1, dan, danRequest)

// granted is free, and dan asks at 2 s.
func granted(t testing.TB) *world {
	w := free(t)
	w.given(seconds(2), request(dan, danRequest))
	return w
}

// supplying is granted, and reports 1 Wh at 3 s.
func supplying(t testing.TB) *world {
	w := granted(t)
	w.given(seconds(3), sample(dans, 1, 1, seconds(3)))
	return w
}

// closed is supplying, and ends with 5 Wh at 8 s.
func closed(t testing.TB) *world {
	w := supplying(t)
	w.given(seconds(8), done(dans, 5, message.DoneFinished, seconds(8)))
	return w
}

// What Central says.

// state is the public state of the point.
func state(s chargingpoint.State, at domain.UnixMillis, version int64) message.PointState {
	return message.PointState{Point: cp1, Location: "Alcoy", Price: cheap, State: string(s), UpdatedAt: at, Version: version}
}

func answering(s message.PointState, control, refusal string) message.PointState {
	s.Control, s.Refusal = control, refusal
	return s
}

func grantOf(driver domain.DriverID, id domain.RequestID) message.Answer {
	price := cheap
	return message.Answer{
		Driver: driver, Point: cp1, Authorized: true, Request: id, Session: session.IDFor(cp1, driver, id), Price: &price,
	}
}

func refusalOf(driver domain.DriverID, id domain.RequestID, reason chargingpoint.Refusal) message.Answer {
	return message.Answer{Driver: driver, Point: cp1, Request: id, Reason: string(reason)}
}

// startAt is the order to start dan's session that was decided at an instant.
func startAt(t domain.UnixMillis) message.Order {
	price := cheap
	return message.Order{
		Kind: message.OrderStart, Point: cp1, Session: dans, Driver: dan, Price: &price,
		Number: domain.Order(t), ValidUntil: t.Add(chargingpoint.StartValidity),
	}
}

// stopAt is the order to stop dan's session that was decided at an instant.
func stopAt(t domain.UnixMillis, reason string) message.Order {
	return message.Order{
		Kind: message.OrderStop, Point: cp1, Session: dans, Reason: reason,
		Number: domain.Order(t), ValidUntil: t.Add(chargingpoint.OrderValidity),
	}
}

// orderAt is an order about the point itself that was decided at an instant.
func orderAt(t domain.UnixMillis, kind message.OrderKind) message.Order {
	return message.Order{Kind: kind, Point: cp1, Number: domain.Order(t), ValidUntil: t.Add(chargingpoint.OrderValidity)}
}

// stopOrdered is the event of stopAt.
func stopOrdered(t domain.UnixMillis, cause string) chargingpoint.StopOrdered {
	return chargingpoint.StopOrdered{
		Session: dans, Cause: cause, Order: domain.Order(t),
		ValidUntil: t.Add(chargingpoint.OrderValidity), HoldUntil: t.Add(chargingpoint.HoldAfterStop),
	}
}

// source is that of the last record.
func (w *world) source() session.Source {
	s := w.outcome.received.Source
	return session.Source{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset, Timestamp: s.Timestamp}
}

// ticket is dan's ticket; its digest is that of the part that the last record stored.
func (w *world) ticket(t message.Ticket) message.Ticket {
	w.Helper()
	t.ID, t.Session, t.Driver, t.Point, t.Price = ticketID(), dans, dan, cp1, cheap
	t.Amount = domain.Cost(t.Energy, cheap)
	for _, c := range w.commits() {
		for _, p := range c.Parts {
			if p.Stream == central.SessionStream(dans) && p.Kind == eventlog.Closing {
				t.Digest = fmt.Sprintf("%x", p.Hash)
			}
		}
	}
	return t
}

// ticketID is the id of dan's ticket, as the log has it.
func ticketID() domain.TicketID {
	s := session.New(dans)
	patience := session.DefaultPatience
	r := session.Request{Point: cp1, Driver: dan, ID: danRequest}
	if err := errors.Join(s.Authorize(0, r, session.Grant{}, patience), s.ReportDone(0, session.Done{Point: cp1, Driver: dan})); err != nil {
		panic(err)
	}
	ticket, _ := s.Ticket()
	return ticket.ID
}
