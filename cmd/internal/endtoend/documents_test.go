package endtoend

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"evcharging/domain/session"
)

// ours is the database of a URI that names none.
const ours = "evcharging_db"

// projected are the collections that can be thrown away and replayed.
var projected = []string{"charging_points", "drivers", "sessions"}

// sweeps is the time of more than one of Central's sweeps over its documents.
const sweeps = 75 * time.Second

// uri is that of the world's database server.
func (w *world) uri() string { return "mongodb://" + w.database.address() + "/" }

// look connects to the world's database server until the test ends, as anybody may.
func (w *world) look() *mongo.Client {
	w.t.Helper()
	client, err := mongo.Connect(options.Client().ApplyURI(w.uri()))
	must(w.t, err)
	w.t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return client
}

// documents are the bytes of what a database has in the projected collections, by
// collection and id.
func documents(t *testing.T, database *mongo.Database) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, collection := range projected {
		cursor, err := database.Collection(collection).Find(t.Context(), bson.D{})
		must(t, err)
		var found []bson.Raw
		must(t, cursor.All(t.Context(), &found))
		for _, d := range found {
			all[collection+" "+d.Lookup("_id").StringValue()] = string(d)
		}
	}
	return all
}

// replay has ev-replay build the documents of a log in a database.
func (w *world) replay(source, database string) {
	w.t.Helper()
	r := w.callWith(nil, "ev-replay", "--log", source, "--mongo", w.uri()+database)
	if r.status != 0 {
		w.t.Fatalf("ev-replay ended with %d: %s%s", r.status, r.stdout, r.stderr)
	}
}

// differences are the documents that are not the same, byte for byte, and how.
func differences(is, want map[string]string) map[string]string {
	all := map[string]string{}
	for id, text := range want {
		if is[id] != text {
			all[id] = fmt.Sprintf("is %s, want %s", bson.Raw(is[id]), bson.Raw(text))
		}
	}
	for id, text := range is {
		if want[id] == "" {
			all[id] = fmt.Sprintf("is %s, and there is no such stream", bson.Raw(text))
		}
	}
	return all
}

// areReplayed checks, in a network in which nothing happens any more, that its documents are
// those that ev-replay builds from its log, byte for byte, wherever it reads that.
func (w *world) areReplayed(c *central) {
	w.t.Helper()
	database := w.look()
	sources := []string{"http://" + c.pages, w.uri()}
	if slices.Contains(c.args, "--log") {
		sources = sources[:1]
	}
	for i, source := range sources {
		name := fmt.Sprintf("replayed_%d", i)
		w.replay(source, name)
		want := documents(w.t, database.Database(name))
		if len(want) == 0 {
			w.t.Fatal("ev-replay has built nothing")
		}
		left := map[string]string{}
		w.t.Cleanup(func() {
			if len(left) > 0 {
				w.t.Logf("not as ev-replay builds them from %s: %v", source, left)
			}
		})
		within(w.t, sweeps, "Central's documents are those of its log", func() bool {
			left = differences(documents(w.t, database.Database(ours)), want)
			return len(left) == 0
		})
	}
}

// What somebody deletes or changes among the documents Central mends, where their stream is
// open, and ev-replay everywhere. The network goes by none of it.
func TestDocumentsThatWereDeletedOrChangedAreMended(t *testing.T) {
	t.Parallel()
	needsMongo(t)
	w := newWorld(t)
	c := w.central()
	w.point(c, "CP-001", "--battery", "0.01")
	plug := w.point(c, "CP-002", "--plug", "manual")
	w.point(c, "CP-003")
	for i := range 2 {
		if status := w.run("ev-driver", "--driver-id", fmt.Sprintf("D-%d", i), "--cp", "CP-001").wait(patience); status != 0 {
			t.Fatalf("driver %d ended with status %d", i, status)
		}
		c.shows("CP-001", "ACTIVATED")
	}
	waiting := w.run("ev-driver", "--driver-id", "D-PLUG", "--cp", "CP-002")
	plug.engine.says("waiting for the plug")
	w.areReplayed(c)

	ctx, all := t.Context(), w.look()
	database := all.Database(ours)
	open, closed := "", []string{}
	for _, e := range c.log() {
		id := strings.TrimPrefix(string(e.Stream), "session-")
		switch e.Event.(type) {
		case session.SupplyAuthorized:
			open = id
		case session.TicketIssued:
			closed = append(closed, id)
		}
	}
	remove := func(collection, id string) {
		t.Helper()
		gone, err := database.Collection(collection).DeleteOne(ctx, bson.M{"_id": id})
		if err != nil || gone.DeletedCount != 1 {
			t.Fatalf("%s/%s: %+v, %v", collection, id, gone, err)
		}
	}
	change := func(collection, id string, set bson.M) {
		t.Helper()
		changed, err := database.Collection(collection).UpdateByID(ctx, id, bson.M{"$set": set})
		if err != nil || changed.ModifiedCount != 1 {
			t.Fatalf("%s/%s: %+v, %v", collection, id, changed, err)
		}
	}
	remove("charging_points", "CP-001")
	change("charging_points", "CP-002", bson.M{"state": "BROKEN", "session_id": nil, "driver_id": nil})
	change("charging_points", "CP-003", bson.M{"state": "SUPPLYING", "session_id": open, "version": 1_000_000})
	change("sessions", open, bson.M{"status": "CLOSED", "total_eur": 900})
	remove("drivers", "D-PLUG")
	remove("sessions", closed[0])
	change("sessions", closed[1], bson.M{"total_eur": 0, "ticket": nil})
	remove("drivers", "D-0")

	want := documents(t, all.Database("replayed_0"))
	notOpen := []string{"drivers D-0", "sessions " + closed[0], "sessions " + closed[1]}
	slices.Sort(notOpen)
	within(t, sweeps, "Central mends the documents of open streams", func() bool {
		return slices.Equal(slices.Sorted(maps.Keys(differences(documents(t, database), want))), notOpen)
	})
	w.replay(w.uri(), ours)
	if left := differences(documents(t, database), want); len(left) > 0 {
		t.Errorf("ev-replay has left %v", left)
	}

	plug.engine.types("plug")
	waiting.says("supplying")
	plug.engine.types("unplug")
	if status := waiting.wait(patience); status != 0 {
		t.Errorf("the driver ended with status %d", status)
	}
	if status := w.run("ev-driver", "--driver-id", "D-3", "--cp", "CP-001").wait(patience); status != 0 {
		t.Errorf("the driver ended with status %d", status)
	}
	for _, id := range []string{"CP-001", "CP-002"} {
		c.shows(id, "ACTIVATED")
	}
	w.audit(c)
	w.areReplayed(c)
}

