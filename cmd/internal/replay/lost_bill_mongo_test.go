package replay

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/adapters/mongo"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
)

// The log of a MongoDB loses the commit that closed a session, in the middle or with all behind it:
// the bill stays in its document and is told, and what else is wrong is mended.
func TestABillThatTheLogOfAMongoDBHasLostStays(t *testing.T) {
	for name, tail := range map[string]bool{"a commit in the middle": false, "the tail of the log": true} {
		t.Run(name, func(t *testing.T) {
			log, _ := supplies(t)
			uri, db := withDatabase(t)
			inMongo(t, uri, log)
			c := Config{Source: uri, Mongo: mongo.Config{URI: uri, Logger: quiet}}
			rebuilds(t, c)
			want := stored(t, db)
			store, err := mongo.ConnectToRead(t.Context(), c.Mongo)
			must(t, err)
			ids, closing := closes(t, store.Log()) // whose positions are others than those of the log in memory
			must(t, errors.Join(store.Log().Close(), store.Close()))
			other, lost := ids[0], ids[len(ids)-1]
			events, filter := db.Collection("events"), bson.D{{Key: "position", Value: int64(closing)}}
			if tail {
				filter = bson.D{{Key: "position", Value: bson.D{{Key: "$gte", Value: int64(closing)}}}}
			}
			deleted, err := events.DeleteMany(t.Context(), filter)
			if err != nil || deleted.DeletedCount == 0 {
				t.Fatalf("%v, %v are deleted", err, deleted)
			}
			spoil := func() {
				_, err := db.Collection("sessions").UpdateByID(t.Context(), other, bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: int64(99_999)}}}})
				must(t, err)
			}
			spoil()

			printed, err := run(t, "", func(p *program.Process) error {
				return Verify(t.Context(), p, VerifyConfig{Source: uri, Mongo: c.Mongo})
			})
			told := "MongoDB, sessions " + lost + ": it has a bill that the log has not"
			if !errors.Is(err, ErrFindings) || !strings.Contains(printed, told+"\n  ") || !strings.Contains(printed, "mend the log first") || strings.Contains(printed, "rebuild mends them") {
				t.Errorf("verify says %v, and prints\n%s", err, printed)
			}
			for _, only := range []string{"", lost} {
				spoil()
				c.Only = only
				printed, err = run(t, "", func(p *program.Process) error { return Run(t.Context(), p, c) })
				if !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "that the log has not") || !strings.Contains(printed, told+", and stays as it is\n  ") ||
					!strings.Contains(printed, `"total_mwh"`) {
					t.Errorf("rebuild says %v, and prints\n%s", err, printed)
				}
				got := stored(t, db)
				if got["sessions "+lost] != want["sessions "+lost] {
					t.Errorf("the bill is\n%s\nand was\n%s", got["sessions "+lost], want["sessions "+lost])
				}
				if only == "" && got["sessions "+other] != want["sessions "+other] {
					t.Errorf("what only says to be newer is\n%s", got["sessions "+other])
				}
				for document := range want {
					if tail && strings.HasPrefix(document, "sessions ") && got[document] == "" {
						t.Errorf("%s is gone", document)
					}
				}
			}
		})
	}
}

// closes are the sessions that were closed, in the order of their first closes, and the position of the last.
func closes(t *testing.T, log eventlog.Log) (ids []string, last eventlog.Position) {
	t.Helper()
	for c, err := range log.All(t.Context(), 1) {
		must(t, err)
		for _, part := range c.Parts {
			if id, is := strings.CutPrefix(string(part.Stream), "session-"); is && part.Kind == eventlog.Closing && part.Version > 1 && !slices.Contains(ids, id) {
				ids, last = append(ids, id), c.Position
			}
		}
	}
	return ids, last
}
