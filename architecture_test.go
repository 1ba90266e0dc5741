// Package evcharging_test holds the architecture: who may import whom, and what the pure
// parts do without.
package evcharging_test

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "evcharging"

// folders are the top-level folders, besides those whose names begin with a dot.
var folders = []string{"adapters", "application", "cmd", "docs", "domain"}

// pureStd is the part of the standard library that has no I/O, no clock to ask but
// time's functions (see clock), no locks and no state of its own.
var pureStd = []string{
	"cmp", "errors", "fmt", "iter", "maps", "math", "math/bits", "regexp", "slices", "sort", "strconv", "strings",
	"time", "unicode", "unicode/utf8",
}

// layers say what shipped code may import, besides its own folder.
var layers = map[string]struct {
	ours    []string // folders
	std     []string // nil: all
	others  []string // modules; nil: all but those for tests
	forTest []string // folders that its tests may import, besides
}{
	"domain": {
		ours: []string{"domain"}, std: pureStd, others: []string{"github.com/google/uuid"},
	},
	"application": {
		ours: []string{"domain", "application"},
		std: append(slices.Clone(pureStd),
			"bufio", "bytes", "context", "crypto/hmac", "crypto/sha256", "encoding/binary", "encoding/hex", "io"),
		others:  []string{"github.com/google/uuid", "golang.org/x/mod/sumdb/tlog"}, // a Merkle tree: arithmetic alone
		forTest: []string{"adapters"},
	},
	"adapters": {ours: []string{"domain", "application"}},
	"cmd":      {ours: []string{"domain", "application", "adapters", "cmd"}},
}

// durable is how adapters keep files; any may import it, and it imports none.
const durable = "adapters/durable"

// testLibraries are for tests alone, as is every package of ours whose name ends in "test".
var testLibraries = []string{
	"testing", "net/http/httptest", "pgregory.net/rapid", "go.uber.org/goleak",
	"github.com/rogpeppe/go-internal", "github.com/anishathalye/porcupine", "github.com/segmentio/kafka-go",
}

// What a call of the pure parts may not reach, by the import path of its package.
var hidden = map[string]map[string]string{
	"time": inAll("asks the clock: time comes in as an argument",
		"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local", "LoadLocation"),
	"context": inAll("asks the clock: time comes in as an argument",
		"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause"),
	"github.com/google/uuid": inAll("makes an id: ids come in as arguments",
		"New", "NewString", "NewRandom", "NewRandomFromReader", "NewUUID", "NewV6", "NewV7", "NewV7FromReader"),
}

var vagueNames = []string{"utils", "util", "common", "helpers", "helper", "manager", "misc"}

// floating are the names by which a float enters without its type's name.
var floating = []string{
	"float32", "float64", "complex64", "complex128", "ParseFloat", "FormatFloat", "AppendFloat",
	"Seconds", "Minutes", "Hours", // of a time.Duration
}

func inAll(why string, names ...string) map[string]string {
	m := map[string]string{}
	for _, name := range names {
		m[name] = why
	}
	return m
}

func TestArchitecture(t *testing.T) {
	breaches, files := inspect(t, os.DirFS("."))
	for _, b := range breaches {
		t.Error(b)
	}
	if files < 100 {
		t.Errorf("only %d files were looked at", files)
	}
}

