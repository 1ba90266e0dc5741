package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const local = "127.0.0.1:0"

// within bounds every exchange of these tests.
const within = 10 * time.Second

func serveHeartbeat(t *testing.T) *HeartbeatServer {
	t.Helper()
	s, err := ServeHeartbeat(local, func() bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v", got, err)
	}
}

// expectGone waits until the other side has closed the connection.
func expectGone(t *testing.T, conn net.Conn) {
	t.Helper()
	rest, err := io.ReadAll(conn)
	if len(rest) > 0 || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Fatalf("%q, %v", rest, err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func expectHealthy(t *testing.T, address string) {
	t.Helper()
	conn := dial(t, address)
	defer conn.Close()
	write(t, conn, "PING")
	expect(t, conn, "OK")
}

// Faults of the reference: one idle client turns a healthy point red; a client that
// resets its connection ends the heartbeat for good; half a PING is answered.
func TestHeartbeatOutlivesItsClients(t *testing.T) {
	for name, harm := range map[string]func(*testing.T, *net.TCPConn){
		"one that says nothing": func(*testing.T, *net.TCPConn) {},
		"one that resets its connection": func(t *testing.T, conn *net.TCPConn) {
			write(t, conn, "PI")
			if err := conn.SetLinger(0); err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		},
		"one that resets it before the answer": func(t *testing.T, conn *net.TCPConn) {
			if err := conn.SetLinger(0); err != nil {
				t.Fatal(err)
			}
			write(t, conn, "PING")
			_ = conn.Close()
		},
		"one that sends half a PING and leaves": func(t *testing.T, conn *net.TCPConn) {
			write(t, conn, "PI")
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			expectGone(t, conn)
		},
		"one that sends a megabyte of something": func(t *testing.T, conn *net.TCPConn) {
			// It is cut off at the first byte, perhaps while it writes.
			_, _ = io.WriteString(conn, strings.Repeat("x", 1<<20))
			expectGone(t, conn)
		},
		"one that beats a megabyte long and reads nothing": func(_ *testing.T, conn *net.TCPConn) {
			_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_, _ = io.WriteString(conn, strings.Repeat("PING", 1<<18))
		},
		"one that half closes after its beat": func(t *testing.T, conn *net.TCPConn) {
			write(t, conn, "PING")
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			expect(t, conn, "OK")
			expectGone(t, conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveHeartbeat(t)
			kept := dial(t, s.Addr())
			write(t, kept, "PING")
			expect(t, kept, "OK")
			for range 20 {
				harm(t, dial(t, s.Addr()))
			}
			expectHealthy(t, s.Addr())
			write(t, kept, "\nPING")
			expect(t, kept, "OK")
		})
	}
}

func TestGivenMoreClientsThanItKeepsThenTheSilentOnesGoAndTheMonitorStays(t *testing.T) {
	s := serveHeartbeat(t)
	s.mu.Lock()
	s.limit = 10
	s.mu.Unlock()
	monitor := dial(t, s.Addr())
	var first *net.TCPConn
	for i := range 30 {
		silent := dial(t, s.Addr())
		if i == 0 {
			first = silent
		}
		write(t, monitor, "PING")
		expect(t, monitor, "OK")
	}
	expectGone(t, first)
	expectHealthy(t, s.Addr())
}

// impatient serves the heartbeat with a patience that a test can wait for.
func impatient(t *testing.T, patience time.Duration) *server {
	t.Helper()
	s, err := serve(local, "the heartbeat", patience, func() conversation { return &pulse{healthy: func() bool { return true }} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestGivenAClientThatIsSilentOrReadsNothingThenItIsLetGo(t *testing.T) {
	s := impatient(t, 50*time.Millisecond)
	silent, half, deaf := dial(t, s.Addr()), dial(t, s.Addr()), dial(t, s.Addr())
	write(t, half, "PIN")
	expectGone(t, silent)
	expectGone(t, half)
	for {
		if _, err := io.WriteString(deaf, strings.Repeat("PING", 1<<18)); err != nil {
			if isTimeout(err) {
				t.Fatal("it is not let go")
			}
			break
		}
	}
}

func TestGivenAClientThatBeatsThenItStays(t *testing.T) {
	const patience = time.Second
	conn := dial(t, impatient(t, patience).Addr())
	beats := time.NewTicker(patience / 3)
	defer beats.Stop()
	for range 5 {
		<-beats.C
		write(t, conn, "PING")
		expect(t, conn, "OK")
	}
}

func TestGivenAServerThatIsClosedThenItsConnectionsAndItsPortAreFree(t *testing.T) {
	s := serveHeartbeat(t)
	address := s.Addr()
	conn := dial(t, address)
	write(t, conn, "PING")
	expect(t, conn, "OK")
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	expectGone(t, conn)
	again, err := ServeHeartbeat(address, func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

func TestGivenAPortThatIsTakenThenTheErrorSaysWhich(t *testing.T) {
	s := serveHeartbeat(t)
	_, err := ServeHeartbeat(s.Addr(), nil)
	if err == nil || !strings.Contains(err.Error(), "can't listen on "+s.Addr()) || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("error: %v", err)
	}
	if _, err := ServeAuthentication(s.Addr(), nil); err == nil {
		t.Fatal("no error")
	}
}

// stranger is a server of somebody else: each connection, counted from 1, is a function's.
func stranger(t *testing.T, serve func(n int, conn net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", local)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	all.Go(func() {
		for n := 1; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			all.Go(func() { serve(n, conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return listener.Addr().String()
}

func hears(conn net.Conn, want string) bool {
	got := make([]byte, len(want))
	_, err := io.ReadFull(conn, got)
	return err == nil && string(got) == want
}

func TestBeat(t *testing.T) {
	beat := func(t *testing.T, h *Heartbeat, want bool) {
		t.Helper()
		if healthy, err := h.Beat(t.Context()); err != nil || healthy != want {
			t.Fatalf("%v, %v", healthy, err)
		}
	}
	down := func(t *testing.T, h *Heartbeat, words string) {
		t.Helper()
		if _, err := h.Beat(t.Context()); err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), h.address) {
			t.Fatalf("error: %v", err)
		}
	}
	beats := func(t *testing.T, serve func(n int, conn net.Conn)) *Heartbeat {
		h := NewHeartbeat(stranger(t, serve))
		t.Cleanup(h.Close)
		return h
	}
	t.Run("our Engine: one connection, OK and KO as it is at that moment", func(t *testing.T) {
		var sick atomic.Bool
		s, err := ServeHeartbeat(local, func() bool { return !sick.Load() })
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		h := NewHeartbeat(s.Addr())
		defer h.Close()
		beat(t, h, true)
		first := h.kept
		sick.Store(true)
		beat(t, h, false)
		sick.Store(false)
		beat(t, h, true)
		if first == nil || h.kept != first {
			t.Fatal("the connection is not kept")
		}
	})
	t.Run("the reference's Engine closes after each answer", func(t *testing.T) {
		h := beats(t, func(_ int, conn net.Conn) {
			if hears(conn, "PING") {
				_, _ = io.WriteString(conn, "OK")
			}
			_ = conn.Close()
		})
		for range 5 {
			beat(t, h, true)
		}
	})
	t.Run("a kept connection that goes silent is no fault where a new one answers", func(t *testing.T) {
		h := beats(t, func(_ int, conn net.Conn) {
			if hears(conn, "PING") {
				_, _ = io.WriteString(conn, "OK")
			}
			hears(conn, "never comes")
		})
		beat(t, h, true)
		beat(t, h, true)
	})
	t.Run("an Engine that restarts is asked on a new connection", func(t *testing.T) {
		s := serveHeartbeat(t)
		h := NewHeartbeat(s.Addr())
		defer h.Close()
		beat(t, h, true)
		_ = s.Close()
		down(t, h, "connection refused")
		again, err := ServeHeartbeat(h.address, func() bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		beat(t, h, true)
	})
	t.Run("down: refused", func(t *testing.T) {
		s := serveHeartbeat(t)
		_ = s.Close()
		down(t, NewHeartbeat(s.Addr()), "connection refused")
	})
	t.Run("down: broken at once", func(t *testing.T) {
		down(t, beats(t, func(_ int, conn net.Conn) { _ = hears(conn, "PING"); _ = conn.Close() }), "closes the connection")
	})
	t.Run("down: silent", func(t *testing.T) {
		h := beats(t, func(_ int, conn net.Conn) { hears(conn, "PING and no more") })
		began := time.Now()
		down(t, h, "silent")
		if took := time.Since(began); took > 2*BeatTimeout {
			t.Fatalf("took %v", took)
		}
	})
	t.Run("down: something else", func(t *testing.T) {
		down(t, beats(t, func(_ int, conn net.Conn) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n")
			hears(conn, "PING")
		}), "something else")
	})
	t.Run("down: no such host", func(t *testing.T) {
		down(t, NewHeartbeat("engine.invalid:7100"), "engine.invalid")
	})
	t.Run("an end of the context ends it", func(t *testing.T) {
		h := beats(t, func(_ int, conn net.Conn) { hears(conn, "PING and no more") })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.Beat(ctx); err == nil {
			t.Fatal("no error")
		}
	})
}

func TestAuthenticate(t *testing.T) {
	central := func(t *testing.T, secrets Secrets) string {
		t.Helper()
		s, err := ServeAuthentication(local, secrets)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s.Addr()
	}
	known := secretsOf{"CP-001": "s3cret"}
	isDenied := func(err error) bool {
		var denial *DeniedError
		return errors.As(err, &denial)
	}
	for name, given := range map[string]struct {
		secrets Secrets
		secret  string
		want    func(error) bool
	}{
		"an open network":                {nil, "", func(err error) bool { return err == nil }},
		"an open network, with a secret": {nil, "s3cret", func(err error) bool { return err == nil }},
		"the right secret":               {known, "s3cret", func(err error) bool { return err == nil }},
		"a wrong secret":                 {known, "secret", isDenied},
		"no secret":                      {known, "", func(err error) bool { return errors.Is(err, ErrNoSecret) }},
		"a point that is not known":      {secretsOf{}, "s3cret", isDenied},
	} {
		t.Run(name, func(t *testing.T) {
			if err := Authenticate(t.Context(), central(t, given.secrets), "CP-001", given.secret); !given.want(err) {
				t.Fatalf("error: %v", err)
			}
		})
	}
	t.Run("the reference's Central", func(t *testing.T) {
		address := stranger(t, func(_ int, conn net.Conn) {
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = io.WriteString(conn, "ACK")
			_ = conn.Close()
		})
		if err := Authenticate(t.Context(), address, "CP-001", "s3cret"); err != nil {
			t.Fatal(err)
		}
	})
	for name, given := range map[string]struct {
		serve func(int, net.Conn)
		words string
	}{
		"closes at once": {func(_ int, conn net.Conn) { hears(conn, "HELLO CP-001\n"); _ = conn.Close() }, "closes the connection"},
		"is silent":      {func(_ int, conn net.Conn) { hears(conn, "HELLO CP-001\nand more") }, "silent"},
		"is no Central": {func(_ int, conn net.Conn) {
			_, _ = io.WriteString(conn, "220 mail.example\r\n")
			hears(conn, "HELLO CP-001\n")
		}, "does not answer as Central does"},
	} {
		t.Run("one that "+name+" can't be asked", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			address := stranger(t, given.serve)
			err := Authenticate(ctx, address, "CP-001", "s3cret")
			if err == nil || isDenied(err) || !strings.Contains(err.Error(), given.words) || !strings.Contains(err.Error(), address) {
				t.Fatalf("error: %v", err)
			}
		})
	}
	t.Run("a client that says nothing delays nobody", func(t *testing.T) {
		address := central(t, known)
		for range 50 {
			dial(t, address)
		}
		if err := Authenticate(t.Context(), address, "CP-001", "s3cret"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a proof of before is none on another connection", func(t *testing.T) {
		address := central(t, known)
		answers := map[string]bool{}
		for range 3 {
			conn := dial(t, address)
			write(t, conn, "HELLO CP-001\n")
			challenge := make([]byte, len("CHALLENGE ")+32)
			if _, err := io.ReadFull(conn, challenge); err != nil || answers[string(challenge)] {
				t.Fatalf("%q, %v", challenge, err)
			}
			answers[string(challenge)] = true
		}
	})
}
