package checkpoint

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"evcharging/application/driver"
	"evcharging/domain"
)

// format is the version of the file's shape.
const format = 1

type shape struct {
	Format   int               `json:"format"`
	Driver   domain.DriverID   `json:"driver"`
	Points   []domain.PointID  `json:"points"`
	Supplies []supply          `json:"supplies,omitempty"`
	Open     *open             `json:"open,omitempty"`
	NextAt   domain.UnixMillis `json:"next_at,omitzero"`
}

type open struct {
	Request domain.RequestID         `json:"request"`
	AskedAt domain.UnixMillis        `json:"asked_at"`
	Sent    bool                     `json:"sent,omitzero"`
	Granted bool                     `json:"granted,omitzero"`
	Session domain.SessionID         `json:"session,omitzero"`
	Price   *domain.MicroEurosPerKWh `json:"price,omitempty"`
}

type supply struct {
	Point    domain.PointID        `json:"point"`
	Request  domain.RequestID      `json:"request"`
	Session  domain.SessionID      `json:"session,omitzero"`
	Verdict  driver.Verdict        `json:"verdict"`
	Energy   domain.MilliwattHours `json:"energy"`
	Amount   domain.MicroEuros     `json:"amount"`
	Reason   string                `json:"reason,omitzero"`
	Ticket   domain.TicketID       `json:"ticket,omitzero"`
	Revision int                   `json:"revision,omitzero"`
}

func encode(c driver.Checkpoint) ([]byte, error) {
	s := shape{Format: format, Driver: c.Driver, Points: c.Points, Open: (*open)(c.Open), NextAt: c.NextAt}
	for _, x := range c.Supplies {
		s.Supplies = append(s.Supplies, supply(x))
	}
	text, err := json.Marshal(s, jsontext.Multiline(true))
	return append(text, '\n'), err
}

func decode(text []byte) (driver.Checkpoint, error) {
	var s shape
	if err := json.Unmarshal(text, &s, json.RejectUnknownMembers(true)); err != nil {
		return driver.Checkpoint{}, err
	}
	c := driver.Checkpoint{Driver: s.Driver, Points: s.Points, Open: (*driver.Open)(s.Open), NextAt: s.NextAt}
	for _, x := range s.Supplies {
		c.Supplies = append(c.Supplies, driver.Supply(x))
	}
	return c, check(s.Format, c)
}

// check is nil where a run can be at this place.
func check(version int, c driver.Checkpoint) error {
	lines := len(c.Supplies)
	if c.Open != nil {
		lines++
		if err := domain.CheckID(c.Open.Request); err != nil {
			return err
		}
	}
	switch {
	case version != format:
		return fmt.Errorf("its format is %d, this program's %d", version, format)
	case lines > len(c.Points):
		return fmt.Errorf("it has %d lines of %d", lines, len(c.Points))
	}
	for i, point := range c.Points {
		if err := domain.CheckID(point); err != nil {
			return err
		}
		if i < len(c.Supplies) && c.Supplies[i].Point != point {
			return fmt.Errorf("its point %d is both %s and %s", i+1, point, c.Supplies[i].Point)
		}
	}
	return domain.CheckID(c.Driver)
}
