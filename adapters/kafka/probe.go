package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/IBM/sarama"
)

// A broker that is spoken to in the wrong way closes the connection, and says nothing. What
// it would rather hear is found out by asking: the few requests here are the oldest forms
// of Kafka's, which every broker knows.

// cutOff tells whether the other end closed a connection, or said what is none of its protocol.
func cutOff(err error) bool {
	var decoding sarama.PacketDecodingError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.As(err, &decoding) || errors.Is(err, sarama.ErrInsufficientData)
}

// probeAll is what is wrong with the connections to the brokers, or what an attempt at one said.
func (t *Transport) probeAll(ctx context.Context, err error) error {
	for _, address := range t.brokers {
		if probed := t.probeIfCut(ctx, address, err); isNamed(probed) {
			return probed
		}
	}
	return err
}

// probeIfCut is what is wrong where that is not said by the error of an attempt.
func (t *Transport) probeIfCut(ctx context.Context, address string, err error) error {
	if cutOff(err) || refusedByPeer(err) || errors.Is(err, sarama.ErrUnsupportedSASLMechanism) {
		if probed := t.probe(t.dialer(ctx), address); probed != nil {
			return probed
		}
	}
	if refusedByPeer(err) {
		return explainTLS(address, err)
	}
	return err
}

// probe is what is wrong between a broker that closed a connection and these settings: ErrTLS
// or ErrDenied. It is nil where nothing is, as far as can be seen.
func (t *Transport) probe(d dialer, address string) error {
	if d.tls != nil {
		return t.probeSecured(d, address)
	}
	conn, err := d.alone(address, pingTimeout)
	if err != nil {
		return nil
	}
	if _, err = exchange(conn, apiVersions, nil); err != nil {
		if cutOff(err) && speaksTLS(d, address) {
			return tlsFails("%s expects TLS: set --kafka-tls, or give the address where it does not", address)
		}
		return nil
	}
	return t.probeUser(d, address)
}

// probeSecured is probe where TLS is spoken.
func (t *Transport) probeSecured(d dialer, address string) error {
	asked := false
	settings := d.tls.Clone()
	settings.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		asked = true
		if len(d.tls.Certificates) > 0 {
			return &d.tls.Certificates[0], nil
		}
		return &tls.Certificate{}, nil
	}
	own := d
	own.tls = settings
	conn, err := own.alone(address, pingTimeout)
	if err != nil {
		if isLasting(err) {
			return err
		}
		return nil
	}
	if _, err = exchange(conn, apiVersions, nil); err != nil {
		switch {
		case !cutOff(err) && !refusedByPeer(err), !asked:
			return nil
		case len(d.tls.Certificates) == 0:
			return tlsFails("%s asks for a certificate: give this program's with --kafka-cert and --kafka-key", address)
		}
		return tlsFails("%s does not accept the certificate of --kafka-cert", address)
	}
	return t.probeUser(d, address)
}

// probeUser looks whether a broker asks for a user, and by which mechanism.
func (t *Transport) probeUser(d dialer, address string) error {
	conn, err := d.alone(address, pingTimeout)
	if err != nil {
		return nil
	}
	if _, err = exchange(conn, brokersOnly, []byte{0, 0, 0, 0}); err == nil {
		if t.security.Username == "" {
			return nil
		}
		return t.askedForNoUser(address)
	} else if !cutOff(err) {
		return nil
	}
	if conn, err = d.alone(address, pingTimeout); err != nil {
		return nil
	}
	mechanism := []byte(t.security.Mechanism)
	answer, err := exchange(conn, saslHandshake, append(binary.BigEndian.AppendUint16(nil, uint16(len(mechanism))), mechanism...))
	if err != nil || len(answer) < 2 {
		return nil
	}
	switch code := sarama.KError(int16(binary.BigEndian.Uint16(answer))); {
	case errors.Is(code, sarama.ErrIllegalSASLState):
		return nil
	case t.security.Username == "":
		return fmt.Errorf("%w: %s asks for a user and a password: set --kafka-username and KAFKA_PASSWORD", ErrDenied, address)
	case errors.Is(code, sarama.ErrUnsupportedSASLMechanism):
		return fmt.Errorf("%w: %s takes no password by %s, but by %s: set --kafka-mechanism", ErrDenied, address, t.security.Mechanism, strings.Join(texts(answer[2:]), ", "))
	}
	return t.wrongPassword(address)
}

func (t *Transport) askedForNoUser(address string) error {
	return fmt.Errorf("%w: %s asks for no user: leave --kafka-username out, or give the address where it does", ErrDenied, address)
}

