package kafka

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"evcharging/application/message"
	"evcharging/domain"
)

func ptr[T any](v T) *T { return &v }

const (
	aSession = domain.SessionID("0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10")
	aRequest = domain.RequestID("5d2f1c1e-7c44-4d0a-8d0a-0f2f6f0d9b11")
	atNoon   = domain.UnixMillis(1_778_328_000_000) // 2026-05-09T12:00:00Z
)

var aMeterValue = message.MeterValue{
	Session: aSession, Point: "CP-001", Driver: "D-7",
	Power: 7_400, Amount: 616_667, Energy: ptr(domain.MilliwattHours(2_055_556)), Seq: 1000, At: atNoon,
}

func encodeOne(tb testing.TB, m message.Message) encoded {
	tb.Helper()
	out, err := encode(nil, m)
	if err != nil {
		tb.Fatal(err)
	}
	return out[0]
}

// The exact bytes of each record: whoever changes them changes the contract.
func TestRecordsAreWrittenByteForByte(t *testing.T) {
	price := ptr(domain.MicroEurosPerKWh(300_000))
	type rec struct {
		record     record
		key, value string
	}
	tests := map[string]struct {
		message message.Message
		want    []rec
	}{
		"registration": {
			message.Registration{Point: "CP-001", Location: ptr("Calle Mayor, 1"), Price: price, PriceText: "0.30", At: "2026-05-09T12:00:00Z", Proof: "93be"},
			[]rec{{register, "CP-001", `{"id":"CP-001","location":"Calle Mayor, 1","price_eur_kwh":0.30,"at":"2026-05-09T12:00:00Z","proof":"93be"}`}},
		},
		"registration without a price's text": {
			message.Registration{Point: "CP-001", Location: ptr(""), Price: price},
			[]rec{{register, "CP-001", `{"id":"CP-001","location":"","price_eur_kwh":0.3}`}},
		},
		"registration of an id alone": {
			message.Registration{Point: "CP-001"},
			[]rec{{register, "CP-001", `{"id":"CP-001"}`}},
		},
		"health": {
			message.Health{Point: "CP-001", Status: message.HealthOK, LeaseSeconds: 15},
			[]rec{{health, "CP-001", `{"id":"CP-001","status":"OK","lease_seconds":15}`}},
		},
		"start": {
			message.Order{Kind: message.OrderStart, Point: "CP-001", Session: aSession, Driver: "D-7", Price: price, Number: 1778328000001, ValidUntil: atNoon.Add(30 * time.Second)},
			[]rec{{start, "CP-001", `{"session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","cp_id":"CP-001","driver_id":"D-7","price":0.3,"order":1778328000001,"valid_until":"2026-05-09T12:00:30.000Z"}`}},
		},
		"start that an operator commanded": {
			message.Order{Kind: message.OrderStart, Point: "CP-001", Session: aSession, Driver: "D-7", Price: price, Number: 1778328000001, ValidUntil: atNoon.Add(30 * time.Second), Commanded: true},
			[]rec{
				{start, "CP-001", `{"session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","cp_id":"CP-001","driver_id":"D-7","price":0.3,"order":1778328000001,"valid_until":"2026-05-09T12:00:30.000Z"}`},
				{commands, "CP-001", `{"cp_id":"CP-001","cmd":"START_SUPPLY","session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","driver_id":"D-7","price":0.3,"order":1778328000001,"valid_until":"2026-05-09T12:00:30.000Z"}`},
			},
		},
		"stop": {
			message.Order{Kind: message.OrderStop, Point: "CP-001", Session: aSession, Reason: "EXPIRED", Number: 1778328000002, ValidUntil: atNoon.Add(24 * time.Hour)},
			[]rec{{commands, "CP-001", `{"cp_id":"CP-001","cmd":"STOP_SUPPLY","session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","reason":"EXPIRED","order":1778328000002,"valid_until":"2026-05-10T12:00:00.000Z"}`}},
		},
		"resume": {
			message.Order{Kind: message.OrderResume, Point: "CP-001"},
			[]rec{{commands, "CP-001", `{"cp_id":"CP-001","cmd":"RESUME"}`}},
		},
		"request": {
			message.Request{Driver: "D-7", Point: "CP-001", ID: aRequest, Origin: message.OriginDriver},
			[]rec{{request, "CP-001", `{"driver_id":"D-7","cp_id":"CP-001","request_id":"5d2f1c1e-7c44-4d0a-8d0a-0f2f6f0d9b11","origin":"driver"}`}},
		},
		"grant": {
			message.Answer{Driver: "D-7", Point: "CP-001", Authorized: true, Request: aRequest, Session: aSession, Price: price},
			[]rec{{auth, "D-7", `{"driver_id":"D-7","cp_id":"CP-001","authorized":true,"request_id":"5d2f1c1e-7c44-4d0a-8d0a-0f2f6f0d9b11","session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","price":0.3}`}},
		},
		"refusal": {
			message.Answer{Driver: "D-7", Point: "CP-001", Reason: "OCCUPIED", Request: aRequest},
			[]rec{{auth, "D-7", `{"driver_id":"D-7","cp_id":"CP-001","authorized":false,"reason":"OCCUPIED","request_id":"5d2f1c1e-7c44-4d0a-8d0a-0f2f6f0d9b11"}`}},
		},
		"sample": {
			aMeterValue,
			[]rec{{telemetry, "CP-001", `{"session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","cp_id":"CP-001","driver_id":"D-7","kw":7.4,"euros":0.616667,"kwh":2.055556,"seq":1000,"at":"2026-05-09T12:00:00.000Z"}`}},
		},
		"first sample, all zero": {
			message.MeterValue{Session: aSession, Point: "CP-001", Driver: "D-7", Energy: ptr(domain.MilliwattHours(0))},
			[]rec{{telemetry, "CP-001", `{"session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","cp_id":"CP-001","driver_id":"D-7","kw":0,"euros":0,"kwh":0}`}},
		},
		"done": {
			message.Done{Session: aSession, Point: "CP-001", Driver: "D-7", Energy: 9_000_000_000, Amount: 1, Reason: message.DoneRecovered, Seq: 1001, At: atNoon},
			[]rec{{done, "CP-001", `{"session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","cp_id":"CP-001","driver_id":"D-7","total_kwh":9000,"total_eur":0.000001,"reason":"RECOVERED","seq":1001,"at":"2026-05-09T12:00:00.000Z"}`}},
		},
		"ticket": {
			message.Ticket{ID: "T-1", Session: aSession, Driver: "D-7", Point: "CP-001", StartedAt: atNoon, EndedAt: atNoon.Add(time.Minute), Energy: 123_333, Price: 300_000, Amount: 37_000, Reason: "DISCONNECTED", Digest: "ab12"},
			[]rec{{ticket, "D-7", `{"ticket_id":"T-1","session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","driver_id":"D-7","cp_id":"CP-001","started_at":"2026-05-09T12:00:00.000Z","ended_at":"2026-05-09T12:01:00.000Z","total_kwh":0.123333,"price":0.3,"total_eur":0.037,"reason":"DISCONNECTED","revision":0,"digest":"ab12"}`}},
		},
		"revised ticket": {
			message.Ticket{
				ID: "T-1", Session: aSession, Driver: "D-7", Point: "CP-001", Energy: 123_333, Price: 300_000, Amount: 37_000, Reason: "DISCONNECTED", Revision: 2,
				Digest: "ab12", Revised: message.Revised{Difference: 37_000, Reason: "RECOVERED"},
			},
			[]rec{{ticket, "D-7", `{"ticket_id":"T-1","session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","driver_id":"D-7","cp_id":"CP-001","total_kwh":0.123333,"price":0.3,"total_eur":0.037,"reason":"DISCONNECTED","revision":2,"digest":"ab12","revision_reason":"RECOVERED","kwh_before":0,"eur_before":0,"eur_difference":0.037}`}},
		},
		"revised ticket that does not say what it changed": {
			message.Ticket{ID: "T-1", Session: aSession, Driver: "D-7", Point: "CP-001", Reason: "KO", Revision: 1},
			[]rec{{ticket, "D-7", `{"ticket_id":"T-1","session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","driver_id":"D-7","cp_id":"CP-001","total_kwh":0,"price":0,"total_eur":0,"reason":"KO","revision":1}`}},
		},
		"state": {
			message.PointState{Point: "CP-001", Location: "N/A", Price: 300_000, State: "OUT_OF_ORDER", UpdatedAt: atNoon, Version: 7, Control: "c-1", Refusal: ""},
			[]rec{{state, "CP-001", `{"id":"CP-001","location":"N/A","price":0.3,"state":"OUT_OF_ORDER","updated_at":"2026-05-09T12:00:00.000Z","version":7,"control_id":"c-1"}`}},
		},
		"state of a point that can't be read": {
			message.PointState{Point: "CP-001", Location: "N/A", State: "UNREADABLE", UpdatedAt: atNoon},
			[]rec{{state, "CP-001", `{"id":"CP-001","location":"N/A","price":0,"state":"UNREADABLE","updated_at":"2026-05-09T12:00:00.000Z","version":0}`}},
		},
		"answer to an operator who named a point that nobody knows": {
			message.PointState{Point: "CP-404", Control: "c-2", Refusal: "no point CP-404 has registered"},
			[]rec{{state, "CP-404", `{"id":"CP-404","location":"","price":0,"version":0,"control_id":"c-2","refusal":"no point CP-404 has registered"}`}},
		},
		"operator's start": {
			message.Control{ID: "c-1", Point: "CP-001", Action: message.ActionStart, Driver: "D-7", By: "panel"},
			[]rec{{control, "CP-001", `{"id":"c-1","cp_id":"CP-001","action":"start","driver_id":"D-7","by":"panel"}`}},
		},
		"operator's price": {
			message.Control{ID: "c-1", Point: "CP-001", Action: message.ActionPrice, Price: price, From: atNoon},
			[]rec{{control, "CP-001", `{"id":"c-1","cp_id":"CP-001","action":"price","price":0.3,"from":"2026-05-09T12:00:00.000Z"}`}},
		},
		"checkpoint": {
			message.Checkpoint{Key: "k+1", Text: []byte("checkpoint 1: 0 heads after 0\n\n")},
			[]rec{{checkpoint, "k+1", "checkpoint 1: 0 heads after 0\n\n"}},
		},
		"deadline": {
			message.Control{ID: "c-1", Point: "CP-001", Action: message.ActionDeadline, Session: aSession, Kind: "take-up", DueAt: atNoon},
			[]rec{{control, "CP-001", `{"id":"c-1","cp_id":"CP-001","action":"deadline","session_id":"0b9de2a7-3f0e-5c86-9a54-2f4f7b1f6a10","kind":"take-up","due_at":"2026-05-09T12:00:00.000Z"}`}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := encode(nil, test.message)
			if err != nil {
				t.Fatal(err)
			}
			var got []rec
			for _, e := range out {
				got = append(got, rec{e.record, string(e.key), string(e.value)})
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got  %v\nwant %v", got, test.want)
			}
		})
	}
}

