package program

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// fileSuffix is what follows a secret's variable in that of the file which holds it.
const fileSuffix = "_FILE"

// Secret is the type of a flag whose value is never shown. Besides its variable NAME it has
// NAME_FILE: a file of one line, the secret.
type Secret struct{ text string }

// Reveal is the secret itself, "" where none was given.
func (s Secret) Reveal() string { return s.text }

// String tells whether there is one.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return "(secret)"
}

// Format implements fmt.Formatter: no verb shows it.
func (s Secret) Format(to fmt.State, _ rune) { _, _ = io.WriteString(to, s.String()) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MongoURI is the type of a flag that says where a MongoDB is. What it shows is where, never
// by whose leave; else it is a Secret.
type MongoURI struct{ text string }

// Reveal is the URI itself, "" where none was given.
func (u MongoURI) Reveal() string { return u.text }

// String is the URI without its user, its password and its options.
func (u MongoURI) String() string {
	scheme, rest, found := strings.Cut(u.text, "://")
	if !found {
		return ""
	}
	end := strings.LastIndex(rest, "@")
	if strings.Contains(rest[:end+1], "?") { // of a password, or of an option with an @: nobody can tell
		return scheme + "://..."
	}
	place, _, _ := strings.Cut(rest[end+1:], "?")
	return scheme + "://" + place
}

// Format implements fmt.Formatter.
func (u MongoURI) Format(to fmt.State, _ rune) { _, _ = io.WriteString(to, u.String()) }

// LogValue implements slog.LogValuer.
func (u MongoURI) LogValue() slog.Value { return slog.StringValue(u.String()) }

// MarshalText implements encoding.TextMarshaler.
func (u MongoURI) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

func parseMongoURI(text string) (MongoURI, error) {
	if text != "" && !IsMongo(text) {
		return MongoURI{}, errors.New("a MongoDB's URI begins with mongodb:// or mongodb+srv://")
	}
	return MongoURI{text}, nil
}

// Mongo are the flags of a binary that uses a MongoDB.
type Mongo struct {
	URI      MongoURI `name:"mongo" env:"MONGO_URI" placeholder:"URI" help:"The MongoDB, a replica set: mongodb://HOST:PORT,.../DATABASE?OPTIONS; the database is evcharging_db where none is named, TLS an option."`
	Username string   `name:"mongo-username" env:"MONGO_USERNAME" placeholder:"NAME" help:"User of the MongoDB, over that of the URI."`
	Password Secret   `name:"mongo-password" env:"MONGO_PASSWORD" placeholder:"PASSWORD" help:"The user's password; everybody on this machine can read it on a command line, so take a variable or a file."`
}

// IsMongo tells whether a name is that of a MongoDB.
func IsMongo(uri string) bool {
	return strings.HasPrefix(uri, "mongodb://") || strings.HasPrefix(uri, "mongodb+srv://")
}

// Check is nil where the flags go together, an error of usage else. Name and password may
// also be those of others that are named apart.
func (m Mongo) Check(others ...string) error {
	switch {
	case m.URI.Reveal() == "" && !slices.ContainsFunc(others, IsMongo) && (m.Username != "" || m.Password.Reveal() != ""):
		return UsageError(errors.New("--mongo-username and --mongo-password are of no use without --mongo"))
	case (m.Username == "") != (m.Password.Reveal() == ""):
		return UsageError(errors.New("--mongo-username and --mongo-password (MONGO_PASSWORD, MONGO_PASSWORD_FILE) go together"))
	}
	return nil
}

// secrets are the types of flags that a file may hold.
var secrets = []reflect.Type{reflect.TypeFor[Secret](), reflect.TypeFor[MongoURI]()}

// secretly takes a text as it is, for a parser whose error does not show it.
func secretly[T any](parse func(string) (T, error)) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("a", &text); err != nil {
			return err
		}
		value, err := parse(text)
		if err != nil {
			return err
		}
		target.Set(reflect.ValueOf(value))
		return nil
	})
}

// ReadSecret reads a file that holds one line, the secret. Its error names the file.
func ReadSecret(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if strings.TrimSpace(secret) == "" || strings.ContainsAny(secret, "\r\n") {
		return "", errors.New(path + " should hold one line, the secret")
	}
	return secret, nil
}
