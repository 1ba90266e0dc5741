package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"evcharging/domain"
)

// AuthenticationTimeout is how long the whole exchange with Central may take.
const AuthenticationTimeout = 3 * time.Second

var (
	// ErrNoSecret tells that Central asks for a secret, and there is none to prove.
	ErrNoSecret = errors.New("no secret was given, and Central asks for the point's: give it with --secret-file")
	// errNoCentral tells of an answer that the contract does not know.
	errNoCentral = errors.New("it does not answer as Central does")
)

// DeniedError tells that Central does not let the point in.
type DeniedError struct{ Reason string }

func (e *DeniedError) Error() string { return "Central denies the point: " + e.Reason }

// Authenticate asks the Central at host:port whether it lets the point in; the secret is
// empty where the point has none, and never crosses the wire. It is nil where Central
// does, *DeniedError or ErrNoSecret where it does not. Any other error says in one sentence
// why Central can't be asked.
func Authenticate(ctx context.Context, address string, point domain.PointID, secret string) error {
	ctx, cancel := context.WithTimeout(ctx, AuthenticationTimeout)
	defer cancel()
	err := authenticate(ctx, address, &introduction{point: point, secret: secret})
	var denial *DeniedError
	if err == nil || errors.As(err, &denial) || errors.Is(err, ErrNoSecret) {
		return err
	}
	return fmt.Errorf("the authentication of Central at %s can't be asked: %w", address, plainly(err))
}

func authenticate(ctx context.Context, address string, talk *introduction) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, talk.greeting()); err != nil {
		return err
	}
	buffer := make([]byte, bufferSize)
	for {
		n, readErr := conn.Read(buffer)
		say, accepted, err := talk.hear(buffer[:n], errors.Is(readErr, io.EOF))
		switch {
		case err != nil:
			return err
		case accepted:
			return nil
		}
		if _, err := io.WriteString(conn, say); err != nil {
			return err
		}
		if readErr != nil {
			return readErr
		}
	}
}

// introduction is the Monitor's side of an authentication's connection, without its socket.
type introduction struct {
	point  domain.PointID
	secret string

	lines  lines
	proven bool
}

func (i *introduction) greeting() string { return hello + string(i.point) + "\n" }

// hear takes what came and gives what is to be said. accepted tells that the point is let in.
func (i *introduction) hear(data []byte, ended bool) (say string, accepted bool, err error) {
	line, _, ok := i.lines.take(data, ended)
	nonce, challenged := strings.CutPrefix(line, challenge)
	reason, refused := strings.CutPrefix(line+" ", denied)
	switch {
	case !ok && i.lines.tooLong():
		return "", false, errNoCentral
	case !ok:
		return "", false, nil
	case line == answerOK || line == "ACK":
		return "", true, nil
	case refused:
		return "", false, &DeniedError{Reason: printable(reason)}
	case challenged && i.secret == "":
		return "", false, ErrNoSecret
	case challenged && !i.proven:
		i.proven = true
		return proof + answerTo(nonce, i.secret, i.point) + "\n", false, nil
	}
	return "", false, errNoCentral
}

// printable is what a stranger said, fit for a terminal.
func printable(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "")))
	if s == "" {
		return "it gives no reason"
	}
	return s
}
