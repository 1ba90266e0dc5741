package central_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// A whole network in virtual time: drivers, Engines, Monitors and operators do what they
// like; records wait in the topics, are taken by either of two Centrals, one in the midst
// of a turn of the other, and come again after failures and kills. When all has come to
// rest, nothing is lost, forgotten or billed twice.

// network is what a rapid test plays with.
type network struct {
	*rapid.T
	now       domain.UnixMillis
	log       *memory.Log
	signs     *memory.Signs
	deadlines *memory.Deadlines
	indexed   eventlog.Position // up to here the deadlines are indexed
	centrals  [2]*node
	topics    map[string]*topic
	names     []string
	taking    map[string]bool
	engines   map[domain.PointID]*engine
	requests  []message.Request
	sent      []message.Message
	// calm says that nothing fails any more, resting that nothing is supplied any more.
	calm, resting bool
	// untilFault and untilOther count the steps to the next failure, and to the next
	// record that the other Central takes in the midst of a turn.
	untilFault, untilOther int
	ids                    int
}

// topic is a partition: its records, and which is the next.
type topic struct {
	records []message.Received
	next    int
}

// node is a Central.
type node struct {
	network   *network
	core      *central.Central
	lane      *central.Lane
	listening *memory.Listening
	watch     *central.Watch
	busy      bool
}

var points = []domain.PointID{cp1, cp2}

func newNetwork(t *rapid.T) *network {
	n := &network{
		T: t, now: seconds(0), log: memory.NewLog(), signs: &memory.Signs{},
		topics: map[string]*topic{}, taking: map[string]bool{}, engines: map[domain.PointID]*engine{},
		untilFault: rapid.IntRange(1, 60).Draw(t, "until the first fault"),
		untilOther: rapid.IntRange(1, 20).Draw(t, "until the other Central's turn"),
	}
	n.deadlines = memory.NewDeadlines(n.signs)
	newID := ids()
	for i := range n.centrals {
		c := &node{network: n, listening: &memory.Listening{}}
		c.listening.Deaf(n.now)
		steps := &faults{Log: n.log, left: -1, between: func() { n.between(c) }}
		c.core = &central.Central{
			Log: &stepwise{steps, n}, Codec: eventjson.Codec{}, Publisher: &stepwise{steps, n}, Signs: n.signs,
			Listening: c.listening, Ignored: attentive{}, Patience: session.DefaultPatience, DefaultPrice: cheap, NewID: newID,
		}
		c.lane = c.core.Lane()
		c.watch = &central.Watch{Index: n, Listening: c.listening, Poster: n}
		n.centrals[i] = c
	}
	for _, p := range points {
		n.engines[p] = &engine{network: n, point: p, monitor: true}
		registered := registration(cheap)
		registered.Point = p
		n.send(registered)
		n.beat(p)
	}
	return n
}

// stepwise is a log and a publisher whose steps fail when the network says so.
type stepwise struct {
	*faults
	network *network
}

func (s *stepwise) Publish(ctx context.Context, p central.Publication) error {
	before := len(s.sent)
	err := s.faults.Publish(ctx, p)
	s.network.sent = append(s.network.sent, s.sent[before:]...)
	return err
}

// between is called before each step of a Central's turn.
func (n *network) between(c *node) {
	if n.calm {
		return
	}
	if n.untilOther--; n.untilOther == 0 {
		n.untilOther = rapid.IntRange(1, 20).Draw(n.T, "until the other Central's turn")
		for _, other := range n.centrals {
			if other != c && !other.busy {
				n.take(other)
			}
		}
	}
	if n.untilFault--; n.untilFault == 0 {
		n.untilFault = rapid.IntRange(1, 60).Draw(n.T, "until the next fault")
		c.core.Log.(*stepwise).left = 0 // this step
	}
}

