package session_test

import (
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/domaintest"
	"evcharging/domain/session"
)

// errorNames are the errors as the table in doc.go names them.
var errorNames = map[string]error{
	"chargingpoint.ErrNotLater":      chargingpoint.ErrNotLater,
	"chargingpoint.ErrUnchanged":     chargingpoint.ErrUnchanged,
	"chargingpoint.ErrProof":         chargingpoint.ErrProof,
	"chargingpoint.ErrUnknownPoint":  chargingpoint.ErrUnknownPoint,
	"chargingpoint.Refusal":          chargingpoint.RefusedDisconnected,
	"chargingpoint.ErrStopRecent":    chargingpoint.ErrStopRecent,
	"chargingpoint.ErrNotOccupiedBy": chargingpoint.ErrNotOccupiedBy,
	"chargingpoint.ErrDeadlineGone":  chargingpoint.ErrDeadlineGone,
	"chargingpoint.ErrScheduleFull":  chargingpoint.ErrScheduleFull,
	"domain.ErrNotANumber":           domain.ErrNotANumber,
	"domain.ErrOutOfRange":           domain.ErrOutOfRange,
	"domain.ErrID":                   domain.ErrID,
	"ErrAlreadyAnswered":             session.ErrAlreadyAnswered,
	"ErrUnknownSession":              session.ErrUnknownSession,
	"ErrForeignPoint":                session.ErrForeignPoint,
	"ErrForeignDriver":               session.ErrForeignDriver,
	"ErrNotNewer":                    session.ErrNotNewer,
	"ErrRunsBackwards":               session.ErrRunsBackwards,
	"ErrClosed":                      session.ErrClosed,
	"ErrDeadlineGone":                session.ErrDeadlineGone,
	"ErrAlreadyEnding":               session.ErrAlreadyEnding,
	"–":                              nil,
}

var points = domaintest.Kit[*chargingpoint.Point, chargingpoint.Event]{
	New: func() *chargingpoint.Point { return chargingpoint.New("CP-1") },
}

