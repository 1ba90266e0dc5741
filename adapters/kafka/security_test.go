package kafka

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"evcharging/application/message"
	"evcharging/domain"
)

// authority signs certificates, which are made anew by each run.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(tb testing.TB) authority {
	tb.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "a test's authority"}, SerialNumber: big.NewInt(1),
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return authority{key, certificate}
}

// signs gives a certificate for a host until an instant.
func (a authority) signs(tb testing.TB, host string, until time.Time) tls.Certificate {
	tb.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, SerialNumber: big.NewInt(2),
		NotBefore: time.Now().Add(-47 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// serving are the settings of a broker with a certificate for a host.
func (a authority) serving(tb testing.TB, host string, until time.Time) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.signs(tb, host, until)}}
}

// asking are those of one that asks its clients for a certificate of the authority.
func (a authority) asking(tb testing.TB) *tls.Config {
	c := a.serving(tb, "127.0.0.1", tomorrow())
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, a.pool()
	return c
}

// believing are the settings of a client that believes the authority.
func (a authority) believing(own ...tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: a.pool(), Certificates: own}
}

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }

// startSensible starts a broker without TLS that, as Kafka does, cuts off who says nothing sensible.
func startSensible(tb testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	return startKafka(tb, append(opts, kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return sensible{l}, err
	}))...)
}

type sensible struct{ net.Listener }

func (s sensible) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	return &sensibleConn{Conn: conn}, err
}

type sensibleConn struct {
	net.Conn
	looked bool
}

// Read refuses a first request of 100 MB: whoever begins TLS sends one.
func (c *sensibleConn) Read(to []byte) (int, error) {
	n, err := c.Conn.Read(to)
	if n >= 4 && !c.looked {
		c.looked = true
		if binary.BigEndian.Uint32(to) > 100<<20 {
			_ = c.Close()
			return 0, errors.New("too large")
		}
	}
	return n, err
}

const (
	aUser   = "ev-somebody"
	aSecret = "horse,battery=staple"
)

// users lets one user in, by any mechanism.
func users(name, password string) []kfake.Opt {
	return []kfake.Opt{
		kfake.EnableSASL(), kfake.Superuser("PLAIN", name, password),
		kfake.Superuser("SCRAM-SHA-256", name, password), kfake.Superuser("SCRAM-SHA-512", name, password),
	}
}

// Each kind of connection is made once: to ping, to create topics, to send, to read alone and
// in a group, to read a record's time.
func TestSecuredConnections(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	secured := kfake.TLS(ca.serving(t, "127.0.0.1", tomorrow()))
	user := Security{Username: aUser, Password: aSecret}
	for name, test := range map[string]struct {
		broker   []kfake.Opt
		security Security
	}{
		"TLS":                    {[]kfake.Opt{secured}, Security{TLS: ca.believing()}},
		"TLS, certificate":       {[]kfake.Opt{kfake.TLS(ca.asking(t))}, Security{TLS: ca.believing(ca.signs(t, "client", tomorrow()))}},
		"SCRAM-SHA-512":          {users(aUser, aSecret), user},
		"SCRAM-SHA-256":          {users(aUser, aSecret), Security{Username: aUser, Password: aSecret, Mechanism: ScramSHA256}},
		"TLS, SCRAM-SHA-512":     {append(users(aUser, aSecret), secured), Security{Username: aUser, Password: aSecret, Mechanism: ScramSHA512, TLS: ca.believing()}},
		"TLS, PLAIN":             {append(users(aUser, aSecret), secured), Security{Username: aUser, Password: aSecret, Mechanism: Plain, TLS: ca.believing()}},
		"TLS, certificate, user": {append(users(aUser, aSecret), kfake.TLS(ca.asking(t))), Security{Username: aUser, Password: aSecret, TLS: ca.believing(ca.signs(t, "client", tomorrow()))}},
	} {
		t.Run(name, func(t *testing.T) {
			exercise(t, startKafka(t, test.broker...).ListenAddrs()[0], test.security, 0)
		})
	}
}

