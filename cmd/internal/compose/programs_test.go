package compose_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// patience is how long a network of this size may take until it is ready.
const patience = 90 * time.Second

// network is compose.yml as processes on this machine: each program with its own command line,
// variables and secrets, where addresses and paths alone are those of this machine.
type network struct {
	project  *types.Project
	dir      string
	here     *strings.Replacer           // hosts with their ports, and paths, of all services
	listens  map[string]string           // the port here of each service that others connect to
	commands map[string]func() *exec.Cmd // what a service runs
	checks   map[string]func() *exec.Cmd // its health check
	started  map[string]*process
}

// Others connect to these programs, at a port that no variable of compose.yml changes.
var listeners = map[string]struct{ host, port, number string }{
	"ev-central": {"CENTRAL_HOST", "CENTRAL_PORT", "7000"},
	"ev-cp-e":    {"CP_ENGINE_HOST", "CP_ENGINE_PORT", "7100"},
}

// rehearse prepares the network for servers here, to which replaced leads.
func rehearse(t *testing.T, project *types.Project, replaced ...string) *network {
	t.Helper()
	n := &network{
		project: project, dir: t.TempDir(), listens: map[string]string{},
		commands: map[string]func() *exec.Cmd{}, checks: map[string]func() *exec.Cmd{}, started: map[string]*process{},
	}
	if said, err := exec.Command("go", "build", "-o", filepath.Join(n.dir, "bin")+"/", "evcharging/cmd/...").CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v: %s", err, said)
	}
	for name, secret := range n.project.Secrets {
		path := filepath.Join(n.dir, "secret-"+name)
		if err := os.WriteFile(path, []byte(strings.ToLower(secret.Environment)), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced = append(replaced, "/run/secrets/"+name, path)
	}
	for name := range n.project.Services {
		n.listens[name] = freePort(t)
	}
	n.here = strings.NewReplacer(replaced...)
	for name, service := range n.project.Services {
		if of(service) != "" {
			n.prepare(t, name, service)
		}
	}
	return n
}

func (n *network) prepare(t *testing.T, name string, service types.ServiceConfig) {
	t.Helper()
	program := of(service)
	bin := filepath.Join(n.dir, "bin", program)
	help, err := exec.Command(bin, "--help").CombinedOutput()
	if err != nil {
		t.Fatalf("%s --help: %v: %s", program, err, help)
	}
	dir := filepath.Join(n.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var env []string
	for variable, value := range service.Environment {
		if value == nil || !regexp.MustCompile(`\$`+variable+`\b`).Match(help) {
			t.Errorf("%s: %s has no variable %s", name, program, variable)
			continue
		}
		text := n.here.Replace(strings.ReplaceAll(*value, "/var/lib/evcharging", dir))
		if host, _, found := strings.Cut(text, ":"); found && host == "0.0.0.0" { // where it answers for its health
			text = "127.0.0.1:" + freePort(t)
		}
		env = append(env, variable+"="+text)
	}
	if l, ok := listeners[program]; ok {
		if !strings.Contains(strings.Join(strings.Fields(string(help)), " "), "default "+l.number+", $"+l.port+")") {
			t.Errorf("%s does not listen on %s", program, l.number)
		}
		env = append(env, l.host+"=127.0.0.1", l.port+"="+n.listens[name])
	}
	args := n.connect(t, name, service.Command)
	command := func(args ...string) func() *exec.Cmd {
		return func() *exec.Cmd {
			cmd := exec.Command(bin, args...)
			cmd.Dir, cmd.Env = dir, env
			return cmd
		}
	}
	n.commands[name] = command(args...)
	n.checks[name] = command(service.HealthCheck.Test[2:]...)
}

// connect leads a command line's hosts, each in a flag before that of its port, to the
// services' ports here.
func (n *network) connect(t *testing.T, name string, args []string) []string {
	t.Helper()
	args = slices.Clone(args)
	for i, arg := range args {
		flag, host, found := strings.Cut(arg, "-host=")
		if !found {
			continue
		}
		other := n.service(host)
		if other == "" {
			t.Errorf("%s connects to %s, which is no service", name, host)
			continue
		}
		port := flag + "-port="
		if want := port + listeners[of(n.project.Services[other])].number; i+1 == len(args) || args[i+1] != want {
			t.Errorf("%s: after %s %s is wanted", name, arg, want)
			continue
		}
		args[i], args[i+1] = flag+"-host=127.0.0.1", port+n.listens[other]
	}
	return args
}

// service is the one that answers to a name.
func (n *network) service(host string) string {
	for _, name := range n.project.ServiceNames() {
		network := n.project.Services[name].Networks["default"]
		if name == host || network != nil && slices.Contains(network.Aliases, host) {
			return name
		}
	}
	return ""
}

// process is a service that runs.
type process struct {
	cmd   *exec.Cmd
	said  bytes.Buffer
	ended chan error
}

func (n *network) start(t *testing.T, name string) {
	t.Helper()
	p := &process{cmd: n.commands[name](), ended: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		p.ended <- p.cmd.Wait()
		close(gone)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-gone
		if t.Failed() {
			t.Logf("%s:\n%s", name, p.said.String())
		}
	})
	n.started[name] = p
}

