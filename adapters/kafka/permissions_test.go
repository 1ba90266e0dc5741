package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"evcharging/application/message"
)

// guarded is a broker that denies a user what nobody has permitted.
type guarded struct {
	*kfake.Cluster
	t     *testing.T
	admin *kadm.Client
}

const (
	admin      = "admin"
	adminsWord = "admin's"
)

// startGuarded starts one that has topics of these names already.
func startGuarded(t *testing.T, topics ...string) guarded {
	t.Helper()
	cluster := startKafka(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(2, topics...),
		kfake.Superuser("SCRAM-SHA-512", admin, adminsWord), kfake.User("SCRAM-SHA-512", aUser, aSecret))
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...),
		kgo.SASL(scram.Auth{User: admin, Pass: adminsWord}.AsSha512Mechanism()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return guarded{cluster, t, kadm.NewClient(client)}
}

func permission(of ...kadm.ACLOperation) *kadm.ACLBuilder {
	return kadm.NewACLs().Allow("User:" + aUser).AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral).Operations(of...)
}

func (g guarded) permit(p *kadm.ACLBuilder) {
	g.t.Helper()
	results, err := g.admin.CreateACLs(g.t.Context(), p)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g guarded) revoke(p *kadm.ACLBuilder) {
	g.t.Helper()
	results, err := g.admin.DeleteACLs(g.t.Context(), p)
	for _, r := range results {
		if err = errors.Join(err, r.Err); len(r.Deleted) == 0 {
			g.t.Fatal("nothing is revoked")
		}
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g guarded) connect(role Role, log *lines) (*Transport, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := Config{Brokers: g.ListenAddrs(), Security: Security{Username: aUser, Password: aSecret}, Role: role}
	if log != nil {
		c.Logger = log.logger()
	}
	return Connect(ctx, c)
}

// connected is a connection that the test ends.
func (g guarded) connected(role Role, log *lines) *Transport {
	g.t.Helper()
	tr, err := g.connect(role, log)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { tr.Close() })
	return tr
}

func TestARoleIsToldAllThatItMayNot(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		role        Role
		read, write []string
		says        string // "" where it may all that it needs
	}{
		"a Monitor that may nothing":  {Monitor, nil, nil, "the user ev-somebody may not write ev.register, ev.health: permit it"},
		"a Monitor that may half":     {Monitor, nil, []string{"ev.register"}, "may not write ev.health: permit it"},
		"a Monitor":                   {Monitor, nil, []string{"ev.register", "ev.health"}, ""},
		"an Engine that may not read": {Engine, nil, []string{"ev.supply.telemetry", "ev.supply.done"}, "may not read ev.commands, ev.supply.start: permit it"},
		"an Engine":                   {Engine, []string{"ev.commands", "ev.supply.start"}, []string{"ev.supply.telemetry", "ev.supply.done"}, ""},
		"a Driver that may see, not read": {
			Driver,
			[]string{"ev.supply.telemetry", "ev.supply.done", "ev.supply.ticket"},
			[]string{"ev.supply.request", "ev.supply.auth"},
			"may not read ev.supply.request, ev.supply.auth: permit it",
		},
		"a Driver": {
			Driver,
			[]string{"ev.supply.request", "ev.supply.auth", "ev.supply.telemetry", "ev.supply.done", "ev.supply.ticket"},
			[]string{"ev.supply.request"},
			"",
		},
		"an operator that may nothing": {Operator, nil, nil, "may not read ev.supply.auth, ev.cp.state, ev.control.dlq, nor write ev.control: permit it"},
		"an operator":                  {Operator, []string{"ev.supply.auth", "ev.cp.state", "ev.control.dlq"}, []string{"ev.control"}, ""},
		"a Central that may half":      {Central, DefaultTopics().CentralReads(), nil, "may not read ev.supply.auth, ev.cp.state, ev.control.dlq, nor write ev.commands, ev.supply.auth, "},
		"whoever may not even look":    {Onlooker, nil, []string{"ev.supply.request"}, "may not read ev.cp.state: permit it"},
		"an onlooker":                  {Onlooker, []string{"ev.cp.state"}, nil, ""},
		"an auditor that may nothing":  {Auditor, nil, nil, "may not read ev.checkpoint: permit it"},
		"an auditor":                   {Auditor, []string{"ev.checkpoint"}, nil, ""},
		"whoever says not what it is":  {Nobody, nil, nil, "may not write to any topic: permit it"},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGuarded(t, DefaultTopics().All()...)
			if test.read != nil {
				g.permit(permission(kadm.OpRead).Topics(test.read...))
			}
			if test.write != nil {
				g.permit(permission(kadm.OpWrite).Topics(test.write...))
			}
			tr, err := g.connect(test.role, nil)
			if err == nil {
				defer tr.Close()
			}
			switch {
			case test.says == "" && err != nil:
				t.Errorf("the error is %v", err)
			case test.says != "" && (!errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), test.says)):
				t.Errorf("the error is %v, want %s", err, test.says)
			}
		})
	}
}

