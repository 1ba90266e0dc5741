package kafka

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	theirs "github.com/segmentio/kafka-go"

	"evcharging/application/message"
	"evcharging/domain"
)

func portText(port int) string { return strconv.Itoa(port) }

// produceKeyless sends a record as a program of another make does: no key, no headers.
func produceKeyless(tb testing.TB, addr, topic string, values ...string) {
	tb.Helper()
	connections := new(theirs.Transport)
	defer connections.CloseIdleConnections()
	w := &theirs.Writer{Transport: connections, Addr: theirs.TCP(addr), Topic: topic, Balancer: &theirs.RoundRobin{}, BatchTimeout: time.Millisecond}
	defer w.Close()
	var messages []theirs.Message
	for _, v := range values {
		messages = append(messages, theirs.Message{Value: []byte(v)})
	}
	if err := w.WriteMessages(context.Background(), messages...); err != nil {
		tb.Fatal(err)
	}
}

// Records as the reference sends them, by a client that is not ours, are understood.
func TestAForeignClientsRecordsAreRead(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topics := tr.Topics()
	produceKeyless(t, addr, topics.Register, `{"id": "CP-001", "location": "Alicante", "price_eur_kwh": 0.3}`)
	produceKeyless(t, addr, topics.Health, `{"id": "CP-001", "status": "RECOVERED"}`)
	produceKeyless(t, addr, topics.Request, `{"driver_id": "D-001", "cp_id": "CP-001"}`)
	produceKeyless(t, addr, topics.Telemetry, `{"session_id": "s-1", "cp_id": "CP-001", "driver_id": "D-001", "kw": 7.2, "euros": 0.0006}`)
	produceKeyless(t, addr, topics.Done, `{"session_id": "s-1", "cp_id": "CP-001", "driver_id": "D-001", "total_kwh": 1.25, "total_eur": 0.375, "reason": "STOP_BY_CENTRAL"}`)
	got := make(chan message.Received, 9)
	inGroup(t, tr, "g", []string{topics.Register, topics.Health, topics.Request, topics.Telemetry, topics.Done}, func(_ context.Context, r message.Received) error {
		got <- r
		return nil
	})
	seen := make(map[string]message.Message)
	for range 5 {
		r := receive(t, "a record", got)
		seen[r.Source.Topic] = r.Message
		if r.Source.Timestamp == 0 || r.Source.Digest == [8]byte{} {
			t.Errorf("its source is %+v", r.Source)
		}
	}
	if r := seen[topics.Register].(message.Registration); *r.Location != "Alicante" || *r.Price != 300_000 || r.PriceText != "0.3" {
		t.Errorf("it is %+v", r)
	}
	delete(seen, topics.Register)
	want := map[string]message.Message{
		topics.Health:    message.Health{Point: "CP-001", Status: message.HealthRecovered},
		topics.Request:   message.Request{Driver: "D-001", Point: "CP-001"},
		topics.Telemetry: message.MeterValue{Session: "s-1", Point: "CP-001", Driver: "D-001", Power: 7_200, Amount: 600},
		topics.Done:      message.Done{Session: "s-1", Point: "CP-001", Driver: "D-001", Energy: 1_250_000, Amount: 375_000, Reason: message.DoneStopped},
	}
	if !maps.Equal(seen, want) {
		t.Errorf("got  %+v\nwant %+v", seen, want)
	}
}

// What we send, a client that is not ours reads: key, headers and bytes. The same key goes
// to the same partition.
func TestAForeignClientReadsOurRecords(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	addr := cluster.ListenAddrs()[0]
	tr := connect(t, addr)
	topic := tr.Topics().Start
	price := ptr(domain.MicroEurosPerKWh(300_000))
	for range 2 {
		for _, p := range []domain.PointID{"CP-001", "CP-002", "CP-003"} {
			if err := tr.Send(t.Context(), message.Order{Kind: message.OrderStart, Point: p, Session: "s-1", Driver: "D-7", Price: price}); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	type sent struct {
		key, value string
		partition  int
	}
	var got []sent
	ids := make(map[string]bool)
	for p, info := range cluster.PartitionInfos(topic) {
		r := theirs.NewReader(theirs.ReaderConfig{Brokers: []string{addr}, Topic: topic, Partition: p, MaxWait: 100 * time.Millisecond})
		for range info.HighWatermark {
			m, err := r.ReadMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, sent{string(m.Key), string(m.Value), p})
			headers := make(map[string]string)
			for _, h := range m.Headers {
				headers[h.Key] = string(h.Value)
			}
			ids[headers["_watermill_message_uuid"]] = true
			if headers["content-type"] != "application/json" || len(headers) != 2 {
				t.Errorf("the headers are %v", headers)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(ids) != 6 || ids[""] {
		t.Errorf("the ids are %v", ids)
	}
	partitions := make(map[string]map[int]bool)
	for _, s := range got {
		if want := `{"session_id":"s-1","cp_id":"` + s.key + `","driver_id":"D-7","price":0.3}`; s.value != want {
			t.Errorf("it is %s, want %s", s.value, want)
		}
		if partitions[s.key] == nil {
			partitions[s.key] = make(map[int]bool)
		}
		partitions[s.key][s.partition] = true
	}
	keys := slices.Sorted(maps.Keys(partitions))
	if !slices.Equal(keys, []string{"CP-001", "CP-002", "CP-003"}) {
		t.Errorf("the keys are %v", keys)
	}
	for key, in := range partitions {
		if len(in) != 1 {
			t.Errorf("%s is in the partitions %v", key, in)
		}
	}
}