// What a record says survives being written and read, for every message that can be sent.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage().Draw(t, "message")
		out, err := encode(nil, m)
		if err != nil {
			t.Fatalf("%#v: %v", m, err)
		}
		for _, e := range out {
			got, err := decode(e.record, e.value)
			if err != nil {
				t.Fatalf("%s: %v", e.value, err)
			}
			if want := asReceived(m, e.record); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s\ngot  %#v\nwant %#v", e.value, got, want)
			}
		}
	})
}

// asReceived is what is left of a message after the wire.
func asReceived(m message.Message, r record) message.Message {
	switch m := m.(type) {
	case message.Registration:
		if m.Price != nil && m.PriceText == "" {
			m.PriceText = m.Price.String()
		}
		return m
	case message.Order:
		m.Commanded = r == commands
		if r == start {
			m.Reason = ""
		}
		return m
	default:
		return m
	}
}

// The reference's programs know only the contract's fields that are not ours, and ours
// must understand them: whatever is optional can be cut from what we send, and what is
// left says the same.
func TestTheReferencesFieldsAreEnough(t *testing.T) {
	reference := map[record][]string{
		register:  {"id", "location", "price_eur_kwh"},
		health:    {"id", "status"},
		commands:  {"cp_id", "cmd"},
		request:   {"driver_id", "cp_id"},
		auth:      {"driver_id", "cp_id", "authorized", "reason"},
		start:     {"session_id", "cp_id", "driver_id", "price"},
		telemetry: {"session_id", "cp_id", "driver_id", "kw", "euros"},
		done:      {"session_id", "cp_id", "driver_id", "total_kwh", "total_eur", "reason"},
	}
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage().Draw(t, "message")
		out, err := encode(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range out {
			names, ok := reference[e.record]
			if !ok {
				continue // a topic of ours alone
			}
			var all map[string]json.RawMessage
			if err := json.Unmarshal(e.value, &all); err != nil {
				t.Fatalf("another JSON decoder can't read %s: %v", e.value, err)
			}
			cut := map[string]json.RawMessage{"firmware": json.RawMessage(`{"a":[1]}`)} // unknown fields are ignored
			for _, name := range names {
				if value, ok := all[name]; ok {
					cut[name] = value
				} else if r, isAnswer := m.(message.Answer); e.record != register && (!isAnswer || !r.Authorized || name != "reason") {
					t.Fatalf("%s lacks %q", e.value, name)
				}
			}
			value, err := json.Marshal(cut)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decode(e.record, value)
			if err != nil {
				t.Fatalf("%s: %v", value, err)
			}
			if want := referenceSays(m, e.record); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s\ngot  %#v\nwant %#v", value, got, want)
			}
		}
	})
}

