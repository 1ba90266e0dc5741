package kafka

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"evcharging/domain"
)

// fields is one record on its way through a description such as meterValue: the
// same description reads a record's members into a message and writes a message's
// members into a record, so that both can't disagree. The first thing that is wrong
// stays in err; what follows it has no effect.
type fields struct {
	writing bool
	// in are a record's members as they were read, in their order.
	in []member
	// out is the object so far while writing.
	out []byte
	err error
}

type member struct {
	name  string
	value jsontext.Value
}

// presence says whether a member must be there. An optional member that is absent or
// null leaves the message's zero value, and a zero value is not written.
type presence bool

const (
	required presence = true
	optional presence = false
)

// maxText is the contract's limit of a text that is no id, in bytes.
const maxText = 256

// The reasons why a member can't be read or written; whichever it is, its name stands before it.
var (
	errMissing    = errors.New("is missing")
	errNull       = errors.New("is null")
	errTooLong    = fmt.Errorf("is longer than %d bytes", maxText)
	errControl    = errors.New("has control characters")
	errInvalid    = errors.New("is not valid UTF-8")
	errNotWhole   = errors.New("is not a whole number")
	errNotTime    = errors.New("is not a time as RFC 3339 has it, such as 2026-05-09T07:00:00Z")
	errNotANumber = errors.New("is not a JSON number")
)

func (f *fields) fail(name string, reason error) {
	if f.err == nil {
		f.err = fmt.Errorf("the field %q %w", name, reason)
	}
}

// find is the member of that name, ok false where it is absent or null and may be.
func (f *fields) find(name string, p presence) (v jsontext.Value, ok bool) {
	if f.err != nil {
		return nil, false
	}
	for i := range f.in {
		if f.in[i].name != name {
			continue
		}
		if f.in[i].value.Kind() != 'n' {
			return f.in[i].value, true
		}
		if p == required {
			f.fail(name, errNull)
		}
		return nil, false
	}
	if p == required {
		f.fail(name, errMissing)
	}
	return nil, false
}

// has tells whether a member of that name is there and not null.
func (f *fields) has(name string) bool {
	_, ok := f.find(name, optional)
	return ok
}

// given tells whether a member of that name is there; a null one is unreadable.
func (f *fields) given(name string) bool {
	there := slices.ContainsFunc(f.in, func(m member) bool { return m.name == name })
	if there {
		f.find(name, required)
	}
	return there && f.err == nil
}

func (f *fields) kind(name string, v jsontext.Value, want jsontext.Kind) bool {
	if v.Kind() != want {
		f.fail(name, fmt.Errorf("is %s where %s is expected", kindName(v.Kind()), kindName(want)))
		return false
	}
	return true
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '"':
		return "a text"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case '{':
		return "an object"
	case '[':
		return "an array"
	default:
		return "null"
	}
}

// name writes a member's name.
func (f *fields) name(name string) {
	if len(f.out) == 0 {
		f.out = append(f.out, '{')
	} else {
		f.out = append(f.out, ',')
	}
	f.out = append(f.out, '"')
	f.out = append(f.out, name...)
	f.out = append(f.out, '"', ':')
}

func (f *fields) writeText(name, text string) {
	f.name(name)
	out, err := jsontext.AppendQuote(f.out, text)
	if err != nil {
		f.fail(name, errInvalid)
		return
	}
	f.out = out
}

func (f *fields) writeRaw(name, raw string) {
	f.name(name)
	f.out = append(f.out, raw...)
}

// readText is a member's text, "" where it is absent and may be.
func (f *fields) readText(name string, p presence) (text string, ok bool) {
	v, ok := f.find(name, p)
	if !ok || !f.kind(name, v, '"') {
		return "", false
	}
	unquoted, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		f.fail(name, errInvalid)
		return "", false
	}
	return string(unquoted), true
}

// writes tells whether a text is to be written.
func (f *fields) writes(name string, text string, p presence) bool {
	if text == "" && p == required {
		f.fail(name, errMissing)
	}
	return f.err == nil && text != ""
}

// identifier is a member that has the contract's form of an id.
func identifier[T ~string](f *fields, name string, id *T, p presence) {
	if f.writing {
		if !f.writes(name, string(*id), p) {
			return
		}
		if err := domain.CheckID(*id); err != nil {
			f.fail(name, fmt.Errorf("is not an id: %w", err))
			return
		}
		f.writeText(name, string(*id))
		return
	}
	text, ok := f.readText(name, p)
	if !ok {
		return
	}
	if err := domain.CheckID(text); err != nil {
		f.fail(name, fmt.Errorf("is not an id: %w", err))
		return
	}
	*id = T(text)
}

