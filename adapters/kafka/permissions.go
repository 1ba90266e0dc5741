package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// Role is what a program does in the network, and so what a broker has to permit it.
// Nobody's needs are not asked for.
type Role int

// The roles.
const (
	Nobody Role = iota
	Central
	Engine
	Monitor
	Driver
	Operator
	// Onlooker lists the points. It writes nothing, so it needs no permission to write.
	Onlooker
	// Auditor reads the checkpoints of the event log, and writes nothing either.
	Auditor
)

// writes tells whether the role sends anything.
func (r Role) writes() bool { return r != Onlooker && r != Auditor }

// needs are the topics that the role can't do without. What else it may use, such as an
// Engine the requests that are typed there, fails with ErrDenied when it is used.
func (t *Transport) needs() (read, write []string) {
	names := t.Topics()
	switch t.role {
	case Central:
		read = append(names.CentralReads(), names.Auth, names.State, DeadLetters(names.Control))
		write = []string{names.Commands, names.Auth, names.Start, names.Ticket, names.State, names.Control, names.Checkpoint}
		for _, topic := range names.CentralReads() {
			write = append(write, DeadLetters(topic))
		}
	case Engine:
		read, write = []string{names.Commands, names.Start}, []string{names.Telemetry, names.Done}
	case Monitor:
		write = []string{names.Register, names.Health}
	case Driver:
		read, write = []string{names.Request, names.Auth, names.Telemetry, names.Done, names.Ticket}, []string{names.Request}
	case Operator:
		read, write = []string{names.Auth, names.State, DeadLetters(names.Control)}, []string{names.Control}
	case Onlooker:
		read = []string{names.State}
	case Auditor:
		read = []string{names.Checkpoint}
	case Nobody:
	}
	return read, write
}

// askPermission is nil where the broker permits what the role needs, or can't say yet:
// whether a topic may be used that does not exist. Else it is ErrDenied with all that
// is missing, or the error of asking.
func (t *Transport) askPermission(ctx context.Context) error {
	return t.ask(ctx, func(client sarama.Client, _ sarama.ClusterAdmin) error { return t.permission(client) })
}

func (t *Transport) permission(client sarama.Client) error {
	read, write := t.needs()
	topics := slices.Concat(read, write)
	if len(topics) == 0 {
		return nil
	}
	request := sarama.NewMetadataRequest(client.Config().Version, topics)
	request.IncludeTopicAuthorizedOperations = true
	broker, err := client.Controller()
	if err != nil {
		return t.explain("", err)
	}
	answer, err := broker.GetMetadata(request)
	if err != nil {
		return t.explain("", err)
	}
	permitted := make(map[string]sarama.AclOperation)
	for _, topic := range answer.Topics {
		switch {
		case errors.Is(topic.Err, sarama.ErrTopicAuthorizationFailed):
			permitted[topic.Name] = 0
		case errors.Is(topic.Err, sarama.ErrNoError) && answer.Version >= 8 && topic.TopicAuthorizedOperations != math.MinInt32:
			permitted[topic.Name] = sarama.AclOperation(topic.TopicAuthorizedOperations)
		}
	}
	var missing []string
	look := func(verb string, operation sarama.AclOperation, topics []string) {
		topics = slices.DeleteFunc(topics, func(topic string) bool {
			operations, known := permitted[topic]
			return !known || operations&(1<<operation) != 0
		})
		if len(topics) > 0 {
			missing = append(missing, verb+" "+strings.Join(topics, ", "))
		}
	}
	look("read", sarama.AclOperationRead, read)
	look("write", sarama.AclOperationWrite, write)
	if len(missing) > 0 {
		return t.deniedTo(strings.Join(missing, ", nor "))
	}
	return nil
}

// askForGroup is nil where the broker permits to read in a consumer group. Else it is
// ErrDenied, or the error of asking.
func (t *Transport) askForGroup(ctx context.Context, group string) error {
	return t.ask(ctx, func(client sarama.Client, _ sarama.ClusterAdmin) error {
		about := "the group " + group
		denied := t.deniedTo("read in " + about)
		broker, err := client.Coordinator(group)
		if errors.Is(err, sarama.ErrGroupAuthorizationFailed) {
			return denied
		}
		if err != nil {
			return t.explain(about, err)
		}
		request := &sarama.DescribeGroupsRequest{Version: 5, Groups: []string{group}, IncludeAuthorizedOperations: true}
		answer, err := broker.DescribeGroups(request)
		if err != nil {
			return t.explain(about, err)
		}
		for _, g := range answer.Groups {
			switch permitted := sarama.AclOperation(g.AuthorizedOperations); {
			case errors.Is(g.Err, sarama.ErrGroupAuthorizationFailed),
				answer.Version >= 3 && g.AuthorizedOperations != math.MinInt32 && permitted&(1<<sarama.AclOperationRead) == 0:
				return denied
			}
		}
		return nil
	})
}

// deniedTo is ErrDenied about what a program wants to do.
func (t *Transport) deniedTo(what string) error {
	return fmt.Errorf("%w: %s may not %s: permit it (docs/security.md has the list)", ErrDenied, t.who(), what)
}

// who is the program as the broker knows it.
func (t *Transport) who() string {
	if t.security.Username != "" {
		return "the user " + t.security.Username
	}
	return "this program"
}

// refusals are what the broker has denied to readers lately.
type refusals struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// toConnect is what somebody is denied who is not let in.
const toConnect = "connect"

// refusalLasts is for how long a denial counts. Readers try again every two seconds.
const refusalLasts = 10 * time.Second

// refuse says, once while it lasts, that a reader was denied its topic or group, or was not
// let in at all. Other errors are nobody's business here: they pass, or the watch says them.
func (t *Transport) refuse(topic, group string, err error) {
	what := toConnect
	switch {
	case errors.Is(err, sarama.ErrTopicAuthorizationFailed):
		what = "read " + topic
		err = t.deniedTo(what)
	case errors.Is(err, sarama.ErrGroupAuthorizationFailed):
		what = "read in the group " + group
		err = t.deniedTo(what)
	default:
		if err = t.explain("", err); !errors.Is(err, ErrDenied) && !errors.Is(err, ErrTLS) {
			return
		}
	}
	watched := what == toConnect && t.isDenied()
	r := &t.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == nil {
		r.last = make(map[string]time.Time)
	}
	if _, known := r.last[what]; !known && !watched {
		t.log.Warn(err.Error() + "; trying again")
	}
	r.last[what] = time.Now()
}

// permit says of what was denied, and has not been for a while, that it no longer is.
func (t *Transport) permit() {
	r := &t.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	for what, at := range r.last {
		if time.Since(at) > refusalLasts {
			delete(r.last, what)
			t.log.Info("Kafka does not deny it any more", "to", what)
		}
	}
}

// refused is what readers are denied, in no particular order.
func (t *Transport) refused() []string {
	t.refusals.mu.Lock()
	defer t.refusals.mu.Unlock()
	return slices.Collect(maps.Keys(t.refusals.last))
}
