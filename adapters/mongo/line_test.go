package mongo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// line is a proxy before the server, which understands where a message ends, and which of
// them store commits.
type line struct {
	t      testing.TB
	server string
	addr   string

	mu          sync.Mutex
	listener    net.Listener
	conns       map[net.Conn]struct{}
	loseRequest int
	loseAnswer  int
	// muteRequests and muteAnswers lose them, and keep the connections.
	muteRequests, muteAnswers bool
	// alter changes the answers to messages that store commits; nil: they stay.
	alter   func(bson.D) bson.D
	holding bool
	held    []chan struct{}
	// frozen is closed when messages are carried again; nil while they are.
	frozen  chan struct{}
	running sync.WaitGroup
}

// newLine is a line to a server, until the test ends.
func newLine(t testing.TB, server string) *line {
	t.Helper()
	l := &line{t: t, server: server, conns: map[net.Conn]struct{}{}}
	l.Up()
	t.Cleanup(func() {
		l.release()
		l.Thaw()
		l.Down()
		l.running.Wait()
	})
	return l
}

// uri is another URI of a database, which leads through the line.
func (l *line) uri(uri string) string {
	a, err := url.Parse(uri)
	if err != nil {
		l.t.Fatal(err)
	}
	a.Host = l.addr
	query := a.Query()
	query.Set("directConnection", "true") // or the server names itself
	a.RawQuery = query.Encode()
	return a.String()
}

func (l *line) Up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		return
	}
	addr := l.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		l.t.Error(err)
		return
	}
	l.listener, l.addr = listener, listener.Addr().String()
	l.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.running.Go(func() { l.serve(conn) })
		}
	})
}

func (l *line) Down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		_ = l.listener.Close()
		l.listener = nil
	}
	for conn := range l.conns {
		_ = conn.Close()
	}
}

func (l *line) LoseRequests(n int) { l.set(func() { l.loseRequest = n }) }
func (l *line) LoseAnswers(n int)  { l.set(func() { l.loseAnswer = n }) }

func (l *line) Mute(requests, answers bool) {
	l.set(func() { l.muteRequests, l.muteAnswers = requests, answers })
}

func (l *line) Hold() func() {
	l.set(func() { l.holding = true })
	return l.release
}

func (l *line) release() {
	l.set(func() {
		l.holding = false
		for _, held := range l.held {
			close(held)
		}
		l.held = nil
	})
}

func (l *line) Held() (n int) {
	l.set(func() { n = len(l.held) })
	return n
}

// Freeze keeps every message, as a server that hangs: connections stay as they are. Thaw
// ends that.
func (l *line) Freeze() {
	l.set(func() {
		if l.frozen == nil {
			l.frozen = make(chan struct{})
		}
	})
}

func (l *line) Thaw() {
	l.set(func() {
		if l.frozen != nil {
			close(l.frozen)
			l.frozen = nil
		}
	})
}

func (l *line) pass() {
	var frozen chan struct{}
	l.set(func() { frozen = l.frozen })
	if frozen != nil {
		<-frozen
	}
}

func (l *line) set(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
}

// fate is what becomes of a message that stores commits.
type fate int

const (
	arrives fate = iota
	requestLost
	answerLost
	requestMuted
	answerMuted
)

// decide gives the fate of the next message that stores commits, and, where it is held,
// what it waits for.
func (l *line) decide() (f fate, held chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.loseRequest > 0:
		l.loseRequest--
		return requestLost, nil
	case l.loseAnswer > 0:
		l.loseAnswer--
		return answerLost, nil
	case l.muteRequests:
		return requestMuted, nil
	case l.muteAnswers:
		return answerMuted, nil
	case l.holding:
		held = make(chan struct{})
		l.held = append(l.held, held)
	}
	return arrives, held
}

