package monitor_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"evcharging/application/message"
	"evcharging/application/monitor"
	"evcharging/domain"
)

const (
	cp1   = domain.PointID("CP-001")
	began = domain.UnixMillis(1_800_000_000_000)
)

var errAway = errors.New("the broker is away")

type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// post is a Monitor with its clock, an Engine, a Central's authentication and a broker that
// answer at once.
type post struct {
	t        tester
	settings monitor.Settings
	monitor  *monitor.Monitor
	now      domain.UnixMillis

	engine  monitor.Beaten
	central monitor.Authenticated
	// away makes the broker refuse; slow makes it never answer.
	away, slow bool
	// takes is how long the broker takes to acknowledge.
	takes   domain.UnixMillis
	asked   int
	batches int
	sent    []message.Message
	said    []string
	denied  error
}

var (
	healthy = monitor.Beaten{Condition: monitor.Healthy}
	faulty  = monitor.Beaten{Condition: monitor.Faulty}
	down    = monitor.Beaten{Condition: monitor.Down, Reason: "the Engine does not answer"}
)

func newPost(t tester, change ...func(*post)) *post {
	p := &post{t: t, now: began, engine: healthy, settings: monitor.Settings{
		Point: cp1, Location: "La Vila", Price: 300_000, Lease: monitor.DefaultLease,
	}}
	for _, c := range change {
		c(p)
	}
	var out monitor.Outcome
	p.monitor, out = monitor.New(p.settings, p.now)
	p.perform(out)
	p.step(monitor.Link{Up: true})
	return p
}

func (p *post) step(in monitor.Input) {
	p.t.Helper()
	p.perform(p.monitor.Step(in, p.now))
}

func (p *post) perform(out monitor.Outcome) {
	p.t.Helper()
	for _, n := range out.Notices {
		p.said = append(p.said, n.Text)
	}
	if out.Denied != nil {
		p.denied = out.Denied
	}
	if out.Authenticate {
		p.asked++
		p.step(p.central)
	}
	if out.Beat {
		p.step(p.engine)
	}
	if out.Send == nil {
		return
	}
	p.batches++
	switch {
	case p.slow:
	case p.away:
		p.step(monitor.Sent{Err: errAway})
	default:
		p.sent = append(p.sent, out.Send...)
		p.now += p.takes
		p.step(monitor.Sent{})
	}
}

func (p *post) seconds(n int) {
	p.t.Helper()
	for range n {
		p.now += 1000
		tick := p.now
		p.step(monitor.Tick{})
		p.now = tick
	}
}

// words is what was sent since it was last asked, in short.
func (p *post) words() string {
	var words []string
	for _, m := range p.sent {
		switch m := m.(type) {
		case message.Registration:
			words = append(words, "REGISTER")
		case message.Health:
			words = append(words, string(m.Status))
		}
	}
	p.sent = nil
	return strings.Join(words, " ")
}

func (p *post) expect(words string) {
	p.t.Helper()
	if got := p.words(); got != words {
		p.t.Fatalf("sent %q, not %q", got, words)
	}
}

func TestGivenAMonitorThatStartsThenItRegistersAndTellsTheHealth(t *testing.T) {
	p := newPost(t)
	location, price := "La Vila", domain.MicroEurosPerKWh(300_000)
	want := []message.Message{
		message.Registration{Point: cp1, Location: &location, Price: &price, PriceText: "0.3", At: "2027-01-15T08:00:00.000Z"},
		message.Health{Point: cp1, Status: message.HealthOK, LeaseSeconds: 15},
	}
	slices.SortStableFunc(p.sent, func(a, b message.Message) int {
		return strings.Compare(fmt.Sprintf("%T", b), fmt.Sprintf("%T", a))
	})
	if got := p.sent[:2]; !reflect.DeepEqual(got, want) {
		t.Fatalf("sent\n%+v, not\n%+v", got, want)
	}
}

func TestGivenAMinuteThenItRegistersAgainAndRenewsItsLeaseEveryThird(t *testing.T) {
	p := newPost(t)
	p.words()
	p.seconds(60)
	p.expect(strings.Repeat("OK ", 11) + "REGISTER OK")
	p.seconds(59)
	p.expect(strings.Repeat("OK ", 10) + "OK")
	p.seconds(1)
	p.expect("REGISTER OK")
}

