package compose_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stage is a FROM of the Dockerfile and what follows it.
type stage struct {
	from  string
	lines map[string][]string // what follows an instruction's word, in order
}

func stages(t *testing.T) map[string]stage {
	t.Helper()
	found, current := map[string]stage{}, stage{}
	for _, line := range strings.Split(read(t, "Dockerfile"), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		if from := regexp.MustCompile(`^FROM (\S+) AS (\S+)$`).FindStringSubmatch(line); from != nil {
			current = stage{from[1], map[string][]string{}}
			found[from[2]] = current
		} else if word != "" && word != "#" {
			if current.lines == nil {
				t.Fatalf("%q is in no stage with a name", line)
			}
			current.lines[word] = append(current.lines[word], rest)
		}
	}
	return found
}

// Each program has an image of its own name, which begins with it.
func TestImagesOfThePrograms(t *testing.T) {
	stages := stages(t)
	programs := []string{"base", "build"}
	folders, err := os.ReadDir(filepath.Join(root, "cmd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if folder.Name() == "internal" {
			continue
		}
		program := folder.Name()
		programs = append(programs, program)
		image := stages[program]
		var entry []string
		if lines := image.lines["ENTRYPOINT"]; len(lines) != 1 || json.Unmarshal([]byte(lines[0]), &entry) != nil || !slices.Equal(entry, []string{"/bin/" + program}) {
			t.Errorf("the image %s begins with %v", program, lines)
		}
		if copies := image.lines["COPY"]; image.from != "base" || !slices.Equal(copies, []string{"--from=build /out/" + program + " /bin/"}) {
			t.Errorf("the image %s is from %s and has %v", program, image.from, copies)
		}
		if image.lines["USER"] != nil {
			t.Errorf("the image %s has a user of its own", program)
		}
	}
	for name := range stages {
		if !slices.Contains(programs, name) {
			t.Errorf("%s is no program", name)
		}
	}
	for name, service := range load(t).Services {
		if program := of(service); program != "" && (stages[program].from == "" || program == "build" || service.Build.Context != absolute(t, root) || len(service.Entrypoint) > 0) {
			t.Errorf("%s: %s is no image of a program as it is in the Dockerfile", name, program)
		}
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// What is built is static, by the Go that go.mod names, and does not run as root.
func TestBaseOfTheImages(t *testing.T) {
	stages := stages(t)
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "go.mod"))[1]
	if from := stages["build"].from; !strings.HasPrefix(from, "golang:"+version+"-") {
		t.Errorf("it is built by %s, and go.mod names Go %s", from, version)
	}
	if runs := stages["build"].lines["RUN"]; !slices.ContainsFunc(runs, func(run string) bool {
		return strings.HasPrefix(run, "CGO_ENABLED=0 go build ") && strings.HasSuffix(run, " -o /out/ ./cmd/...")
	}) {
		t.Errorf("nothing builds static programs: %q", runs)
	}
	base := stages["base"]
	if users := base.lines["USER"]; base.from != "scratch" || len(users) != 1 || !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(users[0]) {
		t.Errorf("the images are from %s and run as %v", base.from, users)
	}
	// A volume takes over whose its folder is.
	state := "/var/lib/evcharging"
	if !slices.Contains(base.lines["COPY"], "--from=build --chown="+strings.Join(base.lines["USER"], "")+" /state "+state) {
		t.Errorf("the programs' user does not own %s", state)
	}
	for name, service := range load(t).Services {
		for _, volume := range service.Volumes {
			if of(service) != "" && volume.Target != state {
				t.Errorf("%s: the program may not write to %s", name, volume.Target)
			}
		}
	}
}