// referenceSays is a message with only what the reference's fields can say.
func referenceSays(m message.Message, r record) message.Message {
	switch m := asReceived(m, r).(type) {
	case message.Registration:
		return message.Registration{Point: m.Point, Location: m.Location, Price: m.Price, PriceText: m.PriceText}
	case message.Health:
		return message.Health{Point: m.Point, Status: m.Status}
	case message.Order:
		if r == commands {
			return message.Order{Kind: m.Kind, Point: m.Point, Commanded: true}
		}
		return message.Order{Kind: m.Kind, Point: m.Point, Session: m.Session, Driver: m.Driver, Price: m.Price}
	case message.Request:
		return message.Request{Driver: m.Driver, Point: m.Point}
	case message.Answer:
		return message.Answer{Driver: m.Driver, Point: m.Point, Authorized: m.Authorized, Reason: m.Reason}
	case message.MeterValue:
		return message.MeterValue{Session: m.Session, Point: m.Point, Driver: m.Driver, Power: m.Power, Amount: m.Amount}
	case message.Done:
		return message.Done{Session: m.Session, Point: m.Point, Driver: m.Driver, Energy: m.Energy, Amount: m.Amount, Reason: m.Reason}
	default:
		return m
	}
}

// Records as other programs write them.
func TestRecordsFromElsewhere(t *testing.T) {
	tests := map[string]struct {
		record record
		value  string
		want   message.Message
	}{
		"binary floats are rounded half up": {
			telemetry, `{"session_id":"s","cp_id":"c","driver_id":"d","kw":7.3999999999999995,"euros":0.30000000000000004}`,
			message.MeterValue{Session: "s", Point: "c", Driver: "d", Power: 7_400, Amount: 300_000},
		},
		"an exponent": {
			telemetry, `{"session_id":"s","cp_id":"c","driver_id":"d","kw":1E1,"euros":5e-07}`,
			message.MeterValue{Session: "s", Point: "c", Driver: "d", Power: 10_000, Amount: 1},
		},
		"a price with a trailing zero is kept as it was sent": {
			register, `{"id":"c","price_eur_kwh":0.30}`,
			message.Registration{Point: "c", Price: ptr(domain.MicroEurosPerKWh(300_000)), PriceText: "0.30"},
		},
		"white space, escapes and any order": {
			register, " {\"location\":\"Caf\\u00e9 \\ud83d\\ude00\" ,\n\"\\u0069d\":\"c\"}\n",
			message.Registration{Point: "c", Location: ptr("Café 😀")},
		},
		"null where a field is optional is none": {
			auth, `{"driver_id":"d","cp_id":"c","authorized":true,"reason":null,"request_id":null,"session_id":null,"price":null}`,
			message.Answer{Driver: "d", Point: "c", Authorized: true},
		},
		"a registration with null": {
			register, `{"id":"c","at":null,"proof":null}`,
			message.Registration{Point: "c"},
		},
		"a whole number with a fraction of zeros": {
			health, `{"id":"c","status":"KO","lease_seconds":15.0}`,
			message.Health{Point: "c", Status: message.HealthKO, LeaseSeconds: 15},
		},
		"the greatest counter": {
			done, `{"session_id":"s","cp_id":"c","driver_id":"d","total_kwh":0,"total_eur":-0,"reason":"KO","seq":9007199254740991}`,
			message.Done{Session: "s", Point: "c", Driver: "d", Reason: message.DoneFault, Seq: domain.MaxCounter},
		},
		"a time with an offset and microseconds": {
			telemetry, `{"session_id":"s","cp_id":"c","driver_id":"d","kw":0,"euros":0,"at":"2026-05-09T14:00:00.123456+02:00"}`,
			message.MeterValue{Session: "s", Point: "c", Driver: "d", At: atNoon + 123},
		},
		"a start by command of the reference": {
			commands, `{"cp_id":"c","cmd":"START_SUPPLY"}`,
			message.Order{Kind: message.OrderStart, Point: "c", Commanded: true},
		},
		"a price handed back": {
			control, `{"id":"c-1","cp_id":"c","action":"price"}`,
			message.Control{ID: "c-1", Point: "c", Action: message.ActionPrice},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := decode(test.record, []byte(test.value))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %#v\nwant %#v", got, test.want)
			}
		})
	}
}

