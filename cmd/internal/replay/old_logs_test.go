package replay

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"evcharging/adapters/eventjson"
	"evcharging/adapters/mongo"
	"evcharging/application/central"
	"evcharging/application/eventlog"
)

var update = flag.Bool("update", false, "write the documents of old logs anew")

// oldLogs are what any version of the project has written.
const oldLogs = "../../../adapters/eventjson/testdata/logs"

// What any version of the project has written gives documents for ever. Those in testdata
// change where documents get other fields, and then with -update; never in what they say.
func TestOldLogsGiveTheirDocuments(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(oldLogs, "*.jsonl"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		t.Run(name, func(t *testing.T) {
			source, err := openLog(t, file, "")
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close()
			var streams []eventlog.Stream
			for c, err := range source.All(t.Context(), 1) {
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range c.Parts {
					streams = append(streams, p.Stream)
				}
			}
			slices.Sort(streams)
			core := &central.Central{Log: source, Codec: eventjson.Codec{}}
			var text strings.Builder
			for _, stream := range slices.Compact(streams) {
				document, err := mongo.Document(stream, core.Parts(t.Context(), stream, 1))
				if err != nil {
					t.Fatal(err)
				}
				text.WriteString(string(stream) + " " + document + "\n")
			}
			held := filepath.Join("testdata", "documents", name+".txt")
			if *update {
				if err := os.WriteFile(held, []byte(text.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(held)
			if err != nil || text.String() != string(want) {
				t.Errorf("%s is (%v)\n%s\nand was\n%s", held, err, text.String(), want)
			}
		})
	}
}
