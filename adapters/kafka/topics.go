package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// Topics are the names of the contract's topics. An empty one has the contract's name.
type Topics struct {
	Register, Health, Commands, Request, Auth, Start, Telemetry, Done, Ticket, State, Control, Checkpoint string
}

// DefaultTopics are the contract's names.
func DefaultTopics() Topics { return topicsOf(defaultNames) }

var defaultNames = [records]string{
	register: "ev.register", health: "ev.health", commands: "ev.commands", request: "ev.supply.request",
	auth: "ev.supply.auth", start: "ev.supply.start", telemetry: "ev.supply.telemetry", done: "ev.supply.done",
	ticket: "ev.supply.ticket", state: "ev.cp.state", control: "ev.control", checkpoint: "ev.checkpoint",
}

func topicsOf(n [records]string) Topics {
	return Topics{
		Register: n[register], Health: n[health], Commands: n[commands], Request: n[request], Auth: n[auth],
		Start: n[start], Telemetry: n[telemetry], Done: n[done], Ticket: n[ticket], State: n[state], Control: n[control], Checkpoint: n[checkpoint],
	}
}

func (t Topics) names() [records]string {
	names := [records]string{
		register: t.Register, health: t.Health, commands: t.Commands, request: t.Request, auth: t.Auth,
		start: t.Start, telemetry: t.Telemetry, done: t.Done, ticket: t.Ticket, state: t.State, control: t.Control, checkpoint: t.Checkpoint,
	}
	for r := range names {
		if names[r] == "" {
			names[r] = defaultNames[r]
		}
	}
	return names
}

// Topics are the names in use.
func (t *Transport) Topics() Topics { return topicsOf(t.names) }

const (
	// partitions is how many a topic gets that we create.
	partitions = 12
	// deadLetters is what follows a topic's name in that of its dead-letter topic.
	deadLetters = ".dlq"
	// retention is how long what a bill depends on is kept.
	retention = 31 * 24 * time.Hour

	// forEver is that of what shows that the event log is what it was.
	forEver = "-1"

	timestampType = "message.timestamp.type"
	logAppendTime = "LogAppendTime"
	retentionTime = "retention.ms"
	cleanupPolicy = "cleanup.policy"
)

// CentralReads are the topics of the records that Central takes from others.
func (t Topics) CentralReads() []string {
	names := t.names()
	topics := make([]string, len(centralReads))
	for i, r := range centralReads {
		topics[i] = names[r]
	}
	return topics
}

// All are all of them, and the dead-letter topics of those that Central reads.
func (t Topics) All() []string {
	names := t.names()
	topics := names[:]
	for _, read := range t.CentralReads() {
		topics = append(topics, DeadLetters(read))
	}
	return topics
}

// centralReads are the records that Central takes from others: what it can't, goes to a dead-letter topic.
var centralReads = []record{register, health, request, telemetry, done, control}

// EnsureTopics creates the contract's topics that are missing, and the dead-letter topics
// of those that Central reads. Topics that are there keep their partitions; their records
// get the broker's time and what they hold is kept long enough, where that may be set, or
// else a warning says that it may not. The error is ErrDenied where topics are missing and
// may not be created, or the program's role is not permitted to use them; ErrRefused where
// they can't be created as they should be; else ErrUnreachable or ErrUnready.
func (t *Transport) EnsureTopics(ctx context.Context) error {
	wanted := make(map[string]wantedTopic)
	for r, name := range t.names {
		w := wantedTopic{partitions: partitions, settings: map[string]string{timestampType: logAppendTime}}
		switch record(r) {
		case state:
			w.settings[cleanupPolicy] = "compact"
		case done, register, control:
			w.settings[retentionTime] = strconv.FormatInt(retention.Milliseconds(), 10)
		case checkpoint: // an auditor reads all of them, in their order
			w.partitions, w.settings[retentionTime] = 1, forEver
		}
		wanted[name] = w
	}
	for _, r := range centralReads {
		wanted[t.names[r]+deadLetters] = deadLetterTopic
	}
	err := t.ask(ctx, func(client sarama.Client, admin sarama.ClusterAdmin) error { return t.ensure(client, admin, wanted) })
	t.readTrust()
	if err == nil {
		err = t.askPermission(ctx) // some may not have been there before
	}
	return err
}

