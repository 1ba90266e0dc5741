package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"evcharging/application/engine"
	"evcharging/application/message"
	"evcharging/domain"
)

const version = 1

type header struct {
	Journal string         `json:"journal"`
	Version int            `json:"version"`
	Point   domain.PointID `json:"point"`
}

func headerOf(point domain.PointID) header {
	return header{Journal: "evcharging engine", Version: version, Point: point}
}

type record struct {
	Ended    []done             `json:"ended,omitempty"`
	Order    *order             `json:"order,omitempty"`
	Opened   *session           `json:"opened,omitempty"`
	Sample   *sample            `json:"sample,omitempty"`
	Reported []domain.SessionID `json:"reported,omitempty"`
}

type done struct {
	Session domain.SessionID      `json:"session"`
	Point   domain.PointID        `json:"point"`
	Driver  domain.DriverID       `json:"driver"`
	Energy  domain.MilliwattHours `json:"energy"`
	Amount  domain.MicroEuros     `json:"amount"`
	Reason  message.DoneReason    `json:"reason"`
	Seq     int64                 `json:"seq"`
	At      domain.UnixMillis     `json:"at"`
}

type order struct {
	Number domain.Order      `json:"number"`
	Kind   message.OrderKind `json:"kind"`
}

type session struct {
	ID       domain.SessionID        `json:"id"`
	Driver   domain.DriverID         `json:"driver"`
	Price    domain.MicroEurosPerKWh `json:"price"`
	OpenedAt domain.UnixMillis       `json:"opened_at"`
}

type sample struct {
	Seq    int64                 `json:"seq"`
	Power  domain.Watts          `json:"power"`
	Energy domain.MilliwattHours `json:"energy"`
	At     domain.UnixMillis     `json:"at"`
}

func recordOf(r engine.Record) record {
	w := record{
		Order: (*order)(r.Order), Opened: (*session)(r.Opened), Sample: (*sample)(r.Sample), Reported: r.Reported,
	}
	for _, d := range r.Ended {
		w.Ended = append(w.Ended, done(d))
	}
	return w
}

func (w record) decoded() engine.Record {
	r := engine.Record{
		Order: (*engine.TakenOrder)(w.Order), Opened: (*engine.Session)(w.Opened), Sample: (*engine.Sample)(w.Sample), Reported: w.Reported,
	}
	for _, d := range w.Ended {
		r.Ended = append(r.Ended, message.Done(d))
	}
	return r
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errLine    = errors.New("not a line of a journal")
)

// line is a value as a line of the file.
func line(value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli), text), nil
}

// parse reads a line without its LF. errLine where it is not as it was written.
func parse(line []byte, value any) error {
	sum, text, ok := bytes.Cut(line, []byte(" "))
	if !ok || !bytes.Equal(sum, fmt.Appendf(nil, "%08x", crc32.Checksum(text, castagnoli))) {
		return errLine
	}
	if err := json.Unmarshal(text, value); err != nil {
		return fmt.Errorf("%w: %w", errLine, err)
	}
	return nil
}
