package kafka

import (
	"context"
	"net"
)

// dialer makes sarama's connections, which live as long as ctx at most. Sarama knows no
// context: of a broker that hangs it awaits each answer for ioTimeout, and more than one of
// them before a client has ended. Without connections it ends at once.
type dialer struct {
	net.Dialer
	ctx context.Context
}

// Dial is what sarama calls.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	return connection{conn, context.AfterFunc(d.ctx, func() { _ = conn.Close() })}, nil
}

type connection struct {
	net.Conn
	forget func() bool
}

func (c connection) Close() error {
	c.forget()
	return c.Conn.Close()
}