func TestRenewalsDoNotDriftWithABrokerThatTakesItsTime(t *testing.T) {
	p := newPost(t, func(p *post) { p.takes = 7 })
	p.words()
	p.seconds(60)
	p.expect(strings.Repeat("OK ", 11) + "REGISTER OK")
	p.seconds(60)
	p.expect(strings.Repeat("OK ", 11) + "REGISTER OK")
}

func TestHealthIsToldAtOnce(t *testing.T) {
	for name, given := range map[string]struct {
		engine []monitor.Beaten
		want   string
	}{
		"it works":                            {[]monitor.Beaten{healthy, healthy}, ""},
		"a fault":                             {[]monitor.Beaten{faulty}, "KO"},
		"no answer":                           {[]monitor.Beaten{down}, "KO"},
		"a fault and then no answer":          {[]monitor.Beaten{faulty, down}, "KO"},
		"a fault and its recovery":            {[]monitor.Beaten{faulty, healthy}, "KO RECOVERED"},
		"a fault for some seconds":            {[]monitor.Beaten{faulty, faulty, faulty}, "KO"},
		"two faults":                          {[]monitor.Beaten{down, healthy, faulty, healthy}, "KO RECOVERED KO RECOVERED"},
		"a recovery is renewed as what it is": {[]monitor.Beaten{down, healthy, healthy, healthy, healthy, healthy, healthy}, "KO RECOVERED OK"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t)
			// Just renewed, so that no renewal mixes in.
			p.seconds(5)
			p.words()
			for _, e := range given.engine {
				p.engine = e
				p.seconds(1)
			}
			p.expect(given.want)
		})
	}
}

func TestGivenAnEngineThatIsDownFromTheStartThenThatIsTold(t *testing.T) {
	p := newPost(t, func(p *post) { p.engine = down })
	p.seconds(3)
	if got := p.words(); !strings.Contains(got, "KO") || strings.Contains(got, "OK OK") {
		t.Fatalf("sent %q", got)
	}
	p.engine = healthy
	p.seconds(1)
	p.expect("RECOVERED")
}

func TestGivenABrokerThatWasAwayThenWhatIsTrueNowIsTold(t *testing.T) {
	for name, given := range map[string]struct {
		during []monitor.Beaten
		want   string
	}{
		"nothing changed":                  {[]monitor.Beaten{healthy}, "OK"},
		"a fault came":                     {[]monitor.Beaten{faulty}, "KO"},
		"a fault came and went":            {[]monitor.Beaten{faulty, healthy}, "RECOVERED"},
		"it came and went too often":       {[]monitor.Beaten{faulty, healthy, faulty, healthy, down}, "KO"},
		"a fault that nobody tried to say": {nil, "OK"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPost(t)
			p.seconds(5)
			p.words()
			p.away = true
			p.step(monitor.Link{})
			for _, e := range given.during {
				p.engine = e
				p.seconds(7)
			}
			p.away = false
			p.step(monitor.Link{Up: true})
			p.expect(given.want)
		})
	}
}

func TestGivenABrokerThatStaysAwayThenPausesGrowToAThirdOfTheLease(t *testing.T) {
	for lease, want := range map[time.Duration][]int{
		monitor.DefaultLease: {1, 2, 4, 8, 13, 18, 23, 28},
		monitor.MinLease:     {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30},
	} {
		p := newPost(t, func(p *post) { p.settings.Lease = lease })
		p.seconds(int(lease/3/time.Second) - 1)
		p.away = true
		var tries []int
		for second := range 30 {
			before := p.batches
			p.seconds(1)
			if p.batches > before {
				tries = append(tries, second+1)
			}
		}
		if !slices.Equal(tries, want) {
			t.Fatalf("lease %v: tried after %v s, not %v s", lease, tries, want)
		}
		p.away = false
		p.seconds(5)
		p.away = true
		p.engine = faulty
		p.seconds(1)
		p.away = false
		p.words()
		p.seconds(1)
		p.expect("KO")
	}
}

