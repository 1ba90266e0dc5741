package compose_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/joho/godotenv"
)

const root = "../../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// example are the variables of .env.example.
func example(t *testing.T) map[string]string {
	t.Helper()
	variables, err := godotenv.Read(filepath.Join(root, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	return variables
}

// load reads compose.yml with all its profiles and the variables of .env.example, but for these.
func load(t *testing.T, variables ...string) *types.Project {
	t.Helper()
	var env []string
	for name, value := range example(t) {
		env = append(env, name+"="+value)
	}
	env = append(env, variables...)
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "compose.yml")}, cli.WithEnv(env), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// of is the program that a service runs, "" where it is none of ours.
func of(service types.ServiceConfig) string {
	if service.Build == nil {
		return ""
	}
	return service.Build.Target
}

// services are the names of those that run a program.
func services(project *types.Project, program string) []string {
	var names []string
	for name, service := range project.Services {
		if of(service) == program {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestWhatRuns(t *testing.T) {
	project := load(t)
	for program, least := range map[string]int{"ev-central": 2, "ev-cp-e": 2, "ev-cp-m": 2, "ev-driver": 1} {
		if got := services(project, program); len(got) < least {
			t.Errorf("%s runs as %v: at least %d are wanted", program, got, least)
		}
	}
	drivers := services(project, "ev-driver")
	for name, service := range project.Services {
		if driver := slices.Contains(drivers, name); driver != slices.Equal(service.Profiles, []string{"drivers"}) {
			t.Errorf("%s is in the profiles %v", name, service.Profiles)
		}
	}
}

func TestImagesArePinned(t *testing.T) {
	version := regexp.MustCompile(`^[a-z/]+:\d+\.\d+\.\d+$`)
	for name, service := range load(t).Services {
		switch program := of(service); {
		case program == "" && !version.MatchString(service.Image):
			t.Errorf("%s: the image %q has no full version", name, service.Image)
		case program != "" && service.Image != "evcharging/"+program+":"+example(t)["EVCHARGING_VERSION"]:
			t.Errorf("%s builds %s and calls it %s", name, program, service.Image)
		}
	}
}

// Whoever is waited for ends, or has a health check; whoever runs on has one, and starts again.
func TestHealthChecks(t *testing.T) {
	project := load(t)
	ends := map[string]bool{}
	for _, service := range project.Services {
		for name, dependency := range service.DependsOn {
			switch dependency.Condition {
			case types.ServiceConditionCompletedSuccessfully:
				ends[name] = true
			case types.ServiceConditionHealthy:
				if check := project.Services[name].HealthCheck; check == nil || check.Disable {
					t.Errorf("%s waits until %s is healthy, which has no health check", service.Name, name)
				}
			default:
				t.Errorf("%s waits for %s: %s says nothing", service.Name, name, dependency.Condition)
			}
		}
	}
	for name, service := range project.Services {
		check := service.HealthCheck
		switch program := of(service); {
		case ends[name]:
			if check != nil || service.Restart != "" {
				t.Errorf("%s ends: it needs no health check and no restart", name)
			}
		case check == nil || check.Disable:
			t.Errorf("%s has no health check", name)
		case program != "" && !slices.Equal(check.Test, []string{"CMD", "/bin/" + program, "health"}):
			t.Errorf("%s: nobody but the program can answer for it: its image has no shell: %q", name, check.Test)
		case program != "ev-driver" && service.Restart != "unless-stopped":
			t.Errorf("%s does not start again", name)
		}
	}
}

func TestVolumesAndSecretsAreDeclaredAndUsed(t *testing.T) {
	project := load(t)
	volumes, secrets := map[string]bool{}, map[string]bool{}
	for name, service := range project.Services {
		for _, volume := range service.Volumes {
			volumes[volume.Source] = true
			if _, declared := project.Volumes[volume.Source]; volume.Type != types.VolumeTypeVolume || !declared {
				t.Errorf("%s: %s at %s is no volume that is declared", name, volume.Source, volume.Target)
			}
		}
		mounted := map[string]bool{}
		for _, secret := range service.Secrets {
			secrets[secret.Source] = true
			mounted["/run/secrets/"+secret.Source] = true
			if _, declared := project.Secrets[secret.Source]; !declared || secret.Target != "" && secret.Target != "/run/secrets/"+secret.Source {
				t.Errorf("%s: the secret %s is not declared, or elsewhere", name, secret.Source)
			}
		}
		used := map[string]bool{}
		for _, text := range append(texts(service), slices.Concat(service.Command, service.Entrypoint)...) {
			for _, path := range regexp.MustCompile(`/run/secrets/\w+`).FindAllString(text, -1) {
				used[path] = true
			}
			for _, called := range regexp.MustCompile(`secret\("(\w+)"\)`).FindAllStringSubmatch(text, -1) { // in the script of mongo-set
				used["/run/secrets/"+called[1]] = true
			}
		}
		if !maps.Equal(used, mounted) {
			t.Errorf("%s uses the secrets %v and has %v", name, used, mounted)
		}
	}
	if len(volumes) != len(project.Volumes) || len(secrets) != len(project.Secrets) {
		t.Errorf("declared, and not used: volumes %v of %v, secrets %v of %v", volumes, project.VolumeNames(), secrets, project.SecretNames())
	}
}

// texts are the values of a service's variables.
func texts(service types.ServiceConfig) []string {
	var values []string
	for _, value := range service.Environment {
		if value != nil {
			values = append(values, *value)
		}
	}
	return values
}

func TestNoFixedAddress(t *testing.T) {
	project := load(t)
	for name, service := range project.Services {
		if service.ContainerName != "" {
			t.Errorf("%s has a fixed name", name)
		}
		for _, network := range service.Networks {
			if network != nil && network.Ipv4Address+network.Ipv6Address != "" {
				t.Errorf("%s has a fixed address", name)
			}
		}
	}
	for name, network := range project.Networks {
		if len(network.Ipam.Config) > 0 {
			t.Errorf("the network %s has fixed addresses", name)
		}
	}
	if found := regexp.MustCompile(`\b\d+\.\d+\.\d+\.\d+\b`).FindAllString(read(t, "compose.yml"), -1); slices.ContainsFunc(found, func(ip string) bool {
		return ip != "0.0.0.0" && ip != "127.0.0.1"
	}) {
		t.Errorf("there are addresses: %v", found)
	}
}

// .env.example has the variables of compose.yml, no others, and no secret.
func TestVariablesAreInTheExample(t *testing.T) {
	text := strings.ReplaceAll(read(t, "compose.yml"), "$$", "")
	used := map[string]bool{}
	for _, found := range regexp.MustCompile(`\$\{(\w+)|\{environment: (\w+)\}`).FindAllStringSubmatch(text, -1) {
		used[found[1]+found[2]] = true
	}
	has := example(t)
	for name := range used {
		if _, ok := has[name]; !ok {
			t.Errorf("%s is not in .env.example", name)
		}
	}
	for name, value := range has {
		switch secret := strings.HasPrefix(name, "SECRET_"); {
		case !used[name]:
			t.Errorf("compose.yml has no %s", name)
		case secret == (value != ""):
			t.Errorf("%s is %q in .env.example", name, value)
		}
	}
	if strings.Contains(text, "latest") {
		t.Error("something is the latest")
	}
}
