package broker

import (
	"net"
	"strconv"
)

// listen binds host and port. kfake tells clients the listener's address, so it is the
// advertised one, with the port that was bound.
func listen(host string, port int, advertised string) (net.Listener, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	_, bound, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	return listener{Listener: l, addr: address(net.JoinHostPort(advertised, bound))}, nil
}

type listener struct {
	net.Listener
	addr address
}

func (l listener) Addr() net.Addr { return l.addr }

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guarded{Conn: conn}, nil
}

type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }
