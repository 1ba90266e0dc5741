package central

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"evcharging/adapters/console"
	"evcharging/adapters/kafka"
	"evcharging/application/message"
	"evcharging/application/network"
	"evcharging/cmd/internal/program"
	"evcharging/domain"
	"evcharging/domain/chargingpoint"
)

// allPoints stands for every point that is registered at the moment.
const allPoints = "all"

// Commands are what an operator types at Central's panel.
func (n *Node) Commands() []console.Command {
	point := console.Arg{Name: "POINT", Values: n.pointIDs}
	pointOrAll := console.Arg{Name: "POINT|all", Values: func() []string { return append([]string{allPoints}, n.pointIDs()...) }}
	return []console.Command{
		{
			Name: "stop", Args: []console.Arg{pointOrAll}, Help: "takes a point out of order; what it supplies ends and is billed",
			Run: func(ctx context.Context, call console.Call) (string, error) {
				return n.operate(ctx, call, message.Control{Action: message.ActionStop})
			},
		},
		{
			Name: "resume", Args: []console.Arg{pointOrAll}, Help: "lets a point supply again",
			Run: func(ctx context.Context, call console.Call) (string, error) {
				return n.operate(ctx, call, message.Control{Action: message.ActionResume})
			},
		},
		{
			Name: "start", Args: []console.Arg{point, {Name: "DRIVER", Values: n.driverIDs}}, Help: "starts a supply at a point for a driver",
			Run: n.start,
		},
		{
			Name: "price",
			Args: []console.Arg{
				pointOrAll,
				{Name: "EUR|auto"},
				{Name: "from", Optional: true, Values: func() []string { return []string{"from"} }},
				{Name: "TIME", Optional: true},
			},
			Help: "sets a point's price in EUR per kWh, now or from a time on; auto hands it back to the point",
			Run: func(ctx context.Context, call console.Call) (string, error) {
				var from domain.UnixMillis
				var err error
				if later := call.Args[2:]; len(later) == 2 && later[0] == "from" {
					if from, err = program.ParseInstant(later[1]); err != nil {
						return "", err
					}
				} else if len(later) > 0 {
					return "", errPriceTyped
				}
				control, err := PriceControl(call.Args[1], from, now())
				if err != nil {
					return "", err
				}
				return n.operate(ctx, call, control)
			},
		},
		{
			Name: "prices", Args: []console.Arg{point}, Help: "lists the changes of a point's price: who made them, when, and what is to come",
			Run: func(ctx context.Context, call console.Call) (string, error) {
				changes, err := n.feed.Prices(ctx, domain.PointID(call.Args[0]))
				if err == nil && len(changes) == 0 {
					err = fmt.Errorf("there is no point %s; points lists them", call.Args[0])
				}
				if err != nil {
					return "", err
				}
				return console.Prices(changes), nil
			},
		},
		{
			Name: "points", Help: "lists the points",
			Run: func(context.Context, console.Call) (string, error) { return console.Points(n.feed.Points()), nil },
		},
		{
			Name: "sessions", Help: "lists the open sessions, and those that closed last",
			Run: func(context.Context, console.Call) (string, error) {
				open, closed := n.feed.Sessions()
				return console.Sessions(append(open, closed...)), nil
			},
		},
		{
			Name: "ignored", Help: "counts what was ignored since the start, by rule",
			Run: func(context.Context, console.Call) (string, error) { return n.countIgnored(), nil },
		},
		{
			Name: "ticket", Args: []console.Arg{{Name: "SESSION", Values: n.sessionIDs}}, Help: "shows a session's bill",
			Run: func(ctx context.Context, call console.Call) (string, error) {
				s, ok, err := n.feed.Session(ctx, domain.SessionID(call.Args[0]))
				if err == nil && !ok {
					err = fmt.Errorf("there is no session %s; sessions lists them", call.Args[0])
				}
				if err != nil {
					return "", err
				}
				return console.Ticket(s), nil
			},
		},
	}
}

// Describe says in one line what Central answered to an operator's command.
func Describe(asked message.Control, answer message.Message) string {
	switch m := answer.(type) {
	case message.PointState:
		text := fmt.Sprintf("%s is %s, %s EUR/kWh", m.Point, m.State, network.Price(m.Price))
		if asked.From != 0 {
			price := "its own price"
			if asked.Price != nil {
				price = network.Price(*asked.Price) + " EUR/kWh"
			}
			text += fmt.Sprintf("; from %s on %s", program.FormatInstant(asked.From), price)
		}
		return text
	case message.Answer:
		return fmt.Sprintf("%s may supply %s: session %s", m.Point, m.Driver, m.Session)
	}
	return ""
}

func (n *Node) operate(ctx context.Context, call console.Call, c message.Control) (string, error) {
	if !strings.EqualFold(call.Args[0], allPoints) {
		c.Point = domain.PointID(call.Args[0])
		if err := domain.CheckID(c.Point); err != nil {
			return "", err
		}
		if !n.isListed(c.Point) { // a slip of the keyboard needs no dead letter
			return "", fmt.Errorf("%s %s: %w: %w", c.Action, c.Point, ErrRefused, chargingpoint.ErrUnknownPoint)
		}
		answer, err := n.operator.Ask(ctx, c)
		if err != nil {
			return "", err
		}
		return Describe(c, answer), nil
	}
	var points []domain.PointID
	for _, p := range n.feed.Points() {
		points = append(points, p.ID)
	}
	if err := n.operator.AskEach(ctx, points, c, func(done, total int, _ message.Message) { call.Progress(done, total) }); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %d points done", c.Action, len(points)), nil
}

func (n *Node) isListed(id domain.PointID) bool {
	return slices.ContainsFunc(n.feed.Points(), func(p network.Point) bool { return p.ID == id })
}

func (n *Node) start(ctx context.Context, call console.Call) (string, error) {
	c := message.Control{Action: message.ActionStart, Point: domain.PointID(call.Args[0]), Driver: domain.DriverID(call.Args[1])}
	if err := domain.CheckID(c.Point); err != nil {
		return "", err
	}
	if err := domain.CheckID(c.Driver); err != nil {
		return "", err
	}
	answer, err := n.operator.Ask(ctx, c)
	if err != nil {
		return "", err
	}
	return Describe(c, answer), nil
}

// countIgnored lists the rules by which something was ignored, and how often.
func (n *Node) countIgnored() string {
	counts := n.ignored.Counts()
	if len(counts) == 0 {
		return "nothing was ignored"
	}
	var lines []string
	for _, rule := range slices.Sorted(maps.Keys(counts)) {
		lines = append(lines, fmt.Sprintf("%6d  %s", counts[rule], rule))
	}
	return strings.Join(lines, "\n")
}

func (n *Node) pointIDs() []string {
	var ids []string
	for _, p := range n.feed.Points() {
		ids = append(ids, string(p.ID))
	}
	return ids
}

func (n *Node) sessionIDs() []string {
	open, closed := n.feed.Sessions()
	var ids []string
	for _, s := range append(open, closed...) {
		ids = append(ids, string(s.ID))
	}
	return ids
}

func (n *Node) driverIDs() []string {
	open, closed := n.feed.Sessions()
	var ids []string
	for _, s := range append(open, closed...) {
		ids = append(ids, string(s.Driver))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Points are all points as they are shown.
func (n *Node) Points() []network.Point { return n.feed.Points() }

// Look is the node as a console sees it.
func (n *Node) Look() console.Source { return look{n} }

type look struct{ node *Node }

func (l look) Changed() uint64                                 { return l.node.feed.Changed() }
func (l look) Snapshot(window network.Window) network.Snapshot { return l.node.feed.Snapshot(window) }

func (l look) Status() console.Status {
	n := l.node
	n.mu.Lock()
	defer n.mu.Unlock()
	status := console.Status{
		Network: "network " + n.store.network.String()[:8], Broker: strings.Join(n.config.Kafka.Brokers, ","), Now: now(),
		DeadLetters: deadLettered(n.transport.Stats()),
	}
	for _, text := range n.warnings {
		status.Warnings = append(status.Warnings, text)
	}
	slices.Sort(status.Warnings)
	status.Warnings = append(status.Warnings, n.feed.warnings()...)
	return status
}

func deadLettered(stats map[string]kafka.TopicStats) (n uint64) {
	for _, topic := range stats {
		n += topic.DeadLettered
	}
	return n
}
