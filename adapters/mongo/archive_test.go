package mongo

import (
	"reflect"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

func TestArchive(t *testing.T) {
	eventlogtest.RunArchive(t, func(t *testing.T) (eventlogtest.Open, eventlogtest.Archive) {
		open := newPlace(t)
		return open, func(t *testing.T, moved map[eventlog.Stream]eventlog.Moved) int {
			s := open(t).(connected)
			defer s.Close()
			removed, err := s.Archive(t.Context(), moved)
			if err != nil {
				t.Fatal(err)
			}
			return removed
		}
	})
}

// A Central that wrote the log goes on while it is archived, and one that knows nothing of it begins.
func TestALogIsArchivedBesideWhoHasIt(t *testing.T) {
	uri, s := database(t), eventlogtest.NewSessions()
	writer := connect(t, uri)
	for _, c := range s.Commits {
		if err := writer.Log().Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	before := s.Told(t, writer.Log())
	if _, err := connect(t, uri).Log().Archive(t.Context(), s.Moved); err != nil {
		t.Fatal(err)
	}
	if after := s.Told(t, writer.Log()); !reflect.DeepEqual(after, before) {
		t.Errorf("the writer tells\n%+v\nand told\n%+v", after, before)
	}
	s.WantLeft(t, writer.Log(), true)
	if err := writer.Log().Append(t.Context(), s.Commit(s.Cause(), eventlogtest.Closing("session-0", `"revised"`))); err != nil {
		t.Errorf("a revision: %v", err)
	}
	if err := writer.db.Collection(openCollection).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if open, err := connect(t, uri).Log().Open(t.Context()); err != nil || len(open) != 4 {
		t.Errorf("open are %v, %v", open, err)
	}
}

// A run that broke off between any two of its steps is brought to its end by the next.
func TestArchivingGoesOn(t *testing.T) {
	place, sessions := database(t), eventlogtest.NewSessions()
	s := connect(t, place)
	for _, c := range sessions.Commits {
		if err := s.Log().Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	// What is there once the first document was replaced, and some of the others removed.
	whole := map[int]bson.M{}
	for _, i := range []int{6, 9, 21} { // samples of session-0
		var document bson.M
		if err := s.events.FindOne(t.Context(), bson.D{{Key: "_id", Value: idOf(sessions.Commits[i].ID)}}).Decode(&document); err != nil || document["sample"] != "session-0" {
			t.Fatal(err, document)
		}
		whole[i] = document
	}
	if _, err := s.Log().Archive(t.Context(), sessions.Moved); err != nil {
		t.Fatal(err)
	}
	for _, document := range whole {
		if _, err := s.events.InsertOne(t.Context(), document); err != nil {
			t.Fatal(err)
		}
	}
	again, err := connect(t, place).Log().Archive(t.Context(), sessions.Moved)
	if err != nil || again != len(whole) {
		t.Errorf("%d more are removed, %v", again, err)
	}
	sessions.WantLeft(t, s.Log(), true)
	if more, err := s.Log().Archive(t.Context(), sessions.Moved); err != nil || more != 0 {
		t.Errorf("then %d, %v", more, err)
	}
}