// Each row of the table in doc.go is carried out under its own name, and has the error that
// the table says; a row without a test, or a test without a row, fails.
func TestTable(t *testing.T) {
	type (
		pointPast  = domaintest.Past[chargingpoint.Event]
		onPoint    = func(*chargingpoint.Point) error
		onSession  = func(*session.Session) error
		parse      = func() error
		pointRow   = map[string]onPoint
		sessionRow = map[string]onSession
		parseRow   = map[string]parse
	)
	const now = noon + minute
	var (
		ready = pointPast{At: noon, Events: []chargingpoint.Event{
			chargingpoint.PointRegistered{Location: "L", Price: price, RecordedAt: noon, ProofAt: noon},
			chargingpoint.PointConnected{Lease: 15 * time.Second, ReportedAt: noon},
			chargingpoint.FaultCleared{ReportedAt: noon},
		}}
		operated = pointPast{At: noon, Events: []chargingpoint.Event{
			chargingpoint.TakenOutOfService{RecordedAt: noon, Order: 1}, chargingpoint.PriceSet{Price: price},
		}}
		occupied = pointPast{At: noon, Events: []chargingpoint.Event{chargingpoint.PointOccupied{Session: "S-2", Driver: "D-2", Order: 3}}}
		stopped  = pointPast{At: now - 9*second, Events: []chargingpoint.Event{chargingpoint.StopOrdered{Session: "S-1", Order: 2}}}
		planned  = pointPast{At: noon, Events: []chargingpoint.Event{chargingpoint.PriceSet{Price: price, From: now}}}
		full     = pointPast{At: noon}
		lost     = pointPast{At: noon, Events: []chargingpoint.Event{chargingpoint.PointDisconnected{LastHeard: noon}}}

		register = func(price domain.MicroEurosPerKWh, recordedAt domain.UnixMillis, proof chargingpoint.Proof) onPoint {
			return func(p *chargingpoint.Point) error { return p.Register(now, "L", price, recordedAt, proof) }
		}
		health = func(healthy bool, lease time.Duration, reportedAt, lastHeard domain.UnixMillis) onPoint {
			return func(p *chargingpoint.Point) error {
				return p.ReportHealth(now, chargingpoint.Report{Healthy: healthy, Lease: lease, ReportedAt: reportedAt, LastHeard: lastHeard})
			}
		}
		out = func(at domain.UnixMillis) onPoint {
			return func(p *chargingpoint.Point) error { return p.TakeOutOfService(now, at, "op") }
		}
		back = func(at domain.UnixMillis) onPoint {
			return func(p *chargingpoint.Point) error { return p.ReturnToService(now, at, "op") }
		}
		set    = func(p *chargingpoint.Point) error { return p.SetPrice(now, 0, price, "op") }
		hand   = func(p *chargingpoint.Point) error { return p.HandBackPrice(now, 0, "op") }
		occupy = func(p *chargingpoint.Point) error {
			_, err := p.Occupy(now, chargingpoint.Request{Heard: true})
			return err
		}
		effect = func(from domain.UnixMillis) onPoint {
			return func(p *chargingpoint.Point) error { return p.TakePriceEffect(now, from) }
		}
		again = func(p *chargingpoint.Point) error { return p.OrderStopAgain(now, "S-1", "KO") }
		lose  = func(lastHeard domain.UnixMillis) onPoint {
			return func(p *chargingpoint.Point) error { return p.LoseContact(now, lastHeard, noon) }
		}

		more       = value(59, 6*kWh)
		foreign    = value(59, 6*kWh)
		driverless = value(59, 6*kWh)
		recovered  = final(59, 6*kWh)
		notOurs    = final(59, 6*kWh)
		notTheirs  = final(59, 6*kWh)
	)
	for i := range domain.UnixMillis(chargingpoint.MaxScheduled) {
		full.Events = append(full.Events, chargingpoint.PriceSet{Price: price, From: now + 1 + i})
	}
	foreign.Point, driverless.Driver = "CP-2", "D-2"
	notOurs.Point, notTheirs.Driver = "CP-2", "D-2"
	skewed := more
	skewed.At, skewed.Source.Timestamp = 1, noon+59*second
	skewedDone := recovered
	skewedDone.At = noon + day

	tests := map[string]struct {
		points   []pointPast
		sessions []past
		run      any
	}{
		"registration, older than the known one": {points: []pointPast{ready}, run: pointRow{"new price": register(1, noon-1, chargingpoint.Proof{})}},
		"registration that says nothing new":     {points: []pointPast{ready}, run: pointRow{"the same": register(price, now, chargingpoint.Proof{})}},
		"registration without a valid or a newer proof": {points: []pointPast{ready}, run: pointRow{
			"invalid": register(1, now, chargingpoint.Proof{Required: true, At: now}),
			"used":    register(1, now, chargingpoint.Proof{Required: true, Valid: true, At: noon}),
		}},
		"health report, older than the last heard": {points: []pointPast{ready}, run: pointRow{
			"older than a change":       health(false, 0, noon-1, 0),
			"older than a sign of life": health(false, 0, now, now+1),
		}},
		"health report that says nothing new":       {points: []pointPast{ready}, run: pointRow{"the same": health(true, 15*time.Second, now, noon)}},
		"stop or resume, older than the last":       {points: []pointPast{ready, operated}, run: pointRow{"stop": out(noon - 1), "resume": back(noon - 1)}},
		"stop, resume or price, true already":       {points: []pointPast{ready, operated}, run: pointRow{"stop": out(now), "price": set}},
		"stop, resume or price of an unknown point": {run: pointRow{"stop": out(now), "resume": back(now), "price": set, "price handed back": hand}},
		"request that a point can't be granted for": {points: []pointPast{ready, lost}, run: pointRow{"disconnected": occupy}},
		"request that was answered":                 {sessions: []past{granted}, run: sessionRow{"granted": authorize, "refused": refuse}},
		"figure that is no number": {run: parseRow{
			"energy": func() error { _, err := domain.ParseKWh("NaN"); return err },
			"price":  func() error { _, err := domain.ParsePrice(`"0.30"`); return err },
		}},
		"figure, negative or beyond its limit": {run: parseRow{
			"energy, negative": func() error { _, err := domain.ParseKWh("-0.1"); return err },
			"energy, absurd":   func() error { _, err := domain.ParseKWh("9001"); return err },
			"power, negative":  func() error { _, err := domain.ParseKW("-7"); return err },
			"power, absurd":    func() error { _, err := domain.ParseKW("1e9"); return err },
			"money, negative":  func() error { _, err := domain.ParseEUR("-0.01"); return err },
			"money, absurd":    func() error { _, err := domain.ParseEUR("1e300"); return err },
			"price, negative":  func() error { _, err := domain.ParsePrice("-0.3"); return err },
			"price, absurd":    func() error { _, err := domain.ParsePrice("1000.01"); return err },
		}},
		"id of another form":                   {run: parseRow{"point": func() error { return domain.CheckID(domain.PointID("CP 1")) }}},
		"sample or done of an unknown session": {run: sessionRow{"sample": record(now, more), "done": report(now, recovered)}},
		"sample or done of another point's session": {sessions: []past{granted, supplying}, run: sessionRow{
			"sample": record(now, foreign), "done": report(now, notOurs),
		}},
		"sample or done with another driver": {sessions: []past{granted, supplying}, run: sessionRow{
			"sample": record(now, driverless), "done": report(now, notTheirs),
		}},
		"sample, repeated, late or out of order": {
			sessions: []past{granted, supplying, at(noon+5*second, recorded(noon+5*second, value(5, 3*kWh), 3*kWh, 3*kWh))},
			run: sessionRow{
				"repeated": record(now, value(5, 3*kWh)), "out of order": record(now, value(4, 3*kWh)), "unnumbered, late": record(now, bare(4, euro)),
			},
		},
		"sample with less energy than before":        {sessions: []past{granted, supplying}, run: sessionRow{"less": record(now, value(2, kWh))}},
		"sample whose amount gives an absurd energy": {sessions: []past{granted, supplying}, run: sessionRow{"absurd": record(now, bare(2, 9_000_000*euro))}},
		"sample or done by a clock that can't be right": {sessions: []past{granted, supplying}, run: sessionRow{
			"sample of 1970": record(now, skewed), "done of tomorrow": report(now, skewedDone),
		}},
		"sample of a closed session":                     {sessions: []past{granted, supplying, closed}, run: sessionRow{"late": record(now, more)}},
		"stop again, less than 10 s after the last stop": {points: []pointPast{ready, stopped}, run: pointRow{"9 s": again}},
		"stop again, while another session is there":     {points: []pointPast{ready, occupied}, run: pointRow{"another": again}},
		"done of a closed session, no more than billed": {sessions: []past{granted, supplying, closed}, run: sessionRow{
			"as much": report(now, final(60, 5*kWh)), "zeros": report(now, final(60, 0)),
		}},
		"done of a closed session, more than billed": {sessions: []past{granted, supplying, closed}, run: sessionRow{"more": report(now, recovered)}},
		"deadline that does not stand any more": {sessions: []past{granted, supplying}, run: sessionRow{
			"taken up": pass(now, session.TakeUp, noon+minute, noon),
		}},
		"scheduled price that does not stand any more": {points: []pointPast{ready, planned}, run: pointRow{
			"another instant": effect(now - 1), "never scheduled": effect(0),
		}},
		"price change, where 100 are to come before it": {points: []pointPast{ready, full}, run: pointRow{
			"set": func(p *chargingpoint.Point) error { return p.SetPrice(now, noon+day, price+1, "op") },
		}},
		"lease that does not stand any more": {points: []pointPast{ready}, run: pointRow{"heard meanwhile": lose(now)}},
		"second cause of an end":             {sessions: []past{granted, ending}, run: sessionRow{"stopped after a fault": end(now, session.CauseStopped)}},
	}

	documented := map[string]bool{}
	for _, row := range tableOfDoc(t) {
		documented[row.input] = true
		test, ok := tests[row.input]
		if !ok {
			t.Errorf("row %q of the table has no test", row.input)
			continue
		}
		want, named := errorNames[row.err]
		if !named {
			t.Errorf("row %q names %s, which is no error", row.input, row.err)
			continue
		}
		t.Run(row.input, func(t *testing.T) {
			switch cases := test.run.(type) {
			case pointRow:
				for name, command := range cases {
					t.Run(name, func(t *testing.T) { points.Given(t, test.points...).When(now, command).ThenError(want) })
				}
			case sessionRow:
				for name, command := range cases {
					t.Run(name, func(t *testing.T) {
						s := given(t, test.sessions...)
						if want == nil {
							take(s, now, func(s *session.Session) error {
								err := command(s)
								if err != nil {
									t.Errorf("the command failed: %v", err)
								}
								return err
							})
							return
						}
						s.When(now, command).ThenError(want)
					})
				}
			case parseRow:
				for name, parse := range cases {
					t.Run(name, func(t *testing.T) {
						points.Given(t).When(now, func(*chargingpoint.Point) error { return parse() }).ThenError(want)
					})
				}
			}
		})
	}
	for input := range tests {
		if !documented[input] {
			t.Errorf("%q is tested, and no row of the table", input)
		}
	}
}

type tableRow struct{ input, err, done string }

// tableOfDoc is the table in the package's comment.
func tableOfDoc(t *testing.T) []tableRow {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "doc.go", text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	columns := regexp.MustCompile(`\s{2,}`)
	var rows []tableRow
	for line := range strings.Lines(file.Doc.Text()) {
		cells := columns.Split(strings.TrimSpace(line), -1)
		if strings.HasPrefix(line, "\t") && len(cells) == 3 && cells[0] != "Input" {
			rows = append(rows, tableRow{cells[0], cells[1], cells[2]})
		}
	}
	if len(rows) < 20 {
		t.Fatalf("doc.go has a table of %d rows", len(rows))
	}
	return rows
}
