package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/memory"
	"evcharging/adapters/mongo"
	"evcharging/application/audit/audittest"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
	"evcharging/domain/session"
)

// lived is the log of a network that lived for so many events.
func lived(t *testing.T, events int) *memory.Log {
	t.Helper()
	log := memory.NewLog()
	audittest.NewHistory(t, log, eventjson.Codec{}, 1, "CP-0", "CP-1", "CP-2", "CP-3", "CP-4", "CP-5").Run(events)
	return log
}

// until is what a log had at an instant.
func until(t *testing.T, log eventlog.Log, at domain.UnixMillis) *memory.Log {
	t.Helper()
	past := memory.NewLog()
	for c, err := range log.All(t.Context(), 1) {
		if err == nil && c.At <= at {
			err = past.Append(t.Context(), c.Commit)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return past
}

// times are those of a log's commits.
func times(t *testing.T, log eventlog.Log) (all []domain.UnixMillis) {
	t.Helper()
	for c, err := range log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c.At)
	}
	return all
}

// folded are the documents that a log gives, by collection and id, as MongoDB has them.
func folded(t *testing.T, log eventlog.Log) map[string]string {
	t.Helper()
	core := &central.Central{Log: log, Codec: eventjson.Codec{}}
	streams := map[eventlog.Stream]bool{}
	all := map[string]string{}
	for c, err := range log.All(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Parts {
			streams[p.Stream] = true
			part, err := core.Decode(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range part.Events {
				var id domain.DriverID
				switch e := e.(type) {
				case session.SupplyAuthorized:
					id = e.Driver
				case session.SupplyRefused:
					id = e.Driver
				default:
					continue
				}
				all["drivers "+string(id)] = text(t, bson.D{{Key: "_id", Value: id}, {Key: "id", Value: id}, {Key: "name", Value: id}})
			}
		}
	}
	for stream := range streams {
		document, err := mongo.Document(stream, core.Parts(t.Context(), stream, 1))
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := strings.CutPrefix(string(stream), "point-"); ok && document != "" {
			all["charging_points "+id] = document
		} else if id, ok := strings.CutPrefix(string(stream), "session-"); ok && document != "" {
			all["sessions "+id] = document
		}
	}
	return all
}

func text(t *testing.T, document any) string {
	t.Helper()
	text, err := bson.MarshalExtJSONIndent(document, false, false, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stored are the documents that a database has, likewise.
func stored(t *testing.T, db *driver.Database) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, collection := range []string{"charging_points", "drivers", "sessions"} {
		cursor, err := db.Collection(collection).Find(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		var found []bson.Raw
		if err := cursor.All(t.Context(), &found); err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			all[collection+" "+strings.Trim(d.Lookup("_id").String(), `"`)] = text(t, d)
		}
	}
	return all
}

// same checks that a database has exactly these documents.
func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	wrong := 0
	for _, id := range slices.Sorted(maps.Keys(union(got, want))) {
		if got[id] == want[id] {
			continue
		}
		if wrong++; wrong <= 3 {
			t.Errorf("%s: %s is\n%s\nwant\n%s", what, id, got[id], want[id])
		}
	}
	if wrong > 3 {
		t.Errorf("%s: %d documents are wrong", what, wrong)
	}
}

func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lineFile is a file of a log's lines.
func lineFile(t *testing.T, log eventlog.Log) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "log.jsonl")
	must(t, os.WriteFile(file, []byte(strings.Join(written(t, log), "")), 0o600))
	return file
}

// inMongo has the log of a database take what another has.
func inMongo(t *testing.T, uri string, log eventlog.Log) {
	t.Helper()
	store, err := mongo.Connect(t.Context(), mongo.Config{URI: uri, Logger: quiet})
	must(t, err)
	must(t, fill(t.Context(), store.Log(), log.All(t.Context(), 1), func() {}))
	must(t, errors.Join(store.Log().Close(), store.Close()))
}

// rebuilds runs a rebuild that is to succeed.
func rebuilds(t *testing.T, c Config) (printed string) {
	t.Helper()
	c.Mongo.Logger = quiet
	printed, err := run(t, "", func(p *program.Process) error { return Run(t.Context(), p, c) })
	if err != nil {
		t.Fatalf("%v, it prints\n%s", err, printed)
	}
	return printed
}