type wantedTopic struct {
	partitions int32
	settings   map[string]string
}

// A dead-letter topic has one partition: an operator reads it in its order.
var deadLetterTopic = wantedTopic{partitions: 1, settings: map[string]string{
	timestampType: logAppendTime, retentionTime: strconv.FormatInt(retention.Milliseconds(), 10),
}}

// ask runs an administrator's request, which knows no context, until ctx ends.
func (t *Transport) ask(ctx context.Context, do func(sarama.Client, sarama.ClusterAdmin) error) error {
	answer := make(chan error, 1)
	go func() {
		l, err := t.acquire()
		if err == nil {
			defer t.release(l)
			var admin sarama.ClusterAdmin
			if admin, err = sarama.NewClusterAdminFromClient(l.client); err == nil {
				err = do(l.client, admin)
			} else {
				err = t.explain("", err)
			}
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return t.explain("", ctx.Err())
	}
}

func (t *Transport) ensure(client sarama.Client, admin sarama.ClusterAdmin, wanted map[string]wantedTopic) error {
	if err := client.RefreshMetadata(); err != nil {
		return t.explain("", err)
	}
	there, err := client.Topics()
	if err != nil {
		return t.explain("", err)
	}
	missing := make(map[string]wantedTopic, len(wanted))
	for name, w := range wanted {
		missing[name] = w
	}
	for _, name := range there {
		delete(missing, name)
	}
	var denied []string
	for name, w := range missing {
		entries := make(map[string]*string, len(w.settings))
		for k, v := range w.settings {
			entries[k] = &v
		}
		// A replication factor of -1 is the cluster's own.
		err := admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: w.partitions, ReplicationFactor: -1, ConfigEntries: entries}, false)
		switch {
		case errors.Is(err, sarama.ErrTopicAlreadyExists): // somebody was quicker
			delete(missing, name)
		case errors.Is(err, sarama.ErrTopicAuthorizationFailed), errors.Is(err, sarama.ErrClusterAuthorizationFailed):
			denied = append(denied, name)
		case err != nil:
			return fmt.Errorf("the topic %s can't be created: %w", name, t.explain(name, err))
		}
	}
	if len(denied) > 0 {
		return fmt.Errorf("%w: these topics don't exist, or %s may not see them, and it may not create them: %s: create them, or permit it (docs/security.md has the list)",
			ErrDenied, t.who(), listed(denied))
	}
	if err := t.awaitTopics(client, missing); err != nil {
		return err
	}
	return t.amend(admin, wanted)
}

// awaitTopics waits until the cluster knows topics that were just created.
func (t *Transport) awaitTopics(client sarama.Client, created map[string]wantedTopic) error {
	for p := (pauses{}); ; {
		err := client.RefreshMetadata()
		known := 0
		for name := range created {
			if ids, e := client.WritablePartitions(name); e == nil && len(ids) > 0 {
				known++
			}
		}
		if known == len(created) {
			return nil
		}
		if p.next == longestPause {
			return fmt.Errorf("the topics were created, but have no leaders yet: %w", t.explain("", errors.Join(err, sarama.ErrLeaderNotAvailable)))
		}
		if !p.wait(t.life.Done(), nil) {
			return ErrClosed
		}
	}
}