// permitCentral permits a Central what it can't do without.
func (g guarded) permitCentral() {
	g.t.Helper()
	names := DefaultTopics()
	g.permit(permission(kadm.OpRead).Topics(append(names.CentralReads(), names.Auth, names.State, DeadLetters(names.Control))...))
	g.permit(permission(kadm.OpWrite).Topics(names.Commands, names.Auth, names.Start, names.Ticket, names.State, names.Control, names.Checkpoint))
	for _, topic := range names.CentralReads() {
		g.permit(permission(kadm.OpWrite).Topics(DeadLetters(topic)))
	}
}

func TestACentralThatMayNotCreateTopics(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, "ev.register")
	g.permitCentral()
	err := g.connected(Central, nil).EnsureTopics(t.Context())
	if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "it may not create them: ev.checkpoint, ev.commands, ev.control, ev.control.dlq, ") || strings.Contains(err.Error(), "ev.register,") {
		t.Errorf("the error is %v", err)
	}
}

func TestACentralThatMayNotSeeOrSetHowTopicsAreKept(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		permit func(guarded)
		says   []string
	}{
		"nor see it": {func(guarded) {}, []string{
			"the settings of topics may not be seen: permit DescribeConfigs; until then the age of their records is judged by nobody",
		}},
		"but see it": {func(g guarded) { g.permit(permission(kadm.OpDescribeConfigs).Topics(DefaultTopics().All()...)) }, []string{
			"topics should have message.timestamp.type=LogAppendTime and may not be changed; the age of their records is judged by nobody",
			"topics should have retention.ms=" + monthInMillis + " and may not be changed",
			"topics should have retention.ms=-1 and may not be changed",
			"topics should have cleanup.policy=compact and may not be changed",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGuarded(t, DefaultTopics().All()...)
			g.permitCentral()
			g.permit(permission(kadm.OpRead).Groups("ev-central.ev.health"))
			test.permit(g)
			log := new(lines)
			tr := g.connected(Central, log)
			if err := tr.EnsureTopics(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, want := range test.says {
				if strings.Count(log.String(), want) != 1 {
					t.Errorf("it does not say once %q:\n%s", want, log)
				}
			}
			if n := strings.Count(log.String(), "level=WARN"); n != len(test.says) {
				t.Errorf("there are %d warnings:\n%s", n, log)
			}
			got := make(chan message.Received, 9)
			inGroup(t, tr, "ev-central", []string{"ev.health"}, func(_ context.Context, r message.Received) error {
				got <- r
				return nil
			})
			g.produce("ev.health", `{"id":"CP-001","status":"OK"}`)
			if receive(t, "a report", got).Source.Trusted {
				t.Error("its time is trusted")
			}
		})
	}
}

// produce sends a record as the administrator.
func (g guarded) produce(topic, value string) {
	g.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(g.ListenAddrs()...), kgo.SASL(scram.Auth{User: admin, Pass: adminsWord}.AsSha512Mechanism()))
	if err != nil {
		g.t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(g.t.Context(), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		g.t.Fatal(err)
	}
}

func TestAGroupThatIsNotPermitted(t *testing.T) {
	t.Parallel()
	for name, permit := range map[string]func(guarded){
		"at all":             func(guarded) {},
		"but for being seen": func(g guarded) { g.permit(permission(kadm.OpDescribe).Groups("ev-central.ev.health")) },
	} {
		t.Run(name, func(t *testing.T) {
			g := startGuarded(t, DefaultTopics().All()...)
			g.permitCentral()
			permit(g)
			if name != "at all" {
				answerWithOperations(g, kmsg.ACLOperationDescribe)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			tr := g.connected(Central, nil)
			err := tr.Group(ctx, "ev-central", []string{"ev.health"}, func(context.Context, message.Received) error { return nil })
			if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "the user ev-somebody may not read in the group ev-central.ev.health: permit it") {
				t.Errorf("the error is %v", err)
			}
			if _, err := tr.Members(ctx, "ev-central", "ev.health"); name == "at all" && !errors.Is(err, ErrDenied) {
				t.Errorf("asked for its members it says %v", err)
			}
		})
	}
}

