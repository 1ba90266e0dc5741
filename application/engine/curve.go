package engine

import (
	"time"

	"evcharging/domain"
)

// MaxGap is the longest time between two steps that counts as supplied.
const MaxGap = 5 * time.Second

// joulesPerMilliwattHour × 1000: how many W × ms are one mWh.
const wattMillisPerMilliwattHour = 3600

// Curve is the simulated battery at the plug: empty at the start of each supply, and
// charged with MaxPower until it is four fifths full, then with less and less.
type Curve struct {
	// Battery is what it takes until it is full, at least 1 mWh.
	Battery domain.MilliwattHours
	// MaxPower is at least 1 W.
	MaxPower domain.Watts
}

// Power is what the battery takes when it has been charged with so much energy. It
// falls in a line towards a twentieth of MaxPower, so that a battery does get full.
func (c Curve) Power(charged domain.MilliwattHours) domain.Watts {
	if charged >= c.Battery {
		return 0
	}
	knee := c.Battery / 5 * 4
	if charged <= knee {
		return c.MaxPower
	}
	falling := int64(c.MaxPower) * int64(c.Battery-charged) / int64(c.Battery-knee)
	return max(domain.Watts(falling), c.MaxPower/20, 1)
}

// meter measures energy: it carries what is less than a milliwatt-hour.
type meter struct {
	energy domain.MilliwattHours
	// remainder is in W × ms, below one milliwatt-hour.
	remainder int64
	// at is the instant up to which energy was measured.
	at domain.UnixMillis
}

// run measures up to now, in a simulation that runs speed times as fast as the clock,
// and tells whether the battery is full.
func (m *meter) run(c Curve, speed int, now domain.UnixMillis) (full bool) {
	elapsed := min(max(now.Sub(m.at), 0), MaxGap)
	m.at = now
	m.remainder += int64(c.Power(m.energy)) * elapsed.Milliseconds() * int64(speed)
	m.energy += domain.MilliwattHours(m.remainder / wattMillisPerMilliwattHour)
	m.remainder %= wattMillisPerMilliwattHour
	if m.energy >= c.Battery {
		m.energy, m.remainder = c.Battery, 0
		return true
	}
	return false
}
