package mongo

import (
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

func TestACounterThatIsLostOrBehindGoesOnAfterTheGreatestPosition(t *testing.T) {
	server(t)
	for name, spoil := range map[string]func(*testing.T, *Store){
		"lost": func(t *testing.T, s *Store) {
			if _, err := s.meta.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: counter}}); err != nil {
				t.Fatal(err)
			}
		},
		"at the beginning": func(t *testing.T, s *Store) { setCounter(t, s, 0) },
		"in the middle":    func(t *testing.T, s *Store) { setCounter(t, s, 7) },
		"one behind":       func(t *testing.T, s *Store) { setCounter(t, s, 9) },
	} {
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, end known %v", name, known), func(t *testing.T) {
				// given ten commits of two streams
				s := connect(t, database(t))
				l := s.Log()
				b := eventlogtest.NewBuilder("ev.health")
				var stored []eventlog.Commit
				appendTo := func(stream eventlog.Stream) {
					t.Helper()
					commit := b.Commit(b.Cause(), eventlogtest.Lifecycle(stream, `1`))
					if err := l.Append(t.Context(), commit); err != nil {
						t.Fatal(err)
					}
					stored = append(stored, commit)
				}
				for range 5 {
					appendTo("point-1")
					appendTo("point-2")
				}

				// when something happens to the counter
				spoil(t, s)
				if !known {
					l.heads.forget()
				}
				appendTo("session-new") // which has nothing before it
				appendTo("point-1")
				appendTo("point-2")

				// then what comes after is behind what was there
				eventlogtest.Holds(t, l, b, stored)
				if end, err := l.End(t.Context()); err != nil || end < leap {
					t.Errorf("the log ends at %d, %v: what is under way may be in the way", end, err)
				}
			})
		}
	}
}

func setCounter(t *testing.T, s *Store, value int64) {
	t.Helper()
	if _, err := s.meta.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: counter}}, set("value", value)); err != nil {
		t.Fatal(err)
	}
}

// Where the counter points to positions that nobody used, no unique index is in the way: the
// writer knows that what it follows is behind them.
func TestACounterThatPointsIntoAHoleIsBehind(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	l := s.Log()
	b := eventlogtest.NewBuilder("ev.health")
	var stored []eventlog.Commit
	for _, value := range []int64{0, 1000, 500} {
		if value > 0 {
			setCounter(t, s, value)
		}
		commit := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`))
		if err := l.Append(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
		stored = append(stored, commit)
	}
	eventlogtest.Holds(t, l, b, stored)
}

// Positions that nobody used are passed over.
func TestHolesArePassedOver(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	l := s.Log()
	b := eventlogtest.NewBuilder("ev.health")
	var stored []eventlog.Commit
	for _, value := range []int64{0, 3, allWindow + 3, 5*allWindow - 1, 1 << 22} {
		if value > 0 {
			setCounter(t, s, value)
		}
		for range 2 {
			commit := b.Commit(b.Cause(), eventlogtest.Lifecycle("point-1", `1`))
			if err := l.Append(t.Context(), commit); err != nil {
				t.Fatal(err)
			}
			stored = append(stored, commit)
		}
	}
	eventlogtest.Holds(t, l, b, stored)
	// a counter that is far ahead hides nothing
	setCounter(t, s, 1<<24)
	eventlogtest.Holds(t, l, b, stored)
}
