package broker

import (
	"encoding/binary"
	"errors"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxRequest is Kafka's own limit of a request (socket.request.max.bytes).
const maxRequest = 100 << 20

var errNoRequest = errors.New("what was sent is no Kafka request")

// guarded reads a client's requests and ends the connection at the first one that is
// not Kafka's: kfake would allocate whatever size it names, and an unknown kind of
// request would end the process.
type guarded struct {
	net.Conn
	header  [8]byte
	pending []byte // of header, not handed on yet
	rest    int    // bytes of the request still to come
}

func (g *guarded) Read(p []byte) (int, error) {
	if len(g.pending) == 0 && g.rest == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if len(g.pending) > 0 {
		n := copy(p, g.pending)
		g.pending = g.pending[n:]
		return n, nil
	}
	n, err := g.Conn.Read(p[:min(len(p), g.rest)])
	g.rest -= n
	return n, err
}

// next reads a request's size, kind and version.
func (g *guarded) next() error {
	if _, err := io.ReadFull(g.Conn, g.header[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(g.header[:4])
	key := int16(binary.BigEndian.Uint16(g.header[4:6]))
	const shortest = 8 // kind, version, correlation
	if size < shortest || size > maxRequest || kmsg.RequestForKey(key) == nil {
		return errNoRequest
	}
	g.pending = g.header[:]
	g.rest = int(size) - 4
	return nil
}
