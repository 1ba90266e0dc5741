package kafka

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// dialer makes sarama's connections, which live as long as ctx at most. Sarama knows no
// context: of a broker that hangs it awaits each answer for ioTimeout, and more than one of
// them before a client has ended. Without connections it ends at once. TLS begins here, too:
// what is wrong with it is then known when the connection is made.
type dialer struct {
	net.Dialer
	ctx context.Context
	tls *tls.Config // nil for none
}

// Dial is what sarama calls.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.DialContext(d.ctx, network, address)
	if err != nil {
		return nil, err
	}
	if d.tls != nil {
		if conn, err = d.secure(conn, address); err != nil {
			return nil, err
		}
	}
	return connection{conn, context.AfterFunc(d.ctx, func() { _ = conn.Close() })}, nil
}

// secure begins TLS. Its error is ErrTLS where the two ends can't agree, or the network's.
func (d dialer) secure(conn net.Conn, address string) (net.Conn, error) {
	secured := tls.Client(conn, d.expecting(address))
	ctx, cancel := context.WithTimeout(d.ctx, dialTimeout)
	defer cancel()
	err := secured.HandshakeContext(ctx)
	if err == nil {
		return secured, nil
	}
	_ = conn.Close()
	if d.ctx.Err() == nil && cutOff(err) && d.speaksPlainly(address) {
		return nil, noTLS(address)
	}
	return nil, explainTLS(address, err)
}

// expecting are the settings of TLS for a broker's address.
func (d dialer) expecting(address string) *tls.Config {
	c := d.tls.Clone()
	c.ServerName, _, _ = net.SplitHostPort(address)
	return c
}

// alone makes a connection that nothing but its deadline bounds.
func (d dialer) alone(address string, within time.Duration) (net.Conn, error) {
	conn, err := d.Dial("tcp", address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(within))
	}
	return conn, err
}

type connection struct {
	net.Conn
	forget func() bool
}

func (c connection) Close() error {
	c.forget()
	return c.Conn.Close()
}
