package broker_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"evcharging/adapters/broker"
)

// child makes this test binary a broker on the folder it names, so that it can be killed.
const child = "EVCHARGING_TEST_BROKER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(child); dir != "" {
		b, err := broker.Start(broker.Config{Addr: "127.0.0.1:0", Dir: dir})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(b.Addr())
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed, or its parent is gone
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, c broker.Config) *broker.Broker {
	t.Helper()
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	b, err := broker.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.FetchMaxWait(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseAllowingRebalance)
	return c
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func createTopic(t *testing.T, c *kgo.Client, topic string, config map[string]*string) {
	t.Helper()
	if _, err := kadm.NewClient(c).CreateTopic(deadline(t), 1, 1, config, topic); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, c *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := c.ProduceSync(deadline(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume reads a topic's first partition from its beginning until it has n records.
func consume(t *testing.T, addr, topic string, n int) []*kgo.Record {
	t.Helper()
	c := client(t, addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	var got []*kgo.Record
	for len(got) < n {
		fetches := c.PollFetches(deadline(t))
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(got), n, err)
		}
		got = append(got, fetches.Records()...)
	}
	return got
}

func text(s string) *string { return &s }

// Whatever a producer's clock says, and however it packs its records, they have the broker's time.
func TestRecordsHaveTheBrokersTime(t *testing.T) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			b := start(t, broker.Config{})
			c := client(t, b.Addr(), kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(20*time.Millisecond))
			createTopic(t, c, "topic", map[string]*string{"message.timestamp.type": text("LogAppendTime")})

			before := time.Now().Truncate(time.Millisecond)
			var sent []*kgo.Record
			for i, at := range []time.Time{time.Unix(0, 0), time.Now(), time.Now().Add(24 * time.Hour), time.Unix(1, 0)} {
				sent = append(sent, &kgo.Record{
					Topic: "topic", Timestamp: at, Key: []byte{byte(i)}, Value: []byte(strings.Repeat("value ", 50)),
					Headers: []kgo.RecordHeader{{Key: "n", Value: []byte(strconv.Itoa(i))}},
				})
			}
			sent = append(sent, &kgo.Record{Topic: "topic"}) // neither key nor value
			produce(t, c, sent...)
			after := time.Now()

			for i, r := range consume(t, b.Addr(), "topic", len(sent)) {
				if r.Timestamp.Before(before) || r.Timestamp.After(after) {
					t.Errorf("record %d has the time %v, not between %v and %v", i, r.Timestamp, before, after)
				}
				if string(r.Key) != string(sent[i].Key) || string(r.Value) != string(sent[i].Value) || len(r.Headers) != len(sent[i].Headers) {
					t.Errorf("record %d came as %v %q %q", i, r.Headers, r.Key, r.Value)
				}
			}
		})
	}
}

func TestATopicMayKeepItsProducersTime(t *testing.T) {
	b := start(t, broker.Config{})
	c := client(t, b.Addr())
	createTopic(t, c, "theirs", map[string]*string{"message.timestamp.type": text("CreateTime")})
	createTopic(t, c, "ours", map[string]*string{"message.timestamp.type": text("LogAppendTime")})
	createTopic(t, c, "default", nil)
	first := time.UnixMilli(1)
	for _, topic := range []string{"theirs", "default"} {
		produce(t, c, &kgo.Record{Topic: topic, Timestamp: first})
		if got := consume(t, b.Addr(), topic, 1)[0].Timestamp; !got.Equal(first) {
			t.Errorf("the record of %s has the time %v, its producer said %v", topic, got, first)
		}
	}
	configs, err := kadm.NewClient(c).DescribeTopicConfigs(deadline(t), "theirs", "ours", "default")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"theirs": "CreateTime", "ours": "LogAppendTime", "default": "CreateTime"}
	for topic, want := range want {
		config, err := configs.On(topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range config.Configs {
			if c.Key == "message.timestamp.type" && c.MaybeValue() != want {
				t.Errorf("%s is described as %s, want %s", topic, c.MaybeValue(), want)
			}
		}
	}
}

func TestAFolderIsServedAgain(t *testing.T) {
	dir := t.TempDir()
	b := start(t, broker.Config{Dir: dir})
	c := client(t, b.Addr())
	createTopic(t, c, "topic", map[string]*string{"retention.ms": text("123456789")})
	for i := range 5 {
		produce(t, c, &kgo.Record{Topic: "topic", Value: []byte(strconv.Itoa(i))})
	}
	adm := kadm.NewClient(c)
	var offsets kadm.Offsets
	offsets.AddOffset("topic", 0, 3, -1)
	if err := adm.CommitAllOffsets(deadline(t), "group", offsets); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}

	b = start(t, broker.Config{Dir: dir})
	holds(t, b.Addr(), 5)
	adm = kadm.NewClient(client(t, b.Addr()))
	committed, err := adm.FetchOffsets(deadline(t), "group")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := committed.Lookup("topic", 0); !ok || o.At != 3 {
		t.Errorf("the group's offset is %+v, want 3", o)
	}
	configs, err := adm.DescribeTopicConfigs(deadline(t), "topic")
	if err != nil {
		t.Fatal(err)
	}
	var retention string
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" {
			retention = c.MaybeValue()
		}
	}
	if retention != "123456789" {
		t.Errorf("the topic's retention is %q", retention)
	}
}