// send puts a record into its topic, at the broker's time.
func (n *network) send(m message.Message) {
	name := topicOf(m)
	t := n.topics[name]
	if t == nil {
		t = &topic{}
		n.topics[name], n.names = t, append(n.names, name)
	}
	source := message.Source{Topic: name, Offset: int64(len(t.records)), Timestamp: n.now, Trusted: true}
	binary.BigEndian.PutUint64(source.Digest[:], uint64(source.Offset)|uint64(len(name))<<32)
	t.records = append(t.records, message.Received{Source: source, Message: m})
}

// Post is central.Poster's.
func (n *network) Post(_ context.Context, controls []message.Control) error {
	for _, c := range controls {
		n.send(c)
	}
	return nil
}

// Due is central.DeadlineIndex's: a projection of the log.
func (n *network) Due(ctx context.Context, now, since domain.UnixMillis) ([]central.Deadline, error) {
	for c, err := range n.log.All(ctx, n.indexed+1) {
		if err != nil {
			return nil, err
		}
		for _, p := range c.Parts {
			n.deadlines.Apply([]central.Part{{Stream: p.Stream, Version: p.Version, At: c.At, Events: decodeAll(n, p)}})
		}
		n.indexed = c.Position
	}
	return n.deadlines.Due(ctx, now, since)
}

// take lets a Central take the next record of some topic; false where all topics are read.
func (n *network) take(c *node) bool {
	var waiting []string
	for _, name := range n.names {
		if t := n.topics[name]; t.next < len(t.records) && !n.taking[name] {
			waiting = append(waiting, name)
		}
	}
	if len(waiting) == 0 {
		return false
	}
	name := waiting[0]
	if !n.calm {
		name = rapid.SampledFrom(waiting).Draw(n.T, "topic")
	}
	t := n.topics[name]
	c.busy, n.taking[name] = true, true
	err := c.lane.Take(background, n.now, t.records[t.next])
	c.busy, n.taking[name] = false, false
	var rejected *message.RejectedError
	switch {
	case err == nil, errors.As(err, &rejected):
		t.next++
	case !errors.Is(err, errAway) && !errors.Is(err, central.ErrContended) || n.calm:
		n.Fatalf("%+v: %v", t.records[t.next], err)
	}
	return true
}

// kill ends a Central: what it had not acknowledged comes again, and some that it had.
func (n *network) kill(c *node) {
	c.lane = c.core.Lane()
	*c.listening = memory.Listening{}
	c.listening.Deaf(n.now)
	for _, name := range n.names {
		t := n.topics[name]
		t.next -= min(t.next, rapid.IntRange(0, 3).Draw(n.T, "come again"))
	}
	if rapid.Bool().Draw(n.T, "the signs of life are lost") {
		*n.signs = memory.Signs{}
	}
}

// pass lets time pass, second by second: Monitors beat, Engines report, deadlines are posted.
func (n *network) pass(d time.Duration) {
	for end := n.now.Add(d); n.now < end; {
		n.now = n.now.Add(time.Second)
		for _, p := range points {
			e := n.engines[p]
			if e.monitor && n.now/1000%5 == 0 {
				n.beat(p)
			}
			if !n.resting {
				e.obey(1 << 20)
				e.sample(2_000)
				e.report(false)
			}
		}
		for _, c := range n.centrals {
			if err := c.watch.Tick(background, n.now); err != nil {
				n.Fatalf("the watch: %v", err)
			}
		}
	}
}

func (n *network) beat(p domain.PointID) {
	m := health(message.HealthOK)
	if n.engines[p].broken {
		m.Status = message.HealthKO
	}
	m.Point = p
	n.send(m)
}

// engine is a charging point's Engine, as the contract has it, and the point's Monitor.
type engine struct {
	network *network
	point   domain.PointID
	monitor bool // the Monitor lives
	broken  bool
	dead    bool // nobody hears the Engine, and it hears nobody
	read    int  // of what was sent
	obeyed  domain.Order
	running *supply
	ended   []*supply
}

type supply struct {
	session domain.SessionID
	driver  domain.DriverID
	seq     int64
	energy  domain.MilliwattHours
	samples []message.MeterValue
	done    *message.Done
}

