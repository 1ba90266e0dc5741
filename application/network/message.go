package network

import "evcharging/domain"

// MessageLimit is how many messages are kept: the newest.
const MessageLimit = 1_000

// Level says how much a message matters.
type Level uint8

// The levels of a message.
const (
	// Info is the network at work.
	Info Level = iota
	// Warning is something that somebody may want to look into.
	Warning
	// Alert is a fault.
	Alert
)

func (l Level) String() string {
	switch l {
	case Warning:
		return "warning"
	case Alert:
		return "alert"
	default:
		return "info"
	}
}

// Message is one line about the network, for people.
type Message struct {
	// Seq counts messages from 1, without gaps.
	Seq   uint64
	At    domain.UnixMillis
	Level Level
	Text  string
}

// messageLog is a ring of the newest messages.
type messageLog struct {
	ring []Message
	last uint64 // Seq of the newest
}

func (l *messageLog) add(m Message) {
	l.last++
	m.Seq = l.last
	if len(l.ring) < MessageLimit {
		l.ring = append(l.ring, m)
		return
	}
	l.ring[(l.last-1)%MessageLimit] = m
}

// after gives up to limit messages newer than seq, oldest first: the newest ones
// where there are more.
func (l *messageLog) after(seq uint64, limit int) []Message {
	count := min(uint64(max(limit, 0)), uint64(len(l.ring)), l.last-min(seq, l.last))
	out := make([]Message, 0, count)
	for s := l.last - count + 1; s <= l.last; s++ {
		out = append(out, l.ring[(s-1)%MessageLimit])
	}
	return out
}
