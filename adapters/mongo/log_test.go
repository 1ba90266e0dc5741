package mongo

import (
	"context"
	"io"
	"log/slog"
	"os"
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
	a, err := parse(Config{URI: uri})
	if err != nil {
		t.Fatal(err)
	}
	client, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := client.Database(name).Drop(ctx); err != nil {
			t.Error(err)
		}
		if err := client.Disconnect(ctx); err != nil {
			t.Error(err)
		}
	})
	_ = a
	return inDatabase(t, uri, name)
}

// connect connects to a database, until the test ends.
func connect(t testing.TB, uri string) *Store {
	t.Helper()
	s, err := Connect(t.Context(), Config{URI: uri, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Log().Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
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

func TestLog(t *testing.T) {
	eventlogtest.RunDurable(t, func(t *testing.T) eventlogtest.Open {
		uri := database(t)
		return func(t *testing.T) eventlog.Log {
			s := connect(t, uri)
			return connected{s.Log(), s}
		}
	})
}

// inDatabase is a URI with another database.
func inDatabase(t testing.TB, uri, name string) string {
	t.Helper()
	o := options.Client().ApplyURI(uri)
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	i := len("mongodb://")
	rest := uri[i:]
	query := ""
	for j, c := range rest {
		if c == '?' {
			rest, query = rest[:j], rest[j:]
			break
		}
	}
	for j, c := range rest {
		if c == '/' {
			rest = rest[:j]
			break
		}
	}
	return "mongodb://" + rest + "/" + name + query
}
