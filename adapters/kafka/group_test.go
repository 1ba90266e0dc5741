package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"evcharging/application/message"
	"evcharging/domain"
)

// ledger checks what handlers do: that every sample of a point is done after the one
// before it, and one at a time. Repeats are allowed.
type ledger struct {
	tb      testing.TB
	mu      sync.Mutex
	done    map[domain.PointID]int64
	inside  map[domain.PointID]bool
	repeats int
}

func newLedger(tb testing.TB) *ledger {
	return &ledger{tb: tb, done: make(map[domain.PointID]int64), inside: make(map[domain.PointID]bool)}
}

func (l *ledger) enter(m message.MeterValue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inside[m.Point] {
		l.tb.Errorf("two records of %s are handled at once", m.Point)
	}
	l.inside[m.Point] = true
}

func (l *ledger) leave(m message.MeterValue, done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside[m.Point] = false
	if !done {
		return
	}
	switch last := l.done[m.Point]; {
	case m.Seq <= last:
		l.repeats++
	case m.Seq == last+1:
		l.done[m.Point] = m.Seq
	default:
		l.tb.Errorf("%s: %d is done after %d", m.Point, m.Seq, last)
	}
}

// complete tells whether all of points have n samples done.
func (l *ledger) complete(points, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range points {
		if l.done[point(i)] != int64(n) {
			return false
		}
	}
	return true
}

func point(i int) domain.PointID { return domain.PointID(fmt.Sprintf("CP-%03d", i)) }

// send sends samples from to to, of so many points each.
func sendSamples(tb testing.TB, t *Transport, points int, from, to int64) {
	tb.Helper()
	for seq := from; seq <= to; seq++ {
		var batch []message.Message
		for i := range points {
			batch = append(batch, sample(point(i), seq))
		}
		if err := t.Send(context.Background(), batch...); err != nil {
			tb.Fatal(err)
		}
	}
}

// committed is a group's offset in partition 0 of a topic, -1 for none.
func committed(tb testing.TB, addr, group, topic string) int64 {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	offsets, err := kadm.NewClient(client).FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return -1
	}
	if err != nil {
		tb.Fatal(err)
	}
	if o, ok := offsets.Lookup(topic, 0); ok {
		return o.At
	}
	return -1
}

// The acknowledgement is the last thing: a record whose handler fails is tried again, one
// that was not done when its reader went comes to the next, and so does what lies behind it.
func TestARecordThatIsNotDoneComesAgain(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.supply.telemetry"))
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topic := tr.Topics().Telemetry
	sendSamples(t, tr, 3, 1, 1)

	others := make(chan domain.PointID, 10)
	var tried atomic.Int32
	stop := inGroup(t, tr, "g", []string{topic}, func(_ context.Context, r message.Received) error {
		m := r.Message.(message.MeterValue)
		if m.Point == point(1) {
			tried.Add(1)
			return errors.New("the store is away")
		}
		others <- m.Point
		return nil
	})
	got := []domain.PointID{receive(t, "a sample", others), receive(t, "a sample", others)}
	slices.Sort(got)
	if !slices.Equal(got, []domain.PointID{point(0), point(2)}) {
		t.Fatalf("handled are %v", got)
	}
	await(t, "the record is tried again", func() bool { return tried.Load() > 2 })
	stop()
	if at := committed(t, addr, "g."+topic, topic); at != 1 {
		t.Errorf("committed is %d, want 1: the first is done, the second is not", at)
	}
	if s := tr.Stats()[topic]; s.InFlight != 0 || s.Acked != 2 || s.Received != 3 || s.Retried < 2 {
		t.Errorf("the counters are %+v", s)
	}

	again := make(chan domain.PointID, 10)
	inGroup(t, tr, "g", []string{topic}, func(_ context.Context, r message.Received) error {
		again <- r.Message.(message.MeterValue).Point
		return nil
	})
	got = []domain.PointID{receive(t, "a repeat", again), receive(t, "a repeat", again)}
	slices.Sort(got)
	if !slices.Equal(got, []domain.PointID{point(1), point(2)}) {
		t.Errorf("what comes again is %v", got)
	}
}