func TestUnreadableRecords(t *testing.T) {
	const sample = `"session_id":"s","cp_id":"c","driver_id":"d"`
	long := strings.Repeat("x", 257)
	tests := map[string]struct {
		record record
		value  string
		want   string
	}{
		"nothing":                          {health, ``, `it is empty`},
		"white space":                      {health, ` `, `it is empty`},
		"no JSON":                          {health, `hello`, `it is not JSON`},
		"half an object":                   {health, `{"id":"c"`, `it is not JSON`},
		"an array":                         {health, `[{"id":"c","status":"OK"}]`, `it is an array where an object is expected`},
		"a null":                           {health, `null`, `it is null where an object is expected`},
		"bytes after the object":           {health, `{"id":"c","status":"OK"}x`, `there is more after the JSON object`},
		"a second object":                  {health, `{"id":"c","status":"OK"}{}`, `there is more after the JSON object`},
		"invalid UTF-8":                    {health, "{\"id\":\"c\",\"status\":\"OK\",\"note\":\"\xff\"}", `invalid UTF-8`},
		"half a surrogate":                 {register, `{"id":"c","location":"\ud83d"}`, `surrogate`},
		"a byte order mark":                {health, "\ufeff{\"id\":\"c\",\"status\":\"OK\"}", `it is not JSON`},
		"a name twice":                     {health, `{"id":"c","status":"OK","id":"e"}`, `duplicate`},
		"a name twice, once escaped":       {health, `{"id":"c","status":"OK","\u0069d":"e"}`, `duplicate`},
		"NaN":                              {telemetry, `{` + sample + `,"kw":NaN,"euros":0}`, `it is not JSON`},
		"Infinity":                         {telemetry, `{` + sample + `,"kw":Infinity,"euros":0}`, `it is not JSON`},
		"too great for any float":          {telemetry, `{` + sample + `,"kw":1e999,"euros":0}`, `the field "kw" can't be taken: out of range`},
		"an exponent of a billion":         {telemetry, `{` + sample + `,"kw":1e1000000000,"euros":0}`, `the field "kw" can't be taken`},
		"a figure as text":                 {telemetry, `{` + sample + `,"kw":"7.4","euros":0}`, `the field "kw" is a text where a number is expected`},
		"a figure null":                    {telemetry, `{` + sample + `,"kw":null,"euros":0}`, `the field "kw" is null`},
		"a figure missing":                 {telemetry, `{` + sample + `,"kw":1}`, `the field "euros" is missing`},
		"negative energy":                  {telemetry, `{` + sample + `,"kw":1,"euros":0,"kwh":-1}`, `the field "kwh" can't be taken: out of range: -1 is negative`},
		"negative power":                   {telemetry, `{` + sample + `,"kw":-0.001,"euros":0}`, `the field "kw" can't be taken`},
		"power beyond the limit":           {telemetry, `{` + sample + `,"kw":10000.001,"euros":0}`, `the field "kw" can't be taken: out of range: 10000.001 is more than 10000`},
		"energy beyond the limit":          {done, `{` + sample + `,"total_kwh":9000.1,"total_eur":0,"reason":"KO"}`, `the field "total_kwh" can't be taken`},
		"money beyond the limit":           {done, `{` + sample + `,"total_kwh":1,"total_eur":9000000.01,"reason":"KO"}`, `the field "total_eur" can't be taken`},
		"price beyond the limit":           {register, `{"id":"c","price_eur_kwh":1000.1}`, `the field "price_eur_kwh" can't be taken`},
		"a price that is null":             {register, `{"id":"c","price_eur_kwh":null}`, `the field "price_eur_kwh" is null`},
		"a location that is null":          {register, `{"id":"c","location":null}`, `the field "location" is null`},
		"a price as text":                  {register, `{"id":"c","price_eur_kwh":"0.30"}`, `the field "price_eur_kwh" is a text where a number is expected`},
		"a location that is a number":      {register, `{"id":"c","location":5}`, `the field "location" is a number where a text is expected`},
		"a location too long":              {register, `{"id":"c","location":"` + long + `"}`, `the field "location" is longer than 256 bytes`},
		"a location with a line feed":      {register, `{"id":"c","location":"a\nb"}`, `the field "location" has control characters`},
		"a location with a C1 control":     {register, `{"id":"c","location":"a\u0085b"}`, `the field "location" has control characters`},
		"a registration without id":        {register, `{"location":"x"}`, `the field "id" is missing`},
		"a registration's time":            {register, `{"id":"c","at":"yesterday"}`, `the field "at" is not a time`},
		"an id that is empty":              {request, `{"driver_id":"","cp_id":"c"}`, `the field "driver_id" is not an id`},
		"an id too long":                   {request, `{"driver_id":"` + long[:65] + `","cp_id":"c"}`, `the field "driver_id" is not an id`},
		"an id with a space":               {request, `{"driver_id":"d 7","cp_id":"c"}`, `the field "driver_id" is not an id`},
		"an id that is a number":           {request, `{"driver_id":7,"cp_id":"c"}`, `the field "driver_id" is a number where a text is expected`},
		"an id null":                       {request, `{"driver_id":null,"cp_id":"c"}`, `the field "driver_id" is null`},
		"a name in other letters":          {request, `{"Driver_ID":"d","cp_id":"c"}`, `the field "driver_id" is missing`},
		"an optional id of the wrong form": {request, `{"driver_id":"d","cp_id":"c","request_id":"ñ"}`, `the field "request_id" is not an id`},
		"an unknown origin":                {request, `{"driver_id":"d","cp_id":"c","origin":"moon"}`, `the field "origin" is "moon", none of driver, cp, operator`},
		"an unknown status":                {health, `{"id":"c","status":"FINE"}`, `the field "status" is "FINE", none of OK, KO, RECOVERED`},
		"a status in small letters":        {health, `{"id":"c","status":"ok"}`, `the field "status" is "ok"`},
		"a lease too short":                {health, `{"id":"c","status":"OK","lease_seconds":2}`, `the field "lease_seconds" is out of range: 2 is not between 3 and 3600`},
		"a lease too long":                 {health, `{"id":"c","status":"OK","lease_seconds":3601}`, `the field "lease_seconds" is out of range`},
		"a lease of zero":                  {health, `{"id":"c","status":"OK","lease_seconds":0}`, `the field "lease_seconds" is out of range`},
		"a lease with a fraction":          {health, `{"id":"c","status":"OK","lease_seconds":15.5}`, `the field "lease_seconds" is not a whole number`},
		"a lease as text":                  {health, `{"id":"c","status":"OK","lease_seconds":"15"}`, `the field "lease_seconds" is a text where a number is expected`},
		"a counter too great":              {commands, `{"cp_id":"c","cmd":"RESUME","order":9007199254740992}`, `the field "order" is out of range`},
		"a counter of 20 digits":           {commands, `{"cp_id":"c","cmd":"RESUME","order":99999999999999999999}`, `the field "order" is out of range`},
		"a negative counter":               {done, `{` + sample + `,"total_kwh":1,"total_eur":0,"reason":"KO","seq":-1}`, `the field "seq" is out of range`},
		"a counter with an exponent":       {done, `{` + sample + `,"total_kwh":1,"total_eur":0,"reason":"KO","seq":1e3}`, `the field "seq" is not a whole number`},
		"an unknown command":               {commands, `{"cp_id":"c","cmd":"EXPLODE"}`, `the field "cmd" is "EXPLODE"`},
		"no command":                       {commands, `{"cp_id":"c"}`, `the field "cmd" is missing`},
		"a validity without zone":          {commands, `{"cp_id":"c","cmd":"RESUME","valid_until":"2026-05-09T12:00:00"}`, `the field "valid_until" is not a time`},
		"a validity that is a number":      {commands, `{"cp_id":"c","cmd":"RESUME","valid_until":1778328000}`, `the field "valid_until" is a number where a text is expected`},
		"a start without price":            {start, `{` + sample + `}`, `the field "price" is missing`},
		"a start without session":          {start, `{"cp_id":"c","driver_id":"d","price":0.3}`, `the field "session_id" is missing`},
		"authorized as text":               {auth, `{"driver_id":"d","cp_id":"c","authorized":"true"}`, `the field "authorized" is a text where true or false is expected`},
		"authorized null":                  {auth, `{"driver_id":"d","cp_id":"c","authorized":null}`, `the field "authorized" is null`},
		"a refusal without reason":         {auth, `{"driver_id":"d","cp_id":"c","authorized":false}`, `the field "reason" is missing`},
		"a refusal with a null reason":     {auth, `{"driver_id":"d","cp_id":"c","authorized":false,"reason":null}`, `the field "reason" is null`},
		"a done's unknown reason":          {done, `{` + sample + `,"total_kwh":1,"total_eur":0,"reason":"EXPIRED"}`, `the field "reason" is "EXPIRED"`},
		"a ticket's unknown reason":        {ticket, `{"ticket_id":"t",` + sample + `,"total_kwh":1,"price":0.3,"total_eur":0.3,"reason":"OK","revision":0}`, `the field "reason" is "OK"`},
		"a revision without a difference":  {ticket, `{"ticket_id":"t",` + sample + `,"total_kwh":1,"price":0.3,"total_eur":0.3,"reason":"KO","revision":1,"revision_reason":"KO","kwh_before":0,"eur_before":0}`, `the field "eur_difference" is missing`},
		"a revision that owes less":        {ticket, `{"ticket_id":"t",` + sample + `,"total_kwh":1,"price":0.3,"total_eur":0.3,"reason":"KO","revision":1,"revision_reason":"KO","kwh_before":0,"eur_before":1,"eur_difference":-0.7}`, `the field "eur_difference" can't be taken: out of range: -0.7 is negative`},
		"a ticket without revision":        {ticket, `{"ticket_id":"t",` + sample + `,"total_kwh":1,"price":0.3,"total_eur":0.3,"reason":"KO"}`, `the field "revision" is missing`},
		"an unknown state":                 {state, `{"id":"c","location":"","price":0,"state":"FLYING","version":1}`, `the field "state" is "FLYING"`},
		"a state without state":            {state, `{"id":"c","location":"","price":0,"version":1}`, `the field "state" is missing`},
		"an operator's start for nobody":   {control, `{"id":"i","cp_id":"c","action":"start"}`, `the field "driver_id" is missing`},
		"a deadline of no kind":            {control, `{"id":"i","cp_id":"c","action":"deadline","due_at":"2026-05-09T12:00:00Z"}`, `the field "kind" is missing`},
		"an unknown action":                {control, `{"id":"i","cp_id":"c","action":"dance"}`, `the field "action" is "dance"`},
		"no record of the contract":        {records, `{}`, `nothing is known of its topic`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := decode(test.record, []byte(test.value))
			if !errors.Is(err, ErrUnreadable) {
				t.Fatalf("%s is read as %#v, error %v", test.value, m, err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is\n%q, which lacks\n%q", err, test.want)
			}
		})
	}
	t.Run("a null value", func(t *testing.T) {
		if _, err := decode(health, nil); !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "it has no value") {
			t.Errorf("the error is %v", err)
		}
	})
}

