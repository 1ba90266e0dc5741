package endtoend

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
)

// guarded is a real Kafka that denies what nobody has permitted. Its address is for the
// tests' own client, which may do anything; the programs come over TLS, each as its user.
type guarded struct {
	*external
	secured, ca string
	options     []string
}

func (g guarded) start() error {
	return g.call(g.script, append([]string{g.dir, g.port}, g.options...)...)
}

const everybodysPassword = "correct-horse"

// newGuarded starts one with users.
func newGuarded(t *testing.T, users ...string) guarded {
	t.Helper()
	dir, err := os.MkdirTemp(servers.dir, "kafka-")
	must(t, err)
	port := freePort(t)
	g := guarded{
		&external{filepath.Join(scripts(), "kafka"), dir, freePort(t)}, "127.0.0.1:" + port, filepath.Join(dir, "tls", "ca.crt"),
		[]string{"--acl", "--sasl-tls", port, "--user", "admin:admin"},
	}
	for _, user := range users {
		g.options = append(g.options, "--user", user+":"+everybodysPassword)
	}
	must(t, g.start())
	t.Cleanup(g.discard)
	return g
}

// commands are the calls of kafka-acls.sh that docs/security.md has, each its words.
func commands(t *testing.T) (all [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "security.md"))
	must(t, err)
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == "$acls" {
			all = append(all, words[1:])
		}
	}
	if len(all) == 0 {
		t.Fatal("docs/security.md has no commands")
	}
	return all
}

// permit does what a command of kafka-acls.sh does.
func (w *world) permit(command []string) {
	w.t.Helper()
	var (
		principal         string
		operations, names []string
		of                = kafka.ResourceTypeTopic
		pattern           = kafka.PatternTypeLiteral
		operationOf       = map[string]kafka.ACLOperationType{
			"Read": kafka.ACLOperationTypeRead, "Write": kafka.ACLOperationTypeWrite, "Create": kafka.ACLOperationTypeCreate,
			"AlterConfigs": kafka.ACLOperationTypeAlterConfigs, "DescribeConfigs": kafka.ACLOperationTypeDescribeConfigs,
		}
	)
	for ; len(command) >= 2; command = command[2:] {
		switch value := command[1]; command[0] {
		case "--allow-principal":
			principal = value
		case "--operation":
			operations = append(operations, value)
		case "--group":
			of = kafka.ResourceTypeGroup
			names = append(names, value)
		case "--topic":
			names = append(names, value)
		case "--resource-pattern-type":
			if value != "prefixed" {
				w.t.Fatalf("nobody knows the pattern %s", value)
			}
			pattern = kafka.PatternTypePrefixed
		default:
			w.t.Fatalf("nobody knows %s", command[0])
		}
	}
	request := &kafka.CreateACLsRequest{}
	for _, name := range names {
		for _, operation := range operations {
			if operationOf[operation] == 0 {
				w.t.Fatalf("nobody knows the operation %s", operation)
			}
			request.ACLs = append(request.ACLs, kafka.ACLEntry{
				ResourceType: of, ResourceName: name, ResourcePatternType: pattern,
				Principal: principal, Host: "*", Operation: operationOf[operation], PermissionType: kafka.ACLPermissionTypeAllow,
			})
		}
	}
	answer, err := w.client.CreateACLs(w.t.Context(), request)
	must(w.t, err)
	for _, err := range answer.Errors {
		must(w.t, err)
	}
}

// What docs/security.md permits each program is what it needs, and all that it needs.
func TestEachProgramDoesWithWhatItIsPermitted(t *testing.T) {
	needsKafka(t)
	g := newGuarded(t, "ev-central", "ev-cp-e", "ev-cp-m", "ev-driver", "ev-operator")
	w := &world{t: t, dir: t.TempDir()}
	w.use(g)
	t.Setenv("KAFKA_PASSWORD_FILE", w.file("password", everybodysPassword+"\n"))
	as := func(user, program string, args ...string) *process {
		return w.launch(program, append(args, "--kafka", g.secured, "--kafka-tls", "--kafka-ca", g.ca, "--kafka-username", user)...)
	}
	authentication, pages, heartbeat := freePort(t), "127.0.0.1:"+freePort(t), freePort(t)
	startCentral := func() *process {
		return as("ev-central", "ev-central", "--host", "127.0.0.1", "--port", authentication, "--http", pages, "--log", filepath.Join(w.dir, "log"))
	}
	startEngine := func(user string) *process {
		return as(user, "ev-cp-e", "--id", "CP-001", "--host", "127.0.0.1", "--port", heartbeat, "--journal", filepath.Join(w.dir, "journal"), "--battery", "0.05")
	}

	denied := startCentral()
	if status := denied.wait(patience); status != 1 || !strings.Contains(denied.output(), "ev-central: Kafka denies access: the user ev-central may not read ev.register, ") {
		t.Errorf("without permissions Central ends with %d:\n%s", status, denied.output())
	}
	for _, command := range commands(t) {
		w.permit(command)
	}

	c := &central{w: w, pages: pages, process: startCentral()}
	c.says("Central is ready")
	engine := startEngine("ev-cp-e")
	engine.says("the Engine is up")
	monitor := as("ev-cp-m", "ev-cp-m", "--id", "CP-001", "--engine-host", "127.0.0.1", "--engine-port", heartbeat,
		"--central-host", "127.0.0.1", "--central-port", authentication)
	c.shows("CP-001", "ACTIVATED")
	programs := []*process{c.process, engine, monitor}
	run := func(want string, p *process) {
		t.Helper()
		if status := p.wait(patience); status != 0 || !strings.Contains(p.output(), want) {
			t.Errorf("%s ends with %d and has no %q:\n%s", p.name, status, want, p.output())
		}
		programs = append(programs, p)
	}
	run("0.05 kWh", as("ev-driver", "ev-driver", "--driver-id", "D-001", "--cp", "CP-001"))
	run("CP-001", as("ev-driver", "ev-driver", "points"))
	run("0.42", as("ev-operator", "ev-central", "price", "CP-001", "0.42"))
	engine.types("request D-002")
	w.listen("ev.supply.ticket", "ev.health.dlq")
	w.hears("ev.supply.ticket", map[string]any{"driver_id": "D-002", "price": 0.42})
	w.send("ev.health", "what nobody understands")
	eventually(t, "what nobody understands lies in the dead-letter topic", func() bool { return len(w.all("ev.health.dlq", nil)) == 1 })
	if tickets := c.tickets(); len(tickets) != 2 {
		t.Errorf("the tickets are %v", tickets)
	}

	// Nobody is what it is not: a Monitor's user makes no Engine.
	impostor := as("ev-cp-m", "ev-cp-e", "--id", "CP-002", "--host", "127.0.0.1", "--port", freePort(t), "--journal", filepath.Join(w.dir, "journal"))
	if status := impostor.wait(patience); status != 1 ||
		!strings.Contains(impostor.output(), "ev-cp-e: Kafka denies access: the user ev-cp-m may not read ev.commands, ev.supply.start, nor write ev.supply.telemetry, ev.supply.done: ") {
		t.Errorf("with another's permissions an Engine ends with %d:\n%s", status, impostor.output())
	}
	for _, p := range programs {
		if out := p.output(); strings.Contains(out, "denies") || strings.Contains(out, "permit") || strings.Contains(out, "may not") || strings.Contains(out, everybodysPassword) {
			t.Errorf("%s says\n%s", p.name, out)
		}
	}
	monitor.stop()
	engine.stop()
	c.stop()
}
