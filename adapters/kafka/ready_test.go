package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"evcharging/application/message"
	"evcharging/domain/session"
)

func TestReadyGivesEachReason(t *testing.T) {
	t.Parallel()
	tr := connectBare(t, startKafka(t).ListenAddrs()[0], nil)
	ready := func() string {
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		if err := tr.Ready(ctx, tr.Topics().Health, tr.Topics().Register); err != nil {
			return err.Error()
		}
		return ""
	}

	inGroup(t, tr, "g", []string{tr.Topics().Health}, func(context.Context, message.Received) error { return nil })
	await(t, "a group that waits for its topic is a reason", func() bool { return strings.Contains(ready(), "consumer groups") })
	if got := ready(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "the topic ev.health does not exist") || !strings.Contains(got, "ev.register") {
		t.Errorf("without topics: %q", got)
	}
	if err := tr.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "it is ready once the group is joined", func() bool { return ready() == "" })
}

func TestReadyWithABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr := connect(t, cluster.ListenAddrs()[0])
	cluster.Close()
	await(t, "the broker is known to be away", func() bool { return tr.Away() != nil })
	if err := tr.Ready(t.Context(), tr.Topics().Health); !errors.Is(err, ErrUnreachable) {
		t.Errorf("ready says %v", err)
	}
}

func TestReadyIsBoundedWhileTheBrokerHangs(t *testing.T) {
	t.Parallel()
	cluster := startKafka(t)
	tr := connect(t, cluster.ListenAddrs()[0])
	release := hang(t, cluster)
	defer release()
	for range 2 { // before it is noticed, and after
		ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		within(t, "an answer", 2*time.Second, closed(func() {
			if err := tr.Ready(ctx, tr.Topics().Health); !errors.Is(err, ErrUnreachable) {
				t.Errorf("ready says %v", err)
			}
		}))
		stop()
		await(t, "it is noticed", func() bool { return errors.Is(tr.Away(), ErrUnreachable) })
	}
}

func TestDeadLettersAreToldWithTheirReason(t *testing.T) {
	t.Parallel()
	addr := startKafka(t).ListenAddrs()[0]
	type letter struct {
		topic  string
		reason error
	}
	letters := make(chan letter, 10)
	tr, err := Connect(t.Context(), Config{Brokers: []string{addr}, DeadLettered: func(topic string, reason error) { letters <- letter{topic, reason} }})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	topic := tr.Topics().Done
	inGroup(t, tr, "g", []string{topic}, func(context.Context, message.Received) error {
		return &message.RejectedError{Reason: session.ErrUnknownSession}
	})
	done := message.Done{Session: "S-1", Point: "CP-001", Driver: "D-7", Reason: message.DoneFinished}
	if err := tr.Send(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, "a refused record", letters); got.topic != topic || !errors.Is(got.reason, session.ErrUnknownSession) {
		t.Errorf("told %+v", got)
	}
	produceKeyless(t, addr, topic, "no JSON")
	if got := receive(t, "an unreadable record", letters); got.topic != topic || !errors.Is(got.reason, ErrUnreadable) {
		t.Errorf("told %+v", got)
	}
}