// What nobody could read is not sent.
func TestUnsendableMessages(t *testing.T) {
	tests := map[string]struct {
		message message.Message
		want    string
	}{
		"no id":                      {message.Health{Status: message.HealthOK}, `the field "id" is missing`},
		"an id with a space":         {message.Health{Point: "CP 1", Status: message.HealthOK}, `the field "id" is not an id`},
		"an unknown status":          {message.Health{Point: "c", Status: "FINE"}, `the field "status" is "FINE"`},
		"a lease beyond its limit":   {message.Health{Point: "c", Status: message.HealthOK, LeaseSeconds: 4000}, `the field "lease_seconds" is out of range`},
		"negative money":             {message.MeterValue{Session: "s", Point: "c", Driver: "d", Amount: -1}, `the field "euros" is out of range`},
		"energy beyond its limit":    {message.MeterValue{Session: "s", Point: "c", Driver: "d", Energy: ptr(domain.MaxEnergy + 1)}, `the field "kwh" is out of range`},
		"a start without price":      {message.Order{Kind: message.OrderStart, Session: "s", Point: "c", Driver: "d"}, `the field "price" is missing`},
		"a text too long":            {message.PointState{Point: "c", Refusal: strings.Repeat("é", 129)}, `the field "refusal" is longer than 256 bytes`},
		"a text with a line feed":    {message.Registration{Point: "c", Location: ptr("a\nb")}, `the field "location" has control characters`},
		"a text that is no UTF-8":    {message.Registration{Point: "c", Location: ptr("\xff")}, `the field "location" is not valid UTF-8`},
		"a price's text of another":  {message.Registration{Point: "c", Price: ptr(domain.MicroEurosPerKWh(1)), PriceText: "2"}, `the field "price_eur_kwh" is sent as 2 but is 0.000001`},
		"a price's text, not JSON":   {message.Registration{Point: "c", Price: ptr(domain.MicroEurosPerKWh(500_000)), PriceText: ".5"}, `the field "price_eur_kwh" is not a JSON number`},
		"a registration's own clock": {message.Registration{Point: "c", At: "noon"}, `the field "at" is not a time`},
		"a counter beyond its limit": {message.Done{Session: "s", Point: "c", Driver: "d", Reason: message.DoneFault, Seq: domain.MaxCounter + 1}, `the field "seq" is out of range`},
		"no message":                 {nil, `no topic carries a <nil>`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := encode(nil, test.message)
			if !errors.Is(err, ErrUnsendable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is\n%v, which lacks\n%q", err, test.want)
			}
		})
	}
}

