package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"evcharging/application/message"
)

// reauthenticateAfter is how often the real Kafka asks again who somebody is: so it notices
// that a user is gone.
const reauthenticateAfter = 4 * time.Second

// secured is a real Kafka that listens in every way.
type secured struct {
	open, sasl, tls, saslTLS string // the addresses; open's clients may do anything, tls' show a certificate
	certificates             string // the folder
}

// startSecured starts one by the project's script.
func startSecured(t *testing.T) secured {
	t.Helper()
	if os.Getenv("EV_TEST_SERVERS") != "real" {
		t.Skip("needs a real Kafka: make integration")
	}
	dir, err := os.MkdirTemp("", "evcharging-kafka-") // what the broker still writes must not fail the test
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join("..", "..", ".ci", "servers", "kafka")
	call := func(args ...string) {
		if said, err := exec.Command(script, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", script, args, err, said)
		}
	}
	t.Cleanup(func() {
		call("down", dir)
		_ = os.RemoveAll(dir)
	})
	var ports [4]string
	for i := range ports {
		addr, _ := freeAddr(t)
		_, ports[i], _ = net.SplitHostPort(addr)
	}
	call(dir, ports[0], "--sasl", ports[1], "--tls", ports[2], "--sasl-tls", ports[3], "--acl",
		"--user", admin+":"+adminsWord, "--user", aUser+":"+strings.ReplaceAll(aSecret, ",", ""),
		"--conf", "connections.max.reauth.ms="+strconv.FormatInt(reauthenticateAfter.Milliseconds(), 10),
		"--conf", "listener.name.tls.ssl.client.auth=required",
		"--conf", "listener.name.sasltls.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
		"--conf", `listener.name.sasltls.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_`+aUser+`="`+aSecret+`";`)
	at := func(i int) string { return "127.0.0.1:" + ports[i] }
	return secured{at(0), at(1), at(2), at(3), filepath.Join(dir, "tls")}
}

func (s secured) believing(t *testing.T, own ...tls.Certificate) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.certificates, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("there is no certificate in it")
	}
	return &tls.Config{RootCAs: pool, Certificates: own}
}

