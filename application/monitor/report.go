package monitor

import (
	"time"

	"evcharging/application/message"
	"evcharging/domain"
)

const (
	// maxProofLead is how far ahead of the broker's clock a proof may be.
	maxProofLead = 5 * time.Minute
	// worthSaying is how many failures in a row are no hiccup.
	worthSaying = 3
)

// reports is what Central is to be told.
type reports struct {
	// registerAt and healthAt are when the next registration and health report are due.
	registerAt, healthAt domain.UnixMillis
	// provenAt is the time in the last registration: the next one has a later one.
	provenAt domain.UnixMillis
	// faultTold tells that a KO may have arrived since the last good word did.
	faultTold bool

	onTheWay []message.Message
	// changedMeanwhile tells that the Engine changed since then.
	changedMeanwhile bool

	linkUp bool
	// failures are those since the last success, told that they were said.
	failures int
	told     bool
	pause    time.Duration
	retryAt  domain.UnixMillis
}

// changed has the health told now.
func (r *reports) changed(now domain.UnixMillis) {
	r.healthAt = now
	r.changedMeanwhile = r.onTheWay != nil
}

// report makes up what is due.
func (m *Monitor) report(now domain.UnixMillis) {
	r := &m.reports
	if r.onTheWay != nil || !passed(now, r.retryAt, m.longestPause()) || !m.authentication.asked {
		return
	}
	var due []message.Message
	if passed(now.Add(slack), r.registerAt, RegisterEvery) {
		due = append(due, m.registration(now))
	}
	if m.engine != Unknown && passed(now.Add(slack), r.healthAt, m.settings.Lease/3) {
		due = append(due, m.health())
	}
	r.onTheWay, m.out.Send = due, due
	r.changedMeanwhile = false
}

func (m *Monitor) registration(now domain.UnixMillis) message.Registration {
	r := &m.reports
	// Later than the last, unless a clock that was far ahead has been put back: then Central
	// has refused the last.
	if later := r.provenAt + 1; later.Sub(now) < maxProofLead {
		now = max(now, later)
	}
	r.provenAt = now
	location, price := m.settings.Location, m.settings.Price
	registration := message.Registration{
		Point: m.settings.Point, Location: &location, Price: &price,
		PriceText: price.String(), At: r.provenAt.String(),
	}
	if m.settings.Secret != "" {
		registration.Proof = message.RegistrationProof(m.settings.Secret, registration.Point, location, registration.PriceText, registration.At)
	}
	return registration
}

func (m *Monitor) health() message.Health {
	r := &m.reports
	health := message.Health{Point: m.settings.Point, Status: message.HealthOK, LeaseSeconds: int(m.settings.Lease / time.Second)}
	switch {
	case m.engine != Healthy:
		health.Status = message.HealthKO
		r.faultTold = true
	case r.faultTold:
		health.Status = message.HealthRecovered
	}
	return health
}

func (m *Monitor) sent(in Sent, now domain.UnixMillis) {
	r := &m.reports
	batch := r.onTheWay
	r.onTheWay = nil
	if in.Err != nil {
		r.pause = pause(r.pause, m.longestPause())
		r.retryAt = now.Add(r.pause)
		// A broker that is known to be away has been said to be.
		if r.failures++; r.failures >= worthSaying && r.linkUp && !r.told {
			r.told = true
			m.warn("Central can't be told of the point, trying again: %v", in.Err)
		}
		return
	}
	if r.told {
		m.say("Central is told of the point again")
	}
	r.failures, r.told, r.pause, r.retryAt = 0, false, 0, 0
	for _, sent := range batch {
		switch sent := sent.(type) {
		case message.Registration:
			r.registerAt = now.Add(RegisterEvery)
		case message.Health:
			if sent.Status != message.HealthKO {
				r.faultTold = false
			}
			if !r.changedMeanwhile {
				r.healthAt = now.Add(m.settings.Lease / 3)
			}
		}
	}
}

// link has Central told what is true as soon as the broker is there again.
func (m *Monitor) link(in Link, now domain.UnixMillis) {
	r := &m.reports
	if in.Up && !r.linkUp {
		r.failures, r.pause, r.retryAt, r.healthAt = 0, 0, 0, now
	}
	r.linkUp = in.Up
}

// slack is how much sooner than due a report may be sent: half of the second after which the
// clock is looked at again. What is due counts from an acknowledgement, a moment after a look;
// without slack each report would come a second late.
const slack = 500 * time.Millisecond
