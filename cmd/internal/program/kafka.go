package program

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"evcharging/adapters/kafka"
)

// KafkaSecurity are the flags that say how the connections to Kafka are protected.
type KafkaSecurity struct {
	TLS       bool            `name:"kafka-tls" env:"KAFKA_TLS" help:"Encrypt the connections to Kafka, and check the brokers' certificates."`
	CA        string          `name:"kafka-ca" env:"KAFKA_CA" type:"path" placeholder:"FILE" predictor:"file" help:"File (PEM) of the authorities that the brokers' certificates are signed by; without it the system's."`
	Cert      string          `name:"kafka-cert" env:"KAFKA_CERT" type:"path" placeholder:"FILE" predictor:"file" help:"File (PEM) of this program's certificate, where the brokers ask for one."`
	Key       string          `name:"kafka-key" env:"KAFKA_KEY" type:"path" placeholder:"FILE" predictor:"file" help:"File (PEM) of that certificate's private key."`
	Username  string          `name:"kafka-username" env:"KAFKA_USERNAME" placeholder:"NAME" help:"User of Kafka, where the brokers ask for one."`
	Password  Secret          `name:"kafka-password" env:"KAFKA_PASSWORD" placeholder:"PASSWORD" help:"The user's password; everybody on this machine can read it on a command line, so take a variable or a file."`
	Mechanism kafka.Mechanism `name:"kafka-mechanism" env:"KAFKA_MECHANISM" default:"SCRAM-SHA-512" placeholder:"NAME" help:"How the password is proved: SCRAM-SHA-512, SCRAM-SHA-256, or, over TLS alone, PLAIN."`
}

// KafkaConfig says how to connect to Kafka: as what, under which name, with which log. Its
// error is one of usage: flags that don't go together, or a file that can't be read.
func (c *Common) KafkaConfig(role kafka.Role, clientID string, logger *slog.Logger) (kafka.Config, error) {
	security, err := c.security()
	return kafka.Config{Brokers: c.Kafka, Role: role, ClientID: clientID, Security: security, Logger: logger}, UsageError(err)
}

func (s *KafkaSecurity) security() (kafka.Security, error) {
	security := kafka.Security{Username: s.Username, Password: s.Password.Reveal(), Mechanism: s.Mechanism}
	switch {
	case (s.Username == "") != (s.Password.Reveal() == ""):
		return security, errors.New("--kafka-username and --kafka-password (KAFKA_PASSWORD, KAFKA_PASSWORD_FILE) go together")
	case s.Username != "" && s.Mechanism == kafka.Plain && !s.TLS:
		return security, errors.New("--kafka-mechanism: PLAIN hands the password over, so it needs --kafka-tls")
	case !s.TLS && s.CA+s.Cert+s.Key != "":
		return security, errors.New("--kafka-ca, --kafka-cert and --kafka-key are of no use without --kafka-tls")
	case (s.Cert == "") != (s.Key == ""):
		return security, errors.New("--kafka-cert and --kafka-key go together")
	case !s.TLS:
		return security, nil
	}
	security.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if s.CA != "" {
		text, err := os.ReadFile(s.CA)
		if err != nil {
			return security, fmt.Errorf("--kafka-ca (KAFKA_CA): %w", err)
		}
		security.TLS.RootCAs = x509.NewCertPool()
		if !security.TLS.RootCAs.AppendCertsFromPEM(text) {
			return security, fmt.Errorf("--kafka-ca (KAFKA_CA): %s holds no certificate in PEM", s.CA)
		}
	}
	if s.Cert != "" {
		certificate, err := s.certificate()
		if err != nil {
			return security, err
		}
		security.TLS.Certificates = []tls.Certificate{certificate}
	}
	return security, nil
}

// certificate is this program's own. A file that can't be read is named by itself.
func (s *KafkaSecurity) certificate() (tls.Certificate, error) {
	cert, err := os.ReadFile(s.Cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("--kafka-cert (KAFKA_CERT): %w", err)
	}
	key, err := os.ReadFile(s.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("--kafka-key (KAFKA_KEY): %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		err = fmt.Errorf("--kafka-cert %s and --kafka-key %s: %w", s.Cert, s.Key, err)
	}
	return pair, err
}