// inspect tells every breach of the architecture below a folder, and how many Go files it looked at.
func inspect(t *testing.T, root fs.FS) (breaches []string, files int) {
	t.Helper()
	breaches = topLevel(t, root)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch base := path.Base(name); {
		case err != nil:
			return err
		case name == ".":
			return nil
		case d.IsDir() && (strings.HasPrefix(base, ".") || base == "testdata"):
			return fs.SkipDir
		case slices.Contains(vagueNames, strings.TrimSuffix(strings.TrimSuffix(base, ".go"), "_test")):
			breaches = append(breaches, name+": the name says nothing: name it after what it does")
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		files++
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		for _, b := range inspectFile(name, text) {
			breaches = append(breaches, name+":"+b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return breaches, files
}

// topLevel tells which top-level folders are too many or missing. What .gitignore names is not looked at.
func topLevel(t *testing.T, root fs.FS) (breaches []string) {
	t.Helper()
	ignored := map[string]bool{}
	if file, err := root.Open(".gitignore"); err == nil {
		for lines := bufio.NewScanner(file); lines.Scan(); {
			ignored[strings.Trim(lines.Text(), "/ ")] = true
		}
		_ = file.Close()
	}
	entries, err := fs.ReadDir(root, ".")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		name := e.Name()
		if !e.IsDir() || ignored[name] || strings.HasPrefix(name, ".") {
			continue
		}
		found = append(found, name)
		if !slices.Contains(folders, name) {
			breaches = append(breaches, name+": no top-level folder: what does not fit goes inside one of "+strings.Join(folders, ", "))
		}
	}
	for _, name := range folders {
		if !slices.Contains(found, name) {
			breaches = append(breaches, name+": a top-level folder is missing")
		}
	}
	return breaches
}

// inspectFile tells the breaches of one file, each with its line.
func inspectFile(name string, text []byte) (breaches []string) {
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, name, text, parser.SkipObjectResolution)
	if err != nil {
		return []string{"0: " + err.Error()}
	}
	breach := func(at token.Pos, format string, args ...any) {
		breaches = append(breaches, fmt.Sprintf("%d: %s", positions.Position(at).Line, fmt.Sprintf(format, args...)))
	}
	folder := path.Dir(name)
	parts := strings.Split(folder, "/")
	layer, known := layers[parts[0]]
	if !known {
		return nil
	}
	isTest := strings.HasSuffix(name, "_test.go")
	forTests := isTest || strings.HasSuffix(path.Base(folder), "test")

	if vague := strings.TrimSuffix(file.Name.Name, "_test"); slices.Contains(vagueNames, vague) {
		breach(file.Name.Pos(), "package %s: the name says nothing: name it after what it does", vague)
	}
	imported := map[string]string{} // import path by the name that the file uses
	for _, spec := range file.Imports {
		target, _ := strconv.Unquote(spec.Path.Value)
		short := path.Base(target)
		if spec.Name != nil {
			short = spec.Name.Name
		}
		imported[short] = target
		if short == "." {
			breach(spec.Pos(), "imports %s without a name", target)
		}
		switch to, ours := strings.CutPrefix(target, module+"/"); {
		case ours:
			toParts := strings.Split(to, "/")
			switch {
			case strings.HasSuffix(to, "test") && !forTests:
				breach(spec.Pos(), "imports %s, which is for tests alone", to)
			case parts[0] == "adapters" && toParts[0] == "adapters":
				if toParts[1] != parts[1] && to != durable {
					breach(spec.Pos(), "imports %s: an adapter never imports another", to)
				}
			case isTest && slices.Contains(layer.forTest, toParts[0]):
			case !slices.Contains(layer.ours, toParts[0]):
				breach(spec.Pos(), "imports %s: %s may import %s alone", to, parts[0], strings.Join(layer.ours, ", "))
			}
		case target == "C" || target == "unsafe":
			breach(spec.Pos(), "imports %s", target)
		case !forTests && slices.ContainsFunc(testLibraries, func(l string) bool { return within(target, l) }):
			breach(spec.Pos(), "imports %s, which is for tests alone", target)
		case forTests:
		case !strings.Contains(strings.Split(target, "/")[0], "."):
			if layer.std != nil && !slices.Contains(layer.std, target) {
				breach(spec.Pos(), "imports %s: %s is to stay pure", target, parts[0])
			}
		case layer.others != nil && !slices.ContainsFunc(layer.others, func(l string) bool { return within(target, l) }):
			breach(spec.Pos(), "imports %s: %s may import %s alone", target, parts[0], strings.Join(layer.others, ", "))
		}
	}
	if layer.std != nil && !forTests {
		purity(file, imported, parts[0] == "domain", breach)
	}
	return breaches
}

// purity tells what a file of the pure parts does that is another's business.
func purity(file *ast.File, imported map[string]string, domain bool, breach func(token.Pos, string, ...any)) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			breach(n.Pos(), "starts a goroutine: adapters and wiring do")
		case *ast.SelectStmt:
			breach(n.Pos(), "selects: adapters and wiring do")
		case *ast.ChanType:
			breach(n.Pos(), "has a channel: adapters and wiring do")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				if why := hidden[imported[x.Name]][n.Sel.Name]; why != "" {
					breach(n.Pos(), "%s.%s %s", x.Name, n.Sel.Name, why)
				}
			}
		case *ast.Ident:
			if domain && slices.Contains(floating, n.Name) {
				breach(n.Pos(), "%s: figures are integers in the domain", n.Name)
			}
		case *ast.BasicLit:
			if domain && (n.Kind == token.FLOAT || n.Kind == token.IMAG) {
				breach(n.Pos(), "%s: figures are integers in the domain", n.Value)
			}
		case *ast.Field:
			if domain && n.Tag != nil {
				breach(n.Tag.Pos(), "has a tag: how a value is stored is an adapter's business")
			}
		}
		return true
	})
}

func within(target, library string) bool {
	return target == library || strings.HasPrefix(target, library+"/")
}

