package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// Security says how the connections to the brokers are protected; the zero value: not at
// all. No verb of fmt prints what is in it.
type Security struct {
	// TLS, where not nil, encrypts every connection and says whose certificates are believed.
	// A broker is known by the host of its address.
	TLS *tls.Config
	// Username and Password say who the program is. Both are empty where the brokers ask
	// nobody, or know the program by its certificate.
	Username, Password string
	// Mechanism is how the password is proved; ScramSHA512 where it is empty.
	Mechanism Mechanism
}

// Mechanism is a way to prove to a broker that one knows a password.
type Mechanism string

// The mechanisms. Plain hands the password over, so it is for TLS alone.
const (
	ScramSHA512 Mechanism = "SCRAM-SHA-512"
	ScramSHA256 Mechanism = "SCRAM-SHA-256"
	Plain       Mechanism = "PLAIN"
)

// Format implements fmt.Formatter.
func (Security) Format(to fmt.State, _ rune) { _, _ = io.WriteString(to, "(security)") }

// check is nil where connections can be made this way.
func (s *Security) check() error {
	if s.Mechanism == "" {
		s.Mechanism = ScramSHA512
	}
	switch {
	case (s.Username == "") != (s.Password == ""):
		return errors.New("a user of Kafka has a name and a password: only one of them is given")
	case s.Mechanism == Plain && s.TLS == nil && s.Username != "":
		return errors.New("PLAIN hands the password over, which is for TLS alone")
	case s.Mechanism == ScramSHA512, s.Mechanism == ScramSHA256, s.Mechanism == Plain:
		return nil
	}
	return fmt.Errorf("%q is none of %s, %s and %s", string(s.Mechanism), ScramSHA512, ScramSHA256, Plain)
}

// apply puts the user into sarama's settings; TLS is the dialer's.
func (s *Security) apply(c *sarama.Config) {
	if s.Username == "" {
		return
	}
	c.Net.SASL.Enable = true
	c.Net.SASL.Mechanism = sarama.SASLMechanism(s.Mechanism)
	c.Net.SASL.User, c.Net.SASL.Password = s.Username, s.Password
	hash := scram.SHA512
	if s.Mechanism == ScramSHA256 {
		hash = scram.SHA256
	}
	c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &proof{hash: hash} }
}

// proof is one exchange by SCRAM. Kafka takes names and passwords as they are, without
// SASLprep.
type proof struct {
	hash scram.HashGeneratorFcn
	*scram.ClientConversation
}

// Begin implements sarama.SCRAMClient.
func (p *proof) Begin(user, password, authzID string) error {
	client, err := p.hash.NewClientUnprepped(user, password, authzID)
	if err != nil {
		return err
	}
	p.ClientConversation = client.NewConversation()
	return nil
}

// Step implements sarama.SCRAMClient. Its error is the broker's: it said no, or could not
// prove in turn that it knows the password.
func (p *proof) Step(challenge string) (string, error) {
	response, err := p.ClientConversation.Step(challenge)
	if err != nil {
		return "", fmt.Errorf("%w: %w", sarama.ErrSASLAuthenticationFailed, err)
	}
	return response, nil
}
