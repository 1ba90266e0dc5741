package kafka

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"evcharging/application/message"
	"evcharging/domain"
)

// following runs Follow until the test ends. Ready is closed when it was called.
func following(tb testing.TB, t *Transport, topics []string, from domain.UnixMillis, handle func(context.Context, message.Received)) (ready <-chan struct{}) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	called, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- t.Follow(ctx, topics, from, func() { close(called) }, handle) }()
	tb.Cleanup(func() {
		cancel()
		if err := receive(tb, "the end of Follow", ended); err != nil {
			tb.Error(err)
		}
	})
	return called
}

func TestFollowReadsAllPartitionsFromAnInstant(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topic := tr.Topics().Telemetry
	const points = 40
	old, from := time.UnixMilli(1_000_000), time.UnixMilli(2_000_000)
	for _, at := range []time.Time{old, from} {
		var records []*kgo.Record
		for i := range points {
			value := encodeOne(t, sample(point(i), at.UnixMilli())).value
			records = append(records, &kgo.Record{Topic: topic, Key: []byte(point(i)), Value: value, Timestamp: at})
		}
		produceRaw(t, addr, records...)
	}
	got := make(chan message.Received, 3*points)
	begun := time.Now()
	ready := following(t, tr, []string{topic, tr.Topics().Auth}, domain.At(from), func(_ context.Context, r message.Received) { got <- r })
	receive(t, "ready", ready)
	sendSamples(t, tr, points, 1, 1) // whatever their time says, they are sent after ready

	seen := make(map[int64]int)
	spread := make(map[int32]bool)
	for range 2 * points {
		r := receive(t, "a sample", got)
		seen[r.Message.(message.MeterValue).Seq]++
		spread[r.Source.Partition] = true
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the first records take %v, more than 1 s", took)
	}
	if seen[from.UnixMilli()] != points || seen[1] != points || seen[old.UnixMilli()] != 0 {
		t.Errorf("seen are %v", seen)
	}
	if len(spread) < partitions/2 {
		t.Errorf("seen are %d partitions", len(spread))
	}
}

func TestFollowReadsFromTheOldestAndSkipsWhatIsUnreadable(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t, kfake.SeedTopics(1, "ev.supply.auth"))
	addr := cluster.ListenAddrs()[0]
	log := new(lines)
	tr := connectBare(t, addr, log.logger())
	topic := tr.Topics().Auth
	produceRaw(t, addr,
		&kgo.Record{Topic: topic, Value: []byte(`{"driver_id":"D-1","cp_id":"CP-001","authorized":true}`), Timestamp: time.UnixMilli(1)},
		&kgo.Record{Topic: topic, Value: []byte(`hello`)},
		&kgo.Record{Topic: topic},
		&kgo.Record{Topic: topic, Value: []byte(`{"driver_id":"D-2","cp_id":"CP-001","authorized":true}`)})
	got := make(chan message.Received, 9)
	following(t, tr, []string{topic}, 0, func(_ context.Context, r message.Received) { got <- r })
	for i, want := range []domain.DriverID{"D-1", "D-2"} {
		if r := receive(t, "an answer", got); r.Message.(message.Answer).Driver != want || r.Source.Offset != int64(3*i) {
			t.Errorf("it is %+v", r)
		}
	}
	if s := tr.Stats()[topic]; s.Skipped != 2 || s.Received != 4 {
		t.Errorf("the counters are %+v", s)
	}
	if strings.Count(log.String(), "records are skipped") != 1 {
		t.Errorf("the log is\n%s", log)
	}
}

// Where nothing is as young as the instant, nothing that was there is read.
func TestFollowFromNow(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr := connect(t, cluster.ListenAddrs()[0])
	topic := tr.Topics().Telemetry
	sendSamples(t, tr, 20, 1, 1)
	got := make(chan int64, 100)
	ready := following(t, tr, []string{topic}, domain.At(time.Now().Add(time.Hour)), func(_ context.Context, r message.Received) {
		got <- r.Message.(message.MeterValue).Seq
	})
	receive(t, "ready", ready)
	sendSamples(t, tr, 20, 2, 2)
	for range 20 {
		if seq := receive(t, "a sample", got); seq != 2 {
			t.Errorf("sample %d is read", seq)
		}
	}
}