func TestGivenABrokerThatIsSlowWhenTheEngineChangesThenThatIsToldNext(t *testing.T) {
	p := newPost(t)
	p.seconds(4)
	p.slow = true
	p.seconds(1)
	p.words()
	p.engine = faulty
	p.seconds(3)
	p.slow = false
	p.step(monitor.Sent{})
	p.expect("KO")
	if p.seconds(1); p.words() != "" {
		t.Fatal("told twice")
	}
}

func TestGivenAClockThatIsPutBackThenSignsOfLifeGoOn(t *testing.T) {
	p := newPost(t, func(p *post) { p.settings.Secret = "s3cret" })
	p.words()
	p.now -= 3_600_000
	p.seconds(1)
	if r := p.sent[0].(message.Registration); r.At != p.now.String() {
		t.Fatalf("a proof that Central refuses: %s at %s", r.At, p.now)
	}
	p.expect("REGISTER OK")
	p.away = true
	p.seconds(6)
	p.away = false
	p.now -= 3_600_000
	p.seconds(1)
	p.expect("REGISTER OK")
}

func TestProof(t *testing.T) {
	p := newPost(t, func(p *post) { p.settings.Secret = "s3cret" })
	p.seconds(120)
	p.now -= 100_000
	p.seconds(1)
	var last string
	n := 0
	for _, m := range p.sent {
		if r, ok := m.(message.Registration); ok {
			n++
			if !message.VerifyRegistration("s3cret", r) || r.At <= last {
				t.Fatalf("registration %+v after %s", r, last)
			}
			last = r.At
		}
	}
	if n != 4 {
		t.Fatalf("%d registrations", n)
	}
}

func TestAuthentication(t *testing.T) {
	refusal := errors.New("Central denies the point: wrong secret")
	silence := errors.New("Central's authentication can't be asked")
	t.Run("accepted: asked once a lease, said once", func(t *testing.T) {
		p := newPost(t)
		p.seconds(44)
		if p.asked != 3 || p.denied != nil {
			t.Fatalf("asked %d times, %v", p.asked, p.denied)
		}
		if want := []string{"Central lets the point in", "the Engine works"}; !slices.Equal(p.said, want) {
			t.Fatalf("said %q", p.said)
		}
	})
	t.Run("a Central that dies and comes back is said", func(t *testing.T) {
		p := newPost(t)
		p.said = nil
		p.central = monitor.Authenticated{Result: monitor.Unreachable, Err: silence}
		p.seconds(60)
		p.central = monitor.Authenticated{}
		p.seconds(60)
		if want := []string{silence.Error() + "; asking again", "Central is reached, and lets the point in"}; !slices.Equal(p.said, want) {
			t.Fatalf("said %q", p.said)
		}
	})
	t.Run("denied: it ends without a word to Central", func(t *testing.T) {
		p := newPost(t, func(p *post) { p.central = monitor.Authenticated{Result: monitor.Denied, Err: refusal} })
		if !errors.Is(p.denied, refusal) || len(p.sent) != 0 {
			t.Fatalf("%v, sent %+v", p.denied, p.sent)
		}
	})
	t.Run("unreachable: said once, registered all the same, asked again until it answers", func(t *testing.T) {
		p := newPost(t, func(p *post) { p.central = monitor.Authenticated{Result: monitor.Unreachable, Err: silence} })
		p.seconds(60)
		if p.asked != 14 {
			t.Fatalf("asked %d times", p.asked)
		}
		if got := strings.Count(strings.Join(p.said, "\n"), silence.Error()); got != 1 {
			t.Fatalf("said %d times: %q", got, p.said)
		}
		if !strings.HasPrefix(p.words(), "REGISTER") {
			t.Fatal("not registered")
		}
		p.central = monitor.Authenticated{Result: monitor.Denied, Err: refusal}
		p.seconds(6)
		if !errors.Is(p.denied, refusal) {
			t.Fatalf("denied: %v", p.denied)
		}
	})
	t.Run("until there is an answer nothing is sent", func(t *testing.T) {
		m, out := monitor.New(monitor.Settings{Point: cp1, Lease: monitor.DefaultLease}, began)
		if !out.Authenticate || !out.Beat || out.Send != nil {
			t.Fatalf("first: %+v", out)
		}
		if out := m.Step(healthy, began); out.Send != nil {
			t.Fatalf("sent: %+v", out.Send)
		}
		if out := m.Step(monitor.Tick{}, began+1000); out.Authenticate || out.Send != nil {
			t.Fatalf("asks twice: %+v", out)
		}
		if out := m.Step(monitor.Authenticated{}, began+1100); len(out.Send) != 2 {
			t.Fatalf("sent: %+v", out.Send)
		}
	})
}

