package eventjson_test

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"evcharging/adapters/eventjson"
	"evcharging/application/central"
	"evcharging/application/eventlog"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
	"evcharging/domain/session"
)

var (
	commitID = uuid.MustParse("0190a5d0-7c00-7abc-8def-0123456789ab")
	from     = session.Source{Topic: "ev.supply.telemetry", Partition: 3, Offset: 42, Timestamp: 1_800_000_000_123}
)

// vector is a part whose text holds the format for ever. The text is in testdata.
type vector struct {
	name  string
	event any
	// caused says that the part has a cause.
	caused bool
}

var vectors = []vector{
	{"PointRegistered 1", chargingpoint.PointRegistered{Location: "C/ Sant Nicolau 4, Alcoi <\"é\u2028\">", Price: 300_000, RecordedAt: 1_800_000_000_000, ProofAt: 1_799_999_999_000}, true},
	{"PointRegistered 1 without a proof", chargingpoint.PointRegistered{Location: "N/A", RecordedAt: 1_800_000_000_000}, true},
	{"PriceSet 2", chargingpoint.PriceSet{Price: 1_000_000_000, By: "ops@host", From: 1_800_000_000_500}, true},
	{"PriceSet 2 of nobody, at once", chargingpoint.PriceSet{}, true},
	{"PriceHandedBack 2", chargingpoint.PriceHandedBack{By: "ops@host", From: 1_800_000_000_500}, true},
	{"PriceHandedBack 2 at once", chargingpoint.PriceHandedBack{By: "ops@host"}, true},
	{"PriceTookEffect 1", chargingpoint.PriceTookEffect{From: 1_800_000_000_500}, true},
	{"PointConnected 1", chargingpoint.PointConnected{Lease: 15 * time.Second, ReportedAt: 1_800_000_000_000}, true},
	{"PointConnected 1 without a lease", chargingpoint.PointConnected{ReportedAt: 1_800_000_000_000}, true},
	{"LeaseChanged 1", chargingpoint.LeaseChanged{Lease: time.Hour}, true},
	{"PointDisconnected 1", chargingpoint.PointDisconnected{LastHeard: 1_800_000_000_000, Lease: 15 * time.Second}, true},
	{"FaultReported 1", chargingpoint.FaultReported{ReportedAt: 1_800_000_000_000}, true},
	{"FaultCleared 1", chargingpoint.FaultCleared{ReportedAt: 1_800_000_000_000}, true},
	{"TakenOutOfService 1", chargingpoint.TakenOutOfService{
		RecordedAt: 1_800_000_000_000, By: "ops@host", Order: 1_800_000_000_001, ValidUntil: 1_800_086_400_000, Session: "s-1", HoldUntil: 1_800_000_002_000,
	}, true},
	{"TakenOutOfService 1 of a free point", chargingpoint.TakenOutOfService{RecordedAt: 1_800_000_000_000, Order: 1_800_000_000_001, ValidUntil: 1_800_086_400_000}, true},
	{"ReturnedToService 1", chargingpoint.ReturnedToService{RecordedAt: 1_800_000_000_000, By: "ops@host", Order: 9_007_199_254_740_991, ValidUntil: 1_800_086_400_000}, true},
	{"PointOccupied 1", chargingpoint.PointOccupied{Session: "s-1", Driver: "D-7", Order: 1_800_000_000_001, ValidUntil: 1_800_000_030_000}, true},
	{"StopOrdered 1", chargingpoint.StopOrdered{Session: "s-1", Cause: "KO", Order: 1_800_000_000_001, ValidUntil: 1_800_086_400_000, HoldUntil: 1_800_000_002_000}, true},
	{"PointReleased 1", chargingpoint.PointReleased{Session: "s-1"}, true},

	{"SupplyAuthorized 1", session.SupplyAuthorized{
		Point: "CP-001", Driver: "D-7", Request: "r-1", Origin: "driver", Price: 300_000, Order: 1_800_000_000_001, ValidUntil: 1_800_000_030_000, Due: 1_800_000_060_000,
	}, true},
	{"SupplyAuthorized 1 of a request without an id", session.SupplyAuthorized{Point: "CP-001", Driver: "D-7", Origin: "cp", Order: 1, ValidUntil: 2, Due: 3}, true},
	{"SupplyRefused 1", session.SupplyRefused{Point: "CP-001", Driver: "D-7", Request: "r-1", Origin: "operator", Reason: "OCCUPIED"}, true},
	{"SupplyRefused 1 silent", session.SupplyRefused{Point: "CP-001", Driver: "D-7", Origin: "driver", Reason: "EXPIRED", Silent: true}, true},
	{"SupplyStarted 1", session.SupplyStarted{At: 1_800_000_000_000}, true},
	{"MeterValueRecorded 1", session.MeterValueRecorded{
		Seq: 7, Energy: 9_000_000_000, Measured: 8_999_999_999, Power: 7_400, AmountReported: 2_700_000_000, At: 1_800_000_000_000, Source: from, Due: 1_800_000_060_000,
	}, false},
	{"MeterValueRecorded 1 without a number, while the done is awaited", session.MeterValueRecorded{Energy: 1, At: 1_800_000_000_000, Source: from}, false},
	{"EndDecided 1", session.EndDecided{Cause: session.CauseFault, Due: 1_800_000_060_000, Ignored: session.Ignored{NotNewer: 2, RunsBackwards: 1}}, true},
	{"EndDecided 1 with nothing ignored", session.EndDecided{Cause: session.CauseExpired, Due: 1_800_000_060_000}, true},
	{"SupplyEnded 1", session.SupplyEnded{
		Reason: "FINISHED", EnergyReported: 5_000_000, AmountReported: 1_500_000, At: 1_800_000_000_000, Source: from, Ignored: session.Ignored{RunsBackwards: 3},
	}, true},
	{"TicketIssued 1", session.TicketIssued{
		Ticket: "t-1", StartedAt: 1_800_000_000_000, EndedAt: 1_800_000_100_000, Energy: 5_000_000, Price: 300_000, Amount: 1_500_000, Reason: "FINISHED", Ignored: session.Ignored{NotNewer: 1},
	}, true},
	{"TicketIssued 1 of zeros", session.TicketIssued{Ticket: "t-1", StartedAt: 1_800_000_000_000, EndedAt: 1_800_000_060_000, Price: 300_000, Reason: "EXPIRED"}, true},
	{"TicketRevised 1", session.TicketRevised{
		Revision: 2, EnergyBefore: 5_000_000, EnergyAfter: 7_000_000, AmountBefore: 1_500_000, AmountAfter: 2_100_000, AmountDifference: 600_000,
		Reason: "RECOVERED", EndedAt: 1_800_000_200_000, Source: from,
	}, true},
}

