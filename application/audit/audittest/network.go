// Package audittest has a network whose records a test writes, in virtual time; supplies
// of every ending with their bills computed by hand; and histories, in which a network lives by
// itself. It is for tests; nothing that is shipped imports it.
package audittest

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/application/message"
	"evcharging/domain"
	"evcharging/domain/session"
)

// TB is what the networks need of a test: *testing.T, *testing.B and *rapid.T are one.
type TB interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Context() context.Context
}

// Network is one Central and what it is told. Its methods are called by one goroutine.
type Network struct {
	TB
	Central *central.Central
	// Now is the network's time: a test moves it on.
	Now     domain.UnixMillis
	lane    *central.Lane
	offsets map[string]int64
	ids     uint64
	// salt sets the causes and the commits' ids of one network apart from those of another.
	salt uint16
}

// Begin is when a network begins.
const Begin domain.UnixMillis = 1_800_000_000_000

// New is a network over a log. The same records in the same order make the same log.
func New(t TB, log eventlog.Log, codec central.Codec) *Network {
	n := &Network{TB: t, Now: Begin, offsets: map[string]int64{}}
	n.Central = &central.Central{
		Log: log, Codec: codec, Publisher: quiet{}, Signs: signs{}, Listening: quiet{}, Ignored: quiet{},
		Patience: session.DefaultPatience, DefaultPrice: 300_000,
		NewID: func(at domain.UnixMillis) (id uuid.UUID) {
			n.ids++
			binary.BigEndian.PutUint64(id[:], uint64(at)<<16|7<<12)
			binary.BigEndian.PutUint64(id[8:], n.ids|uint64(n.salt)<<46|1<<63)
			return id
		},
	}
	n.lane = n.Central.Lane()
	return n
}

// Wait lets time go by.
func (n *Network) Wait(d time.Duration) { n.Now = n.Now.Add(d) }

// Take has Central take a record that comes now. What it ignores or refuses is no failure.
func (n *Network) Take(m message.Message) {
	n.Helper()
	err := n.lane.Take(n.Context(), n.Now, n.record(m, n.Now-20))
	var refused *message.RejectedError
	if err != nil && !errors.As(err, &refused) {
		n.Fatalf("%+v: %v", m, err)
	}
}

// record is a message as a record that reached the broker at an instant.
func (n *Network) record(m message.Message, at domain.UnixMillis) message.Received {
	topic := topicOf(m)
	n.offsets[topic]++
	source := message.Source{Topic: topic, Partition: int32(len(message.PointOf(m)) % 12), Offset: n.offsets[topic], Timestamp: at, Trusted: true}
	binary.BigEndian.PutUint64(source.Digest[:], uint64(n.offsets[topic])|uint64(len(topic))<<32|uint64(n.salt)<<48)
	return message.Received{Source: source, Message: m}
}

func topicOf(m message.Message) string {
	switch m.(type) {
	case message.Registration:
		return "ev.register"
	case message.Health:
		return "ev.health"
	case message.Request:
		return "ev.supply.request"
	case message.MeterValue:
		return "ev.supply.telemetry"
	case message.Done:
		return "ev.supply.done"
	}
	return "ev.control"
}

// Restore is a session as the log has it.
func (n *Network) Restore(id domain.SessionID) *session.Session {
	n.Helper()
	s := session.New(id)
	parts, err := n.Central.Restore(n.Context(), central.SessionStream(id))
	if err != nil {
		n.Fatal(err)
	}
	for _, p := range parts {
		for _, e := range p.Events {
			if err := s.Apply(p.At, e.(session.Event)); err != nil {
				n.Fatal(err)
			}
		}
	}
	return s
}

// quiet is what a Central needs besides log and codec, in a network where nobody listens.
type quiet struct{}

func (quiet) Publish(context.Context, central.Publication) error          { return nil }
func (quiet) Count(error)                                                 {}
func (quiet) Since() domain.UnixMillis                                    { return 0 }
func (quiet) Deaf(domain.UnixMillis)                                      {}
func (quiet) Hear(domain.UnixMillis, message.Source) (late time.Duration) { return 0 }

// signs are when points were heard.
type signs map[domain.PointID]central.Sign

func (s signs) Heard(_ context.Context, point domain.PointID, sign central.Sign) error {
	s[point] = sign
	return nil
}

func (s signs) Last(_ context.Context, point domain.PointID) (central.Sign, error) {
	return s[point], nil
}