// What is being worked on when the program stops is finished and committed.
func TestStoppingFinishesWhatWasBegun(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.supply.telemetry"))
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topic := tr.Topics().Telemetry
	sendSamples(t, tr, 1, 1, 5)
	begun, release := make(chan int64, 9), make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- tr.Group(ctx, "g", []string{topic}, func(ctx context.Context, r message.Received) error {
			begun <- r.Message.(message.MeterValue).Seq
			<-release
			return ctx.Err()
		})
	}()
	receive(t, "the first sample", begun)
	stop()
	close(release)
	if err := receive(t, "the end of Group", ended); err != nil {
		t.Fatal(err)
	}
	if at, want := committed(t, addr, "g."+topic, topic), int64(1+len(begun)); at != want {
		t.Errorf("committed is %d, begun were %d", at, want)
	}
}

// Readers come and go while samples are sent and handlers fail: nothing is lost, and each
// point's samples are done in their order.
func TestNothingIsLostOverRetriesAndRebalances(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.NumBrokers(3))
	addr := cluster.ListenAddrs()[0]
	sender := connect(t, addr)
	topic := sender.Topics().Telemetry
	const points, samples = 60, 60
	l := newLedger(t)
	handle := func(ctx context.Context, r message.Received) error {
		m := r.Message.(message.MeterValue)
		l.enter(m)
		if rand.IntN(8) == 0 {
			l.leave(m, false)
			return errors.New("now and then it fails")
		}
		select {
		case <-time.After(time.Duration(rand.IntN(int(2 * time.Millisecond)))):
		case <-ctx.Done():
		}
		l.leave(m, true)
		return nil
	}
	first := inGroup(t, connect(t, addr), "g", []string{topic}, handle)
	sendSamples(t, sender, points, 1, samples/3)
	inGroup(t, connect(t, addr), "g", []string{topic}, handle)
	sendSamples(t, sender, points, samples/3+1, samples*2/3)
	await(t, "both readers have a part", func() bool {
		info := cluster.GroupInfo("g." + topic)
		return info != nil && len(info.Members) == 2 && info.State == "Stable"
	})
	first()
	inGroup(t, connect(t, addr), "g", []string{topic}, handle)
	sendSamples(t, sender, points, samples*2/3+1, samples)
	await(t, "all samples are done", func() bool { return l.complete(points, samples) })
	t.Logf("%d of %d records were repeats", l.repeats, points*samples)
}

// A record that nobody can take in holds up its own point only, until the window is full.
func TestAStuckPointHoldsUpOnlyItself(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.supply.telemetry"))
	tr := connect(t, cluster.ListenAddrs()[0])
	topic := tr.Topics().Telemetry
	const points, samples = 20, 150 // 3,000 records, the window is 2,048
	sendSamples(t, tr, points, 1, samples)
	l := newLedger(t)
	var stuck atomic.Bool
	stuck.Store(true)
	bad := point(0)
	inGroup(t, tr, "g", []string{topic}, func(_ context.Context, r message.Received) error {
		m := r.Message.(message.MeterValue)
		l.enter(m)
		ok := m.Point != bad || !stuck.Load()
		l.leave(m, ok)
		if !ok {
			return errors.New("not yet")
		}
		return nil
	})
	// Of the points that share its lane nothing goes on; of the others all that fits into the window.
	lane := laneOf(&delivery{message: sample(bad, 1)})
	others, inWindow := 0, 0
	for i := range window {
		if laneOf(&delivery{message: sample(point(i%points), 1)}) != lane {
			inWindow++
		}
	}
	for i := range points {
		if laneOf(&delivery{message: sample(point(i), 1)}) != lane {
			others++
		}
	}
	if others < points/2 {
		t.Fatalf("only %d of %d points are in other lanes", others, points)
	}
	await(t, "the others go on", func() bool { return int(tr.Stats()[topic].Acked) == inWindow })
	if s := tr.Stats()[topic]; s.InFlight != window {
		t.Errorf("%d records are between reception and acknowledgement, want the window, %d", s.InFlight, window)
	}
	stuck.Store(false)
	await(t, "all samples are done", func() bool { return l.complete(points, samples) })
	await(t, "the window is empty", func() bool { return tr.Stats()[topic].InFlight == 0 })
}

// A sender without keys spreads a point's records over the partitions: still one at a time.
func TestOneAtATimeForAPointOverAllPartitions(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topic := tr.Topics().Health
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const n = 100
	var records []*kgo.Record
	for range n {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(`{"id":"CP-001","status":"OK"}`)})
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	var inside, handled atomic.Int32
	seen := make(map[int32]bool)
	inGroup(t, tr, "g", []string{topic}, func(_ context.Context, r message.Received) error {
		if inside.Add(1) != 1 {
			t.Error("two records of one point are handled at once")
		}
		seen[r.Source.Partition] = true
		time.AfterFunc(0, func() {}) // gives others a chance
		inside.Add(-1)
		handled.Add(1)
		return nil
	})
	await(t, "all are handled", func() bool { return handled.Load() == n })
	if len(seen) != partitions {
		t.Errorf("the records came on %d partitions", len(seen))
	}
}

