package program

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
)

const dotenv = ".env"

// environment gives flags the values of their variables: of the process first,
// then of .env. A variable that is set to nothing counts as not set. That of a secret
// may be replaced by one, with _FILE at its end, that names the file which holds it.
type environment struct {
	file  map[string]string
	names map[*kong.Value][]string
}

// readEnvironment reads .env in the current directory, where there is one.
func readEnvironment() (*environment, error) {
	file, err := godotenv.Read(dotenv)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s can't be read: %w", dotenv, err)
	}
	return &environment{file: file, names: map[*kong.Value][]string{}}, nil
}

// take takes the variables over from kong, which would let a variable that is
// wrong, or empty, fail a command line whose flag overrides it.
func (e *environment) take(parser *kong.Kong) {
	// The visitor returns no error, so neither does Visit.
	_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok && len(flag.Envs) > 0 {
			e.names[flag.Value] = flag.Envs
			flag.Envs, flag.Tag.Envs = nil, nil
		}
		return next(nil)
	})
}

// Validate implements kong.Resolver.
func (*environment) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. Its error names the variable and where it was set.
func (e *environment) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range e.names[flag.Value] {
		text, where := e.lookup(name)
		if isSecret(flag.Value) {
			if path, set := e.lookup(name + fileSuffix); path != "" {
				if text != "" {
					return nil, fmt.Errorf("%s in %s and %s in %s are both set: set one of them", name, where, name+fileSuffix, set)
				}
				var err error
				name, where = name+fileSuffix, set
				if text, err = ReadSecret(path); err != nil {
					return nil, fmt.Errorf("%s in %s: %w", name, where, err)
				}
			}
		}
		if text == "" {
			continue
		}
		trial := reflect.New(flag.Target.Type()).Elem()
		scan := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: text})
		if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, trial); err != nil {
			return nil, fmt.Errorf("%s in %s: %w", name, where, err)
		}
		return text, nil
	}
	return nil, nil
}

// lookup is a variable's value, "" where it has none, and where it was set.
func (e *environment) lookup(name string) (text, where string) {
	if text = os.Getenv(name); text != "" {
		return text, "the environment"
	}
	return e.file[name], dotenv
}

func isSecret(value *kong.Value) bool { return slices.Contains(secrets, value.Target.Type()) }
