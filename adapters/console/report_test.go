package console

import (
	"strings"
	"testing"
	"time"

	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

func TestReports(t *testing.T) {
	f := aDay(t)
	f.ago(0).apply("session-s-CP-003",
		session.SupplyEnded{Reason: "FINISHED", EnergyReported: 17_916_001},
		session.TicketIssued{
			Ticket: "ticket-1", StartedAt: noon.Add(-25 * time.Minute), EndedAt: noon, Energy: 17_916_001, Price: 450_000,
			Amount: domain.Cost(17_916_001, 450_000), Reason: "FINISHED",
		}).
		apply("point-CP-003", chargingpoint.PointReleased{Session: "s-CP-003"})
	revised := aDay(t).ago(0).apply("session-s-CP-007",
		session.TicketIssued{Ticket: "ticket-2", StartedAt: noon, EndedAt: noon, Energy: 740_000, Price: 250_000, Amount: 185_000, Reason: "STOP_BY_CENTRAL"},
		session.TicketRevised{Revision: 1, EnergyAfter: 750_000, AmountAfter: 187_500, Reason: "RECOVERED", EndedAt: noon})
	prices := []network.PriceChange{
		{Kind: network.PriceOwn, DecidedAt: noon, From: noon, Price: 300_000},
		{Kind: network.PriceSet, By: "ops@host", DecidedAt: noon.Add(time.Hour), From: noon.Add(time.Hour), Price: 425_500},
		{Kind: network.PriceOwn, DecidedAt: noon.Add(2 * time.Hour), From: noon.Add(2 * time.Hour), Price: 310_000, Covered: true},
		{Kind: network.PriceSet, By: "ops@host", DecidedAt: noon.Add(3 * time.Hour), From: noon.Add(24 * time.Hour), Price: 500_000, ReplacedAt: noon.Add(4 * time.Hour)},
		{Kind: network.PriceAuto, By: "ana@host", DecidedAt: noon.Add(4 * time.Hour), From: noon.Add(24 * time.Hour)},
	}
	unreadable := newFake(t).point("CP-1", "Sevilla", 300_000).granted("CP-1", "D-1")
	unreadable.CannotRead("session-s-CP-1", noon)
	unreadable.CannotRead("point-CP-2", noon)
	ticket := func(f *fake, id domain.SessionID) string {
		s, ok := f.Session(id)
		if !ok {
			t.Fatalf("there is no session %s", id)
		}
		return Ticket(s)
	}
	golden(t, "reports", strings.Join([]string{
		Points(f.Points()), Sessions(append(f.Open(), f.Closed(10)...)),
		ticket(f, "s-CP-003"), ticket(revised, "s-CP-007"), ticket(f, "s-CP-001"),
		Points(unreadable.Points()), Sessions(unreadable.Open()), Points(nil), Sessions(nil), Prices(nil), Prices(prices),
	}, "\n\n")+"\n")
}

func TestReportsAreCleanAndAligned(t *testing.T) {
	f := newFake(t).point("CP-1"+hostile, "東京"+hostile, 300_000).supplying("CP-1"+hostile, "D"+hostile, 1, 1)
	text := Points(f.Points()) + "\n" + Sessions(f.Open()) + "\n" + Ticket(f.Open()[0]) +
		"\n" + Prices([]network.PriceChange{{Kind: network.PriceSet, By: hostile}})
	for line := range strings.SplitSeq(text, "\n") {
		if line != clean(line) {
			t.Errorf("%q", line)
		}
	}
}

func TestASessionIsReported(t *testing.T) {
	f := aDay(t)
	f.ago(0).apply("session-s-CP-007",
		session.TicketIssued{Ticket: "ticket-2", StartedAt: noon, EndedAt: noon, Energy: 740_000, Price: 250_000, Amount: 185_000, Reason: "STOP_BY_CENTRAL"},
		session.TicketRevised{Revision: 1, EnergyAfter: 750_000, AmountAfter: 187_500, AmountDifference: 2_500, Reason: "RECOVERED", EndedAt: noon})
	refused := session.New("s-refused")
	if err := refused.Apply(noon, session.SupplyRefused{Point: "CP-005", Driver: "D-9", Request: "R-9", Origin: "driver", Reason: "OUT_OF_ORDER"}); err != nil {
		t.Fatal(err)
	}
	shown := []network.Session{network.ShowSession(refused, 1)}
	for _, id := range []domain.SessionID{"s-CP-001", "s-CP-004", "s-CP-007"} {
		s, ok := f.Session(id)
		if !ok {
			t.Fatalf("there is no session %s", id)
		}
		shown = append(shown, s)
	}
	text := Sessions(shown)
	for _, s := range shown {
		text += "\n\n" + Session(s)
	}
	golden(t, "sessions", text+"\n")
}
