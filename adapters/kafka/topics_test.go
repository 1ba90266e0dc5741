package kafka

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"evcharging/application/message"
)

const monthInMillis = "2678400000" // 31 days

// settingsOf is a topic's partitions and settings.
func settingsOf(cluster *kfake.Cluster, topic string) (partitions int, settings map[string]string) {
	settings = make(map[string]string)
	if info := cluster.TopicInfo(topic); info != nil {
		for k, v := range info.Configs {
			settings[k] = *v
		}
	}
	return len(cluster.PartitionInfos(topic)), settings
}

func TestTheTopicsAreCreated(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr := connect(t, cluster.ListenAddrs()[0])
	if err := tr.EnsureTopics(t.Context()); err != nil { // a second time, with nothing to do
		t.Fatal(err)
	}
	stamped := map[string]string{"message.timestamp.type": "LogAppendTime"}
	kept := map[string]string{"message.timestamp.type": "LogAppendTime", "retention.ms": monthInMillis}
	compacted := map[string]string{"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"}
	for topic, want := range map[string]map[string]string{
		"ev.register": kept, "ev.supply.done": kept, "ev.control": kept, "ev.cp.state": compacted,
		"ev.health": stamped, "ev.commands": stamped, "ev.supply.request": stamped, "ev.supply.auth": stamped,
		"ev.supply.start": stamped, "ev.supply.telemetry": stamped, "ev.supply.ticket": stamped,
	} {
		if n, got := settingsOf(cluster, topic); n != 12 || !maps.Equal(got, want) {
			t.Errorf("%s has %d partitions, %v, want 12, %v", topic, n, got, want)
		}
	}
	forEver := map[string]string{"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
	if n, got := settingsOf(cluster, "ev.checkpoint"); n != 1 || !maps.Equal(got, forEver) {
		t.Errorf("ev.checkpoint has %d partitions, %v", n, got)
	}
	for _, topic := range []string{"ev.register", "ev.health", "ev.supply.request", "ev.supply.telemetry", "ev.supply.done", "ev.control"} {
		if n, got := settingsOf(cluster, topic+".dlq"); n != 1 || !maps.Equal(got, kept) {
			t.Errorf("%s.dlq has %d partitions, %v", topic, n, got)
		}
	}
	for _, topic := range []string{"ev.commands", "ev.cp.state"} {
		if n, _ := settingsOf(cluster, topic+".dlq"); n != 0 {
			t.Errorf("%s.dlq exists", topic)
		}
	}
	if got := tr.Topics(); got != DefaultTopics() {
		t.Errorf("the names are %+v", got)
	}
}

// Topics that somebody else made keep what they have and get what they lack.
func TestTopicsThatAreThereAreAmended(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.register", "ev.supply.done", "ev.control", "ev.cp.state"))
	if err := cluster.CreateTopic("ev.health", 3, map[string]string{"message.timestamp.type": "CreateTime", "retention.ms": "1000"}); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"ev.supply.auth", "ev.supply.request"} {
		if err := cluster.CreateTopic(topic, 2, map[string]string{"retention.ms": "-1"}); err != nil {
			t.Fatal(err)
		}
	}
	connect(t, cluster.ListenAddrs()[0])
	for topic, want := range map[string]struct {
		partitions int
		settings   map[string]string
	}{
		"ev.register":    {1, map[string]string{"message.timestamp.type": "LogAppendTime", "retention.ms": monthInMillis}},
		"ev.supply.done": {1, map[string]string{"message.timestamp.type": "LogAppendTime", "retention.ms": monthInMillis}},
		"ev.cp.state":    {1, map[string]string{"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"}},
		"ev.health":      {3, map[string]string{"message.timestamp.type": "LogAppendTime", "retention.ms": "1000"}},
		"ev.supply.auth": {2, map[string]string{"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}},
	} {
		if n, got := settingsOf(cluster, topic); n != want.partitions || !maps.Equal(got, want.settings) {
			t.Errorf("%s has %d partitions, %v, want %+v", topic, n, got, want)
		}
	}
}

// Whoever wants records to be kept longer, or for ever, is left alone.
func TestLongerRetentionSuffices(t *testing.T) {
	for is, want := range map[string]bool{"-1": true, monthInMillis: true, "99999999999": true, "2678399999": false, "": false, "x": false} {
		if got := suffices(retentionTime, is, monthInMillis); got != want {
			t.Errorf("%q: %v", is, got)
		}
		if got := suffices(retentionTime, is, forEver); got != (is == "-1") {
			t.Errorf("%q, where it is to be for ever: %v", is, got)
		}
	}
}

// Where the broker may not be told to set the time, one line says so, and the records' ages
// are judged by nobody; where it does set it, they are.
func TestOnlyTheBrokersTimeIsTrusted(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.health"))
	refuse := true
	cluster.ControlKey(int16(kmsg.IncrementalAlterConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if !refuse {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
		for _, asked := range r.(*kmsg.IncrementalAlterConfigsRequest).Resources {
			res := kmsg.NewIncrementalAlterConfigsResponseResource()
			res.ResourceName, res.ResourceType, res.ErrorCode = asked.ResourceName, asked.ResourceType, 29 // TOPIC_AUTHORIZATION_FAILED
			resp.Resources = append(resp.Resources, res)
		}
		return resp, nil, true
	})
	log := new(lines)
	tr := connectBare(t, cluster.ListenAddrs()[0], log.logger())
	if err := tr.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), `should have message.timestamp.type=LogAppendTime and may not be changed; the age of their records is judged by nobody" topics=ev.health`); n != 1 {
		t.Errorf("the log is\n%s", log)
	}
	got := make(chan message.Source, 9)
	inGroup(t, tr, "g", []string{tr.Topics().Health, tr.Topics().Register}, func(_ context.Context, r message.Received) error {
		got <- r.Source
		return nil
	})
	sendBoth := func() map[string]bool {
		if err := tr.Send(t.Context(), message.Health{Point: "CP-001", Status: message.HealthOK}, message.Registration{Point: "CP-001"}); err != nil {
			t.Fatal(err)
		}
		trusted := make(map[string]bool)
		for range 2 {
			s := receive(t, "a record", got)
			trusted[s.Topic] = s.Trusted
			if s.Timestamp == 0 {
				t.Errorf("%s has no time", s.Topic)
			}
		}
		return trusted
	}
	if trusted := sendBoth(); trusted["ev.health"] || !trusted["ev.register"] {
		t.Errorf("trusted are %v", trusted)
	}
	refuse = false
	if err := tr.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	if trusted := sendBoth(); !trusted["ev.health"] || !trusted["ev.register"] {
		t.Errorf("trusted are %v", trusted)
	}
}

func TestATopicThatMayNotBeCreated(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	cluster.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := r.ResponseKind().(*kmsg.CreateTopicsResponse)
		for _, asked := range r.(*kmsg.CreateTopicsRequest).Topics {
			res := kmsg.NewCreateTopicsResponseTopic()
			res.Topic, res.ErrorCode = asked.Topic, 31 // CLUSTER_AUTHORIZATION_FAILED
			resp.Topics = append(resp.Topics, res)
		}
		return resp, nil, true
	})
	tr := connectBare(t, cluster.ListenAddrs()[0], nil)
	err := tr.EnsureTopics(t.Context())
	if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "it may not create them: ev.checkpoint, ev.commands, ev.control, ev.control.dlq, ") {
		t.Errorf("the error is %v", err)
	}
}