func (t *Transport) wrongPassword(address string) error {
	return fmt.Errorf("%w: %s does not accept the user %s with this password by %s: correct --kafka-username, KAFKA_PASSWORD or --kafka-mechanism",
		ErrDenied, address, t.security.Username, t.security.Mechanism)
}

// The requests, by key and version.
var (
	apiVersions   = [2]uint16{18, 0}
	brokersOnly   = [2]uint16{3, 1} // metadata of a list of topics, which is empty
	saslHandshake = [2]uint16{17, 1}
)

// exchange sends one request, closes the connection, and gives the answer's body.
func exchange(conn net.Conn, request [2]uint16, body []byte) ([]byte, error) {
	defer conn.Close()
	const id = 0x65766368
	var head []byte
	head = binary.BigEndian.AppendUint16(head, request[0])
	head = binary.BigEndian.AppendUint16(head, request[1])
	head = binary.BigEndian.AppendUint32(head, id)
	head = binary.BigEndian.AppendUint16(head, 0) // a client without a name
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(head)+len(body)))
	if _, err := conn.Write(append(append(frame, head...), body...)); err != nil {
		return nil, err
	}
	start := make([]byte, 8)
	if _, err := io.ReadFull(conn, start); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(start)
	if binary.BigEndian.Uint32(start[4:]) != id || size < 4 || size > 1<<20 {
		return nil, sarama.PacketDecodingError{Info: "it is no answer"}
	}
	answer := make([]byte, size-4)
	_, err := io.ReadFull(conn, answer)
	return answer, err
}

// texts are an array of texts.
func texts(b []byte) (all []string) {
	r := bytes.NewReader(b)
	var count int32
	_ = binary.Read(r, binary.BigEndian, &count)
	for range count {
		var size uint16
		if binary.Read(r, binary.BigEndian, &size) != nil || int(size) > r.Len() {
			return all
		}
		text := make([]byte, size)
		_, _ = io.ReadFull(r, text)
		all = append(all, string(text))
	}
	return all
}

// speaksPlainly tells whether a broker answers without TLS.
func (d dialer) speaksPlainly(address string) bool {
	d.tls = nil
	conn, err := d.alone(address, pingTimeout)
	if err != nil {
		return false
	}
	_, err = exchange(conn, apiVersions, nil)
	return err == nil
}

// speaksTLS tells whether somebody answers in TLS, whoever that is: nothing is told them.
func speaksTLS(d dialer, address string) bool {
	d.tls = &tls.Config{InsecureSkipVerify: true}
	conn, err := d.alone(address, pingTimeout)
	if err != nil {
		return errors.Is(err, ErrTLS)
	}
	_ = conn.Close()
	return true
}

// tlsError is ErrTLS in a sentence of its own, whatever sarama says around it.
type tlsError struct{ text string }

func tlsFails(format string, args ...any) error { return &tlsError{fmt.Sprintf(format, args...)} }

func (e *tlsError) Error() string        { return ErrTLS.Error() + ": " + e.text }
func (e *tlsError) Is(target error) bool { return target == ErrTLS }

func noTLS(address string) error {
	return tlsFails("%s speaks no TLS: leave --kafka-tls out, or give the address where it does", address)
}

// explainTLS makes one sentence of why a connection could not be secured.
func explainTLS(address string, err error) error {
	host, _, _ := net.SplitHostPort(address)
	var (
		noTLSAtAll tls.RecordHeaderError
		unknown    x509.UnknownAuthorityError
		invalid    x509.CertificateInvalidError
		otherHost  x509.HostnameError
		unverified *tls.CertificateVerificationError
		network    *net.OpError
	)
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &noTLSAtAll):
		return noTLS(address)
	case errors.As(err, &unknown):
		return tlsFails("the certificate of %s is signed by nobody who is known here: give the authority's with --kafka-ca", address)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return tlsFails("the certificate of %s is valid from %s to %s only, and here it is %s: renew it, or set this machine's clock",
			address, day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter), day(time.Now()))
	case errors.As(err, &otherHost):
		return tlsFails("the certificate of %s is that of %s, not of %s: give the address by a name that it has", address, namesOf(otherHost.Certificate), host)
	case errors.As(err, &unverified):
		return tlsFails("the certificate of %s is not valid: %v", address, unverified.Err)
	case refusedByPeer(err):
		errors.As(err, &network)
		return tlsFails("%s refuses it: %v", address, network.Err)
	case errors.As(err, &network), cutOff(err):
		return err
	}
	return tlsFails("%s: %v", address, err)
}

func day(at time.Time) string { return at.UTC().Format(time.DateOnly) }

// namesOf are the hosts that a certificate is for.
func namesOf(c *x509.Certificate) string {
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

// refusedByPeer tells whether the other end ended TLS with a reason.
func refusedByPeer(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "remote error"
}
