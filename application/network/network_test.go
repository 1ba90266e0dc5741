package network_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"evcharging/application/eventlog"
	"evcharging/application/network"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

const (
	kWh   domain.MilliwattHours   = 1_000_000
	price domain.MicroEurosPerKWh = 300_000
)

// history feeds a network stream by stream, counting the versions.
type history struct {
	*network.Network
	t        testing.TB
	versions map[eventlog.Stream]eventlog.Version
	now      domain.UnixMillis
}

func given(t testing.TB) *history {
	return &history{Network: network.New(), t: t, versions: map[eventlog.Stream]eventlog.Version{}, now: 1_000}
}

func (h *history) apply(stream eventlog.Stream, events ...any) *history {
	h.t.Helper()
	if err := h.Apply(stream, h.versions[stream]+1, h.now, events...); err != nil {
		h.t.Fatalf("Apply to %s: %v", stream, err)
	}
	h.versions[stream] += eventlog.Version(len(events))
	return h
}

func (h *history) at(t domain.UnixMillis) *history { h.now = t; return h }

// working is a point that is registered, connected, healthy and heard.
func (h *history) working(id domain.PointID) *history {
	h.apply(pointStream(id),
		chargingpoint.PointRegistered{Location: "Sevilla", Price: price},
		chargingpoint.PointConnected{Lease: 15 * time.Second},
		chargingpoint.FaultCleared{})
	h.Heard(id, h.now)
	return h
}

func (h *history) granted(point domain.PointID, driver domain.DriverID, id domain.SessionID) *history {
	return h.
		apply(pointStream(point), chargingpoint.PointOccupied{Session: id, Driver: driver}).
		apply(sessionStream(id), session.SupplyAuthorized{Point: point, Driver: driver, Price: price})
}

func (h *history) supplied(id domain.SessionID, energy domain.MilliwattHours, power domain.Watts) *history {
	if s, _ := h.Session(id); s.Status == session.Authorized {
		h.apply(sessionStream(id), session.SupplyStarted{At: h.now})
	}
	return h.apply(sessionStream(id), session.MeterValueRecorded{Energy: energy, Measured: energy, Power: power, At: h.now})
}

func (h *history) closed(point domain.PointID, id domain.SessionID, energy domain.MilliwattHours) *history {
	return h.
		apply(sessionStream(id),
			session.SupplyEnded{Reason: "FINISHED", EnergyReported: energy},
			session.TicketIssued{Ticket: "T", Energy: energy, Price: price, Amount: domain.Cost(energy, price), Reason: "FINISHED"}).
		apply(pointStream(point), chargingpoint.PointReleased{Session: id})
}

func pointStream(id domain.PointID) eventlog.Stream { return eventlog.Stream("point-" + string(id)) }

func sessionStream(id domain.SessionID) eventlog.Stream {
	return eventlog.Stream("session-" + string(id))
}

func (h *history) shown(id domain.PointID) network.Point {
	h.t.Helper()
	p, ok := h.Point(id)
	if !ok {
		h.t.Fatalf("there is no point %s", id)
	}
	return p
}

func (h *history) counts() network.Counts { return h.Snapshot(network.Window{}).Counts }

func (h *history) lastMessage() network.Message {
	h.t.Helper()
	all := h.Messages(0)
	if len(all) == 0 {
		h.t.Fatal("there is no message")
	}
	return all[len(all)-1]
}

