package audittest

import (
	"fmt"
	"time"

	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/session"
)

// Supply is a supply at a point of its own, and what it should come to.
type Supply struct {
	Name    string
	Session domain.SessionID
	// Status is where it stands in the end.
	Status session.Status
	// Energy in kWh, Price in EUR/kWh and Amount in EUR are the bill's as it stands, computed by
	// hand, and Formula the line of the computation. All are empty where there is no bill.
	Energy, Price, Amount, Formula string
	// From says which report the energy is from.
	From, Reason string
	Revisions    int
	// NotNewer and RunsBackwards are how many samples were ignored up to the close. Gaps are
	// the numbers that are missing among the samples', as from-to.
	NotNewer, RunsBackwards int
	Gaps                    []string
}

// ending is how a supply goes: from its grant to its end.
type ending struct {
	Supply
	price domain.MicroEurosPerKWh
	goes  func(*supply)
}

// supply is one that runs.
type supply struct {
	*Network
	id     domain.SessionID
	point  domain.PointID
	driver domain.DriverID
	// more is added to each energy that is not 0.
	more mWh
}

// mWh are milliwatt-hours: 1,000,000 are a kWh.
type mWh = domain.MilliwattHours

var endings = []ending{
	{
		Supply: Supply{
			Name: "finished", Status: session.Closed, From: "the final report",
			Reason: "FINISHED",
			Energy: "0.35", Price: "0.3", Amount: "0.105", Formula: "0.35 kWh × 0.3 EUR/kWh = 0.105 EUR",
		},
		price: 300_000,
		goes: func(s *supply) {
			s.sample(1, 100_000)
			s.sample(2, 200_000)
			s.sample(3, 300_000)
			s.done(350_000, message.DoneFinished)
		},
	},
	{
		// 1,234,567 mWh × 333,333 µEUR/kWh = 411,521,921,811 → 411,521.921811 µEUR
		Supply: Supply{
			Name: "unplugged, rounded up", Status: session.Closed, From: "the final report",
			Reason: "UNPLUGGED",
			Energy: "1.234567", Price: "0.333333", Amount: "0.411522", Formula: "1.234567 kWh × 0.333333 EUR/kWh = 0.411521921811 EUR, rounded half up: 0.411522 EUR",
		},
		price: 333_333,
		goes: func(s *supply) {
			s.sample(1, 1_000_000)
			s.done(1_234_567, message.DoneUnplugged)
		},
	},
	{
		// 500,000 mWh × 1 µEUR/kWh = half a µEUR, which is rounded up.
		Supply: Supply{
			Name: "finished, half a micro-euro", Status: session.Closed, From: "the final report",
			Reason: "FINISHED",
			Energy: "0.5", Price: "0.000001", Amount: "0.000001", Formula: "0.5 kWh × 0.000001 EUR/kWh = 0.0000005 EUR, rounded half up: 0.000001 EUR",
		},
		price: 1,
		goes:  func(s *supply) { s.done(500_000, message.DoneFinished) },
	},
	{
		Supply: Supply{
			Name: "stopped by Central", Status: session.Closed, From: "the final report",
			Reason: "STOP_BY_CENTRAL",
			Energy: "2", Price: "0.25", Amount: "0.5", Formula: "2 kWh × 0.25 EUR/kWh = 0.5 EUR",
		},
		price: 250_000,
		goes: func(s *supply) {
			s.sample(1, 1_900_000)
			s.Take(message.Control{ID: "c-stop", Point: s.point, Action: message.ActionStop, By: "ops"})
			s.Wait(time.Second)
			s.done(2_000_000, message.DoneStopped)
		},
	},
	{
		Supply: Supply{
			Name: "ended by a fault", Status: session.Closed, From: "the final report",
			Reason: "KO",
			Energy: "3.3", Price: "0.3", Amount: "0.99", Formula: "3.3 kWh × 0.3 EUR/kWh = 0.99 EUR",
		},
		price: 300_000,
		goes: func(s *supply) {
			s.sample(1, 3_000_000)
			s.Take(message.Health{Point: s.point, Status: message.HealthKO, LeaseSeconds: 15})
			s.Wait(time.Second)
			s.done(3_300_000, message.DoneFault)
		},
	},
	{
		// Central's cause stands before the Engine's reason.
		Supply: Supply{
			Name: "disconnected, and reported all the same", Status: session.Closed, From: "the final report",
			Reason: "DISCONNECTED",
			Energy: "4", Price: "0.3", Amount: "1.2", Formula: "4 kWh × 0.3 EUR/kWh = 1.2 EUR",
		},
		price: 300_000,
		goes: func(s *supply) {
			s.sample(1, 3_000_000)
			s.Wait(20 * time.Second)
			s.Take(message.Control{ID: "c-lease", Point: s.point, Action: message.ActionDeadline, Kind: "lease", DueAt: s.Now, By: "deadline"})
			s.Wait(time.Second)
			s.done(4_000_000, message.DoneFinished)
		},
	},
	{
		Supply: Supply{
			Name: "never taken up", Status: session.Closed, From: "none: the supply was never taken up",
			Reason: "EXPIRED",
			Energy: "0", Price: "0.3", Amount: "0", Formula: "0 kWh × 0.3 EUR/kWh = 0 EUR",
		},
		price: 300_000,
		goes:  func(s *supply) { s.deadline() },
	},
	{
		Supply: Supply{
			Name: "silent, billed on the last report", Status: session.Closed, From: "the last sample, for no final report came",
			Reason: "DISCONNECTED",
			Energy: "5.5", Price: "0.42", Amount: "2.31", Formula: "5.5 kWh × 0.42 EUR/kWh = 2.31 EUR",
		},
		price: 420_000,
		goes: func(s *supply) {
			s.sample(1, 5_000_000)
			s.sample(2, 5_500_000)
			s.deadline() // silence
			s.deadline() // the final report
		},
	},
	{
		Supply: Supply{
			Name: "refused by its Engine", Status: session.Closed, From: "the final report",
			Reason: "REFUSED",
			Energy: "0", Price: "0.3", Amount: "0", Formula: "0 kWh × 0.3 EUR/kWh = 0 EUR",
		},
		price: 300_000,
		goes:  func(s *supply) { s.done(0, message.DoneRefused) },
	},
	{
		Supply: Supply{
			Name: "recovered by its Engine", Status: session.Closed, From: "the final report",
			Reason: "RECOVERED",
			Energy: "6.25", Price: "0.3", Amount: "1.875", Formula: "6.25 kWh × 0.3 EUR/kWh = 1.875 EUR",
		},
		price: 300_000,
		goes: func(s *supply) {
			s.sample(1, 6_000_000)
			s.done(6_250_000, message.DoneRecovered)
		},
	},
	{
		Supply: Supply{
			Name: "revised twice", Status: session.Closed, From: "a final report that came after the close",
			Reason: "DISCONNECTED", Revisions: 2,
			Energy: "8.5", Price: "0.3", Amount: "2.55", Formula: "8.5 kWh × 0.3 EUR/kWh = 2.55 EUR",
		},
		price: 300_000,
		goes: func(s *supply) {
			s.sample(1, 7_000_000)
			s.deadline()
			s.deadline()
			s.Wait(time.Minute)
			s.done(8_000_000, message.DoneFinished)
			s.Wait(time.Minute)
			s.done(8_000_000, message.DoneFinished) // no more than is billed
			s.Wait(time.Minute)
			s.done(8_500_000, message.DoneFinished)
		},
	},
	{
		// 1 EUR at 0.30 EUR/kWh is 3.333333 kWh, which cost 0.9999999 EUR.
		Supply: Supply{
			Name: "reported in euros alone", Status: session.Closed, From: "the last sample, for no final report came: the 1 EUR that it reported, divided by the price",
			Reason: "STOP_BY_CENTRAL",
			Energy: "3.333333", Price: "0.3", Amount: "1", Formula: "3.333333 kWh × 0.3 EUR/kWh = 0.9999999 EUR, rounded half up: 1 EUR",
		},
		price: 300_000,
		goes: func(s *supply) {
			s.Wait(time.Second)
			s.Take(message.MeterValue{Session: s.id, Point: s.point, Driver: s.driver, Power: 7_000, Amount: 1_000_000})
			s.Take(message.Control{ID: "c-stop-2", Point: s.point, Action: message.ActionStop, By: "ops"})
			s.deadline()
		},
	},
	{
		// The greatest energy that was measured counts, not the final report's.
		Supply: Supply{
			Name: "late samples, lost ones, a final report of less", Status: session.Closed, From: "the greatest that a sample measured; the final report says 0.65 kWh",
			Reason: "FINISHED",
			Energy: "0.7", Price: "0.3", Amount: "0.21", Formula: "0.7 kWh × 0.3 EUR/kWh = 0.21 EUR",
			NotNewer: 2, RunsBackwards: 1, Gaps: []string{"1", "4-5", "7"},
		},
		price: 300_000,
		goes: func(s *supply) {
			s.sample(2, 200_000)
			s.sample(3, 300_000)
			s.sample(6, 600_000)
			s.sample(4, 400_000)
			s.sample(6, 600_000)
			s.sample(7, 500_000)
			s.sample(8, 700_000)
			s.done(650_000, message.DoneFinished)
		},
	},
	{
		Supply: Supply{
			Name: "free of charge", Status: session.Closed, From: "the final report",
			Reason: "FINISHED",
			Energy: "9", Price: "0", Amount: "0", Formula: "9 kWh × 0 EUR/kWh = 0 EUR",
		},
		price: 0,
		goes:  func(s *supply) { s.done(9_000_000, message.DoneFinished) },
	},
	{
		Supply: Supply{Name: "running", Status: session.Supplying, Price: "0.3"},
		price:  300_000,
		goes:   func(s *supply) { s.sample(1, 100_000) },
	},
}

