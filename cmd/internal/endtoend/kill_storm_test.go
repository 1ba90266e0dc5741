package endtoend

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"evcharging/domain"
)

// storm kills a network's programs, at busy moments, and starts them again.
type storm struct {
	*world
	random   *rand.Rand
	centrals []*central
	points   []*point
	drivers  []*traveller
	// operators are commands that were given.
	operators []*process
	// away is what has been killed and is to be started again.
	away  []func()
	gone  map[server]bool
	kills map[string]int
}

// traveller is a driver with a file, and its program.
type traveller struct {
	id    domain.DriverID
	lines []domain.PointID
	*process
	away bool
}

func (s *storm) drive(d *traveller) {
	d.away = false
	d.process = s.run("ev-driver", "--driver-id", string(d.id), "--file", s.list(string(d.id), d.lines...), "--next-delay", "1")
}

// busy waits for the next record of a topic that anybody sends, or not for long.
func (s *storm) busy() {
	topics := []string{"ev.health", "ev.supply.request", "ev.supply.auth", "ev.supply.start", "ev.supply.telemetry", "ev.supply.done", "ev.supply.ticket", "ev.commands", "ev.control"}
	topic := topics[s.random.IntN(len(topics))]
	before := len(s.all(topic, nil))
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(600 * time.Millisecond); time.Now().Before(until) && len(s.all(topic, nil)) == before; {
		<-tick.C
	}
}

// strike kills one program, or starts some of what was killed.
func (s *storm) strike() {
	alive := func(p *process) bool {
		select {
		case <-p.over:
			return false
		default:
			return true
		}
	}
	kill := func(kind string, p *process, again func()) {
		if alive(p) {
			p.kill()
			s.kills[kind]++
			s.away = append(s.away, again)
		}
	}
	killServer := func(kind string, x server) {
		if x == nil || s.gone[x] {
			return
		}
		must(s.t, x.kill())
		s.gone[x] = true
		s.kills[kind]++
		s.away = append(s.away, func() { s.starts(x); s.gone[x] = false })
	}
	c := s.centrals[s.random.IntN(len(s.centrals))]
	p := s.points[s.random.IntN(len(s.points))]
	d := s.drivers[s.random.IntN(len(s.drivers))]
	switch n := s.random.IntN(20); {
	case n < 2:
		kill("Central", c.process, c.spawn)
	case n < 6:
		kill("Engine", p.engine, p.startEngine)
	case n < 8:
		kill("Monitor", p.monitor, func() { p.startMonitor("--lease", "3s") })
	case n < 11:
		if alive(d.process) {
			d.away = true
			kill("Driver", d.process, func() { s.drive(d) })
		}
	case n < 12:
		// An operator, who does not wait.
		s.operators = append(s.operators, s.run("ev-central", []string{"stop", "resume"}[s.random.IntN(2)], p.id))
	case n < 13:
		killServer("broker", s.broker)
	case n < 14 && s.database != nil:
		killServer("database", s.database)
	default:
		if n := len(s.away); n > 0 {
			i := s.random.IntN(n)
			again := s.away[i]
			s.away = append(s.away[:i], s.away[i+1:]...)
			again()
		}
	}
}

func (s *storm) over() bool {
	for _, d := range s.drivers {
		if d.away {
			return false
		}
		select {
		case <-d.over:
		default:
			return false
		}
	}
	return true
}

// A storm: whatever is killed whenever, in the end every grant has one ticket that bills the
// greatest report, every line of every driver has one outcome, and the points are free. The audit says what
// else must hold.
func TestAStormOfKillsLosesNothing(t *testing.T) {
	t.Parallel()
	const points, drivers, lines, length = 6, 10, 12, 40 * time.Second
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("STORM_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("STORM_SEED=%d", seed)
	w := newWorld(t)
	s := &storm{world: w, random: rand.New(rand.NewPCG(seed, seed)), gone: map[server]bool{}, kills: map[string]int{}}
	for range 2 {
		s.centrals = append(s.centrals, w.central("--take-up", "3s", "--silence", "5s", "--final-report", "3s"))
		if !logInMongo() {
			break // a log of one's own is for one
		}
	}
	central := s.centrals[0]
	for i := range points {
		battery := []string{"0.003", "0.006", "0.02"}[i%3]
		s.points = append(s.points, w.shortLease(s.centrals[i%len(s.centrals)], fmt.Sprintf("CP-%d", i+1), "--battery", battery))
	}
	w.listen("ev.health", "ev.supply.request", "ev.supply.auth", "ev.supply.start", "ev.supply.telemetry", "ev.supply.done", "ev.supply.ticket", "ev.commands", "ev.control")
	for i := range drivers {
		d := &traveller{id: domain.DriverID(fmt.Sprintf("D-%d", i+1))}
		for range lines {
			d.lines = append(d.lines, domain.PointID(s.points[s.random.IntN(points)].id))
		}
		s.drivers = append(s.drivers, d)
		s.drive(d)
	}

	for end := time.Now().Add(length); time.Now().Before(end) && !s.over(); {
		s.busy()
		s.strike()
	}
	for _, again := range s.away {
		again()
	}
	for _, c := range s.centrals {
		c.says("Central is ready")
	}
	calm := time.Now()
	for _, operator := range s.operators {
		operator.wait(patience)
	}
	eventually(t, "all points are in service", func() bool {
		return w.run("ev-central", "resume", "all").wait(patience) == 0
	})
	for _, d := range s.drivers {
		if status := d.wait(3 * patience); status != 0 && status != 1 {
			t.Errorf("%s ended with status %d:\n%s", d.id, status, d.output())
		}
	}
	for _, p := range s.points {
		central.shows(p.id, "ACTIVATED")
	}
	t.Logf("killed %v; over %s after the last kill", s.kills, time.Since(calm).Round(time.Second))

	a := w.audit(central)
	if len(s.centrals) > 1 {
		w.agree(s.centrals[0], s.centrals[1])
		w.areReplayed(central)
	}
	granted, refused, revised := 0, 0, 0
	reasons := map[string]int{}
	for _, x := range a.stories {
		if x.refused != nil {
			refused++
			reasons["refused "+x.refused.Reason]++
			continue
		}
		granted++
		revised += len(x.revisions)
		reasons[x.reason()]++
	}
	for _, d := range s.drivers {
		a.told(d.id, d.lines, d.process)
	}
	if granted+refused != drivers*lines {
		t.Errorf("%d lines have %d answers", drivers*lines, granted+refused)
	}
	t.Logf("granted %d, refused %d, revised %d: %v", granted, refused, revised, reasons)
	if t.Failed() {
		for _, d := range s.drivers {
			t.Log(strings.TrimSpace(d.output()))
		}
	}
}
