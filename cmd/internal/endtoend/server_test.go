package endtoend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// realServers tells that each world runs on a real Apache Kafka, a process of its own:
// EV_TEST_SERVERS=real. Otherwise its broker is embedded in the tests' process.
func realServers() bool { return os.Getenv("EV_TEST_SERVERS") == "real" }

// logInMongo tells that the Centrals of each world keep their log in a database server, a
// process of its own, as they do on real servers; EV_TEST_LOG=bbolt has them embed it there, too.
func logInMongo() bool { return realServers() && os.Getenv("EV_TEST_LOG") != "bbolt" }

// needsMongo skips a test of what only a shared log can do.
func needsMongo(t *testing.T) {
	t.Helper()
	if !logInMongo() {
		t.Skip("needs a MongoDB: make integration")
	}
}

// needsKafka skips a test of what only a broker that is a process can have done to it.
func needsKafka(t *testing.T) {
	t.Helper()
	if !realServers() {
		t.Skip("needs a Kafka: make integration")
	}
}

// must fails the test at once on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// embeddedOnly skips a test that needs no server, or brings its own, on real ones: it was
// seen on the embedded parts.
func embeddedOnly(t *testing.T, why string) {
	t.Helper()
	if realServers() {
		t.Skip("only on embedded parts: " + why)
	}
}

// server is a broker or a database. What it has acknowledged outlives all that is done to it.
type server interface {
	// address is its host:port, the same over all starts.
	address() string
	// start starts it again where it was, and returns when it answers.
	start() error
	// stop ends it gracefully, kill at once.
	stop() error
	kill() error
	// pause has it hang: it takes connections and answers nothing until resume.
	pause() error
	resume() error
}

// external is a server that one of the scripts in .ci/servers starts: SCRIPT DIR PORT starts
// it, SCRIPT down DIR and SCRIPT kill DIR end it, its process id is in DIR/pid.
type external struct{ script, dir, port string }

// servers is the folder of this run's servers; sitter ends those that are left there when
// this process ends, however it does.
var servers struct {
	dir    string
	sitter *exec.Cmd
	end    io.Closer
}

// sitting waits for the end of its input, which is that of the tests.
const sitting = `cat; for dir in "$1"/kafka-*; do "$0/kafka" kill "$dir"; done; for dir in "$1"/mongo-*; do "$0/mongo" kill "$dir"; done; rm -rf "$1"`

// scripts is the folder of the scripts, seen from this package.
func scripts() string { return filepath.Join("..", "..", "..", ".ci", "servers") }

// openServers makes the folder of the servers.
func openServers() (err error) {
	if servers.dir, err = os.MkdirTemp("", "evcharging-servers-"); err != nil {
		return err
	}
	here, err := filepath.Abs(scripts())
	if err != nil {
		return err
	}
	servers.sitter = exec.Command("setsid", "bash", "-c", sitting, here, servers.dir)
	if servers.end, err = servers.sitter.StdinPipe(); err != nil {
		return err
	}
	return servers.sitter.Start()
}

// closeServers ends what is left.
func closeServers() {
	_ = servers.end.Close()
	_ = servers.sitter.Wait()
}

// newExternal starts a server in a folder of its own.
func newExternal(t *testing.T, kind string) *external {
	t.Helper()
	dir, err := os.MkdirTemp(servers.dir, kind+"-")
	if err != nil {
		t.Fatal(err)
	}
	s := &external{filepath.Join(scripts(), kind), dir, freePort(t)}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *external) address() string { return "127.0.0.1:" + s.port }
func (s *external) start() error    { return s.call(s.script, s.dir, s.port) }
func (s *external) stop() error     { return s.call(s.script, "down", s.dir) }
func (s *external) kill() error     { return s.call(s.script, "kill", s.dir) }
func (s *external) pause() error    { return s.signal("-STOP") }
func (s *external) resume() error   { return s.signal("-CONT") }

func (s *external) signal(name string) error {
	pid, err := os.ReadFile(filepath.Join(s.dir, "pid"))
	if err != nil {
		return err
	}
	return s.call("kill", name, strings.TrimSpace(string(pid)))
}

func (s *external) call(name string, args ...string) error {
	said, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, said)
	}
	return nil
}

// discard kills a server and removes what it kept.
func (s *external) discard() {
	_ = s.kill()
	_ = os.RemoveAll(s.dir)
}

// brokers are Kafkas that no world uses at the moment: clean ones.
var brokers struct {
	mu   sync.Mutex
	idle []*external
}

// borrowBroker gives a Kafka without topics and groups until the test ends.
func borrowBroker(t *testing.T) *external {
	t.Helper()
	brokers.mu.Lock()
	var b *external
	if n := len(brokers.idle); n > 0 {
		b, brokers.idle = brokers.idle[n-1], brokers.idle[:n-1]
	}
	brokers.mu.Unlock()
	if b == nil {
		b = newExternal(t, "kafka")
	}
	t.Cleanup(func() {
		if t.Failed() || b.clean() != nil { // the next world gets one that is beyond doubt
			b.discard()
			return
		}
		brokers.mu.Lock()
		defer brokers.mu.Unlock()
		brokers.idle = append(brokers.idle, b)
	})
	return b
}

// clean deletes all groups, those too whose members were killed, and all topics.
func (s *external) clean() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.address()))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	groups, err := admin.DescribeGroups(ctx)
	if err != nil {
		return err
	}
	for _, g := range groups {
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Group = g.Group
		for _, m := range g.Members {
			leave.Members = append(leave.Members, kmsg.LeaveGroupRequestMember{MemberID: m.MemberID})
		}
		if _, err := leave.RequestWith(ctx, client); err != nil && len(leave.Members) > 0 {
			return err
		}
	}
	if len(groups) > 0 {
		deleted, err := admin.DeleteGroups(ctx, groups.Names()...)
		if err = errors.Join(err, deleted.Error()); err != nil {
			return err
		}
	}
	// A broker learns of a deletion a moment later: who came before would be given the old topics.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deleted := false; ; deleted = true {
		topics, err := admin.ListTopics(ctx)
		if err != nil || len(topics) == 0 {
			return err
		}
		if !deleted {
			answers, err := admin.DeleteTopics(ctx, topics.Names()...)
			if err = errors.Join(err, answers.Error()); err != nil {
				return err
			}
		}
		<-tick.C
	}
}