var digestLine = regexp.MustCompile(`(?m)^digest of the (\d+) documents? that the log gives: ([0-9a-f]{64})$`)

// printedDigest is what a rebuild prints of the documents.
func printedDigest(t *testing.T, printed string) string {
	t.Helper()
	m := digestLine.FindStringSubmatch(printed)
	if m == nil {
		t.Fatalf("it prints no digest:\n%s", printed)
	}
	return m[0]
}

func TestTheSameEventsGiveTheSameDigestWhereverTheyAre(t *testing.T) {
	log := lived(t, 500)
	want := folded(t, log)
	logURI, _ := withDatabase(t)
	inMongo(t, logURI, log)
	digests := map[string]bool{}
	for _, source := range []string{embedded(t, log), lineFile(t, log), logURI} {
		uri, db := withDatabase(t)
		dry := rebuilds(t, Config{Source: source, Mongo: mongo.Config{URI: uri}, DryRun: true})
		if left, err := db.ListCollectionNames(t.Context(), bson.D{}); err != nil || len(left) != 0 {
			t.Errorf("a dry run has made %v, %v", left, err)
		}
		printed := rebuilds(t, Config{Source: source, Mongo: mongo.Config{URI: uri}})
		same(t, source, stored(t, db), want)
		if all := fmt.Sprintf("MongoDB: 0 documents unchanged; written %d that were missing, 0 that were behind or said something else\n", len(want)); !strings.Contains(printed, all) {
			t.Errorf("it prints\n%s\nwant %q", printed, all)
		}
		again := rebuilds(t, Config{Source: source, Mongo: mongo.Config{URI: uri}})
		if !strings.Contains(again, fmt.Sprintf("MongoDB: %d documents unchanged\n", len(want))) {
			t.Errorf("a second run prints\n%s", again)
		}
		for _, printed := range []string{dry, printed, again} {
			digests[printedDigest(t, printed)] = true
		}
	}
	if len(digests) != 1 {
		t.Errorf("the digests are %v", slices.Sorted(maps.Keys(digests)))
	}
}

func TestRebuildOfADamagedMongoDB(t *testing.T) {
	log, all := supplies(t)
	want := folded(t, log)
	source := lineFile(t, log)
	uri, db := withDatabase(t)
	config := Config{Source: source, Mongo: mongo.Config{URI: uri}}
	rebuilds(t, config)
	id := func(n int) string { return string(all[n].Session) }
	sessions := db.Collection("sessions")
	_, err1 := sessions.UpdateByID(t.Context(), id(0), bson.D{{Key: "$set", Value: bson.D{{Key: "total_eur", Value: 0.05}}}})
	_, err2 := sessions.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: id(1)}})
	_, err3 := sessions.InsertMany(t.Context(), []any{
		bson.D{{Key: "_id", Value: "S-66"}, {Key: "version", Value: 1}},
		bson.D{{Key: "_id", Value: bson.NewObjectID()}, {Key: "version", Value: 1}},
		bson.D{{Key: "_id", Value: 7}},
	})
	must(t, errors.Join(err1, err2, err3, db.Collection("drivers").Drop(t.Context())))
	indexes := db.Collection("events").Indexes()
	before, err := indexes.ListSpecifications(t.Context())
	must(t, err)
	must(t, indexes.DropOne(t.Context(), before[len(before)-1].Name))

	broken := stored(t, db)
	dry := config
	dry.DryRun = true
	printed := rebuilds(t, dry)
	for _, line := range []string{
		"MongoDB, sessions " + id(0) + ": the document is not as the log has it\n  total_eur: the log has 0.105, MongoDB has 0.05\n",
		"MongoDB, sessions " + id(1) + ": the document is missing\n",
		"MongoDB, sessions S-66: the log knows nothing of it\n",
		"MongoDB, drivers D-1: the document is missing\n",
		"MongoDB: 28 documents unchanged; it would have written 17 that were missing, 1 that were behind or said something else; it would have removed 3 of which the log knows nothing\n",
	} {
		if !strings.Contains(printed, line) {
			t.Errorf("a dry run prints\n%s\nwant %q", printed, line)
		}
	}
	same(t, "after a dry run", stored(t, db), broken)

	printed = rebuilds(t, config)
	for _, line := range []string{
		"MongoDB, sessions " + id(0) + ": the document was not as the log has it\n  total_eur: the log has 0.105, MongoDB has 0.05\n",
		"MongoDB, sessions S-66: the log knows nothing of it, and it is removed\n",
		"MongoDB: 28 documents unchanged; written 17 that were missing, 1 that were behind or said something else; removed 3 of which the log knows nothing\n",
	} {
		if !strings.Contains(printed, line) {
			t.Errorf("a rebuild prints\n%s\nwant %q", printed, line)
		}
	}
	same(t, "after a rebuild", stored(t, db), want)
	after, err := indexes.ListSpecifications(t.Context())
	if err != nil || len(after) != len(before) {
		t.Errorf("%d indexes, want %d: %v", len(after), len(before), err)
	}
}

