package endtoend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"evcharging/domain"
)

// agree checks that two Centrals of a network tell the same of it.
func (w *world) agree(a, b *central) {
	w.t.Helper()
	if body(w.t, "http://"+a.pages+"/log") != body(w.t, "http://"+b.pages+"/log") {
		w.t.Error("two Centrals do not have the same log")
	}
	states := func(c *central) map[string]any {
		var points []map[string]any
		states := map[string]any{}
		if c.get("/points", &points) {
			for _, p := range points {
				states[p["id"].(string)] = p["state"]
			}
		}
		return states
	}
	eventually(w.t, "two Centrals show the same states", func() bool { return maps.Equal(states(a), states(b)) })
}

// shared waits until the group that reads a topic for Central has so many members, each with
// some of its partitions.
func (w *world) shared(topic string, members int) {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka))
	must(w.t, err)
	defer client.Close()
	group := "ev-central." + topic
	eventually(w.t, fmt.Sprintf("%d Centrals share %s", members, topic), func() bool {
		described, err := kadm.NewClient(client).DescribeGroups(w.t.Context(), group)
		if err != nil || described[group].State != "Stable" || len(described[group].Members) != members {
			return false
		}
		for _, m := range described[group].Members {
			reads, ok := m.Assigned.AsConsumer()
			if !ok || len(reads.Topics) != 1 || len(reads.Topics[0].Partitions) == 0 {
				return false
			}
		}
		return true
	})
}

// player plays points and drivers, many at a time, with a client that is not ours. Nothing
// has a key: what is said of one point lands on any partition, so with any of the Centrals.
type player struct {
	w *world

	mu    sync.Mutex
	inbox map[[2]string]chan record // by topic and driver
}

// newPlayer begins to play in a world whose topics are there.
func newPlayer(w *world) *player {
	w.t.Helper()
	p := &player{w: w, inbox: map[[2]string]chan record{}}
	w.told = func(r record) {
		driver, _ := r.fields()["driver_id"].(string)
		p.of(r.Topic, driver) <- r
	}
	w.listen("ev.supply.auth", "ev.supply.start", "ev.supply.ticket")
	return p
}

// of is what a topic says of a driver: more than can come.
func (p *player) of(topic, driver string) chan record {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := [2]string{topic, driver}
	if p.inbox[key] == nil {
		p.inbox[key] = make(chan record, 100)
	}
	return p.inbox[key]
}

func (p *player) send(topic string, value map[string]any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return p.w.writer.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: text}).FirstErr()
}

// waitsFor gives what a topic says of a driver next. It outlasts a Central's death: what lies
// on its partitions is read when the broker has given them to the other.
func (p *player) waitsFor(topic, driver string) (map[string]any, error) {
	select {
	case r := <-p.of(topic, driver):
		return r.fields(), nil
	case <-time.After(2 * patience):
		return nil, fmt.Errorf("%s hears nothing on %s", driver, topic)
	}
}

// register makes points known and healthy, and says of each again and again that it is,
// until the test ends.
func (p *player) register(points []string) {
	p.w.t.Helper()
	healthy := func() error {
		var errs []error
		for _, point := range points {
			errs = append(errs, p.send("ev.health", map[string]any{"id": point, "status": "OK", "lease_seconds": 15}))
		}
		return errors.Join(errs...)
	}
	for _, point := range points {
		must(p.w.t, p.send("ev.register", map[string]any{"id": point, "location": "Alicante", "price_eur_kwh": 0.25}))
	}
	must(p.w.t, healthy())
	ctx, cancel := context.WithCancel(context.Background())
	var beating sync.WaitGroup
	p.w.t.Cleanup(func() {
		cancel()
		beating.Wait()
	})
	beating.Go(func() {
		beat := time.NewTicker(3 * time.Second)
		defer beat.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-beat.C:
				if err := healthy(); err != nil {
					p.w.t.Error("a sign of life:", err)
				}
			}
		}
	})
}

// supply plays one supply from the request to the ticket, with somebody else asking for the
// point meanwhile, who must be refused.
func (p *player) supply(point, driver, rival string, kwh float64) error {
	if err := p.send("ev.supply.request", map[string]any{"driver_id": driver, "cp_id": point, "request_id": "r-" + driver}); err != nil {
		return err
	}
	answer, err := p.waitsFor("ev.supply.auth", driver)
	if err != nil {
		return err
	}
	if answer["authorized"] != true {
		return fmt.Errorf("%s is free, and %s was answered %v", point, driver, answer)
	}
	start, err := p.waitsFor("ev.supply.start", driver)
	if err != nil {
		return err
	}
	if err := p.send("ev.supply.request", map[string]any{"driver_id": rival, "cp_id": point, "request_id": "r-" + rival}); err != nil {
		return err
	}
	beat := time.NewTicker(200 * time.Millisecond)
	defer beat.Stop()
	const samples = 8
	said := func(more map[string]any) map[string]any {
		maps.Copy(more, map[string]any{"session_id": start["session_id"], "cp_id": point, "driver_id": driver})
		return more
	}
	for i := range samples {
		<-beat.C
		share := kwh * float64(i) / samples
		if err := p.send("ev.supply.telemetry", said(map[string]any{"kw": 7.2, "euros": share * 0.25, "kwh": share, "seq": i + 1})); err != nil {
			return err
		}
	}
	if answer, err = p.waitsFor("ev.supply.auth", rival); err != nil {
		return err
	}
	if answer["authorized"] != false || answer["reason"] != "OCCUPIED" {
		return fmt.Errorf("%s is occupied, and %s was answered %v", point, rival, answer)
	}
	if err := p.send("ev.supply.done", said(map[string]any{"total_kwh": kwh, "total_eur": kwh * 0.25, "reason": "FINISHED"})); err != nil {
		return err
	}
	_, err = p.waitsFor("ev.supply.ticket", driver)
	return err
}