// amend sets what topics lack that somebody else made. What may not be set, or seen, is said
// in a warning for each setting.
func (t *Transport) amend(admin sarama.ClusterAdmin, wanted map[string]wantedTopic) error {
	settings, hidden, err := describe(admin, wanted)
	if err != nil {
		return t.explain("", err)
	}
	changed := make(map[string]wantedTopic)
	type setting struct{ key, value string }
	refused, why := make(map[setting][]string), make(map[setting]error)
	for name, w := range wanted {
		is, seen := settings[name]
		if !seen { // or made just now, and not known everywhere
			continue
		}
		changes := make(map[string]sarama.IncrementalAlterConfigsEntry)
		for key, value := range w.settings {
			if !suffices(key, is[key], value) {
				changes[key] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
			}
		}
		if len(changes) == 0 {
			continue
		}
		if err := admin.IncrementalAlterConfig(sarama.TopicResource, name, changes, false); err != nil {
			for key, c := range changes {
				s := setting{key, *c.Value}
				refused[s], why[s] = append(refused[s], name), err
			}
			continue
		}
		changed[name] = w
	}
	for s, topics := range refused {
		consequence := ""
		if s.key == timestampType {
			consequence = "; the age of their records is judged by nobody"
		}
		t.log.Warn(fmt.Sprintf("topics should have %s=%s and may not be changed%s", s.key, s.value, consequence), "topics", listed(topics), "error", why[s])
	}
	if len(hidden) > 0 {
		t.log.Warn("the settings of topics may not be seen: permit DescribeConfigs; until then the age of their records is judged by nobody", "topics", listed(hidden))
	}
	return t.awaitSettings(admin, changed)
}

// awaitSettings waits until settings that were just changed are told by the broker, which
// learns of them a moment later: whose time the topics have is asked once, see readTrust.
func (t *Transport) awaitSettings(admin sarama.ClusterAdmin, changed map[string]wantedTopic) error {
	for p := (pauses{}); len(changed) > 0 && p.next < longestPause; {
		settings, _, err := describe(admin, changed)
		if err != nil {
			return t.explain("", err)
		}
		maps.DeleteFunc(changed, func(name string, w wantedTopic) bool {
			for key, value := range w.settings {
				if !suffices(key, settings[name][key], value) {
					return false
				}
			}
			return true
		})
		if len(changed) > 0 && !p.wait(t.life.Done(), nil) {
			return ErrClosed
		}
	}
	return nil
}

func listed(topics []string) string {
	slices.Sort(topics)
	return strings.Join(topics, ", ")
}

// suffices tells whether a setting needs no change.
func suffices(key, is, wanted string) bool {
	if key != retentionTime {
		return is == wanted
	}
	have, err1 := strconv.ParseInt(is, 10, 64)
	want, err2 := strconv.ParseInt(wanted, 10, 64)
	return err1 == nil && err2 == nil && (have < 0 || want >= 0 && have >= want) // below zero is for ever
}

// describe reads topics' settings. Topics that don't exist have none; hidden are those whose
// settings may not be read.
func describe[W any](admin sarama.ClusterAdmin, topics map[string]W) (settings map[string]map[string]string, hidden []string, err error) {
	var resources []*sarama.ConfigResource
	for name := range topics {
		resources = append(resources, &sarama.ConfigResource{
			Type: sarama.TopicResource, Name: name, ConfigNames: []string{timestampType, retentionTime, cleanupPolicy},
		})
	}
	results, err := admin.DescribeConfigs(resources, sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, nil, err
	}
	settings = make(map[string]map[string]string, len(topics))
	for _, r := range results {
		if errors.Is(r.ErrorCode, sarama.ErrTopicAuthorizationFailed) {
			hidden = append(hidden, r.Name)
		}
		if !errors.Is(r.ErrorCode, sarama.ErrNoError) {
			continue
		}
		settings[r.Name] = make(map[string]string)
		for _, e := range r.Configs {
			settings[r.Name][e.Name] = e.Value
		}
	}
	return settings, hidden, nil
}

// readTrust reads of which topics the broker itself sets the records' time. What can't be
// read stays as it was.
func (t *Transport) readTrust() {
	ctx, cancel := context.WithTimeout(t.life, ioTimeout)
	defer cancel()
	_ = t.ask(ctx, func(_ sarama.Client, admin sarama.ClusterAdmin) error {
		settings, _, err := describe(admin, t.records)
		if err != nil {
			return err
		}
		trusted := make(map[string]bool, len(settings))
		for name, s := range settings {
			trusted[name] = s[timestampType] == logAppendTime
		}
		t.trusted.Store(&trusted)
		return nil
	})
}

// trusts tells whether a topic's records have the broker's time.
func (t *Transport) trusts(topic string) bool {
	trusted := t.trusted.Load()
	return trusted != nil && (*trusted)[topic]
}