// A document that MongoDB refuses for good is said to be stale, and stops nothing: not its
// own session, not the others of its point and partition. Once it is let in it is mended.
func TestADocumentThatIsRefusedForGoodStopsNothing(t *testing.T) {
	t.Parallel()
	needsMongo(t)
	w := newWorld(t)
	c := w.central()
	w.point(c, "CP-001", "--battery", "0.02")
	w.listen("ev.supply.ticket")
	database := w.look().Database(ours)
	must(t, database.CreateCollection(t.Context(), "sessions", options.CreateCollection().
		SetValidator(bson.M{"driver_id": bson.M{"$ne": "D-REFUSED"}}).SetValidationAction("error")))
	for _, id := range []string{"D-1", "D-REFUSED", "D-2"} {
		driver := w.run("ev-driver", "--driver-id", id, "--cp", "CP-001")
		if status := driver.wait(patience); status != 0 {
			t.Errorf("%s ended with status %d", id, status)
		}
		w.hears("ev.supply.ticket", map[string]any{"driver_id": id, "total_kwh": 0.02})
		c.shows("CP-001", "ACTIVATED")
	}
	c.says("a document is stale; everything else goes on")
	stored := func(driver string) int64 {
		t.Helper()
		n, err := database.Collection("sessions").CountDocuments(t.Context(), bson.M{"driver_id": driver, "status": "CLOSED"})
		must(t, err)
		return n
	}
	for _, id := range []string{"D-1", "D-2"} {
		eventually(t, "the session of "+id+" is stored", func() bool { return stored(id) == 1 })
	}
	if stored("D-REFUSED") != 0 {
		t.Error("the validator lets everything in")
	}
	if text := body(t, "http://"+c.pages+"/metrics"); !strings.Contains(text, `reason="invalid"} 1`) {
		t.Errorf("no metric tells of a stale document:\n%s", text)
	}
	w.audit(c)
	must(t, database.RunCommand(t.Context(), bson.D{{Key: "collMod", Value: "sessions"}, {Key: "validator", Value: bson.M{}}}).Err())
	w.areReplayed(c)
}

// Where the log is embedded, a MongoDB that is away delays the documents and nothing else:
// neither supplies nor a start. Once it is there they are made up for.
func TestDocumentsBesideAnEmbeddedLogAreMadeUpFor(t *testing.T) {
	t.Parallel()
	needsMongo(t)
	w := newWorld(t)
	c := w.central("--log", filepath.Join(w.dir, "log"))
	w.point(c, "CP-001", "--battery", "0.01")
	served := func(driver string) {
		t.Helper()
		if status := w.run("ev-driver", "--driver-id", driver, "--cp", "CP-001").wait(patience); status != 0 {
			t.Errorf("%s ended with status %d", driver, status)
		}
		c.shows("CP-001", "ACTIVATED")
	}
	served("D-BEFORE")
	must(t, w.database.kill())
	served("D-AWAY")
	c.kill()
	c.start()
	c.shows("CP-001", "ACTIVATED")
	served("D-STILL-AWAY")
	w.starts(w.database)
	served("D-AFTER")
	w.audit(c)
	if n := len(c.tickets()); n != 4 {
		t.Errorf("%d tickets for four supplies", n)
	}
	w.areReplayed(c)
}
