package mongo

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
)

const (
	victim eventlog.Stream = "session-victim"
	sound  eventlog.Stream = "point-sound"
)

// damaged is a log with commits of a victim and a sound stream, four each, in turns: the
// victim's are at the even positions.
func damaged(t *testing.T) (*Store, *eventlogtest.Builder, []eventlog.Commit) {
	t.Helper()
	s := connect(t, database(t))
	b := eventlogtest.NewBuilder("ev.control")
	var commits []eventlog.Commit
	for _, drafts := range [][2]eventlogtest.Draft{
		{eventlogtest.Lifecycle(sound, `"sound 1"`), eventlogtest.Lifecycle(victim, `"victim 1"`)},
		{eventlogtest.Lifecycle(sound, `"sound 2"`), eventlogtest.Sample(victim, `"victim 2"`)},
		{eventlogtest.Lifecycle(sound, `"sound 3"`), eventlogtest.Lifecycle(victim, `"victim 3"`)},
		{eventlogtest.Lifecycle(sound, `"sound 4"`), eventlogtest.Sample(victim, `"victim 4"`)},
	} {
		for _, d := range drafts {
			commits = append(commits, b.Commit(b.Cause(), d))
			if err := s.Log().Append(t.Context(), commits[len(commits)-1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Log().heads.forget() // whoever knows the end goes on from there
	return s, b, commits
}

// change changes the document of a commit, behind the log's back.
func change(t *testing.T, s *Store, c eventlog.Commit, update bson.D) {
	t.Helper()
	result, err := s.events.UpdateOne(t.Context(), bson.D{{Key: "_id", Value: idOf(c.ID)}}, update)
	if err != nil {
		t.Fatal(err)
	}
	if result.ModifiedCount != 1 {
		t.Fatal("nothing was changed")
	}
}

func set(field string, value any) bson.D {
	return bson.D{{Key: "$set", Value: bson.D{{Key: field, Value: value}}}}
}

func unset(field string) bson.D {
	return bson.D{{Key: "$unset", Value: bson.D{{Key: field, Value: ""}}}}
}

func wantDamage(t *testing.T, doing string, err error, where eventlog.Commit, position eventlog.Position, stream eventlog.Stream) {
	t.Helper()
	var d *eventlog.DamagedError
	if !errors.As(err, &d) {
		t.Errorf("%s: %v, want a DamagedError", doing, err)
		return
	}
	if !strings.Contains(d.Where, where.ID.String()) || d.Position != position || d.Stream != stream || d.Reason == nil {
		t.Errorf("%s: damaged in %s at %d, stream %s; want document %s at %d, stream %s", doing, d.Where, d.Position, d.Stream, where.ID, position, stream)
	}
}

// wantSound holds the sound stream to being read and written as ever.
func wantSound(t *testing.T, s *Store, b *eventlogtest.Builder) {
	t.Helper()
	n := 0
	for _, err := range s.Log().Read(t.Context(), sound, 0) {
		if err != nil {
			t.Errorf("the sound stream: %v", err)
		}
		n++
	}
	parts, err := s.Log().Rehydrate(t.Context(), sound)
	if n != 4 || len(parts) != 4 || err != nil {
		t.Errorf("the sound stream: read %d parts, rehydrated %d, %v", n, len(parts), err)
	}
	fork := b.Fork()
	if err := s.Log().Append(t.Context(), fork.Commit(eventlog.Cause{}, eventlogtest.Lifecycle(sound, `"sound 5"`), eventlogtest.Lifecycle("session-new", `1`))); err != nil {
		t.Errorf("the sound stream: %v", err)
	}
}

// readUntil reads a stream, and gives how many parts came before the error.
func readUntil(t *testing.T, l *Log, stream eventlog.Stream) (n int, err error) {
	t.Helper()
	for _, err := range l.Read(t.Context(), stream, 0) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func TestADocumentThatWasChangedIsDamageOfItsStreamAlone(t *testing.T) {
	server(t)
	for name, update := range map[string]bson.D{
		"the body":                set("parts.0.body", `["victim paid"]`),
		"the body's type":         set("parts.0.body", 3),
		"no body":                 unset("parts.0.body"),
		"the hash":                set("parts.0.hash", bson.Binary{Data: make([]byte, 32)}),
		"a short hash":            set("parts.0.hash", bson.Binary{Data: make([]byte, 3)}),
		"the hash before":         set("parts.0.prev", bson.Binary{Data: make([]byte, 32)}),
		"no hash before":          unset("parts.0.prev"),
		"the version":             set("parts.0.version", int64(7)),
		"the version's type":      set("parts.0.version", "3"),
		"no events":               unset("parts.0.events"),
		"no events, a number":     set("parts.0.events", 0),
		"an unknown kind":         set("parts.0.kind", "other"),
		"another kind":            set("parts.0.kind", "closing"),
		"the parts' type":         set("parts", "none"),
		"a part's type":           set("parts.0", "none"),
		"the time's type":         set("at", "yesterday"),
		"no time":                 unset("at"),
		"the cause":               set("cause", "somewhere"),
		"how many before it":      set("parts.0.nth", int64(5)),
		"what is no sample":       set("lifecycle", []string{string(victim), "session-none"}),
		"a sample that is none":   set("sample", string(victim)),
		"a closing that is none":  set("closing", []string{string(victim)}),
		"the stream, in the part": set("parts.0.stream", "session-other"),
	} {
		t.Run(name, func(t *testing.T) {
			s, b, commits := damaged(t)
			change(t, s, commits[5], update)

			n, err := readUntil(t, s.Log(), victim)
			if n != 2 {
				t.Errorf("read %d parts before it, want 2", n)
			}
			wantDamage(t, "Read", err, commits[5], 6, victim)
			_, err = s.Log().Rehydrate(t.Context(), victim)
			wantDamage(t, "Rehydrate", err, commits[5], 6, victim)
			_, err = s.Log().Head(t.Context(), victim)
			wantDamage(t, "Head", err, commits[5], 6, victim)
			wantSound(t, s, b)
			if open, err := s.Log().Open(t.Context()); err != nil || !slices.Contains(open, victim) && name != "a closing that is none" {
				t.Errorf("open: %v, %v", open, err)
			}

			// who reads everything may go on behind it
			if name == "how many before it" {
				return // that is seen where the parts before it are, too
			}
			var all []eventlog.Position
			var d *eventlog.DamagedError
			for from := eventlog.Position(1); from != 0; {
				next := eventlog.Position(0)
				for c, err := range s.Log().All(t.Context(), from) {
					if errors.As(err, &d) {
						next = d.Position + 1
					} else {
						all = append(all, c.Position)
					}
				}
				from = next
			}
			if !slices.Equal(all, []eventlog.Position{1, 2, 3, 4, 5, 7, 8, 9}) {
				t.Errorf("read positions %d", all)
			}
		})
	}
}

func TestADamagedCommitAnswersForItsCause(t *testing.T) {
	server(t)
	s, _, commits := damaged(t)
	change(t, s, commits[5], set("parts.0.body", `["victim paid"]`))
	_, _, err := s.Log().ByCause(t.Context(), commits[5].Cause)
	wantDamage(t, "ByCause", err, commits[5], 6, victim)
	wantDamage(t, "Append", s.Log().Append(t.Context(), commits[5]), commits[5], 6, victim)
}

func TestAPositionThatWasChangedIsDamage(t *testing.T) {
	server(t)
	for name, update := range map[string]bson.D{"gone": unset("position"), "a text": set("position", "6")} {
		t.Run(name, func(t *testing.T) {
			s, b, commits := damaged(t)
			change(t, s, commits[5], update)
			_, err := readUntil(t, s.Log(), victim)
			wantDamage(t, "Read", err, commits[5], 0, victim)
			wantSound(t, s, b)
		})
	}
	t.Run("of another place", func(t *testing.T) {
		s, _, commits := damaged(t)
		change(t, s, commits[5], set("position", int64(1000)))
		_, err := readUntil(t, s.Log(), victim)
		wantDamage(t, "Read", err, commits[7], 8, victim) // it comes before the one before it
	})
}

func TestALostPartIsSeenByTheOneAfterIt(t *testing.T) {
	server(t)
	for name, c := range map[string]struct {
		lost, before int
		rehydrated   bool
	}{
		"the first":        {1, 0, true},
		"a sample":         {3, 1, false}, // a later sample makes it dispensable
		"in the middle":    {5, 2, true},
		"keys of the part": {5, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, b, commits := damaged(t)
			if name == "keys of the part" {
				change(t, s, commits[5], set("keys", []string{"elsewhere"}))
				change(t, s, commits[5], unset("lifecycle"))
			} else if _, err := s.events.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: idOf(commits[c.lost].ID)}}); err != nil {
				t.Fatal(err)
			}
			n, err := readUntil(t, s.Log(), victim)
			if n != c.before {
				t.Errorf("read %d parts before it, want %d", n, c.before)
			}
			wantDamage(t, "Read", err, commits[c.lost+2], eventlog.Position(c.lost+3), victim)
			_, err = s.Log().Rehydrate(t.Context(), victim)
			if !c.rehydrated {
				if err != nil {
					t.Errorf("rehydrate: %v", err)
				}
			} else if !errors.Is(err, eventlog.ErrDamaged) {
				t.Errorf("rehydrate: %v, want damage", err)
			}
			wantSound(t, s, b)
		})
	}
}

// What rehydration does not read can't be missed by it, but for what it should have read: each
// part knows how many before it are no samples, and behind the last sample there is no gap.
func TestALostPartIsMissedByRehydration(t *testing.T) {
	server(t)
	for name, c := range map[string]struct {
		drafts    []eventlogtest.Draft
		lost      int
		seenBy    int
		seenAfter eventlog.Position
	}{
		"no sample, between samples": {[]eventlogtest.Draft{
			eventlogtest.Lifecycle(victim, `1`), eventlogtest.Sample(victim, `2`), eventlogtest.Lifecycle(victim, `3`),
			eventlogtest.Sample(victim, `4`), eventlogtest.Sample(victim, `5`),
		}, 2, 4, 5},
		"the last sample": {[]eventlogtest.Draft{
			eventlogtest.Lifecycle(victim, `1`), eventlogtest.Sample(victim, `2`), eventlogtest.Sample(victim, `3`), eventlogtest.Lifecycle(victim, `4`),
		}, 2, 3, 4},
	} {
		t.Run(name, func(t *testing.T) {
			s := connect(t, database(t))
			b := eventlogtest.NewBuilder("ev.control")
			var commits []eventlog.Commit
			for _, d := range c.drafts {
				commits = append(commits, b.Commit(eventlog.Cause{}, d))
				if err := s.Log().Append(t.Context(), commits[len(commits)-1]); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.events.DeleteOne(t.Context(), bson.D{{Key: "_id", Value: idOf(commits[c.lost].ID)}}); err != nil {
				t.Fatal(err)
			}
			_, err := s.Log().Rehydrate(t.Context(), victim)
			wantDamage(t, "Rehydrate", err, commits[c.seenBy], c.seenAfter, victim)
		})
	}
}

func TestAPartThatWasForgedIsSeenByTheOneAfterIt(t *testing.T) {
	server(t)
	s, b, commits := damaged(t)
	forged := commits[5].Parts[0]
	forged.Body = []byte(`["victim paid"]`)
	forged.Hash = forged.Sum()
	change(t, s, commits[5], bson.D{{Key: "$set", Value: bson.D{
		{Key: "parts.0.body", Value: string(forged.Body)}, {Key: "parts.0.hash", Value: bson.Binary{Data: forged.Hash[:]}},
	}}})
	n, err := readUntil(t, s.Log(), victim)
	if n != 3 {
		t.Errorf("read %d parts, want 3", n)
	}
	wantDamage(t, "Read", err, commits[7], 8, victim)
	_, err = s.Log().Rehydrate(t.Context(), victim)
	wantDamage(t, "Rehydrate", err, commits[7], 8, victim)
	wantSound(t, s, b)
}

func TestADamagedPartLeavesTheOthersOfItsCommitAlone(t *testing.T) {
	server(t)
	s := connect(t, database(t))
	b := eventlogtest.NewBuilder("ev.control")
	commit := b.Commit(b.Cause(), eventlogtest.Lifecycle(sound, `1`), eventlogtest.Lifecycle(victim, `1`))
	if err := s.Log().Append(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
	change(t, s, commit, set("parts.1.body", `[2]`))
	if n, err := readUntil(t, s.Log(), sound); n != 1 || err != nil {
		t.Errorf("the sound part: %d, %v", n, err)
	}
	_, err := readUntil(t, s.Log(), victim)
	wantDamage(t, "Read", err, commit, 1, victim)
}