// old are what earlier versions wrote, and what it says today: a row comes here from vectors
// when its event gets another version, and stays for ever.
var old = []vector{
	{"PriceSet 1", chargingpoint.PriceSet{Price: 1_000_000_000, By: "ops@host"}, true},
	{"PriceSet 1 of nobody", chargingpoint.PriceSet{}, true},
	{"PriceHandedBack 1", chargingpoint.PriceHandedBack{By: "ops@host"}, true},
}

func (v vector) envelope() central.Envelope {
	e := central.Envelope{Commit: commitID, At: 1_800_000_000_456, Events: []any{v.event}}
	if v.caused {
		e.Cause = eventlog.Cause{Topic: "ev.supply.done", Partition: 11, Offset: 9_000_000_001, Digest: [8]byte{0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3}}
		e.CausedAt = 1_800_000_000_400
	}
	return e
}

// stored is the part of a vector's text, where a log would have it.
func stored(body []byte) eventlog.Part {
	return eventlog.Part{Stream: "session-s-1", Version: 7, Prev: sha256.Sum256([]byte("the part before")), Body: body}
}

// held is what testdata/parts.txt holds: of each vector its name, its part's hash and its
// text, each on a line, and an empty line.
func held(t testing.TB) map[string][2]string {
	file, err := os.Open("testdata/parts.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, lines := map[string][2]string{}, bufio.NewScanner(file)
	for lines.Scan() {
		name := lines.Text()
		var next [3]string
		for i := range next {
			lines.Scan()
			next[i] = lines.Text()
		}
		all[name] = [2]string(next[:2])
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheFormatHoldsForEver(t *testing.T) {
	held := held(t)
	for i, v := range slices.Concat(vectors, old) {
		t.Run(v.name, func(t *testing.T) {
			body, err := eventjson.Codec{}.Encode(v.envelope())
			if err != nil {
				t.Fatal(err)
			}
			want, ok := held[v.name]
			if !ok {
				t.Fatalf("testdata/parts.txt does not hold it; add\n%s\n%x\n%s\n", v.name, stored(body).Sum(), body)
			}
			if isOld := i >= len(vectors); (string(body) == want[1]) == isOld {
				t.Errorf("written as\n%s\nheld as\n%s", body, want[1])
			}
			if got := fmt.Sprintf("%x", stored([]byte(want[1])).Sum()); got != want[0] {
				t.Errorf("its hash is %s, held is %s", got, want[0])
			}
			got, err := eventjson.Codec{}.Decode([]byte(want[1]))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, v.envelope()) {
				t.Errorf("read as\n%+v\nwant\n%+v", got, v.envelope())
			}
		})
		delete(held, v.name)
	}
	for name := range held {
		t.Errorf("testdata/parts.txt holds %s: say in old what it reads as today", name)
	}
}

// eventsOf are the names of a domain package's events: the types that have its sealed
// interface's method.
func eventsOf(t *testing.T, folder, method string) (names []string) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if ok && f.Recv != nil && f.Name.Name == method {
				names = append(names, f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	return names
}

func TestEveryEventIsHeld(t *testing.T) {
	var held []string
	for _, v := range vectors {
		held = append(held, reflect.TypeOf(v.event).Name())
	}
	events := append(eventsOf(t, "../../domain/chargingpoint", "pointEvent"), eventsOf(t, "../../domain/session", "sessionEvent")...)
	if len(events) < 21 {
		t.Errorf("found only %v", events)
	}
	for _, name := range events {
		if !slices.Contains(held, name) {
			t.Errorf("no vector holds %s: is it in the table?", name)
		}
	}
}

// What nobody writes any more stays readable only as long as something holds it.
func TestEveryEarlierVersionIsInALog(t *testing.T) {
	logs, err := filepath.Glob("testdata/logs/*.jsonl")
	if err != nil || len(logs) < 2 {
		t.Fatalf("%v, %v", logs, err)
	}
	has := map[string]bool{}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`"type":"(\w+)","v":(\d+)`).FindAllSubmatch(text, -1) {
			has[fmt.Sprintf("%s %s", found[1], found[2])] = true
		}
	}
	_, earlier := eventjson.Names()
	for _, name := range earlier {
		if !has[name] {
			t.Errorf("no log in testdata/logs has %s", name)
		}
	}
}

func TestWhatCannotBeReadIsAnError(t *testing.T) {
	const data = `"data":{"session":"s-1"}`
	part := func(events string) string {
		return `{"commit":"0190a5d0-7c00-7abc-8def-0123456789ab","at":1,"events":[` + events + `]}`
	}
	good := part(`{"type":"PointReleased","v":1,` + data + `}`)
	if _, err := (eventjson.Codec{}).Decode([]byte(good)); err != nil {
		t.Fatalf("the text that the others spoil: %v", err)
	}
	for name, c := range map[string]struct {
		text    string
		unknown bool
	}{
		"an unknown event":                 {part(`{"type":"PointPainted","v":1,` + data + `}`), true},
		"a later version":                  {part(`{"type":"PointReleased","v":2,` + data + `}`), true},
		"no version":                       {part(`{"type":"PointReleased",` + data + `}`), true},
		"an unknown field of an event":     {part(`{"type":"PointReleased","v":1,"data":{"session":"s-1","colour":"red"}}`), false},
		"an unknown field of the part":     {strings.Replace(good, `"at":1`, `"at":1,"by":"me"`, 1), false},
		"an unknown field beside an event": {part(`{"type":"PointReleased","v":1,"by":"me",` + data + `}`), false},
		"another case":                     {part(`{"type":"PointReleased","v":1,"data":{"Session":"s-1"}}`), false},
		"a field of another type":          {part(`{"type":"PointReleased","v":1,"data":{"session":1}}`), false},
		"a figure that is a text":          {part(`{"type":"FaultReported","v":1,"data":{"reported_at":"1"}}`), false},
		"a figure with a fraction":         {part(`{"type":"FaultReported","v":1,"data":{"reported_at":1.5}}`), false},
		"a figure beyond 63 bits":          {part(`{"type":"FaultReported","v":1,"data":{"reported_at":9223372036854775808}}`), false},
		"a time beyond a duration":         {part(`{"type":"LeaseChanged","v":1,"data":{"lease":9223372036855}}`), false},
		"a field twice":                    {part(`{"type":"PointReleased","v":1,"data":{"session":"a","session":"b"}}`), false},
		"no data":                          {part(`{"type":"PointReleased","v":1}`), false},
		"null for data":                    {part(`{"type":"PointReleased","v":1,"data":null}`), false},
		"a list for data":                  {part(`{"type":"PointReleased","v":1,"data":[]}`), false},
		"no events":                        {part(``), false},
		"null for events":                  {`{"commit":"0190a5d0-7c00-7abc-8def-0123456789ab","at":1,"events":null}`, false},
		"a commit that is no id":           {strings.Replace(good, "0190a5d0-7c00-7abc-8def-0123456789ab", "7", 1), false},
		"a digest of seven bytes":          {strings.Replace(good, `"events"`, `"cause":{"topic":"t","partition":0,"offset":0,"timestamp":0,"digest":"00112233445566"},"events"`, 1), false},
		"a digest that is none":            {strings.Replace(good, `"events"`, `"cause":{"topic":"t","partition":0,"offset":0,"timestamp":0,"digest":"zz"},"events"`, 1), false},
		"bytes after it":                   {good + "{}", false},
		"half of it":                       {good[:len(good)/2], false},
		"nothing":                          {"", false},
		"invalid UTF-8":                    {strings.Replace(good, "s-1", "s-\xff", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := eventjson.Codec{}.Decode([]byte(c.text))
			if err == nil {
				t.Fatalf("read as %+v", e)
			}
			if got := errors.Is(err, eventjson.ErrUnknownEvent); got != c.unknown {
				t.Errorf("%v: ErrUnknownEvent: %v", err, got)
			}
		})
	}
}

func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	for name, events := range map[string][]any{
		"nothing":          nil,
		"no event":         {7},
		"an event's place": {&chargingpoint.PointReleased{}},
		"invalid UTF-8":    {chargingpoint.PriceHandedBack{By: "\xff"}},
	} {
		t.Run(name, func(t *testing.T) {
			if body, err := (eventjson.Codec{}).Encode(central.Envelope{Commit: commitID, Events: events}); err == nil {
				t.Errorf("written as %s", body)
			}
		})
	}
}