// answerWithOperations has a broker say what is permitted in groups, as Kafka does.
func answerWithOperations(g guarded, of ...kmsg.ACLOperation) {
	g.ControlKey(int16(kmsg.DescribeGroups), func(r kmsg.Request) (kmsg.Response, error, bool) {
		g.KeepControl()
		resp := r.ResponseKind().(*kmsg.DescribeGroupsResponse)
		for _, asked := range r.(*kmsg.DescribeGroupsRequest).Groups {
			group := kmsg.NewDescribeGroupsResponseGroup()
			group.Group, group.State, group.AuthorizedOperations = asked, "Empty", 0
			for _, operation := range of {
				group.AuthorizedOperations |= 1 << operation
			}
			resp.Groups = append(resp.Groups, group)
		}
		return resp, nil, true
	})
}

// What is denied while a program runs is said once, and goes on when it is permitted again.
func TestWhatIsNoLongerPermitted(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, DefaultTopics().All()...)
	g.permitCentral()
	g.permit(permission(kadm.OpRead).Groups("ev-central.ev.health"))
	log := new(lines)
	tr := g.connected(Central, log)
	alone, together := make(chan message.Received, 9), make(chan message.Received, 9)
	receive(t, "ready", following(t, tr, []string{"ev.health"}, 1, func(_ context.Context, r message.Received) { alone <- r }))
	inGroup(t, tr, "ev-central", []string{"ev.health"}, func(_ context.Context, r message.Received) error {
		together <- r
		return nil
	})
	g.produce("ev.health", `{"id":"CP-001","status":"OK"}`)
	receive(t, "a report, alone", alone)
	receive(t, "a report, in a group", together)
	if !tr.Listens() {
		t.Error("it does not listen")
	}

	reading := permission(kadm.OpRead).Topics("ev.health")
	g.revoke(reading)
	const denied = "Kafka denies access: the user ev-somebody may not read ev.health: permit it (docs/security.md has the list); trying again"
	await(t, "the log says so", func() bool { return strings.Contains(log.String(), denied) })
	await(t, "nobody takes silence for silence", func() bool { return !tr.Listens() })
	if err := tr.Ready(t.Context()); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "may not read ev.health: permit it") {
		t.Errorf("it is not ready because %v", err)
	}
	g.permit(reading)
	g.produce("ev.health", `{"id":"CP-002","status":"OK"}`)
	receive(t, "a report, alone", alone)
	receive(t, "a report, in a group", together)
	await(t, "the log says that it is over", func() bool {
		return strings.Contains(log.String(), `Kafka does not deny it any more" to="read ev.health"`)
	})
	await(t, "it listens again", tr.Listens)
	if n := strings.Count(log.String(), denied); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, log)
	}

	// Whoever reads alone, the same.
	states := make(chan message.Received, 9)
	receive(t, "ready", following(t, tr, []string{"ev.cp.state"}, 1, func(_ context.Context, r message.Received) { states <- r }))
	reading = permission(kadm.OpRead).Topics("ev.cp.state")
	g.revoke(reading)
	await(t, "the log says so", func() bool { return strings.Contains(log.String(), "the user ev-somebody may not read ev.cp.state") })
	g.permit(reading)
	g.produce("ev.cp.state", `{"id":"CP-001","location":"L","price":0.3,"state":"BROKEN","updated_at":"2026-01-02T03:04:05Z","version":1}`)
	receive(t, "a state", states)

	writing := permission(kadm.OpWrite).Topics("ev.cp.state")
	g.revoke(writing)
	state := message.PointState{Point: "CP-001", State: "BROKEN", Version: 1}
	for range 4 { // more than sarama takes before it refuses by itself
		if err := tr.Send(t.Context(), state); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "may not write ev.cp.state: permit it") {
			t.Errorf("sending says %v", err)
		}
	}
	g.permit(writing)
	begun := time.Now()
	await(t, "it is sent", func() bool { return tr.Send(t.Context(), state) == nil })
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it took %s", took)
	}
}

// Whoever follows a topic that he may not even see waits for it, and says why.
func TestATopicThatIsNotShown(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, DefaultTopics().All()...)
	g.permit(permission(kadm.OpWrite).Topics("ev.supply.request"))
	log := new(lines)
	tr := g.connected(Nobody, log)
	got := make(chan message.Received, 9)
	following(t, tr, []string{"ev.supply.auth"}, 0, func(_ context.Context, r message.Received) { got <- r })
	await(t, "the log says so", func() bool { return strings.Contains(log.String(), "the user ev-somebody may not read ev.supply.auth") })
	g.permit(permission(kadm.OpRead).Topics("ev.supply.auth"))
	g.produce("ev.supply.auth", `{"driver_id":"D-1","cp_id":"CP-001","authorized":true}`)
	receive(t, "an answer", got)
}