// obey reads the orders that were sent, up to so many.
func (e *engine) obey(limit int) {
	for ; e.read < len(e.network.sent) && limit > 0; e.read++ {
		o, ok := e.network.sent[e.read].(message.Order)
		if !ok || o.Point != e.point || e.dead {
			continue
		}
		limit--
		if o.Number <= e.obeyed || e.network.now > o.ValidUntil {
			continue
		}
		e.obeyed = o.Number
		switch o.Kind {
		case message.OrderStart:
			e.end(message.DoneStopped)
			e.running = &supply{session: o.Session, driver: o.Driver}
			if e.broken {
				e.end(message.DoneRefused)
			}
		case message.OrderStop, message.OrderOutOfOrder:
			e.end(message.DoneStopped)
		}
	}
}

// end ends the running supply. Its done is kept until it is sent.
func (e *engine) end(reason message.DoneReason) {
	s := e.running
	if s == nil {
		return
	}
	e.running = nil
	s.done = &message.Done{
		Session: s.session, Point: e.point, Driver: s.driver, Energy: s.energy, Amount: domain.Cost(s.energy, cheap),
		Reason: reason, At: e.network.now,
	}
	e.ended = append(e.ended, s)
}

// sample reports what the running supply has metered.
func (e *engine) sample(energy domain.MilliwattHours) {
	s := e.running
	if s == nil {
		return
	}
	s.energy += energy // it meters, also where nobody hears it
	if e.dead {
		return
	}
	s.seq++
	m := message.MeterValue{
		Session: s.session, Point: e.point, Driver: s.driver, Seq: s.seq, Energy: &[]domain.MilliwattHours{s.energy}[0],
		Power: 7_000, Amount: domain.Cost(s.energy, cheap), At: e.network.now,
	}
	s.samples = append(s.samples, m)
	e.network.send(m)
}

// report sends the dones that are kept; now and then one more than once.
func (e *engine) report(again bool) {
	if e.dead {
		return
	}
	for _, s := range e.ended {
		if s.done != nil && (s.seq >= 0 || again) {
			e.network.send(*s.done)
			s.seq = -1
		}
	}
}

// act is one thing that somebody does.
func (n *network) act() {
	point := func() domain.PointID { return rapid.SampledFrom(points).Draw(n.T, "point") }
	e := n.engines[point()]
	// The first are drawn most.
	switch rapid.IntRange(0, 19).Draw(n.T, "act") {
	case 0:
		n.pass(rapid.SampledFrom([]time.Duration{1, 2, 5, 20, 70}).Draw(n.T, "seconds") * time.Second)
	case 1, 2:
		n.ids++
		r := message.Request{
			Driver: rapid.SampledFrom([]domain.DriverID{dan, eva}).Draw(n.T, "driver"), Point: e.point, Origin: message.OriginDriver,
		}
		if rapid.IntRange(0, 3).Draw(n.T, "has an id") > 0 {
			r.ID = domain.RequestID(fmt.Sprint("r-", n.ids))
		}
		n.requests = append(n.requests, r)
		n.send(r)
	case 3:
		if len(n.requests) > 0 { // asked once more
			n.send(rapid.SampledFrom(n.requests).Draw(n.T, "request"))
		}
	case 4, 5, 6, 7:
		e.obey(1 << 20)
		e.sample(domain.MilliwattHours(rapid.IntRange(0, 5_000_000).Draw(n.T, "energy")))
	case 8:
		if s := e.running; s != nil && len(s.samples) > 0 { // repeated or late
			n.send(rapid.SampledFrom(s.samples).Draw(n.T, "sample"))
		}
	case 9:
		if len(e.ended) > 0 { // of a supply that is over
			if s := rapid.SampledFrom(e.ended).Draw(n.T, "supply"); len(s.samples) > 0 {
				n.send(rapid.SampledFrom(s.samples).Draw(n.T, "sample"))
			}
		}
	case 10, 11:
		e.obey(rapid.IntRange(1, 3).Draw(n.T, "orders"))
	case 12:
		e.end(rapid.SampledFrom([]message.DoneReason{message.DoneFinished, message.DoneUnplugged, message.DoneFault}).Draw(n.T, "reason"))
	case 13:
		e.report(rapid.Bool().Draw(n.T, "again"))
	case 14:
		e.broken = !e.broken
		if e.broken {
			e.end(message.DoneFault)
		}
		n.beat(e.point)
	case 15:
		c := message.Control{
			ID: fmt.Sprint("c-", len(n.topics), n.now), Point: e.point, By: "ops",
			Action: rapid.SampledFrom([]message.Action{message.ActionStop, message.ActionResume, message.ActionResume, message.ActionStart, message.ActionPrice}).Draw(n.T, "action"),
		}
		switch c.Action {
		case message.ActionStart:
			c.Driver = dan
		case message.ActionPrice:
			if rapid.IntRange(0, 2).Draw(n.T, "set") > 0 {
				price := cheap + domain.MicroEurosPerKWh(rapid.IntRange(0, 3).Draw(n.T, "operator's price"))
				c.Price = &price
			}
			c.From = n.now.Add(time.Duration(rapid.IntRange(-5, 30).Draw(n.T, "from")) * time.Second)
		}
		n.send(c)
	case 16:
		m := registration(cheap + domain.MicroEurosPerKWh(rapid.IntRange(0, 2).Draw(n.T, "price")))
		m.Point = e.point
		n.send(m)
	case 17:
		e.monitor = !e.monitor
	case 18:
		e.dead = !e.dead
	case 19:
		n.kill(n.centrals[rapid.IntRange(0, 1).Draw(n.T, "Central")])
	}
}