// A driver's request and an operator's record are committed while the group works.
func TestRequestsAreCommittedAtOnce(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.supply.request", "ev.control"))
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topics := []string{tr.Topics().Request, tr.Topics().Control}
	const n = 20
	for range n {
		if err := tr.Send(t.Context(),
			message.Request{Driver: "D-7", Point: "CP-001"},
			message.Control{ID: "c-1", Point: "CP-001", Action: message.ActionStop}); err != nil {
			t.Fatal(err)
		}
	}
	inGroup(t, tr, "g", topics, func(context.Context, message.Received) error { return nil })
	for _, topic := range topics {
		await(t, topic+" is committed", func() bool { return committed(t, addr, "g."+topic, topic) == n })
	}
}

// A topic that comes later is read from its first record.
func TestAGroupWaitsForItsTopic(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr := connectBare(t, cluster.ListenAddrs()[0], nil)
	got := make(chan message.Message, 1)
	inGroup(t, tr, "g", []string{tr.Topics().Health}, func(_ context.Context, r message.Received) error {
		got <- r.Message
		return nil
	})
	if err := tr.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := message.Health{Point: "CP-001", Status: message.HealthOK}
	if err := tr.Send(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, "the report", got); m != want {
		t.Errorf("it is %+v", m)
	}
}

// letters reads a dead-letter topic from its beginning.
func letters(tb testing.TB, addr, topic string, n int) []*kgo.Record {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var got []*kgo.Record
	for len(got) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			tb.Fatalf("after %d of %d letters: %v", len(got), n, err)
		}
		got = append(got, fetches.Records()...)
	}
	slices.SortFunc(got, func(a, b *kgo.Record) int { return strings.Compare(header(a, headerOffset), header(b, headerOffset)) })
	return got
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func produceRaw(tb testing.TB, addr string, records ...*kgo.Record) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ProducerBatchMaxBytes(4<<20), kgo.BrokerMaxWriteBytes(16<<20))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		tb.Fatal(err)
	}
}

// What can't be understood, and what is refused, lies in the dead-letter topic as it came,
// with the reason, and the work goes on.
func TestRefusedRecordsGoToTheDeadLetterTopic(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.health"))
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topic := tr.Topics().Health
	produceRaw(t, addr,
		&kgo.Record{Topic: topic, Value: []byte(`{"id":"CP-001","status":"FINE"}`)},
		&kgo.Record{Topic: topic, Key: []byte("k\xff"), Value: []byte("\xff\x00"), Headers: []kgo.RecordHeader{{Key: "theirs", Value: []byte("1")}, {Key: "dlq_error", Value: []byte("forged")}}},
		&kgo.Record{Topic: topic, Key: []byte{}, Value: nil},
		&kgo.Record{Topic: topic, Value: []byte{}},
		&kgo.Record{Topic: topic, Value: []byte(`{"id":"CP-404","status":"OK"}`)},
		&kgo.Record{Topic: topic, Value: []byte(`{"id":"CP-405","status":"OK"}`)},
		&kgo.Record{Topic: topic, Value: []byte(`{"id":"CP-001","status":"OK"}`)},
	)
	handled := make(chan domain.PointID, 10)
	inGroup(t, tr, "g", []string{topic}, func(ctx context.Context, r message.Received) error {
		m := r.Message.(message.Health)
		switch m.Point {
		case "CP-404":
			return fmt.Errorf("wrapped: %w", &message.RejectedError{Reason: errors.New("no such point")})
		case "CP-405":
			return fmt.Errorf("a turn: %w", tr.Send(ctx, message.Health{Point: m.Point}))
		}
		handled <- m.Point
		return nil
	})
	if got := receive(t, "the good record", handled); got != "CP-001" {
		t.Errorf("handled is %s", got)
	}
	want := []struct{ key, value, reason string }{
		{"<nil>", `{"id":"CP-001","status":"FINE"}`, `the field "status" is "FINE"`},
		{"k\xff", "\xff\x00", "it is not JSON"},
		{"", "<nil>", "it has no value"},
		{"<nil>", "", "it is empty"},
		{"<nil>", `{"id":"CP-404","status":"OK"}`, "no such point"},
		{"<nil>", `{"id":"CP-405","status":"OK"}`, `the field "status" is missing`},
	}
	show := func(b []byte) string {
		if b == nil {
			return "<nil>"
		}
		return string(b)
	}
	for i, r := range letters(t, addr, topic+".dlq", len(want)) {
		if show(r.Key) != want[i].key || show(r.Value) != want[i].value {
			t.Errorf("letter %d came as %q %q, want %q %q", i, show(r.Key), show(r.Value), want[i].key, want[i].value)
		}
		if got := header(r, headerError); !strings.Contains(got, want[i].reason) {
			t.Errorf("letter %d: the reason is %q, want %q", i, got, want[i].reason)
		}
		if header(r, headerTopic) != topic || header(r, headerPartition) != "0" || header(r, headerOffset) != fmt.Sprint(i) || header(r, headerTruncated) != "" {
			t.Errorf("letter %d: the headers are %v", i, r.Headers)
		}
		if i == 1 && (header(r, "theirs") != "1" || len(r.Headers) != 5) {
			t.Errorf("letter %d: the headers are %v", i, r.Headers)
		}
	}
	await(t, "all are acknowledged", func() bool { return tr.Stats()[topic].Acked == 7 })
	if s := tr.Stats()[topic]; s.DeadLettered != 6 || s.Retried != 0 {
		t.Errorf("the counters are %+v", s)
	}
}