func TestGivenAnEngineThatTakesLongThenItIsAskedOnce(t *testing.T) {
	m, _ := monitor.New(monitor.Settings{Point: cp1, Lease: monitor.DefaultLease}, began)
	for i := range domain.UnixMillis(5) {
		if out := m.Step(monitor.Tick{}, began+1000*i); out.Beat {
			t.Fatal("asked twice at once")
		}
	}
	m.Step(down, began+6000)
	if out := m.Step(monitor.Tick{}, began+7000); !out.Beat || m.Engine() != monitor.Down {
		t.Fatalf("not asked: %+v", out)
	}
}

func TestOneNoticeForEachChange(t *testing.T) {
	p := newPost(t)
	p.said = nil
	for range 3 {
		p.engine = down
		p.seconds(20)
	}
	p.engine = monitor.Beaten{Condition: monitor.Down, Reason: "another word for it"}
	p.seconds(5)
	p.engine = faulty
	p.seconds(5)
	p.engine = healthy
	p.seconds(5)
	p.away = true
	p.step(monitor.Link{})
	p.step(monitor.Link{})
	p.seconds(60)
	p.away = false
	p.step(monitor.Link{Up: true})
	p.seconds(20)
	if n := len(p.said); n != 3 {
		t.Fatalf("whoever knows of the outage has said it; said again: %q", p.said[3:])
	}
	p.away = true // and the broker answers all the same
	p.seconds(60)
	p.away = false
	p.seconds(20)
	want := []string{
		"the Engine does not answer", "the Engine reports a fault", "the Engine works",
		"Central can't be told of the point, trying again: the broker is away", "Central is told of the point again",
	}
	if !slices.Equal(p.said, want) {
		t.Fatalf("said %q", p.said)
	}
	p.away = true
	p.engine = faulty
	p.seconds(1)
	p.away = false
	p.seconds(10)
	if n := len(p.said); n != len(want)+1 {
		t.Fatalf("a hiccup is said: %q", p.said)
	}
}

// Whatever happens, when all is well again Central soon knows what is true, and no lease
// runs out while broker and Monitor are well.
func TestWhateverHappensCentralHearsTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPost(t)
		t.Repeat(map[string]func(*rapid.T){
			"tick": func(*rapid.T) { p.seconds(1) },
			"time": func(t *rapid.T) { p.now += domain.UnixMillis(rapid.IntRange(-5000, 5000).Draw(t, "ms")) },
			"engine": func(t *rapid.T) {
				p.engine = rapid.SampledFrom([]monitor.Beaten{healthy, faulty, down}).Draw(t, "engine")
			},
			"outage": func(*rapid.T) { p.away = !p.away },
			"link": func(t *rapid.T) {
				p.step(monitor.Link{Up: rapid.Bool().Draw(t, "up")})
			},
		})
		p.away = false
		p.seconds(6)
		p.words()
		p.seconds(5)
		want := message.HealthOK
		if p.engine.Condition != monitor.Healthy {
			want = message.HealthKO
		}
		var heard []message.HealthStatus
		for _, m := range p.sent {
			if h, ok := m.(message.Health); ok {
				heard = append(heard, h.Status)
			}
		}
		if len(heard) != 1 || heard[0] != want && (want != message.HealthOK || heard[0] != message.HealthRecovered) {
			t.Fatalf("heard %q, not %s once within a third of the lease", heard, want)
		}
	})
}