// exercise uses each kind of connection, for a while.
func exercise(t *testing.T, addr string, security Security, while time.Duration) {
	t.Helper()
	log := new(lines)
	ctx, cancel := context.WithTimeout(t.Context(), patience+while)
	defer cancel()
	tr, err := Connect(ctx, Config{Brokers: []string{addr}, Security: security, Role: Central, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if err := tr.EnsureTopics(ctx); err != nil {
		t.Fatal(err)
	}
	alone, together := make(chan message.Received, 9), make(chan message.Received, 9)
	topics := []string{tr.Topics().Health}
	ready := following(t, tr, topics, domain.At(time.Now()), func(_ context.Context, r message.Received) { alone <- r })
	receive(t, "ready", ready)
	stop := inGroup(t, tr, "g", topics, func(_ context.Context, r message.Received) error {
		together <- r
		return nil
	})
	for begun := time.Now(); ; {
		if err := tr.Send(ctx, message.Health{Point: "CP-001", Status: message.HealthOK}); err != nil {
			t.Fatal(err)
		}
		source := receive(t, "the report, alone", alone).Source
		receive(t, "the report, in a group", together)
		if time.Since(begun) < while {
			continue
		}
		if _, ok := tr.timeOf(topics[0], source.Partition, source.Offset); !ok {
			t.Error("the record's time can't be read")
		}
		break
	}
	stop()
	if strings.Contains(log.String(), "level=WARN") {
		t.Errorf("the log is\n%s", log)
	}
}

// What is wrong is one sentence, at once, and no time-out.
func TestConnectionsThatCannotBeSecured(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	secured := kfake.TLS(ca.serving(t, "127.0.0.1", tomorrow()))
	yesterday := time.Now().Add(-24 * time.Hour)
	as := func(user, password string, m Mechanism, tls *tls.Config) Security {
		return Security{Username: user, Password: password, Mechanism: m, TLS: tls}
	}
	for name, test := range map[string]struct {
		broker   []kfake.Opt
		security Security
		want     error
		says     string
	}{
		"a wrong password, SCRAM-SHA-512": {
			users(aUser, "another"), as(aUser, aSecret, "", nil), ErrDenied,
			"ADDR does not accept the user ev-somebody with this password by SCRAM-SHA-512: correct --kafka-username, KAFKA_PASSWORD or --kafka-mechanism",
		},
		"a wrong password, SCRAM-SHA-256": {users(aUser, "another"), as(aUser, aSecret, ScramSHA256, nil), ErrDenied, "does not accept the user ev-somebody with this password by SCRAM-SHA-256"},
		"a wrong password, PLAIN":         {append(users(aUser, "another"), secured), as(aUser, aSecret, Plain, ca.believing()), ErrDenied, "does not accept the user ev-somebody with this password by PLAIN"},
		"an unknown user":                 {users("another", aSecret), as(aUser, aSecret, "", nil), ErrDenied, "does not accept the user ev-somebody"},
		"no user, and one is asked for":   {users(aUser, aSecret), Security{}, ErrDenied, "ADDR asks for a user and a password: set --kafka-username and KAFKA_PASSWORD"},
		"no user over TLS":                {append(users(aUser, aSecret), secured), Security{TLS: ca.believing()}, ErrDenied, "ADDR asks for a user and a password"},
		"no TLS, and it is asked for":     {[]kfake.Opt{secured}, Security{}, ErrTLS, "ADDR expects TLS: set --kafka-tls, or give the address where it does not"},
		"a user, but no TLS":              {append(users(aUser, aSecret), secured), as(aUser, aSecret, "", nil), ErrTLS, "ADDR expects TLS"},
		"TLS, and it is not spoken":       {nil, Security{TLS: ca.believing()}, ErrTLS, "ADDR speaks no TLS: leave --kafka-tls out, or give the address where it does"},
		"an authority that is not known":  {[]kfake.Opt{secured}, Security{TLS: stranger.believing()}, ErrTLS, "the certificate of ADDR is signed by nobody who is known here: give the authority's with --kafka-ca"},
		"the system's authorities":        {[]kfake.Opt{secured}, Security{TLS: &tls.Config{}}, ErrTLS, "is signed by nobody who is known here"},
		"a certificate that has expired": {
			[]kfake.Opt{kfake.TLS(ca.serving(t, "127.0.0.1", yesterday))},
			Security{TLS: ca.believing()},
			ErrTLS,
			"to " + yesterday.UTC().Format(time.DateOnly) + " only, and here it is " + time.Now().UTC().Format(time.DateOnly) + ": renew it, or set this machine's clock",
		},
		"another host's certificate": {
			[]kfake.Opt{kfake.TLS(ca.serving(t, "kafka.example", tomorrow()))},
			Security{TLS: ca.believing()},
			ErrTLS,
			"the certificate of ADDR is that of kafka.example, not of 127.0.0.1: give the address by a name that it has",
		},
		"no certificate of one's own":         {[]kfake.Opt{kfake.TLS(ca.asking(t))}, Security{TLS: ca.believing()}, ErrTLS, "ADDR asks for a certificate: give this program's with --kafka-cert and --kafka-key"},
		"one's own certificate is a stranger": {[]kfake.Opt{kfake.TLS(ca.asking(t))}, Security{TLS: ca.believing(stranger.signs(t, "client", tomorrow()))}, ErrTLS, "ADDR does not accept the certificate of --kafka-cert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := startKafka
			if test.broker == nil {
				start = startSensible
			}
			cluster := start(t, test.broker...)
			cantConnect(t, cluster.ListenAddrs()[0], test.security, test.want, test.says)
		})
	}
}

// cantConnect is how a connection fails that can't be: at once, for a reason, in a sentence. ADDR stands
// in it for the broker's address.
func cantConnect(t *testing.T, addr string, security Security, reason error, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	begun := time.Now()
	_, err := Connect(ctx, Config{Brokers: []string{addr}, Security: security})
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it took %s", took)
	}
	t.Log(err)
	says = strings.ReplaceAll(says, "ADDR", addr)
	if !errors.Is(err, reason) || !strings.HasPrefix(err.Error(), reason.Error()+": ") || !strings.Contains(err.Error(), says) ||
		strings.Contains(err.Error(), aSecret) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is %v, want %v: %s", err, reason, says)
	}
}