// last lets each point supply once more, and leaves it to itself for longer than anybody waits.
func (n *network) last() {
	for _, p := range points {
		e := n.engines[p]
		e.broken, e.monitor, e.dead = false, true, false
		e.end(message.DoneFinished)
		n.send(message.Control{ID: "last-" + string(p), Point: p, Action: message.ActionResume, By: "ops"})
	}
	n.run(5)
	for _, p := range points {
		n.send(message.Request{Driver: dan, Point: p, ID: "last", Origin: message.OriginDriver})
	}
	n.run(10)
	for _, p := range points {
		n.engines[p].dead = rapid.Bool().Draw(n.T, "goes away")
	}
	n.calmDown()
	n.run(150)
}

// calmDown ends all failures: while there are any, nobody is silent for long.
func (n *network) calmDown() {
	n.calm = true
	for _, c := range n.centrals {
		c.core.Log.(*stepwise).left = -1
	}
}

// run lets so many seconds pass, in which records are taken.
func (n *network) run(seconds int) {
	for range seconds {
		n.pass(time.Second)
		for i := 0; i < 20 && n.take(n.centrals[i%2]); i++ {
		}
	}
}

// rest lets all come to rest: everybody lives, everything is delivered.
func (n *network) rest(engines bool) {
	n.resting = true
	for range 40 {
		for _, p := range points {
			if e := n.engines[p]; engines {
				e.dead, e.monitor = false, true
				e.obey(1 << 20)
				e.end(message.DoneFinished)
				e.report(false)
			} else {
				e.dead = true
			}
		}
		for i := 0; n.take(n.centrals[i%2]); i++ {
		}
		n.pass(5 * time.Second)
	}
	for i := 0; n.take(n.centrals[i%2]); i++ {
	}
}