// A dead letter that the broker refuses for its size is cut; where even that is refused, a
// line in the log is all that is left. Neither stops its partition.
func TestADeadLetterThatIsTooLarge(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 1<<20)
	tests := map[string]struct {
		limit string // of the dead-letter topic
		want  int    // bytes of the value
	}{
		"is cut":                        {"1048588", truncatedTo},
		"is cut for a topic with less":  {"65536", truncatedTo},
		"is lost for one with too less": {"1000", -1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cluster := startKafka(t)
			addr := cluster.ListenAddrs()[0]
			for topic, limit := range map[string]string{"ev.health": "4194304", "ev.health.dlq": test.limit} {
				if err := cluster.CreateTopic(topic, 1, map[string]string{"max.message.bytes": limit}); err != nil {
					t.Fatal(err)
				}
			}
			log := new(lines)
			tr := connectBare(t, addr, log.logger())
			if err := tr.EnsureTopics(t.Context()); err != nil {
				t.Fatal(err)
			}
			topic := tr.Topics().Health
			produceRaw(t, addr,
				&kgo.Record{Topic: topic, Key: []byte(big), Value: []byte(big), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(big)}}},
				&kgo.Record{Topic: topic, Value: []byte(`{"id":"CP-001","status":"OK"}`)})
			handled := make(chan struct{}, 1)
			inGroup(t, tr, "g", []string{topic}, func(context.Context, message.Received) error {
				handled <- struct{}{}
				return nil
			})
			receive(t, "the record behind it", handled)
			await(t, "both are acknowledged", func() bool { return tr.Stats()[topic].Acked == 2 })
			if test.want < 0 {
				if !strings.Contains(log.String(), "it is lost") {
					t.Errorf("the log is\n%s", log)
				}
				return
			}
			r := letters(t, addr, topic+".dlq", 1)[0]
			if len(r.Value) != test.want || len(r.Key) != truncatedTo || header(r, headerTruncated) != "true" || header(r, headerError) == "" || header(r, "h") != "" {
				t.Errorf("the letter has a key of %d bytes, a value of %d, %d headers", len(r.Key), len(r.Value), len(r.Headers))
			}
		})
	}
}

// A dead-letter topic that somebody deleted is made again.
func TestADeadLetterTopicThatIsMissing(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.health"))
	addr := cluster.ListenAddrs()[0]
	tr := connectBare(t, addr, nil)
	topic := tr.Topics().Health
	produceRaw(t, addr, &kgo.Record{Topic: topic, Value: []byte(`{}`)})
	inGroup(t, tr, "g", []string{topic}, func(context.Context, message.Received) error { return nil })
	await(t, "it is acknowledged", func() bool { return tr.Stats()[topic].Acked == 1 })
	letters(t, addr, topic+".dlq", 1)
}

func TestATopicOfNobody(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr := connectBare(t, cluster.ListenAddrs()[0], nil)
	if err := tr.Group(t.Context(), "g", []string{"else"}, nil); err == nil || !strings.Contains(err.Error(), `"else" is no topic`) {
		t.Errorf("Group says %v", err)
	}
	if err := tr.Follow(t.Context(), []string{"else"}, 0, nil, nil); err == nil || !strings.Contains(err.Error(), `"else" is no topic`) {
		t.Errorf("Follow says %v", err)
	}
}
