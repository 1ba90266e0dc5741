package mongo

import (
	"cmp"
	"context"
	"flag"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is the address of the server for tests.
func server(t testing.TB) string {
	t.Helper()
	uri := os.Getenv("EV_TEST_MONGO")
	if uri == "" {
		t.Skip("needs a MongoDB: make integration")
	}
	return uri
}

// database is the URI of a new database, which is dropped when the test ends.
func database(t testing.TB) string {
	t.Helper()
	name := "evtest_" + uuid.NewString()[:13]
	uri := server(t)
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		if err := client.Database(name).Drop(ctx); err != nil {
			t.Error(err)
		}
		if err := client.Disconnect(ctx); err != nil {
			t.Error(err)
		}
	})
	return inDatabase(t, uri, name)
}

// connect connects to a database, until the test ends.
func connect(t testing.TB, uri string) *Store {
	t.Helper()
	return connectWith(t, Config{URI: uri, Logger: slog.New(slog.DiscardHandler)})
}

func connectWith(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Connect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Log().Close(); err != nil {
			t.Error(err)
		}
		_ = s.Close() // a server that a test took away can't be told
	})
	return s
}

// connected is a log with its connection: both end together.
type connected struct {
	*Log
	store *Store
}

func (c connected) Close() error {
	if err := c.Log.Close(); err != nil {
		return err
	}
	return c.store.Close()
}

var _ io.Closer = connected{}

func newPlace(t *testing.T) eventlogtest.Open {
	uri := database(t)
	return func(t *testing.T) eventlog.Log {
		s := connect(t, uri)
		return connected{s.Log(), s}
	}
}

func TestLog(t *testing.T) {
	fewHistories(t)
	eventlogtest.RunDurable(t, newPlace)
}

func TestLogOfSeveralProcesses(t *testing.T) {
	fewHistories(t)
	eventlogtest.RunShared(t, newPlace)
}

// fewHistories has the model try fewer histories, where nobody has said how many: each
// step takes a dozen questions to a server.
func fewHistories(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() != checks.DefValue {
		return
	}
	if err := checks.Value.Set("10"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = checks.Value.Set(checks.DefValue) })
}

// inDatabase is a URI with another database.
func inDatabase(t testing.TB, uri, name string) string {
	t.Helper()
	a, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	if a.User != nil && !a.Query().Has("authSource") {
		query := a.Query()
		query.Set("authSource", cmp.Or(strings.Trim(a.Path, "/"), "admin"))
		a.RawQuery = query.Encode()
	}
	a.Path = "/" + name
	return a.String()
}