// Endings has a network take a supply of every ending, one after the other, each at a point
// of its own, and at last a request that is refused.
func Endings(n *Network) []Supply {
	n.Helper()
	all := make([]Supply, 0, len(endings)+1)
	for i, e := range endings {
		point := domain.PointID(fmt.Sprintf("CP-%03d", i+1))
		s := n.grant(point, domain.DriverID(fmt.Sprintf("D-%d", i+1)), e.price)
		e.goes(s)
		e.Session = s.id
		if got := n.Restore(s.id).Status(); got != e.Status {
			n.Fatalf("%s: it is %s, not %s", e.Name, got, e.Status)
		}
		all = append(all, e.Supply)
		n.Wait(time.Minute)
	}
	// The last point has not been heard for a minute.
	last := domain.PointID(fmt.Sprintf("CP-%03d", len(endings)))
	n.Take(message.Request{Driver: "D-99", Point: last, ID: "R-99", Origin: message.OriginDriver})
	return append(all, Supply{Name: "refused", Status: session.Refused, Session: session.IDFor(last, "D-99", "R-99")})
}

// Many has a network take so many supplies with a bill, of every ending in turn, at points
// and prices and of energies as choose, which gives a number below n, says.
func Many(n *Network, supplies int, choose func(n int) int) []domain.SessionID {
	n.Helper()
	var all []domain.SessionID
	for i := 0; len(all) < supplies; i++ {
		e := endings[i%len(endings)]
		if e.Status != session.Closed {
			continue
		}
		s := n.grant(domain.PointID(fmt.Sprintf("P%d", i)), domain.DriverID(fmt.Sprintf("D%d", i)), domain.MicroEurosPerKWh(choose(1_000_000)))
		s.more = mWh(choose(9_000_000))
		e.goes(s)
		all = append(all, s.id)
		n.Wait(time.Duration(choose(60_000)) * time.Millisecond)
	}
	return all
}