// serve carries messages, one after another: the driver sends the next on a connection
// when the last is answered.
func (l *line) serve(client net.Conn) {
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		_ = client.Close()
		return
	}
	l.set(func() { l.conns[client], l.conns[server] = struct{}{}, struct{}{} })
	defer l.set(func() { delete(l.conns, client); delete(l.conns, server) })
	defer client.Close()
	defer server.Close()
	var altering, muting atomic.Bool
	// A heartbeat has several answers to one question, so the ways are apart.
	l.running.Go(func() {
		defer client.Close()
		for {
			answer, err := readMessage(server)
			if err != nil {
				return
			}
			l.pass()
			if muting.Swap(false) {
				continue
			}
			if altering.Swap(false) {
				answer = l.altered(answer)
			}
			if _, err := client.Write(answer); err != nil {
				_, _ = io.Copy(io.Discard, server) // who asked has left; the server goes on
				return
			}
		}
	})
	for {
		message, err := readMessage(client)
		if err != nil {
			return
		}
		l.pass()
		if stores(message) {
			f, held := l.decide()
			switch {
			case f == requestLost:
				return
			case f == answerLost:
				_ = client.Close()
				if _, err := server.Write(message); err == nil {
					l.await(server)
				}
				return
			case f == requestMuted:
				continue
			case held != nil:
				<-held
			}
			muting.Store(f == answerMuted)
			altering.Store(f != answerMuted)
		}
		if _, err := server.Write(message); err != nil {
			return
		}
	}
}

// altered is an answer as alter wants it.
func (l *line) altered(answer []byte) []byte {
	var alter func(bson.D) bson.D
	l.set(func() { alter = l.alter })
	if alter == nil {
		return answer
	}
	const head = 16 + 4 + 1 // header, flags, kind of the one section
	var document bson.D
	if err := bson.Unmarshal(answer[head:], &document); err != nil {
		l.t.Error(err)
		return answer
	}
	changed, err := bson.Marshal(alter(document))
	if err != nil {
		l.t.Error(err)
		return answer
	}
	answer = append(slices.Clone(answer[:head]), changed...)
	binary.LittleEndian.PutUint32(answer, uint32(len(answer)))
	return answer
}

// await gives the server time to act on what it was sent last: it has when it closes.
func (l *line) await(server net.Conn) {
	if c, ok := server.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
	_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.Copy(io.Discard, server)
}

func readMessage(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(length[:])
	if size < 16 || size > 48<<20 {
		return nil, errors.New("no message")
	}
	message := make([]byte, size)
	copy(message, length[:])
	_, err := io.ReadFull(from, message[4:])
	return message, err
}

// stores tells whether a message is an insert into the collection events.
func stores(message []byte) bool {
	return bytes.Contains(message, append([]byte("\x02insert\x00\x07\x00\x00\x00"), eventsCollection+"\x00"...))
}

// hostOf is the address in a URI.
func hostOf(t testing.TB, uri string) string {
	t.Helper()
	a, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(a.RawQuery, "tls=true") {
		t.Skip("what is encrypted can't be told apart")
	}
	return a.Host
}

// waitUntil waits until something is so.
func waitUntil(t testing.TB, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(deadline) {
			t.Fatal("waited for long")
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-t.Context().Done():
			return
		}
	}
}

func TestLogOverALine(t *testing.T) {
	eventlogtest.RunRemote(t, func(t *testing.T) func(*testing.T) (eventlog.Log, eventlogtest.Line) {
		uri := database(t)
		host := hostOf(t, uri)
		return func(t *testing.T) (eventlog.Log, eventlogtest.Line) {
			l := newLine(t, host)
			return connectWith(t, Config{URI: l.uri(uri), Logger: slog.New(slog.DiscardHandler), patience: 6 * time.Second}).Log(), l
		}
	})
}

func TestTheLineKnowsWhatStoresCommits(t *testing.T) {
	if slices.ContainsFunc([]string{"", "\x02insert\x00\x05\x00\x00\x00meta\x00", "\x02find\x00\x07\x00\x00\x00events\x00"}, func(m string) bool { return stores([]byte(m)) }) {
		t.Error("another message is taken for an insert")
	}
}