func TestRebuildOfTheDocumentOfOneID(t *testing.T) {
	log, all := supplies(t)
	uri, db := withDatabase(t)
	config := Config{Source: lineFile(t, log), Mongo: mongo.Config{URI: uri}}
	rebuilds(t, config)
	right := stored(t, db)
	for _, collection := range []string{"charging_points", "drivers", "sessions"} {
		_, err := db.Collection(collection).UpdateMany(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "note", Value: "x"}}}})
		must(t, err)
	}
	config.Only = string(all[3].Session)
	wrong := stored(t, db)
	printed := rebuilds(t, config)
	wrong["sessions "+config.Only] = right["sessions "+config.Only]
	same(t, "only a session", stored(t, db), wrong)
	if !strings.Contains(printed, "MongoDB: 0 documents unchanged; written 0 that were missing, 1 that were behind or said something else\n") {
		t.Errorf("it prints\n%s", printed)
	}
	config.Only = "CP-404"
	if _, err := run(t, "", func(p *program.Process) error { return Run(t.Context(), p, config) }); !errors.Is(err, mongo.ErrUnknownID) {
		t.Errorf("of an id that nobody knows it says %v", err)
	}
}

func TestRebuildOfThePast(t *testing.T) {
	log := lived(t, 500)
	all := times(t, log)
	middle := all[len(all)/2]
	logURI, _ := withDatabase(t)
	inMongo(t, logURI, log)
	pastURI, past := withDatabase(t)
	config := Config{Source: logURI, Mongo: mongo.Config{URI: logURI}, Into: past.Name()}
	rebuilds(t, config) // today's, which become older
	config.Until = middle
	printed := rebuilds(t, config)
	was := until(t, log, middle)
	same(t, "in the past", stored(t, past), folded(t, was))
	other, _ := withDatabase(t)
	if want := printedDigest(t, rebuilds(t, Config{Source: lineFile(t, was), Mongo: mongo.Config{URI: other}})); printedDigest(t, printed) != want {
		t.Errorf("it prints\n%s\nwant the %s", printed, want)
	}
	config.Until = 0
	rebuilds(t, config)
	same(t, "today again", stored(t, past), folded(t, log))

	refused := func(c Config, want error) {
		t.Helper()
		c.Mongo.Logger = quiet
		if printed, err := run(t, "", func(p *program.Process) error { return Run(t.Context(), p, c) }); !errors.Is(err, want) {
			t.Errorf("it says %v, want %v, and prints\n%s", err, want, printed)
		}
	}
	config.Until = all[0] - 1
	refused(config, ErrNoLog)
	same(t, "before the first event", stored(t, past), folded(t, log))
	live, _, _ := strings.Cut(logURI[strings.LastIndexByte(logURI, '/')+1:], "?")
	config.Mongo.URI, config.Into, config.Until = pastURI, live, middle
	refused(config, mongo.ErrLive)
}