// enum is a member that has one of a closed set of texts.
func enum[T ~string](f *fields, name string, value *T, p presence, allowed ...T) {
	text := string(*value)
	if f.writing {
		if !f.writes(name, text, p) {
			return
		}
	} else {
		var ok bool
		if text, ok = f.readText(name, p); !ok {
			return
		}
	}
	for _, a := range allowed {
		if text != string(a) {
			continue
		}
		if f.writing {
			f.writeText(name, text)
		} else {
			*value = a
		}
		return
	}
	f.fail(name, fmt.Errorf("is %q, none of %s", clip(text), list(allowed)))
}

// text is any other text. A required one may be empty, an optional empty one is not written.
func (f *fields) text(name string, value *string, p presence) {
	if f.writing {
		if f.err != nil || *value == "" && p == optional {
			return
		}
		if err := checkText(*value); err != nil {
			f.fail(name, err)
			return
		}
		f.writeText(name, *value)
		return
	}
	text, ok := f.readText(name, p)
	if !ok {
		return
	}
	if err := checkText(text); err != nil {
		f.fail(name, err)
		return
	}
	*value = text
}

// textOrNone is an optional text of which an empty one differs from none.
func (f *fields) textOrNone(name string, value **string) {
	if f.writing {
		if *value != nil {
			f.text(name, *value, required)
		}
		return
	}
	if f.given(name) {
		*value = new(string)
		f.text(name, *value, required)
	}
}

func checkText(text string) error {
	switch {
	case len(text) > maxText:
		return errTooLong
	case !utf8.ValidString(text):
		return errInvalid
	case strings.ContainsFunc(text, unicode.IsControl):
		return errControl
	}
	return nil
}

func (f *fields) boolean(name string, value *bool) {
	if f.writing {
		if f.err == nil {
			f.writeRaw(name, strconv.FormatBool(*value))
		}
		return
	}
	v, ok := f.find(name, required)
	if !ok {
		return
	}
	if v.Kind() != 't' && v.Kind() != 'f' {
		f.kind(name, v, 't')
		return
	}
	*value = v.Kind() == 't'
}

// A quantity is one of the domain's exact figures; unit knows how to read it and its limit.
type quantity interface {
	~int64
	fmt.Stringer
}

type unit[T quantity] struct {
	parse func(string) (T, error)
	max   T
}

var (
	kilowattHours = unit[domain.MilliwattHours]{domain.ParseKWh, domain.MaxEnergy}
	kilowatts     = unit[domain.Watts]{domain.ParseKW, domain.MaxPower}
	euros         = unit[domain.MicroEuros]{domain.ParseEUR, domain.MaxMoney}
	eurosPerKWh   = unit[domain.MicroEurosPerKWh]{domain.ParsePrice, domain.MaxPrice}
)

// figure is a required quantity: a JSON number, read from its decimal text.
func figure[T quantity](f *fields, name string, value *T, u unit[T]) {
	if f.writing {
		if f.err != nil {
			return
		}
		if *value < 0 || *value > u.max {
			f.fail(name, fmt.Errorf("is out of range: %s is not between 0 and %s", *value, u.max))
			return
		}
		f.writeRaw(name, (*value).String())
		return
	}
	v, ok := f.find(name, required)
	if !ok || !f.kind(name, v, '0') {
		return
	}
	parsed, err := u.parse(string(v))
	if err != nil {
		f.fail(name, fmt.Errorf("can't be taken: %w", err))
		return
	}
	*value = parsed
}

// figureOrNone is a quantity of which zero differs from none.
func figureOrNone[T quantity](f *fields, name string, value **T, u unit[T], p presence) {
	if f.writing {
		switch {
		case *value != nil:
			figure(f, name, *value, u)
		case p == required:
			f.fail(name, errMissing)
		}
		return
	}
	if _, ok := f.find(name, p); ok {
		*value = new(T)
		figure(f, name, *value, u)
	}
}