func TestARealKafkaIsSecured(t *testing.T) {
	s := startSecured(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.open))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	g := guarded{t: t, admin: kadm.NewClient(client)}
	own, err := tls.LoadX509KeyPair(filepath.Join(s.certificates, "client.crt"), filepath.Join(s.certificates, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, stranger := s.believing(t), newAuthority(t)
	// The script makes users of words without a comma.
	password := strings.ReplaceAll(aSecret, ",", "")
	as := func(user, password string, m Mechanism, tls *tls.Config) Security {
		return Security{Username: user, Password: password, Mechanism: m, TLS: tls}
	}

	t.Run("what is wrong", func(t *testing.T) {
		for name, test := range map[string]struct {
			addr     string
			security Security
			want     error
			says     string
		}{
			"a wrong password, SCRAM-SHA-512":      {s.sasl, as(aUser, aSecret, "", nil), ErrDenied, "ADDR does not accept the user ev-somebody with this password by SCRAM-SHA-512: correct --kafka-username, "},
			"a wrong password, SCRAM-SHA-256":      {s.sasl, as(aUser, aSecret, ScramSHA256, nil), ErrDenied, "ADDR does not accept the user ev-somebody with this password by SCRAM-SHA-256"},
			"a wrong password, PLAIN":              {s.saslTLS, as(aUser, aSecret+"x", Plain, ca), ErrDenied, "ADDR does not accept the user ev-somebody with this password by PLAIN"},
			"an unknown user":                      {s.sasl, as("nobody", aSecret, "", nil), ErrDenied, "does not accept the user nobody"},
			"a mechanism that is not known":        {s.saslTLS, as(aUser, password, ScramSHA256, ca), ErrDenied, "ADDR takes no password by SCRAM-SHA-256, but by "},
			"no user, and one is asked for":        {s.sasl, Security{}, ErrDenied, "ADDR asks for a user and a password: set --kafka-username and KAFKA_PASSWORD"},
			"no user over TLS":                     {s.saslTLS, Security{TLS: ca}, ErrDenied, "ADDR asks for a user and a password"},
			"a user who is not asked for":          {s.open, as(aUser, password, "", nil), ErrDenied, "ADDR asks for no user: leave --kafka-username out, or give the address where it does"},
			"a user who is not asked for, TLS":     {s.tls, as(aUser, password, "", s.believing(t, own)), ErrDenied, "ADDR asks for no user"},
			"no TLS, and it is asked for":          {s.tls, Security{}, ErrTLS, "ADDR expects TLS: set --kafka-tls, or give the address where it does not"},
			"a user, but no TLS":                   {s.saslTLS, as(aUser, password, "", nil), ErrTLS, "ADDR expects TLS"},
			"TLS, and it is not spoken":            {s.open, Security{TLS: ca}, ErrTLS, "ADDR speaks no TLS: leave --kafka-tls out, or give the address where it does"},
			"TLS and a user, and it is not spoken": {s.sasl, as(aUser, password, "", ca), ErrTLS, "ADDR speaks no TLS"},
			"an authority that is not known":       {s.saslTLS, as(aUser, password, "", stranger.believing()), ErrTLS, "the certificate of ADDR is signed by nobody who is known here: give the authority's with --kafka-ca"},
			"no certificate of one's own":          {s.tls, Security{TLS: ca}, ErrTLS, "--kafka-cert"},
			"one's own certificate is a stranger":  {s.tls, Security{TLS: s.believing(t, stranger.signs(t, "client", tomorrow()))}, ErrTLS, "--kafka-cert"},
		} {
			t.Run(name, func(t *testing.T) { cantConnect(t, test.addr, test.security, test.want, test.says) })
		}
	})
	t.Run("nothing permitted", func(t *testing.T) {
		for role, says := range map[Role]string{
			Nobody:  "the user ev-somebody may not write to any topic: permit it",
			Monitor: "the user ev-somebody may not write ev.register, ev.health: permit it",
			Engine:  "the user ev-somebody may not read ev.commands, ev.supply.start, nor write ev.supply.telemetry, ev.supply.done: permit it",
		} {
			if _, err := Connect(t.Context(), Config{Brokers: []string{s.sasl}, Security: as(aUser, password, "", nil), Role: role}); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), says) {
				t.Errorf("the error is %v, want %s", err, says)
			}
		}
	})

	everything := kadm.NewACLs().Allow("User:"+aUser, "User:CN=client").AllowHosts("*").ResourcePatternType(kadm.ACLPatternPrefixed).
		Operations(kadm.OpAll).Topics("ev.").Groups("g.")
	g.permit(everything)
	t.Run("what is right", func(t *testing.T) {
		for name, test := range map[string]struct {
			addr     string
			security Security
		}{
			"SCRAM-SHA-512":          {s.sasl, as(aUser, password, "", nil)},
			"SCRAM-SHA-256":          {s.sasl, as(aUser, password, ScramSHA256, nil)},
			"TLS, certificate":       {s.tls, Security{TLS: s.believing(t, own)}},
			"TLS, SCRAM-SHA-512":     {s.saslTLS, as(aUser, password, "", ca)},
			"TLS, PLAIN":             {s.saslTLS, as(aUser, aSecret, Plain, ca)},
			"TLS, certificate, user": {s.saslTLS, as(aUser, password, ScramSHA512, s.believing(t, own))},
		} {
			t.Run(name, func(t *testing.T) {
				var while time.Duration
				if name == "TLS, SCRAM-SHA-512" {
					while = 2 * reauthenticateAfter
				}
				exercise(t, test.addr, test.security, while)
			})
		}
	})

	t.Run("what is no longer right", func(t *testing.T) {
		log := new(lines)
		tr, err := Connect(t.Context(), Config{Brokers: []string{s.sasl}, Security: as(aUser, password, "", nil), Role: Central, Logger: log.logger()})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		if err := tr.EnsureTopics(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := make(chan message.Received, 99)
		inGroup(t, tr, "g", []string{"ev.control"}, func(_ context.Context, r message.Received) error {
			select {
			case got <- r:
			default: // more are sent than are looked at
			}
			return nil
		})
		send := func() error {
			return tr.Send(t.Context(), message.Control{ID: "c-1", Point: "CP-001", Action: message.ActionStop})
		}
		if err := send(); err != nil {
			t.Fatal(err)
		}
		receive(t, "a record", got)

		const read = "Kafka denies access: the user ev-somebody may not read in the group g.ev.control: permit it (docs/security.md has the list); trying again"
		g.revoke(everything)
		await(t, "the log says so", func() bool { return strings.Contains(log.String(), read) })
		await(t, "sending is denied", func() bool {
			err := send()
			return errors.Is(err, ErrDenied) && strings.Contains(err.Error(), "may not write ev.control")
		})
		if tr.Listens() {
			t.Error("it takes silence for silence")
		}
		g.permit(everything)
		await(t, "sending is permitted", func() bool { return send() == nil })
		receive(t, "a record", got)
		await(t, "it listens again", tr.Listens)

		g.forgetUser()
		await(t, "the log says so", func() bool { return strings.Contains(log.String(), "does not accept the user ev-somebody") })
		await(t, "sending is denied", func() bool { return errors.Is(send(), ErrDenied) })
		g.rememberUser(password)
		await(t, "sending is permitted", func() bool { return send() == nil })
		for len(got) > 0 {
			<-got
		}
		await(t, "a record comes", func() bool { return send() == nil && len(got) > 0 })
		await(t, "it listens again", tr.Listens)
		if n := strings.Count(log.String(), read); n != 1 {
			t.Errorf("the permission is missed %d times", n)
		}
		if n := strings.Count(log.String(), "does not accept the user ev-somebody"); n != 1 {
			t.Errorf("the user is missed %d times", n)
		}
		if t.Failed() {
			t.Log(log)
		}
	})
}

// forgetUser deletes the user.
func (g guarded) forgetUser() {
	g.alterUser([]kadm.DeleteSCRAM{{User: aUser, Mechanism: kadm.ScramSha512}}, nil)
}

// rememberUser makes the user again.
func (g guarded) rememberUser(password string) {
	g.alterUser(nil, []kadm.UpsertSCRAM{{User: aUser, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password}})
}

func (g guarded) alterUser(del []kadm.DeleteSCRAM, upsert []kadm.UpsertSCRAM) {
	g.t.Helper()
	altered, err := g.admin.AlterUserSCRAMs(g.t.Context(), del, upsert)
	if err == nil {
		err = altered.Error()
	}
	if err != nil {
		g.t.Fatal(err)
	}
}
