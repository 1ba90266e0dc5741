package driver

import (
	"slices"
	"time"

	"evcharging/application/message"
	"evcharging/domain"
)

// How long a driver waits for what.
const (
	SilentAfter = 5 * time.Second
	GiveUpAfter = 60 * time.Second
	QuietAfter  = 10 * time.Second
	LostAfter   = 10 * time.Minute
	TicketWait  = 10 * time.Second

	// ClockTolerance is by how much senders' clocks may differ where the broker does not
	// set the timestamps.
	ClockTolerance = 5 * time.Second

	// lookBack covers the difference between this machine's clock and the broker's.
	lookBack = time.Minute
	// settle is how long the past takes to be read after a start, idle for how long no
	// record of it comes then.
	settle = 2 * time.Second
	idle   = time.Second
	// maxPause bounds the pauses between attempts to send.
	maxPause = 5 * time.Second
)

// Driver works through a list of points. Use New. It is not safe for use from several
// goroutines.
type Driver struct {
	at         Checkpoint
	delay      time.Duration
	newRequest func() domain.RequestID

	begun    bool
	begunAt  domain.UnixMillis
	down     bool
	upSince  domain.UnixMillis
	heard    reports
	wait     wait
	finished bool
}

// wait is what is known of the open request beside the Checkpoint.
type wait struct {
	// back: the request is older than this run of the program.
	back bool
	// sending: a Sent is due. Otherwise the next attempt is at tryAt.
	sending  bool
	failures int
	tryAt    domain.UnixMillis
	// since is when the waiting for what comes next began.
	since domain.UnixMillis
	// told: that the waiting is long was said.
	told bool
	// sentAt is the Kafka timestamp of the request's own record, zero while it has not been
	// read back.
	sentAt  domain.UnixMillis
	trusted bool
	// held are answers without a request id that came before sentAt was known.
	held []heldAnswer

	// seen is the last sample that was shown, or is summed up in missed, which is still to be
	// shown; ended: the done was shown.
	seen   *message.MeterValue
	missed *Missed
	ended  bool
}

type heldAnswer struct {
	answer message.Answer
	source message.Source
	since  domain.UnixMillis
}

// New is a driver at the place that the checkpoint says: one with Driver and Points alone
// begins anew. After a supply has concluded it waits for delay. newRequest gives a random
// UUID at each call.
func New(at Checkpoint, delay time.Duration, newRequest func() domain.RequestID) *Driver {
	return &Driver{at: *at.clone(), delay: delay, newRequest: newRequest, heard: reports{}}
}

// Supplies are how the lines that have concluded went.
func (d *Driver) Supplies() []Supply { return slices.Clone(d.at.Supplies) }

// Step takes an input at an instant of this machine's clock.
func (d *Driver) Step(input Input, now domain.UnixMillis) Outcome {
	s := &step{Driver: d, now: now}
	if d.finished {
		return Outcome{}
	}
	switch in := input.(type) {
	case Begin:
		s.begin()
	case Received:
		s.receive(in.Received)
	case Sent:
		s.sent(in)
	case Link:
		s.link(in)
	case Tick:
		s.tick()
	}
	return s.out
}

// step is one step: the Driver, the time, and what is asked for.
type step struct {
	*Driver
	now domain.UnixMillis
	out Outcome
}

func (s *step) keep()             { s.out.Keep = s.at.clone() }
func (s *step) tell(event Event)  { s.out.Events = append(s.out.Events, event) }
func (s *step) line() Line        { return s.lineOf(len(s.at.Supplies)) }
func (s *step) lineOf(i int) Line { return Line{i + 1, len(s.at.Points), s.at.Points[i]} }
func (s *step) point() domain.PointID {
	return s.at.Points[len(s.at.Supplies)]
}

// waited is how long nothing came although it could have been heard.
func (s *step) waited(since domain.UnixMillis) time.Duration {
	if s.down {
		return 0
	}
	return s.now.Sub(max(since, s.upSince))
}

func (s *step) begin() {
	s.begun, s.begunAt, s.upSince = true, s.now, s.now
	open := s.at.Open
	if open != nil || len(s.at.Supplies) > 0 {
		at := s.at.clone()
		s.tell(Continued{Of: len(at.Points), Supplies: at.Supplies, Open: at.Open})
	}
	switch {
	case len(s.at.Supplies) == len(s.at.Points):
		s.finish()
	case open != nil:
		// What has happened is read first: the request may have been sent, and answered.
		s.wait = wait{back: true, since: s.now, tryAt: s.now.Add(settle)}
	case s.at.NextAt > s.now.Add(s.delay):
		// A clock that was set must not make a driver wait for a year.
		s.at.NextAt = s.now.Add(s.delay)
	}
	s.tick()
}

func (s *step) link(in Link) {
	if in.Up == !s.down {
		return
	}
	s.down = !in.Up
	if s.down {
		s.tell(BrokerLost{in.Reason})
		return
	}
	s.upSince = s.now
	s.tell(BrokerFound{})
}

func (s *step) tick() {
	switch open := s.at.Open; {
	case !s.begun, s.finished:
	case open == nil:
		if s.now >= s.at.NextAt && !s.down {
			s.ask()
		}
	case !open.Granted:
		s.awaitAnswer()
	default:
		s.awaitEnd()
	}
}

// conclude closes the open line.
func (s *step) conclude(supply Supply, ticket *message.Ticket) {
	line := s.line()
	supply.Point, supply.Request = line.Point, s.at.Open.Request
	if supply.Session == "" {
		supply.Session = s.at.Open.Session
	}
	s.at.Supplies = append(s.at.Supplies, supply)
	s.at.Open, s.at.NextAt, s.wait = nil, s.now.Add(s.delay), wait{}
	delete(s.heard, supply.Session)
	s.keep()
	last := line.Number == line.Of
	next := s.delay
	if last {
		next = -1
	}
	s.tell(Concluded{Line: line, Supply: supply, Ticket: ticket, NextIn: next})
	if last {
		s.finish()
	}
}

func (s *step) finish() {
	s.finished, s.out.Finished = true, true
	s.tell(Finished{s.Supplies()})
}