// figureAsSent is an optional quantity that is kept as text too. The text is what is written.
func figureAsSent[T quantity](f *fields, name string, value **T, text *string, u unit[T]) {
	if f.writing {
		if *value == nil || *text == "" {
			figureOrNone(f, name, value, u, optional)
			return
		}
		if v := jsontext.Value(*text); v.Kind() != '0' || !v.IsValid() {
			f.fail(name, errNotANumber)
			return
		}
		if parsed, err := u.parse(*text); err != nil || parsed != **value {
			f.fail(name, fmt.Errorf("is sent as %s but is %s", clip(*text), **value))
			return
		}
		if f.err == nil {
			f.writeRaw(name, *text)
		}
		return
	}
	if f.given(name) {
		figureOrNone(f, name, value, u, required)
		v, _ := f.find(name, required)
		*text = string(v)
	}
}

// whole is a whole number from low to high. An optional 0 is not written.
func whole[T ~int | ~int64](f *fields, name string, value *T, p presence, low, high int64) {
	if f.writing {
		if f.err != nil || *value == 0 && p == optional {
			return
		}
		if err := checkWhole(int64(*value), low, high); err != nil {
			f.fail(name, err)
			return
		}
		f.writeRaw(name, strconv.FormatInt(int64(*value), 10))
		return
	}
	v, ok := f.find(name, p)
	if !ok || !f.kind(name, v, '0') {
		return
	}
	// A whole number may come with a fraction of zeros, as some languages write it.
	digits, fraction, dotted := strings.Cut(string(v), ".")
	if dotted && strings.Trim(fraction, "0") != "" {
		f.fail(name, errNotWhole)
		return
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		f.fail(name, fmt.Errorf("is out of range: %s is not between %d and %d", clip(digits), low, high))
	case err != nil:
		f.fail(name, errNotWhole)
	default:
		if err := checkWhole(n, low, high); err != nil {
			f.fail(name, err)
			return
		}
		*value = T(n)
	}
}

func checkWhole(n, low, high int64) error {
	if n < low || n > high {
		return fmt.Errorf("is out of range: %d is not between %d and %d", n, low, high)
	}
	return nil
}

// counter is a whole number from 0 to 2^53 − 1.
func counter[T ~int | ~int64](f *fields, name string, value *T, p presence) {
	whole(f, name, value, p, 0, domain.MaxCounter)
}

// instant is a time. Zero is not written.
func (f *fields) instant(name string, value *domain.UnixMillis, p presence) {
	text := ""
	if f.writing && *value != 0 {
		text = value.String()
	}
	f.timeAsSent(name, &text, p)
	if !f.writing && f.err == nil && text != "" {
		t, _ := parseTime(text)
		*value = domain.At(t)
	}
}

// timeAsSent is a time that is kept as its text.
func (f *fields) timeAsSent(name string, value *string, p presence) {
	text := *value
	if f.writing {
		if !f.writes(name, text, p) {
			return
		}
	} else {
		var ok bool
		if text, ok = f.readText(name, p); !ok {
			return
		}
	}
	if _, ok := parseTime(text); !ok {
		f.fail(name, errNotTime)
		return
	}
	if f.writing {
		f.writeText(name, text)
	} else {
		*value = text
	}
}

// parseTime reads RFC 3339 to the letter; time.Parse is laxer.
func parseTime(text string) (t time.Time, ok bool) {
	if len(text) > maxText {
		return t, false
	}
	return t, t.UnmarshalText([]byte(text)) == nil
}

// decoders keeps JSON decoders with their buffers for reuse.
var decoders = sync.Pool{New: func() any { return jsontext.NewDecoder(new(bytes.Reader)) }}

// parse reads the members of one JSON object into f. Everything that is not exactly
// one object is refused: invalid UTF-8, a name that is given twice, bytes after it.
func (f *fields) parse(record []byte) error {
	dec := decoders.Get().(*jsontext.Decoder)
	defer decoders.Put(dec)
	dec.Reset(bytes.NewReader(record))
	first, err := dec.ReadToken()
	if errors.Is(err, io.EOF) {
		return errors.New("it is empty")
	}
	if err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	if first.Kind() != '{' {
		return fmt.Errorf("it is %s where an object is expected", kindName(first.Kind()))
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return fmt.Errorf("it is not JSON: %w", err)
		}
		m := member{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return fmt.Errorf("it is not JSON: %w", err)
		}
		end := dec.InputOffset()
		m.value = jsontext.Value(record[end-int64(len(value)) : end])
		f.in = append(f.in, m)
	}
	if _, err := dec.ReadToken(); err != nil {
		return fmt.Errorf("it is not JSON: %w", err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the JSON object")
	}
	return nil
}

func clip(text string) string {
	if len(text) > 40 {
		return strings.ToValidUTF8(text[:40], "") + "…"
	}
	return text
}

func list[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}
