package kafka

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"evcharging/application/message"
)

// hang has a broker take requests and answer none, until the test ends or it is released.
func hang(t *testing.T, cluster *kfake.Cluster) (release func()) {
	t.Helper()
	released := make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	cluster.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		<-released
		return nil, nil, false
	})
	return release
}

// within fails the test unless what is waited for ends in time, and says how long it took.
func within(t *testing.T, what string, limit time.Duration, ended <-chan struct{}) {
	t.Helper()
	begun := time.Now()
	receive(t, what, ended)
	if took := time.Since(begun); took > limit {
		t.Errorf("%s took %v, want at most %v", what, took, limit)
	}
}

func closed(do func()) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		do()
	}()
	return ended
}

// A program has 10 s to stop, whatever the broker does.
func TestGivenABrokerThatHangsWhenAProgramStopsThenAllEndsInTime(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr, topics := connect(t, cluster.ListenAddrs()[0]), DefaultTopics()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready, working, finish := make(chan struct{}), make(chan struct{}), make(chan struct{})
	follow := closed(func() {
		_ = tr.Follow(ctx, []string{topics.Request}, 0, func() { close(ready) }, func(context.Context, message.Received) {})
	})
	group := closed(func() {
		_ = tr.Group(ctx, "g", []string{topics.Request, topics.Telemetry}, func(context.Context, message.Received) error {
			close(working)
			<-finish
			return nil // and now it has an offset to commit
		})
	})
	receive(t, "the positions", ready)
	if err := tr.Send(ctx, message.Request{Driver: "D-7", Point: "CP-001"}); err != nil {
		t.Fatal(err)
	}
	receive(t, "the record", working)
	hang(t, cluster)
	send := closed(func() { _ = tr.Send(ctx, sample("CP-001", 1)) })
	close(finish)
	cancel()
	within(t, "Send", time.Second, send)
	within(t, "Follow", time.Second, follow)
	within(t, "Group", 8*time.Second, group)
	within(t, "Close", 2*time.Second, closed(func() { _ = tr.Close() }))
}

func TestGivenABrokerThatHangsThenItIsSaidAndItsReturnToo(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	var log lines
	tr := connectBare(t, cluster.ListenAddrs()[0], log.logger())
	release := hang(t, cluster)
	changes := make(chan bool, 8)
	ctx, cancel := context.WithCancel(context.Background())
	watching := closed(func() { tr.Watch(ctx, func(up bool, _ error) { changes <- up }) })
	defer func() { cancel(); <-watching }()
	begun := time.Now()
	if receive(t, "it is away", changes) {
		t.Fatal("it is there")
	}
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("said after %v", took)
	}
	release()
	if !receive(t, "it is back", changes) {
		t.Fatal("it is away")
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "(no answer)") {
		t.Errorf("the log: %s", text)
	}
}

func TestGivenABrokerThatHangsAtTheStartThenItIsSaidAndWaitedFor(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	release := hang(t, cluster)
	var log lines
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	connected := closed(func() {
		if tr, err := Connect(ctx, Config{Brokers: cluster.ListenAddrs(), Logger: log.logger()}); err != nil {
			t.Error(err)
		} else {
			_ = tr.Close()
		}
	})
	begun := time.Now()
	await(t, "it is said", func() bool { return strings.Contains(log.String(), "(no answer)") })
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("said after %v", took)
	}
	release()
	receive(t, "the connection", connected)
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "Kafka is reached") {
		t.Errorf("the log: %s", text)
	}
}
