package driver_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/broker"
	"evcharging/adapters/kafka"
	application "evcharging/application/driver"
	"evcharging/application/message"
	"evcharging/cmd/internal/driver"
	"evcharging/domain"
)

// heard is a log, and a list of events, that can be waited for.
type heard chan string

func (h heard) Write(line []byte) (int, error) {
	h <- string(line)
	return len(line), nil
}

// until waits for a text and gives all that came up to it.
func (h heard) until(t *testing.T, text string) (all []string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		select {
		case s := <-h:
			if all = append(all, s); strings.Contains(s, text) {
				return all
			}
		case <-late:
			t.Fatalf("%q does not come after %q", text, all)
		}
	}
}

// A Driver that is there first waits for the broker, for Central's topics, and through an
// outage in its supply.
func TestOverABrokerThatComesAndGoes(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr, dir := listener.Addr().String(), t.TempDir()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	log, events, done := make(heard, 1000), make(heard, 1000), make(chan error, 1)
	go func() {
		done <- driver.Run(t.Context(), driver.Config{
			ID: "D-1", Points: []domain.PointID{"CP-1", "CP-2"}, NextDelay: time.Millisecond,
			Kafka: kafka.Config{Brokers: []string{addr}, Logger: slog.New(slog.NewTextHandler(log, nil))},
			Show:  func(_ domain.UnixMillis, e application.Event) { events <- fmt.Sprintf("%T %+v", e, e) },
		})
	}()
	log.until(t, "can't be reached")
	b, err := broker.Start(broker.Config{Addr: addr, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { b.Close() }()
	events.until(t, "the topic ev.supply.request does not exist: start Central, which creates it")

	central, err := kafka.Connect(t.Context(), kafka.Config{Brokers: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer central.Close()
	if err := central.EnsureTopics(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	requests, followed := make(chan message.Request, 100), make(chan error, 1)
	go func() {
		followed <- central.Follow(ctx, []string{central.Topics().Request}, 0, func() {}, func(_ context.Context, r message.Received) {
			requests <- r.Message.(message.Request)
		})
	}()
	defer func() {
		stop()
		if err := <-followed; err != nil {
			t.Error(err)
		}
	}()
	send := func(m message.Message) {
		t.Helper()
		deadline, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for err := central.Send(deadline, m); err != nil; err = central.Send(deadline, m) {
			if deadline.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	first, p := <-requests, price
	send(message.Answer{Driver: "D-1", Point: "CP-1", Request: first.ID, Authorized: true, Session: "S-1", Price: &p})
	events.until(t, "driver.Granted")

	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	events.until(t, "driver.BrokerLost")
	if b, err = broker.Start(broker.Config{Addr: addr, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	send(message.Ticket{ID: "T-1", Session: "S-1", Driver: "D-1", Point: "CP-1", Energy: 5, Amount: 2, Price: p, Reason: "FINISHED"})
	said := events.until(t, "driver.Concluded")
	if !strings.Contains(said[len(said)-1], "Verdict:served Energy:0.000005 Amount:0.000002") {
		t.Errorf("it says %q", said)
	}
	second := <-requests
	for second.ID == first.ID { // sending over a broker that comes and goes may repeat it
		second = <-requests
	}
	send(message.Answer{Driver: "D-1", Point: "CP-2", Request: second.ID, Reason: "BROKEN"})
	if err := <-done; err == nil || err.Error() != "1 of 2 supplies were refused or failed" {
		t.Errorf("got %v", err)
	}
	// One line for each change, and none for each attempt.
	close(log)
	lines := slices.Collect(func(yield func(string) bool) {
		for line := range log {
			if strings.Contains(line, "level=WARN") && !yield(line) {
				return
			}
		}
	})
	if len(lines) != 1 {
		t.Errorf("it logged %q", lines)
	}
}
