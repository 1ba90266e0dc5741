package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// BeatTimeout is how long an Engine may take to answer a beat.
const BeatTimeout = time.Second

// errNoHeartbeat tells of an answer that is neither OK nor KO.
var errNoHeartbeat = errors.New("it answers something else than OK or KO")

// Heartbeat is the Monitor's side. It keeps its connection where the Engine does. It is
// not safe for use from several goroutines.
type Heartbeat struct {
	address string
	kept    net.Conn
}

// NewHeartbeat asks the Engine at host:port. It connects with the first beat.
func NewHeartbeat(address string) *Heartbeat { return &Heartbeat{address: address} }

// Close gives the kept connection up.
func (h *Heartbeat) Close() {
	if h.kept != nil {
		_ = h.kept.Close()
		h.kept = nil
	}
}

// Beat asks once: healthy is what the Engine answers. An error says in one sentence why
// there is no answer: then the Engine is down. A kept connection that fails is no fault of
// the Engine's: a new one is asked.
func (h *Heartbeat) Beat(ctx context.Context) (healthy bool, err error) {
	if h.kept != nil {
		if healthy, err := ask(ctx, h.kept); err == nil {
			return healthy, nil
		}
		h.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, BeatTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", h.address)
	if err == nil {
		h.kept = conn
		healthy, err = ask(ctx, conn)
	}
	if err != nil {
		h.Close()
		return false, fmt.Errorf("the Engine at %s does not answer: %w", h.address, plainly(err))
	}
	return healthy, nil
}

// plainly says what a failed exchange means to people.
func plainly(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, net.ErrClosed):
		return errors.New("it is silent")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it closes the connection")
	}
	return reason(err)
}

func ask(ctx context.Context, conn net.Conn) (healthy bool, err error) {
	deadline := time.Now().Add(BeatTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, ping); err != nil {
		return false, err
	}
	var asked question
	buffer := make([]byte, 16)
	for {
		n, err := conn.Read(buffer)
		answered, heardErr := asked.hear(buffer[:n])
		switch {
		case heardErr != nil:
			return false, heardErr
		case answered:
			return asked.healthy, nil
		case err != nil:
			return false, err
		}
	}
}

// question is a beat that was asked, without its socket.
type question struct {
	heard   []byte
	healthy bool
}

// hear takes what came. What comes after an answer is nothing to it.
func (q *question) hear(data []byte) (answered bool, err error) {
	for _, b := range data {
		if len(q.heard) == 0 && (b == '\r' || b == '\n') {
			continue
		}
		q.heard = append(q.heard, b)
		switch string(q.heard) {
		case answerOK, answerKO:
			q.healthy = string(q.heard) == answerOK
			return true, nil
		case answerOK[:1], answerKO[:1]:
		default:
			return false, errNoHeartbeat
		}
	}
	return false, nil
}
