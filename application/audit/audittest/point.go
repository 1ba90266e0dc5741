package audittest

import (
	"fmt"
	"time"

	"evcharging/application/central"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

// point is a charging point of a history: its Engine and its Monitor, and what the log says
// of it.
type point struct {
	*History
	// phase is when in a second it acts.
	phase time.Duration
	// bare tells that its programs are the reference's: reports without energy, number and time,
	// health without a lease.
	bare bool

	price      domain.MicroEurosPerKWh
	location   string
	registerAt domain.UnixMillis
	lease      int // in seconds
	beatAt     domain.UnixMillis
	// silent is until when the Monitor is gone, dead until when the Engine is, broken until when
	// it has a fault.
	silent, dead, broken domain.UnixMillis
	wasBroken            bool

	orders  []message.Order // that are to be obeyed
	obeyed  domain.Order
	running *metered
	over    *metered // the one before

	// What the log says.
	is       *chargingpoint.Point
	session  *session.Session // that is open there; nil where none is
	schedule chargingpoint.Schedule
}

// metered is a supply, as its Engine knows it.
type metered struct {
	session domain.SessionID
	driver  domain.DriverID
	price   domain.MicroEurosPerKWh
	power   mWh // in a second
	energy  mWh
	left    int // seconds, until it is full
	seq     int64
	last    *message.MeterValue
	// stubborn tells that it goes on when it is stopped.
	stubborn bool
	// after are final reports that are still to come, at their instants.
	after []final
}

// final is a final report that comes late.
type final struct {
	at     domain.UnixMillis
	energy mWh
	reason message.DoneReason
}

func newPoint(h *History, id domain.PointID, i int) *point {
	return &point{
		History: h, phase: time.Duration(h.between(0, 900)) * time.Millisecond, bare: i%5 == 4,
		price: domain.MicroEurosPerKWh(h.between(200_000, 600_000)), location: fmt.Sprintf("C/ Major %d", i+1),
		registerAt: h.Now.Add(h.seconds(0, 3)), beatAt: h.Now.Add(h.seconds(0, 3)), lease: 15,
		is: chargingpoint.New(id),
	}
}

// second is what the point does in a second.
func (p *point) second(now domain.UnixMillis) {
	p.mishap(now)
	if now >= p.silent {
		p.monitor(now)
	}
	switch {
	case now >= p.dead:
		if p.dead != 0 && p.chance(2) {
			p.end(now, message.DoneRecovered) // it was killed, and has its journal
		}
		p.dead = 0
		p.engine(now)
	case p.running != nil:
		p.running.energy += p.running.power // it meters, also where nobody hears it
	}
	if p.over != nil {
		p.reportLate(now)
	}
}

// mishap is what may happen to the point.
func (p *point) mishap(now domain.UnixMillis) {
	switch p.between(1, 2_000) {
	case 1, 2:
		p.silent = now.Add(p.seconds(5, 60))
	case 3, 4, 5:
		p.dead = now.Add(p.seconds(2, 200))
	case 6, 7, 8:
		p.broken = now.Add(p.seconds(5, 90))
	}
}

// monitor registers the point and tells how its Engine is.
func (p *point) monitor(now domain.UnixMillis) {
	if now >= p.registerAt {
		p.registerAt = now.Add(time.Minute)
		p.register(now)
	}
	broken := now < p.broken
	changed := broken != p.wasBroken
	if !changed && now < p.beatAt {
		return
	}
	m := message.Health{Point: p.is.ID(), Status: message.HealthOK, LeaseSeconds: p.lease}
	switch {
	case broken:
		m.Status = message.HealthKO
	case changed:
		m.Status = message.HealthRecovered
	}
	p.wasBroken, p.beatAt = broken, now.Add(5*time.Second)
	if p.bare {
		m.LeaseSeconds, p.beatAt = 0, now.Add(time.Minute)
	} else if p.chance(200) {
		p.lease = 35 - p.lease
	}
	late := time.Duration(0)
	if p.chance(100) {
		late = p.seconds(6, 12) // others overtake it
	}
	p.send(now, m, late)
}

func (p *point) register(now domain.UnixMillis) {
	late := time.Duration(0)
	switch p.between(1, 40) {
	case 1:
		p.price = domain.MicroEurosPerKWh(p.between(200_000, 600_000))
	case 2:
		p.location += "b"
		late = p.seconds(61, 70) // the next one overtakes it
	}
	location, price := p.location, p.price
	m := message.Registration{Point: p.is.ID(), Location: &location, Price: &price, PriceText: price.String(), At: now.Time().UTC().Format(time.RFC3339)}
	secret := secretOf(m.Point)
	if p.chance(100) {
		secret = "somebody else's"
	}
	m.Proof = message.RegistrationProof(secret, m.Point, location, m.PriceText, m.At)
	p.send(now, m, late)
	if len(p.location) > 20 {
		p.location = p.location[:12]
	}
}

// engine obeys orders, and reports.
func (p *point) engine(now domain.UnixMillis) {
	for _, order := range p.orders {
		if order.Number > p.obeyed && now <= order.ValidUntil {
			p.obeyed = order.Number
			p.obey(now, order)
		}
	}
	p.orders = p.orders[:0]
	s := p.running
	switch {
	case s == nil:
		return
	case now < p.broken:
		p.end(now, message.DoneFault)
		return
	}
	s.energy += s.power
	if s.left--; s.left > 0 {
		p.sample(now, s)
		return
	}
	reason := message.DoneFinished
	if p.chance(3) {
		reason = message.DoneUnplugged
	}
	p.end(now, reason)
}

func (p *point) obey(now domain.UnixMillis, order message.Order) {
	switch order.Kind {
	case message.OrderStart:
		if p.chance(30) {
			return // it is lost
		}
		p.end(now, message.DoneStopped)
		p.running = &metered{
			session: order.Session, driver: order.Driver, price: *order.Price,
			power: mWh(p.between(1_000, 12_000)), left: p.between(5, 150), stubborn: p.chance(15),
		}
		if p.chance(50) {
			p.running.left = p.between(600, 3_600)
		}
		if now < p.broken || p.chance(40) {
			p.end(now, message.DoneRefused)
		}
	case message.OrderStop, message.OrderOutOfOrder:
		if s := p.running; s != nil && s.stubborn {
			s.stubborn, s.left = false, p.between(5, 30)
			return
		}
		p.end(now, message.DoneStopped)
	case message.OrderResume:
	}
}

// sample reports what was metered.
func (p *point) sample(now domain.UnixMillis, s *metered) {
	s.seq++
	energy := s.energy
	m := message.MeterValue{Session: s.session, Point: p.is.ID(), Driver: s.driver, Power: domain.Watts(s.power * 36 / 10), Amount: domain.Cost(energy, s.price)}
	if !p.bare {
		m.Energy, m.Seq, m.At = &energy, s.seq, now
	}
	late := time.Duration(0)
	switch p.between(1, 400) {
	case 1, 2, 3, 4, 5, 6:
		return // it is lost
	case 7, 8, 9, 10, 11, 12:
		late = p.seconds(1, 4) // others overtake it
	case 13, 14, 15:
		if s.last != nil {
			p.send(now, *s.last, p.seconds(0, 1)) // it comes again
		}
	case 16:
		energy = s.energy / 2
		m.Amount /= 2
	case 17:
		m.Driver = "D-0"
	case 18:
		m.Session = "S-0"
	case 19:
		m.Point = p.points[p.choices.IntN(len(p.points))].is.ID()
	case 20:
		m.Energy, m.Amount = nil, domain.MaxMoney
	case 21:
		m.At = now.Add(-time.Hour) // its clock is wrong
	case 22:
		if p.over != nil && p.over.last != nil {
			p.send(now, *p.over.last, 0) // of the supply before
		}
	}
	s.last = &m
	p.send(now, m, late)
}

// end ends the running supply, with a final report that mostly comes at once.
func (p *point) end(now domain.UnixMillis, reason message.DoneReason) {
	s := p.running
	if s == nil {
		return
	}
	p.running, p.over = nil, s
	if reason == message.DoneRefused {
		s.energy = 0
	}
	switch p.between(1, 20) {
	case 1: // nobody hears it
		if p.chance(2) {
			s.after = append(s.after, final{now.Add(p.seconds(130, 200)), s.energy + s.power, message.DoneRecovered})
		}
		return
	case 2: // it is repeated, as after a restart
		s.after = append(s.after, final{now.Add(p.seconds(1, 20)), s.energy, reason})
	case 3: // it was not all
		s.after = append(s.after, final{now.Add(p.seconds(5, 60)), s.energy + 2*s.power, message.DoneRecovered},
			final{now.Add(p.seconds(61, 90)), s.energy + 3*s.power, message.DoneFinished})
	}
	p.report(now, s, s.energy, reason)
}

func (p *point) report(now domain.UnixMillis, s *metered, energy mWh, reason message.DoneReason) {
	m := message.Done{Session: s.session, Point: p.is.ID(), Driver: s.driver, Energy: energy, Amount: domain.Cost(energy, s.price), Reason: reason}
	if !p.bare {
		m.Seq, m.At = s.seq+1, now
	}
	if p.chance(100) {
		m.Driver = "D-0"
	}
	p.send(now, m, 0)
}

// reportLate sends the final reports of the supply before that come late.
func (p *point) reportLate(now domain.UnixMillis) {
	s := p.over
	for len(s.after) > 0 && s.after[0].at <= now {
		f := s.after[0]
		s.after = s.after[1:]
		p.report(now, s, f.energy, f.reason)
	}
}

// people are the drivers and the operators at a point.
func (h *History) people(p *point, now domain.UnixMillis) {
	free := p.is.State() == chargingpoint.Activated
	if free && h.chance(12) || h.chance(400) {
		h.ask(p.is.ID(), now)
	}
	if h.chance(200) {
		h.operate(p, now)
	}
}

// ask is a driver's request.
func (h *History) ask(id domain.PointID, now domain.UnixMillis) {
	h.asked++
	m := message.Request{Driver: domain.DriverID(fmt.Sprintf("D-%d", h.between(1, 3*len(h.points)))), Point: id, Origin: message.OriginDriver}
	if h.chance(10) {
		m.Origin = message.OriginPoint
	}
	if !h.chance(4) {
		m.ID = domain.RequestID(fmt.Sprintf("R-%d-%d", h.salt, h.asked))
	}
	late := time.Duration(0)
	switch h.between(1, 60) {
	case 1:
		late = h.seconds(31, 40) // its driver has left
	case 2:
		m.Point = "P-0"
	case 3:
		h.send(now, m, h.seconds(0, 2))
	}
	h.send(now, m, late)
}

// operate is what an operator asks of a point.
func (h *History) operate(p *point, now domain.UnixMillis) {
	h.asked++
	m := message.Control{ID: fmt.Sprintf("C-%d-%d", h.salt, h.asked), Point: p.is.ID(), By: "ops@panel"}
	late := time.Duration(0)
	if h.chance(10) {
		late = h.seconds(2, 30)
	}
	if p.is.Service().Out && h.chance(2) {
		m.Action = message.ActionResume
		h.send(now, m, late)
		return
	}
	switch h.between(1, 12) {
	case 1, 2:
		m.Action = message.ActionStop
	case 3:
		m.Action = message.ActionResume
	case 4, 5:
		m.Action, m.Driver = message.ActionStart, "D-1"
		if h.chance(3) {
			h.send(now, m, h.seconds(0, 2))
		}
	case 6:
		m.Action, m.Driver = message.ActionStart, ""
	case 7:
		m.Action = "dance"
	case 8:
		m.Action, m.Point = message.ActionStop, "P-0"
	case 9:
		if h.chance(8) {
			h.plan(m, now)
			return
		}
		fallthrough
	default:
		m.Action = message.ActionPrice
		if !h.chance(3) {
			price := domain.MicroEurosPerKWh(h.between(200_000, 600_000))
			m.Price = &price
		}
		if h.chance(2) {
			m.From = now.Add(h.seconds(5, 300))
		}
	}
	h.send(now, m, late)
}

// plan is an operator who schedules more prices than there is room for, and drops them all.
func (h *History) plan(m message.Control, now domain.UnixMillis) {
	m.Action = message.ActionPrice
	id := m.ID
	for i := range chargingpoint.MaxScheduled + 2 {
		price := domain.MicroEurosPerKWh(200_000 + i)
		m.ID, m.Price, m.From = fmt.Sprintf("%s-%d", id, i), &price, now.Add(time.Hour+time.Duration(i)*time.Minute)
		h.send(now, m, 0)
	}
	m.ID, m.Price, m.From = id+"-auto", nil, 0
	h.send(now, m, time.Second)
}

var _ central.DeadlineIndex = (*History)(nil)
