package mongo

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

// marksOf are the marks that the collection has, without the one that says that it is whole.
func marksOf(t *testing.T, s *Store) []string {
	t.Helper()
	marks, err := s.Log().marks(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return marks
}

func wantOpen(t *testing.T, s *Store, want ...eventlog.Stream) {
	t.Helper()
	got, err := s.Log().Open(t.Context())
	if err != nil {
		t.Error(err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("open %v, want %v", got, want)
	}
}

func TestMarksOfClosedStreamsAreRemoved(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	b := eventlogtest.NewBuilder("ev.health")
	wantOpen(t, s)
	for i := range 3 {
		stream := eventlog.Stream(fmt.Sprint("session-", i))
		for _, c := range []eventlog.Commit{
			b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`), eventlogtest.Lifecycle(stream, `1`)),
			b.Commit(b.Cause(), eventlogtest.Closing(stream, `1`)),
			b.Commit(b.Cause(), eventlogtest.Closing(stream, `"revised"`)),
		} {
			if err := s.Log().Append(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Log().Close(); err != nil { // waits for what is tidied
		t.Fatal(err)
	}
	if got, want := marksOf(t, s), []string{key("point-1", 1)}; !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}
}

func TestOpenGoesByTheLogAndNotByItsMarks(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	l := s.Log()
	b := eventlogtest.NewBuilder("ev.health")
	for _, c := range []eventlog.Commit{
		b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`), eventlogtest.Lifecycle("session-1", `1`)),
		b.Commit(b.Cause(), eventlogtest.Closing("session-1", `1`)),
		b.Commit(b.Cause(), eventlogtest.Lifecycle("session-1", `"again"`)),
		b.Commit(b.Cause(), eventlogtest.Lifecycle("session-2", `1`)),
		b.Commit(b.Cause(), eventlogtest.Closing("session-2", `1`)),
	} {
		if err := l.Append(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	wantOpen(t, s, "point-1", "session-1")

	// marks of commits that were never stored, and such as should have been removed, are no
	// streams; the latter go
	never := key("session-never", 1)
	if err := l.markOpen(t.Context(), []string{never, key("session-2", 1), key("point-1", 1), "nonsense"}); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, s, "point-1", "session-1")
	if got, want := marksOf(t, s), []string{"nonsense", key("point-1", 1), key("session-1", 3), never}; !slices.Equal(got, want) {
		t.Errorf("marks %v, want %v", got, want)
	}

	// a late removal of what has closed takes nothing from what opened after it
	if err := l.markClosed(t.Context(), map[eventlog.Stream]eventlog.Version{"session-1": 2}); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, s, "point-1", "session-1")

	// and a collection that is gone, or came from elsewhere in part, is made anew
	if err := s.open.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, s, "point-1", "session-1")
	if _, err := s.open.DeleteMany(t.Context(), bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: []string{complete, key("session-1", 3)}}}}}); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, s, "point-1", "session-1")
}

// A mark that its insert has not followed yet belongs to whoever opens the stream: it
// stays, however often somebody looks.
func TestAMarkStandsBeforeItsPart(t *testing.T) {
	server(t)
	uri := database(t)
	s := connect(t, uri)
	l := newLine(t, hostOf(t, uri))
	late := connectWith(t, Config{URI: l.uri(uri), Logger: s.logger, patience: 3 * time.Second})
	wantOpen(t, s)

	release := l.Hold()
	b := eventlogtest.NewBuilder("ev.health")
	appended := make(chan error, 1)
	go func() {
		appended <- late.Log().Append(t.Context(), b.Commit(b.Cause(), eventlogtest.Lifecycle("session-1", `1`)))
	}()
	waitUntil(t, func() bool { return l.Held() > 0 })
	wantOpen(t, s)
	wantOpen(t, s)
	release()
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	wantOpen(t, s, "session-1")
}

func TestMoreStreamsAreOpenThanAreLookedAtInOneStep(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	b := eventlogtest.NewBuilder("ev.health")
	var want []eventlog.Stream
	for i := 0; i < 2*openWindow+1; i += 100 {
		var drafts []eventlogtest.Draft
		for j := range 100 {
			want = append(want, eventlog.Stream(fmt.Sprintf("point-%04d", i+j)))
			drafts = append(drafts, eventlogtest.Lifecycle(want[i+j], `1`))
		}
		if err := s.Log().Append(t.Context(), b.Commit(eventlog.Cause{}, drafts...)); err != nil {
			t.Fatal(err)
		}
	}
	wantOpen(t, s, want...)
	if err := s.open.Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantOpen(t, s, want...)
}
