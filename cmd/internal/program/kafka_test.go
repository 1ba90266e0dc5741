package program_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"evcharging/adapters/kafka"
	"evcharging/cmd/internal/program"
)

// writePair writes a certificate and its key.
func writePair(t *testing.T, certificate, private string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, private: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// configured is what the flags make of a connection to Kafka.
func configured(t *testing.T, args ...string) (config kafka.Config, err error) {
	t.Helper()
	line := &commandLine{}
	line.Serve.run = func(_ context.Context, p *program.Process) error {
		config, err = line.KafkaConfig(kafka.Engine, "ev-test", p.Logger)
		return nil
	}
	if got := run(line, append(args, "--id=A")...); got.status != 0 {
		return config, errors.New(got.stderr)
	}
	return config, err
}

func TestTheSecurityOfKafka(t *testing.T) {
	inVault(t, map[string]string{"KAFKA_PASSWORD_FILE": "secret"}, "KAFKA_USERNAME=u\nKAFKA_TLS=yes\nKAFKA_CA=ca.crt\n")
	writePair(t, "ca.crt", "ca.key")
	writePair(t, "own.crt", "own.key")
	c, err := configured(t, "--kafka=a:1,b:2", "--kafka-cert=own.crt", "--kafka-key=own.key", "--kafka-mechanism=scram-sha-256")
	if err != nil {
		t.Fatal(err)
	}
	s := c.Security
	if c.ClientID != "ev-test" || c.Role != kafka.Engine || strings.Join(c.Brokers, " ") != "a:1 b:2" || c.Logger == nil {
		t.Errorf("it is %+v", c)
	}
	if s.Username != "u" || s.Password != theSecret || s.Mechanism != kafka.ScramSHA256 || s.TLS == nil || s.TLS.RootCAs == nil || len(s.TLS.Certificates) != 1 {
		t.Errorf("the user is %s, the mechanism %s, TLS %+v", s.Username, s.Mechanism, s.TLS)
	}

	inVault(t, nil, "")
	if c, err := configured(t); err != nil || c.Security.TLS != nil || c.Security.Username != "" {
		t.Errorf("without flags it is secured (%v)", err)
	}
	if c, err := configured(t, "--kafka-tls"); err != nil || c.Security.TLS == nil || c.Security.TLS.RootCAs != nil {
		t.Errorf("TLS does not believe the system's authorities (%v)", err)
	}
}

func TestTheSecurityOfKafkaThatCannotBe(t *testing.T) {
	for name, test := range map[string]struct{ args, want string }{
		"a user without a password":      {"--kafka-username=u", "--kafka-username and --kafka-password (KAFKA_PASSWORD, KAFKA_PASSWORD_FILE) go together"},
		"a password without a user":      {"--kafka-password=staple", "go together"},
		"PLAIN without TLS":              {"--kafka-username=u --kafka-password=staple --kafka-mechanism=PLAIN", "PLAIN hands the password over, so it needs --kafka-tls"},
		"an unknown mechanism":           {"--kafka-mechanism=GSSAPI", `--kafka-mechanism: "GSSAPI" is none of SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN`},
		"an authority without TLS":       {"--kafka-ca=ca.crt", "are of no use without --kafka-tls"},
		"a certificate without its key":  {"--kafka-tls --kafka-cert=own.crt", "--kafka-cert and --kafka-key go together"},
		"no file of authorities":         {"--kafka-tls --kafka-ca=nowhere", "--kafka-ca (KAFKA_CA): open "},
		"a file without a certificate":   {"--kafka-tls --kafka-ca=secret", "secret holds no certificate in PEM"},
		"no file of a certificate":       {"--kafka-tls --kafka-cert=nowhere --kafka-key=own.key", "--kafka-cert (KAFKA_CERT): open "},
		"no file of a key":               {"--kafka-tls --kafka-cert=own.crt --kafka-key=nowhere", "--kafka-key (KAFKA_KEY): open "},
		"a certificate of another's key": {"--kafka-tls --kafka-cert=own.crt --kafka-key=ca.key", "private key does not match public key"},
	} {
		t.Run(name, func(t *testing.T) {
			inVault(t, nil, "")
			writePair(t, "ca.crt", "ca.key")
			writePair(t, "own.crt", "own.key")
			_, err := configured(t, strings.Fields(test.args)...)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "staple") {
				t.Errorf("the error is %v, want %s", err, test.want)
			}
			line := &commandLine{}
			line.Serve.run = func(_ context.Context, p *program.Process) error {
				_, err := line.KafkaConfig(kafka.Engine, "", p.Logger)
				return err
			}
			if got := run(line, append(strings.Fields(test.args), "--id=A")...); got.status != program.StatusUsage {
				t.Errorf("got %+v", got)
			}
		})
	}
	inVault(t, map[string]string{"KAFKA_TLS": "perhaps"}, "")
	if _, err := configured(t); err == nil || !strings.Contains(err.Error(), "KAFKA_TLS in the environment") {
		t.Errorf("the error is %v", err)
	}
}
