package console

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Command is something that can be typed.
type Command struct {
	Name string
	Args []Arg
	// Help is one line that says what the command does.
	Help string
	// Run carries it out and returns what is shown for it: one line, or many, which the
	// panel shows on a page of their own. It may take its time; commands run side by side in
	// the panel, one after the other without a terminal. ctx ends with the console.
	Run func(ctx context.Context, call Call) (reply string, err error)
}

// Arg is an argument of a command: one word.
type Arg struct {
	// Name stands in the help.
	Name string
	// Optional may be left out; so may those behind it.
	Optional bool
	// Values are what Tab offers; nil offers nothing. It is called by the console's goroutine.
	Values func() []string
}

// Call is a command as it was typed.
type Call struct {
	// Args has at least one word for each argument that is not optional, and no more words than arguments.
	Args []string
	// Progress tells how far the command is. It may be called from any goroutine.
	Progress func(done, total int)
}

// usage is the command with its arguments, as help shows it.
func (c Command) usage() string {
	words := []string{c.Name}
	for _, a := range c.Args {
		if a.Optional {
			words = append(words, "["+a.Name+"]")
		} else {
			words = append(words, a.Name)
		}
	}
	return strings.Join(words, " ")
}

// check is nil where so many words suit the command.
func (c Command) check(words int) error {
	required := 0
	for _, a := range c.Args {
		if !a.Optional {
			required++
		}
	}
	if words < required || words > len(c.Args) {
		return fmt.Errorf("%s is typed like this: %s", c.Name, c.usage())
	}
	return nil
}

// registry is the commands of a console, its own among them.
type registry []Command

// errQuit is what the command quit returns.
var errQuit = errors.New("quit")

func newRegistry(commands []Command) registry {
	var r registry
	r = append(slices.Clone(commands),
		Command{
			Name: "help",
			Help: "lists the commands",
			Run:  func(context.Context, Call) (string, error) { return r.help(), nil },
		},
		Command{
			Name: "quit",
			Help: "ends the program, gracefully",
			Run:  func(context.Context, Call) (string, error) { return "", errQuit },
		})
	return r
}

// parse finds the command that a line calls. An empty line calls none and is no error.
func (r registry) parse(line string) (Command, []string, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return Command{}, nil, nil
	}
	c, ok := r.find(words[0])
	if !ok {
		return Command{}, nil, fmt.Errorf("%q is not a command; help lists them", cut(clean(words[0]), 40))
	}
	return c, words[1:], c.check(len(words) - 1)
}

func (r registry) find(name string) (Command, bool) {
	i := slices.IndexFunc(r, func(c Command) bool { return c.Name == name })
	if i < 0 {
		return Command{}, false
	}
	return r[i], true
}

func (r registry) help() string {
	rows := make([][]string, len(r))
	for i, c := range r {
		rows[i] = []string{c.usage(), c.Help}
	}
	return table(rows)
}

// complete is what may stand where the last of the words stands: the names of the
// commands, or the values of an argument. Upper and lower case are the same.
func (r registry) complete(words []string) []string {
	var values []string
	if len(words) == 1 {
		for _, c := range r {
			values = append(values, c.Name)
		}
	} else if c, ok := r.find(words[0]); ok && len(words)-2 < len(c.Args) {
		if offer := c.Args[len(words)-2].Values; offer != nil {
			values = offer()
		}
	}
	prefix := words[len(words)-1]
	var fitting []string
	for _, v := range values {
		if len(v) >= len(prefix) && strings.EqualFold(v[:len(prefix)], prefix) {
			fitting = append(fitting, clean(v))
		}
	}
	return fitting
}
