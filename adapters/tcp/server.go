package tcp

import (
	"container/list"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	// maxConnections is how many connections a server keeps at once.
	maxConnections = 4096
	// bufferSize is how much of what a client sends is held.
	bufferSize = 512
	// acceptPause is how long a server waits where the system has no connection to give.
	acceptPause = 50 * time.Millisecond
)

// conversation is one connection's state, without its socket.
type conversation interface {
	// hear takes what came, in pieces as they came; ended tells that nothing more will. It
	// gives what is to be said, and whether that was the last.
	hear(data []byte, ended bool) (answer []byte, over bool)
}

// server is the layer of sockets.
type server struct {
	listener net.Listener
	// patience is how long a connection may go until it has read an answer.
	patience time.Duration
	limit    int
	begin    func() conversation

	mu     sync.Mutex
	closed bool
	// connections are *connection, who was answered last in front.
	connections *list.List
	running     sync.WaitGroup
}

type connection struct {
	net.Conn
	place *list.Element
}

// serve listens on host:port for what is said in conversations that begin makes.
func serve(address, what string, patience time.Duration, begin func() conversation) (*server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s can't listen on %s: %w", what, address, reason(err))
	}
	s := &server{listener: listener, patience: patience, limit: maxConnections, begin: begin, connections: list.New()}
	s.running.Go(s.accept)
	return s, nil
}

// reason is what the system says of a network error, without the words around it.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Addr is the host:port on which the server listens.
func (s *server) Addr() string { return s.listener.Addr().String() }

// Close closes the server and every connection, and waits for them. A second Close
// does nothing.
func (s *server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	err := s.listener.Close()
	for e := s.connections.Front(); e != nil; e = e.Next() {
		_ = e.Value.(*connection).Close()
	}
	s.mu.Unlock()
	s.running.Wait()
	return err
}

func (s *server) accept() {
	for {
		conn, err := s.listener.Accept()
		switch {
		case err == nil:
			s.admit(conn)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			// The client has left already, or the process has too many files open.
			s.evict()
			time.Sleep(acceptPause)
		}
	}
}

// admit starts a conversation. Where there are too many it takes the place of the one that
// has been silent longest.
func (s *server) admit(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return
	}
	if s.connections.Len() >= s.limit {
		s.evictLocked()
	}
	c := &connection{Conn: conn}
	c.place = s.connections.PushFront(c)
	s.running.Go(func() {
		s.converse(c)
		s.leave(c)
	})
}

func (s *server) evict() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evictLocked()
}

func (s *server) evictLocked() {
	if silent := s.connections.Back(); silent != nil {
		_ = silent.Value.(*connection).Close()
		s.connections.Remove(silent)
	}
}

func (s *server) answered(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections.MoveToFront(c.place)
}

func (s *server) leave(c *connection) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections.Remove(c.place)
}

func (s *server) converse(c *connection) {
	talk := s.begin()
	buffer := make([]byte, bufferSize)
	if c.SetDeadline(time.Now().Add(s.patience)) != nil {
		return
	}
	for {
		n, err := c.Read(buffer)
		answer, over := talk.hear(buffer[:n], err != nil)
		if len(answer) > 0 {
			if _, err := c.Write(answer); err != nil {
				return
			}
			s.answered(c)
			if c.SetDeadline(time.Now().Add(s.patience)) != nil {
				return
			}
		}
		if over || err != nil {
			return
		}
	}
}