func TestTopicsOfOtherNames(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	addr := cluster.ListenAddrs()[0]
	tr, err := Connect(t.Context(), Config{Brokers: []string{addr}, Topics: Topics{Health: "other.health"}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tr.Send(t.Context(), message.Health{Point: "CP-001", Status: message.HealthOK}); err != nil {
		t.Fatal(err)
	}
	var held int64
	for _, p := range cluster.PartitionInfos("other.health") {
		held += p.HighWatermark
	}
	if n, _ := settingsOf(cluster, "ev.health"); held != 1 || n != 0 {
		t.Errorf("other.health holds %d records, ev.health has %d partitions", held, n)
	}
	if got, want := tr.Topics().Health, "other.health"; got != want {
		t.Errorf("the name is %s", got)
	}
	if _, err := Connect(t.Context(), Config{Brokers: []string{addr}, Topics: Topics{Health: "x", Done: "x"}}); err == nil || !strings.Contains(err.Error(), `"x" is named twice`) {
		t.Errorf("the error is %v", err)
	}
}

// What the wiring asks of a consumer group and of a topic's end.
func TestMembersAndRead(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topics := tr.Topics()
	members := func() int {
		clients, err := tr.Members(t.Context(), "g", topics.Control)
		if err != nil {
			t.Fatal(err)
		}
		return len(clients)
	}
	if n := members(); n != 0 {
		t.Errorf("a group that nobody was in has %d members", n)
	}
	stop := inGroup(t, tr, "g", []string{topics.Control}, func(context.Context, message.Received) error {
		return &message.RejectedError{Reason: errors.New("no such point")}
	})
	await(t, "the group has a member", func() bool { return members() == 1 })

	// The dead letters of a topic are followed as what they are.
	got := make(chan message.Received, 9)
	ready := following(t, tr, []string{DeadLetters(topics.Control)}, 0, func(_ context.Context, r message.Received) { got <- r })
	receive(t, "ready", ready)
	asked := message.Control{ID: "c-1", Point: "CP-404", Action: message.ActionStop}
	if err := tr.Send(t.Context(), asked); err != nil {
		t.Fatal(err)
	}
	produceKeyless(t, addr, topics.Control, `hello`)
	letters := make(map[string]message.DeadLetter)
	for range 2 {
		l := receive(t, "a dead letter", got).Message.(message.DeadLetter)
		letters[l.Reason] = l
	}
	if l := letters["no such point"]; l.Message != asked || l.Topic != topics.Control {
		t.Errorf("the letters are %+v", letters)
	}
	stop()
	if stayed, err := tr.WaitForMembersToLeave(t.Context(), "g", "", topics.Control); err != nil || len(stayed) != 0 || members() != 0 {
		t.Errorf("the group has %d members, %v", members(), err)
	}

	// A topic is read to the end that it has.
	var read []string
	for range 2 {
		for _, p := range []message.PointState{{Point: "CP-001", State: "BROKEN", Version: 1}, {Point: "CP-002", State: "BROKEN", Version: 2}} {
			if err := tr.Send(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tr.Read(t.Context(), topics.State, func(r message.Received) {
		read = append(read, string(r.Message.(message.PointState).Point))
	}); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(read); !slices.Equal(read, []string{"CP-001", "CP-001", "CP-002", "CP-002"}) {
		t.Errorf("read are %v", read)
	}
	if err := tr.Read(t.Context(), topics.Ticket, func(message.Received) { t.Error("an empty topic has a record") }); err != nil {
		t.Error(err)
	}
}