// A decoder that is given anything answers or refuses; what it accepts can be sent on and
// then says the same.
func FuzzDecode(f *testing.F) {
	for _, m := range []message.Message{
		message.Registration{Point: "CP-001", Location: ptr("N/A"), Price: ptr(domain.MicroEurosPerKWh(300_000)), PriceText: "0.30"},
		message.Health{Point: "CP-001", Status: message.HealthOK, LeaseSeconds: 15},
		message.Order{Kind: message.OrderStop, Point: "CP-001", Number: 5, ValidUntil: atNoon},
		message.Order{Kind: message.OrderStart, Point: "CP-001", Session: aSession, Driver: "D-7", Price: ptr(domain.MicroEurosPerKWh(0))},
		message.Request{Driver: "D-7", Point: "CP-001"},
		message.Answer{Driver: "D-7", Point: "CP-001", Reason: "OCCUPIED"},
		aMeterValue,
		message.Done{Session: aSession, Point: "CP-001", Driver: "D-7", Reason: message.DoneFault},
		message.Ticket{ID: "t", Session: aSession, Driver: "D-7", Point: "CP-001", Reason: "EXPIRED"},
		message.PointState{Point: "CP-001", State: "BROKEN"},
		message.Control{ID: "c", Point: "CP-001", Action: message.ActionStop},
	} {
		e := encodeOne(f, m)
		f.Add(int(e.record), e.value)
	}
	f.Add(int(telemetry), []byte(`{"session_id":"s","cp_id":"c","driver_id":"d","kw":1e-9999999999999999999,"euros":9e-5}`))
	f.Fuzz(func(t *testing.T, r int, value []byte) {
		m, err := decode(record(r), value)
		if err != nil {
			if !errors.Is(err, ErrUnreadable) {
				t.Fatalf("%q is refused with %v", value, err)
			}
			return
		}
		out, err := encode(nil, m)
		if err != nil {
			if o, ok := m.(message.Order); ok && o.Kind == message.OrderStart && record(r) == commands {
				return // a START_SUPPLY may lack what a start on its own topic needs
			}
			t.Fatalf("%q is read as %#v, which can't be sent: %v", value, m, err)
		}
		for _, e := range out {
			if e.record != record(r) {
				continue
			}
			again, err := decode(e.record, e.value)
			if err != nil {
				t.Fatalf("%q is sent on as %q: %v", value, e.value, err)
			}
			if !reflect.DeepEqual(again, m) {
				t.Fatalf("%q is read as\n%#v and sent on as\n%#v", value, m, again)
			}
		}
	})
}