// One Central, and two of which one is killed in the middle and comes back, make the same of
// the same requests and reports, wherever these land: each supply is granted and billed once.
func TestTwoCentralsMakeOfItWhatOneMakes(t *testing.T) {
	t.Parallel()
	needsMongo(t)
	newWorld(t).isPlayed(true)
}

func TestOneCentralMakesOfItWhatTwoMake(t *testing.T) {
	t.Parallel()
	needsKafka(t)
	newWorld(t).isPlayed(false)
}

// isPlayed plays supplies at many points, and holds the log to what must have come of them.
func (w *world) isPlayed(two bool) {
	t := w.t
	t.Helper()
	const points, rounds = 50, 4
	c := w.central()
	var other *central
	if two {
		other = w.central()
		for _, topic := range centralReads {
			w.shared(topic, 2)
		}
	}
	p := newPlayer(w)
	var ids []string
	for i := range points {
		ids = append(ids, fmt.Sprintf("CP-%02d", i))
	}
	p.register(ids)
	for _, id := range ids {
		c.shows(id, "ACTIVATED")
	}
	var concluded atomic.Int64
	energies := map[domain.RequestID]domain.MilliwattHours{}
	var playing sync.WaitGroup
	for i, id := range ids {
		for round := range rounds {
			energies[domain.RequestID(fmt.Sprintf("r-D-%s-%d", id, round))] = domain.MilliwattHours(1000*(i+1) + round)
		}
		playing.Go(func() {
			for round := range rounds {
				kwh := float64(1000*(i+1)+round) / 1e6
				if err := p.supply(id, fmt.Sprintf("D-%s-%d", id, round), fmt.Sprintf("X-%s-%d", id, round), kwh); err != nil {
					t.Error(err)
					return
				}
				concluded.Add(1)
			}
		})
	}
	if two {
		eventually(t, "some supplies are over", func() bool { return concluded.Load() > points })
		other.kill()
		eventually(t, "more supplies are over", func() bool { return t.Failed() || concluded.Load() > 5*points/2 })
		other.start()
	}
	playing.Wait()
	if t.Failed() {
		t.FailNow()
	}
	w.consumed(centralReads...)

	c.decidesNothing() // no supply was ended by silence
	a := w.audit(c)
	if n := len(a.stories); n != 2*points*rounds {
		t.Errorf("%d sessions for %d requests", n, 2*points*rounds)
	}
	for request, energy := range energies {
		s := a.byRequest[request]
		if s == nil || s.authorized == nil || s.energy() != energy || s.amount() != domain.Cost(energy, 250_000) || s.reason() != "FINISHED" || len(s.revisions) > 0 {
			t.Errorf("the request %s for %s kWh made %+v", request, energy, s)
		}
	}
	if logInMongo() {
		w.areReplayed(c)
	}
	if two {
		w.agree(c, other)
	}
}

// A point that one Central has freed is free for the other at once: whatever that had read
// of it before, it decides on what the log has now.
func TestAPointThatOneCentralFreedIsNotRefusedByTheOther(t *testing.T) {
	t.Parallel()
	needsMongo(t)
	w := newWorld(t)
	c, other := w.central(), w.central()
	for _, topic := range centralReads {
		w.shared(topic, 2)
	}
	p := newPlayer(w)
	p.register([]string{"CP-001"})
	c.shows("CP-001", "ACTIVATED")
	other.shows("CP-001", "ACTIVATED")
	for i := range 40 {
		driver := fmt.Sprintf("D-%d", i)
		must(t, p.send("ev.supply.request", map[string]any{"driver_id": driver, "cp_id": "CP-001", "request_id": "r-" + driver}))
		answer, err := p.waitsFor("ev.supply.auth", driver)
		must(t, err)
		if answer["authorized"] != true {
			t.Fatalf("round %d: the point is free, and %s was answered %v", i, driver, answer)
		}
		start, err := p.waitsFor("ev.supply.start", driver)
		must(t, err)
		must(t, p.send("ev.supply.done", map[string]any{
			"session_id": start["session_id"], "cp_id": "CP-001", "driver_id": driver, "total_kwh": 1, "total_eur": 0.25, "reason": "FINISHED",
		}))
		_, err = p.waitsFor("ev.supply.ticket", driver)
		must(t, err)
	}
	w.consumed(centralReads...)
	w.audit(c)
	w.agree(c, other)
}

// Two event logs would split the truth, whoever comes first.
func TestOfCentralsWithLogsOfTheirOwnOneStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spawn := func(log string) *central {
		c := &central{w: w, port: freePort(t), pages: "127.0.0.1:" + freePort(t), args: []string{"--log", filepath.Join(w.dir, log)}}
		c.spawn()
		return c
	}
	const refused = "two event logs would split the truth"
	all := []*central{spawn("a"), spawn("b"), spawn("c")}
	count := func(text string) (n int) {
		for _, c := range all {
			if strings.Contains(c.output(), text) {
				n++
			}
		}
		return n
	}
	eventually(t, "one of three that start together is ready", func() bool { return count("Central is ready") == 1 && count(refused) == 2 })
	// and of one that comes later, too, it is the one that stays
	all = append(all, spawn("d"))
	eventually(t, "one that comes later is refused", func() bool { return count(refused) == 3 })
	if n := count("Central is ready"); n != 1 {
		t.Errorf("%d are ready", n)
	}
	for _, c := range all {
		if strings.Contains(c.output(), refused) {
			if status := c.wait(patience); status != 1 {
				t.Errorf("who is refused ends with %d", status)
			}
		}
	}
}