// grant registers a point and has a driver granted a supply there.
func (n *Network) grant(point domain.PointID, driver domain.DriverID, price domain.MicroEurosPerKWh) *supply {
	n.Helper()
	location := "C/ Major " + string(point)
	n.Take(message.Registration{Point: point, Location: &location, Price: &price})
	n.Take(message.Health{Point: point, Status: message.HealthOK, LeaseSeconds: 15})
	n.Wait(time.Second)
	request := domain.RequestID("R-" + string(driver))
	n.Take(message.Request{Driver: driver, Point: point, ID: request, Origin: message.OriginDriver})
	return &supply{Network: n, id: session.IDFor(point, driver, request), point: point, driver: driver}
}

func (s *supply) sample(seq int64, energy mWh) {
	s.Helper()
	energy += s.more
	s.Wait(time.Second)
	s.Take(message.MeterValue{
		Session: s.id, Point: s.point, Driver: s.driver, Power: 7_400, Seq: seq, Energy: &energy,
		Amount: domain.Cost(energy, 300_000), At: s.Now - 50,
	})
}

func (s *supply) done(energy mWh, reason message.DoneReason) {
	s.Helper()
	if energy != 0 {
		energy += s.more
	}
	s.Wait(time.Second)
	s.Take(message.Done{Session: s.id, Point: s.point, Driver: s.driver, Energy: energy, Reason: reason, At: s.Now - 50})
}

// deadline lets the session's deadline pass.
func (s *supply) deadline() {
	s.Helper()
	d := s.Restore(s.id).Deadline()
	s.Now = max(s.Now, d.Due) + 10
	s.Take(message.Control{
		ID: "c-due", Point: s.point, Action: message.ActionDeadline, Session: s.id, Kind: string(d.Kind), DueAt: d.Due, By: "deadline",
	})
}