func anyMessage() *rapid.Generator[message.Message] {
	return rapid.OneOf(
		rapid.Custom(func(t *rapid.T) message.Message {
			m := message.Registration{Point: anyID[domain.PointID](t, "id"), Proof: anyText(t, "proof")}
			if rapid.Bool().Draw(t, "located") {
				m.Location = ptr(anyText(t, "location"))
			}
			if rapid.Bool().Draw(t, "priced") {
				m.Price = ptr(anyFigure(t, "price", domain.MaxPrice))
				if rapid.Bool().Draw(t, "as sent") {
					m.PriceText = rapid.SampledFrom([]string{m.Price.String(), m.Price.String() + "e0"}).Draw(t, "text")
				}
			}
			if rapid.Bool().Draw(t, "timed") {
				m.At = anyTime(t, "at").String()
			}
			return m
		}),
		rapid.Custom(func(t *rapid.T) message.Message {
			return message.Health{
				Point:        anyID[domain.PointID](t, "id"),
				Status:       rapid.SampledFrom([]message.HealthStatus{message.HealthOK, message.HealthKO, message.HealthRecovered}).Draw(t, "status"),
				LeaseSeconds: rapid.OneOf(rapid.Just(0), rapid.IntRange(3, 3600)).Draw(t, "lease"),
			}
		}),
		rapid.Custom(func(t *rapid.T) message.Message {
			m := message.Order{
				Kind:       rapid.SampledFrom([]message.OrderKind{message.OrderStart, message.OrderStop, message.OrderOutOfOrder, message.OrderResume}).Draw(t, "kind"),
				Point:      anyID[domain.PointID](t, "cp"),
				Reason:     anyText(t, "reason"),
				Number:     domain.Order(anyCounter(t, "order")),
				ValidUntil: perhaps(t, "valid until", anyTime(t, "valid until")),
			}
			if m.Kind == message.OrderStart {
				m.Commanded = rapid.Bool().Draw(t, "commanded")
				m.Session, m.Driver = anyID[domain.SessionID](t, "session"), anyID[domain.DriverID](t, "driver")
				m.Price = ptr(anyFigure(t, "price", domain.MaxPrice))
			}
			return m
		}),
		rapid.Custom(func(t *rapid.T) message.Message {
			return message.Request{
				Driver: anyID[domain.DriverID](t, "driver"), Point: anyID[domain.PointID](t, "cp"),
				ID:     perhaps(t, "request", anyID[domain.RequestID](t, "request")),
				Origin: rapid.SampledFrom([]message.Origin{"", message.OriginDriver, message.OriginPoint, message.OriginOperator}).Draw(t, "origin"),
			}
		}),
		rapid.Custom(func(t *rapid.T) message.Message {
			m := message.Answer{
				Driver: anyID[domain.DriverID](t, "driver"), Point: anyID[domain.PointID](t, "cp"),
				Request: perhaps(t, "request", anyID[domain.RequestID](t, "request")),
			}
			if m.Authorized = rapid.Bool().Draw(t, "authorized"); m.Authorized {
				m.Session = anyID[domain.SessionID](t, "session")
				m.Price = ptr(anyFigure(t, "price", domain.MaxPrice))
			} else {
				m.Reason = anyText(t, "reason")
			}
			return m
		}),
		rapid.Custom(func(t *rapid.T) message.Message {
			m := message.MeterValue{
				Session: anyID[domain.SessionID](t, "session"), Point: anyID[domain.PointID](t, "cp"), Driver: anyID[domain.DriverID](t, "driver"),
				Power: anyFigure(t, "power", domain.MaxPower), Amount: anyFigure(t, "amount", domain.MaxMoney),
				Seq: anyCounter(t, "seq"), At: perhaps(t, "at", anyTime(t, "at")),
			}
			if rapid.Bool().Draw(t, "energy") {
				m.Energy = ptr(anyFigure(t, "energy", domain.MaxEnergy))
			}
			return m
		}),
		rapid.Custom(func(t *rapid.T) message.Message {
			return message.Done{
				Session: anyID[domain.SessionID](t, "session"), Point: anyID[domain.PointID](t, "cp"), Driver: anyID[domain.DriverID](t, "driver"),
				Energy: anyFigure(t, "energy", domain.MaxEnergy), Amount: anyFigure(t, "amount", domain.MaxMoney),
				Reason: rapid.SampledFrom(doneReasons).Draw(t, "reason"), Seq: anyCounter(t, "seq"), At: perhaps(t, "at", anyTime(t, "at")),
			}
		}),
		rapid.Custom(func(t *rapid.T) message.Message {
			var revised message.Revised
			if rapid.Bool().Draw(t, "revised") {
				revised = message.Revised{
					EnergyBefore: anyFigure(t, "energy before", domain.MaxEnergy), AmountBefore: anyFigure(t, "amount before", domain.MaxMoney),
					Difference: anyFigure(t, "difference", domain.MaxMoney), Reason: rapid.SampledFrom(ticketReasons).Draw(t, "late"),
				}
			}
			return message.Ticket{
				Revised: revised, ID: anyID[domain.TicketID](t, "ticket"), Session: anyID[domain.SessionID](t, "session"),
				Driver: anyID[domain.DriverID](t, "driver"), Point: anyID[domain.PointID](t, "cp"),
				StartedAt: perhaps(t, "started", anyTime(t, "started")), EndedAt: perhaps(t, "ended", anyTime(t, "ended")),
				Energy: anyFigure(t, "energy", domain.MaxEnergy), Price: anyFigure(t, "price", domain.MaxPrice), Amount: anyFigure(t, "amount", domain.MaxMoney),
				Reason: rapid.SampledFrom(ticketReasons).Draw(t, "reason"), Revision: rapid.IntRange(0, 9).Draw(t, "revision"), Digest: anyText(t, "digest"),
			}
		}),
		rapid.Custom(func(t *rapid.T) message.Message {
			return message.PointState{
				Point: anyID[domain.PointID](t, "id"), Location: anyText(t, "location"), Price: anyFigure(t, "price", domain.MaxPrice),
				State: rapid.SampledFrom(states).Draw(t, "state"), UpdatedAt: perhaps(t, "updated", anyTime(t, "updated")),
				Version: anyCounter(t, "version"), Control: perhaps(t, "control", anyID[string](t, "control")), Refusal: anyText(t, "refusal"),
			}
		}),
		rapid.Custom(func(t *rapid.T) message.Message {
			m := message.Control{
				ID: anyID[string](t, "id"), Point: anyID[domain.PointID](t, "cp"), By: anyText(t, "by"),
				Action: rapid.SampledFrom(message.Actions).Draw(t, "action"),
			}
			switch m.Action {
			case message.ActionStart:
				m.Driver = anyID[domain.DriverID](t, "driver")
			case message.ActionPrice:
				if rapid.Bool().Draw(t, "priced") {
					m.Price = ptr(anyFigure(t, "price", domain.MaxPrice))
				}
				m.From = perhaps(t, "from", anyTime(t, "from"))
			case message.ActionDeadline:
				m.Session, m.Kind, m.DueAt = perhaps(t, "session", anyID[domain.SessionID](t, "session")), anyID[string](t, "kind"), anyTime(t, "due")
			}
			return m
		}),
	)
}

func anyID[T ~string](t *rapid.T, label string) T {
	return T(rapid.StringMatching(`[A-Za-z0-9._:-]{1,64}`).Draw(t, label))
}

func anyText(t *rapid.T, label string) string {
	return rapid.StringOfN(rapid.RuneFrom([]rune(` "\/<>&{}[]ñé€😀 az09`+"\u2028")), 0, 60, maxText).Draw(t, label)
}

func anyFigure[T ~int64](t *rapid.T, label string, limit T) T {
	return T(rapid.Int64Range(0, int64(limit)).Draw(t, label))
}

func anyCounter(t *rapid.T, label string) int64 {
	return rapid.Int64Range(0, domain.MaxCounter).Draw(t, label)
}

func anyTime(t *rapid.T, label string) domain.UnixMillis {
	return domain.UnixMillis(rapid.Int64Range(1, 4_102_444_800_000).Draw(t, label)) // to 2100
}

func perhaps[T any](t *rapid.T, label string, v T) T {
	if rapid.Bool().Draw(t, label+" given") {
		return v
	}
	var none T
	return none
}
