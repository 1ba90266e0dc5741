package mongo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/google/uuid"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// pretender speaks enough of the protocol to be connected to. It answers hello with one
// document, and everything else with another.
func pretender(t *testing.T, config *tls.Config, hello, other bson.D) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	var mu sync.Mutex
	var conns []net.Conn
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			running.Go(func() {
				defer conn.Close()
				for {
					m, err := readMessage(conn)
					if err != nil || len(m) < 16 { // TLS, to a server without, is a message too large
						return
					}
					document := other
					if text := string(m); strings.Contains(text, "ello") || strings.Contains(text, "ismaster") || strings.Contains(text, "isMaster") {
						document = hello
					}
					if _, err := conn.Write(reply(t, m, document)); err != nil {
						return
					}
				}
			})
		}
	})
	return listener.Addr().String()
}

// reply is a message with a document that answers another, in the form of the question.
func reply(t *testing.T, question []byte, document bson.D) []byte {
	t.Helper()
	const opReply, opQuery, opMessage = 1, 2004, 2013
	body, err := bson.Marshal(document)
	if err != nil {
		t.Error(err)
	}
	kind, head := uint32(opMessage), make([]byte, 5) // flags, and a section of one document
	if binary.LittleEndian.Uint32(question[12:]) == opQuery {
		kind, head = opReply, make([]byte, 20)
		binary.LittleEndian.PutUint32(head[16:], 1)
	}
	m := make([]byte, 16)
	binary.LittleEndian.PutUint32(m, uint32(16+len(head)+len(body)))
	copy(m[8:12], question[4:8])
	binary.LittleEndian.PutUint32(m[12:], kind)
	return append(append(m, head...), body...)
}

func hello(more ...bson.E) bson.D {
	return append(bson.D{
		{Key: "ok", Value: 1.0},
		{Key: "isWritablePrimary", Value: true},
		{Key: "ismaster", Value: true},
		{Key: "helloOk", Value: true},
		{Key: "minWireVersion", Value: 0},
		{Key: "maxWireVersion", Value: 25},
		{Key: "maxBsonObjectSize", Value: 16 << 20},
		{Key: "maxMessageSizeBytes", Value: 48000000},
		{Key: "maxWriteBatchSize", Value: 100000},
	}, more...)
}

func denial(code int32, name, message string) bson.D {
	return bson.D{{Key: "ok", Value: 0.0}, {Key: "code", Value: code}, {Key: "codeName", Value: name}, {Key: "errmsg", Value: message}}
}

// certificate is one for 127.0.0.1, and the file of the authority that it wants known.
func certificate(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, file
}

