package jsonl_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"evcharging/adapters/jsonl"
	"evcharging/application/eventlog"
	"evcharging/application/eventlog/eventlogtest"
	"evcharging/domain"
)

// commit is one with a part of each kind; its first part has a text.
func commit(body string) eventlog.Positioned {
	b := eventlogtest.NewBuilder("ev.control")
	first := eventlogtest.Lifecycle("point-CP-1", "1")
	first.Body = body
	c := b.Commit(b.Cause(), first, eventlogtest.Sample("session-1", `{"energy":1}`), eventlogtest.Closing("session-2", "1", "2"))
	return eventlog.Positioned{Position: 7, Commit: c}
}

func TestALineIsReadAsItWasWritten(t *testing.T) {
	for name, body := range map[string]string{
		"a part":                     `{"commit":"…","at":1,"events":[{"type":"PointReleased","v":1,"data":{"session":"s-1"}}]}`,
		"signs that HTML escapes":    `{"a":"<&>'"}`,
		"signs that scripts escape":  "{\"a\":\"\u2028\u2029\"}",
		"escapes as they were":       `{"a":"\u00e9\u00E9\/\n\u001f\ud83d\ude00"}`,
		"names as they were":         `{"\u0061":1,"b":2}`,
		"figures as they were":       `{"a":1.50,"b":1e3,"c":9223372036854775807,"d":-0,"e":12345678901234567890123}`,
		"order as it was":            `{"b":1,"a":2}`,
		"neither object nor list":    `"text"`,
		"many":                       `[` + strings.Repeat(`{"a":[[],{}]},`, 1000) + `null]`,
		"signs of several languages": `{"a":"Ñandú 電気 🔌"}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := commit(body)
			line, err := jsonl.Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			if i := bytes.IndexByte(line, '\n'); i != len(line)-1 {
				t.Errorf("a line feed at %d of %d", i, len(line))
			}
			if !json.Valid(line) {
				t.Errorf("it is no JSON: %s", line)
			}
			got, err := jsonl.Decode(line)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c) {
				t.Errorf("read as\n%+v\nwant\n%+v", got, c)
			}
			if err := got.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestACommitWithoutACause(t *testing.T) {
	b := eventlogtest.NewBuilder("ev.supply.telemetry")
	c := eventlog.Positioned{Position: 1, Commit: b.Commit(eventlog.Cause{}, eventlogtest.Sample("session-1", `{}`))}
	line, err := jsonl.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := jsonl.Decode(line); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("read as %+v (%v)", got, err)
	}
	if bytes.Contains(line, []byte("cause")) {
		t.Errorf("it names a cause: %s", line)
	}
}

// A log may hold texts that JSON Lines can't carry as they are: better none than others.
func TestATextThatWouldChangeIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"white space":   `{"a": 1}`,
		"a line feed":   "{\"a\":1}\n",
		"no JSON":       `{"a":`,
		"invalid UTF-8": "{\"a\":\"\xff\"}",
		"a name twice":  `{"a":1,"a":2}`,
	} {
		t.Run(name, func(t *testing.T) {
			if line, err := jsonl.Encode(commit(body)); !errors.Is(err, jsonl.ErrText) {
				t.Errorf("written as %s (%v)", line, err)
			}
		})
	}
}

func TestTheFormOfALine(t *testing.T) {
	part := eventlog.Part{Stream: "point-CP-1", Version: 3, Events: 2, Kind: eventlog.Lifecycle, Body: []byte(`{"b":1,"a":"<"}`)}
	part.Hash = part.Sum()
	line, err := jsonl.Encode(eventlog.Positioned{Position: 7, Commit: eventlog.Commit{
		ID: uuid.MustParse("0190a5d0-7c00-7abc-8def-0123456789ab"), At: 1_800_000_000_000,
		Cause: eventlog.Cause{Topic: "ev.control", Partition: 2, Offset: 9, Digest: [8]byte{1, 2, 3, 4, 5, 6, 7, 0xff}},
		Parts: []eventlog.Part{part},
	}})
	want := `{"position":7,"id":"0190a5d0-7c00-7abc-8def-0123456789ab","at":1800000000000,` +
		`"cause":{"topic":"ev.control","partition":2,"offset":9,"digest":"01020304050607ff"},` +
		`"parts":[{"stream":"point-CP-1","version":3,"events":2,"kind":"lifecycle",` +
		`"prev":"` + strings.Repeat("0", 64) + `","hash":"` + fmt.Sprintf("%x", part.Hash) + `","body":{"b":1,"a":"<"}}]}` + "\n"
	if err != nil || string(line) != want {
		t.Errorf("written as\n%swant\n%s(%v)", line, want, err)
	}
}

func TestWhatIsNoLineIsAnError(t *testing.T) {
	good, err := jsonl.Encode(commit(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string {
		changed := strings.Replace(string(good), old, new, 1)
		if changed == string(good) {
			t.Fatalf("%s has no %s", good, old)
		}
		return changed
	}
	for name, line := range map[string]string{
		"nothing":                    "",
		"half a line":                string(good[:len(good)/2]),
		"two lines":                  string(good) + string(good),
		"an unknown field":           change(`"at"`, `"colour":"red","at"`),
		"an unknown field of a part": change(`"events"`, `"colour":"red","events"`),
		"an unknown kind":            change(`"sample"`, `"samples"`),
		"no kind":                    change(`"kind":"sample",`, ``),
		"a short hash":               change(`"hash":"`, `"hash":"00","x":"`),
		"a hash that is none":        change(`"prev":"0`, `"prev":"x`),
		"a short digest":             change(`"digest":"`, `"digest":"00`),
		"a position below zero":      change(`"position":7`, `"position":-7`),
		"another id":                 change(`"id":"`, `"id":"x`),
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := jsonl.Decode([]byte(line)); !errors.Is(err, jsonl.ErrLine) {
				t.Errorf("read as %+v (%v)", c, err)
			}
		})
	}
	t.Run("a part that was changed is Check's to find", func(t *testing.T) {
		c, err := jsonl.Decode([]byte(change(`"energy":1`, `"energy":2`)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); !errors.Is(err, eventlog.ErrMalformed) {
			t.Errorf("it is taken for good: %v", err)
		}
	})
}

func TestRoundTrip(t *testing.T) {
	b := eventlogtest.NewBuilder("ev.health")
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(map[string]any{
			rapid.String().Draw(t, "name"): rapid.String().Draw(t, "text"), "n": rapid.Int64().Draw(t, "figure"),
		})
		if err != nil {
			t.Fatal(err)
		}
		cause := eventlog.Cause{}
		if rapid.Bool().Draw(t, "caused") {
			cause = b.Cause()
		}
		c := eventlog.Positioned{
			Position: eventlog.Position(rapid.Uint64().Draw(t, "position")),
			Commit:   b.Commit(cause, eventlogtest.Lifecycle("point-CP-1", string(text)), eventlogtest.Sample("session-1", string(text))),
		}
		c.At = domain.UnixMillis(rapid.Int64().Draw(t, "at"))
		line, err := jsonl.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := jsonl.Decode(line); err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%+v came back as %+v (%v) by way of\n%s", c, got, err, line)
		}
	})
}

func FuzzDecode(f *testing.F) {
	line, err := jsonl.Encode(commit(`{"a":"\u00e9"}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := jsonl.Decode(text)
		if err != nil {
			return
		}
		line, err := jsonl.Encode(c)
		if errors.Is(err, jsonl.ErrText) {
			return // it has white space
		}
		if err != nil {
			t.Fatalf("%s is read and can't be written: %v", text, err)
		}
		if again, err := jsonl.Decode(line); err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%s is read as %+v, then as %+v (%v)", text, c, again, err)
		}
	})
}
