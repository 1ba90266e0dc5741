package tcp

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"evcharging/domain"
)

const (
	hello     = "HELLO "
	challenge = "CHALLENGE "
	proof     = "PROOF "
	denied    = "DENIED "

	// maxLine is how long a line may be, without its end.
	maxLine = 256
	// authenticationPatience is how long a Monitor may take to say its next line.
	authenticationPatience = 10 * time.Second
)

// Secrets knows the points' secrets. Safe for use from several goroutines.
type Secrets interface {
	// Secret is the point's; ok is false where the point is not known.
	Secret(point domain.PointID) (secret string, ok bool)
}

// AuthenticationServer tells Monitors whether their secret is right. It changes nothing.
type AuthenticationServer struct{ *server }

// ServeAuthentication listens on host:port (port 0: any). Where secrets is nil the network
// is open and every point is let in. The error says which address can't be had, and why.
func ServeAuthentication(address string, secrets Secrets) (*AuthenticationServer, error) {
	s, err := serve(address, "the authentication", authenticationPatience, func() conversation {
		return &reception{secrets: secrets, newNonce: newNonce}
	})
	if err != nil {
		return nil, err
	}
	return &AuthenticationServer{s}, nil
}

func newNonce() string {
	var nonce [16]byte
	rand.Read(nonce[:]) // never fails
	return hex.EncodeToString(nonce[:])
}

// answerTo is what a Monitor with the secret says to a challenge.
func answerTo(nonce, secret string, point domain.PointID) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(nonce + " " + string(point)))
	return hex.EncodeToString(mac.Sum(nil))
}

// reception is Central's side of an authentication's connection.
type reception struct {
	secrets  Secrets
	newNonce func() string

	lines lines
	// want is the right proof, once a challenge has been sent.
	want string
}

func (r *reception) hear(data []byte, ended bool) (answer []byte, over bool) {
	for {
		line, rest, ok := r.lines.take(data, ended)
		if !ok {
			if r.lines.tooLong() {
				return append(answer, denied+"a line is at most 256 bytes\n"...), true
			}
			return answer, ended
		}
		data = rest
		said, last := r.reply(line)
		answer = append(answer, said+"\n"...)
		if last {
			return answer, true
		}
	}
}

// reply is what Central says to a line, and whether that ends the exchange.
func (r *reception) reply(line string) (said string, last bool) {
	if r.want != "" {
		given, ok := strings.CutPrefix(line, proof)
		switch {
		case !ok:
			return denied + "say PROOF and the proof", true
		case !hmac.Equal([]byte(strings.ToLower(strings.TrimSpace(given))), []byte(r.want)):
			return denied + "the secret is not that of this point", true
		}
		return answerOK, true
	}
	id, ok := strings.CutPrefix(line, hello)
	point := domain.PointID(strings.TrimSpace(id))
	if !ok || domain.CheckID(point) != nil {
		return denied + "say HELLO and the id of a charging point", true
	}
	if r.secrets == nil {
		return answerOK, true
	}
	secret, known := r.secrets.Secret(point)
	if !known {
		return denied + "Central does not know this point", true
	}
	nonce := r.newNonce()
	r.want = answerTo(nonce, secret, point)
	return challenge + nonce, false
}

// lines puts what comes in pieces together. A line ends with LF, CR before it is not part
// of it; the end of the connection ends a line too.
type lines struct{ pending []byte }

// take gives the next line and the data behind it; ok is false where there is none yet.
func (l *lines) take(data []byte, ended bool) (line string, rest []byte, ok bool) {
	piece, rest, ok := bytes.Cut(data, []byte("\n"))
	if room := maxLine + 1 - len(l.pending); len(piece) > room {
		piece = piece[:room]
	}
	l.pending = append(l.pending, piece...)
	if l.tooLong() || !ok && (!ended || len(l.pending) == 0) {
		return "", nil, false
	}
	line = string(bytes.TrimSuffix(l.pending, []byte("\r")))
	l.pending = l.pending[:0]
	return line, rest, true
}

func (l *lines) tooLong() bool { return len(l.pending) > maxLine }