// A Driver may be there before Central: topics that are missing, and partitions that are
// added, are read from their first record.
func TestFollowNoticesTopicsThatComeLater(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr := connectBare(t, cluster.ListenAddrs()[0], nil)
	got := make(chan message.Received, 9)
	ready := following(t, tr, []string{tr.Topics().Ticket}, domain.At(time.Now()), func(_ context.Context, r message.Received) { got <- r })
	receive(t, "ready", ready)
	if err := tr.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := message.Ticket{ID: "t", Session: aSession, Driver: "D-7", Point: "CP-001", Reason: "EXPIRED"}
	if err := tr.Send(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if r := receive(t, "the ticket", got); r.Message != want {
		t.Errorf("it is %+v", r)
	}
}

// The broker stops, loses nothing and starts again on its port, while a group works, Follow
// reads and a sender goes on trying: everything that was acknowledged arrives, each point's
// samples in their order.
func TestTheBrokerRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cluster, err := kfake.NewCluster(append(durable(dir, 0), kfake.NumBrokers(1))...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cluster.Close() }()
	addr, port := cluster.ListenAddrs()[0], portOf(t, cluster)
	log := new(lines)
	tr := connectBare(t, addr, log.logger())
	if err := tr.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	topic := tr.Topics().Telemetry
	const points, samples = 20, 60
	l := newLedger(t)
	inGroup(t, tr, "g", []string{topic}, func(_ context.Context, r message.Received) error {
		m := r.Message.(message.MeterValue)
		l.enter(m)
		l.leave(m, true)
		return nil
	})
	followed := newLedger(t)
	ready := following(t, tr, []string{topic}, domain.At(time.Now()), func(_ context.Context, r message.Received) {
		m := r.Message.(message.MeterValue)
		followed.enter(m)
		followed.leave(m, true)
	})
	receive(t, "ready", ready)
	var changes []bool
	watching, stop := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		tr.Watch(watching, func(up bool, err error) {
			changes = append(changes, up)
			if up != (err == nil) || !up && !strings.Contains(err.Error(), addr) {
				t.Errorf("up is %v, the reason %v", up, err)
			}
		})
	}()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	back := make(chan time.Time, 1)
	var recovered time.Duration
	for seq := int64(1); seq <= samples; seq++ {
		if seq == samples/2 {
			cluster.Close()
			time.AfterFunc(2500*time.Millisecond, func() {
				again, err := kfake.NewCluster(append(durable(dir, port), kfake.NumBrokers(1))...)
				if err != nil {
					t.Error(err)
					return
				}
				cluster = again
				back <- time.Now()
			})
		}
		var batch []message.Message
		for i := range points {
			batch = append(batch, sample(point(i), seq))
		}
		for p := (pauses{}); tr.Send(ctx, batch...) != nil; {
			if !p.wait(ctx.Done(), nil) {
				t.Fatal("the sender does not come back")
			}
		}
		if seq == samples/2 {
			recovered = time.Since(receive(t, "the broker", back))
		}
	}
	t.Logf("the sender is back after %v", recovered)
	if recovered > 8*time.Second {
		t.Errorf("the sender is back after %v", recovered)
	}
	await(t, "the group has done all", func() bool { return l.complete(points, samples) })
	await(t, "Follow has read all", func() bool { return followed.complete(points, samples) })
	await(t, "the log says that it is back", func() bool { return strings.Contains(log.String(), "Kafka is reached again") })
	stop()
	<-watched
	if !slices.Equal(changes, []bool{false, true}) {
		t.Errorf("the changes are %v", changes)
	}
	if n := strings.Count(log.String(), "can't be reached"); n != 1 {
		t.Errorf("%d lines say that it can't be reached:\n%s", n, log)
	}
}
