package driver_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	application "evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/cmd/internal/driver"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
)

var (
	of1 = application.Line{Number: 1, Of: 1, Point: "CP-1"}
	of3 = application.Line{Number: 2, Of: 3, Point: "CP-1"}
)

func TestEveryEventIsSaid(t *testing.T) {
	bill := &message.Ticket{
		ID: "T-1", Session: "S", Driver: "D", Point: "CP-1", StartedAt: 3_600_000, EndedAt: 3_661_000,
		Energy: 1_234_567, Price: 301_234, Amount: 371_894, Reason: "FINISHED",
	}
	served := application.Supply{Point: "CP-1", Verdict: application.Served, Energy: 1_000_000, Amount: 300_000, Reason: "FINISHED"}
	billed := served
	billed.Ticket = "T-1"
	revised := billed
	revised.Revision, revised.Energy, revised.Amount, revised.Reason = 1, 1_500_000, 450_001, "RECOVERED"
	lateBill := *bill
	lateBill.Revision, lateBill.Energy, lateBill.Amount = 1, 1_500_000, 450_001
	lateBill.Revised = message.Revised{EnergyBefore: 1_000_000, AmountBefore: 300_000, Difference: 150_001, Reason: "RECOVERED"}
	granted := application.Supply{Verdict: application.NotServed, Session: "S", Reason: application.CentralSilent}
	tests := map[string]struct {
		event application.Event
		want  string
	}{
		"asked again":          {application.Asked{Line: of1, Request: "R", Again: true}, "CP-1: asking once more, for the request may not have been sent (request R)"},
		"not sent":             {application.SendFailed{Line: of3, Err: errors.New("no such topic")}, "CP-1 (2 of 3): the request can't be sent, trying again: no such topic"},
		"Central is silent":    {application.CentralQuiet{Line: of1, GivesUpIn: 55 * time.Second}, "CP-1: Central does not answer; waiting 55s more"},
		"a grant without more": {application.Granted{Line: of1}, "CP-1: granted"},
		"no energy is known":   {application.Supplying{Line: of1, Power: 7_200, Amount: 3, First: true}, "CP-1: supplying 7.2 kW, 0.000003 EUR"},
		"the point waits":      {application.PointQuiet{Line: of1}, "CP-1: the point has not begun; plug in if it waits for that"},
		"the point is silent":  {application.PointQuiet{Line: of1, Begun: true}, "CP-1: the point does not report any more"},
		"a ticket": {
			application.Concluded{Line: of1, Supply: billed, Ticket: bill, NextIn: -1},
			"CP-1: ticket T-1: 1.234567 kWh at 0.301234 EUR/kWh, 0.371894 EUR, FINISHED, from 01:00:00 to 01:01:01",
		},
		"no ticket": {
			application.Concluded{Line: of1, Supply: served, NextIn: -1},
			"CP-1: no ticket has come; as the point reported it: 1 kWh, 0.3 EUR, FINISHED",
		},
		"a reason of somebody else's": {
			application.Concluded{Line: of1, Supply: application.Supply{Verdict: application.Refused, Reason: "CP ocupado"}, NextIn: -1},
			"CP-1: refused: CP ocupado",
		},
		"no reason": {
			application.Concluded{Line: of1, Supply: application.Supply{Verdict: application.Refused}, NextIn: -1},
			"CP-1: refused: no reason was given",
		},
		"not served": {
			application.Concluded{Line: of1, Supply: application.Supply{Verdict: application.NotServed, Reason: application.CentralSilent}, NextIn: -1},
			"CP-1: not served: Central did not answer within 1m0s",
		},
		"given up": {
			application.Concluded{Line: of1, Supply: application.Supply{Verdict: application.Failed, Reason: application.PointSilent, Energy: 1, Amount: 2}, NextIn: -1},
			"CP-1: given up: nothing was heard of the supply for 10m0s; last reported: 0.000001 kWh, 0.000002 EUR",
		},
		"the ticket came late": {application.Corrected{Line: of3, Before: served, After: billed}, "CP-1 (2 of 3): ticket T-1: as the point reported it"},
		"a revision": {
			application.Corrected{Line: of3, Before: billed, After: revised},
			"CP-1 (2 of 3): ticket T-1, revision 1: 1.5 kWh (+0.5), 0.450001 EUR (+0.150001), RECOVERED",
		},
		"a revision, and why": {
			application.Corrected{Line: of3, Before: billed, After: func() application.Supply { s := revised; s.Reason = "FINISHED"; return s }(), Ticket: &lateBill},
			"CP-1 (2 of 3): ticket T-1, revision 1: 1.5 kWh (+0.5), 0.450001 EUR (+0.150001), FINISHED, revised for a late RECOVERED",
		},
		"a revision is the first ticket that comes": {
			application.Concluded{Line: of1, Supply: revised, Ticket: &lateBill, NextIn: -1},
			"CP-1: ticket T-1, revision 1: 1.5 kWh at 0.301234 EUR/kWh, 0.450001 EUR, FINISHED, from 01:00:00 to 01:01:01, revised for a late RECOVERED; before it 1 kWh, 0.3 EUR (+0.150001)",
		},
		"a lower one": {
			application.Corrected{Line: of3, Before: revised, After: billed},
			"CP-1 (2 of 3): ticket T-1: 1 kWh (-0.5), 0.3 EUR (-0.150001), FINISHED",
		},
		"granted after all":     {application.Corrected{Line: of3, After: granted}, "CP-1 (2 of 3): Central's answer after all: granted, session S"},
		"refused after all":     {application.Corrected{Line: of3, After: application.Supply{Verdict: application.Refused, Reason: "EXPIRED"}}, "CP-1 (2 of 3): Central's answer after all: refused, the request was too old when Central came to it"},
		"the log says this one": {application.BrokerLost{Reason: "x"}, ""},
		"and this one":          {application.BrokerFound{}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newScreen(false, "")
			s.Show(0, test.event)
			var want []string
			if test.want != "" {
				want = []string{"- " + test.want}
			}
			same(t, s.lines(), want...)
		})
	}
}