// check checks what must hold once all has come to rest.
func (n *network) check(ordered bool) {
	l := readLedger(n, n.log)
	l.checkSent(n.sent, ordered)
	l.checkReplay(n.centrals[0].core, n.centrals[0].lane, n.centrals[1].lane)
	for id, p := range l.points {
		if held, ok := p.Occupied(); ok {
			n.Errorf("%s is still held by %+v", id, held)
		}
		if due := l.schedules[id]; len(due) > 0 && due[0].From.Add(time.Minute) < n.now {
			n.Errorf("%s: nobody has noticed %+v", id, due[0])
		}
	}
	// What an Engine said of each session, at most, in a final report.
	reported := map[domain.SessionID]domain.MilliwattHours{}
	for _, r := range n.topics["ev.supply.done"].all() {
		d := r.Message.(message.Done)
		reported[d.Session] = max(reported[d.Session], d.Energy)
	}
	for id, s := range l.sessions {
		if s.Status() == session.Refused {
			continue
		}
		bill, ok := s.Ticket()
		if !ok || s.Status() != session.Closed {
			n.Errorf("session %s is %s without a ticket", id, s.Status())
			continue
		}
		want, closed := reported[id], false
		for _, event := range l.events[central.SessionStream(id)] {
			switch e := event.(type) {
			case session.MeterValueRecorded:
				if closed {
					n.Errorf("session %s has a sample after its close", id)
				}
				want = max(want, e.Energy)
			case session.TicketIssued:
				closed = true
			}
		}
		if bill.Energy != want || bill.Amount != domain.Cost(want, s.Price()) {
			n.Errorf("session %s is billed %s kWh and %s EUR, reported was %s kWh", id, bill.Energy, bill.Amount, want)
		}
	}
	// Each request has its session.
	requests, answered := 0, 0
	for _, r := range n.topics["ev.supply.request"].all() {
		m := r.Message.(message.Request)
		requests++
		for _, s := range l.sessions {
			if q := s.Request(); q.Driver == m.Driver && q.Point == m.Point && q.ID == m.ID {
				answered++
				break
			}
		}
	}
	if requests != answered {
		n.Errorf("%d of %d requests have a session", answered, requests)
	}
}

func (t *topic) all() []message.Received {
	if t == nil {
		return nil
	}
	return t.records
}

func TestANetworkThatComesToRest(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		n := newNetwork(rt)
		for range rapid.IntRange(10, 250).Draw(rt, "acts") {
			n.act()
			for range rapid.IntRange(0, 4).Draw(rt, "records") {
				n.take(n.centrals[rapid.IntRange(0, 1).Draw(rt, "Central")])
			}
		}
		n.last()
		n.rest(rapid.IntRange(0, 4).Draw(rt, "Engines live") > 0)
		n.check(false)
		for _, events := range readLedger(n, n.log).events {
			for _, e := range events {
				seen[fmt.Sprintf("%T", e)]++
				switch e := e.(type) {
				case session.EndDecided:
					seen[string(e.Cause)]++
				case session.SupplyRefused:
					seen[e.Reason]++
				}
			}
		}
	})
	// A network in which nothing happens proves nothing.
	for _, what := range []string{
		"chargingpoint.PriceTookEffect", "chargingpoint.PointDisconnected", "chargingpoint.FaultReported", "chargingpoint.TakenOutOfService", "chargingpoint.ReturnedToService",
		"session.MeterValueRecorded", "session.TicketIssued", "session.TicketRevised",
		string(session.CauseFault), string(session.CauseDisconnected), string(session.CauseStopped), string(session.CauseExpired),
		string(chargingpoint.RefusedOccupied), string(chargingpoint.RefusedOutOfOrder), string(chargingpoint.RefusedBroken), string(chargingpoint.RefusedDisconnected),
	} {
		if seen[what] == 0 {
			t.Errorf("%s never happened: %v", what, seen)
		}
	}
}

// One Central, killed now and then: what it sends to a point is in order too.
func TestOneCentralSendsNoOldOrderAfterANewerOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := newNetwork(rt)
		n.untilOther = -1 // none is taken in the midst of another's turn
		for range rapid.IntRange(10, 120).Draw(rt, "acts") {
			n.act()
			for range rapid.IntRange(0, 4).Draw(rt, "records") {
				n.take(n.centrals[0])
			}
		}
		n.last()
		n.rest(true)
		n.check(true)
	})
}
