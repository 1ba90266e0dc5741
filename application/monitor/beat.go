package monitor

import "evcharging/domain"

// beat asks the Engine, unless it is being asked.
func (m *Monitor) beat() {
	if !m.beating {
		m.beating, m.out.Beat = true, true
	}
}

func (m *Monitor) beaten(in Beaten, now domain.UnixMillis) {
	m.beating = false
	before := m.engine
	m.engine = in.Condition
	if before == in.Condition {
		return
	}
	switch in.Condition {
	case Healthy:
		m.say("the Engine works")
	case Faulty:
		m.warn("the Engine reports a fault")
	case Down:
		m.warn("%s", in.Reason)
	}
	// For Central a fault and no answer are the same. The first report is due anyway.
	if (before == Healthy) != (in.Condition == Healthy) {
		m.reports.changed(now)
	}
}