// Each rule is broken once, in a tree that has nothing else, and seen.
func TestArchitectureSeesBreaches(t *testing.T) {
	sound := map[string]string{
		"domain/point/point.go":                     "package point; import (\"time\"; \"github.com/google/uuid\"; \"evcharging/domain\")",
		"domain/point/point_test.go":                "package point_test; import (\"testing\"; \"os\"; \"pgregory.net/rapid\"; \"evcharging/domain/domaintest\")",
		"domain/domaintest/kit.go":                  "package domaintest; import (\"testing\"; \"reflect\")",
		"application/central/turn.go":               "package central; import (\"context\"; \"evcharging/domain\"; \"evcharging/application/eventlog\")",
		"application/central/turn_test.go":          "package central_test; import (\"sync\"; \"evcharging/adapters/memory\")",
		"application/eventlog/eventlogtest/s.go":    "package eventlogtest; import (\"sync\"; \"testing\"; \"evcharging/application/eventlog\")",
		"adapters/kafka/wire.go":                    "package kafka; import (\"net\"; \"os\"; \"time\"; \"evcharging/adapters/kafka/lanes\"; \"evcharging/application/message\"); var now = time.Now; type r struct { A float64 `json:\"a\"` }",
		"adapters/kafka/lanes/lanes.go":             "package lanes; func f() { go f(); select {} }",
		"cmd/evcharging/main.go":                    "package main; import (\"evcharging/adapters/kafka\"; \"evcharging/cmd/internal/program\"; \"evcharging/domain\")",
		"domain/point/testdata/utils.go":            "package utils; import \"os\"",
		".cache/utils.go":                           "package utils",
		"docs/adr/1.md":                             "",
		"bin/evcharging":                            "",
		".gitignore":                                "/bin/\n*.test\n",
		"domain/point/uses_names_that_are_alike.go": "package point; func f(p *point) { p.time.Now(); uuid.Parse(\"\"); p.Local() }",
	}
	for name, test := range map[string]struct {
		file, text string // none: without file
		want       string
	}{
		"nothing is wrong":                {},
		"a folder too many":               {"pkg/x.md", "", "pkg: no top-level folder"},
		"a folder is missing":             {"docs", "", "docs: a top-level folder is missing"},
		"a package without a name":        {"adapters/utils/u.go", "package u", "adapters/utils: the name says nothing"},
		"a package clause without a name": {"adapters/kafka2/u.go", "package common", "package common: the name says nothing"},
		"a file without a name":           {"cmd/evcharging/helpers.go", "package main", "helpers.go: the name says nothing"},
		"a test file without a name":      {"domain/manager_test.go", "package domain", "manager_test.go: the name says nothing"},
		"what is no Go":                   {"domain/x.go", "pakcage x", "expected 'package'"},

		"domain imports application":         {"domain/x.go", "package domain; import \"evcharging/application/message\"", "imports application/message"},
		"domain imports an adapter":          {"domain/x.go", "package domain; import \"evcharging/adapters/kafka\"", "imports adapters/kafka"},
		"a test of domain imports one":       {"domain/x_test.go", "package domain; import \"evcharging/adapters/kafka\"", "imports adapters/kafka"},
		"domain imports os":                  {"domain/x.go", "package domain; import \"os\"", "imports os"},
		"domain imports context":             {"domain/x.go", "package domain; import \"context\"", "imports context"},
		"domain imports sync":                {"domain/x.go", "package domain; import \"sync\"", "imports sync"},
		"domain imports log":                 {"domain/x.go", "package domain; import \"log/slog\"", "imports log/slog"},
		"domain imports net":                 {"domain/x.go", "package domain; import \"net/http\"", "imports net/http"},
		"domain imports database":            {"domain/x.go", "package domain; import \"database/sql\"", "imports database/sql"},
		"domain imports unsafe":              {"domain/x.go", "package domain; import \"unsafe\"", "imports unsafe"},
		"domain imports a library":           {"domain/x.go", "package domain; import \"github.com/IBM/sarama\"", "imports github.com/IBM/sarama"},
		"domain imports one alike":           {"domain/x.go", "package domain; import \"github.com/google/uuidx\"", "imports github.com/google/uuidx"},
		"domain imports its kit":             {"domain/x.go", "package domain; import \"evcharging/domain/domaintest\"", "for tests alone"},
		"domain imports without a name":      {"domain/x.go", "package domain; import . \"time\"", "without a name"},
		"domain asks the clock":              {"domain/x.go", "package domain; import \"time\"; var t = time.Now()", "time.Now asks the clock"},
		"domain keeps the clock":             {"domain/x.go", "package domain; import \"time\"; var t = time.Now", "time.Now asks the clock"},
		"domain asks by another name":        {"domain/x.go", "package domain; import t \"time\"; var x = t.Since(y)", "t.Since asks the clock"},
		"domain sleeps":                      {"domain/x.go", "package domain; import \"time\"; func f() { time.Sleep(1) }", "time.Sleep asks the clock"},
		"domain makes an id":                 {"domain/x.go", "package domain; import \"github.com/google/uuid\"; var x = uuid.New()", "uuid.New makes an id"},
		"domain makes a later id":            {"domain/x.go", "package domain; import \"github.com/google/uuid\"; var x, _ = uuid.NewV7()", "uuid.NewV7 makes an id"},
		"domain has a float":                 {"domain/x.go", "package domain; type e float64", "float64: figures are integers"},
		"domain has a float's literal":       {"domain/x.go", "package domain; var e = 1e3", "1e3: figures are integers"},
		"domain has a duration as a float":   {"domain/x.go", "package domain; func f(d duration) bool { return d.Seconds() > 3 }", "Seconds: figures are integers"},
		"domain has a tag":                   {"domain/x.go", "package domain; type e struct { A int `json:\"a\"` }", "has a tag"},
		"domain starts a goroutine":          {"domain/x.go", "package domain; func f() { go f() }", "starts a goroutine"},
		"domain has a channel":               {"domain/x.go", "package domain; var c chan int", "has a channel"},
		"application imports an adapter":     {"application/central/x.go", "package central; import \"evcharging/adapters/memory\"", "imports adapters/memory"},
		"application imports cmd":            {"application/central/x.go", "package central; import \"evcharging/cmd/internal/program\"", "imports cmd/internal/program"},
		"a test of application imports it":   {"application/central/x_test.go", "package central; import \"evcharging/cmd/internal/program\"", "imports cmd/internal/program"},
		"application imports os":             {"application/central/x.go", "package central; import \"os\"", "imports os"},
		"application imports net":            {"application/central/x.go", "package central; import \"net\"", "imports net"},
		"application locks":                  {"application/central/x.go", "package central; import \"sync\"", "imports sync"},
		"application counts for all":         {"application/central/x.go", "package central; import \"sync/atomic\"", "imports sync/atomic"},
		"application imports a library":      {"application/central/x.go", "package central; import \"github.com/IBM/sarama\"", "imports github.com/IBM/sarama"},
		"application asks the clock":         {"application/central/x.go", "package central; import \"time\"; var t = time.Now()", "time.Now asks the clock"},
		"application waits":                  {"application/central/x.go", "package central; import \"context\"; var c, _ = context.WithTimeout(nil, 1)", "context.WithTimeout asks the clock"},
		"application makes an id":            {"application/central/x.go", "package central; import \"github.com/google/uuid\"; var x = uuid.NewString()", "uuid.NewString makes an id"},
		"application starts a goroutine":     {"application/central/x.go", "package central; func f() { go f() }", "starts a goroutine"},
		"application selects":                {"application/central/x.go", "package central; func f() { select {} }", "selects"},
		"an adapter imports another":         {"adapters/kafka/x.go", "package kafka; import \"evcharging/adapters/memory\"", "an adapter never imports another"},
		"a test of one does":                 {"adapters/kafka/x_test.go", "package kafka; import \"evcharging/adapters/memory\"", "an adapter never imports another"},
		"one below an adapter does":          {"adapters/kafka/lanes/x.go", "package lanes; import \"evcharging/adapters/memory/signs\"", "an adapter never imports another"},
		"an adapter imports cmd":             {"adapters/kafka/x.go", "package kafka; import \"evcharging/cmd/internal/program\"", "imports cmd/internal/program"},
		"an adapter ships rapid":             {"adapters/kafka/x.go", "package kafka; import \"pgregory.net/rapid\"", "for tests alone"},
		"an adapter ships testing":           {"adapters/kafka/x.go", "package kafka; import \"testing/synctest\"", "for tests alone"},
		"a binary ships goleak":              {"cmd/evcharging/x.go", "package main; import \"go.uber.org/goleak\"", "for tests alone"},
		"a binary ships testscript":          {"cmd/evcharging/x.go", "package main; import \"github.com/rogpeppe/go-internal/testscript\"", "for tests alone"},
		"a binary ships a suite":             {"cmd/evcharging/x.go", "package main; import \"evcharging/application/eventlog/eventlogtest\"", "for tests alone"},
		"a package for tests breaks a layer": {"domain/domaintest/x.go", "package domaintest; import \"evcharging/application/message\"", "imports application/message"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for file, text := range sound {
				tree[file] = &fstest.MapFile{Data: []byte(text)}
			}
			switch {
			case test.file == "docs":
				delete(tree, "docs/adr/1.md")
			case test.file != "":
				tree[test.file] = &fstest.MapFile{Data: []byte(test.text)}
			}
			breaches, _ := inspect(t, tree)
			switch {
			case test.want == "" && len(breaches) > 0:
				t.Errorf("a sound tree has breaches: %q", breaches)
			case test.want != "" && (len(breaches) != 1 || !strings.Contains(breaches[0], test.want)):
				t.Errorf("got %q, want one that says %q", breaches, test.want)
			}
		})
	}
}