// healthy waits until a service's health check passes.
func (n *network) healthy(t *testing.T, name string, more ...string) {
	t.Helper()
	for deadline := time.After(patience); ; {
		check := n.checks[name]()
		check.Args = append(check.Args, more...)
		said, err := check.CombinedOutput()
		if err == nil {
			return
		}
		select {
		case err := <-n.started[name].ended:
			t.Fatalf("%s ended: %v", name, err)
		case <-deadline:
			t.Fatalf("%s is not healthy: %s", name, said)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// The servers of compose.yml, as its programs name them.
const (
	kafka = "kafka:9092"
	mongo = "mongo-1:27017,mongo-2:27017,mongo-3:27017"
	set   = "replicaSet=evcharging"
)

func TestServersAreWhereTheProgramsLookForThem(t *testing.T) {
	project := load(t)
	if at := project.Services["kafka"].Environment["KAFKA_ADVERTISED_LISTENERS"]; at == nil || !strings.Contains(*at, "://"+kafka+",") {
		t.Errorf("%s is not where Kafka says that it is", kafka)
	}
	for _, host := range strings.Split(mongo, ",") {
		name, _ := strings.CutSuffix(host, ":27017")
		if command := strings.Join(project.Services[name].Command, " "); !strings.Contains(command, "--replSet "+strings.TrimPrefix(set, "replicaSet=")+" ") {
			t.Errorf("%s is no member of the replica set: %s", name, command)
		}
	}
	for name, service := range project.Services {
		if at := service.Environment["KAFKA_BOOTSTRAP_SERVERS"]; of(service) != "" && (at == nil || *at != kafka) {
			t.Errorf("%s does not look for Kafka at %s", name, kafka)
		}
		if at, ok := service.Environment["MONGO_URI"]; ok && *at != "mongodb://"+mongo+"/?"+set {
			t.Errorf("%s looks for a MongoDB at %s", name, *at)
		}
	}
}

// Given that neither Kafka nor MongoDB answers, when each program is started as in
// compose.yml, then it is alive as its health check finds, and is waiting.
func TestCommandLines(t *testing.T) {
	nowhere := "127.0.0.1:" + freePort(t)
	n := rehearse(t, load(t), kafka, nowhere, mongo, nowhere, set, "")
	for name := range n.commands {
		n.start(t, name)
	}
	for name := range n.commands {
		n.healthy(t, name, "--live")
	}
}

// Given servers that ask for the passwords of compose.yml, when the network is started,
// then all of it gets ready, and a driver gets a ticket.
func TestNetworkOnRealServers(t *testing.T) {
	if os.Getenv("EV_TEST_SERVERS") != "real" {
		t.Skip("needs real servers: make integration")
	}
	asked, port := freePort(t), freePort(t)
	server(t, "kafka", freePort(t), "--sasl", asked, "--user", "evcharging:secret_kafka")
	server(t, "mongo", port, "--auth", "evcharging:secret_mongo")
	n := rehearse(t, load(t, "POINT_SPEED=3600"), kafka, "127.0.0.1:"+asked, mongo, "127.0.0.1:"+port, set, "")
	drivers := services(n.project, "ev-driver")
	for name := range n.commands {
		if !slices.Contains(drivers, name) {
			n.start(t, name)
		}
	}
	for name := range n.started {
		n.healthy(t, name)
	}
	for _, name := range drivers {
		n.start(t, name)
	}
	for _, name := range drivers {
		select {
		case err := <-n.started[name].ended:
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(patience):
			t.Errorf("%s has no ticket", name)
		}
	}
}

// server starts a real one in a folder of its own, until the test ends.
func server(t *testing.T, kind, port string, options ...string) {
	t.Helper()
	script, dir := filepath.Join(root, ".ci", "servers", kind), t.TempDir()
	t.Cleanup(func() {
		if said, err := exec.Command(script, "kill", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, said)
		}
	})
	said, err := exec.Command(script, append([]string{dir, port}, options...)...).CombinedOutput()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		err = fmt.Errorf("%w: %s", err, said)
	}
	if err != nil {
		t.Fatal(err)
	}
}