// fill gives a value any content that the domain can give it.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "flag"))
	case reflect.Int32:
		v.SetInt(int64(rapid.Int32().Draw(t, "number")))
	case reflect.Int, reflect.Int64:
		if v.Type() == reflect.TypeFor[time.Duration]() {
			v.SetInt(int64(time.Duration(rapid.Int32Min(0).Draw(t, "milliseconds")) * time.Millisecond))
			return
		}
		v.SetInt(rapid.Int64().Draw(t, "number"))
	default:
		t.Fatalf("an event has a %s", v.Type())
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := central.Envelope{Commit: commitID, At: domain.UnixMillis(rapid.Int64().Draw(t, "at"))}
		if rapid.Bool().Draw(t, "caused") {
			fill(t, reflect.ValueOf(&e.Cause.Offset).Elem())
			fill(t, reflect.ValueOf(&e.CausedAt).Elem())
			e.Cause.Topic, e.Cause.Digest = "ev.control", [8]byte(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "digest"))
		}
		for range rapid.IntRange(1, 4).Draw(t, "events") {
			event := reflect.New(reflect.TypeOf(rapid.SampledFrom(vectors).Draw(t, "kind").event)).Elem()
			fill(t, event)
			e.Events = append(e.Events, event.Interface())
		}
		body, err := eventjson.Codec{}.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := eventjson.Codec{}.Decode(body)
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("%+v came back as %+v by way of\n%s", e, got, body)
		}
		if again, err := (eventjson.Codec{}).Encode(got); err != nil || string(again) != string(body) {
			t.Fatalf("%s was written again as %s (%v)", body, again, err)
		}
	})
}

// FuzzDecode: what can be read is written as canonical text, which is read as the same.
func FuzzDecode(f *testing.F) {
	for _, v := range held(f) {
		f.Add([]byte(v[1]))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := eventjson.Codec{}.Decode(text)
		if err != nil {
			return
		}
		body, err := eventjson.Codec{}.Encode(e)
		if err != nil {
			t.Fatalf("%s is read and can't be written: %v", text, err)
		}
		again, err := eventjson.Codec{}.Decode(body)
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%s is read as %+v, then as %+v (%v)", text, e, again, err)
		}
	})
}
