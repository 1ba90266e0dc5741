package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/adapters/mongo"
	"evcharging/cmd/internal/program"
)

// withDatabase is a URI with a database of the test's own.
func withDatabase(t *testing.T) (uri string, db *driver.Database) {
	t.Helper()
	server := os.Getenv("EV_TEST_MONGO")
	if server == "" {
		t.Skip("needs a MongoDB: make integration")
	}
	client, err := driver.Connect(options.Client().ApplyURI(server))
	if err != nil {
		t.Fatal(err)
	}
	db = client.Database(fmt.Sprintf("ev_verify_%d", time.Now().UnixNano()))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_ = errors.Join(db.Drop(ctx), client.Disconnect(ctx))
	})
	address, query, _ := strings.Cut(server, "?")
	return strings.TrimSuffix(address, "/") + "/" + db.Name() + "?" + query, db
}

// The documents that a rebuild makes are as the log has them; each that is not any more is told.
func TestVerifyTheDocumentsOfAMongoDB(t *testing.T) {
	uri, db := withDatabase(t)
	log, all := supplies(t)
	file := filepath.Join(t.TempDir(), "log.jsonl")
	if err := os.WriteFile(file, []byte(strings.Join(written(t, log), "")), 0o600); err != nil {
		t.Fatal(err)
	}
	config := mongo.Config{URI: uri, Logger: quiet}
	if _, err := run(t, "", func(p *program.Process) error { return Run(t.Context(), p, Config{Source: file, Mongo: config}) }); err != nil {
		t.Fatal(err)
	}
	verify := func() (string, error) {
		return run(t, "", func(p *program.Process) error {
			return Verify(t.Context(), p, VerifyConfig{Source: file, Mongo: config})
		})
	}
	if printed, err := verify(); err != nil || !strings.Contains(printed, "all is well\nMongoDB: 46 documents as the log has them\n") {
		t.Fatalf("%v, it prints\n%s", err, printed)
	}
	sessions := db.Collection("sessions")
	_, err1 := sessions.UpdateByID(t.Context(), all[0].Session, bson.D{{Key: "$set", Value: bson.D{{Key: "total_eur", Value: 0.05}}}})
	_, err2 := sessions.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: all[1].Session}})
	_, err3 := sessions.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "S-66"}, {Key: "version", Value: 1}})
	if err := errors.Join(err1, err2, err3, db.Collection("drivers").Drop(t.Context())); err != nil {
		t.Fatal(err)
	}
	printed, err := verify()
	if !errors.Is(err, ErrFindings) {
		t.Errorf("it ends with %v", err)
	}
	for _, want := range []string{
		"MongoDB, sessions " + string(all[0].Session) + ": the document is not as the log has it\n  total_eur: the log has 0.105, MongoDB has 0.05\n",
		"MongoDB, sessions " + string(all[1].Session) + ": the document is missing\n",
		"MongoDB, sessions S-66: the log knows nothing of it\n",
		"MongoDB, drivers D-1: the document is missing\n",
		"MongoDB: 28 documents as the log has them; 17 are missing, 1 say something else, 1 are of nothing in the log",
	} {
		if !strings.Contains(printed, want) {
			t.Errorf("it prints\n%s\nwant %q", printed, want)
		}
	}
	file = "../../../adapters/eventjson/testdata/logs/v1.jsonl" // another network's
	if printed, err := verify(); !errors.Is(err, ErrFindings) || strings.Count(printed, "\n") != 2 ||
		!strings.HasPrefix(printed, "the documents in this database are of another event log: ") {
		t.Errorf("of another network's documents it ends with %v, and prints\n%s", err, printed)
	}
}
