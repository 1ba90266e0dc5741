package chargingpoint_test

import (
	"testing"
	"time"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

func TestReportHealth(t *testing.T) {
	const lease = 15 * time.Second
	type report = chargingpoint.Report
	// what the reports give that come at noon + 1 minute
	var (
		connect  = chargingpoint.PointConnected{Lease: lease, ReportedAt: noon + minute}
		mend     = chargingpoint.FaultCleared{ReportedAt: noon + minute}
		fault    = chargingpoint.FaultReported{ReportedAt: noon + minute}
		register = at(noon, registered)
		lost     = at(noon+second, disconnected)
		broken   = at(noon, registered, connected, faulted)
	)
	for name, test := range map[string]struct {
		history []past
		report  report
		want    []chargingpoint.Event
		err     error
	}{
		"the first, all is well":        {[]past{register}, report{Healthy: true, Lease: lease}, []chargingpoint.Event{connect, mend}, nil},
		"the first, a fault":            {[]past{register}, report{Lease: lease}, []chargingpoint.Event{connect, fault}, nil},
		"it overtakes the registration": {nil, report{Healthy: true, Lease: lease}, []chargingpoint.Event{connect, mend}, nil},
		"no lease, as the reference's": {
			[]past{register},
			report{Healthy: true},
			[]chargingpoint.Event{chargingpoint.PointConnected{ReportedAt: noon + minute}, mend},
			nil,
		},
		"a sign of life and no more":        {[]past{ready}, report{Healthy: true, Lease: lease}, nil, chargingpoint.ErrUnchanged},
		"a fault that is known":             {[]past{broken}, report{Lease: lease}, nil, chargingpoint.ErrUnchanged},
		"a fault":                           {[]past{ready}, report{Lease: lease}, []chargingpoint.Event{fault}, nil},
		"a fault in a session":              {[]past{busy}, report{Lease: lease}, []chargingpoint.Event{fault}, nil},
		"a recovery":                        {[]past{broken}, report{Healthy: true, Lease: lease}, []chargingpoint.Event{mend}, nil},
		"another lease":                     {[]past{ready}, report{Healthy: true, Lease: time.Minute}, []chargingpoint.Event{chargingpoint.LeaseChanged{Lease: time.Minute}}, nil},
		"a lease given up":                  {[]past{ready}, report{Healthy: true}, []chargingpoint.Event{chargingpoint.LeaseChanged{}}, nil},
		"another lease and a fault":         {[]past{ready}, report{Lease: time.Minute}, []chargingpoint.Event{chargingpoint.LeaseChanged{Lease: time.Minute}, fault}, nil},
		"back after a loss, as it was":      {[]past{ready, lost}, report{Healthy: true, Lease: lease}, []chargingpoint.Event{connect}, nil},
		"back after a loss, broken":         {[]past{ready, lost}, report{Lease: lease}, []chargingpoint.Event{connect, fault}, nil},
		"back after a loss, another lease":  {[]past{ready, lost}, report{Healthy: true, Lease: time.Minute}, []chargingpoint.Event{chargingpoint.PointConnected{Lease: time.Minute, ReportedAt: noon + minute}}, nil},
		"as late as the last change":        {[]past{ready}, report{ReportedAt: noon, Lease: lease}, []chargingpoint.Event{chargingpoint.FaultReported{ReportedAt: noon}}, nil},
		"older than the last change":        {[]past{ready}, report{ReportedAt: noon - 1, Lease: lease}, nil, chargingpoint.ErrNotLater},
		"by a clock from 1970":              {[]past{ready}, report{ReportedAt: 1, Lease: lease}, nil, chargingpoint.ErrNotLater},
		"as late as the last heard":         {[]past{ready}, report{LastHeard: noon + minute, Lease: lease}, []chargingpoint.Event{fault}, nil},
		"older than the last heard":         {[]past{ready}, report{LastHeard: noon + minute + 1, Lease: lease}, nil, chargingpoint.ErrNotLater},
		"older than the last, back or not":  {[]past{ready, lost}, report{LastHeard: noon + minute + 1, Healthy: true, Lease: lease}, nil, chargingpoint.ErrNotLater},
		"older, and says nothing new":       {[]past{ready}, report{ReportedAt: noon - 1, Healthy: true, Lease: lease}, nil, chargingpoint.ErrNotLater},
		"a recovery that comes as OK twice": {[]past{ready, at(noon+1, faulted), at(noon+2, healthy)}, report{Healthy: true, Lease: lease}, nil, chargingpoint.ErrUnchanged},
	} {
		t.Run(name, func(t *testing.T) {
			r := test.report
			if r.ReportedAt == 0 {
				r.ReportedAt = noon + minute
			}
			s := given(t, test.history...).When(noon+hour, func(p *point) error { return p.ReportHealth(noon+hour, r) })
			if test.err != nil {
				s.ThenError(test.err)
			} else {
				s.Then(test.want...)
			}
		})
	}
}

// A fault and its recovery that are read in the wrong order leave what was said last.
func TestReportHealthOutOfOrder(t *testing.T) {
	report := func(healthy bool, reportedAt domain.UnixMillis) func(*point) error {
		return func(p *point) error {
			return p.ReportHealth(noon+hour, chargingpoint.Report{Healthy: healthy, ReportedAt: reportedAt})
		}
	}
	s := given(t, at(noon, registered)).
		When(noon+hour, report(false, noon+10)).
		Then(chargingpoint.PointConnected{ReportedAt: noon + 10}, chargingpoint.FaultReported{ReportedAt: noon + 10}).
		When(noon+hour, report(true, noon+30)).
		Then(chargingpoint.FaultCleared{ReportedAt: noon + 30}).
		When(noon+hour, report(false, noon+20)).
		ThenError(chargingpoint.ErrNotLater)
	if s.Live.State() != chargingpoint.Activated {
		t.Errorf("the point is %s", s.Live.State())
	}
}