// What is wrong with the connection to a broker that another names is the same sentence.
func TestABrokerWhoseCertificateIsNotOfTheNameThatItTells(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	_, port := freeAddr(t)
	addr := net.JoinHostPort("127.0.0.1", portText(port))
	startKafka(t, kfake.Ports(port), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return misnamed{tls.NewListener(l, ca.serving(t, "127.0.0.1", tomorrow())), net.JoinHostPort("localhost", portText(port))}, err
	}))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := Connect(ctx, Config{Brokers: []string{addr}, Security: Security{TLS: ca.believing()}})
	want := fmt.Sprintf("no TLS connection to Kafka: the certificate of localhost:%d is that of 127.0.0.1, not of localhost: give the address by a name that it has", port)
	if !errors.Is(err, ErrTLS) || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

func TestSecurityThatCannotBe(t *testing.T) {
	t.Parallel()
	for says, security := range map[string]Security{
		"only one of them is given":                    {Username: aUser},
		"a user of Kafka has a name and a password":    {Password: aSecret},
		"PLAIN hands the password over":                {Username: aUser, Password: aSecret, Mechanism: Plain},
		`"GSSAPI" is none of SCRAM-SHA-512, SCRAM-SHA`: {Username: aUser, Password: aSecret, Mechanism: "GSSAPI"},
	} {
		_, err := Connect(t.Context(), Config{Brokers: []string{"127.0.0.1:1"}, Security: security})
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), aSecret) {
			t.Errorf("the error is %v, want %s", err, says)
		}
	}
}

func TestNothingPrintsAPassword(t *testing.T) {
	c := Config{Security: Security{Username: aUser, Password: aSecret}}
	log := new(lines)
	log.logger().Info("connecting", "config", c, "security", c.Security)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%v %s %q", c.Security, c.Security, &c.Security), log.String()} {
		if strings.Contains(text, "staple") {
			t.Errorf("it is in %s", text)
		}
	}
}

// Whoever is no longer let in says so once, and goes on when he is again.
func TestAUserWhoIsNoLongerLetIn(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), new(lines)
	cluster := startKafka(t, append(users(aUser, aSecret), kfake.DataDir(dir), kfake.SyncWrites())...)
	port := portOf(t, cluster)
	tr, err := Connect(t.Context(), Config{Brokers: cluster.ListenAddrs(), Security: Security{Username: aUser, Password: aSecret}, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	changes := make(chan error, 9)
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	go tr.Watch(watching, func(_ bool, err error) { changes <- err })

	cluster.Close()
	if err := receive(t, "that the broker is away", changes); !errors.Is(err, ErrUnreachable) {
		t.Errorf("the watch says %v", err)
	}
	changed := startKafka(t, append(users(aUser, "another"), kfake.Ports(port))...)
	await(t, "the log says so", func() bool { return strings.Contains(log.String(), "does not accept the user ev-somebody") })
	if err := tr.Send(t.Context(), message.Health{Point: "CP-001", Status: message.HealthOK}); err == nil {
		t.Error("it is sent")
	}
	changed.Close()
	startKafka(t, append(users(aUser, aSecret), kfake.Ports(port))...)
	if err := receive(t, "that the broker is back", changes); err != nil {
		t.Errorf("the watch says %v", err)
	}
	if n := strings.Count(log.String(), "does not accept the user"); n != 1 {
		t.Errorf("it is said %d times:\n%s", n, log)
	}
}
