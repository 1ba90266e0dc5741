package engine

import (
	"slices"
	"time"

	"evcharging/application/message"
	"evcharging/domain"
)

const (
	// maxPause is a third of a Monitor's lease: nobody pauses longer.
	maxPause = 5 * time.Second
	// maxBatch is how many final reports go out in one batch.
	maxBatch = 100
	// worthSaying is how many failures in a row are no hiccup.
	worthSaying = 3
)

// outbox is what the broker is to get: every final report, of the samples the newest
// alone, and requests. One batch is on its way at a time.
type outbox struct {
	// dones are to be sent in this order; each stays until the broker has it.
	dones  []message.Done
	sample *message.MeterValue
	// requests were made and not yet sent.
	requests []message.Request

	batches  int
	onTheWay *Batch
	// leaving is how many of dones, the first ones, are in it.
	leaving int
	// failures are those since the last success, told that they were said.
	failures int
	told     bool
	pause    time.Duration
	retryAt  domain.UnixMillis
}

func (b *outbox) isEmpty() bool {
	return len(b.dones) == 0 && b.sample == nil && len(b.requests) == 0 && b.onTheWay == nil
}

// report has the done of a session sent, again where it has been sent before, or is
// just being sent: whoever asks may have seen that one.
func (e *Engine) report(session domain.SessionID) {
	b := &e.outbox
	done, ok := e.memory.Done(session)
	if ok && !slices.Contains(b.dones[b.leaving:], done) {
		b.dones = append(b.dones, done)
	}
}

// flush hands out the next batch where one is due.
func (e *Engine) flush(now domain.UnixMillis) {
	b := &e.outbox
	// A pause that ends too far ahead was set before the clock was put back.
	if paused := b.retryAt.Sub(now); b.onTheWay != nil || paused > 0 && paused <= maxPause {
		return
	}
	var messages []message.Message
	b.leaving = min(len(b.dones), maxBatch)
	for _, done := range b.dones[:b.leaving] {
		messages = append(messages, done)
	}
	if b.sample != nil {
		messages = append(messages, *b.sample)
	}
	for _, request := range b.requests {
		messages = append(messages, request)
	}
	if len(messages) == 0 {
		return
	}
	b.batches++
	b.onTheWay = &Batch{b.batches, messages}
	e.out.Send = b.onTheWay
}

func (e *Engine) sent(in Sent, now domain.UnixMillis) {
	b := &e.outbox
	batch := b.onTheWay
	if batch == nil || in.Batch != batch.Number {
		return
	}
	gone := b.dones[:b.leaving]
	b.onTheWay, b.leaving, b.dones = nil, 0, b.dones[b.leaving:]
	if in.Err != nil {
		asked := slices.DeleteFunc(b.dones, func(d message.Done) bool { return slices.Contains(gone, d) })
		b.dones = slices.Concat(gone, asked)
		b.pause = min(max(2*b.pause, time.Second), maxPause)
		b.retryAt = now.Add(b.pause)
		// A broker that is known to be away has been said to be.
		if b.failures++; b.failures >= worthSaying && e.linkUp && !b.told {
			b.told = true
			e.warn("reports can't be sent, they wait in the journal and are tried again: %v", in.Err)
		}
		return
	}
	if b.told {
		e.say("reports are sent again")
	}
	b.failures, b.told, b.pause, b.retryAt = 0, false, 0, 0
	for _, m := range batch.Messages {
		e.delivered(m)
	}
}

// delivered takes a message that the broker has out of the outbox.
func (e *Engine) delivered(m message.Message) {
	b := &e.outbox
	switch m := m.(type) {
	case message.Done:
		if slices.Contains(e.memory.Unreported(), m.Session) {
			e.apply(Record{Reported: []domain.SessionID{m.Session}})
		}
	case message.MeterValue:
		if b.sample != nil && b.sample.Session == m.Session && b.sample.Seq == m.Seq {
			b.sample = nil
		}
	case message.Request:
		b.requests = slices.DeleteFunc(b.requests, func(r message.Request) bool { return r.ID == m.ID })
	}
}

// link has what waits sent as soon as the broker is there again.
func (e *Engine) link(in Link) {
	if in.Up && !e.linkUp {
		e.outbox.failures, e.outbox.pause, e.outbox.retryAt = 0, 0, 0
	}
	e.linkUp = in.Up
}
