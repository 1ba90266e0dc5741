package eventjson_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"evcharging/adapters/eventjson"
	"evcharging/application/central"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// asWritten are, by name, the versions that were written before today's: whether an event can
// be told in one, and its data there. Its version is the number behind the name.
var asWritten = map[string]func(event any, data string) (old string, ok bool){
	"PriceSet 1": func(event any, data string) (string, bool) {
		return data, event.(chargingpoint.PriceSet).From == 0
	},
	"PriceHandedBack 1": func(event any, data string) (string, bool) {
		return data, event.(chargingpoint.PriceHandedBack).From == 0
	},
}

// downcast is a part's text as an earlier version of the project would have written it.
func downcast(t *rapid.T, e central.Envelope) []byte {
	t.Helper()
	var events []string
	for _, event := range e.Events {
		body, err := eventjson.Codec{}.Encode(central.Envelope{Commit: commitID, Events: []any{event}})
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(strings.TrimSuffix(string(body), "]}"), `"events":[`)
		head, data, _ := strings.Cut(text, `"data":`)
		kind := reflect.TypeOf(event).Name()
		for version := 1; ; version++ {
			write, known := asWritten[fmt.Sprintf("%s %d", kind, version)]
			if !known {
				break
			}
			if old, ok := write(event, strings.TrimSuffix(data, "}")); ok {
				head, data = fmt.Sprintf(`{"type":%q,"v":%d,`, kind, version), old+"}"
				break
			}
		}
		events = append(events, head+`"data":`+data)
	}
	return fmt.Appendf(nil, `{"commit":%q,"at":%d,"events":[%s]}`, e.Commit, e.At, strings.Join(events, ","))
}

// Whether a history was written by an earlier version and is upcast, or was written by
// today's: it folds to the same, whatever happened.
func TestUpcastingCommutesWithFolding(t *testing.T) {
	told := map[string]bool{}
	rapid.Check(t, func(t *rapid.T) {
		now := domain.UnixMillis(1_800_000_000_000)
		live, read := chargingpoint.New("CP-1"), chargingpoint.New("CP-1")
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now += domain.UnixMillis(rapid.IntRange(0, 20_000).Draw(t, "later"))
			from := now + domain.UnixMillis(rapid.SampledFrom([]int{0, 0, 0, 10_000}).Draw(t, "from"))
			for range rapid.IntRange(1, 3).Draw(t, "commands") {
				switch rapid.IntRange(0, 6).Draw(t, "command") {
				case 0:
					_ = live.Register(now, "L", domain.MicroEurosPerKWh(rapid.IntRange(0, 2).Draw(t, "own")), now, chargingpoint.Proof{})
				case 1:
					_ = live.ReportHealth(now, chargingpoint.Report{Healthy: rapid.Bool().Draw(t, "healthy"), Lease: 15 * time.Second, ReportedAt: now})
				case 2, 3:
					_ = live.SetPrice(now, from, domain.MicroEurosPerKWh(rapid.IntRange(0, 2).Draw(t, "price")), "op")
				case 4:
					_ = live.HandBackPrice(now, from, "op")
				case 5:
					for _, c := range live.Scheduled() {
						_ = live.TakePriceEffect(now, c.From)
					}
				default:
					_, _ = live.Occupy(now, chargingpoint.Request{Session: "s", Driver: "D", Heard: true})
				}
			}
			e := central.Envelope{Commit: commitID, At: now}
			for _, event := range live.Pending() {
				e.Events = append(e.Events, event)
			}
			live.Stored()
			if len(e.Events) == 0 {
				continue
			}
			body, err := eventjson.Codec{}.Encode(e)
			if err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "written earlier") {
				body = downcast(t, e)
				for name := range asWritten {
					kind, version, _ := strings.Cut(name, " ")
					told[name] = told[name] || strings.Contains(string(body), fmt.Sprintf(`"type":%q,"v":%s,`, kind, version))
				}
			}
			decoded, err := eventjson.Codec{}.Decode(body)
			if err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			if !reflect.DeepEqual(decoded, e) {
				t.Fatalf("%s\nreads as %+v\nwant %+v", body, decoded, e)
			}
			for _, event := range decoded.Events {
				if err := read.Apply(decoded.At, event.(chargingpoint.Event)); err != nil {
					t.Fatal(err)
				}
			}
			if !reflect.DeepEqual(read, live) {
				t.Fatalf("read it is\n%+v\nlive it was\n%+v", read, live)
			}
		}
	})
	for name := range asWritten {
		if !told[name] {
			t.Errorf("%s was never read", name)
		}
	}
}

// Every version that is only read any more is held to it.
func TestEveryUpcasterIsHeldToCommuting(t *testing.T) {
	_, earlier := eventjson.Names()
	if len(earlier) == 0 {
		t.Error("there is none")
	}
	for _, name := range earlier {
		if asWritten[name] == nil {
			t.Errorf("asWritten does not have %s", name)
		}
	}
}