// Documents are not given to a log that they are not of.
func TestRebuildOfAnotherNetwork(t *testing.T) {
	log := lived(t, 200)
	others := memory.NewLog()
	audittest.NewHistory(t, others, eventjson.Codec{}, 2, "CP-0", "CP-1").Run(500)
	uri, db := withDatabase(t)
	rebuilds(t, Config{Source: lineFile(t, log), Mongo: mongo.Config{URI: uri}})
	logURI, _ := withDatabase(t)
	inMongo(t, logURI, log)
	for _, where := range []string{uri, logURI} {
		_, err := run(t, "", func(p *program.Process) error {
			return Run(t.Context(), p, Config{Source: lineFile(t, others), Mongo: mongo.Config{URI: where, Logger: quiet}})
		})
		if !errors.Is(err, mongo.ErrForeign) {
			t.Errorf("it says %v", err)
		}
	}
	same(t, "the documents", stored(t, db), folded(t, log))
}

// An export of some time ago brings back what is missing, and takes nothing back in time.
func TestRebuildOfAnOldExport(t *testing.T) {
	log := lived(t, 1_500)
	all := times(t, log)
	old := until(t, log, all[2*len(all)/3])
	now, before := folded(t, log), folded(t, old)
	uri, db := withDatabase(t)
	rebuilds(t, Config{Source: lineFile(t, log), Mongo: mongo.Config{URI: uri}})
	printed := rebuilds(t, Config{Source: lineFile(t, old), Mongo: mongo.Config{URI: uri}})
	same(t, "after an old export", stored(t, db), now)
	if !strings.Contains(printed, "newer than the log and stayed as they were") {
		t.Errorf("it prints\n%s", printed)
	}
	var lost string // one that both have
	for id, d := range before {
		if now[id] == d && strings.HasPrefix(id, "sessions ") {
			lost = strings.TrimPrefix(id, "sessions ")
		}
	}
	_, err := db.Collection("sessions").DeleteOne(t.Context(), bson.D{{Key: "_id", Value: lost}})
	must(t, err)
	rebuilds(t, Config{Source: lineFile(t, old), Mongo: mongo.Config{URI: uri}})
	same(t, "one that was lost", stored(t, db), now)
}

// Of a folder that nobody else has open nothing is newer, but what is of another time.
func TestRebuildMendsWhatOnlySaysToBeNewer(t *testing.T) {
	log := lived(t, 500)
	all := times(t, log)
	end := all[len(all)-1]
	uri, db := withDatabase(t)
	c := Config{Source: embedded(t, log), Mongo: mongo.Config{URI: uri, Logger: quiet}}
	rebuilds(t, c)
	want := stored(t, db)
	claim := func(at domain.UnixMillis) {
		t.Helper()
		_, err := db.Collection("sessions").UpdateMany(t.Context(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{
			{Key: "version", Value: int64(9_000)}, {Key: "updated_at", Value: bson.DateTime(at)}, {Key: "total_eur", Value: 0.0},
		}}})
		must(t, err)
	}
	for _, at := range []domain.UnixMillis{end, end.Add(48 * time.Hour)} {
		claim(at)
		rebuilds(t, c)
		same(t, "of a time that is known, or has not come", stored(t, db), want)
	}
	claim(end.Add(time.Hour))
	if printed, err := run(t, "", func(p *program.Process) error { return Run(t.Context(), p, c) }); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), "delete them in MongoDB") {
		t.Errorf("it says %v, and prints\n%s", err, printed)
	}
}

// What is gone in the middle of a stream is no matter of its end, so it is looked for.
func TestNothingIsImportedIntoADamagedLog(t *testing.T) {
	log := lived(t, 500)
	uri, db := withDatabase(t)
	inMongo(t, uri, log)
	for _, position := range []int{40, 100} {
		must(t, db.Collection("events").FindOneAndDelete(t.Context(), bson.D{{Key: "position", Value: position}}).Err())
	}
	before, err := db.Collection("events").CountDocuments(t.Context(), bson.D{})
	must(t, err)
	_, err = run(t, "", func(p *program.Process) error {
		return Import(t.Context(), p, ImportConfig{Source: lineFile(t, log), Log: uri, Mongo: mongo.Config{Logger: quiet}})
	})
	after, countErr := db.Collection("events").CountDocuments(t.Context(), bson.D{})
	must(t, countErr)
	if !errors.Is(err, ErrDamagedTarget) || after != before {
		t.Errorf("it says %v, and stores %d commits", err, after-before)
	}
}

// told tells two of what a turn has stored: the network that lives, and the projections.
type told struct {
	history   *audittest.History
	documents *mongo.Projections
}