func TestAPointIsShownByItsFacts(t *testing.T) {
	out := chargingpoint.TakenOutOfService{By: "operator"}
	for _, c := range []struct {
		name   string
		events []any
		state  chargingpoint.State
		counts network.Counts
	}{
		{"healthy and heard", nil, chargingpoint.Activated, network.Counts{Activated: 1}},
		{"stopped", []any{out}, chargingpoint.OutOfOrder, network.Counts{OutOfOrder: 1}},
		{"stopped and resumed", []any{out, chargingpoint.ReturnedToService{}}, chargingpoint.Activated, network.Counts{Activated: 1}},
		{"broken while stopped", []any{out, chargingpoint.FaultReported{}}, chargingpoint.Broken, network.Counts{Broken: 1}},
		{"occupied", []any{chargingpoint.PointOccupied{Session: "s", Driver: "D-7"}}, chargingpoint.Supplying, network.Counts{Supplying: 1}},
		{
			"disconnected while occupied",
			[]any{chargingpoint.PointOccupied{Session: "s"}, chargingpoint.PointDisconnected{}},
			chargingpoint.Disconnected,
			network.Counts{Disconnected: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := given(t).at(1_000).working("CP-1").at(5_000).apply("point-CP-1", c.events...)
			p := h.shown("CP-1")
			if p.State != c.state || h.counts() != c.counts {
				t.Fatalf("shown as %s, counted %+v", p.State, h.counts())
			}
			wantSince := domain.UnixMillis(5_000)
			if c.events == nil || len(c.events) == 2 && c.state == chargingpoint.Activated {
				wantSince = p.Since // it left the state and came back, or never left it
			}
			if p.Since != wantSince || p.Location != "Sevilla" || p.Price != price {
				t.Fatalf("shown %+v", p)
			}
		})
	}
}

func TestAPointThatWasNotHeardIsGreyUntilItIs(t *testing.T) {
	// given a log that has it connected with a lease
	h := given(t).apply("point-CP-1",
		chargingpoint.PointRegistered{Location: "Sevilla", Price: price},
		chargingpoint.PointConnected{Lease: 15 * time.Second},
		chargingpoint.FaultCleared{})
	if p := h.shown("CP-1"); p.State != chargingpoint.Disconnected || !p.NotHeard || h.counts().Disconnected != 1 {
		t.Fatalf("before it is heard it is shown %+v", p)
	}
	before := h.Changed()
	// when it is heard
	h.Heard("CP-1", 9_000)
	if p := h.shown("CP-1"); p.State != chargingpoint.Activated || p.NotHeard || p.Since != 9_000 || h.Changed() == before {
		t.Fatalf("once it is heard it is shown %+v", p)
	}
	// then hearing it again changes nothing
	before = h.Changed()
	h.Heard("CP-1", 10_000)
	if h.Changed() != before {
		t.Fatal("a second sign of life counts as a change")
	}
}

func TestAPointWithoutALeaseNeedsNotBeHeard(t *testing.T) {
	h := given(t).apply("point-CP-1",
		chargingpoint.PointRegistered{}, chargingpoint.PointConnected{}, chargingpoint.FaultCleared{})
	if p := h.shown("CP-1"); p.State != chargingpoint.Activated || p.NotHeard {
		t.Fatalf("shown %+v", p)
	}
}

func TestAPointIsListedOnceItHasRegistered(t *testing.T) {
	h := given(t).apply("point-CP-1", chargingpoint.PointConnected{}, chargingpoint.FaultCleared{})
	h.Heard("CP-0", 1)
	if _, ok := h.Point("CP-1"); ok || len(h.Points()) != 0 || h.counts().Total() != 0 {
		t.Fatal("a point that never registered is listed")
	}
	h.apply("point-CP-1", chargingpoint.PointRegistered{Location: "Jerez"})
	if p := h.shown("CP-1"); p.State != chargingpoint.Activated || h.counts().Total() != 1 {
		t.Fatalf("shown %+v", p)
	}
	h.apply("point-CP-1", chargingpoint.PointRegistered{Location: "Cádiz"})
	if len(h.Points()) != 1 || h.shown("CP-1").Location != "Cádiz" {
		t.Fatalf("after a second registration there is %+v", h.Points())
	}
}

func TestPointsAreInOrderOfTheirIDs(t *testing.T) {
	h := given(t)
	for _, id := range []domain.PointID{"CP-3", "CP-1", "CP-2"} {
		h.working(id)
	}
	var ids []domain.PointID
	for _, p := range h.Points() {
		ids = append(ids, p.ID)
	}
	if !slices.Equal(ids, []domain.PointID{"CP-1", "CP-2", "CP-3"}) {
		t.Fatalf("the points are %v", ids)
	}
}