func TestWithoutATerminalALineEveryTenSeconds(t *testing.T) {
	s := newScreen(false, "")
	for i := range 25 {
		energy := domain.MilliwattHours(i) * 1000
		s.Show(domain.UnixMillis(1+i)*1000, application.Supplying{Line: of1, Energy: &energy, First: i == 0})
	}
	same(t, s.lines(),
		"CP-1: supplying 0 kW, 0 kWh, 0 EUR", "CP-1: supplying 0 kW, 0.01 kWh, 0 EUR", "CP-1: supplying 0 kW, 0.02 kWh, 0 EUR")
}

func TestALogLineDoesNotBreakTheLiveLine(t *testing.T) {
	var text bytes.Buffer
	s := driver.NewScreen(&text, true, false, "")
	logger := slog.New(program.NewLineHandler(s.Log(&text), slog.LevelInfo))
	s.Show(1000, application.Supplying{Line: of1})
	logger.Warn("the broker is away")
	s.Show(2000, application.Supplying{Line: of1})
	got := text.String()
	if i := strings.Index(got, "EUR\r\x1b[K"); i < 0 || !strings.Contains(got[i:], "WARN the broker is away\n\r\x1b[K00:00:02 CP-1") {
		t.Errorf("got %q", got)
	}
}

func TestColours(t *testing.T) {
	for coloured, want := range map[bool]string{
		true:  "00:00:01 \x1b[31mCP-1: refused: the point is broken\x1b[0m\n",
		false: "00:00:01 CP-1: refused: the point is broken\n",
	} {
		var text bytes.Buffer
		driver.NewScreen(&text, true, coloured, "").Show(1000, application.Concluded{Line: of1, Supply: application.Supply{Verdict: application.Refused, Reason: "BROKEN"}, NextIn: -1})
		if got := text.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestUnserved(t *testing.T) {
	for e, want := range map[driver.UnservedError]string{
		{Unserved: 1, Of: 1}: "the supply was refused or failed",
		{Unserved: 2, Of: 5}: "2 of 5 supplies were refused or failed",
	} {
		if got := fmt.Sprint(&e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
