package eventlogtest

import (
	"crypto/sha256"
	"maps"
	"strings"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/domain"
)

// Draft is a part before it has its place in the chain.
type Draft struct {
	Stream eventlog.Stream
	Kind   eventlog.Kind
	// Events is how many events Body holds.
	Events int
	Body   string
}

// Lifecycle drafts a part that leaves its stream open. Each event is a JSON text.
func Lifecycle(stream eventlog.Stream, events ...string) Draft {
	return draft(stream, eventlog.Lifecycle, events)
}

// Sample drafts a part of samples alone. Each event is a JSON text.
func Sample(stream eventlog.Stream, events ...string) Draft {
	return draft(stream, eventlog.Sample, events)
}

// Closing drafts a part that closes its stream. Each event is a JSON text.
func Closing(stream eventlog.Stream, events ...string) Draft {
	return draft(stream, eventlog.Closing, events)
}

func draft(stream eventlog.Stream, kind eventlog.Kind, events []string) Draft {
	return Draft{Stream: stream, Kind: kind, Events: len(events), Body: "[" + strings.Join(events, ",") + "]"}
}

// Builder makes commits that continue each other: it keeps the heads of the streams
// that it wrote to. It takes for granted that what it made was stored; where that is in
// doubt, try it on a Fork. It is not safe for use from several goroutines.
type Builder struct {
	heads  map[eventlog.Stream]eventlog.Head
	at     domain.UnixMillis
	topic  string
	offset int64
}

// NewBuilder is a Builder for an empty log. Its causes are of a topic, from offset 0.
func NewBuilder(topic string) *Builder {
	return &Builder{heads: map[eventlog.Stream]eventlog.Head{}, at: 1_750_000_000_000, topic: topic}
}

// Fork is another Builder that goes on from here: what either makes from now on
// competes with the other.
func (b *Builder) Fork() *Builder {
	fork := *b
	fork.heads = maps.Clone(b.heads)
	return &fork
}

// Head is where the builder stands with a stream.
func (b *Builder) Head(stream eventlog.Stream) eventlog.Head { return b.heads[stream] }

// Follow makes the builder go on from a head that it did not make.
func (b *Builder) Follow(stream eventlog.Stream, head eventlog.Head) { b.heads[stream] = head }

// Cause is a new one: the next record of the builder's topic.
func (b *Builder) Cause() eventlog.Cause {
	c := eventlog.Cause{Topic: b.topic, Partition: int32(b.offset % 3), Offset: b.offset}
	sum := sha256.Sum256([]byte(c.String()))
	copy(c.Digest[:], sum[:])
	b.offset++
	return c
}

// Commit makes the next commit of the drafts' streams, a second after the last one.
// The zero Cause is none.
func (b *Builder) Commit(cause eventlog.Cause, drafts ...Draft) eventlog.Commit {
	b.at += 1000
	commit := eventlog.Commit{ID: uuid.Must(uuid.NewV7()), At: b.at, Cause: cause}
	for _, d := range drafts {
		head := b.heads[d.Stream]
		part := eventlog.Part{
			Stream: d.Stream, Version: head.Version + 1, Events: d.Events, Kind: d.Kind,
			Prev: head.Hash, Body: []byte(d.Body),
		}
		part.Hash = part.Sum()
		commit.Parts = append(commit.Parts, part)
		head.Version, head.Hash = part.Last(), part.Hash
		if d.Kind != eventlog.Sample {
			head.Kind = d.Kind
		}
		b.heads[d.Stream] = head
	}
	return commit
}
