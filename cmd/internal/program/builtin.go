package program

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

// errShown says that the command line has been served already.
var errShown = errors.New("shown")

// builtin are the flags and commands that every binary has.
type builtin struct {
	Help       helpFlag    `short:"h" help:"Explain the command line and exit."`
	Version    versionFlag `help:"Say what was built and exit."`
	Completion completion  `cmd:"" help:"Print a script that lets a shell complete this program's command line."`
}

type helpFlag bool

// BeforeReset is called by kong where the flag was given.
func (helpFlag) BeforeReset(line *kong.Context) error {
	return errors.Join(line.PrintUsage(false), errShown)
}

type versionFlag bool

// BeforeReset is called by kong where the flag was given.
func (versionFlag) BeforeReset(line *kong.Context) error {
	_, err := fmt.Fprintln(line.Stdout, version(line.Model.Name))
	return errors.Join(err, errShown)
}

// version says what was built: module version, revision and when it was made,
// where they are known, compiler and platform.
func version(name string) string {
	words := []string{name}
	if build, ok := debug.ReadBuildInfo(); ok {
		words = append(words, build.Main.Version)
		settings := map[string]string{}
		for _, s := range build.Settings {
			settings[s.Key] = s.Value
		}
		if revision := settings["vcs.revision"]; revision != "" {
			words = append(words, "revision", revision, settings["vcs.time"])
			if settings["vcs.modified"] == "true" {
				words = append(words, "with changes")
			}
		}
	}
	return strings.Join(append(words, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH), " ")
}

// help shows, where no command was named, the flags of the default command as
// those of the program, and the other commands.
func help(options kong.HelpOptions, line *kong.Context) error {
	app, selected := line.Model, line.Selected()
	if selected == nil || selected != app.DefaultCmd {
		return kong.DefaultHelpPrinter(options, line)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "Usage: %s%s%s [flags]\n", app.Name, arguments(selected), required(selected))
	fmt.Fprintf(&text, "       %s <command>\n\n%s\n", app.Name, app.Help)
	if _, err := io.Copy(line.Stdout, &text); err != nil {
		return err
	}
	options.NoAppSummary = true
	if err := kong.DefaultHelpPrinter(options, line); err != nil {
		return err
	}
	fmt.Fprintf(&text, "\nCommands:\n")
	for _, command := range app.Children {
		if command != app.DefaultCmd && !command.Hidden {
			fmt.Fprintf(&text, "  %-28s %s\n", command.Name+arguments(command), command.Help)
		}
	}
	fmt.Fprintf(&text, "\nRun \"%s <command> --help\" for more about a command.\n", app.Name)
	_, err := io.Copy(line.Stdout, &text)
	return err
}

func arguments(command *kong.Node) string {
	var s strings.Builder
	for _, argument := range command.Positional {
		s.WriteString(" " + argument.Summary())
	}
	return s.String()
}

// required are a command's flags that must be given; those of which one must be are
// alternatives.
func required(command *kong.Node) string {
	var flags []string
	groups := map[string]int{}
	for _, flag := range command.Flags {
		if !flag.Required {
			continue
		}
		if len(flag.Xor) > 0 {
			if i, ok := groups[flag.Xor[0]]; ok {
				flags[i] += " | " + flag.Summary()
				continue
			}
			groups[flag.Xor[0]] = len(flags)
		}
		flags = append(flags, flag.Summary())
	}
	var text strings.Builder
	for _, alternatives := range flags {
		if strings.Contains(alternatives, " | ") {
			alternatives = "(" + alternatives + ")"
		}
		text.WriteString(" " + alternatives)
	}
	return text.String()
}

// explain is a flag's help text with its default and its variable.
func (e *environment) explain(value *kong.Value) string {
	var notes []string
	if value.HasDefault && value.Default != "" {
		notes = append(notes, "default "+value.Default)
	}
	for _, name := range e.names[value] {
		if notes = append(notes, "$"+name); isSecret(value) {
			notes = append(notes, "$"+name+fileSuffix)
		}
	}
	if len(notes) == 0 {
		return value.Help
	}
	return fmt.Sprintf("%s (%s).", strings.TrimSuffix(value.Help, "."), strings.Join(notes, ", "))
}