// holds fails unless the topic holds the records 0 to n-1, in order.
func holds(t *testing.T, addr string, n int) {
	t.Helper()
	for i, r := range consume(t, addr, "topic", n)[:n] {
		if string(r.Value) != strconv.Itoa(i) {
			t.Fatalf("record %d is %q", i, r.Value)
		}
	}
}

// What a killed broker has acknowledged is there when it starts again.
func TestAKilledBrokerKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acknowledged := 0
	for round := range 2 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), child+"="+dir)
		cmd.Stderr = os.Stderr
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		addr, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		addr = strings.TrimSpace(addr)
		c := client(t, addr)
		if round == 0 {
			createTopic(t, c, "topic", nil)
		} else {
			holds(t, addr, acknowledged)
		}
		for range 20 {
			produce(t, c, &kgo.Record{Topic: "topic", Value: []byte(strconv.Itoa(acknowledged))})
			acknowledged++
		}
		var offsets kadm.Offsets
		offsets.AddOffset("topic", 0, int64(acknowledged), -1)
		if err := kadm.NewClient(c).CommitAllOffsets(deadline(t), "group", offsets); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		c.Close()
	}
	b := start(t, broker.Config{Dir: dir})
	holds(t, b.Addr(), acknowledged)
	committed, err := kadm.NewClient(client(t, b.Addr())).FetchOffsets(deadline(t), "group")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := committed.Lookup("topic", 0); !ok || o.At != int64(acknowledged) {
		t.Errorf("the group's offset is %+v, want %d", o, acknowledged)
	}
}

func TestAPortThatIsTaken(t *testing.T) {
	b := start(t, broker.Config{})
	_, err := broker.Start(broker.Config{Addr: b.Addr()})
	if !errors.Is(err, broker.ErrPortTaken) || !strings.Contains(err.Error(), b.Addr()) {
		t.Errorf("the error is %v", err)
	}
}

func TestAFolderThatIsInUse(t *testing.T) {
	dir := t.TempDir()
	first := start(t, broker.Config{Dir: dir})
	if _, err := broker.Start(broker.Config{Addr: "127.0.0.1:0", Dir: dir}); !errors.Is(err, broker.ErrFolderInUse) {
		t.Fatalf("a second broker on the folder: %v", err)
	}
	// A port that is taken leaves the folder free.
	other := t.TempDir()
	if _, err := broker.Start(broker.Config{Addr: first.Addr(), Dir: other}); !errors.Is(err, broker.ErrPortTaken) {
		t.Fatalf("a port that is taken: %v", err)
	}
	start(t, broker.Config{Dir: other})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, broker.Config{Dir: dir})
}

func TestAnAddressThatCannotBe(t *testing.T) {
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000"} {
		if _, err := broker.Start(broker.Config{Addr: addr}); err == nil || !strings.Contains(err.Error(), "the broker's") {
			t.Errorf("%q: the error is %v", addr, err)
		}
	}
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		if _, err := broker.Start(broker.Config{Addr: addr}); !errors.Is(err, broker.ErrNotAdvertisable) {
			t.Errorf("%q: the error is %v", addr, err)
		}
	}
}

func TestClientsAreToldTheAdvertisedAddress(t *testing.T) {
	b := start(t, broker.Config{Addr: "0.0.0.0:0", AdvertisedHost: "localhost"})
	if !strings.HasPrefix(b.Addr(), "localhost:") {
		t.Errorf("the address is %s", b.Addr())
	}
	_, port, err := net.SplitHostPort(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	brokers, err := kadm.NewClient(client(t, "127.0.0.1:"+port)).ListBrokers(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(brokers) != 1 || brokers[0].Host != "localhost" || strconv.Itoa(int(brokers[0].Port)) != port {
		t.Errorf("clients are told %+v", brokers)
	}
}

// Whoever connects and sends something else loses the connection, and nobody else anything.
func TestWhatIsNoRequestEndsItsConnectionOnly(t *testing.T) {
	b := start(t, broker.Config{})
	c := client(t, b.Addr())
	createTopic(t, c, "topic", nil)
	unknown := binary.BigEndian.AppendUint32(nil, 10)
	unknown = binary.BigEndian.AppendUint16(unknown, 9999)
	for name, sent := range map[string]string{
		"a browser":         "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"an unknown kind":   string(unknown) + "12345678",
		"a size of zero":    "\x00\x00\x00\x00\x00\x00\x00\x00",
		"a negative size":   "\xff\xff\xff\xff\x00\x00\x00\x00",
		"a kind below zero": "\x00\x00\x00\x0a\xff\xff\x00\x00123456",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", b.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte(sent)); err != nil {
				t.Fatal(err)
			}
			var timeout net.Error
			if n, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
				t.Errorf("the connection goes on: %d bytes, %v", n, err)
			}
			produce(t, c, &kgo.Record{Topic: "topic"})
		})
	}
}