func TestAnOperatorsPriceStandsAndIsMarked(t *testing.T) {
	h := given(t).working("CP-1").apply("point-CP-1", chargingpoint.PriceSet{Price: 420_000, By: "operator"})
	if p := h.shown("CP-1"); p.Price != 420_000 || !p.PriceSet {
		t.Fatalf("shown %+v", p)
	}
	h.apply("point-CP-1", chargingpoint.PriceHandedBack{})
	if p := h.shown("CP-1"); p.Price != price || p.PriceSet {
		t.Fatalf("handed back it is shown %+v", p)
	}
}

func TestAScheduledPriceIsShownOnceItCounts(t *testing.T) {
	h := given(t).working("CP-1").apply("point-CP-1", chargingpoint.PriceSet{Price: 420_000, By: "ops", From: 5_000})
	if p := h.shown("CP-1"); p.Price != price || p.PriceSet {
		t.Fatalf("scheduled it is shown %+v", p)
	}
	h.at(5_001).apply("point-CP-1", chargingpoint.PriceTookEffect{From: 5_000})
	if p := h.shown("CP-1"); p.Price != 420_000 || !p.PriceSet {
		t.Fatalf("afterwards it is shown %+v", p)
	}
}

func TestTheHistoryOfAPrice(t *testing.T) {
	var prices network.Prices
	apply := func(at domain.UnixMillis, events ...any) {
		t.Helper()
		for _, e := range events {
			if err := prices.Apply(at, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	apply(1, chargingpoint.PointConnected{}, chargingpoint.PointRegistered{Location: "Sevilla", Price: 30})
	apply(2, chargingpoint.PointRegistered{Location: "Jerez", Price: 30}) // the same price
	apply(3, chargingpoint.PointRegistered{Location: "Jerez", Price: 31})
	apply(4, chargingpoint.PriceSet{Price: 42, By: "ana"})
	apply(5, chargingpoint.PointRegistered{Location: "Jerez", Price: 32}) // under an operator's
	apply(6, chargingpoint.PriceSet{Price: 50, By: "ana", From: 10})
	apply(7, chargingpoint.PriceSet{Price: 60, By: "ana", From: 20})
	apply(8, chargingpoint.PriceHandedBack{By: "ben", From: 20}) // instead of the one before
	apply(10, chargingpoint.PriceTookEffect{From: 10}, chargingpoint.PointDisconnected{})
	apply(11, chargingpoint.PriceSet{Price: 70, By: "eva", From: 30})
	apply(25, chargingpoint.PriceSet{Price: 80, By: "eva"}) // ben's has counted, unnoticed
	apply(26, chargingpoint.PriceHandedBack{By: "eva"})
	want := []network.PriceChange{
		{Kind: network.PriceOwn, DecidedAt: 1, From: 1, Price: 30},
		{Kind: network.PriceOwn, DecidedAt: 3, From: 3, Price: 31},
		{Kind: network.PriceSet, By: "ana", DecidedAt: 4, From: 4, Price: 42},
		{Kind: network.PriceOwn, DecidedAt: 5, From: 5, Price: 32, Covered: true},
		{Kind: network.PriceSet, By: "ana", DecidedAt: 6, From: 10, Price: 50},
		{Kind: network.PriceSet, By: "ana", DecidedAt: 7, From: 20, Price: 60, ReplacedAt: 8},
		{Kind: network.PriceAuto, By: "ben", DecidedAt: 8, From: 20},
		{Kind: network.PriceSet, By: "eva", DecidedAt: 11, From: 30, Price: 70, ReplacedAt: 25},
		{Kind: network.PriceSet, By: "eva", DecidedAt: 25, From: 25, Price: 80},
		{Kind: network.PriceAuto, By: "eva", DecidedAt: 26, From: 26},
	}
	got := prices.Changes()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("change %d of\n%+v\nwant\n%+v", i, got, want)
		}
	}
	if err := prices.Apply(27, session.SupplyStarted{}); !errors.Is(err, network.ErrUnknownEvent) {
		t.Errorf("a session's event: %v", err)
	}
	for i := range network.PriceLimit {
		apply(30, chargingpoint.PriceSet{Price: domain.MicroEurosPerKWh(100 + i)})
	}
	if got := prices.Changes(); len(got) != network.PriceLimit || got[0].Price != 100 {
		t.Errorf("%d changes are kept, from %+v on", len(got), got[0])
	}
}

func TestASupplyIsShownFromItsGrantToItsTicket(t *testing.T) {
	h := given(t).working("CP-1").at(2_000).granted("CP-1", "D-7", "s-1")
	if s := h.shown("CP-1").Supply; s == nil || s.Status != session.Authorized || s.Driver != "D-7" || s.Price != price {
		t.Fatalf("granted it is shown %+v", s)
	}
	h.at(3_000).supplied("s-1", 2*kWh, 11_000).at(4_000).supplied("s-1", 3*kWh, 7_400)
	s := h.shown("CP-1").Supply
	if s.Status != session.Supplying || s.Energy != 3*kWh || s.Amount != 900_000 || s.Power != 7_400 || s.StartedAt != 3_000 || s.ReportedAt != 4_000 {
		t.Fatalf("supplying it is shown %+v", s)
	}
	if sn := h.Snapshot(network.Window{}); sn.Power != 7_400 || sn.Open != 1 {
		t.Fatalf("the network draws %d W in %d sessions", sn.Power, sn.Open)
	}
	h.at(5_000).closed("CP-1", "s-1", 4*kWh)
	if p := h.shown("CP-1"); p.Supply != nil || p.State != chargingpoint.Activated {
		t.Fatalf("afterwards the point is shown %+v", p)
	}
	if sn := h.Snapshot(network.Window{}); sn.Power != 0 || sn.Open != 0 {
		t.Fatalf("afterwards the network draws %d W in %d sessions", sn.Power, sn.Open)
	}
	over := h.Closed(10)
	if len(over) != 1 || over[0].Ticket == nil || over[0].Amount != 1_200_000 || over[0].Power != 0 || over[0].Status != session.Closed {
		t.Fatalf("closed there is %+v", over)
	}
	// a revision corrects the ticket
	h.apply("session-s-1", session.TicketRevised{Revision: 1, EnergyAfter: 5 * kWh, AmountAfter: 1_500_000, AmountDifference: 300_000, Reason: "RECOVERED"})
	if s, _ := h.Session("s-1"); s.Ticket.Revision != 1 || s.Amount != 1_500_000 || len(s.Revisions) != 1 ||
		s.Revisions[0].Before != *over[0].Ticket || s.Revisions[0].After != *s.Ticket || s.Revisions[0].Reason != "RECOVERED" {
		t.Fatalf("revised it is %+v", s)
	}
	if m := h.lastMessage(); m.Level != network.Warning || m.Text != "ticket D-7 at CP-1 corrected: 5 kWh, 1.5 EUR, 0.3 EUR more, for a late RECOVERED" {
		t.Fatalf("the message is %q", m.Text)
	}
}

func TestAnOccupiedPointShowsItsDriverBeforeTheSessionIsKnown(t *testing.T) {
	h := given(t).working("CP-1").apply("point-CP-1", chargingpoint.PointOccupied{Session: "s-1", Driver: "D-7"})
	if s := h.shown("CP-1").Supply; s == nil || s.ID != "s-1" || s.Driver != "D-7" {
		t.Fatalf("shown %+v", s)
	}
}

func TestOldVersionsAreIgnored(t *testing.T) {
	h := given(t).working("CP-1").granted("CP-1", "D-7", "s-1").supplied("s-1", 2*kWh, 11_000)
	before, messages := h.Changed(), len(h.Messages(0))
	for stream, events := range map[eventlog.Stream][]any{
		"point-CP-1":  {chargingpoint.PointRegistered{Location: "elsewhere"}, chargingpoint.PointDisconnected{}},
		"session-s-1": {session.SupplyAuthorized{Point: "CP-9"}, session.SupplyStarted{}, session.MeterValueRecorded{Energy: kWh}},
	} {
		if err := h.Apply(stream, 1, 9_000, events...); err != nil {
			t.Fatal(err)
		}
	}
	if h.Changed() != before || len(h.Messages(0)) != messages || h.shown("CP-1").Location != "Sevilla" {
		t.Fatalf("an old part changed the network: %+v", h.shown("CP-1"))
	}
	// a part that begins with what is known is taken from what is new on
	v := h.versions["point-CP-1"]
	if err := h.Apply("point-CP-1", v, 9_000, chargingpoint.PointOccupied{Session: "s-9"}, chargingpoint.FaultReported{}); err != nil {
		t.Fatal(err)
	}
	if p := h.shown("CP-1"); p.State != chargingpoint.Broken || p.Supply.ID != "s-1" || p.Version != v+1 {
		t.Fatalf("shown %+v", p)
	}
}

func TestSamplesMayBeLeftOut(t *testing.T) {
	h := given(t).working("CP-1").granted("CP-1", "D-7", "s-1").supplied("s-1", kWh, 11_000)
	if err := h.Apply("session-s-1", 4_000, 9_000, session.MeterValueRecorded{Energy: 9 * kWh, Measured: 9 * kWh, Power: 5_000}); err != nil {
		t.Fatal(err)
	}
	if s := h.shown("CP-1").Supply; s.Energy != 9*kWh || s.Version != 4_000 {
		t.Fatalf("shown %+v", s)
	}
}

func TestOfASessionThatBeganUnseenNothingIsKept(t *testing.T) {
	h := given(t)
	if err := h.Apply("session-s-1", 7, 1, session.MeterValueRecorded{}, session.TicketIssued{}, session.TicketRevised{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.Session("s-1"); ok || len(h.Closed(10)) != 0 || h.Changed() != 0 {
		t.Fatal("it is kept")
	}
}

func TestARefusalIsAMessageAndNoSession(t *testing.T) {
	h := given(t).working("CP-1")
	for range 2 { // applied twice it is told once
		if err := h.Apply("session-s-2", 1, 2_000, session.SupplyRefused{Point: "CP-1", Driver: "D-8", Reason: "OCCUPIED"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := h.Session("s-2"); ok || len(h.Open())+len(h.Closed(10)) != 0 {
		t.Fatal("a refusal is listed as a session")
	}
	told := 0
	for _, m := range h.Messages(0) {
		if m.Text == "D-8 refused at CP-1: OCCUPIED" && m.Level == network.Warning && m.At == 2_000 {
			told++
		}
	}
	if told != 1 {
		t.Fatalf("the refusal is told %d times: %+v", told, h.Messages(0))
	}
}

func TestUnknownEventsAreAnError(t *testing.T) {
	for _, c := range []struct {
		stream eventlog.Stream
		event  any
	}{
		{"point-CP-1", session.SupplyStarted{}},
		{"session-s", chargingpoint.PointReleased{}},
		{"point-CP-1", "a text"},
		{"tariff-1", chargingpoint.PointReleased{}},
		{"", nil},
	} {
		if err := network.New().Apply(c.stream, 1, 1, c.event); !errors.Is(err, network.ErrUnknownEvent) {
			t.Errorf("%T in %q: %v", c.event, c.stream, err)
		}
	}
	h := given(t).working("CP-1").granted("CP-1", "D-7", "s-1")
	if err := h.Apply("session-s-1", 2, 1, session.TicketRevised{}); !errors.Is(err, network.ErrUnknownEvent) {
		t.Errorf("a revision without a ticket: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	h := given(t).working("CP-1")
	for i := range 3 * network.ClosedLimit {
		id := domain.SessionID(fmt.Sprintf("s-%d", i))
		h.granted("CP-1", "D-7", id).closed("CP-1", id, kWh)
		h.apply(sessionStream(domain.SessionID(fmt.Sprintf("r-%d", i))), session.SupplyRefused{Point: "CP-1", Driver: "D-8", Reason: "OCCUPIED"})
	}
	over := h.Closed(10 * network.ClosedLimit)
	if len(over) != network.ClosedLimit || over[0].ID != "s-2999" || over[len(over)-1].ID != "s-2000" {
		t.Fatalf("%d closed sessions are kept, from %s to %s", len(over), over[0].ID, over[len(over)-1].ID)
	}
	if _, ok := h.Session("s-1999"); ok {
		t.Fatal("a session that closed long ago is kept")
	}
	messages := h.Messages(0)
	if len(messages) != network.MessageLimit {
		t.Fatalf("%d messages are kept", len(messages))
	}
	for i, m := range messages[1:] {
		if m.Seq != messages[i].Seq+1 {
			t.Fatalf("message %d follows %d", m.Seq, messages[i].Seq)
		}
	}
	if newer := h.Messages(messages[len(messages)-1].Seq - 2); len(newer) != 2 {
		t.Fatalf("%d messages are newer than the last but two", len(newer))
	}
	if newer := h.Messages(messages[len(messages)-1].Seq + 5); len(newer) != 0 {
		t.Fatalf("%d messages are newer than the newest", len(newer))
	}
}

func TestAWindowShowsWhatPassesItsFilter(t *testing.T) {
	h := given(t).working("CP-1").working("CP-2").working("CP-3").working("EV-4")
	h.apply("point-CP-2", chargingpoint.FaultReported{})
	h.apply("point-EV-4", chargingpoint.PointRegistered{Location: "Málaga, ÁVILA 3", Price: price})
	h.granted("CP-3", "D-7", "s-1")
	h.apply("point-CP-1", chargingpoint.TakenOutOfService{})
	for filter, want := range map[string]string{
		"":              "CP-1 CP-2 CP-3 EV-4",
		"  ":            "CP-1 CP-2 CP-3 EV-4",
		"cp-":           "CP-1 CP-2 CP-3",
		"BROKEN":        "CP-2",
		"d-7":           "CP-3",
		"out of order":  "CP-1",
		"out_of_order":  "CP-1",
		"ávila":         "EV-4",
		"sevilla cp-3":  "CP-3",
		"sevilla ev-":   "",
		"nothing of it": "",
	} {
		s := h.Snapshot(network.Window{Filter: filter, Points: 10})
		var ids []string
		for _, p := range s.Points {
			ids = append(ids, string(p.ID))
		}
		if got := strings.Join(ids, " "); got != want || s.Matched != len(ids) {
			t.Errorf("%q shows %q, %d in all; want %q", filter, got, s.Matched, want)
		}
	}
}

func TestAWindowIsCutAtTheEnds(t *testing.T) {
	h := given(t)
	for i := range 10 {
		h.working(domain.PointID(fmt.Sprintf("CP-%d", i)))
	}
	for _, c := range []struct{ first, points, wantFirst, want int }{
		{0, 4, 0, 4}, {8, 4, 8, 2}, {12, 4, 10, 0}, {-3, 4, 0, 4}, {0, 0, 0, 0}, {0, -1, 0, 0},
	} {
		s := h.Snapshot(network.Window{First: c.first, Points: c.points, Messages: -1, Sessions: -1})
		if s.First != c.wantFirst || len(s.Points) != c.want || s.Matched != 10 {
			t.Errorf("from %d, %d points: %d from %d of %d", c.first, c.points, len(s.Points), s.First, s.Matched)
		}
	}
}

func TestOpenSessionsAreInOrderOfTheirGrant(t *testing.T) {
	h := given(t)
	for i, at := range []domain.UnixMillis{3_000, 1_000, 2_000, 2_000} {
		id := domain.PointID(fmt.Sprintf("CP-%d", i))
		h.at(500).working(id).at(at).granted(id, "D", domain.SessionID(fmt.Sprintf("s-%d", i)))
	}
	ids := func(ss []network.Session) (out []string) {
		for _, s := range ss {
			out = append(out, string(s.ID))
		}
		return out
	}
	if got := ids(h.Open()); !slices.Equal(got, []string{"s-1", "s-2", "s-3", "s-0"}) {
		t.Fatalf("oldest first they are %v", got)
	}
	if got := ids(h.Snapshot(network.Window{Sessions: 2}).Sessions); !slices.Equal(got, []string{"s-0", "s-3"}) {
		t.Fatalf("the newest two are %v", got)
	}
	h.closed("CP-2", "s-2", kWh)
	if got := ids(h.Open()); !slices.Equal(got, []string{"s-1", "s-3", "s-0"}) {
		t.Fatalf("after one has closed they are %v", got)
	}
}

func TestWhatPeopleRead(t *testing.T) {
	working := func(h *history) *history { return h.working("CP-1") }
	planned := func(h *history) *history {
		return h.working("CP-1").apply("point-CP-1", chargingpoint.PriceSet{Price: 500_000, From: 2_000}, chargingpoint.PriceHandedBack{From: 3_000})
	}
	for _, c := range []struct {
		given  func(*history) *history
		stream eventlog.Stream
		event  any
		level  network.Level
		text   string
	}{
		{nil, "point-CP-1", chargingpoint.PointRegistered{Location: "Sevilla", Price: 305_500}, network.Info, "CP-1 registered: Sevilla, 0.3055 EUR/kWh"},
		{working, "point-CP-1", chargingpoint.PointRegistered{Location: "Jerez", Price: price}, network.Info, "CP-1 registered anew: Jerez, 0.30 EUR/kWh"},
		{working, "point-CP-1", chargingpoint.PriceSet{Price: 420_000, By: "operator"}, network.Info, "CP-1 costs 0.42 EUR/kWh from now on, by operator"},
		{working, "point-CP-1", chargingpoint.PriceHandedBack{}, network.Info, "CP-1 costs what it says itself again"},
		{working, "point-CP-1", chargingpoint.PriceSet{Price: 420_000, By: "ops", From: 3_600_000}, network.Info, "CP-1 costs 0.42 EUR/kWh from 1970-01-01 01:00:00Z on, by ops"},
		{working, "point-CP-1", chargingpoint.PriceHandedBack{By: "ops", From: 3_600_000}, network.Info, "CP-1 costs what it says itself again from 1970-01-01 01:00:00Z on, by ops"},
		{planned, "point-CP-1", chargingpoint.PriceSet{Price: 420_000}, network.Info, "CP-1 costs 0.42 EUR/kWh from now on, in place of 2 changes that were scheduled"},
		{planned, "point-CP-1", chargingpoint.PriceHandedBack{}, network.Info, "CP-1 costs what it says itself again, in place of 2 changes that were scheduled"},
		{planned, "point-CP-1", chargingpoint.PriceSet{Price: 420_000, From: 3_000}, network.Info, "CP-1 costs 0.42 EUR/kWh from 1970-01-01 00:00:03Z on, in place of a change that was scheduled"},
		{planned, "point-CP-1", chargingpoint.PriceSet{Price: 420_000, From: 4_000}, network.Info, "CP-1 costs 0.42 EUR/kWh from 1970-01-01 00:00:04Z on"},
		{planned, "point-CP-1", chargingpoint.PriceTookEffect{From: 2_000}, network.Info, "CP-1 costs 0.50 EUR/kWh from now on, as scheduled"},
		{planned, "point-CP-1", chargingpoint.PriceTookEffect{From: 3_000}, network.Info, "CP-1 costs 0.30 EUR/kWh from now on, as scheduled"},
		{nil, "point-CP-1", chargingpoint.PointConnected{}, network.Info, "CP-1 connected"},
		{working, "point-CP-1", chargingpoint.PointDisconnected{Lease: 15 * time.Second}, network.Warning, "CP-1 disconnected: its Monitor was not heard for 15s"},
		{working, "point-CP-1", chargingpoint.FaultReported{}, network.Alert, "CP-1 broken"},
		{func(h *history) *history { return h.working("CP-1").apply("point-CP-1", chargingpoint.FaultReported{}) }, "point-CP-1", chargingpoint.FaultCleared{}, network.Info, "CP-1 works again"},
		{working, "point-CP-1", chargingpoint.TakenOutOfService{By: "operator"}, network.Warning, "CP-1 out of order, by operator"},
		{working, "point-CP-1", chargingpoint.ReturnedToService{By: "operator"}, network.Info, "CP-1 back in service, by operator"},
		{nil, "session-s", session.SupplyAuthorized{Point: "CP-1", Driver: "D-7", Price: price}, network.Info, "D-7 may supply at CP-1 for 0.30 EUR/kWh"},
		{func(h *history) *history { return h.working("CP-1").granted("CP-1", "D-7", "s") }, "session-s", session.SupplyStarted{}, network.Info, "D-7 supplies at CP-1"},
		{func(h *history) *history { return h.working("CP-1").granted("CP-1", "D-7", "s") }, "session-s", session.EndDecided{Cause: session.CauseFault}, network.Info, "D-7 at CP-1 is ended: KO"},
		{func(h *history) *history { return h.working("CP-1").granted("CP-1", "D-7", "s") }, "session-s", session.TicketIssued{Energy: 7_350_499, Amount: 2_205_000, Reason: "FINISHED"}, network.Info, "ticket D-7 at CP-1: 7.350499 kWh, 2.205 EUR, FINISHED"},
	} {
		h := given(t)
		if c.given != nil {
			c.given(h)
		}
		h.apply(c.stream, c.event)
		if m := h.lastMessage(); m.Text != c.text || m.Level != c.level {
			t.Errorf("%T says %s %q, want %s %q", c.event, m.Level, m.Text, c.level, c.text)
		}
	}
}

func TestWhatSaysNothingNewIsNoMessage(t *testing.T) {
	h := given(t).working("CP-1").granted("CP-1", "D-7", "s").supplied("s", kWh, 1)
	before := len(h.Messages(0))
	h.supplied("s", 2*kWh, 1).apply("point-CP-1", chargingpoint.LeaseChanged{Lease: time.Minute},
		chargingpoint.StopOrdered{}, chargingpoint.PointReleased{}, chargingpoint.FaultCleared{})
	if got := h.Messages(0); len(got) != before {
		t.Fatalf("there are new messages: %+v", got[before:])
	}
	h.Say(5, network.Alert, "the broker is away")
	if m := h.lastMessage(); m.Text != "the broker is away" || m.At != 5 || m.Level != network.Alert {
		t.Fatalf("the last message is %+v", m)
	}
}

func TestWhatIsHandedOutStays(t *testing.T) {
	h := given(t).working("CP-1").granted("CP-1", "D-7", "s").supplied("s", kWh, 11_000)
	p, sn := h.shown("CP-1"), h.Snapshot(network.Window{Points: 1, Sessions: 1, Messages: 1})
	h.supplied("s", 2*kWh, 1).apply("point-CP-1", chargingpoint.FaultReported{})
	if p.Supply.Energy != kWh || p.State != chargingpoint.Supplying || sn.Points[0].Supply.Energy != kWh || sn.Sessions[0].Energy != kWh {
		t.Fatal("what was handed out has changed")
	}
}

func TestFigures(t *testing.T) {
	for got, want := range map[string]string{
		network.KW(22_000, 1):          "22.0",
		network.KW(7_350, 1):           "7.4",
		network.KW(7_349, 1):           "7.3",
		network.KW(499, 0):             "0",
		network.KW(500, 0):             "1",
		network.KWh(18_345_500, 3):     "18.346",
		network.KWh(45_000, 2):         "0.05",
		network.KWh(1, 6):              "0.000001",
		network.EUR(5_000):             "0.01",
		network.EUR(4_999):             "0.00",
		network.EUR(-5_000):            "-0.01",
		network.EUR(domain.MaxMoney):   "9000000.00",
		network.Price(300_000):         "0.30",
		network.Price(0):               "0.00",
		network.Price(1_000_000):       "1.00",
		network.Price(305_500):         "0.3055",
		network.Price(domain.MaxPrice): "1000.00",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func thousands(b testing.TB, points int) *history {
	h := given(b)
	for i := range points {
		id, s := domain.PointID(fmt.Sprintf("CP-%05d", i)), domain.SessionID(fmt.Sprintf("s-%d", i))
		h.working(id).granted(id, domain.DriverID(fmt.Sprintf("D-%d", i)), s).supplied(s, kWh, 11_000)
	}
	return h
}

func BenchmarkSampleAmongTenThousandPoints(b *testing.B) {
	h := thousands(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		h.supplied("s-5000", 2*kWh, 11_000)
	}
}

func BenchmarkSnapshotOfTenThousandPoints(b *testing.B) {
	h := thousands(b, 10_000)
	for _, filter := range []string{"", "d-77"} {
		b.Run("filter "+filter, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Snapshot(network.Window{Filter: filter, First: 6_000, Points: 40, Sessions: 10, Messages: 10})
			}
		})
	}
}