func TestConnectSaysAtOnceWhatWaitingDoesNotMend(t *testing.T) {
	set := bson.E{Key: "setName", Value: "rs0"}
	mechanisms := bson.E{Key: "saslSupportedMechs", Value: bson.A{"SCRAM-SHA-256"}}
	config, authority := certificate(t)
	elsewhere, _ := certificate(t)
	for name, c := range map[string]struct {
		config      *tls.Config
		hello       bson.D
		other       bson.D
		user, query string
		want        error
		says        string
	}{
		"a single server": {hello: hello(), want: ErrStandalone, says: "rs.initiate()"},
		"a wrong password": {
			hello: hello(set, mechanisms), other: denial(18, "AuthenticationFailed", "Authentication failed."), user: "ev:s3cret@",
			want: ErrDenied, says: "user name ev or its password is wrong",
		},
		"no password": {
			hello: hello(set), other: denial(13, "Unauthorized", "command find requires authentication"),
			want: ErrDenied, says: "it wants a user name and a password",
		},
		"TLS that is not asked for":         {config: config, hello: hello(set), want: ErrTLS, says: "tls=true"},
		"TLS that is not there":             {hello: hello(set), query: "tls=true", want: ErrTLS, says: "tls=true"},
		"a certificate of nobody known":     {config: config, hello: hello(set), query: "tls=true", want: ErrTLS, says: "unknown authority"},
		"a certificate of somebody else":    {config: elsewhere, hello: hello(set), query: "tls=true&tlsCAFile=" + url.QueryEscape(authority), want: ErrTLS, says: "certificate"},
		"TLS as it should be, and no right": {config: config, hello: hello(set), other: denial(13, "Unauthorized", "no"), query: "tls=true&tlsCAFile=" + url.QueryEscape(authority), want: ErrDenied, says: "user name"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := pretender(t, c.config, c.hello, c.other)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := Connect(ctx, Config{
				URI: "mongodb://" + c.user + addr + "/?directConnection=true&" + c.query, Logger: slog.New(slog.DiscardHandler),
			})
			if !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
			if !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("it says %q, want %q in it", err, c.says)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestConnectWaitsForAServerThatIsAwayAndSaysSoOnce(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	var said strings.Builder
	_, err = Connect(ctx, Config{URI: "mongodb://ev:s3cret@" + addr, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v, want ErrUnreachable", err)
	}
	if n := strings.Count(said.String(), "\n"); n != 1 || !strings.Contains(said.String(), "trying again") {
		t.Errorf("it said %d lines, want one:\n%s", n, said.String())
	}
	if strings.Contains(said.String()+err.Error(), "s3cret") {
		t.Error("the password was said")
	}
}

func TestConnectGoesOnWhenTheServerComes(t *testing.T) {
	server(t)
	uri := database(t)
	l := newLine(t, hostOf(t, uri))
	l.Down()
	var said strings.Builder
	connected, throughLine := make(chan *Store, 1), l.uri(uri)
	go func() {
		s, err := Connect(t.Context(), Config{URI: throughLine, Logger: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Error(err)
		}
		connected <- s
	}()
	select {
	case <-connected:
		t.Fatal("it is connected to nothing")
	case <-time.After(300 * time.Millisecond):
	}
	l.Up()
	s := <-connected
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a closed store answers")
	}
}

func TestURIs(t *testing.T) {
	for name, c := range map[string]struct {
		config   Config
		uri      string // what the driver gets; empty: it is refused
		database string
		username string
		password string
	}{
		"plain":                 {Config{URI: "mongodb://h1:1,h2:2"}, "mongodb://h1:1,h2:2/", "evcharging_db", "", ""},
		"with a database":       {Config{URI: "mongodb://h/net?w=1"}, "mongodb://h/net?w=1", "net", "", ""},
		"with a password":       {Config{URI: "mongodb://ev:s%40crt@h/net"}, "mongodb://user:secret@h/net", "net", "ev", "s@crt"},
		"a password apart":      {Config{URI: "mongodb://h/?authSource=admin", Username: "ev", Password: "p@/:w"}, "mongodb://user:secret@h/?authSource=admin", "evcharging_db", "ev", "p@/:w"},
		"both":                  {Config{URI: "mongodb://a:b@h", Username: "ev", Password: "pw"}, "mongodb://user:secret@h/", "evcharging_db", "ev", "pw"},
		"the password apart":    {Config{URI: "mongodb://ev@h", Password: "pw"}, "mongodb://user:secret@h/", "evcharging_db", "ev", "pw"},
		"by name service":       {Config{URI: "mongodb+srv://h/net"}, "mongodb+srv://h/net", "net", "", ""},
		"another scheme":        {config: Config{URI: "http://h"}},
		"nothing":               {},
		"a slash in it":         {config: Config{URI: "mongodb://ev:s3/cret@h"}},
		"a question mark in it": {config: Config{URI: "mongodb://ev:s3?cret@h"}},
		"an at in it":           {config: Config{URI: "mongodb://ev:s3@cret@h"}},
		"a colon in it":         {config: Config{URI: "mongodb://ev:s3:cret@h"}},
		"a percent in it":       {config: Config{URI: "mongodb://ev:s3%cret@h"}},
		"a port in words":       {config: Config{URI: "mongodb://ev:s3cret@h:port"}},
		"no host behind it":     {config: Config{URI: "mongodb://ev:s3cret/net"}},
		"an option's":           {config: Config{URI: "mongodb://h/net?tlsCertificateKeyFilePassword=s3cret%zz"}},
		"a mechanism of ours":   {config: Config{URI: "mongodb://ev:s3cret@h/?authMechanism=ours"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := newStore(c.config)
			if c.uri == "" {
				if !errors.Is(err, ErrURI) || strings.Contains(err.Error(), "s3") {
					t.Errorf("%v, want ErrURI without a secret", err)
				}
				return
			}
			if err != nil && !strings.Contains(name, "name service") { // which has to be asked
				t.Fatal(err)
			}
			if err == nil {
				_ = s.Close()
			}
			a, err := parse(c.config)
			if want := (address{c.uri, c.database, c.username, c.password}); err != nil || a != want {
				t.Errorf("%+v, %v, want %+v", a, err, want)
			}
		})
	}
}

func TestDatabasesHaveOneIDEach(t *testing.T) {
	server(t)
	uri := database(t)
	ids := make([]uuid.UUID, 6)
	var all sync.WaitGroup
	for i := range ids {
		all.Go(func() { ids[i] = connect(t, uri).NetworkID() })
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] || id == uuid.Nil {
			t.Fatalf("the ids of one database: %v", ids)
		}
	}
	if connect(t, database(t)).NetworkID() == ids[0] {
		t.Error("two databases have one id")
	}
}

// Its events would be another network's, and every checkpoint of somebody else.
func TestEventsWithoutTheirNetworksIDAreNoNewNetwork(t *testing.T) {
	server(t)
	uri := database(t)
	s := connect(t, uri)
	b := eventlogtest.NewBuilder("ev.health")
	if err := s.Log().Append(t.Context(), b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`))); err != nil {
		t.Fatal(err)
	}
	if err := s.meta.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := Connect(t.Context(), Config{URI: uri, Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "put it back") {
		t.Fatalf("%v, want ErrSchema", err)
	}
	id := s.NetworkID()
	if _, err := s.meta.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "network"}, {Key: "value", Value: bson.Binary{Subtype: bson.TypeBinaryUUID, Data: id[:]}}}); err != nil {
		t.Fatal(err)
	}
	if got := connect(t, uri).NetworkID(); got != id {
		t.Errorf("network %s, want %s", got, id)
	}
}

func TestADatabaseThatIsNotAsItShouldBe(t *testing.T) {
	server(t)
	meta := func(id string, value any) func(*testing.T, *mongo.Database) {
		return func(t *testing.T, db *mongo.Database) {
			if _, err := db.Collection(metaCollection).UpdateOne(t.Context(), bson.D{{Key: "_id", Value: id}}, set("value", value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	events := func(do func(context.Context, *mongo.Collection) error) func(*testing.T, *mongo.Database) {
		return func(t *testing.T, db *mongo.Database) {
			if err := do(t.Context(), db.Collection(eventsCollection)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		spoil func(*testing.T, *mongo.Database)
		want  error
		says  string
	}{
		"newer":              {meta("schema", schema+1), ErrNewerSchema, "update this one"},
		"an id that is none": {meta("network", bson.Binary{Subtype: 4, Data: []byte{1}}), ErrSchema, "id"},
		"an index that is gone": {events(func(ctx context.Context, c *mongo.Collection) error {
			return c.Indexes().DropOne(ctx, "keys_1")
		}), nil, ""},
		"an index that does something else": {events(func(ctx context.Context, c *mongo.Collection) error {
			if err := c.Indexes().DropOne(ctx, "keys_1"); err != nil {
				return err
			}
			_, err := c.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "keys", Value: 1}}})
			return err
		}), ErrSchema, "the unique index on keys of collection events"},
		"documents that an index does not allow": {events(func(ctx context.Context, c *mongo.Collection) error {
			if err := c.Indexes().DropOne(ctx, "keys_1"); err != nil {
				return err
			}
			_, err := c.InsertMany(ctx, []bson.D{{{Key: "keys", Value: "x"}, {Key: "position", Value: 1}}, {{Key: "keys", Value: "x"}, {Key: "position", Value: 2}}})
			return err
		}), ErrSchema, "can't be made"},
	} {
		t.Run(name, func(t *testing.T) {
			uri := database(t)
			s := connect(t, uri)
			c.spoil(t, s.db)
			again, err := Connect(t.Context(), Config{URI: uri, Logger: slog.New(slog.DiscardHandler)})
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %v with %q", err, c.want, c.says)
			}
			if err == nil {
				specifications, err := again.specifications(t.Context(), eventsCollection)
				if err != nil || len(specifications) != 7 {
					t.Errorf("%d indexes, %v", len(specifications), err)
				}
				_ = again.Close()
			}
		})
	}
}

func TestUnansweredIsTheLongestThatAnybodyWaits(t *testing.T) {
	h := newHealth()
	now := time.Now()
	seconds := func(n int) time.Time { return now.Add(time.Duration(n) * time.Second) }
	want := func(what string, want time.Duration) {
		t.Helper()
		if got := h.unanswered(now); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	h.away = seconds(-9)
	want("before a server is found", 9*time.Second)
	h.servers().TopologyDescriptionChanged(&event.TopologyDescriptionChangedEvent{
		NewDescription: event.TopologyDescription{Servers: []event.ServerDescription{{Kind: "Unknown"}, {Kind: "RSPrimary"}}},
	})
	want("when it is found", 0)

	find, err := bson.Marshal(bson.D{{Key: "find", Value: "events"}})
	if err != nil {
		t.Fatal(err)
	}
	news, err := bson.Marshal(bson.D{{Key: "getMore", Value: int64(3)}, {Key: "maxTimeMS", Value: int64(1000)}})
	if err != nil {
		t.Fatal(err)
	}
	questions := h.questions()
	for id, e := range []*event.CommandStartedEvent{{CommandName: "find", Command: find}, {CommandName: "find", Command: find}, {CommandName: "getMore", Command: news}} {
		e.RequestID = int64(id)
		questions.Started(t.Context(), e)
	}
	if len(h.commands) != 2 {
		t.Errorf("%d commands wait, want 2: who waits for news is none", len(h.commands))
	}
	h.commands[command{request: 0}] = seconds(-3)
	h.commands[command{request: 1}] = seconds(-2)
	want("two commands", 3*time.Second)
	questions.Failed(t.Context(), &event.CommandFailedEvent{CommandFinishedEvent: event.CommandFinishedEvent{RequestID: 0}})
	want("one of them", 2*time.Second)
	questions.Succeeded(t.Context(), &event.CommandSucceededEvent{CommandFinishedEvent: event.CommandFinishedEvent{RequestID: 1}})
	want("none", 0)

	pool := h.connections()
	pool.Event(&event.PoolEvent{Type: event.ConnectionCheckOutStarted})
	pool.Event(&event.PoolEvent{Type: event.ConnectionCheckOutStarted})
	h.served = seconds(-4)
	want("two wait for a connection", 4*time.Second)
	pool.Event(&event.PoolEvent{Type: event.ConnectionCheckedOut})
	h.served = seconds(-1)
	want("one has got it", time.Second)
	pool.Event(&event.PoolEvent{Type: event.ConnectionCheckOutFailed})
	want("nobody waits", 0)

	h.servers().TopologyDescriptionChanged(&event.TopologyDescriptionChangedEvent{
		NewDescription: event.TopologyDescription{Servers: []event.ServerDescription{{Kind: "RSSecondary"}}},
	})
	h.away = seconds(-5)
	want("without a primary", 5*time.Second)
}

func TestWhoConnectsToReadMakesNothing(t *testing.T) {
	server(t)
	uri := database(t)
	read := func() (*Store, error) {
		s, err := ConnectToRead(t.Context(), Config{URI: uri, Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			t.Cleanup(func() { _ = s.Close() })
		}
		return s, err
	}
	// given a database that nobody has written to
	if _, err := read(); !errors.Is(err, ErrEmpty) {
		t.Errorf("%v, want ErrEmpty", err)
	}
	// given one of a network, of which somebody removed the marks of open streams
	s := connect(t, uri)
	if names, err := s.db.ListCollectionNames(t.Context(), bson.D{}); err != nil || len(names) == 0 {
		t.Errorf("%v, %v: whoever writes makes collections", names, err)
	}
	b := eventlogtest.NewBuilder("ev.health")
	for _, c := range []eventlog.Commit{
		b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`), eventlogtest.Lifecycle("session-1", `1`)),
		b.Commit(b.Cause(), eventlogtest.Closing("session-1", `2`)),
	} {
		if err := s.Log().Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.open.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader, err := read()
	if err != nil {
		t.Fatal(err)
	}
	wantOpen(t, reader, "point-1")
	if reader.NetworkID() != s.NetworkID() {
		t.Errorf("network %s, want %s", reader.NetworkID(), s.NetworkID())
	}
	if n, err := s.open.CountDocuments(t.Context(), bson.D{}); err != nil || n != 0 {
		t.Errorf("%d marks, %v: the reader wrote", n, err)
	}
	// given one of a newer program
	if _, err := s.meta.UpdateByID(t.Context(), "schema", bson.D{{Key: "$set", Value: bson.D{{Key: "value", Value: schema + 1}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := read(); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("%v, want ErrNewerSchema", err)
	}
}