func (p told) Publish(ctx context.Context, publication central.Publication) error {
	if err := p.documents.Handle(ctx, publication); err != nil {
		return err
	}
	return p.history.Publish(ctx, publication)
}

// projecting is a network whose Central has its log and its documents in a MongoDB.
type projecting struct {
	*audittest.History
	t         *testing.T
	uri       string
	db        *driver.Database
	log       *mongo.Log
	documents *mongo.Projections
}

// newProjecting is one that ends with the test.
func newProjecting(t *testing.T, seed uint64) *projecting {
	t.Helper()
	uri, db := withDatabase(t)
	store, err := mongo.Connect(t.Context(), mongo.Config{URI: uri, Logger: quiet})
	must(t, err)
	n := &projecting{t: t, uri: uri, db: db, log: store.Log()}
	core := &central.Central{Log: n.log, Codec: eventjson.Codec{}}
	n.documents = store.Projections(mongo.ProjectionsConfig{Read: core.Parts, Open: n.log.Open, Logger: quiet})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.documents.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, n.log.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	n.History = audittest.NewHistory(t, n.log, eventjson.Codec{}, seed, "CP-0", "CP-1", "CP-2", "CP-3")
	n.Central.Publisher = told{n.History, n.documents}
	return n
}

// settles waits until the documents are what the log gives. Central may have died of its last
// turn, so time goes by meanwhile.
func (n *projecting) settles() {
	n.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		want, got := folded(n.t, n.log), stored(n.t, n.db)
		if maps.Equal(want, got) {
			return
		}
		if time.Now().After(deadline) {
			same(n.t, "in the end", got, want)
			return
		}
		n.Pass(time.Second)
		for n.documents.Stats().Waiting > 0 && time.Now().Before(deadline) {
			<-time.After(20 * time.Millisecond)
		}
	}
}

// While a Central writes its log and its documents, they are spoiled and rebuilt, again and
// again. In the end they are what the log gives.
func TestRebuildWhileACentralWrites(t *testing.T) {
	n := newProjecting(t, 1)
	ctx, db, h := t.Context(), n.db, n.History
	h.Run(300)
	for range 3 {
		for _, collection := range []string{"charging_points", "sessions"} {
			_, err1 := db.Collection(collection).UpdateMany(ctx, bson.D{{Key: "version", Value: bson.D{{Key: "$mod", Value: bson.A{2, 0}}}}}, bson.D{{Key: "$set", Value: bson.D{{Key: "location", Value: "x"}}}})
			_, err2 := db.Collection(collection).InsertOne(ctx, bson.D{{Key: "_id", Value: "nobody's"}, {Key: "version", Value: 3}})
			must(t, errors.Join(err1, err2))
		}
		must(t, db.Collection("drivers").Drop(ctx))
		rebuilding := make(chan error, 1)
		go func() {
			p := &program.Process{Stdin: strings.NewReader(""), Stdout: new(strings.Builder), Stderr: new(strings.Builder), Logger: quiet}
			rebuilding <- Run(ctx, p, Config{Source: n.uri, Mongo: mongo.Config{URI: n.uri, Logger: quiet}})
		}()
		for begun := h.Events; ; {
			h.Run(20)
			select {
			case err := <-rebuilding:
				must(t, err)
				if h.Events == begun {
					t.Error("nothing was written beside the rebuild")
				}
			default:
				continue
			}
			break
		}
	}
	n.settles()
	printed := rebuilds(t, Config{Source: n.uri, Mongo: mongo.Config{URI: n.uri}})
	if !strings.Contains(printed, fmt.Sprintf("MongoDB: %d documents unchanged\n", len(stored(t, n.db)))) {
		t.Errorf("something was left to do: it prints\n%s", printed)
	}
}

// The documents that a Central has stored turn by turn are, to the byte, those of a rebuild.
func TestARebuildChangesNothingOfWhatACentralStored(t *testing.T) {
	n := newProjecting(t, 3)
	n.Run(300)
	n.settles()
	live := stored(t, n.db)
	_, rebuilt := withDatabase(t)
	rebuilds(t, Config{Source: n.uri, Mongo: mongo.Config{URI: n.uri}, Into: rebuilt.Name()})
	same(t, "live against rebuilt", live, stored(t, rebuilt))
}
