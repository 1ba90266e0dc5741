package program

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/posener/complete"
	"github.com/willabides/kongplete"
)

// completion prints the script that lets a shell ask this binary for completions.
type completion struct {
	Shell string `arg:"" optional:"" predictor:"shell" help:"bash, zsh or fish; yours where none is named."`
}

// The shells ask by running the binary with the line in COMP_LINE, as bash does by itself.
var completionScripts = map[string]string{
	"bash": "complete -C '{bin}' {name}\n",
	"zsh":  "autoload -U +X bashcompinit && bashcompinit\ncomplete -C '{bin}' {name}\n",
	"fish": `function __complete_{name}
    set -lx COMP_LINE (commandline -cp)
    test -z (commandline -ct)
    and set COMP_LINE "$COMP_LINE "
    '{bin}'
end
complete -f -c {name} -a "(__complete_{name})"
`,
}

// Run prints the script.
func (c *completion) Run(p *Process, line *kong.Context) error {
	shell := c.Shell
	if shell == "" {
		shell = filepath.Base(os.Getenv("SHELL"))
	}
	script, ok := completionScripts[shell]
	if !ok {
		return UsageError(fmt.Errorf("there is no completion for the shell %q: name bash, zsh or fish", shell))
	}
	bin, err := os.Executable()
	if err != nil {
		return fmt.Errorf("this program's own path is unknown: %w", err)
	}
	_, err = strings.NewReplacer("{bin}", strings.ReplaceAll(bin, "'", `'\''`), "{name}", line.Model.Name).WriteString(p.Stdout, script)
	return err
}

// completing tells whether a shell asks for completions.
func completing() bool { return os.Getenv("COMP_LINE") != "" }

// answerShell answers a shell. The default command's flags are the program's too.
func answerShell(parser *kong.Kong) error {
	command, err := kongplete.Command(parser, kongplete.WithPredictors(map[string]complete.Predictor{
		"file":  complete.PredictFiles("*"),
		"shell": complete.PredictSet(slices.Collect(maps.Keys(completionScripts))...),
	}))
	if err != nil {
		return fmt.Errorf("the completions are declared wrongly: %w", err)
	}
	if role := parser.Model.DefaultCmd; role != nil {
		for flag, predictor := range command.Sub[role.Name].GlobalFlags {
			command.GlobalFlags[flag] = predictor
		}
	}
	answer := complete.New(parser.Model.Name, command)
	answer.Out = parser.Stdout
	answer.Complete()
	return nil
}
